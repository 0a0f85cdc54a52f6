import OffloadDevice
import Virtio

/// What drivers of benchmarks do with any virtual function: it is used as a host program does, by its BARs and configuration space.
final class FunctionDriver {
    let machine: Machine
    let function: Int
    private(set) var doorbells: UInt64 = 0

    init(_ machine: Machine, function: Int) {
        (self.machine, self.function) = (machine, function)
    }

    private func write(_ offset: UInt64, _ value: UInt64, size: Int, bar: Int = 0) {
        machine.writeBAR(function: function, bar: bar, offset: offset, size: size, value: value, origin: 0)
    }

    private func read(_ offset: UInt64, size: Int) -> UInt64 {
        machine.readBAR(function: function, bar: 0, offset: offset, size: size, origin: 0).value
    }

    private func configure(_ offset: Int, _ value: UInt16) {
        _ = withUnsafeBytes(of: value.littleEndian) { machine.writeConfiguration(function: function, offset: offset, $0) }
    }

    /// virtio 1.2, 3.1.1: all queues with one vector.
    func bringUp(_ features: Features, _ queues: [QueueLayout]) throws {
        // Memory space and bus mastering; MSI-X with the queues' vector.
        configure(4, 6)
        for (offset, value): (UInt64, UInt64) in [(16, 0xfee0_0000), (20, 0), (24, 1), (28, 0)] { write(offset, value, size: 4, bar: 4) }
        configure(try messageControl(), 0x8000)
        for status: UInt64 in [0, 1, 3] { write(0x14, status, size: 1) }
        for word: UInt64 in 0..<2 {
            write(0x08, word, size: 4)
            write(0x0c, features.rawValue >> (32 * word) & 0xffff_ffff, size: 4)
        }
        write(0x14, 11, size: 1)
        for (queue, layout) in queues.enumerated() {
            write(0x16, UInt64(queue), size: 2)
            write(0x18, UInt64(layout.size), size: 2)
            write(0x1a, 1, size: 2)
            let areas = [(0x20, layout.descriptorArea), (0x28, layout.driverArea), (0x30, layout.deviceArea)] as [(UInt64, UInt64)]
            for (offset, address) in areas {
                write(offset, address & 0xffff_ffff, size: 4)
                write(offset + 4, address >> 32, size: 4)
            }
            write(0x1c, 1, size: 2)
        }
        write(0x14, 15, size: 1)
        guard read(0x14, size: 1) == 15, let last = queues.last, read(0x18, size: 2) == UInt64(last.size) else {
            throw BenchmarkError(description: "virtual function \(function) refuses its driver")
        }
    }

    /// Where in configuration space the function's MSI-X message control is.
    private func messageControl() throws -> Int {
        var space = [UInt8](repeating: 0, count: 256)
        _ = space.withUnsafeMutableBytes { machine.readConfiguration(function: function, offset: 0, into: $0) }
        var capability = Int(space[0x34])
        while capability != 0, space[capability] != 0x11 { capability = Int(space[capability + 1]) }
        guard capability != 0 else { throw BenchmarkError(description: "virtual function \(function) has no MSI-X") }
        return capability + 2
    }

    /// Rings a queue's doorbell.
    func notify(queue: Int = 0) {
        doorbells += 1
        write(0x3000 + 4 * UInt64(queue), UInt64(queue), size: 2)
    }
}
