import ArgumentParser
import OffloadDevice
import Registers
import Scratch
import Virtio

/// Speed of the network data path in the whole device: frames from a function's doorbell through a loop back into its receive buffers.
struct NetworkBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "network", abstract: "Frames per second that a network function loops back, driven in process.")

    @Option(help: "Frames.") var frames = 1_000_000
    @Option(help: "Frames in flight at a time, 1 to 128.") var depth = 64
    @Option(help: "Bytes of each frame, 60 to 1514.") var bytes = 64
    @Flag(help: "Packed virtqueues.") var packed = false
    @Option(help: "The firmware (ELF); without one the hart is at rest.") var firmware: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard frames > 0 else { throw ValidationError("--frames: at least 1 expected, \(frames) found") }
        guard (1...128).contains(depth) else { throw ValidationError("--depth: 1...128 expected, \(depth) found") }
        guard (60...1514).contains(bytes) else { throw ValidationError("--bytes: 60...1514 expected, \(bytes) found") }
    }

    func run() throws {
        var description = MachineDescription()
        description.virtualFunctions.kind = .net
        description.virtualFunctions.enabled = 1
        // Lockstep: the driver's thread is the device's, and what is measured is the same in each run.
        let machine = try Machine(description, pace: .lockstep)
        if let firmware {
            try machine.loadFirmware(try readFile(firmware))
            machine.advance(by: 2_000_000)
        }
        let driver = try NetworkDriver(machine, depth: depth, bytes: bytes, isPacked: packed)
        let start = processorTime(), startCycle = machine.now
        driver.begin()
        var done = 0, seen: UInt64 = 0
        while done < frames {
            let arrived = machine.waitForInterrupt(function: 1, after: seen)
            guard arrived > seen else { throw BenchmarkError(description: "no interrupt came: \(done) of \(frames) frames are done") }
            seen = arrived
            done += try driver.serve()
        }
        machine.stop()
        let seconds = processorTime() - start
        output.print([
            ("frames", Double(done)), ("cycles", Double(machine.now - startCycle)), ("accesses", Double(driver.doorbells)),
            ("interrupts", Double(seen)), ("seconds", seconds),
        ])
    }
}

/// A driver that sends each frame again as soon as it is back.
private final class NetworkDriver {
    private static let queueSize: UInt16 = 256
    private static let headerBytes = 12

    private let registers: FunctionDriver
    private let depth: Int
    private let bytes: Int
    private let receive: any QueueDriver
    private let transmit: any QueueDriver
    private let frame: [Segment]
    private let buffers: [[Segment]]
    var doorbells: UInt64 { registers.doorbells }

    init(_ machine: Machine, depth: Int, bytes: Int, isPacked: Bool) throws {
        (self.depth, self.bytes) = (depth, bytes)
        registers = FunctionDriver(machine, function: 1)
        let memory = FlatMemory(base: machine.hostMemoryAddress, machine.hostMemory.bytes)
        func queue(at offset: UInt64) -> any QueueDriver {
            isPacked
                ? PackedMockDriver(memory: memory, at: memory.base + offset, size: Self.queueSize, usesEventIndex: true)
                : MockDriver(memory: memory, at: memory.base + offset, size: Self.queueSize, usesEventIndex: true)
        }
        receive = queue(at: 0)
        transmit = queue(at: 0x10000)
        let area = memory.base + 0x100000
        // Made once, so that the driver allocates nothing either. Frames are never looked at: all are in the same place.
        buffers = (0..<Int(Self.queueSize)).map { [Segment(address: area + UInt64(2048 * $0), length: 2048, isWritable: true)] }
        frame = [Segment(address: area + 0x100000, length: UInt32(Self.headerBytes + bytes), isWritable: false)]
        var features: Features = [.version1, .eventIndex, .networkMAC]
        if isPacked { features.insert(.packedRing) }
        try registers.bringUp(features, [receive.layout, transmit.layout])
        for buffer in buffers { _ = receive.submit(buffer) }
        transmit.suppressInterrupts(true)
    }

    func begin() {
        send(depth)
    }

    private func send(_ count: Int) {
        for _ in 0..<count { _ = transmit.submit(frame) }
        if transmit.needsNotification() { registers.notify(queue: 1) }
    }

    /// Reaps what has come back and sends as many frames again; returns how many.
    func serve() throws -> Int {
        while transmit.reap() != nil {}
        var count = 0
        while let used = receive.reap() {
            guard Int(used.written) == Self.headerBytes + bytes else {
                throw BenchmarkError(description: "a frame of \(used.written) bytes came back, \(Self.headerBytes + bytes) expected")
            }
            // Every receive buffer is as good as any other.
            _ = receive.submit(buffers[count])
            count += 1
        }
        receive.wantInterruptForNext()
        if receive.needsNotification() { registers.notify(queue: 0) }
        send(count)
        return count
    }
}
