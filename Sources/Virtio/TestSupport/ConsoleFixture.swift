import Interconnect

/// A console function and what came out of it.
package final class ConsoleFixture: FunctionFixture {
    package let console: ConsoleDevice
    package private(set) var output: [UInt8] = []

    package init(_ configuration: ConsoleDevice.Configuration = .init()) {
        let hardware = FixtureHardware()
        console = ConsoleDevice(configuration, path: hardware.path(nil))
        super.init(console, number: 1, queueSize: 8, queueBytes: 0x10000, on: hardware)
        console.onOutput = { [unowned self] in output += $0 }
    }

    /// Makes a buffer of text available to the device, or one for it to fill.
    package func offer(_ text: [UInt8], at offset: UInt64 = 0, queue: Int) {
        let address = queues[queue].buffers + offset
        if queue == 1 { memory[address, text.count] = text }
        _ = queues[queue].submit([Segment(address: address, length: UInt32(text.count), isWritable: queue == 0)])
        notify(queue: queue)
    }
}
