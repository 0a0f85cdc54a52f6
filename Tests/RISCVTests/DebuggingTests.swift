import RISCV
import Testing

/// Breakpoints, single steps, and state that can be taken out and put back.
@Suite struct DebuggingTests {
    /// Counts x5 up, in a loop of three instructions.
    static let loop: [UInt32] = [Assembler.addi(5, 5, 1), Assembler.addi(6, 6, 2), Assembler.jal(0, -8)]

    @Test func breakpoints() {
        let machine = TestMachine()
        machine.write(Self.loop)
        _ = machine.hart.run(until: 100)
        let count = machine.hart.state.x[5]
        machine.hart.insertBreakpoint(TestMachine.base + 4)
        for round in 1...3 {
            #expect(machine.hart.run(until: .max) == .breakpoint)
            #expect(machine.hart.state.pc == TestMachine.base + 4 && machine.hart.state.x[5] == count + UInt32(round))
        }
        #expect(machine.hart.step() == .horizon)
        #expect(machine.hart.state.pc == TestMachine.base + 8)
        machine.hart.insertBreakpoint(TestMachine.base + 8)
        #expect(machine.hart.run(until: .max) == .breakpoint)
        #expect(machine.hart.state.pc == TestMachine.base + 4, "the instruction at which the run begins is executed")
        #expect(machine.hart.run(until: .max) == .breakpoint)
        #expect(machine.hart.state.pc == TestMachine.base + 8)
        machine.hart.removeBreakpoint(TestMachine.base + 4)
        machine.hart.removeBreakpoint(TestMachine.base + 8)
        #expect(machine.hart.run(until: machine.hart.time + 1000) == .horizon)
    }

    @Test func stepsWithoutInterrupts() {
        let machine = TestMachine()
        machine.write(Self.loop)
        var state = HartState(pc: TestMachine.base)
        state.csr.mtvec = TestMachine.base + 0x100
        state.csr.mie = InterruptPin.timer.mask
        state.csr.mstatus |= 1 << 3
        machine.hart.state = state
        machine.hart.setPin(.timer, true)
        #expect(machine.hart.step(takingInterrupts: false) == .horizon && machine.hart.pc == TestMachine.base + 4)
        #expect(machine.hart.step(takingInterrupts: false) == .horizon && machine.hart.pc == TestMachine.base + 8)
        #expect(machine.hart.step() == .horizon && machine.hart.pc == TestMachine.base + 0x100, "it was kept pending")
        #expect(machine.hart.state.csr.mepc == TestMachine.base + 8)
    }

    /// The port is asked before accesses to watched memory and to what isn't memory; otherwise they go on as before.
    @Test func watchedMemory() {
        func run(_ isWatched: Bool, _ allowsDirectAccess: Bool = true) -> (machine: TestMachine, state: HartState) {
            let machine = TestMachine()
            machine.write([Assembler.lw(6, 0, 5), Assembler.sw(6, 4, 5), Assembler.sw(6, 0, 7), Assembler.jal(0, -12)])
            machine[TestMachine.base + 0x1000] = 0x1234_5678
            var state = HartState(pc: TestMachine.base)
            state.x[5] = TestMachine.base + 0x1000
            state.x[7] = 0x1000_0000
            machine.hart.state = state
            machine.hart.isWatched = isWatched
            machine.region.isWatched = isWatched
            machine.region.allowsDirectAccess = allowsDirectAccess
            _ = machine.hart.run(until: 100)
            return (machine, machine.hart.state)
        }
        let (unwatched, plain) = run(false)
        let (watched, told) = run(true)
        #expect(told == plain && watched[TestMachine.base + 0x1004] == 0x1234_5678)
        #expect(unwatched.watched.isEmpty && watched.accesses.count == unwatched.accesses.count)
        #expect(watched.watched.count > 3 * watched.accesses.count - 3)
        #expect(watched.watched[0].address == 0x8000_1000 && !watched.watched[0].isWrite)
        #expect(watched.watched[1].address == 0x8000_1004 && watched.watched[1].isWrite && watched.watched[1].origin == 0x8000_0004)
        #expect(watched.watched[1].value == 0x1234_5678 && watched.watched[2].address == 0x1000_0000)
        let (indirect, _) = run(true, false)
        #expect(indirect.watched.count == indirect.accesses.count || indirect.watched.count == indirect.accesses.count + 1)
    }

    /// Where the port doesn't permit an access, the hart is before the instruction, and does it whole when it is permitted.
    @Test func accessesThatWait() {
        let code = [
            Assembler.addi(6, 0, 7), Assembler.lw(8, 0, 5), Assembler.sw(6, 4, 5), Assembler.sw(6, 0, 7), Assembler.addi(9, 9, 1),
            Assembler.jal(0, -20),
        ]
        func run(_ waits: Bool) -> (HartState, Int) {
            let machine = TestMachine()
            machine.write(code)
            var state = HartState(pc: TestMachine.base)
            state.x[5] = TestMachine.base + 0x1000
            state.x[7] = 0x1000_0000
            machine.hart.state = state
            machine.hart.isWatched = waits
            machine.region.isWatched = waits
            var isHeld = false, stops = 0
            machine.permission = { [unowned machine] access in
                isHeld.toggle()
                if isHeld {
                    stops += 1
                    machine.horizon = 0
                    #expect(UInt64(machine.hart.pc) == access.origin && machine.hart.time == access.time)
                }
                return !isHeld
            }
            while machine.hart.time < 500 {
                machine.horizon = .max
                _ = machine.hart.run(until: 500)
            }
            return (machine.hart.state, stops)
        }
        let (plain, _) = run(false)
        let (held, stops) = run(true)
        #expect(plain == held && stops > 50)
    }

    /// A load and its use, a predicted loop, a division: with a breakpoint at each instruction the cycles are the same.
    @Test func breakpointsTakeNoTime() {
        let code = [
            Assembler.addi(5, 0, 20), Assembler.lw(6, 0, 8), Assembler.addi(7, 6, 1), Assembler.r(1, 4, 9, 10, 5), Assembler.addi(5, 5, -1),
            Assembler.branch(1, 5, 0, -16), Assembler.wfi,
        ]
        func run(_ withBreakpoints: Bool) -> HartState {
            let machine = TestMachine()
            machine.write(code)
            var state = HartState(pc: TestMachine.base)
            state.x[8] = TestMachine.base + 0x1000
            state.x[10] = 0xffff_fff0
            machine.hart.state = state
            if withBreakpoints { for index in 0..<7 { machine.hart.insertBreakpoint(TestMachine.base + UInt32(4 * index)) } }
            while machine.hart.run(until: .max) != .waiting {}
            return machine.hart.state
        }
        #expect(run(false) == run(true))
    }

    @Test func stateCanBeSavedAndRestored() {
        let machine = TestMachine()
        machine.write(Self.loop)
        _ = machine.hart.run(until: 37)
        let saved = machine.hart.state
        _ = machine.hart.run(until: 90)
        let later = machine.hart.state
        machine.hart.state = saved
        #expect(machine.hart.state == saved)
        _ = machine.hart.run(until: 90)
        #expect(machine.hart.state == later)

        let fresh = TestMachine()
        fresh.write(Self.loop)
        fresh.hart.state = saved
        _ = fresh.hart.run(until: 90)
        #expect(fresh.hart.state == later, "the branch predictor is part of the state")
        #expect(saved != later)
    }

    @Test func registersByNumber() {
        let machine = TestMachine()
        var state = machine.hart.state
        state.x[0] = 9
        state.x[31] = 5
        state.pc = TestMachine.base + 2
        machine.hart.state = state
        #expect(machine.hart.state.x[0] == 0 && machine.hart.state.x[31] == 5 && machine.hart.state.pc == TestMachine.base + 2)
        machine.hart[register: 0] = 9
        machine.hart[register: 7] = 70
        machine.hart.pc = TestMachine.base + 9
        #expect(machine.hart[register: 0] == 0 && machine.hart[register: 7] == 70 && machine.hart.pc == TestMachine.base + 8)
        #expect(machine.hart.state.x[7] == 70 && machine.hart.state.pc == TestMachine.base + 8)
    }
}
