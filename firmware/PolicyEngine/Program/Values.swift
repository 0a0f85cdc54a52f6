/// What the verifier knows of a register or of eight bytes of the stack: of a number, its bounds; of an address, its place and the bounds
/// of its offset.
struct Value: BitwiseCopyable, Equatable {
    enum Kind: UInt8 {
        /// Never written on some path that leads here, or different things on different paths.
        case unknown
        case number
        case context, own, shared, stack
        /// Of the stack only: some bytes were written, bit n of `low` for byte n.
        case bytes
    }

    var kind: Kind
    /// Registers of the same one, not 0, hold the same number: what is learnt of one holds for all.
    var twin: UInt16 = 0
    /// Unsigned bounds of a number; signed bounds of an offset.
    var low: UInt64 = 0
    var high: UInt64 = 0

    static var unknown: Value { Value(kind: .unknown) }
    static func number(_ range: Bounds) -> Value { Value(kind: .number, low: range.low, high: range.high) }
    static func address(_ kind: Kind, _ offset: Int64) -> Value {
        Value(kind: kind, low: UInt64(bitPattern: offset), high: UInt64(bitPattern: offset))
    }

    var bounds: Bounds { Bounds(low, high) }
    var offsets: (low: Int64, high: Int64) { (Int64(bitPattern: low), Int64(bitPattern: high)) }

    var place: Place? {
        switch kind {
        case .context: .context
        case .own: .own
        case .shared: .shared
        case .stack: .stack
        case .unknown, .number, .bytes: nil
        }
    }
    var isAddress: Bool { place != nil }

    /// What is true of both.
    func joined(_ other: Value) -> Value {
        guard kind == other.kind else { return .unknown }
        var result = self
        switch kind {
        case .unknown: return .unknown
        case .bytes: result.low = low & other.low
        case .number:
            result.low = min(low, other.low)
            result.high = max(high, other.high)
        case .context, .own, .shared, .stack:
            result.low = UInt64(bitPattern: min(offsets.low, other.offsets.low))
            result.high = UInt64(bitPattern: max(offsets.high, other.offsets.high))
        }
        if twin != other.twin { result.twin = 0 }
        return result
    }

    /// Which of the eight bytes of a stack slot were written.
    var writtenBytes: UInt64 { kind == .bytes ? low : kind == .unknown ? 0 : 0xff }
}

/// The least and the greatest that a number can be, unsigned.
struct Bounds: Equatable {
    var low: UInt64
    var high: UInt64

    init(_ low: UInt64, _ high: UInt64) { self.low = low; self.high = high }
    init(_ value: UInt64) { low = value; high = value }

    static var all: Bounds { Bounds(0, .max) }
    static var all32: Bounds { Bounds(0, 0xffff_ffff) }

    var constant: UInt64? { low == high ? low : nil }
    /// The lower 32 bits.
    var low32: Bounds {
        guard high > 0xffff_ffff else { return self }
        return low >> 32 == high >> 32 ? Bounds(low & 0xffff_ffff, high & 0xffff_ffff) : .all32
    }
    /// All ones from the highest bit down that the number can have.
    var mask: UInt64 { high == 0 ? 0 : UInt64.max &>> UInt64(truncatingIfNeeded: high.leadingZeroBitCount) }

    /// The bounds of an arithmetic instruction's result.
    static func result(_ instruction: Instruction, _ wideLeft: Bounds, _ wideRight: Bounds) -> Bounds {
        let isWide = instruction.class == Instruction.Class.arithmetic
        let left = isWide ? wideLeft : wideLeft.low32, right = isWide ? wideRight : wideRight.low32
        if let a = left.constant, let b = right.constant, let value = Arithmetic.result(instruction, a, b) { return Bounds(value) }
        let all = isWide ? Bounds.all : Bounds.all32
        let isSigned = instruction.offset == 1
        // Both are no negative numbers, whether they are read as signed or not.
        let isPlain = !isSigned || (left.high <= all.high >> 1 && right.high <= all.high >> 1)
        let bits: UInt64 = isWide ? 64 : 32
        switch instruction.operation {
        case Instruction.Arithmetic.add:
            return left.high <= all.high &- right.high ? Bounds(left.low &+ right.low, left.high &+ right.high) : all
        case Instruction.Arithmetic.subtract:
            return left.low >= right.high ? Bounds(left.low &- right.high, left.high &- right.low) : all
        case Instruction.Arithmetic.multiply:
            guard left.high <= 0xffff_ffff, right.high <= 0xffff_ffff, left.high &* right.high <= all.high else { return all }
            return Bounds(left.low &* right.low, left.high &* right.high)
        case Instruction.Arithmetic.divide:
            guard isPlain else { return all }
            // By zero: zero.
            return right.low == 0 ? Bounds(0, left.high) : Bounds(left.low / right.high, left.high / right.low)
        case Instruction.Arithmetic.modulo:
            guard isPlain else { return all }
            // By zero: unchanged.
            return Bounds(0, right.low == 0 ? left.high : min(left.high, right.high &- 1))
        case Instruction.Arithmetic.and: return Bounds(0, min(left.high, right.high))
        case Instruction.Arithmetic.or: return Bounds(max(left.low, right.low), left.mask | right.mask)
        case Instruction.Arithmetic.xor: return Bounds(0, left.mask | right.mask)
        case Instruction.Arithmetic.shiftLeft:
            guard let count = right.constant, count < bits, left.high <= all.high &>> count else { return all }
            return Bounds(left.low &<< count, left.high &<< count)
        case Instruction.Arithmetic.shiftRight:
            guard let count = right.constant, count < bits else { return Bounds(0, left.high) }
            return Bounds(left.low &>> count, left.high &>> count)
        case Instruction.Arithmetic.shiftRightSigned:
            guard left.high <= all.high >> 1 else { return all }
            guard let count = right.constant, count < bits else { return Bounds(0, left.high) }
            return Bounds(left.low &>> count, left.high &>> count)
        case Instruction.Arithmetic.move:
            // What extends the sign changes nothing where there is none.
            guard instruction.offset != 0 else { return right }
            return right.high < 1 &<< (UInt64(truncatingIfNeeded: Int64(instruction.offset)) &- 1) ? right : all
        case Instruction.Arithmetic.swap:
            switch instruction.immediate {
            case 16: return Bounds(0, 0xffff)
            case 32: return .all32
            default: return .all
            }
        default: return all
        }
    }

    /// What is known of both operands where a jump's condition holds, or where it doesn't; unchanged where nothing is learnt.
    static func learn(_ instruction: Instruction, holds: Bool, _ left: inout Bounds, _ right: inout Bounds) {
        let isWide = instruction.class == Instruction.Class.jump
        guard isWide || (left.high <= 0xffff_ffff && right.high <= 0xffff_ffff) else { return }
        let positive: UInt64 = isWide ? UInt64.max >> 1 : 0x7fff_ffff
        let isPlain = left.high <= positive && right.high <= positive
        var a = left, b = right
        switch (instruction.operation, holds) {
        case (Instruction.Jump.equal, true), (Instruction.Jump.notEqual, false):
            a = Bounds(max(a.low, b.low), min(a.high, b.high))
            b = a
        case (Instruction.Jump.equal, false), (Instruction.Jump.notEqual, true):
            a.exclude(right)
            b.exclude(left)
        case (Instruction.Jump.greater, true), (Instruction.Jump.lessOrEqual, false): below(&b, &a, strictly: true)
        case (Instruction.Jump.greaterOrEqual, true), (Instruction.Jump.less, false): below(&b, &a, strictly: false)
        case (Instruction.Jump.less, true), (Instruction.Jump.greaterOrEqual, false): below(&a, &b, strictly: true)
        case (Instruction.Jump.lessOrEqual, true), (Instruction.Jump.greater, false): below(&a, &b, strictly: false)
        case (Instruction.Jump.greaterSigned, true) where isPlain, (Instruction.Jump.lessOrEqualSigned, false) where isPlain:
            below(&b, &a, strictly: true)
        case (Instruction.Jump.greaterOrEqualSigned, true) where isPlain, (Instruction.Jump.lessSigned, false) where isPlain:
            below(&b, &a, strictly: false)
        case (Instruction.Jump.lessSigned, true) where isPlain, (Instruction.Jump.greaterOrEqualSigned, false) where isPlain:
            below(&a, &b, strictly: true)
        case (Instruction.Jump.lessOrEqualSigned, true) where isPlain, (Instruction.Jump.greaterSigned, false) where isPlain:
            below(&a, &b, strictly: false)
        default: return
        }
        // Where the condition can't be, nothing ever comes along here: then anything holds, and what is known already will do.
        guard a.low <= a.high, b.low <= b.high else { return }
        left = a
        right = b
    }

    private static func below(_ smaller: inout Bounds, _ greater: inout Bounds, strictly: Bool) {
        let step: UInt64 = strictly ? 1 : 0
        let (highest, isNone) = greater.high.subtractingReportingOverflow(step)
        let (lowest, isNoneEither) = smaller.low.addingReportingOverflow(step)
        guard !isNone, !isNoneEither else { return }
        smaller.high = min(smaller.high, highest)
        greater.low = max(greater.low, lowest)
    }

    private mutating func exclude(_ other: Bounds) {
        guard let value = other.constant, low < high else { return }
        if low == value { low &+= 1 } else if high == value { high &-= 1 }
    }
}
