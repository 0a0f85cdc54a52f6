import RISCV
import Simulation
import Testing

/// Each instruction against the plainest statement of what it computes.
@Suite struct InstructionTests {
    static let seed: UInt64 = 0x1257
    static let corners: [UInt32] = [
        0, 1, 2, 31, 32, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_fffe, 0xffff_ffff,
    ]

    /// All pairs of corner values, and random ones.
    static func operands() -> [(UInt32, UInt32)] {
        var random = SplitMix64(seed: seed)
        return corners.flatMap { a in corners.map { (a, $0) } }
            + (0..<200).map { _ in (UInt32(truncatingIfNeeded: random.next()), UInt32(truncatingIfNeeded: random.next())) }
    }

    /// Executes one instruction with x5 and x6 as given; returns the state after it.
    static func execute(_ machine: TestMachine, _ bits: UInt32, _ x5: UInt32 = 0, _ x6: UInt32 = 0) -> HartState {
        machine.write([bits])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = x5
        state.x[6] = x6
        machine.hart.state = state
        #expect(machine.hart.step() == .horizon)
        return machine.hart.state
    }

    @Test func registerRegister() {
        let machine = TestMachine()
        for entry in InstructionTable.registerRegister {
            for (a, b) in Self.operands() {
                let state = Self.execute(machine, Assembler.r(entry.funct7, entry.funct3, 7, 5, 6), a, b)
                #expect(state.x[7] == entry.result(a, b), "\(entry.name) \(hex(a)), \(hex(b))")
                #expect(state.pc == TestMachine.base + 4 && state.retired == 1)
            }
            let same = Self.execute(machine, Assembler.r(entry.funct7, entry.funct3, 5, 5, 5), 0x8765_4321)
            #expect(same.x[5] == entry.result(0x8765_4321, 0x8765_4321), "\(entry.name) x5, x5, x5")
            #expect(Self.execute(machine, Assembler.r(entry.funct7, entry.funct3, 0, 5, 6), 0xffff_0000, 0xf).x[0] == 0, "\(entry.name) x0")
        }
    }

    @Test func registerImmediate() {
        let machine = TestMachine()
        for entry in InstructionTable.registerImmediate {
            let immediates = entry.funct7 == nil ? [0, 1, -1, 2047, -2048, 0x555, -0x556] : Array(0...31)
            for a in Self.corners + [0x1234_5678, 0xdead_beef] {
                for immediate in immediates {
                    let bits = Assembler.i(entry.funct3, 7, 5, entry.funct7.map { Int($0) << 5 | immediate } ?? immediate)
                    let result = Self.execute(machine, bits, a).x[7]
                    #expect(result == entry.result(a, Int32(immediate)), "\(entry.name) \(hex(a)), \(immediate)")
                }
            }
        }
    }

    @Test func unary() {
        let machine = TestMachine()
        for entry in InstructionTable.unary {
            for (a, _) in Self.operands() {
                let result = Self.execute(machine, Assembler.i(entry.funct3, 7, 5, Int(entry.funct12), opcode: entry.opcode), a).x[7]
                #expect(result == entry.result(a), "\(entry.name) \(hex(a))")
            }
        }
    }

    @Test func upperImmediates() {
        let machine = TestMachine()
        #expect(Self.execute(machine, Assembler.lui(7, 0x8765_4000)).x[7] == 0x8765_4000)
        #expect(Self.execute(machine, Assembler.auipc(7, 0x8765_4000)).x[7] == 0x8765_4000 &+ TestMachine.base)
        #expect(Self.execute(machine, Assembler.lui(0, 0x8765_4000)).x[0] == 0)
    }

    @Test func branches() {
        let machine = TestMachine()
        let conditions: [(String, UInt32, (UInt32, UInt32) -> Bool)] = [
            ("beq", 0, { $0 == $1 }), ("bne", 1, { $0 != $1 }),
            ("blt", 4, { Int32(bitPattern: $0) < Int32(bitPattern: $1) }), ("bge", 5, { Int32(bitPattern: $0) >= Int32(bitPattern: $1) }),
            ("bltu", 6, { $0 < $1 }), ("bgeu", 7, { $0 >= $1 }),
        ]
        for (name, funct3, isTaken) in conditions {
            for (a, b) in Self.operands() {
                for offset in [-4096, -2, 0, 6, 4094] {
                    let state = Self.execute(machine, Assembler.branch(funct3, 5, 6, offset), a, b)
                    let target = TestMachine.base &+ UInt32(truncatingIfNeeded: isTaken(a, b) ? offset : 4)
                    #expect(state.pc == target, "\(name) \(hex(a)), \(hex(b)), \(offset)")
                }
            }
        }
    }

    @Test func jumps() {
        let machine = TestMachine()
        for offset in [-1 << 20, -2, 4, 2046, 2048, (1 << 20) - 2] {
            let state = Self.execute(machine, Assembler.jal(1, offset))
            #expect(state.pc == TestMachine.base &+ UInt32(truncatingIfNeeded: offset))
            #expect(state.x[1] == TestMachine.base + 4)
        }
        let state = Self.execute(machine, Assembler.jalr(5, 5, -3), 0x8000_1002)
        #expect(state.pc == 0x8000_0ffe, "the lowest bit of the sum is dropped")
        #expect(state.x[5] == TestMachine.base + 4, "the link is written after the target is known")
        #expect(Self.execute(machine, Assembler.jalr(0, 5, 0), 0x8000_1002).pc == 0x8000_1002)
        for offset in [-2048, -2, 32, 64, 128, 256, 512, 1024, 2046] {
            #expect(Self.execute(machine, Assembler.cJump(false, offset)).pc == TestMachine.base &+ UInt32(truncatingIfNeeded: offset))
            let call = Self.execute(machine, Assembler.cJump(true, offset))
            #expect(call.pc == TestMachine.base &+ UInt32(truncatingIfNeeded: offset) && call.x[1] == TestMachine.base + 2)
        }
        #expect(Self.execute(machine, Assembler.cRegister(8, 5, 0), 0x8000_1002).pc == 0x8000_1002)
        let linked = Self.execute(machine, Assembler.cRegister(9, 5, 0), 0x8000_1002)
        #expect(linked.pc == 0x8000_1002 && linked.x[1] == TestMachine.base + 2)
    }

    @Test func compressedBranches() {
        let machine = TestMachine()
        let cases: [(Bool, UInt32, Bool)] = [(false, 0, true), (false, 1, false), (true, 0, false), (true, 9, true)]
        for offset in [-256, -2, 4, 8, 16, 32, 64, 128, 254] {
            for (isNotZero, value, isTaken) in cases {
                machine.write([Assembler.cBranch(isNotZero, 8, offset)])
                var state = HartState(pc: TestMachine.base)
                state.x[8] = value
                machine.hart.state = state
                _ = machine.hart.step()
                #expect(machine.hart.state.pc == TestMachine.base &+ UInt32(truncatingIfNeeded: isTaken ? offset : 2))
            }
        }
    }

    @Test func loadsAndStores() {
        let machine = TestMachine()
        let data = TestMachine.base + 0x1000
        let loads: [(UInt32, UInt32, (UInt32) -> UInt32)] = [
            (0, 1, { UInt32(bitPattern: Int32(Int8(truncatingIfNeeded: $0))) }),
            (1, 2, { UInt32(bitPattern: Int32(Int16(truncatingIfNeeded: $0))) }),
            (2, 4, { $0 }), (4, 1, { $0 & 0xff }), (5, 2, { $0 & 0xffff }),
        ]
        machine[data] = 0x80f1_7f82
        for (funct3, size, extend) in loads {
            for lane in stride(from: UInt32(0), to: 4, by: Int(size)) {
                for offset in [-2048, 0, 2047] {
                    let base = data &+ lane &- UInt32(truncatingIfNeeded: offset)
                    #expect(Self.execute(machine, Assembler.load(funct3, 7, offset, 5), base).x[7] == extend(0x80f1_7f82 >> (8 * lane)))
                }
            }
        }
        for (funct3, size) in [(0, 1), (1, 2), (2, 4)] as [(UInt32, UInt32)] {
            for lane in stride(from: UInt32(0), to: 4, by: Int(size)) {
                machine[data] = 0x1111_1111
                _ = Self.execute(machine, Assembler.store(funct3, 6, -4, 5), data + lane + 4, 0xaabb_ccdd)
                let mask = (UInt32.max >> (32 - 8 * size)) << (8 * lane)
                #expect(machine[data] == 0x1111_1111 & ~mask | 0xaabb_ccdd << (8 * lane) & mask)
            }
        }
        #expect(Self.execute(machine, Assembler.lw(0, 0, 5), data).x[0] == 0)
    }

    @Test func atomics() {
        let machine = TestMachine()
        let data = TestMachine.base + 0x1000
        let results: [(UInt32, UInt32) -> UInt32] = [
            { $1 }, { $0 &+ $1 }, { $0 ^ $1 }, { $0 & $1 }, { $0 | $1 },
            { Int32(bitPattern: $0) < Int32(bitPattern: $1) ? $0 : $1 }, { Int32(bitPattern: $0) > Int32(bitPattern: $1) ? $0 : $1 },
            { min($0, $1) }, { max($0, $1) },
        ]
        for (funct5, result) in zip(Assembler.atomics, results) {
            for (a, b) in Self.operands() {
                machine[data] = a
                let state = Self.execute(machine, Assembler.atomic(funct5, 7, 6, 5), data, b)
                #expect(state.x[7] == a && machine[data] == result(a, b), "funct5 \(funct5): \(hex(a)), \(hex(b))")
            }
        }
    }

    @Test func storeConditionalNeedsItsReservation() {
        let machine = TestMachine()
        let data = TestMachine.base + 0x1000
        machine[data] = 7
        machine.write([Assembler.lr(7, 5), Assembler.sc(8, 6, 5), Assembler.sc(9, 6, 5)])
        var state = HartState(pc: TestMachine.base)
        state.x[5] = data
        state.x[6] = 9
        machine.hart.state = state
        for _ in 0..<3 { _ = machine.hart.step() }
        #expect(machine.hart.state.x[7] == 7 && machine.hart.state.x[8] == 0 && machine.hart.state.x[9] == 1 && machine[data] == 9)

        // Somebody else writes the word in between.
        machine.hart.state = state
        _ = machine.hart.step()
        machine[data] = 10
        _ = machine.hart.step()
        #expect(machine.hart.state.x[8] == 1 && machine[data] == 10)

        // Another word.
        machine.hart.state = state
        _ = machine.hart.step()
        var elsewhere = machine.hart.state
        elsewhere.x[5] = data + 4
        machine.hart.state = elsewhere
        _ = machine.hart.step()
        #expect(machine.hart.state.x[8] == 1 && machine[data + 4] == 0)
    }
}
