import Simulation

extension UnsafeMutablePointer<UInt32> {
    /// Registers by number.
    @inline(__always)
    subscript(_ register: UInt8) -> UInt32 {
        get { self[Int(register)] }
        nonmutating set { self[Int(register)] = newValue }
    }
}

/// The signed value of a register.
@inline(__always)
private func s(_ value: UInt32) -> Int32 { Int32(bitPattern: value) }

/// The register value of a signed result.
@inline(__always)
private func u(_ value: Int32) -> UInt32 { UInt32(bitPattern: value) }

extension Interpreter {
    /// The hot loop. It must not retain, release or check exclusivity: tools/check-hot-loop looks at what the compiler made.
    @inline(never)
    static func run(_ core: UnsafeMutablePointer<Core>, _ engine: Interpreter) {
        let x = core.registers
        entering: while core.pointee.state.time < core.pointee.limit && core.pointee.stop == .horizon {
            var block = engine.enter()
            var slot = block.slots
            var time = core.pointee.state.time
            var retired = core.pointee.state.retired
            let reads = core.pointee.reads, writes = core.pointee.writes
            while true {
                let exit: Exit.Pointer
                var isMispredicted = false
                slots: while true {
                    slow: do {
                    let i = slot.pointee
                    switch i.operation {
                    case .nop, .fence: break
                    case .li: x[i.rd] = u(i.immediate)
                    case .mv: x[i.rd] = x[i.rs1]
                    case .addi: x[i.rd] = x[i.rs1] &+ u(i.immediate)
                    case .slti: x[i.rd] = s(x[i.rs1]) < i.immediate ? 1 : 0
                    case .sltiu: x[i.rd] = x[i.rs1] < u(i.immediate) ? 1 : 0
                    case .xori: x[i.rd] = x[i.rs1] ^ u(i.immediate)
                    case .ori: x[i.rd] = x[i.rs1] | u(i.immediate)
                    case .andi: x[i.rd] = x[i.rs1] & u(i.immediate)
                    case .slli: x[i.rd] = x[i.rs1] &<< u(i.immediate)
                    case .srli: x[i.rd] = x[i.rs1] &>> u(i.immediate)
                    case .srai: x[i.rd] = u(s(x[i.rs1]) &>> i.immediate)
                    case .rori: x[i.rd] = Arithmetic.rotateRight(x[i.rs1], u(i.immediate))
                    case .bclri: x[i.rd] = x[i.rs1] & ~(1 &<< u(i.immediate))
                    case .bexti: x[i.rd] = x[i.rs1] &>> u(i.immediate) & 1
                    case .binvi: x[i.rd] = x[i.rs1] ^ 1 &<< u(i.immediate)
                    case .bseti: x[i.rd] = x[i.rs1] | 1 &<< u(i.immediate)
                    case .clz: x[i.rd] = UInt32(truncatingIfNeeded: x[i.rs1].leadingZeroBitCount)
                    case .ctz: x[i.rd] = UInt32(truncatingIfNeeded: x[i.rs1].trailingZeroBitCount)
                    case .cpop: x[i.rd] = UInt32(truncatingIfNeeded: x[i.rs1].nonzeroBitCount)
                    case .sextB: x[i.rd] = u(Int32(Int8(truncatingIfNeeded: x[i.rs1])))
                    case .sextH: x[i.rd] = u(Int32(Int16(truncatingIfNeeded: x[i.rs1])))
                    case .zextH: x[i.rd] = x[i.rs1] & 0xffff
                    case .orcB: x[i.rd] = Arithmetic.orCombineBytes(x[i.rs1])
                    case .rev8: x[i.rd] = x[i.rs1].byteSwapped

                    case .add: x[i.rd] = x[i.rs1] &+ x[i.rs2]
                    case .sub: x[i.rd] = x[i.rs1] &- x[i.rs2]
                    case .sll: x[i.rd] = x[i.rs1] &<< x[i.rs2]
                    case .slt: x[i.rd] = s(x[i.rs1]) < s(x[i.rs2]) ? 1 : 0
                    case .sltu: x[i.rd] = x[i.rs1] < x[i.rs2] ? 1 : 0
                    case .xor: x[i.rd] = x[i.rs1] ^ x[i.rs2]
                    case .srl: x[i.rd] = x[i.rs1] &>> x[i.rs2]
                    case .sra: x[i.rd] = u(s(x[i.rs1]) &>> s(x[i.rs2]))
                    case .or: x[i.rd] = x[i.rs1] | x[i.rs2]
                    case .and: x[i.rd] = x[i.rs1] & x[i.rs2]
                    case .mul: x[i.rd] = x[i.rs1] &* x[i.rs2]
                    case .mulh: x[i.rd] = Arithmetic.multiplyHigh(s(x[i.rs1]), s(x[i.rs2]))
                    case .mulhsu: x[i.rd] = Arithmetic.multiplyHigh(s(x[i.rs1]), unsigned: x[i.rs2])
                    case .mulhu: x[i.rd] = Arithmetic.multiplyHigh(unsigned: x[i.rs1], x[i.rs2])
                    case .div where s(x[i.rs1]) >= 0 && i.rd != 0: x[i.rd] = Arithmetic.divide(x[i.rs1], x[i.rs2])
                    case .rem where s(x[i.rs1]) >= 0 && i.rd != 0: x[i.rd] = Arithmetic.remainder(x[i.rs1], x[i.rs2])
                    case .divu where i.rd != 0: x[i.rd] = Arithmetic.divide(unsigned: x[i.rs1], x[i.rs2])
                    case .remu where i.rd != 0: x[i.rd] = Arithmetic.remainder(unsigned: x[i.rs1], x[i.rs2])
                    case .sh1add: x[i.rd] = x[i.rs1] &<< 1 &+ x[i.rs2]
                    case .sh2add: x[i.rd] = x[i.rs1] &<< 2 &+ x[i.rs2]
                    case .sh3add: x[i.rd] = x[i.rs1] &<< 3 &+ x[i.rs2]
                    case .andn: x[i.rd] = x[i.rs1] & ~x[i.rs2]
                    case .orn: x[i.rd] = x[i.rs1] | ~x[i.rs2]
                    case .xnor: x[i.rd] = ~(x[i.rs1] ^ x[i.rs2])
                    case .min: x[i.rd] = u(Swift.min(s(x[i.rs1]), s(x[i.rs2])))
                    case .minu: x[i.rd] = Swift.min(x[i.rs1], x[i.rs2])
                    case .max: x[i.rd] = u(Swift.max(s(x[i.rs1]), s(x[i.rs2])))
                    case .maxu: x[i.rd] = Swift.max(x[i.rs1], x[i.rs2])
                    case .rol: x[i.rd] = Arithmetic.rotateRight(x[i.rs1], 0 &- x[i.rs2])
                    case .ror: x[i.rd] = Arithmetic.rotateRight(x[i.rs1], x[i.rs2])
                    case .bclr: x[i.rd] = x[i.rs1] & ~(1 &<< x[i.rs2])
                    case .bext: x[i.rd] = x[i.rs1] &>> x[i.rs2] & 1
                    case .binv: x[i.rd] = x[i.rs1] ^ 1 &<< x[i.rs2]
                    case .bset: x[i.rd] = x[i.rs1] | 1 &<< x[i.rs2]

                    case .lb:
                        guard let place = reads.place(x[i.rs1] &+ u(i.immediate)) else { break slow }
                        x[i.rd] = u(Int32(place.load(as: Int8.self)))
                    case .lh:
                        guard let place = reads.place(x[i.rs1] &+ u(i.immediate), alignedTo: 2) else { break slow }
                        x[i.rd] = u(Int32(place.load(as: Int16.self)))
                    case .lw:
                        guard let place = reads.place(x[i.rs1] &+ u(i.immediate), alignedTo: 4) else { break slow }
                        x[i.rd] = place.load(as: UInt32.self)
                    case .lbu:
                        guard let place = reads.place(x[i.rs1] &+ u(i.immediate)) else { break slow }
                        x[i.rd] = UInt32(place.load(as: UInt8.self))
                    case .lhu:
                        guard let place = reads.place(x[i.rs1] &+ u(i.immediate), alignedTo: 2) else { break slow }
                        x[i.rd] = UInt32(place.load(as: UInt16.self))
                    case .sb:
                        guard let place = writes.place(x[i.rs1] &+ u(i.immediate)) else { break slow }
                        place.storeBytes(of: UInt8(truncatingIfNeeded: x[i.rs2]), as: UInt8.self)
                    case .sh:
                        guard let place = writes.place(x[i.rs1] &+ u(i.immediate), alignedTo: 2) else { break slow }
                        place.storeBytes(of: UInt16(truncatingIfNeeded: x[i.rs2]), as: UInt16.self)
                    case .sw:
                        guard let place = writes.place(x[i.rs1] &+ u(i.immediate), alignedTo: 4) else { break slow }
                        place.storeBytes(of: x[i.rs2], as: UInt32.self)

                    case .beq where x[i.rs1] == x[i.rs2], .bne where x[i.rs1] != x[i.rs2],
                        .blt where s(x[i.rs1]) < s(x[i.rs2]), .bge where s(x[i.rs1]) >= s(x[i.rs2]),
                        .bltu where x[i.rs1] < x[i.rs2], .bgeu where x[i.rs1] >= x[i.rs2],
                        .jump:
                        exit = slot.exit
                        core.pointee.state.predictor.landing = exit.pointee.target
                        break slots
                    case .beq, .bne, .blt, .bge, .bltu, .bgeu: break
                    case .beqBackward:
                        exit = backward(slot, x[i.rs1] == x[i.rs2], core, &isMispredicted)
                        break slots
                    case .bneBackward:
                        exit = backward(slot, x[i.rs1] != x[i.rs2], core, &isMispredicted)
                        break slots
                    case .bltBackward:
                        exit = backward(slot, s(x[i.rs1]) < s(x[i.rs2]), core, &isMispredicted)
                        break slots
                    case .bgeBackward:
                        exit = backward(slot, s(x[i.rs1]) >= s(x[i.rs2]), core, &isMispredicted)
                        break slots
                    case .bltuBackward:
                        exit = backward(slot, x[i.rs1] < x[i.rs2], core, &isMispredicted)
                        break slots
                    case .bgeuBackward:
                        exit = backward(slot, x[i.rs1] >= x[i.rs2], core, &isMispredicted)
                        break slots
                    case .jal:
                        exit = slot.exit
                        x[i.rd] = exit.pointee.source
                        core.pointee.state.predictor.landing = exit.pointee.target
                        break slots
                    case .jalr, .jumpRegister:
                        exit = slot.exit
                        let target = (x[i.rs1] &+ u(exit.pointee.immediate)) & ~1
                        if i.operation == .jalr { x[i.rd] = exit.pointee.source }
                        core.pointee.state.predictor.landing = target
                        if exit.pointee.target != target {
                            exit.pointee.next = nil
                            exit.pointee.target = target
                        }
                        break slots
                    case .goto:
                        exit = slot.exit
                        break slots

                    default: break slow
                    }
                    slot += 1
                    continue slots
                    }
                    guard engine.perform(slot, block, time, retired) else { continue entering }
                    time = core.pointee.blockTime
                    slot += 1
                }

                let next = exit.pointee.next ?? engine.connect(exit)
                time &+= Cycle(isMispredicted ? exit.pointee.misprediction : exit.pointee.cycles)
                retired &+= UInt64(exit.pointee.count)
                if time &+ next.pointee.span >= core.pointee.limit {
                    core.pointee.state.pc = next.pointee.pc
                    core.pointee.state.time = time
                    core.pointee.state.retired = retired
                    continue entering
                }
                block = next
                slot = block.slots
            }
        }
    }

    /// The exit of a backward branch, and what the branch predictor makes of it.
    @inline(__always)
    private static func backward(
        _ slot: UnsafeMutablePointer<Instruction>, _ isTaken: Bool, _ core: UnsafeMutablePointer<Core>, _ isMispredicted: inout Bool
    ) -> Exit.Pointer {
        let taken = slot.exit
        let source = taken.pointee.source
        let predictor = core.pointee.state.predictor
        let isPredicted = predictor.branch == source && predictor.landing &>> 2 != source &>> 2
        let exit = isTaken ? taken : taken + 1
        if isTaken != isPredicted {
            isMispredicted = true
            core.pointee.state.predictor.branch = isTaken ? source : BranchPredictor.none
            core.pointee.state.predictor.landing = exit.pointee.target
        }
        return exit
    }
}
