import AdminProtocol
import PolicyEngine

/// The uploaded policies in memory that a restart of the firmware leaves as it is: program, name and values of each, with a checksum.
/// Power-on clears it. Nothing in it is trusted: what comes back is verified as an upload is.
struct PolicyVault {
    static let places = PolicyNumber.uploaded.count
    /// A place: checksum of what follows, bytes of the program, four values, 24 bytes of name; then the program.
    private static let headerBytes = 48
    static let placeBytes = headerBytes + PolicyRegistry.longestProgram
    static let byteCount = places * placeBytes

    private let memory: UnsafeMutableRawBufferPointer

    /// - Parameter memory: at least `byteCount` bytes, aligned to 8.
    init(_ memory: UnsafeMutableRawBufferPointer) {
        precondition(memory.count >= Self.byteCount)
        self.memory = memory
    }

    private func place(_ number: UInt32) -> UnsafeMutableRawPointer {
        memory.baseAddress! + Int(number &- PolicyNumber.uploaded.lowerBound) &* Self.placeBytes
    }

    /// Keeps a policy as it is now; one that there isn't is forgotten.
    func keep(_ number: UInt32, of registry: borrowing PolicyRegistry) {
        guard PolicyNumber.uploaded.contains(number) else { return }
        let place = place(number)
        // Whatever interrupts this leaves a checksum that is wrong.
        place.storeBytes(of: 0, toByteOffset: 4, as: UInt32.self)
        guard registry.contains(number) else { return }
        let bytes = registry.copyProgram(number, to: place + Self.headerBytes)
        let entry = registry.entry(number)
        place.storeBytes(of: entry.values, toByteOffset: 8, as: TuningValues.self)
        place.storeBytes(of: entry.name, toByteOffset: 24, as: (UInt64, UInt64, UInt64).self)
        place.storeBytes(of: UInt32(truncatingIfNeeded: bytes), toByteOffset: 4, as: UInt32.self)
        place.storeBytes(of: checksum(place, bytes), as: UInt32.self)
    }

    private func checksum(_ place: UnsafeMutableRawPointer, _ bytes: Int) -> UInt32 {
        var checksum = Checksum()
        for offset in 4..<Self.headerBytes &+ bytes { checksum.add(place.load(fromByteOffset: offset, as: UInt8.self)) }
        return checksum.value
    }

    /// Uploads what was kept.
    /// - Returns: the policies, one bit each, that were there and can't be taken: damaged, or refused.
    func restore(to engine: inout PolicyEngine) -> UInt32 {
        var lost: UInt32 = 0
        for number in PolicyNumber.uploaded {
            let place = place(number)
            let said = place.load(fromByteOffset: 4, as: UInt32.self)
            guard said != 0 else { continue }
            let bytes = Int(min(said, UInt32(PolicyRegistry.longestProgram)))
            guard bytes == said, place.load(as: UInt32.self) == checksum(place, bytes), engine.expects(0) else {
                lost |= 1 &<< number
                continue
            }
            var program = Checksum()
            for offset in 0..<bytes {
                let byte = place.load(fromByteOffset: Self.headerBytes &+ offset, as: UInt8.self)
                program.add(byte)
                engine.upload(byte)
            }
            var installation = PolicyInstallation()
            installation.number = number
            installation.count = UInt32(truncatingIfNeeded: bytes)
            installation.checksum = program.value
            installation.name = place.load(fromByteOffset: 24, as: (UInt64, UInt64, UInt64).self)
            guard engine.install(installation) == nil else {
                lost |= 1 &<< number
                continue
            }
            engine.setValues(PolicyValues(number: number, values: place.load(fromByteOffset: 8, as: TuningValues.self)))
        }
        return lost
    }
}
