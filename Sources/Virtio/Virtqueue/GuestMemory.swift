import Interconnect
import Registers

/// A driver's memory as virtqueues see it: little-endian values behind the function's DMA port (virtio 1.2 section 1.4).
///
/// What was reached lately is read and written in place; for everything else, and while somebody records, the port is asked.
public struct GuestMemory {
    /// Kept by the device: each frame passes here several times, so that this isn't counted.
    private unowned(unsafe) let port: any DMAPort
    private let translations: TranslationCache

    /// - Parameter port: is kept by the caller.
    public init(_ port: any DMAPort) {
        self.port = port
        translations = port.translations
    }

    /// The value at `address`; nil if the port refuses.
    @inline(__always)
    func load<Value: FixedWidthInteger & BitwiseCopyable>(_ address: UInt64, as type: Value.Type) -> Value? {
        if let memory = translations.reach(address, count: MemoryLayout<Value>.size, writing: false) {
            return Value(littleEndian: memory.loadUnaligned(as: Value.self))
        }
        return loadFromPort(address)
    }

    @inline(never)
    private func loadFromPort<Value: FixedWidthInteger & BitwiseCopyable>(_ address: UInt64) -> Value? {
        var value: Value = 0
        let status = withUnsafeMutableBytes(of: &value) { port.read(address, into: $0) }
        return status == .ok ? Value(littleEndian: value) : nil
    }

    /// Stores the value; false if the port refuses.
    @inline(__always)
    func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, to address: UInt64) -> Bool {
        withUnsafeBytes(of: value.littleEndian) { write(address, from: $0) } == .ok
    }

    @inline(__always)
    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus {
        if let memory = translations.reach(address, count: bytes.count, writing: false), let target = bytes.baseAddress {
            target.copyMemory(from: memory, byteCount: bytes.count)
            return .ok
        }
        return port.read(address, into: bytes)
    }

    @inline(__always)
    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> BusStatus {
        if let memory = translations.reach(address, count: bytes.count, writing: true), let source = bytes.baseAddress {
            copyShared(from: source, to: memory, count: bytes.count)
            wrote(address, bytes: bytes.count)
            return .ok
        }
        return port.write(address, from: bytes)
    }

    @inline(__always)
    func check(_ address: UInt64, bytes: Int, isWrite: Bool) -> BusStatus {
        if translations.reach(address, count: bytes, writing: isWrite) != nil { return .ok }
        return port.check(address, count: bytes, writing: isWrite)
    }

    /// Where `bytes` bytes are, to be written in place and told by ``wrote(_:bytes:)``; nil if they have to go by ``write(_:from:)``.
    @inline(__always)
    func place(_ address: UInt64, bytes: Int) -> UnsafeMutableRawPointer? {
        translations.reach(address, count: bytes, writing: true)
    }

    func wrote(_ address: UInt64, bytes: Int) { port.wrote(address, count: bytes) }

    /// A copy of the memory for people who look; nil if the port refuses. Records no fault.
    func peek(_ address: UInt64, bytes: Int) -> [UInt8]? {
        var copy = [UInt8](repeating: 0, count: bytes)
        return copy.withUnsafeMutableBytes { port.peek(address, into: $0) } ? copy : nil
    }
}
