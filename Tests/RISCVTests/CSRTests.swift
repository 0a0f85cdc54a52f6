import RISCV
import Testing

@Suite struct CSRTests {
    /// Writes ones and zeroes to every register: what can be kept, and nothing else, is.
    @Test func fieldsThatExist() {
        let machine = TestMachine()
        let masks: [(CSR, UInt32)] = [
            (.mstatus, 0x22_1888), (.mie, 0x888), (.mtvec, ~2), (.mscratch, ~0), (.mepc, ~1), (.mcause, 0x8000_000f), (.mtval, ~0),
            (.mcounteren, 7), (.mcountinhibit, 5), (.mip, 0), (.mstatush, 0), (.menvcfg, 0), (.menvcfgh, 0),
            (.pmpcfg(1), 0x9f9f_9f9f), (.pmpaddr(3), ~0),
        ]
        for (csr, mask) in masks where csr != .pmpcfg(1) {
            #expect(machine.hart.writeCSR(csr, 0))
            #expect(machine.hart.readCSR(csr) == 0)
            machine.hart.writeCSR(csr, ~0)
            #expect(machine.hart.readCSR(csr) == mask, "CSR \(hex(UInt32(csr.rawValue)))")
            machine.hart.writeCSR(csr, 0)
        }
        machine.hart.writeCSR(.pmpcfg(1), 0x1f1f_1f1f)
        #expect(machine.hart.readCSR(.pmpcfg(1)) == 0x1f1f_1f1f)
        machine.hart.writeCSR(.misa, 0)
        #expect(machine.hart.readCSR(.misa) == 0x4010_1107)
        #expect(machine.hart.readCSR(.mvendorid) == 0)
        #expect(!machine.hart.writeCSR(.mhartid, 1))
        for number in [0x180, 0x302, 0x303, 0x7a0, 0xc01, 0x100] as [UInt16] {
            #expect(machine.hart.readCSR(CSR(rawValue: number)) == nil)
        }
        #expect(TestMachine(hart: 1).hart.readCSR(.mhartid) == 1)
    }

    @Test func setAndClear() {
        let machine = TestMachine()
        machine.write([
            Assembler.csr(5, 5, 0x340, 21), Assembler.csr(6, 6, 0x340, 10), Assembler.csr(7, 7, 0x340, 3), Assembler.csr(2, 8, 0x340, 9),
            Assembler.csr(3, 10, 0x340, 9), Assembler.csr(1, 9, 0x340, 9), Assembler.csrr(11, 0x340),
        ])
        var state = HartState(pc: TestMachine.base)
        state.x[9] = 0xf0
        machine.hart.state = state
        for _ in 0..<7 { _ = machine.hart.step() }
        let x = machine.hart.state.x
        #expect([x[5], x[6], x[7], x[8], x[10], x[9], x[11]] == [0, 21, 31, 28, 0xfc, 0xc, 0xf0])
    }

    @Test func counters() {
        let machine = TestMachine()
        machine.write([
            Assembler.csrr(5, 0xb00), Assembler.nop, Assembler.csrr(6, 0xb00), Assembler.csrr(7, 0xb02),
            Assembler.csrw(0xb00, 20), Assembler.csrr(8, 0xb00), Assembler.csrw(0xb02, 20), Assembler.csrr(9, 0xb02),
            Assembler.csr(5, 0, 0x320, 5), Assembler.nop, Assembler.csrr(10, 0xb00), Assembler.csrr(11, 0xb00),
            Assembler.csrr(12, 0xb02), Assembler.csr(5, 0, 0x320, 0), Assembler.csrr(13, 0xb00), Assembler.csrr(14, 0xb02),
        ])
        var state = HartState(pc: TestMachine.base)
        state.x[20] = 0xffff_fff0
        machine.hart.state = state
        for _ in 0..<16 { _ = machine.hart.step() }
        let x = machine.hart.state.x
        #expect(x[6] - x[5] == 2 && x[7] == 3)
        #expect(x[8] == 0xffff_fff0, "the next instruction reads what was written")
        #expect(x[9] == 0xffff_fff0)
        #expect(x[10] == x[11], "stopped")
        #expect(x[13] == x[11] && x[14] == x[12] + 1, "goes on from where it stopped")
        machine.hart.writeCSR(.mcycleh, 5)
        #expect(machine.hart.readCSR(.mcycleh) == 5 && machine.hart.readCSR(.cycleh) == 5)
        machine.hart.writeCSR(.minstreth, 7)
        #expect(machine.hart.readCSR(.instreth) == 7)
    }

    @Test func countersInUserMode() {
        let cases: [(UInt32, Int, Bool)] = [(1, 0xc00, true), (4, 0xc00, false), (4, 0xc82, true), (3, 0xc02, false)]
        for (enable, number, isAllowed) in cases {
            let machine = TrapTests.machine([Assembler.csrr(5, number)], .user) { $0.csr.mcounteren = enable }
            _ = machine.hart.step()
            #expect((machine.hart.state.csr.mcause == 0) == isAllowed)
        }
    }
}
