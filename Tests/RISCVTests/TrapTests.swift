import RISCV
import Registers
import Testing

@Suite struct TrapTests {
    static let handler = TestMachine.base + 0x400

    /// A hart with a handler at `handler`, in the given privilege with all of memory open to U-mode.
    static func machine(
        _ instructions: [UInt32], _ privilege: Privilege = .machine, change: (inout HartState) -> Void = { _ in }
    ) -> TestMachine {
        let machine = TestMachine()
        machine.write(instructions)
        var state = HartState(pc: TestMachine.base)
        state.privilege = privilege
        state.csr.mtvec = handler
        state.pmp.setAddress(15, .max)
        state.pmp.setConfiguration(15, 0x1f)
        change(&state)
        machine.hart.state = state
        return machine
    }

    /// Every exception: cause, value, where it points to, and that the instruction did not retire.
    @Test func exceptions() {
        let base = TestMachine.base
        let cases: [(String, UInt32, Privilege, cause: UInt32, value: UInt32)] = [
            ("ecall in U", Assembler.ecall, .user, 8, 0), ("ecall in M", Assembler.ecall, .machine, 11, 0),
            ("ebreak", Assembler.ebreak, .user, 3, 0), ("c.ebreak", 0x9002, .machine, 3, 0),
            ("illegal", 0xffff_ffff, .machine, 2, 0xffff_ffff), ("illegal, compressed", 0x0000, .user, 2, 0),
            ("mret in U", Assembler.mret, .user, 2, Assembler.mret),
            ("CSR in U", Assembler.csrr(5, 0x300), .user, 2, Assembler.csrr(5, 0x300)),
            ("no such CSR", Assembler.csr(1, 5, 0x7c0, 6), .machine, 2, Assembler.csr(1, 5, 0x7c0, 6)),
            ("read-only CSR", Assembler.csr(6, 1, 0xf14, 3), .machine, 2, Assembler.csr(6, 1, 0xf14, 3)),
            ("misaligned lh", Assembler.load(1, 7, 1, 5), .user, 4, base + 0x1001),
            ("misaligned lw", Assembler.lw(7, 2, 5), .user, 4, base + 0x1002),
            ("misaligned sh", Assembler.store(1, 7, 3, 5), .user, 6, base + 0x1003),
            ("misaligned sw", Assembler.sw(7, 1, 5), .user, 6, base + 0x1001),
            ("misaligned lr", Assembler.lr(7, 8), .user, 4, base + 0x1002),
            ("misaligned sc", Assembler.sc(7, 5, 8), .user, 6, base + 0x1002),
            ("misaligned amo", Assembler.atomic(0, 7, 5, 8), .user, 6, base + 0x1002),
            ("lr of a register", Assembler.lr(7, 9), .machine, 5, 0x1000_0000),
            ("sc to a register", Assembler.sc(7, 5, 9), .machine, 7, 0x1000_0000),
            ("amo on a register", Assembler.atomic(1, 7, 5, 9), .machine, 7, 0x1000_0000),
        ]
        for (name, bits, privilege, cause, value) in cases {
            let machine = Self.machine([bits], privilege) { state in
                state.x[5] = base + 0x1000
                state.x[7] = 0x7777
                state.x[8] = base + 0x1002
                state.x[9] = 0x1000_0000
                state.csr.mstatus = 0x8
            }
            #expect(machine.hart.step() == .horizon)
            let state = machine.hart.state
            #expect(state.csr.mcause == cause && state.csr.mtval == value, "\(name): \(state.csr.mcause), \(hex(state.csr.mtval))")
            #expect(state.csr.mepc == base && state.pc == Self.handler, "\(name)")
            #expect(state.retired == 0 && state.x[7] == 0x7777, "\(name)")
            #expect(state.csr.mstatus == (privilege == .machine ? 0x1880 : 0x80) && state.privilege == .machine, "\(name)")
            #expect(state.time == 3, "\(name)")
            #expect(machine.accesses.isEmpty, "\(name)")
        }
    }

    @Test func busErrorsAreAccessFaults() {
        for status in BusStatus.allCases where status != .ok {
            let accesses: [(UInt32, UInt32)] = [(Assembler.lw(7, 4, 5), 5), (Assembler.sw(7, 4, 5), 7), (Assembler.lw(0, 4, 5), 5)]
            for (bits, cause) in accesses {
                let machine = Self.machine([bits]) { $0.x[5] = 0x1000_0000; $0.x[7] = 1 }
                machine.respond = { access in
                    access.value = 0xbad
                    return status
                }
                _ = machine.hart.step()
                let state = machine.hart.state
                #expect(state.csr.mcause == cause && state.csr.mtval == 0x1000_0004 && state.x[7] == 1, "\(status)")
                #expect(machine.accesses.count == 1)
            }
        }
    }

    @Test func fetchingOutsideMemoryIsAFault() {
        let outside = Self.machine([Assembler.jalr(1, 5, 0)]) { $0.x[5] = 0x1000_0000 }
        #expect(outside.hart.run(until: 5) == .horizon)
        let state = outside.hart.state
        #expect(state.csr.mcause == 1 && state.csr.mepc == 0x1000_0000 && state.csr.mtval == 0x1000_0000)
        #expect(state.x[1] == TestMachine.base + 4)
        #expect(outside.accesses.isEmpty, "instructions are not fetched through the port")

        // The second half of an instruction is not in memory: mtval says where.
        let end = TestMachine.base + (1 << 20)
        let half = Self.machine([]) { $0.pc = end - 2 }
        half.bytes[(1 << 20) - 2] = 0x13
        _ = half.hart.step()
        #expect(half.hart.state.csr.mcause == 1 && half.hart.state.csr.mepc == end - 2 && half.hart.state.csr.mtval == end)
    }

    @Test func interruptsByPriorityAndVector() {
        for isVectored in [false, true] {
            let machine = Self.machine([Assembler.nop, Assembler.nop]) { state in
                state.csr.mtvec = Self.handler | (isVectored ? 1 : 0)
                state.csr.mie = 0x888
                state.csr.mstatus = 0x8
            }
            _ = machine.hart.step()
            for pin in InterruptPin.allCases { machine.hart.setPin(pin, true) }
            for (pin, code) in [(InterruptPin.external, 11), (.software, 3), (.timer, 7)] as [(InterruptPin, UInt32)] {
                _ = machine.hart.step()
                var state = machine.hart.state
                #expect(state.csr.mcause == 0x8000_0000 | code && state.csr.mepc == TestMachine.base + 4 && state.csr.mtval == 0)
                #expect(state.pc == Self.handler + (isVectored ? 4 * code : 0))
                #expect(state.csr.mstatus == 0x1880)
                machine.hart.setPin(pin, false)
                state.pins = machine.hart.state.pins
                state.pc = TestMachine.base + 4
                state.csr.mstatus = 0x8
                machine.hart.state = state
            }
        }
    }

    @Test func interruptsWaitForTheirEnable() {
        let machine = Self.machine([Assembler.csr(6, 0, 0x300, 8), Assembler.nop, Assembler.nop]) { $0.csr.mie = 0x80 }
        machine.hart.setPin(.timer, true)
        _ = machine.hart.step()
        #expect(machine.hart.state.pc == TestMachine.base + 4, "mstatus.MIE was clear")
        _ = machine.hart.step()
        #expect(machine.hart.state.csr.mcause == 0x8000_0007 && machine.hart.state.csr.mepc == TestMachine.base + 4)

        let user = Self.machine([Assembler.nop], .user) { $0.csr.mie = 0x80 }
        user.hart.setPin(.timer, true)
        _ = user.hart.step()
        #expect(user.hart.state.csr.mcause == 0x8000_0007, "in U-mode M-mode's interrupts are always enabled")
        let disabled = Self.machine([Assembler.nop], .user)
        disabled.hart.setPin(.timer, true)
        _ = disabled.hart.step()
        #expect(disabled.hart.state.csr.mcause == 0)
    }

    @Test func anAccessCanRaiseAnInterruptOfItsOwnHart() {
        // A store to a register raises the software interrupt: taken before the next instruction, in the middle of a block.
        let code = [Assembler.addi(6, 0, 1), Assembler.sw(6, 0, 5), Assembler.addi(6, 0, 2), Assembler.addi(6, 0, 3)]
        let machine = Self.machine(code) { state in
            state.x[5] = 0x0200_0000
            state.csr.mie = 0x8
            state.csr.mstatus = 0x8
        }
        machine.respond = { access in
            machine.hart.setPin(.software, access.value != 0)
            return .ok
        }
        _ = machine.hart.run(until: 4)
        let state = machine.hart.state
        #expect(state.csr.mcause == 0x8000_0003 && state.csr.mepc == TestMachine.base + 8 && state.x[6] == 1)
    }

    @Test func returnsFromTraps() {
        let machine = Self.machine([Assembler.mret]) { state in
            state.csr.mepc = TestMachine.base + 0x20
            state.csr.mstatus = 0x2_0080  // MPRV, MPIE, MPP = U
            state.reservation.isValid = true
        }
        _ = machine.hart.step()
        let state = machine.hart.state
        #expect(state.pc == TestMachine.base + 0x20 && state.privilege == .user && state.csr.mstatus == 0x88)
        #expect(state.retired == 1 && !state.reservation.isValid)
        #expect(state.csr.mstatus & 0x2_0000 == 0, "MPRV is cleared on the way to U-mode")

        let machineMode = Self.machine([Assembler.mret]) { $0.csr.mstatus = 0x2_1800; $0.csr.mepc = TestMachine.base }
        _ = machineMode.hart.step()
        #expect(machineMode.hart.state.privilege == .machine && machineMode.hart.state.csr.mstatus == 0x2_0080)
    }

    @Test func waitsForInterrupts() {
        let machine = Self.machine([Assembler.wfi, Assembler.addi(6, 0, 1), Assembler.addi(6, 0, 2)]) { $0.csr.mie = 0x80 }
        #expect(machine.hart.run(until: 1000) == .waiting)
        #expect(machine.hart.time == 1 && machine.hart.state.pc == TestMachine.base + 4 && machine.hart.state.isWaiting)
        #expect(machine.hart.run(until: 1000) == .waiting)
        machine.hart.setPin(.external, true)
        #expect(machine.hart.run(until: 1000) == .waiting, "mie does not have this one")
        machine.hart.idle(until: 500)
        machine.hart.setPin(.timer, true)
        #expect(machine.hart.run(until: 501) == .horizon)
        #expect(machine.hart.state.x[6] == 1 && machine.hart.time == 501, "goes on without a handler: MIE is clear")
        #expect(!machine.hart.state.isWaiting)

        let pending = Self.machine([Assembler.wfi, Assembler.nop]) { $0.csr.mie = 0x80 }
        pending.hart.setPin(.timer, true)
        #expect(pending.hart.run(until: 2) == .horizon)
        #expect(pending.hart.state.pc == TestMachine.base + 8)

        let forbidden = Self.machine([Assembler.wfi], .user) { $0.csr.mstatus = 1 << 21 }
        _ = forbidden.hart.step()
        #expect(forbidden.hart.state.csr.mcause == 2 && forbidden.hart.state.csr.mtval == Assembler.wfi)
    }
}
