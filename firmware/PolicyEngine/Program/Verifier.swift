import AdminProtocol

/// Decides whether a policy program may run (RFC 9669): conformance groups base32, base64, divmul32 and divmul64.
///
/// It lets pass what can't go wrong: every instruction is one that there is and can be reached, jumps go forwards (so that a program ends
/// after as many instructions as it has), registers and stack are written before they are read, and each access lies in one of the four
/// places (``Place``) whatever the numbers are from which its address was made. Nothing goes back, so one walk from the first instruction
/// to the last sees every way to each of them; where ways meet, what is true of both is kept.
public struct Verifier {
    /// Instructions of the longest program.
    public static let longest = 1024
    /// Targets of jumps that may be ahead at a time.
    static let targetsAhead = 64
    /// An address that is farther than this from its place is none any more.
    static let farthest: Int64 = 1 << 20
    private static let slots = Int(Place.stackBytes) / 8
    private static let valuesOfState = 11 + slots

    /// What is known at the present instruction: 11 registers, then the stack.
    private let state: Table<Value>
    /// What is known of ways that jump ahead, one state for each target.
    private let ahead: Table<Value>
    /// The instruction that a state ahead belongs to; 0: none.
    private let targets: Table<UInt16>
    /// Instructions that are the target of a jump, one bit each.
    private let targeted: Table<UInt32>
    private var twins: UInt16 = 0
    /// Whether there is a way to the present instruction.
    private var isReached = true

    public init(in arena: inout Arena) {
        state = arena.table(of: Self.valuesOfState, repeating: .unknown)
        ahead = arena.table(of: Self.valuesOfState * Self.targetsAhead, repeating: .unknown)
        targets = arena.table(of: Self.targetsAhead, repeating: 0)
        targeted = arena.table(of: Self.longest / 32, repeating: 0)
    }

    /// - Returns: nil if the program may run, else the first thing that is wrong.
    public mutating func verify(_ program: UnsafePointer<Instruction>, count: Int) -> PolicyRefusal? {
        if let refusal = checkStructure(program, count) { return refusal }
        for index in 0..<state.count { state[index] = .unknown }
        for index in 0..<targets.count { targets[index] = 0 }
        state[1] = .address(.context, 0)
        state[2] = .address(.own, 0)
        state[3] = .address(.shared, 0)
        state[10] = .address(.stack, Int64(Place.stackBytes))
        (twins, isReached) = (0, true)
        var index = 0
        while index < count {
            let instruction = program[index]
            arrive(at: index)
            guard isReached else { return PolicyRefusal(.unreachable, at: index) }
            let second = instruction.isWide ? program[index + 1].immediate : 0
            if let refusal = step(instruction, second: second, at: index) { return refusal }
            index += instruction.isWide ? 2 : 1
        }
        return nil
    }

    // MARK: Structure

    private func checkStructure(_ program: UnsafePointer<Instruction>, _ count: Int) -> PolicyRefusal? {
        guard (1...Self.longest).contains(count) else {
            return PolicyRefusal(.length, at: 0, expected: 1, through: Int64(Self.longest), found: Int64(count))
        }
        for index in 0..<targeted.count { targeted[index] = 0 }
        var index = 0
        while index < count {
            let instruction = program[index]
            if let refusal = Self.checkEncoding(instruction, at: index) { return refusal }
            if instruction.isWide {
                guard index + 1 < count else { return PolicyRefusal(.truncated, at: index, expected: 2, through: 2, found: 1) }
                let second = program[index + 1]
                guard second.opcode == 0, second.registers == 0, second.offset == 0 else {
                    return PolicyRefusal(.field, at: index + 1, expected: 0, through: 0, found: Int64(second.opcode))
                }
                index += 2
                continue
            }
            if index == count - 1, !instruction.isExit { return PolicyRefusal(.end, at: index, found: Int64(instruction.opcode)) }
            if instruction.isJump, !instruction.isExit {
                let target = index + 1 + instruction.distance
                guard target > index else {
                    return PolicyRefusal(.backwards, at: index, expected: Int64(index + 1), through: Int64(count - 1), found: Int64(target))
                }
                guard target < count else {
                    return PolicyRefusal(.target, at: index, expected: Int64(index + 1), through: Int64(count - 1), found: Int64(target))
                }
                targeted[target >> 5] |= 1 &<< UInt32(truncatingIfNeeded: target & 31)
            }
            index += 1
        }
        // The last one is the second half of a wide one.
        if index > 1, program[count - 1].opcode == 0 { return PolicyRefusal(.end, at: count - 2, found: Int64(Instruction.wide)) }
        index = 0
        while index < count {
            if program[index].isWide {
                let half = index + 1
                if targeted[half >> 5] & 1 &<< UInt32(truncatingIfNeeded: half & 31) != 0 { return PolicyRefusal(.middle, at: half) }
                index += 1
            }
            index += 1
        }
        return nil
    }

    /// Whether this is an instruction that there is, with zeros in the fields that it doesn't use.
    private static func checkEncoding(_ instruction: Instruction, at index: Int) -> PolicyRefusal? {
        guard instruction.destination <= 10, instruction.source <= 10 else {
            let found = Int64(max(instruction.destination, instruction.source))
            return PolicyRefusal(.register, at: index, expected: 0, through: 10, found: found)
        }
        let unknown = PolicyRefusal(.opcode, at: index, found: Int64(instruction.opcode))
        var writes = false, offsetIsUsed = false, immediateIsUsed = false, sourceIsUsed = false, destinationIsUsed = true
        switch instruction.class {
        case Instruction.Class.arithmetic, Instruction.Class.arithmetic32:
            writes = true
            (sourceIsUsed, immediateIsUsed) = (instruction.takesRegister, !instruction.takesRegister)
            let isWide = instruction.class == Instruction.Class.arithmetic
            switch instruction.operation {
            case Instruction.Arithmetic.divide, Instruction.Arithmetic.modulo: offsetIsUsed = instruction.offset == 1
            case Instruction.Arithmetic.move:
                let isExtending = instruction.offset == 8 || instruction.offset == 16 || (isWide && instruction.offset == 32)
                offsetIsUsed = instruction.takesRegister && isExtending
            case Instruction.Arithmetic.negate:
                guard !instruction.takesRegister else { return unknown }
                immediateIsUsed = false
            case Instruction.Arithmetic.swap:
                guard !(isWide && instruction.takesRegister) else { return unknown }
                guard instruction.immediate == 16 || instruction.immediate == 32 || instruction.immediate == 64 else {
                    return PolicyRefusal(.field, at: index, expected: 16, through: 64, found: Int64(instruction.immediate))
                }
                (sourceIsUsed, immediateIsUsed) = (false, true)
            case 0xe0, 0xf0: return unknown
            default: break
            }
        case Instruction.Class.jump, Instruction.Class.jump32:
            (sourceIsUsed, immediateIsUsed, offsetIsUsed) = (instruction.takesRegister, !instruction.takesRegister, true)
            switch instruction.operation {
            case Instruction.Jump.call: return PolicyRefusal(.call, at: index, found: Int64(instruction.immediate))
            case Instruction.Jump.always:
                guard !instruction.takesRegister else { return unknown }
                (destinationIsUsed, offsetIsUsed) = (false, instruction.class == Instruction.Class.jump)
                immediateIsUsed = !offsetIsUsed
            case Instruction.Jump.exit:
                guard instruction.isExit else { return unknown }
                (destinationIsUsed, offsetIsUsed, immediateIsUsed) = (false, false, false)
            case 0xe0, 0xf0: return unknown
            default: break
            }
        case Instruction.Class.loadRegister:
            let isSigned = instruction.mode == Instruction.Mode.memorySigned && instruction.accessBytes < 8
            guard instruction.mode == Instruction.Mode.memory || isSigned else { return unknown }
            (writes, sourceIsUsed, offsetIsUsed) = (true, true, true)
        case Instruction.Class.store, Instruction.Class.storeRegister:
            guard instruction.mode == Instruction.Mode.memory else { return unknown }
            offsetIsUsed = true
            sourceIsUsed = instruction.class == Instruction.Class.storeRegister
            immediateIsUsed = !sourceIsUsed
        default:
            guard instruction.isWide else { return unknown }
            (writes, immediateIsUsed) = (true, true)
        }
        guard sourceIsUsed || instruction.source == 0, destinationIsUsed || instruction.destination == 0 else {
            return PolicyRefusal(.field, at: index, expected: 0, through: 0, found: Int64(instruction.registers))
        }
        guard offsetIsUsed || instruction.offset == 0 else {
            return PolicyRefusal(.field, at: index, expected: 0, through: 0, found: Int64(instruction.offset))
        }
        guard immediateIsUsed || instruction.immediate == 0 else {
            return PolicyRefusal(.field, at: index, expected: 0, through: 0, found: Int64(instruction.immediate))
        }
        guard !(writes && instruction.destination == 10) else { return PolicyRefusal(.frame, at: index, found: 10) }
        return nil
    }

    // MARK: Ways

    /// Joins what the ways that jump to an instruction know.
    private mutating func arrive(at index: Int) {
        guard targeted[index >> 5] & 1 &<< UInt32(truncatingIfNeeded: index & 31) != 0 else { return }
        for place in 0..<Self.targetsAhead where Int(targets[place]) == index {
            let other = ahead.part(place, of: Self.valuesOfState)
            for n in 0..<Self.valuesOfState { state[n] = isReached ? state[n].joined(other[n]) : other[n] }
            isReached = true
            targets[place] = 0
        }
    }

    /// Keeps what is known at present for the instruction that a jump goes to.
    private mutating func jump(to target: Int, from index: Int) -> PolicyRefusal? {
        var free: Int?
        for place in 0..<Self.targetsAhead {
            if Int(targets[place]) == target {
                let other = ahead.part(place, of: Self.valuesOfState)
                for n in 0..<Self.valuesOfState { other[n] = other[n].joined(state[n]) }
                return nil
            }
            if targets[place] == 0, free == nil { free = place }
        }
        guard let free else {
            return PolicyRefusal(.tooMany, at: index, expected: 0, through: Int64(Self.targetsAhead), found: Int64(Self.targetsAhead + 1))
        }
        targets[free] = UInt16(truncatingIfNeeded: target)
        ahead.part(free, of: Self.valuesOfState).update(from: state.part(0, of: Self.valuesOfState), count: Self.valuesOfState)
        return nil
    }

    // MARK: One instruction

    private mutating func step(_ instruction: Instruction, second: Int32, at index: Int) -> PolicyRefusal? {
        switch instruction.class {
        case Instruction.Class.arithmetic, Instruction.Class.arithmetic32: return compute(instruction, at: index)
        case Instruction.Class.jump, Instruction.Class.jump32: return branch(instruction, at: index)
        case Instruction.Class.loadRegister:
            guard let address = known(instruction.source) else { return unset(instruction.source, index) }
            var value = Value.unknown
            let refusal = access(address, instruction, at: index) { [self] slots in value = read(slots, instruction) }
            if let refusal { return refusal }
            if address.kind == .stack, value.kind == .unknown {
                return PolicyRefusal(.unset, at: index, found: Int64(instruction.source))
            }
            state[instruction.destination] = value
            return nil
        case Instruction.Class.store, Instruction.Class.storeRegister:
            guard let address = known(instruction.destination) else { return unset(instruction.destination, index) }
            var value = Value.number(Bounds(UInt64(bitPattern: Int64(instruction.immediate))))
            if instruction.class == Instruction.Class.storeRegister {
                guard let stored = known(instruction.source) else { return unset(instruction.source, index) }
                value = stored
                // Addresses leave a program on no way; on the stack they are kept whole.
                guard !value.isAddress || (address.kind == .stack && instruction.accessBytes == 8) else {
                    return PolicyRefusal(.number, at: index, found: Int64(instruction.source))
                }
            }
            return access(address, instruction, at: index) { [self] slots in write(value, slots, instruction) }
        default:
            let low = UInt64(UInt32(bitPattern: instruction.immediate)), high = UInt64(UInt32(bitPattern: second))
            state[instruction.destination] = .number(Bounds(low | high << 32))
            return nil
        }
    }

    private func known(_ register: Int) -> Value? { state[register].kind == .unknown ? nil : state[register] }
    private func unset(_ register: Int, _ index: Int) -> PolicyRefusal { PolicyRefusal(.unset, at: index, found: Int64(register)) }

    private mutating func compute(_ instruction: Instruction, at index: Int) -> PolicyRefusal? {
        let isMove = instruction.operation == Instruction.Arithmetic.move
        var right = Value.number(Bounds(UInt64(bitPattern: Int64(instruction.immediate))))
        if instruction.takesRegister, instruction.operation != Instruction.Arithmetic.swap {
            guard let value = known(instruction.source) else { return unset(instruction.source, index) }
            right = value
        }
        let isWide = instruction.class == Instruction.Class.arithmetic
        if isMove, isWide, instruction.offset == 0 {
            state[instruction.destination] = twinned(right, instruction)
            return nil
        }
        var left = Value.number(.all)
        if !isMove {
            guard let value = known(instruction.destination) else { return unset(instruction.destination, index) }
            left = value
        }
        if left.isAddress || right.isAddress { return move(left, right, instruction, at: index) }
        if isMove, instruction.offset == 0, right.high <= 0xffff_ffff {
            state[instruction.destination] = twinned(right, instruction)
        } else {
            state[instruction.destination] = .number(Bounds.result(instruction, left.bounds, right.bounds))
        }
        return nil
    }

    /// A value that two registers have from now on.
    private mutating func twinned(_ value: Value, _ instruction: Instruction) -> Value {
        guard instruction.takesRegister, value.kind == .number, value.low != value.high else { return value }
        var value = value
        if value.twin == 0, twins < .max {
            twins += 1
            value.twin = twins
            state[instruction.source].twin = twins
        }
        return value
    }

    /// An address plus or minus a number.
    private mutating func move(_ left: Value, _ right: Value, _ instruction: Instruction, at index: Int) -> PolicyRefusal? {
        let adds = instruction.operation == Instruction.Arithmetic.add
        let isPossible = instruction.class == Instruction.Class.arithmetic
            && (adds ? left.isAddress != right.isAddress : instruction.operation == Instruction.Arithmetic.subtract && !right.isAddress)
        guard isPossible else {
            return PolicyRefusal(.number, at: index, found: Int64(right.isAddress ? instruction.source : instruction.destination))
        }
        let (address, number) = left.isAddress ? (left, right) : (right, left)
        // A negative number is added as a great one: all of its range must be that.
        let low = Int64(bitPattern: number.low), high = Int64(bitPattern: number.high)
        guard low <= high, low >= -Self.farthest, high <= Self.farthest else {
            return PolicyRefusal(.distance, at: index, expected: -Self.farthest, through: Self.farthest, found: low, high)
        }
        var result = address
        let moved = (low: address.offsets.low + (adds ? low : -high), high: address.offsets.high + (adds ? high : -low))
        guard moved.low >= -Self.farthest, moved.high <= Self.farthest else {
            return PolicyRefusal(.distance, at: index, expected: -Self.farthest, through: Self.farthest, found: moved.low, moved.high)
        }
        result.low = UInt64(bitPattern: moved.low)
        result.high = UInt64(bitPattern: moved.high)
        state[instruction.destination] = result
        return nil
    }

    private mutating func branch(_ instruction: Instruction, at index: Int) -> PolicyRefusal? {
        if instruction.isExit {
            guard let result = known(0) else { return unset(0, index) }
            guard result.kind == .number else { return PolicyRefusal(.number, at: index, found: 0) }
            isReached = false
            return nil
        }
        let target = index + 1 + instruction.distance
        if instruction.isAlways {
            isReached = false
            return jump(to: target, from: index)
        }
        guard let left = known(instruction.destination) else { return unset(instruction.destination, index) }
        var right = Value.number(Bounds(UInt64(bitPattern: Int64(instruction.immediate))))
        if instruction.class == Instruction.Class.jump32, !instruction.takesRegister { right = .number(right.bounds.low32) }
        if instruction.takesRegister {
            guard let value = known(instruction.source) else { return unset(instruction.source, index) }
            right = value
        }
        guard left.kind == .number, right.kind == .number else {
            return PolicyRefusal(.number, at: index, found: Int64(left.kind == .number ? instruction.source : instruction.destination))
        }
        // What is learnt holds on its way only.
        let (before, after) = (left.bounds, right.bounds)
        learn(instruction, holds: true, before, after)
        if let refusal = jump(to: target, from: index) { return refusal }
        restore(instruction, left, right)
        learn(instruction, holds: false, before, after)
        return nil
    }

    private func learn(_ instruction: Instruction, holds: Bool, _ left: Bounds, _ right: Bounds) {
        var (left, right) = (left, right)
        Bounds.learn(instruction, holds: holds, &left, &right)
        narrow(instruction.destination, to: left)
        if instruction.takesRegister { narrow(instruction.source, to: right) }
    }

    private func restore(_ instruction: Instruction, _ left: Value, _ right: Value) {
        narrow(instruction.destination, to: left.bounds)
        if instruction.takesRegister { narrow(instruction.source, to: right.bounds) }
    }

    /// Sets the bounds of a register, and of all that hold the same number.
    private func narrow(_ register: Int, to bounds: Bounds) {
        let twin = state[register].twin
        for index in 0..<Self.valuesOfState where index == register || (twin != 0 && state[index].twin == twin) {
            state[index].low = bounds.low
            state[index].high = bounds.high
        }
    }

    // MARK: Memory

    /// Checks an access and, if it is to the stack, hands it the first byte's offset.
    private func access(_ address: Value, _ instruction: Instruction, at index: Int, onStack: (Int) -> Void) -> PolicyRefusal? {
        let isStore = instruction.class != Instruction.Class.loadRegister
        guard let place = address.place else {
            return PolicyRefusal(.address, at: index, found: Int64(isStore ? instruction.destination : instruction.source))
        }
        let allowed = isStore ? place.writable : 0..<place.bytes
        let low = address.offsets.low + Int64(instruction.offset), high = address.offsets.high + Int64(instruction.offset)
        let expected = Int64(allowed.lowerBound)...(Int64(allowed.upperBound) - Int64(instruction.accessBytes))
        guard low >= expected.lowerBound, high <= expected.upperBound else {
            return PolicyRefusal(.bounds, at: index, expected: expected.lowerBound, through: expected.upperBound, found: low, high)
        }
        guard place == .stack else {
            onStack(-1)
            return nil
        }
        guard low == high else { return PolicyRefusal(.stackOffset, at: index, expected: low, through: low, found: low, high) }
        onStack(Int(low))
        return nil
    }

    /// What a load yields; `unknown` if not all of the bytes were written.
    private func read(_ offset: Int, _ instruction: Instruction) -> Value {
        let bytes = Int(instruction.accessBytes)
        let isSigned = instruction.mode == Instruction.Mode.memorySigned
        let any = Value.number(bytes == 8 || isSigned ? .all : Bounds(0, UInt64.max &>> UInt64(64 - 8 * bytes)))
        guard offset >= 0 else { return any }
        if bytes == 8, offset & 7 == 0 {
            let slot = state[11 + offset / 8]
            if slot.kind != .bytes { return slot }
        }
        for byte in offset..<offset + bytes {
            let slot = state[11 + byte / 8]
            // A part of an address is no number.
            guard !slot.isAddress, slot.writtenBytes &>> UInt64(byte & 7) & 1 != 0 else { return .unknown }
        }
        return any
    }

    private func write(_ value: Value, _ offset: Int, _ instruction: Instruction) {
        guard offset >= 0 else { return }
        let bytes = Int(instruction.accessBytes)
        if bytes == 8, offset & 7 == 0 {
            state[11 + offset / 8] = value
            return
        }
        for byte in offset..<offset + bytes {
            let slot = state[11 + byte / 8]
            // What is left of an address is nothing.
            let written = slot.isAddress ? 0 : slot.writtenBytes
            state[11 + byte / 8] = Value(kind: .bytes, low: written | 1 &<< UInt64(byte & 7))
        }
    }
}
