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
        if let record = output.record { try machine.startRecording(folder: record) }
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
        if let failure = machine.stopRecording() { throw failure }
        let firmware = machine.inspect { $0.crossbar.laneState(0).accesses }
        let accesses = drivers.reduce(firmware) { $0 + $1.doorbells }
        output.print([
            ("requests", Double(done)), ("cycles", Double(machine.now - startCycle)), ("accesses", Double(accesses)), ("seconds", seconds),
            ("tracing", tracing), ("elapsed", elapsed),
        ])
    }
}

/// A driver that keeps a number of requests in flight: half reads, half writes, at random places.
final class BlockDriver {
    private static let diskBytes: UInt64 = 64 << 20
    private static let queueSize: UInt16 = 256

    private let registers: FunctionDriver
    private let depth: Int
    private let bytes: Int
    private let memory: FlatMemory
    private let queue: MockDriver
    private var random: SplitMix64
    var doorbells: UInt64 { registers.doorbells }

    init(_ machine: Machine, function: Int, depth: Int, bytes: Int) throws {
        (self.depth, self.bytes) = (depth, bytes)
        registers = FunctionDriver(machine, function: function)
        random = SplitMix64(seed: UInt64(function))
        let part = machine.hostMemory.size / 64
        memory = FlatMemory(base: machine.hostMemoryAddress, machine.hostMemory.bytes)
        queue = MockDriver(
            memory: memory, at: memory.base + UInt64(part * (function - 1)), size: Self.queueSize, usesEventIndex: true)
        try registers.bringUp([.version1, .eventIndex], [queue.layout])
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

    // MARK: Requests

    private func publish(_ tag: Int) {
        memory.store(random.next() % (Self.diskBytes / UInt64(bytes)) * UInt64(bytes / 512), at: buffer(tag) + 8)
        queue.publish(UInt16(3 * tag))
    }

    private func notify() {
        guard queue.needsNotification() else { return }
        registers.notify()
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
                throw BenchmarkError(description: "a request of virtual function \(registers.function) failed")
            }
            publish(tag)
            count += 1
        }
        queue.wantInterrupt(after: queue.usedIndex)
        if count > 0 { notify() }
        return count
    }
}
