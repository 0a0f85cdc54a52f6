/// What a decoded instruction does: one case per instruction of RV32IMAC_Zicsr_Zifencei_Zba_Zbb_Zbs, and a few that only
/// blocks contain. The order has no meaning.
enum Operation: UInt8 {
    // Register and immediate. `li` is lui, auipc (whose value is known when it is decoded) and addi from x0.
    case nop, li, mv, addi, slti, sltiu, xori, ori, andi, slli, srli, srai
    case rori, bclri, bexti, binvi, bseti
    case clz, ctz, cpop, sextB, sextH, zextH, orcB, rev8

    // Register and register.
    case add, sub, sll, slt, sltu, xor, srl, sra, or, and
    case mul, mulh, mulhsu, mulhu, div, divu, rem, remu
    case sh1add, sh2add, sh3add
    case andn, orn, xnor, min, minu, max, maxu, rol, ror
    case bclr, bext, binv, bset

    // Memory.
    case lb, lh, lw, lbu, lhu, sb, sh, sw
    case lr, sc, amoswap, amoadd, amoxor, amoand, amoor, amomin, amomax, amominu, amomaxu

    // Control transfer. The backward branches are those that the branch predictor knows.
    case beq, bne, blt, bge, bltu, bgeu
    case beqBackward, bneBackward, bltBackward, bgeBackward, bltuBackward, bgeuBackward
    case jal, jalr

    // System.
    case csrrw, csrrs, csrrc, csrrwi, csrrsi, csrrci
    case fence, fenceI, ecall, ebreak, mret, wfi
    case illegal

    // Only in blocks.
    /// A `jal` that writes no register.
    case jump
    /// The end of a block that is followed by more code.
    case goto
    /// A register jump that writes no register.
    case jumpRegister
    /// A load to x0: the access happens, the value goes nowhere. `rs2` is the load's own operation.
    case loadDiscard
    /// The instruction here cannot be fetched; `immediate` is the address that faults.
    case fetchFault
    /// Stop before the instruction here.
    case breakpoint
    /// Stands for the first instruction that the end of the run no longer admits.
    case stop

}

/// A decoded instruction of 8 bytes.
///
/// `immediate` is the number of a CSR, the amount of a shift, the bits of an illegal instruction. In a block, that of a branch
/// or a jump leads to its exit: the distance in bytes from the instruction itself.
struct Instruction {
    var operation: Operation
    var rd: UInt8 = 0
    var rs1: UInt8 = 0
    var rs2: UInt8 = 0
    var immediate: Int32 = 0
}

extension Operation {
    var isLoad: Bool {
        switch self {
        case .lb, .lh, .lw, .lbu, .lhu, .loadDiscard: true
        default: false
        }
    }

    var isStore: Bool {
        switch self {
        case .sb, .sh, .sw: true
        default: false
        }
    }

    var isAtomicReadModifyWrite: Bool {
        switch self {
        case .amoswap, .amoadd, .amoxor, .amoand, .amoor, .amomin, .amomax, .amominu, .amomaxu: true
        default: false
        }
    }

    var isExclusive: Bool {
        self == .lr || self == .sc
    }

    /// A conditional branch, as the decoder makes it (forward).
    var isBranch: Bool {
        switch self {
        case .beq, .bne, .blt, .bge, .bltu, .bgeu: true
        default: false
        }
    }

    /// The same branch for a negative offset.
    var backward: Operation {
        switch self {
        case .beq: .beqBackward
        case .bne: .bneBackward
        case .blt: .bltBackward
        case .bge: .bgeBackward
        case .bltu: .bltuBackward
        case .bgeu: .bgeuBackward
        default: self
        }
    }

    var isCSR: Bool {
        switch self {
        case .csrrw, .csrrs, .csrrc, .csrrwi, .csrrsi, .csrrci: true
        default: false
        }
    }

    /// Whether `rs1` names a register that stage 2 of the pipeline reads.
    var readsRS1: Bool {
        switch self {
        case .nop, .li, .csrrwi, .csrrsi, .csrrci, .fence, .fenceI, .ecall, .ebreak, .mret, .wfi, .illegal, .jal, .jump, .goto: false
        default: true
        }
    }

    /// Whether `rs2` names a register that the instruction reads.
    var readsRS2: Bool {
        switch self {
        case .add, .sub, .sll, .slt, .sltu, .xor, .srl, .sra, .or, .and,
            .mul, .mulh, .mulhsu, .mulhu, .div, .divu, .rem, .remu, .sh1add, .sh2add, .sh3add,
            .andn, .orn, .xnor, .min, .minu, .max, .maxu, .rol, .ror, .bclr, .bext, .binv, .bset,
            .sb, .sh, .sw, .sc, .amoswap, .amoadd, .amoxor, .amoand, .amoor, .amomin, .amomax, .amominu, .amomaxu,
            .beq, .bne, .blt, .bge, .bltu, .bgeu:
            true
        default:
            false
        }
    }
}

extension Instruction {
    /// A CSR instruction that only reads: csrrs or csrrc with x0 or 0 (Zicsr, section 6.1).
    var isCSRRead: Bool {
        switch operation {
        case .csrrs, .csrrc, .csrrsi, .csrrci: rs1 == 0
        default: false
        }
    }
}

/// An instruction as the decoder gives it: `immediate` of branches and `jal` is the offset, that of `auipc`, which is a `li`
/// relative to the program counter, the upper immediate.
struct FetchedInstruction {
    let instruction: Instruction
    /// 2 or 4 bytes.
    let length: UInt32
    let isRelativeToPC: Bool
}
