import Glibc
import Interconnect
import Registers

/// A driver's memory for tests and benchmarks: one range of DMA addresses, everything else refused and counted. What was reached once is
/// open to devices, as with a function's domain.
package final class FlatMemory: DMAPort {
    package let base: UInt64
    package let bytes: UnsafeMutableRawBufferPointer
    package let translations = TranslationCache()
    /// Transfers and checks refused.
    package private(set) var faults = 0
    package private(set) var written: [Range<UInt64>] = []
    /// In raw memory, so that a benchmark measures the device and not the checks around these.
    private let control: UnsafeMutablePointer<Control>
    private let isOwner: Bool

    private struct Control {
        var isEnabled = true
        var promisesEverything = false
        var recordsWrites = false
        var writes = 0
    }

    /// Bus mastering: while false, nothing is reachable.
    package var isEnabled: Bool {
        get { control.pointee.isEnabled }
        set {
            control.pointee.isEnabled = newValue
            translations.clear()
        }
    }
    /// Checks pass for any address, though no transfer does: for lists longer than any memory here.
    package var promisesEverything: Bool {
        get { control.pointee.promisesEverything }
        set { control.pointee.promisesEverything = newValue }
    }
    /// While set, every transfer that writes is recorded in ``written``.
    package var recordsWrites: Bool {
        get { control.pointee.recordsWrites }
        set { control.pointee.recordsWrites = newValue }
    }
    /// Transfers that wrote.
    package var writes: Int { control.pointee.writes }

    package init(base: UInt64 = 0x1_0000_0000, count: Int) {
        self.base = base
        control = .allocate(capacity: 1)
        control.initialize(to: Control())
        translations.isOpen = true
        bytes = UnsafeMutableRawBufferPointer(start: calloc(count, 1)!, count: count)
        isOwner = true
    }

    /// Memory that somebody else keeps: what a whole device shares with its host.
    package init(base: UInt64, _ bytes: UnsafeMutableRawBufferPointer) {
        self.base = base
        self.bytes = bytes
        control = .allocate(capacity: 1)
        control.initialize(to: Control())
        translations.isOpen = true
        isOwner = false
    }

    deinit {
        if isOwner { free(bytes.baseAddress) }
        translations.deallocate()
        control.deallocate()
    }

    package func read(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> BusStatus {
        guard let memory = pointer(to: address, count: buffer.count, writing: false) else { return refused() }
        if let target = buffer.baseAddress { target.copyMemory(from: memory, byteCount: buffer.count) }
        return .ok
    }

    package func write(_ address: UInt64, from buffer: UnsafeRawBufferPointer) -> BusStatus {
        guard let memory = pointer(to: address, count: buffer.count, writing: true) else { return refused() }
        if let source = buffer.baseAddress { memory.copyMemory(from: source, byteCount: buffer.count) }
        wrote(address, count: buffer.count)
        return .ok
    }

    package func peek(_ address: UInt64, into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        guard let memory = pointer(to: address, count: buffer.count, writing: false) else { return false }
        if let target = buffer.baseAddress { target.copyMemory(from: memory, byteCount: buffer.count) }
        return true
    }

    package func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        let offset = address &- base
        guard isEnabled, count >= 0, offset <= UInt64(bytes.count), UInt64(bytes.count) &- offset >= UInt64(count) else { return nil }
        translations.insert(base, count: UInt64(bytes.count), bytes.baseAddress!, isReadable: true, isWritable: true, for: address)
        return bytes.baseAddress! + Int(offset)
    }

    package func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus {
        !promisesEverything && pointer(to: address, count: count, writing: writing) == nil ? refused() : .ok
    }

    package func wrote(_ address: UInt64, count: Int) {
        control.pointee.writes &+= 1
        if recordsWrites { written.append(address..<(address &+ UInt64(count))) }
    }

    private func refused() -> BusStatus {
        faults &+= 1
        return .denied
    }

    // MARK: The driver's own view; addresses outside the memory are mistakes of the test and trap

    package func load<Value: FixedWidthInteger & BitwiseCopyable>(_ address: UInt64, as type: Value.Type) -> Value {
        Value(littleEndian: bytes.loadUnaligned(fromByteOffset: Int(address - base), as: type))
    }

    package func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, at address: UInt64) {
        bytes.storeBytes(of: value.littleEndian, toByteOffset: Int(address - base), as: Value.self)
    }

    package func copy() -> [UInt8] {
        self[base, bytes.count]
    }

    package subscript(address: UInt64, count: Int) -> [UInt8] {
        get {
            // Element by element takes long without optimisation.
            [UInt8](unsafeUninitializedCapacity: count) { copy, initialized in
                let source = UnsafeRawBufferPointer(rebasing: bytes[Int(address - base)...].prefix(count))
                UnsafeMutableRawBufferPointer(copy).copyMemory(from: source)
                initialized = count
            }
        }
        set { UnsafeMutableRawBufferPointer(rebasing: bytes[Int(address - base)...]).copyBytes(from: newValue.prefix(count)) }
    }
}
