import RISCV
import Registers
import Scratch
import Simulation

/// A hart with 1 MiB of memory at 0x8000_0000; everything else is a register file that records what the hart does.
final class TestMachine: HartPort {
    static let base: UInt32 = 0x8000_0000
    let bytes: UnsafeMutableRawBufferPointer
    let memory = MemoryMap()
    let region: MemoryRegion
    private(set) var hart: Hart!

    /// All accesses that came to the port, in order.
    var accesses: [BusAccess] = []
    /// Called for each of them; answers reads by setting the value.
    var respond: (inout BusAccess) -> BusStatus = { _ in .ok }
    var horizon: Cycle = .max

    init(hart id: Int = 0, size: Int = 1 << 20) {
        bytes = .allocate(byteCount: size, alignment: 4096)
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        region = memory.add("SRAM", at: Self.base, bytes)
        hart = Hart(id: id, resetVector: Self.base, memory: memory, port: self)
    }

    deinit {
        hart = nil
        bytes.deallocate()
    }

    func access(_ access: inout BusAccess) -> BusStatus {
        let status = respond(&access)
        accesses.append(access)
        return status
    }

    /// What the watched hart has asked for, in order.
    var watched: [BusAccess] = []
    /// Whether it may.
    var permission: (BusAccess) -> Bool = { _ in true }

    func permits(_ access: BusAccess) -> Bool {
        watched.append(access)
        return permission(access)
    }

    /// Writes 16- or 32-bit instructions to memory, one after the other.
    func write(_ instructions: [UInt32], at address: UInt32 = TestMachine.base) {
        var offset = Int(address - Self.base)
        for bits in instructions {
            let size = bits & 3 == 3 ? 4 : 2
            for byte in 0..<size { bytes[offset + byte] = UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte)) }
            offset += size
        }
        memory.wasWritten(address, bytes: offset - Int(address - Self.base))
    }

    subscript(_ address: UInt32) -> UInt32 {
        get { bytes.load(fromByteOffset: Int(address - Self.base), as: UInt32.self) }
        set {
            bytes.storeBytes(of: newValue, toByteOffset: Int(address - Self.base), as: UInt32.self)
            memory.wasWritten(address, bytes: 4)
        }
    }
}

/// The bytes of a file in Fixtures.
func fixture(_ name: String) throws -> [UInt8] {
    let directory = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(2).joined(separator: "/")
    return try readFile(directory + "/Fixtures/" + name)
}
