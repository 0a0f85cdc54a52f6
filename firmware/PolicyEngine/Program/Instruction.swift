/// An instruction as it lies in memory (RFC 9669, section 3). A wide one takes two of them.
public struct Instruction: BitwiseCopyable, Sendable {
    public var opcode: UInt8
    /// The destination in the low four bits, the source in the high ones.
    public var registers: UInt8
    public var offset: Int16
    public var immediate: Int32

    public init(opcode: UInt8 = 0, registers: UInt8 = 0, offset: Int16 = 0, immediate: Int32 = 0) {
        self.opcode = opcode; self.registers = registers; self.offset = offset; self.immediate = immediate
    }

    @inlinable public var destination: Int { Int(registers & 15) }
    @inlinable public var source: Int { Int(registers >> 4) }
    @inlinable public var `class`: UInt8 { opcode & 7 }
    /// Of arithmetic and jumps: the second operand is a register, not the immediate value.
    @inlinable public var takesRegister: Bool { opcode & 8 != 0 }
    /// Of arithmetic and jumps: which one.
    @inlinable public var operation: UInt8 { opcode & 0xf0 }
    /// Of loads and stores: bytes.
    @inlinable public var accessBytes: UInt32 { opcode & 0x18 == 0x18 ? 8 : 4 &>> UInt32((opcode &>> 3) & 3) }
    /// Of loads and stores: how they address, and whether a load extends the sign.
    @inlinable public var mode: UInt8 { opcode & 0xe0 }
    /// `rD = constant`, 64 bits, in two places.
    @inlinable public var isWide: Bool { opcode == Self.wide }
    @inlinable public var isJump: Bool { self.class == Class.jump || self.class == Class.jump32 }
    /// Unconditional jump.
    @inlinable public var isAlways: Bool { isJump && operation == Jump.always }
    @inlinable public var isExit: Bool { opcode == Class.jump | Jump.exit }
    /// How far a jump goes, from the instruction after it. `gotol` (3.3) has its distance in the immediate value.
    @inlinable public var distance: Int { isAlways && self.class == Class.jump32 ? Int(immediate) : Int(offset) }

    public static let wide: UInt8 = 0x18

    /// Classes (RFC 9669, 3.1).
    public enum Class {
        public static let load: UInt8 = 0, loadRegister: UInt8 = 1, store: UInt8 = 2, storeRegister: UInt8 = 3
        public static let arithmetic32: UInt8 = 4, jump: UInt8 = 5, jump32: UInt8 = 6, arithmetic: UInt8 = 7
    }

    /// Arithmetic (4.1).
    public enum Arithmetic {
        public static let add: UInt8 = 0x00, subtract: UInt8 = 0x10, multiply: UInt8 = 0x20, divide: UInt8 = 0x30, or: UInt8 = 0x40
        public static let and: UInt8 = 0x50, shiftLeft: UInt8 = 0x60, shiftRight: UInt8 = 0x70, negate: UInt8 = 0x80
        public static let modulo: UInt8 = 0x90, xor: UInt8 = 0xa0, move: UInt8 = 0xb0, shiftRightSigned: UInt8 = 0xc0, swap: UInt8 = 0xd0
    }

    /// Jumps (4.3).
    public enum Jump {
        public static let always: UInt8 = 0x00, equal: UInt8 = 0x10, greater: UInt8 = 0x20, greaterOrEqual: UInt8 = 0x30
        public static let anyBit: UInt8 = 0x40, notEqual: UInt8 = 0x50, greaterSigned: UInt8 = 0x60, greaterOrEqualSigned: UInt8 = 0x70
        public static let call: UInt8 = 0x80, exit: UInt8 = 0x90, less: UInt8 = 0xa0, lessOrEqual: UInt8 = 0xb0
        public static let lessSigned: UInt8 = 0xc0, lessOrEqualSigned: UInt8 = 0xd0
    }

    /// Modes of loads and stores (5).
    public enum Mode {
        public static let memory: UInt8 = 0x60, memorySigned: UInt8 = 0x80
    }
}

/// The four places that a program can reach. An address is a place's number in the upper 32 bits and an offset in the lower ones: the
/// same on every machine.
public enum Place: UInt32, Sendable {
    /// What the policy is told, and its claims (``PolicyContext``).
    case context = 1
    /// 64 bytes that the policy keeps for each owner.
    case own = 2
    /// 64 bytes that it keeps for all of them.
    case shared = 3
    /// 512 bytes, from offset 0; r10 is their end.
    case stack = 4

    public static let memoryBytes: UInt32 = 64
    public static let stackBytes: UInt32 = 512

    public var bytes: UInt32 {
        switch self {
        case .context: UInt32(PolicyContext.byteCount)
        case .own, .shared: Self.memoryBytes
        case .stack: Self.stackBytes
        }
    }
    /// Offsets that a program may write.
    public var writable: Range<UInt32> {
        self == .context ? UInt32(PolicyContext.claims.lowerBound * 4)..<UInt32(PolicyContext.claims.upperBound * 4) : 0..<bytes
    }
    public var address: UInt64 { UInt64(rawValue) << 32 }
}
