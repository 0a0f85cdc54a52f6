import OffloadDevice
import Testing
import Virtio

/// A driver of a virtio network function with one pair of queues, by the modern interface or, on a physical function, the legacy one.
final class NetworkDriver {
    private let machine: Machine
    private let function: Int
    private let isLegacy: Bool
    private let memory: FlatMemory
    private let receive: MockDriver
    private let transmit: MockDriver
    private var headerBytes: Int { isLegacy ? 10 : 12 }
    private static let buffers = 32

    /// - Parameter offset: of the driver's 512 KiB in host memory, a multiple of 4096.
    init(_ machine: Machine, function: Int, bar: Int = 0, isLegacy: Bool = false, offset: UInt64) {
        (self.machine, self.function, self.isLegacy) = (machine, function, isLegacy)
        memory = FlatMemory(base: machine.hostMemoryAddress, machine.hostMemory.bytes)
        let start = memory.base + offset
        receive = MockDriver(memory: memory, at: start, size: 256, legacyAlignment: 4096)
        transmit = MockDriver(memory: memory, at: start + 0x8000, size: 256, legacyAlignment: 4096)
        // Decoding and bus mastering on.
        _ = withUnsafeBytes(of: UInt16(7).littleEndian) { machine.writeConfiguration(function: function, offset: 4, $0) }
        if isLegacy {
            for status in [0, 1, 2] as [UInt64] { machine.write(function, 0, 0x12, status, 1) }
            machine.write(function, 0, 0x04, 1 << 27)
            for (queue, driver) in [receive, transmit].enumerated() {
                machine.write(function, 0, 0x0e, UInt64(queue), 2)
                machine.write(function, 0, 0x08, driver.layout.descriptorArea >> 12)
            }
            machine.write(function, 0, 0x12, 4, 1)
        } else {
            for status in [0, 1, 3] as [UInt64] { machine.write(function, bar, 0x14, status, 1) }
            machine.write(function, bar, 0x08, 1)
            machine.write(function, bar, 0x0c, 1)
            machine.write(function, bar, 0x14, 11, 1)
            for (queue, driver) in [receive, transmit].enumerated() {
                machine.write(function, bar, 0x16, UInt64(queue), 2)
                let layout = driver.layout
                for (register, area) in [(0x20, layout.descriptorArea), (0x28, layout.driverArea), (0x30, layout.deviceArea)]
                    as [(UInt64, UInt64)] {
                    machine.write(function, bar, register, area & 0xffff_ffff)
                    machine.write(function, bar, register + 4, area >> 32)
                }
                machine.write(function, bar, 0x1c, 1, 2)
            }
            machine.write(function, bar, 0x14, 15, 1)
        }
        for tag in 0..<Self.buffers { _ = receive.submit([Segment(address: buffer(tag), length: 2048, isWritable: true)]) }
        notify(0, bar)
        self.bar = bar
    }

    private(set) var doorbells = 0
    private var bar = 0
    private func buffer(_ tag: Int) -> UInt64 { receive.layout.descriptorArea + 0x10000 + UInt64(2048 * tag) }

    private func notify(_ queue: UInt64, _ bar: Int) {
        doorbells += 1
        if isLegacy { machine.write(function, 0, 0x10, queue, 2) } else { machine.write(function, bar, 0x3000 + 4 * queue, queue, 2) }
    }

    func send(_ frame: [UInt8]) {
        while transmit.reap() != nil {}
        let address = buffer(Self.buffers)
        memory[address, headerBytes + frame.count] = [UInt8](repeating: 0, count: headerBytes) + frame
        _ = transmit.submit([Segment(address: address, length: UInt32(headerBytes + frame.count), isWritable: false)])
        if transmit.needsNotification() { notify(1, bar) }
    }

    /// The next received frame; nil if there is none.
    func next() -> [UInt8]? {
        guard let used = receive.reap() else { return nil }
        let address = memory.load(receive.layout.descriptorArea + 16 * UInt64(used.head), as: UInt64.self)
        let frame = Array(memory[address, Int(used.written)][headerBytes...])
        _ = receive.submit([Segment(address: address, length: 2048, isWritable: true)])
        return frame
    }
}
