/// Numbers of policies (regmaps/hostif/README.md, Policies).
public enum PolicyNumber {
    /// The allocation stays as it is.
    public static let fixed: UInt32 = 0
    public static let fair: UInt32 = 1
    public static let latencyFirst: UInt32 = 2
    public static let throughputFirst: UInt32 = 3
    /// Policies that the host has uploaded.
    public static var uploaded: ClosedRange<UInt32> { 4...7 }
    /// The policy that is best at the time, by what is predicted of each and by what each has done.
    public static let adaptive: UInt32 = 8
    /// Policies that there can be, ``fixed`` and ``adaptive`` among them.
    public static let count: UInt32 = 9
}

/// A policy in the list.
public struct PolicyEntry: WireLayout {
    public static let byteCount = 64

    public var number: UInt32 = 0
    /// Bits of ``Flag``.
    public var flags: UInt32 = 0
    /// Instructions of its program; 0: it is part of the firmware.
    public var instructions: UInt32 = 0
    /// How often it was evaluated, and how often its program was ended before its end; wrapping.
    public var evaluations: UInt32 = 0
    public var faults: UInt32 = 0
    /// The last fault: its kind, and from bit 16 the instruction.
    public var lastFault: UInt32 = 0
    public var values: TuningValues = TuningValues()
    /// UTF-8, padded with zeros.
    public var name: (UInt64, UInt64, UInt64) = (0, 0, 0)

    public enum Flag {
        /// Its decisions are in force.
        public static let inForce: UInt32 = 1
        /// The host has selected it.
        public static let selected: UInt32 = 2
    }

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        number = bytes.number(0)
        flags = bytes.number(4)
        instructions = bytes.number(8)
        evaluations = bytes.number(12)
        faults = bytes.number(16)
        lastFault = bytes.number(20)
        values = TuningValues(decoding: bytes + 24)
        name = (bytes.number(40), bytes.number(48), bytes.number(56))
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(number, 0)
        bytes.put(flags, 4)
        bytes.put(instructions, 8)
        bytes.put(evaluations, 12)
        bytes.put(faults, 16)
        bytes.put(lastFault, 20)
        values.encode(to: bytes + 24)
        bytes.put(name.0, 40)
        bytes.put(name.1, 48)
        bytes.put(name.2, 56)
    }

    public static func == (left: PolicyEntry, right: PolicyEntry) -> Bool {
        left.number == right.number && left.flags == right.flags && left.instructions == right.instructions
            && left.evaluations == right.evaluations && left.faults == right.faults && left.lastFault == right.lastFault
            && left.values == right.values && left.name == right.name
    }
}

/// The four values that tune a policy; what they mean, says the policy.
public struct TuningValues: WireLayout, BitwiseCopyable {
    public static let byteCount = 16

    public var value0: UInt32 = 0, value1: UInt32 = 0, value2: UInt32 = 0, value3: UInt32 = 0

    public init(_ value0: UInt32 = 0, _ value1: UInt32 = 0, _ value2: UInt32 = 0, _ value3: UInt32 = 0) {
        self.value0 = value0; self.value1 = value1; self.value2 = value2; self.value3 = value3
    }

    public init(decoding bytes: UnsafeRawPointer) {
        self.init(bytes.number(0), bytes.number(4), bytes.number(8), bytes.number(12))
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(value0, 0)
        bytes.put(value1, 4)
        bytes.put(value2, 8)
        bytes.put(value3, 12)
    }

    public subscript(index: Int) -> UInt32 {
        get { index == 0 ? value0 : index == 1 ? value1 : index == 2 ? value2 : value3 }
        set {
            switch index {
            case 0: value0 = newValue
            case 1: value1 = newValue
            case 2: value2 = newValue
            default: value3 = newValue
            }
        }
    }
}

/// New values for a policy.
public struct PolicyValues: WireLayout {
    public static let byteCount = 24

    public var number: UInt32 = 0
    public var values = TuningValues()

    public init(number: UInt32 = 0, values: TuningValues = TuningValues()) { self.number = number; self.values = values }

    public init(decoding bytes: UnsafeRawPointer) {
        number = bytes.number(0)
        values = TuningValues(decoding: bytes + 8)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(number, 0)
        bytes.zero(4, count: 4)
        values.encode(to: bytes + 8)
    }
}

/// A policy by its number.
public struct PolicySelect: WireLayout {
    public static let byteCount = 8

    public var number: UInt32 = 0

    public init(number: UInt32 = 0) { self.number = number }
    public init(decoding bytes: UnsafeRawPointer) { number = bytes.number(0) }
    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(number, 0)
        bytes.zero(4, count: 4)
    }
}

/// A piece of a program on its way to the firmware; so many bytes follow.
public struct PolicyPiece: WireLayout {
    public static let byteCount = 8
    /// Bytes that may follow.
    public static let longest = 1024

    /// Where in the program it begins. 0 starts a new upload, everything else goes on where the last piece ended.
    public var offset: UInt32 = 0
    public var count: UInt32 = 0

    public init(offset: UInt32 = 0, count: UInt32 = 0) { self.offset = offset; self.count = count }
    public init(decoding bytes: UnsafeRawPointer) { offset = bytes.number(0); count = bytes.number(4) }
    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(offset, 0)
        bytes.put(count, 4)
    }
}

/// Takes what was uploaded into the registry.
public struct PolicyInstallation: WireLayout {
    public static let byteCount = 40

    /// One of ``PolicyNumber/uploaded``; a policy that has this number already is replaced at the next decision.
    public var number: UInt32 = 0
    /// Bytes that the program has, and their checksum (``Checksum``).
    public var count: UInt32 = 0
    public var checksum: UInt32 = 0
    public var name: (UInt64, UInt64, UInt64) = (0, 0, 0)

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        number = bytes.number(0)
        count = bytes.number(4)
        checksum = bytes.number(8)
        name = (bytes.number(16), bytes.number(24), bytes.number(32))
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(number, 0)
        bytes.put(count, 4)
        bytes.put(checksum, 8)
        bytes.zero(12, count: 4)
        bytes.put(name.0, 16)
        bytes.put(name.1, 24)
        bytes.put(name.2, 32)
    }

    public static func == (left: PolicyInstallation, right: PolicyInstallation) -> Bool {
        left.number == right.number && left.count == right.count && left.checksum == right.checksum && left.name == right.name
    }
}

#if !hasFeature(Embedded)
// Names as text: the firmware has no use for them.
extension PolicyEntry {
    public var text: String { PolicyName.text(name) }
}

extension PolicyInstallation {
    /// Cuts the name off after 24 bytes of UTF-8.
    public mutating func setName(_ text: String) {
        withUnsafeMutableBytes(of: &name) { bytes in
            for (place, byte) in zip(bytes.indices, Array(text.utf8) + [UInt8](repeating: 0, count: bytes.count)) { bytes[place] = byte }
        }
    }
}

enum PolicyName {
    static func text(_ name: (UInt64, UInt64, UInt64)) -> String {
        withUnsafeBytes(of: name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }
}
#endif

/// CRC-32C (RFC 3720, B.4), a bit at a time: it is for kilobytes.
public struct Checksum {
    private var register: UInt32 = .max

    public init() {}

    public mutating func add(_ byte: UInt8) {
        register ^= UInt32(byte)
        for _ in 0..<8 { register = register & 1 == 0 ? register >> 1 : register >> 1 ^ 0x82f6_3b78 }
    }

    public var value: UInt32 { ~register }
}

/// Why the firmware doesn't take a program: the first thing that is wrong with it.
public struct PolicyRefusal: WireLayout, Error {
    public static let byteCount = 40

    /// What is wrong; in brackets, what `found` and the expected range are about.
    public enum Reason: UInt16, Sendable {
        /// No program, or too long a one (instructions).
        case length = 1
        /// The second half of a wide instruction is missing (halves).
        case truncated = 2
        /// There is no such instruction, or it is of a conformance group that isn't supported (opcode).
        case opcode = 3
        /// A field that the instruction doesn't use isn't zero, or has no meaning in it (its value).
        case field = 4
        /// There is no such register (its number).
        case register = 5
        /// r10 can't be written.
        case frame = 6
        /// A jump leaves the program (the instruction that it goes to).
        case target = 7
        /// A jump goes back: the program may loop (the instruction that it goes to).
        case backwards = 8
        /// Some jump goes to the second half of a wide instruction.
        case middle = 9
        /// The program doesn't end with `exit` (opcode).
        case end = 10
        /// No way leads to it.
        case unreachable = 11
        /// A register is read that isn't set on every way (its number), or a part of the stack (the number of the register with its
        /// address).
        case unset = 12
        /// An address is expected in a register that has a number (its number).
        case address = 13
        /// A number is expected in a register that has an address (its number).
        case number = 14
        /// An access outside of what may be read or written there (offset).
        case bounds = 15
        /// An address that may be too far from its place, or anywhere (offset).
        case distance = 16
        /// The stack takes constant offsets (offset).
        case stackOffset = 17
        /// There are no functions to call (the function's number).
        case call = 18
        /// Too many jumps are ahead at a time.
        case tooMany = 19
        /// What arrived isn't what was sent (checksum).
        case checksum = 20
        /// Not all of it has arrived (bytes).
        case incomplete = 21
    }

    /// ``Reason``, or a number that isn't one.
    public var reason: UInt16
    /// The instruction, counted from 0, with the halves of wide ones counted each.
    public var instruction: UInt32
    public var expectedLow: Int64
    public var expectedHigh: Int64
    public var foundLow: Int64
    public var foundHigh: Int64

    public init(
        _ reason: Reason, at instruction: Int, expected: Int64 = 0, through expectedHigh: Int64 = 0, found: Int64 = 0,
        _ foundHigh: Int64? = nil
    ) {
        self.reason = reason.rawValue
        self.instruction = UInt32(truncatingIfNeeded: instruction)
        expectedLow = expected
        self.expectedHigh = expectedHigh
        foundLow = found
        self.foundHigh = foundHigh ?? found
    }

    public init(decoding bytes: UnsafeRawPointer) {
        reason = bytes.number(0)
        instruction = bytes.number(4)
        expectedLow = bytes.number(8)
        expectedHigh = bytes.number(16)
        foundLow = bytes.number(24)
        foundHigh = bytes.number(32)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(reason, 0)
        bytes.zero(2, count: 2)
        bytes.put(instruction, 4)
        bytes.put(expectedLow, 8)
        bytes.put(expectedHigh, 16)
        bytes.put(foundLow, 24)
        bytes.put(foundHigh, 32)
    }
}
