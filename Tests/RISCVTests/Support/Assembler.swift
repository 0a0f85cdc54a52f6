/// Instruction encodings, written down from the manual's tables and used only by tests.
enum Assembler {
    static func r(_ funct7: UInt32, _ funct3: UInt32, _ rd: Int, _ rs1: Int, _ rs2: Int, opcode: UInt32 = 0x33) -> UInt32 {
        funct7 << 25 | UInt32(rs2) << 20 | UInt32(rs1) << 15 | funct3 << 12 | UInt32(rd) << 7 | opcode
    }

    static func i(_ funct3: UInt32, _ rd: Int, _ rs1: Int, _ immediate: Int, opcode: UInt32 = 0x13) -> UInt32 {
        UInt32(truncatingIfNeeded: immediate) << 20 | UInt32(rs1) << 15 | funct3 << 12 | UInt32(rd) << 7 | opcode
    }

    static func store(_ funct3: UInt32, _ rs2: Int, _ offset: Int, _ rs1: Int) -> UInt32 {
        let bits = UInt32(truncatingIfNeeded: offset)
        return (bits >> 5 & 0x7f) << 25 | UInt32(rs2) << 20 | UInt32(rs1) << 15 | funct3 << 12 | (bits & 31) << 7 | 0x23
    }

    static func branch(_ funct3: UInt32, _ rs1: Int, _ rs2: Int, _ offset: Int) -> UInt32 {
        let bits = UInt32(truncatingIfNeeded: offset)
        let high = (bits >> 12 & 1) << 31 | (bits >> 5 & 0x3f) << 25
        return high | UInt32(rs2) << 20 | UInt32(rs1) << 15 | funct3 << 12 | (bits >> 1 & 15) << 8 | (bits >> 11 & 1) << 7 | 0x63
    }

    static func jal(_ rd: Int, _ offset: Int) -> UInt32 {
        let bits = UInt32(truncatingIfNeeded: offset)
        let high = (bits >> 20 & 1) << 31 | (bits >> 1 & 0x3ff) << 21 | (bits >> 11 & 1) << 20 | (bits >> 12 & 0xff) << 12
        return high | UInt32(rd) << 7 | 0x6f
    }

    static func lui(_ rd: Int, _ upper: UInt32) -> UInt32 { upper & 0xffff_f000 | UInt32(rd) << 7 | 0x37 }
    static func auipc(_ rd: Int, _ upper: UInt32) -> UInt32 { upper & 0xffff_f000 | UInt32(rd) << 7 | 0x17 }
    static func addi(_ rd: Int, _ rs1: Int, _ immediate: Int) -> UInt32 { i(0, rd, rs1, immediate) }
    static func jalr(_ rd: Int, _ rs1: Int, _ offset: Int) -> UInt32 { i(0, rd, rs1, offset, opcode: 0x67) }
    static func load(_ funct3: UInt32, _ rd: Int, _ offset: Int, _ rs1: Int) -> UInt32 { i(funct3, rd, rs1, offset, opcode: 0x03) }
    static func lw(_ rd: Int, _ offset: Int, _ rs1: Int) -> UInt32 { load(2, rd, offset, rs1) }
    static func sw(_ rs2: Int, _ offset: Int, _ rs1: Int) -> UInt32 { store(2, rs2, offset, rs1) }

    /// `lui` and `addi`: any value.
    static func li(_ rd: Int, _ value: UInt32) -> [UInt32] {
        let low = Int(Int32(bitPattern: value << 20) >> 20)
        return [lui(rd, value &- UInt32(truncatingIfNeeded: low)), addi(rd, rd, low)]
    }

    /// csrrw, csrrs, csrrc (1...3) or their immediate forms (5...7).
    static func csr(_ funct3: UInt32, _ rd: Int, _ csr: Int, _ source: Int) -> UInt32 {
        UInt32(csr) << 20 | UInt32(source) << 15 | funct3 << 12 | UInt32(rd) << 7 | 0x73
    }

    static func csrw(_ number: Int, _ rs1: Int) -> UInt32 { csr(1, 0, number, rs1) }
    static func csrr(_ rd: Int, _ number: Int) -> UInt32 { csr(2, rd, number, 0) }

    static func atomic(_ funct5: UInt32, _ rd: Int, _ rs2: Int, _ rs1: Int) -> UInt32 { r(funct5 << 2, 2, rd, rs1, rs2, opcode: 0x2f) }
    static func lr(_ rd: Int, _ rs1: Int) -> UInt32 { atomic(2, rd, 0, rs1) }
    static func sc(_ rd: Int, _ rs2: Int, _ rs1: Int) -> UInt32 { atomic(3, rd, rs2, rs1) }

    static let ecall: UInt32 = 0x73, ebreak: UInt32 = 0x10_0073, mret: UInt32 = 0x3020_0073, wfi: UInt32 = 0x1050_0073
    static let fence: UInt32 = 0x0ff0_000f, fenceI: UInt32 = 0x100f, nop: UInt32 = 0x13

    /// Funct5 of amoswap, amoadd, amoxor, amoand, amoor, amomin, amomax, amominu, amomaxu.
    static let atomics: [UInt32] = [1, 0, 4, 12, 8, 16, 20, 24, 28]

    // MARK: Compressed

    /// Short register field: x8...x15.
    private static func short(_ register: Int) -> UInt32 { UInt32(register - 8) }

    static func cLoadStore(_ isStore: Bool, _ register: Int, _ offset: Int, _ rs1: Int) -> UInt32 {
        let o = UInt32(offset)
        let immediate = (o >> 3 & 7) << 10 | (o >> 2 & 1) << 6 | (o >> 6 & 1) << 5
        return (isStore ? 6 : 2) << 13 | immediate | short(rs1) << 7 | short(register) << 2
    }

    static func cLwsp(_ rd: Int, _ offset: Int) -> UInt32 {
        let o = UInt32(offset)
        return 2 << 13 | (o >> 5 & 1) << 12 | UInt32(rd) << 7 | (o >> 2 & 7) << 4 | (o >> 6 & 3) << 2 | 2
    }

    static func cSwsp(_ rs2: Int, _ offset: Int) -> UInt32 {
        let o = UInt32(offset)
        return 6 << 13 | (o >> 2 & 15) << 9 | (o >> 6 & 3) << 7 | UInt32(rs2) << 2 | 2
    }

    static func cJump(_ isLinking: Bool, _ offset: Int) -> UInt32 {
        let o = UInt32(truncatingIfNeeded: offset)
        let a = (o >> 11 & 1) << 12 | (o >> 4 & 1) << 11 | (o >> 8 & 3) << 9 | (o >> 10 & 1) << 8
        return (isLinking ? 1 : 5) << 13 | a | (o >> 6 & 1) << 7 | (o >> 7 & 1) << 6 | (o >> 1 & 7) << 3 | (o >> 5 & 1) << 2 | 1
    }

    static func cBranch(_ isNotZero: Bool, _ rs1: Int, _ offset: Int) -> UInt32 {
        let o = UInt32(truncatingIfNeeded: offset)
        let a = (o >> 8 & 1) << 12 | (o >> 3 & 3) << 10 | (o >> 6 & 3) << 5 | (o >> 1 & 3) << 3 | (o >> 5 & 1) << 2
        return (isNotZero ? 7 : 6) << 13 | a | short(rs1) << 7 | 1
    }

    static func cRegister(_ funct4: UInt32, _ rd: Int, _ rs2: Int) -> UInt32 { funct4 << 12 | UInt32(rd) << 7 | UInt32(rs2) << 2 | 2 }
    static let cNop: UInt32 = 1
}
