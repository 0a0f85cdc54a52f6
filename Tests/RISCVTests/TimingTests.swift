import RISCV
import Registers
import Testing

/// Cycle counts against those of the core's RTL: `hazard3-rtl.csv` has what it measured for each case of `microbench.S`.
@Suite struct TimingTests {
    struct Measurement {
        let instructions: Int
        let cycles: Int
    }

    /// Runs the suite and parses the lines that it prints: `MB,case,groups,instructions,cycles,...` in hexadecimal. The case
    /// `empty` is what the measurement itself takes.
    static func measure() throws -> [String: Measurement] {
        let machine = TestMachine()
        var output: [UInt8] = []
        var isDone = false
        machine.respond = { access in
            if access.address == 0x1000_0000 { output.append(UInt8(access.value)) }
            if access.address == 0x10_0000 {
                isDone = true
                machine.horizon = 0
            }
            return .ok
        }
        let image = try ELFImage(fixture("microbench.elf"))
        try image.load(into: machine.memory)
        #expect(machine.hart.run(until: 100_000_000) == .horizon)
        #expect(isDone)

        var results: [String: Measurement] = [:]
        for line in String(decoding: output, as: UTF8.self).split(separator: "\n") where line.hasPrefix("MB,") {
            let fields = line.split(separator: ",", maxSplits: 5)
            results[String(fields[1])] = Measurement(instructions: Int(fields[3], radix: 16)!, cycles: Int(fields[4], radix: 16)!)
        }
        let overhead = try #require(results["empty"])
        return results.mapValues {
            Measurement(instructions: $0.instructions - overhead.instructions, cycles: $0.cycles - overhead.cycles)
        }
    }

    /// The RTL counts an instruction that traps, and `mret` twice; the architecture says 0 and 1 (Privileged Architecture,
    /// section 3.3.1). The hart follows the architecture.
    static let architecturalInstructions = [
        "trap_ecall": 32, "trap_ebreak": 32, "trap_illegal": 32, "trap_load_misaligned": 32, "mret": 64, "ecall_roundtrip": 64,
    ]

    @Test func everyCaseTakesTheCyclesOfTheRTL() throws {
        let results = try Self.measure()
        let lines = String(decoding: try fixture("hazard3-rtl.csv"), as: UTF8.self).split(separator: "\n").dropFirst()
        #expect(lines.count == 298)
        for line in lines {
            let fields = line.split(separator: ",")
            let name = String(fields[0])
            let result = try #require(results[name], "\(name) did not run")
            let instructions = Self.architecturalInstructions[name] ?? Int(fields[1])!
            #expect(result.instructions == instructions, "\(name): \(result.instructions) instructions, expected \(instructions)")
            #expect(result.cycles == Int(fields[2])!, "\(name): \(result.cycles) cycles, on the RTL \(fields[2])")
        }
    }
}
