/// From instruction bits to a decoded instruction, by the opcode maps of the Unprivileged Architecture.
enum Decoder {
    /// Decodes the instruction that begins with the low half of `bits`.
    static func decode(_ bits: UInt32) -> FetchedInstruction {
        if bits & 3 == 3 {
            return FetchedInstruction(instruction: decode32(bits), length: 4, isRelativeToPC: bits & 0x7f == 0x17)
        }
        let half = UInt16(truncatingIfNeeded: bits)
        let instruction = expand(half).map(decode32) ?? illegal(UInt32(half))
        return FetchedInstruction(instruction: instruction, length: 2, isRelativeToPC: false)
    }

    private static func illegal(_ bits: UInt32) -> Instruction {
        Instruction(operation: .illegal, immediate: Int32(bitPattern: bits))
    }

    private static func decode32(_ bits: UInt32) -> Instruction {
        let rd = UInt8(bits &>> 7 & 31), rs1 = UInt8(bits &>> 15 & 31), rs2 = UInt8(bits &>> 20 & 31)
        let immediateI = Int32(bitPattern: bits) &>> 20
        let operation: Operation?
        var immediate: Int32 = 0
        switch bits & 0x7f {
        case 0x37, 0x17:
            return rd == 0 ? Instruction(operation: .nop)
                : Instruction(operation: .li, rd: rd, immediate: Int32(bitPattern: bits & 0xffff_f000))
        case 0x13:
            operation = registerImmediate(bits, &immediate)
            return withoutSideEffect(operation, rd, rs1, 0, immediate, bits)
        case 0x33:
            operation = registerRegister(bits)
            return withoutSideEffect(operation, rd, rs1, rs2, 0, bits)
        case 0x03:
            operation = load(bits)
            guard let operation else { return illegal(bits) }
            if rd == 0 {
                return Instruction(operation: .loadDiscard, rs1: rs1, rs2: operation.rawValue, immediate: immediateI)
            }
            return Instruction(operation: operation, rd: rd, rs1: rs1, immediate: immediateI)
        case 0x23:
            operation = store(bits)
            guard let operation else { return illegal(bits) }
            return Instruction(operation: operation, rs1: rs1, rs2: rs2, immediate: immediateI & ~31 | Int32(rd))
        case 0x63:
            operation = branch(bits)
            guard let operation else { return illegal(bits) }
            return Instruction(operation: operation, rs1: rs1, rs2: rs2, immediate: offsetB(bits))
        case 0x6f:
            return Instruction(operation: .jal, rd: rd, immediate: offsetJ(bits))
        case 0x67:
            guard bits &>> 12 & 7 == 0 else { return illegal(bits) }
            return Instruction(operation: .jalr, rd: rd, rs1: rs1, immediate: immediateI)
        case 0x2f:
            guard let operation = atomic(bits) else { return illegal(bits) }
            return Instruction(operation: operation, rd: rd, rs1: rs1, rs2: rs2)
        case 0x0f:
            switch bits &>> 12 & 7 {
            case 0: return Instruction(operation: .fence)
            case 1: return Instruction(operation: .fenceI)
            default: return illegal(bits)
            }
        case 0x73:
            guard let operation = system(bits) else { return illegal(bits) }
            return Instruction(operation: operation, rd: rd, rs1: rs1, immediate: Int32(bits &>> 20))
        default:
            return illegal(bits)
        }
    }

    /// An instruction that only writes `rd` does nothing at all if that is x0.
    private static func withoutSideEffect(
        _ operation: Operation?, _ rd: UInt8, _ rs1: UInt8, _ rs2: UInt8, _ immediate: Int32, _ bits: UInt32
    ) -> Instruction {
        guard let operation else { return illegal(bits) }
        if rd == 0 {
            // The divider takes its time all the same.
            switch operation {
            case .div, .divu, .rem, .remu: break
            default: return Instruction(operation: .nop)
            }
        }
        if operation == .addi {
            if rs1 == 0 { return Instruction(operation: .li, rd: rd, immediate: immediate) }
            if immediate == 0 { return Instruction(operation: .mv, rd: rd, rs1: rs1) }
        }
        if operation == .add && rs1 == 0 { return Instruction(operation: .mv, rd: rd, rs1: rs2) }
        return Instruction(operation: operation, rd: rd, rs1: rs1, rs2: rs2, immediate: immediate)
    }

    private static func registerImmediate(_ bits: UInt32, _ immediate: inout Int32) -> Operation? {
        immediate = Int32(bitPattern: bits) &>> 20
        let upper = bits &>> 25, amount = bits &>> 20 & 31
        switch bits &>> 12 & 7 {
        case 0: return .addi
        case 2: return .slti
        case 3: return .sltiu
        case 4: return .xori
        case 6: return .ori
        case 7: return .andi
        case 1:
            immediate = Int32(amount)
            switch (upper, amount) {
            case (0x00, _): return .slli
            case (0x24, _): return .bclri
            case (0x14, _): return .bseti
            case (0x34, _): return .binvi
            case (0x30, 0): return .clz
            case (0x30, 1): return .ctz
            case (0x30, 2): return .cpop
            case (0x30, 4): return .sextB
            case (0x30, 5): return .sextH
            default: return nil
            }
        default:
            immediate = Int32(amount)
            switch (upper, amount) {
            case (0x00, _): return .srli
            case (0x20, _): return .srai
            case (0x30, _): return .rori
            case (0x24, _): return .bexti
            case (0x14, 7): return .orcB
            case (0x34, 24): return .rev8
            default: return nil
            }
        }
    }

    private static func registerRegister(_ bits: UInt32) -> Operation? {
        switch (bits &>> 25, bits &>> 12 & 7) {
        case (0x00, 0): .add
        case (0x20, 0): .sub
        case (0x00, 1): .sll
        case (0x00, 2): .slt
        case (0x00, 3): .sltu
        case (0x00, 4): .xor
        case (0x00, 5): .srl
        case (0x20, 5): .sra
        case (0x00, 6): .or
        case (0x00, 7): .and
        case (0x01, 0): .mul
        case (0x01, 1): .mulh
        case (0x01, 2): .mulhsu
        case (0x01, 3): .mulhu
        case (0x01, 4): .div
        case (0x01, 5): .divu
        case (0x01, 6): .rem
        case (0x01, 7): .remu
        case (0x10, 2): .sh1add
        case (0x10, 4): .sh2add
        case (0x10, 6): .sh3add
        case (0x20, 4): .xnor
        case (0x20, 6): .orn
        case (0x20, 7): .andn
        case (0x05, 4): .min
        case (0x05, 5): .minu
        case (0x05, 6): .max
        case (0x05, 7): .maxu
        case (0x04, 4): bits &>> 20 & 31 == 0 ? .zextH : nil
        case (0x30, 1): .rol
        case (0x30, 5): .ror
        case (0x24, 1): .bclr
        case (0x24, 5): .bext
        case (0x34, 1): .binv
        case (0x14, 1): .bset
        default: nil
        }
    }

    private static func load(_ bits: UInt32) -> Operation? {
        switch bits &>> 12 & 7 {
        case 0: .lb
        case 1: .lh
        case 2: .lw
        case 4: .lbu
        case 5: .lhu
        default: nil
        }
    }

    private static func store(_ bits: UInt32) -> Operation? {
        switch bits &>> 12 & 7 {
        case 0: .sb
        case 1: .sh
        case 2: .sw
        default: nil
        }
    }

    private static func branch(_ bits: UInt32) -> Operation? {
        switch bits &>> 12 & 7 {
        case 0: .beq
        case 1: .bne
        case 4: .blt
        case 5: .bge
        case 6: .bltu
        case 7: .bgeu
        default: nil
        }
    }

    private static func atomic(_ bits: UInt32) -> Operation? {
        guard bits &>> 12 & 7 == 2 else { return nil }
        switch bits &>> 27 {
        case 0x02: return bits &>> 20 & 31 == 0 ? .lr : nil
        case 0x03: return .sc
        case 0x01: return .amoswap
        case 0x00: return .amoadd
        case 0x04: return .amoxor
        case 0x0c: return .amoand
        case 0x08: return .amoor
        case 0x10: return .amomin
        case 0x14: return .amomax
        case 0x18: return .amominu
        case 0x1c: return .amomaxu
        default: return nil
        }
    }

    private static func system(_ bits: UInt32) -> Operation? {
        switch bits &>> 12 & 7 {
        case 0:
            switch bits {
            case 0x0000_0073: .ecall
            case 0x0010_0073: .ebreak
            case 0x3020_0073: .mret
            case 0x1050_0073: .wfi
            default: nil
            }
        case 1: .csrrw
        case 2: .csrrs
        case 3: .csrrc
        case 5: .csrrwi
        case 6: .csrrsi
        case 7: .csrrci
        default: nil
        }
    }

    private static func offsetB(_ bits: UInt32) -> Int32 {
        let low = bits &>> 7 & 0x1e | bits &>> 20 & 0x7e0 | bits &<< 4 & 0x800
        return Int32(bitPattern: bits & 0x8000_0000) &>> 19 | Int32(low)
    }

    private static func offsetJ(_ bits: UInt32) -> Int32 {
        let low = bits &>> 20 & 0x7fe | bits &>> 9 & 0x800 | bits & 0xff000
        return Int32(bitPattern: bits & 0x8000_0000) &>> 11 | Int32(low)
    }
}
