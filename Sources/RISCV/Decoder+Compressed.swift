/// The C extension: every 16-bit instruction is short for one of 32 bits (Unprivileged Architecture, chapter 16, and its
/// tables 16.5 to 16.7).
extension Decoder {
    /// The 32-bit instruction that `half` stands for; nil if it stands for none.
    static func expand(_ half: UInt16) -> UInt32? {
        let bits = UInt32(half)
        switch bits & 3 {
        case 0: return expandQuadrant0(bits)
        case 1: return expandQuadrant1(bits)
        default: return expandQuadrant2(bits)
        }
    }

    private static func field(_ bits: UInt32, _ low: UInt32, _ width: UInt32) -> UInt32 {
        bits &>> low & ((1 &<< width) &- 1)
    }

    /// Moves `width` bits at `low` to `to`.
    private static func move(_ bits: UInt32, _ low: UInt32, _ width: UInt32, to: UInt32) -> UInt32 {
        field(bits, low, width) &<< to
    }

    private static func typeI(_ opcode: UInt32, _ funct3: UInt32, rd: UInt32, rs1: UInt32, _ immediate: UInt32) -> UInt32 {
        immediate &<< 20 | rs1 &<< 15 | funct3 &<< 12 | rd &<< 7 | opcode
    }

    private static func typeR(_ funct7: UInt32, _ funct3: UInt32, rd: UInt32, rs1: UInt32, rs2: UInt32) -> UInt32 {
        funct7 &<< 25 | rs2 &<< 20 | rs1 &<< 15 | funct3 &<< 12 | rd &<< 7 | 0x33
    }

    private static func storeWord(rs1: UInt32, rs2: UInt32, _ offset: UInt32) -> UInt32 {
        (offset &>> 5) &<< 25 | rs2 &<< 20 | rs1 &<< 15 | 2 &<< 12 | (offset & 31) &<< 7 | 0x23
    }

    /// The 6-bit signed immediate of quadrant 1.
    private static func immediate6(_ bits: UInt32) -> UInt32 {
        let value = field(bits, 2, 5)
        return field(bits, 12, 1) == 0 ? value : value | 0xffff_ffe0
    }

    private static func expandQuadrant0(_ bits: UInt32) -> UInt32? {
        let rdOrRS2 = 8 + field(bits, 2, 3), rs1 = 8 + field(bits, 7, 3)
        let wordOffset = move(bits, 10, 3, to: 3) | move(bits, 6, 1, to: 2) | move(bits, 5, 1, to: 6)
        switch bits &>> 13 {
        case 0:  // c.addi4spn
            let immediate = move(bits, 11, 2, to: 4) | move(bits, 7, 4, to: 6) | move(bits, 6, 1, to: 2) | move(bits, 5, 1, to: 3)
            return immediate == 0 ? nil : typeI(0x13, 0, rd: rdOrRS2, rs1: 2, immediate)
        case 2:  // c.lw
            return typeI(0x03, 2, rd: rdOrRS2, rs1: rs1, wordOffset)
        case 6:  // c.sw
            return storeWord(rs1: rs1, rs2: rdOrRS2, wordOffset)
        default:
            return nil
        }
    }

    private static func expandQuadrant1(_ bits: UInt32) -> UInt32? {
        let rd = field(bits, 7, 5), rdShort = 8 + field(bits, 7, 3)
        switch bits &>> 13 {
        case 0:  // c.addi, c.nop
            return typeI(0x13, 0, rd: rd, rs1: rd, immediate6(bits))
        case 1:  // c.jal
            return jump(bits, link: 1)
        case 2:  // c.li
            return typeI(0x13, 0, rd: rd, rs1: 0, immediate6(bits))
        case 3 where rd == 2:  // c.addi16sp
            let low = move(bits, 6, 1, to: 4) | move(bits, 5, 1, to: 6) | move(bits, 3, 2, to: 7) | move(bits, 2, 1, to: 5)
            let immediate = field(bits, 12, 1) == 0 ? low : low | 0xffff_fe00
            return immediate == 0 ? nil : typeI(0x13, 0, rd: 2, rs1: 2, immediate)
        case 3:  // c.lui
            let immediate = immediate6(bits)
            return immediate == 0 ? nil : immediate &<< 12 | rd &<< 7 | 0x37
        case 4:
            return arithmetic(bits, rdShort)
        case 5:  // c.j
            return jump(bits, link: 0)
        default:  // c.beqz, c.bnez
            let low = move(bits, 10, 2, to: 3) | move(bits, 5, 2, to: 6) | move(bits, 3, 2, to: 1) | move(bits, 2, 1, to: 5)
            let offset = field(bits, 12, 1) == 0 ? low : low | 0xffff_ff00
            let high = move(offset, 12, 1, to: 31) | move(offset, 5, 6, to: 25)
            return high | rdShort &<< 15 | (bits &>> 13 & 1) &<< 12 | move(offset, 1, 4, to: 8) | move(offset, 11, 1, to: 7) | 0x63
        }
    }

    /// Quadrant 1, funct3 4. Shift amounts of 32 and more are reserved for RV32.
    private static func arithmetic(_ bits: UInt32, _ rd: UInt32) -> UInt32? {
        let rs2 = 8 + field(bits, 2, 3), amount = field(bits, 2, 5), high = field(bits, 12, 1)
        switch (field(bits, 10, 2), high, field(bits, 5, 2)) {
        case (0, 0, _): return typeI(0x13, 5, rd: rd, rs1: rd, amount)  // c.srli
        case (1, 0, _): return typeI(0x13, 5, rd: rd, rs1: rd, 0x400 | amount)  // c.srai
        case (2, _, _): return typeI(0x13, 7, rd: rd, rs1: rd, immediate6(bits))  // c.andi
        case (3, 0, 0): return typeR(0x20, 0, rd: rd, rs1: rd, rs2: rs2)  // c.sub
        case (3, 0, 1): return typeR(0x00, 4, rd: rd, rs1: rd, rs2: rs2)  // c.xor
        case (3, 0, 2): return typeR(0x00, 6, rd: rd, rs1: rd, rs2: rs2)  // c.or
        case (3, 0, 3): return typeR(0x00, 7, rd: rd, rs1: rd, rs2: rs2)  // c.and
        default: return nil
        }
    }

    private static func jump(_ bits: UInt32, link: UInt32) -> UInt32 {
        let near = move(bits, 11, 1, to: 4) | move(bits, 9, 2, to: 8) | move(bits, 8, 1, to: 10) | move(bits, 7, 1, to: 6)
        let low = near | move(bits, 6, 1, to: 7) | move(bits, 3, 3, to: 1) | move(bits, 2, 1, to: 5)
        let offset = field(bits, 12, 1) == 0 ? low : low | 0xffff_f800
        let high = move(offset, 20, 1, to: 31) | move(offset, 1, 10, to: 21) | move(offset, 11, 1, to: 20) | move(offset, 12, 8, to: 12)
        return high | link &<< 7 | 0x6f
    }

    private static func expandQuadrant2(_ bits: UInt32) -> UInt32? {
        let rd = field(bits, 7, 5), rs2 = field(bits, 2, 5), high = field(bits, 12, 1)
        switch bits &>> 13 {
        case 0:  // c.slli
            return high == 0 ? typeI(0x13, 1, rd: rd, rs1: rd, rs2) : nil
        case 2:  // c.lwsp
            let offset = high &<< 5 | move(bits, 4, 3, to: 2) | move(bits, 2, 2, to: 6)
            return rd == 0 ? nil : typeI(0x03, 2, rd: rd, rs1: 2, offset)
        case 4:
            switch (high, rd, rs2) {
            case (0, 0, 0): return nil
            case (0, _, 0): return typeI(0x67, 0, rd: 0, rs1: rd, 0)  // c.jr
            case (0, _, _): return typeR(0, 0, rd: rd, rs1: 0, rs2: rs2)  // c.mv
            case (_, 0, 0): return 0x0010_0073  // c.ebreak
            case (_, _, 0): return typeI(0x67, 0, rd: 1, rs1: rd, 0)  // c.jalr
            default: return typeR(0, 0, rd: rd, rs1: rd, rs2: rs2)  // c.add
            }
        case 6:  // c.swsp
            return storeWord(rs1: 2, rs2: rs2, move(bits, 9, 4, to: 2) | move(bits, 7, 2, to: 6))
        default:
            return nil
        }
    }
}
