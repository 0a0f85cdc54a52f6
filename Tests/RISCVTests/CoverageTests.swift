import RISCV
import Simulation
import Testing

/// Coverage at full speed against the program counters of single steps.
@Suite struct CoverageTests {
    private static let words = 96

    /// A program that jumps about in itself and traps now and then; its trap handler goes on at its beginning.
    private func program(_ random: inout SplitMix64) -> [UInt32] {
        (0..<Self.words).map { place in
            let (a, b) = (5 + Int(random.next() % 4), 5 + Int(random.next() % 4))
            let target = 4 * (Int(random.next() % UInt64(Self.words)) - place)
            return switch random.next() % 12 {
            case 0: Assembler.branch(UInt32(random.next() % 2), a, b, target)
            case 1: Assembler.branch(4 + UInt32(random.next() % 4), a, b, target)
            case 2: Assembler.jal(0, target)
            case 3: Assembler.lw(a, 0, 9)
            case 4: Assembler.sw(a, 0, 9)
            case 5: Assembler.lw(a, 0, 10)
            case 6: Assembler.csrr(a, 0x341)
            case 7: 0
            default: Assembler.addi(a, b, Int(random.next() % 64) - 32)
            }
        }
    }

    private func machine(_ program: [UInt32]) -> TestMachine {
        let machine = TestMachine()
        machine.write(program)
        var state = HartState(pc: TestMachine.base)
        state.csr.mtvec = TestMachine.base + 8
        state.x[9] = TestMachine.base + 0x2000
        state.x[10] = 0x1000_0000
        machine.hart.state = state
        return machine
    }

    private func covered(_ coverage: CodeCoverage) -> Set<UInt32> {
        var set: Set<UInt32> = []
        for (place, word) in coverage.bits.enumerated() {
            for bit in 0..<64 where word >> UInt64(bit) & 1 != 0 { set.insert(coverage.range.lowerBound + UInt32(2 * (64 * place + bit))) }
        }
        return set
    }

    @Test(arguments: 1...40) func exactlyWhatWasExecutedIsCovered(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let program = program(&random)
        let cycles: Cycle = 400 + random.next() % 400
        let range = TestMachine.base..<TestMachine.base + UInt32(4 * Self.words)

        let stepped = machine(program)
        var executed: Set<UInt32> = []
        while stepped.hart.time < cycles {
            if range.contains(stepped.hart.pc) { executed.insert(stepped.hart.pc) }
            _ = stepped.hart.step()
        }

        let machine = machine(program)
        let coverage = CodeCoverage(of: range)
        machine.hart.setCoverage(coverage)
        // In pieces: however a run is cut makes no difference.
        while machine.hart.time < cycles {
            _ = machine.hart.run(until: min(cycles, machine.hart.time + 1 + random.next() % 90))
            if random.next() % 8 == 0 { machine.memory.wasWritten(TestMachine.base, bytes: 4) }
        }
        machine.hart.collectCoverage()
        #expect(machine.hart.state == stepped.hart.state)
        #expect(covered(coverage) == executed, "seed \(seed)")

        // What runs before it is asked for, or after it has ended, is not in it.
        let later = CodeCoverage(of: range)
        machine.hart.setCoverage(later)
        machine.hart.setCoverage(nil)
        _ = machine.hart.run(until: cycles + 100)
        machine.hart.collectCoverage()
        #expect(covered(later).isEmpty)
    }
}
