import Interconnect
import Peripherals
import Registers

/// The way of blocks inside the device into shared memory, at its bus addresses. It passes no IOMMU.
final class SharedMemoryPort: DMAPort {
    private let memory: PlainMemory
    private let base: UInt64

    init(_ memory: PlainMemory, at base: UInt64) {
        self.memory = memory
        self.base = base
    }

    func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        let offset = address &- base
        let size = UInt64(memory.pages.size)
        guard count >= 0, offset < size, UInt64(count) <= size - offset else { return nil }
        return memory.pages.bytes.baseAddress! + Int(offset)
    }

    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus {
        guard let source = pointer(to: address, count: bytes.count, writing: false) else { return .unmapped }
        bytes.baseAddress?.copyMemory(from: source, byteCount: bytes.count)
        return .ok
    }

    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> BusStatus {
        guard let target = pointer(to: address, count: bytes.count, writing: true) else { return .unmapped }
        if let source = bytes.baseAddress { target.copyMemory(from: source, byteCount: bytes.count) }
        wrote(address, count: bytes.count)
        return .ok
    }

    func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool { read(address, into: bytes) == .ok }

    func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus {
        pointer(to: address, count: count, writing: writing) == nil ? .unmapped : .ok
    }

    func wrote(_ address: UInt64, count: Int) { memory.listener?.memoryWritten(at: address &- base, bytes: count, in: memory) }
}
