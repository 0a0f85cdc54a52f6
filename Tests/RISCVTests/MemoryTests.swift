import RISCV
import Registers
import Simulation
import Testing

/// Plain memory, the port, and code that changes.
@Suite struct MemoryTests {
    @Test func whatThePortSees() {
        let machine = TestMachine(hart: 1)
        machine.write([Assembler.nop, Assembler.load(1, 6, 6, 5), Assembler.store(0, 7, -1, 5), Assembler.nop])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = 0x1000_0010
        state.x[7] = 0xaabb_ccdd
        state.time = 100
        machine.hart.state = state
        machine.respond = { access in
            if !access.isWrite { access.value = 0xffff_ffff_1234_8001 }
            access.time += access.isWrite ? 0 : 25
            return .ok
        }
        for _ in 0..<4 { _ = machine.hart.step() }
        let (load, store) = (machine.accesses[0], machine.accesses[1])
        #expect(load.address == 0x1000_0016 && load.size == 2 && !load.isWrite && load.initiator == .hart(1))
        #expect(load.origin == UInt64(TestMachine.base) + 4 && load.time == 101 + 25)
        #expect(store.address == 0x1000_000f && store.size == 1 && store.isWrite && store.value == 0xdd, "only the bytes of the access")
        #expect(store.origin == UInt64(TestMachine.base) + 8)
        #expect(store.time == 126, "the hart goes on when the load comes back")
        #expect(machine.hart.state.x[6] == 0xffff_8001, "sign-extended from the access's size")
        #expect(machine.hart.time == 128, "a store takes its own cycle even if the target takes none")
    }

    @Test func anAccessCanBringTheHorizonForward() {
        let machine = TestMachine()
        machine.write([Assembler.sw(0, 0, 5), Assembler.nop, Assembler.nop, Assembler.nop, Assembler.nop])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = 0x1000_0000
        machine.hart.state = state
        machine.respond = { _ in
            machine.horizon = 3
            return .ok
        }
        #expect(machine.hart.run(until: 1000) == .horizon)
        #expect(machine.hart.time == 3 && machine.hart.state.pc == TestMachine.base + 12)
        machine.horizon = .max
        #expect(machine.hart.run(until: 4) == .horizon)
        #expect(machine.hart.time == 4)
    }

    @Test func readOnlyMemoryAndLatency() {
        let machine = TestMachine()
        let rom = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        let slow = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 4096)
        defer {
            rom.deallocate()
            slow.deallocate()
        }
        rom.storeBytes(of: 77, as: UInt32.self)
        slow.storeBytes(of: 88, as: UInt32.self)
        machine.memory.add("ROM", at: 0x1_0000, rom, isReadOnly: true)
        machine.memory.add("slow", at: 0x4000_0000, slow, latency: 10)
        machine.write([Assembler.lw(6, 0, 5), Assembler.lw(7, 0, 8), Assembler.lw(9, 0, 8), Assembler.sw(0, 0, 8), Assembler.sw(0, 0, 5)])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = 0x1_0000
        state.x[8] = 0x4000_0000
        state.csr.mtvec = TestMachine.base + 0x100
        machine.hart.state = state
        for _ in 0..<5 { _ = machine.hart.step() }
        let after = machine.hart.state
        #expect(after.x[6] == 77 && after.x[7] == 88 && after.x[9] == 88)
        #expect(after.csr.mcause == 7 && after.csr.mtval == 0x1_0000 && rom.load(as: UInt32.self) == 77)
        #expect(after.time == 1 + 3 * 11 + 3)
        #expect(machine.accesses.isEmpty)
    }

    @Test func aRegionCanBeTakenOutOfDirectAccess() {
        let machine = TestMachine()
        let data = TestMachine.base + 0x3000
        machine[data] = 5
        // Loads and stores again and again; the region's accesses come to the port only in the middle.
        machine.write([Assembler.lw(6, 0, 5), Assembler.addi(6, 6, 1), Assembler.sw(6, 0, 5), Assembler.jal(0, -12)])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = data
        state.csr.mtvec = TestMachine.base + 0x100
        machine.hart.state = state
        func round() { for _ in 0..<4 { _ = machine.hart.step() } }
        round()
        round()
        #expect(machine[data] == 7 && machine.accesses.isEmpty)
        machine.region.allowsDirectAccess = false
        machine.respond = { access in
            access.value = access.isWrite ? access.value : 100
            return .ok
        }
        round()
        #expect(machine.accesses.map(\.value) == [100, 101] && machine.accesses.map(\.isWrite) == [false, true])
        #expect(machine[data] == 7)
        machine.respond = { _ in .uncorrectable }
        _ = machine.hart.step()
        #expect(machine.hart.state.csr.mcause == 5 && machine.hart.state.csr.mtval == data)
        machine.region.allowsDirectAccess = true
        machine.hart.state = state
        round()
        #expect(machine[data] == 8 && machine.accesses.count == 3)
    }

    @Test func codeWrittenByTheHartItself() {
        let machine = TestMachine()
        // x6 goes into the instruction two ahead, in the same block.
        machine.write([Assembler.sw(6, 8, 5), Assembler.nop, Assembler.addi(7, 0, 1), Assembler.jal(0, -12)])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = TestMachine.base
        state.x[6] = Assembler.addi(7, 0, 1)
        machine.hart.state = state
        #expect(machine.hart.run(until: 10) == .horizon)
        #expect(machine.hart.state.x[7] == 1)
        state.x[6] = Assembler.addi(7, 0, 2)
        machine.hart.state = state
        #expect(machine.hart.run(until: 3) == .horizon)
        #expect(machine.hart.state.x[7] == 2, "the block that is running is not what it was")
    }

    @Test func codeWrittenByOthers() {
        let machine = TestMachine()
        machine.write([Assembler.addi(7, 7, 1), Assembler.jal(0, -4)])
        _ = machine.hart.run(until: 30)
        let before = machine.hart.state.x[7]
        // DMA: memory first, then word of it.
        machine.bytes.storeBytes(of: Assembler.addi(7, 0, -1), as: UInt32.self)
        machine.memory.wasWritten(TestMachine.base - 4, bytes: 4)
        machine.memory.wasWritten(TestMachine.base, bytes: 4)
        _ = machine.hart.run(until: 40)
        #expect(before == 10 && machine.hart.state.x[7] == 0xffff_ffff)
    }

    @Test func twoHartsShareMemoryAndCode() {
        let machine = TestMachine()
        let other = Hart(id: 1, resetVector: TestMachine.base + 0x100, memory: machine.memory, port: machine)
        machine.write([Assembler.addi(7, 7, 1), Assembler.jal(0, -4)])
        machine.write([Assembler.sw(6, 0, 5), Assembler.jal(0, -4)], at: TestMachine.base + 0x100)
        _ = machine.hart.run(until: 30)
        var state = other.state
        state.x[5] = TestMachine.base
        state.x[6] = Assembler.addi(7, 0, -1)
        other.state = state
        _ = other.run(until: 3)
        _ = machine.hart.run(until: 40)
        #expect(machine.hart.state.x[7] == 0xffff_ffff)
        #expect(other.readCSR(.mhartid) == 1)
        other.isHalted = true
        #expect(other.run(until: 100) == .halted)
        other.idle(until: 100)
        other.reset()
        #expect(other.time == 100 && other.state.pc == TestMachine.base + 0x100 && other.readCSR(.mcycle) == 0)
    }

    /// More code than the block cache holds, several times over.
    @Test func moreCodeThanTheCacheHolds() {
        let machine = TestMachine(size: 2 << 20)
        // Blocks of two instructions: a quarter of a million of them.
        let pair = [Assembler.addi(7, 7, 1), Assembler.jal(0, 4)]
        for offset in stride(from: 0, to: (2 << 20) - 8, by: 8) {
            machine.bytes.storeBytes(of: pair[0], toByteOffset: offset, as: UInt32.self)
            machine.bytes.storeBytes(of: pair[1], toByteOffset: offset + 4, as: UInt32.self)
        }
        machine.bytes.storeBytes(of: Assembler.addi(8, 8, 1), toByteOffset: (2 << 20) - 8, as: UInt32.self)
        machine.bytes.storeBytes(of: Assembler.wfi, toByteOffset: (2 << 20) - 4, as: UInt32.self)
        machine.memory.wasWritten(TestMachine.base, bytes: 2 << 20)
        for round in 1...2 {
            #expect(machine.hart.run(until: .max) == .waiting)
            #expect(machine.hart.state.x[7] == UInt32(round * ((2 << 20) / 8 - 1)) && machine.hart.state.x[8] == UInt32(round))
            var state = machine.hart.state
            state.pc = TestMachine.base
            state.isWaiting = false
            machine.hart.state = state
        }
    }
}
