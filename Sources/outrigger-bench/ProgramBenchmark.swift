import ArgumentParser
import Glibc
import OffloadDevice
import RISCV
import Registers
import Scratch
import Tracing

/// Speed of the management core in the whole device, by a guest program that ends itself.
struct ProgramBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "program", abstract: "Instructions and register accesses per second of a guest program on the device.")

    @Argument(help: "The guest program: an ELF file from tools/bench/guest.") var program: String
    @OptionGroup var recording: RecordingOptions
    @OptionGroup var output: OutputOptions

    func run() throws {
        let file = try readFile(program)
        let image = try ELFImage(file)
        // The default device at the pace `max`: its thread does what it would do under a mount.
        let machine = try Machine(MachineDescription(), pace: .max)
        let end = ProgramEnd()
        machine.inspect { device in
            let index = device.crossbar.attach(end, name: "END", latency: 0)
            device.crossbar.map(index, in: .firmware, at: ProgramEnd.address, size: 4096)
        }
        if let record = recording.record { try machine.startRecording(folder: record) }
        try machine.loadFirmware(file)
        if let trace = recording.trace { try machine.startTrace(folder: trace) }
        let start = processorTime(), begin = elapsedTime()
        machine.start()
        let code = end.wait()
        let elapsed = elapsedTime() - begin
        machine.stop()
        // What the trace's own thread took is no part of what the machine takes, with a processor for each.
        let tracing = processorTime(ofThreads: TraceWriter.threadName), seconds = processorTime() - start - tracing
        machine.stopTrace()
        if let failure = machine.stopRecording() { throw failure }
        guard code == ProgramEnd.success else { throw BenchmarkError(description: "the guest program failed with \(code)") }

        func word(_ name: String, _ offset: UInt32 = 0) throws -> UInt64 {
            guard let symbol = image.symbol(name) else { throw BenchmarkError(description: "\(program) has no symbol \(name)") }
            return machine.inspect { $0.peek(.firmware, UInt64(symbol.address + offset), size: 4) } ?? 0
        }
        let accesses = machine.inspect { $0.crossbar.laneState(0).accesses }
        output.print([
            ("instructions", Double(try word("retired") | word("retired", 4) << 32)),
            ("cycles", Double(try word("cycles") | word("cycles", 4) << 32)),
            ("interrupts", Double(try word("interrupts"))),
            ("result", Double(try word("result"))),
            ("accesses", Double(accesses)),
            ("seconds", seconds),
            ("tracing", tracing), ("elapsed", elapsed),
        ])
    }
}

/// The register by which a guest program says that it is done.
private final class ProgramEnd: BusTarget {
    static let address: UInt64 = 0x0010_0000
    static let success: UInt64 = 0x5555

    private let done = UnsafeMutablePointer<sem_t>.allocate(capacity: 1)
    // Written by the machine's thread before the semaphore is posted, read after it was waited for.
    private var code: UInt64 = 0

    init() { sem_init(done, 0, 0) }

    deinit {
        sem_destroy(done)
        done.deallocate()
    }

    func wait() -> UInt64 {
        while sem_wait(done) != 0 {}
        return code
    }

    func access(_ access: inout BusAccess) -> BusStatus {
        guard access.isWrite else { return .writeOnly }
        code = access.value
        sem_post(done)
        return .ok
    }

    func peek(_ address: UInt64, size: Int) -> UInt64? { nil }
}
