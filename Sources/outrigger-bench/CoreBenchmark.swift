import ArgumentParser
import RISCV
import Registers
import Simulation

/// Speed of the management core: instructions of a CPU-bound guest program, and its accesses to registers.
struct CoreBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "core", abstract: "Instructions per second of a CPU-bound program, register accesses per second.")

    @Argument(help: "The guest program: an ELF file from tools/bench/guest.") var program: String
    @Option(help: "Iterations of the guest program instead of its own number.") var iterations: UInt32?
    @Option(help: "Repetitions; the best counts.") var repetitions = 3
    @Flag(help: "Print the figures as JSON.") var json = false

    func validate() throws {
        guard repetitions > 0 else { throw ValidationError("--repetitions must be at least 1") }
    }

    func run() throws {
        let image = try ELFImage(readFile(program))
        guard let iterationsSymbol = image.symbol("iterations"), let resultSymbol = image.symbol("result") else {
            throw ValidationError("\(program) has no symbols `iterations` and `result`")
        }
        var best: (seconds: Double, instructions: UInt64, cycles: UInt64, result: UInt32, interrupts: UInt32)?
        for _ in 0..<repetitions {
            let machine = CoreMachine()
            try image.load(into: machine.memory)
            if let iterations { machine.write(iterations, at: iterationsSymbol.address) }
            let seconds = try machine.runToEnd()
            if best.map({ seconds < $0.seconds }) ?? true {
                let state = machine.hart.state
                let interrupts = image.symbol("interrupts").map { machine.read($0.address) } ?? 0
                best = (seconds, state.retired, state.time, machine.read(resultSymbol.address), interrupts)
            }
        }
        guard let best else { return }
        let mips = rounded(Double(best.instructions) / best.seconds / 1e6, 1)
        let accesses = rounded(try registerAccesses(), 0)
        if json {
            print("""
                {"instructions": \(best.instructions), "cycles": \(best.cycles), "interrupts": \(best.interrupts), \
                "result": \(best.result), "mips": \(mips), "registerAccessesPerSecond": \(accesses)}
                """)
        } else {
            print("\(best.instructions) instructions in \(best.cycles) cycles, \(best.interrupts) interrupts, result \(best.result)")
            print("\(mips) MIPS, \(accesses) register accesses per second")
        }
    }

    /// Loads and stores of a loop that does nothing else, to registers behind the port.
    private func registerAccesses() throws -> Double {
        var best = 0.0
        for _ in 0..<repetitions {
            let machine = CoreMachine()
            // lui x5, 0x10000; 1: lw x6, 0(x5); sw x6, 4(x5); lw x7, 8(x5); sw x7, 12(x5); j 1b
            let code: [UInt32] = [0x1000_02b7, 0x0002_a303, 0x0062_a223, 0x0082_a383, 0x0072_a623, 0xff1f_f06f]
            for (index, word) in code.enumerated() { machine.write(word, at: CoreMachine.base + 4 * UInt32(index)) }
            machine.lastAccess = 10_000_000
            let seconds = try machine.runToEnd()
            best = max(best, Double(machine.accesses) / seconds)
        }
        return best
    }
}

/// A hart with memory, a timer, some registers, and a register that ends the run.
private final class CoreMachine: HartPort {
    static let base: UInt32 = 0x8000_0000
    /// Cycles of one tick of mtime.
    private static let tick: Cycle = 100

    let memory = MemoryMap()
    private let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 20, alignment: 4096)
    private(set) var hart: Hart!
    private(set) var horizon: Cycle = .max
    private var timerDue: Cycle = .max
    private var registers = InlineArray<4, UInt64>(repeating: 0)
    private var exitCode: UInt64?
    private(set) var accesses = 0
    /// The run ends with this access.
    var lastAccess = Int.max

    init() {
        bytes.initializeMemory(as: UInt8.self, repeating: 0)
        memory.add("SRAM", at: Self.base, bytes)
        hart = Hart(id: 0, resetVector: Self.base, memory: memory, port: self)
    }

    deinit {
        hart = nil
        bytes.deallocate()
    }

    func read(_ address: UInt32) -> UInt32 { bytes.load(fromByteOffset: Int(address - Self.base), as: UInt32.self) }

    func write(_ value: UInt32, at address: UInt32) {
        bytes.storeBytes(of: value, toByteOffset: Int(address - Self.base), as: UInt32.self)
        memory.wasWritten(address, bytes: 4)
    }

    /// Runs until the program ends; returns the processor time that took, in seconds.
    func runToEnd() throws -> Double {
        let start = processorTime()
        while exitCode == nil && accesses < lastAccess {
            switch hart.run(until: .max) {
            case .horizon:
                if hart.time >= timerDue { hart.setPin(.timer, true) }
                horizon = .max
            case let reason:
                throw BenchmarkError(description: "the guest program stopped: \(reason)")
            }
        }
        let seconds = processorTime() - start
        if let exitCode, exitCode != 0x5555 { throw BenchmarkError(description: "the guest program failed with \(exitCode)") }
        return seconds
    }

    func access(_ access: inout BusAccess) -> BusStatus {
        accesses += 1
        if accesses == lastAccess { horizon = 0 }
        switch access.address {
        case 0x1000_0000...0x1000_000f:
            let index = Int(access.address &>> 2 & 3)
            if access.isWrite { registers[index] = access.value } else { access.value = registers[index] }
        case 0x0200_bff8:
            access.value = access.time / Self.tick & 0xffff_ffff
        case 0x0200_4000 where access.isWrite:
            timerDue = access.value &* Self.tick
            hart.setPin(.timer, false)
            horizon = timerDue
        case 0x0200_4004 where access.isWrite:
            break
        case 0x0010_0000 where access.isWrite:
            exitCode = access.value
            horizon = 0
        default:
            return .unmapped
        }
        return .ok
    }
}
