import AdminProtocol

/// Runs policy programs (RFC 9669; what of it, says the ``Verifier``).
///
/// It checks each access and counts each instruction by itself, whatever the verifier has said before: no program reaches anything but
/// its four places, and none goes on for ever.
public struct Interpreter {
    /// Why a program was ended.
    public enum Fault: UInt32, Sendable {
        case none = 0
        /// It ran out of instructions.
        case budget = 1
        /// An access outside its places, or to what it may not write.
        case access = 2
        /// An instruction that there isn't, or none at all.
        case instruction = 3
        /// It returned something other than 0: it gives up.
        case gaveUp = 4
        /// A claim that makes no sense (``PolicyContext``).
        case claim = 5
    }

    private let registers: Table<UInt64>
    private let stack: Table<UInt64>
    /// Where the last program was ended.
    public private(set) var place = 0
    /// Instructions that programs may still execute.
    public var budget: UInt32 = 0

    public init(in arena: inout Arena) {
        registers = arena.table(of: 11, repeating: 0)
        stack = arena.table(of: Int(Place.stackBytes) / 8, repeating: 0)
    }

    /// Runs a program to its end.
    /// - Parameters:
    ///   - context: ``PolicyContext/byteCount`` bytes, aligned to 4, as `own` and `shared` are, which have ``Place/memoryBytes``.
    ///   - count: instructions that there are.
    public mutating func run(
        _ program: UnsafePointer<Instruction>, count: Int, context: UnsafeMutableRawPointer, own: UnsafeMutableRawPointer,
        shared: UnsafeMutableRawPointer
    ) -> Fault {
        // The stack keeps what it had: nobody reads there what wasn't written before.
        for index in 0..<11 { registers[index] = 0 }
        let r = registers.part(0, of: 11)
        r[1] = Place.context.address
        r[2] = Place.own.address
        r[3] = Place.shared.address
        r[10] = Place.stack.address + UInt64(Place.stackBytes)
        let words = stack.part(0, of: Int(Place.stackBytes) / 8)
        let places = Places(context: context, own: own, shared: shared, stack: UnsafeMutableRawPointer(words))
        var next = 0
        while true {
            place = next
            guard UInt(bitPattern: next) < UInt(bitPattern: count) else { return .instruction }
            guard budget != 0 else { return .budget }
            budget &-= 1
            let instruction = program[next]
            next &+= 1
            guard instruction.destination <= 10, instruction.source <= 10 else { return .instruction }
            switch instruction.class {
            case Instruction.Class.arithmetic, Instruction.Class.arithmetic32:
                let operand = instruction.takesRegister ? r[instruction.source] : Self.extended(instruction.immediate)
                guard let value = Arithmetic.result(instruction, r[instruction.destination], operand) else { return .instruction }
                r[instruction.destination] = value
            case Instruction.Class.jump, Instruction.Class.jump32:
                if instruction.isExit { return r[0] == 0 ? .none : .gaveUp }
                let operand = instruction.takesRegister ? r[instruction.source] : Self.extended(instruction.immediate)
                guard let jumps = Arithmetic.holds(instruction, r[instruction.destination], operand) else { return .instruction }
                if jumps { next &+= instruction.distance }
            case Instruction.Class.loadRegister:
                let address = r[instruction.source] &+ UInt64(bitPattern: Int64(instruction.offset))
                guard let bytes = places.find(address, instruction.accessBytes, forWriting: false) else { return .access }
                r[instruction.destination] = Self.load(bytes, instruction)
            case Instruction.Class.store, Instruction.Class.storeRegister:
                let address = r[instruction.destination] &+ UInt64(bitPattern: Int64(instruction.offset))
                guard let bytes = places.find(address, instruction.accessBytes, forWriting: true) else { return .access }
                let value = instruction.class == Instruction.Class.store ? Self.extended(instruction.immediate) : r[instruction.source]
                Self.store(value, bytes, instruction.accessBytes)
            default:
                guard instruction.isWide, next < count else { return .instruction }
                r[instruction.destination] =
                    UInt64(UInt32(bitPattern: instruction.immediate)) | UInt64(UInt32(bitPattern: program[next].immediate)) << 32
                next &+= 1
            }
        }
    }

    @inline(__always) private static func extended(_ immediate: Int32) -> UInt64 { UInt64(bitPattern: Int64(immediate)) }

    private static func load(_ bytes: UnsafeMutableRawPointer, _ instruction: Instruction) -> UInt64 {
        let isSigned = instruction.mode == Instruction.Mode.memorySigned
        switch instruction.accessBytes {
        case 1:
            let value = bytes.load(as: UInt8.self)
            return isSigned ? extended(Int32(Int8(bitPattern: value))) : UInt64(value)
        case 2:
            let value = UInt16(littleEndian: bytes.loadUnaligned(as: UInt16.self))
            return isSigned ? extended(Int32(Int16(bitPattern: value))) : UInt64(value)
        case 4:
            let value = Self.word(bytes)
            return isSigned ? extended(Int32(bitPattern: value)) : UInt64(value)
        default: return UInt64(Self.word(bytes)) | UInt64(Self.word(bytes + 4)) << 32
        }
    }

    private static func word(_ bytes: UnsafeMutableRawPointer) -> UInt32 {
        UInt(bitPattern: bytes) & 3 == 0 ? bytes.load(as: UInt32.self) : bytes.loadUnaligned(as: UInt32.self)
    }

    private static func store(_ value: UInt64, _ bytes: UnsafeMutableRawPointer, _ count: UInt32) {
        switch count {
        case 1: bytes.storeBytes(of: UInt8(truncatingIfNeeded: value), as: UInt8.self)
        case 2: bytes.storeBytes(of: UInt16(truncatingIfNeeded: value), as: UInt16.self)
        case 4: bytes.storeBytes(of: UInt32(truncatingIfNeeded: value), as: UInt32.self)
        default: bytes.storeBytes(of: value, as: UInt64.self)
        }
    }

    /// Where the places lie.
    private struct Places {
        let context: UnsafeMutableRawPointer
        let own: UnsafeMutableRawPointer
        let shared: UnsafeMutableRawPointer
        let stack: UnsafeMutableRawPointer

        /// - Returns: nil unless all of the bytes are in one place, and may be written.
        func find(_ address: UInt64, _ count: UInt32, forWriting: Bool) -> UnsafeMutableRawPointer? {
            guard let place = Place(rawValue: UInt32(truncatingIfNeeded: address >> 32)) else { return nil }
            let offset = UInt32(truncatingIfNeeded: address)
            let allowed = forWriting ? place.writable : 0..<place.bytes
            guard offset >= allowed.lowerBound, offset < allowed.upperBound, count <= allowed.upperBound &- offset else { return nil }
            switch place {
            case .context: return context + Int(offset)
            case .own: return own + Int(offset)
            case .shared: return shared + Int(offset)
            case .stack: return stack + Int(offset)
            }
        }
    }
}

/// What arithmetic instructions and conditions yield (RFC 9669, 4).
public enum Arithmetic {
    /// The new value of the destination; nil for an operation that there isn't.
    public static func result(_ instruction: Instruction, _ left: UInt64, _ right: UInt64) -> UInt64? {
        let isWide = instruction.class == Instruction.Class.arithmetic
        if instruction.operation == Instruction.Arithmetic.swap { return swapped(instruction, left, isWide: isWide) }
        guard let value = isWide ? wide(instruction, left, right) : narrow(instruction, left, right) else { return nil }
        return isWide ? value : value & 0xffff_ffff
    }

    private static func wide(_ instruction: Instruction, _ left: UInt64, _ right: UInt64) -> UInt64? {
        let isSigned = instruction.offset == 1
        switch instruction.operation {
        case Instruction.Arithmetic.add: return left &+ right
        case Instruction.Arithmetic.subtract: return left &- right
        case Instruction.Arithmetic.multiply: return left &* right
        case Instruction.Arithmetic.divide: return right == 0 ? 0 : isSigned ? dividedSigned(left, right) : left / right
        case Instruction.Arithmetic.modulo: return right == 0 ? left : isSigned ? remainderSigned(left, right) : left % right
        case Instruction.Arithmetic.or: return left | right
        case Instruction.Arithmetic.and: return left & right
        case Instruction.Arithmetic.xor: return left ^ right
        case Instruction.Arithmetic.shiftLeft: return left &<< right
        case Instruction.Arithmetic.shiftRight: return left &>> right
        case Instruction.Arithmetic.shiftRightSigned: return UInt64(bitPattern: Int64(bitPattern: left) &>> Int64(bitPattern: right & 63))
        case Instruction.Arithmetic.negate: return 0 &- left
        case Instruction.Arithmetic.move: return moved(right, from: instruction.offset)
        default: return nil
        }
    }

    private static func narrow(_ instruction: Instruction, _ wideLeft: UInt64, _ wideRight: UInt64) -> UInt64? {
        let isSigned = instruction.offset == 1
        let left = UInt32(truncatingIfNeeded: wideLeft), right = UInt32(truncatingIfNeeded: wideRight)
        let value: UInt32
        switch instruction.operation {
        case Instruction.Arithmetic.add: value = left &+ right
        case Instruction.Arithmetic.subtract: value = left &- right
        case Instruction.Arithmetic.multiply: value = left &* right
        case Instruction.Arithmetic.divide:
            value = right == 0 ? 0 : isSigned ? UInt32(truncatingIfNeeded: dividedSigned(extended(left), extended(right))) : left / right
        case Instruction.Arithmetic.modulo:
            value = right == 0
                ? left : isSigned ? UInt32(truncatingIfNeeded: remainderSigned(extended(left), extended(right))) : left % right
        case Instruction.Arithmetic.or: value = left | right
        case Instruction.Arithmetic.and: value = left & right
        case Instruction.Arithmetic.xor: value = left ^ right
        case Instruction.Arithmetic.shiftLeft: value = left &<< right
        case Instruction.Arithmetic.shiftRight: value = left &>> right
        case Instruction.Arithmetic.shiftRightSigned: value = UInt32(bitPattern: Int32(bitPattern: left) &>> Int32(bitPattern: right & 31))
        case Instruction.Arithmetic.negate: value = 0 &- left
        case Instruction.Arithmetic.move: return moved(UInt64(right), from: instruction.offset)
        default: return nil
        }
        return UInt64(value)
    }

    private static func extended(_ value: UInt32) -> UInt64 { UInt64(bitPattern: Int64(Int32(bitPattern: value))) }

    /// A move, or one that extends the sign of the lowest 8, 16 or 32 bits.
    private static func moved(_ value: UInt64, from bits: Int16) -> UInt64? {
        switch bits {
        case 0: value
        case 8: UInt64(bitPattern: Int64(Int8(truncatingIfNeeded: value)))
        case 16: UInt64(bitPattern: Int64(Int16(truncatingIfNeeded: value)))
        case 32: UInt64(bitPattern: Int64(Int32(truncatingIfNeeded: value)))
        default: nil
        }
    }

    private static func magnitude(_ value: UInt64) -> UInt64 { Int64(bitPattern: value) < 0 ? 0 &- value : value }

    /// Towards zero; the least number by -1 is itself.
    private static func dividedSigned(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let quotient = magnitude(left) / magnitude(right)
        return Int64(bitPattern: left ^ right) < 0 ? 0 &- quotient : quotient
    }

    private static func remainderSigned(_ left: UInt64, _ right: UInt64) -> UInt64 {
        let remainder = magnitude(left) % magnitude(right)
        return Int64(bitPattern: left) < 0 ? 0 &- remainder : remainder
    }

    /// Byte order (4.2). This machine's is little-endian, like all that Swift runs on.
    private static func swapped(_ instruction: Instruction, _ value: UInt64, isWide: Bool) -> UInt64? {
        // To little-endian nothing is to be swapped; to big-endian, and unconditionally in the 64-bit class, all is.
        let swaps = isWide || instruction.takesRegister
        switch instruction.immediate {
        case 16: return UInt64(swaps ? UInt16(truncatingIfNeeded: value).byteSwapped : UInt16(truncatingIfNeeded: value))
        case 32: return UInt64(swaps ? UInt32(truncatingIfNeeded: value).byteSwapped : UInt32(truncatingIfNeeded: value))
        case 64: return swaps ? value.byteSwapped : value
        default: return nil
        }
    }

    /// Whether a jump's condition holds; nil for one that there isn't.
    public static func holds(_ instruction: Instruction, _ wideLeft: UInt64, _ wideRight: UInt64) -> Bool? {
        let isWide = instruction.class == Instruction.Class.jump
        let left = isWide ? wideLeft : wideLeft & 0xffff_ffff, right = isWide ? wideRight : wideRight & 0xffff_ffff
        let signedLeft = isWide ? Int64(bitPattern: left) : Int64(Int32(truncatingIfNeeded: left))
        let signedRight = isWide ? Int64(bitPattern: right) : Int64(Int32(truncatingIfNeeded: right))
        switch instruction.operation {
        case Instruction.Jump.always: return true
        case Instruction.Jump.equal: return left == right
        case Instruction.Jump.notEqual: return left != right
        case Instruction.Jump.greater: return left > right
        case Instruction.Jump.greaterOrEqual: return left >= right
        case Instruction.Jump.less: return left < right
        case Instruction.Jump.lessOrEqual: return left <= right
        case Instruction.Jump.anyBit: return left & right != 0
        case Instruction.Jump.greaterSigned: return signedLeft > signedRight
        case Instruction.Jump.greaterOrEqualSigned: return signedLeft >= signedRight
        case Instruction.Jump.lessSigned: return signedLeft < signedRight
        case Instruction.Jump.lessOrEqualSigned: return signedLeft <= signedRight
        default: return nil
        }
    }
}
