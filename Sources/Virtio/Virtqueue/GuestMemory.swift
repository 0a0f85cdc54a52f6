import Interconnect
import Registers

/// A driver's memory as virtqueues see it: little-endian values behind the function's DMA port (virtio 1.2 section 1.4).
public struct GuestMemory {
    let port: any DMAPort

    public init(_ port: any DMAPort) {
        self.port = port
    }

    /// The value at `address`; nil if the port refuses.
    func load<Value: FixedWidthInteger & BitwiseCopyable>(_ address: UInt64, as type: Value.Type) -> Value? {
        var value: Value = 0
        let status = withUnsafeMutableBytes(of: &value) { port.read(address, into: $0) }
        return status == .ok ? Value(littleEndian: value) : nil
    }

    /// Stores the value; false if the port refuses.
    func store<Value: FixedWidthInteger & BitwiseCopyable>(_ value: Value, to address: UInt64) -> Bool {
        withUnsafeBytes(of: value.littleEndian) { port.write(address, from: $0) } == .ok
    }

    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus {
        port.read(address, into: bytes)
    }

    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> BusStatus {
        port.write(address, from: bytes)
    }

    func check(_ address: UInt64, bytes: Int, isWrite: Bool) -> BusStatus {
        port.check(address, count: bytes, writing: isWrite)
    }

    /// A copy of the memory for people who look; nil if the port refuses. Records no fault.
    func peek(_ address: UInt64, bytes: Int) -> [UInt8]? {
        var copy = [UInt8](repeating: 0, count: bytes)
        return copy.withUnsafeMutableBytes { port.peek(address, into: $0) } ? copy : nil
    }
}
