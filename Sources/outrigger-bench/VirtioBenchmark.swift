import ArgumentParser
import OffloadDevice
import Registers
import Tracing
import Simulation
import Virtio

/// Speed of the virtio data path in the whole device: block requests from a function's doorbell to its MSI-X message.
struct VirtioBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "virtio", abstract: "Block requests per second of virtual functions, driven in process.")

    @Option(help: "Requests, over all functions.") var requests = 500_000
    @Option(help: "Requests in flight at a time on each function, 1 to 64.") var depth = 32
    @Option(help: "Bytes of each request, a multiple of 512.") var bytes = 4096
    @Option(help: "Virtual functions that have a driver.") var functions = 1
    @Option(help: "The firmware (ELF); without one the hart is at rest.") var firmware: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard requests > 0 else { throw ValidationError("--requests must be at least 1") }
        guard (1...64).contains(depth) else { throw ValidationError("--depth must be 1 to 64") }
        guard (1...64).contains(functions) else { throw ValidationError("--functions must be 1 to 64") }
        guard bytes > 0, bytes % 512 == 0, bytes <= 1 << 15 else {
            throw ValidationError("--bytes must be a multiple of 512 up to 32768")
        }
    }

    func run() throws {
        var description = MachineDescription()
        description.virtualFunctions.enabled = functions
        // Lockstep: the driver's thread is the device's, and what is measured is the same in each run.
        let machine = try Machine(description, pace: .lockstep)
        if let firmware {
            try machine.loadFirmware(try readFile(firmware))
            machine.advance(by: 2_000_000)
        }
        let drivers = try (1...functions).map { try BlockDriver(machine, function: $0, depth: depth, bytes: bytes) }
        if let trace = output.trace { try machine.startTrace(folder: trace) }
        let start = processorTime(), begin = elapsedTime(), startCycle = machine.now
        for driver in drivers { driver.begin() }
        var done = 0, seen: UInt64 = 0
        while done < requests {
            // One that arrived since the queues were last looked at counts too.
            let arrived = machine.waitForInterrupt(function: 1, after: seen)
            guard arrived > seen else { throw BenchmarkError(description: "no interrupt came: \(done) of \(requests) requests are done") }
            seen = arrived
            for driver in drivers { done += try driver.serve() }
        }
        let elapsed = elapsedTime() - begin
        machine.stop()
        // What the trace's own thread took is no part of what the machine takes, with a processor for each.
        let tracing = processorTime(ofThreads: TraceWriter.threadName), seconds = processorTime() - start - tracing
        machine.stopTrace()
        let firmware = machine.inspect { $0.crossbar.laneState(0).accesses }
        let accesses = drivers.reduce(firmware) { $0 + $1.doorbells }
        output.print([
            ("requests", Double(done)), ("cycles", Double(machine.now - startCycle)), ("accesses", Double(accesses)), ("seconds", seconds),
            ("tracing", tracing), ("elapsed", elapsed),
        ])
    }
}

/// A driver that keeps a number of requests in flight: half reads, half writes, at random places. It uses the function as a host program
/// does, by its BARs, its configuration space and host memory.
final class BlockDriver {
    private static let diskBytes: UInt64 = 64 << 20
    private static let queueSize: UInt16 = 256

    private let machine: Machine
    private let function: Int
    private let depth: Int
    private let bytes: Int
    private let memory: FlatMemory
    private let queue: MockDriver
    private var random: SplitMix64
    private(set) var doorbells: UInt64 = 0

    init(_ machine: Machine, function: Int, depth: Int, bytes: Int) throws {
        (self.machine, self.function, self.depth, self.bytes) = (machine, function, depth, bytes)
        random = SplitMix64(seed: UInt64(function))
        let part = machine.hostMemory.size / 64
        memory = FlatMemory(base: machine.hostMemoryAddress, machine.hostMemory.bytes)
        queue = MockDriver(
            memory: memory, at: memory.base + UInt64(part * (function - 1)), size: Self.queueSize, usesEventIndex: true)
        try bringUp()
        // Requests keep their descriptors, three each; only the headers change.
        for tag in 0..<depth {
            let header = buffer(tag)
            let segments = [
                Segment(address: header, length: 16, isWritable: false),
                Segment(address: header + 4096, length: UInt32(bytes), isWritable: tag % 2 == 0),
                Segment(address: header + 16, length: 1, isWritable: true),
            ]
            for index: UInt16 in 0..<3 {
                let flags = index < 2 ? MockDriver.Flag.next : 0
                queue.pokeDescriptor(UInt16(3 * tag) + index, segments[Int(index)], flags: flags, next: UInt16(3 * tag) + index + 1)
            }
            memory.store(UInt32(tag % 2), at: header)
        }
    }

    /// A page for header and status, then the data.
    private func buffer(_ tag: Int) -> UInt64 { queue.buffers + UInt64(tag * (4096 + bytes)) }

    // MARK: Bringing the function up (virtio 1.2, 3.1.1)

    private func write(_ offset: UInt64, _ value: UInt64, size: Int, bar: Int = 0) {
        machine.writeBAR(function: function, bar: bar, offset: offset, size: size, value: value, origin: 0)
    }

    private func read(_ offset: UInt64, size: Int) -> UInt64 {
        machine.readBAR(function: function, bar: 0, offset: offset, size: size, origin: 0).value
    }

    private func configure(_ offset: Int, _ value: UInt16) {
        _ = withUnsafeBytes(of: value.littleEndian) { machine.writeConfiguration(function: function, offset: offset, $0) }
    }

    private func bringUp() throws {
        // Memory space and bus mastering; MSI-X with the queue's vector.
        configure(4, 6)
        for (offset, value): (UInt64, UInt64) in [(16, 0xfee0_0000), (20, 0), (24, 1), (28, 0)] { write(offset, value, size: 4, bar: 4) }
        configure(try messageControl(), 0x8000)
        let features: Features = [.version1, .eventIndex]
        for status: UInt64 in [0, 1, 3] { write(0x14, status, size: 1) }
        for word: UInt64 in 0..<2 {
            write(0x08, word, size: 4)
            write(0x0c, features.rawValue >> (32 * word) & 0xffff_ffff, size: 4)
        }
        write(0x14, 11, size: 1)
        write(0x16, 0, size: 2)
        write(0x18, UInt64(Self.queueSize), size: 2)
        write(0x1a, 1, size: 2)
        let layout = queue.layout
        for (offset, address): (UInt64, UInt64) in [(0x20, layout.descriptorArea), (0x28, layout.driverArea), (0x30, layout.deviceArea)] {
            write(offset, address & 0xffff_ffff, size: 4)
            write(offset + 4, address >> 32, size: 4)
        }
        write(0x1c, 1, size: 2)
        write(0x14, 15, size: 1)
        guard read(0x14, size: 1) == 15, read(0x18, size: 2) == UInt64(Self.queueSize) else {
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

    // MARK: Requests

    private func publish(_ tag: Int) {
        memory.store(random.next() % (Self.diskBytes / UInt64(bytes)) * UInt64(bytes / 512), at: buffer(tag) + 8)
        queue.publish(UInt16(3 * tag))
    }

    private func notify() {
        guard queue.needsNotification() else { return }
        doorbells += 1
        write(0x3000, 0, size: 2)
    }

    /// Fills the queue.
    func begin() {
        for tag in 0..<depth { publish(tag) }
        queue.wantInterrupt(after: queue.usedIndex)
        notify()
    }

    /// Reaps what is done and replaces it by new requests; returns how many.
    func serve() throws -> Int {
        var count = 0
        while let used = queue.reap() {
            let tag = Int(used.head) / 3
            guard memory.load(buffer(tag) + 16, as: UInt8.self) == 0 else {
                throw BenchmarkError(description: "a request of virtual function \(function) failed")
            }
            publish(tag)
            count += 1
        }
        queue.wantInterrupt(after: queue.usedIndex)
        if count > 0 { notify() }
        return count
    }
}
