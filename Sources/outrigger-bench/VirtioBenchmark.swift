import ArgumentParser
import OffloadDevice
import Registers
import Scratch
import Simulation
import Tracing
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
    @OptionGroup var recording: RecordingOptions
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard requests > 0 else { throw ValidationError("--requests: at least 1 expected, \(requests) found") }
        guard (1...64).contains(depth) else { throw ValidationError("--depth: 1...64 expected, \(depth) found") }
        guard (1...64).contains(functions) else { throw ValidationError("--functions: 1...64 expected, \(functions) found") }
        guard bytes > 0, bytes % 512 == 0, bytes <= 1 << 15 else {
            throw ValidationError("--bytes: a multiple of 512 up to 32768 expected, \(bytes) found")
        }
    }

    func run() throws {
        var description = MachineDescription()
        description.virtualFunctions.enabled = functions
        // Lockstep: the driver's thread is the device's, and what is measured is the same in each run.
        let machine = try Machine(description, pace: .lockstep)
        if let record = recording.record { try machine.startRecording(folder: record) }
        if let firmware {
            try machine.loadFirmware(try readFile(firmware))
            machine.advance(by: 2_000_000)
        }
        let drivers = try (1...functions).map { try BlockDriver(machine, function: $0, depth: depth, bytes: bytes) }
        if let trace = recording.trace { try machine.startTrace(folder: trace) }
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

/// A driver that keeps a number of requests in flight on a function.
final class BlockDriver {
    private static let diskBytes: UInt64 = 64 << 20

    private let registers: FunctionDriver
    private let requests: PreparedRequests
    var doorbells: UInt64 { registers.doorbells }

    init(_ machine: Machine, function: Int, depth: Int, bytes: Int) throws {
        registers = FunctionDriver(machine, function: function)
        let part = machine.hostMemory.size / 64
        let memory = FlatMemory(base: machine.hostMemoryAddress, machine.hostMemory.bytes)
        requests = PreparedRequests(
            in: memory, at: memory.base + UInt64(part * (function - 1)), depth: depth, bytes: bytes, diskBytes: Self.diskBytes,
            seed: UInt64(function))
        try registers.bringUp([.version1, .eventIndex], [requests.queue.layout])
    }

    private func notify() {
        guard requests.queue.needsNotification() else { return }
        registers.notify()
    }

    /// Fills the queue.
    func begin() {
        requests.begin()
        notify()
    }

    /// Reaps what is done and replaces it by new requests; returns how many.
    func serve() throws -> Int {
        let count = try requests.serve()
        if count > 0 { notify() }
        return count
    }
}
