/// Everything that SystemRDL says about one hardware block: the one source for the emulator's behaviour, traces and tools.
public struct RegisterMap: Sendable {
    /// The block's name in maps, traces and look-ups: `WDT`.
    public let name: String
    /// Bytes of address space.
    public let size: UInt64
    public let doc: String
    /// In the order of their first address; a register's place here is its ``RegisterIndex``.
    public let registers: [RegisterDescription]
    /// In the order of their first address; a window's place here is its ``WindowIndex``.
    public let windows: [WindowDescription]

    public init(name: String, size: UInt64, doc: String, registers: [RegisterDescription], windows: [WindowDescription]) {
        self.name = name; self.size = size; self.doc = doc; self.registers = registers; self.windows = windows
    }
}

/// A register's place in ``RegisterMap/registers``. An array of registers is one entry.
public struct RegisterIndex: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int
    @inlinable public init(rawValue: Int) { self.rawValue = rawValue }
}

/// A window's place in ``RegisterMap/windows``.
public struct WindowIndex: RawRepresentable, Hashable, Sendable {
    public var rawValue: Int
    @inlinable public init(rawValue: Int) { self.rawValue = rawValue }
}

/// One array level on the way to a register: of the register itself or of a register file around it.
public struct RegisterDimension: Hashable, Sendable {
    public let count: Int
    /// Bytes from one element to the next.
    public let stride: UInt64

    public init(count: Int, stride: UInt64) {
        self.count = count; self.stride = stride
    }
}

/// One register, or an array of like registers.
public struct RegisterDescription: Sendable {
    /// Segments of the path inside the block joined by dots, without array brackets: `VM.READS`.
    public let name: String
    /// The path's segments, each with the number of dimensions that belong to it: `VM` 1, `READS` 0.
    public let path: [PathSegment]
    /// Byte offset of the first element in its block.
    public let offset: UInt64
    /// Bits: 8, 16, 32 or 64.
    public let width: Int
    /// Bits of the narrowest access the register takes; the widest is its width.
    public let accessWidth: Int
    /// Outermost first; empty for a single register.
    public let dimensions: [RegisterDimension]
    /// A read of the lowest access word latches the rest, so that a wide register reads as one value.
    public let buffersReads: Bool
    /// Writes are collected and take effect together with the write of the highest access word.
    public let buffersWrites: Bool
    /// Cycles that an access costs at this register.
    public let latency: Int
    /// Excluded from generated register tests (SystemRDL `donttest`).
    public let excludedFromTests: Bool
    public let doc: String
    /// From the least significant bit up.
    public let fields: [FieldDescription]

    public struct PathSegment: Hashable, Sendable {
        public let name: String
        public let dimensions: Int

        public init(name: String, dimensions: Int) {
            self.name = name; self.dimensions = dimensions
        }
    }

    public init(
        name: String, path: [PathSegment], offset: UInt64, width: Int, accessWidth: Int, dimensions: [RegisterDimension],
        buffersReads: Bool, buffersWrites: Bool, latency: Int, excludedFromTests: Bool, doc: String, fields: [FieldDescription]
    ) {
        self.name = name; self.path = path; self.offset = offset; self.width = width; self.accessWidth = accessWidth
        self.dimensions = dimensions; self.buffersReads = buffersReads; self.buffersWrites = buffersWrites; self.latency = latency
        self.excludedFromTests = excludedFromTests; self.doc = doc; self.fields = fields
    }

    /// Elements over all dimensions; 1 for a single register.
    public var count: Int { dimensions.reduce(1) { $0 * $1.count } }

    /// The value after power-on.
    public var reset: UInt64 { fields.reduce(0) { $0 | ($1.reset ?? 0) << UInt64($1.lsb) } }

    /// Byte offset of an element; elements count with the innermost dimension fastest.
    public func offset(ofElement element: Int) -> UInt64 {
        var rest = element
        var offset = offset
        for dimension in dimensions.reversed() {
            offset += UInt64(rest % dimension.count) * dimension.stride
            rest /= dimension.count
        }
        return offset
    }

    /// The name of an element as people write it: `VM[3].READS`.
    public func name(ofElement element: Int) -> String {
        var indices: [Int] = []
        var rest = element
        for dimension in dimensions.reversed() {
            indices.append(rest % dimension.count)
            rest /= dimension.count
        }
        return path.map { segment in
            (0..<segment.dimensions).reduce(segment.name) { text, _ in "\(text)[\(indices.popLast() ?? 0)]" }
        }.joined(separator: ".")
    }
}

/// One field of a register: its bits and what software and hardware do to them.
public struct FieldDescription: Sendable {
    public let name: String
    public let lsb: Int
    public let width: Int
    public let software: SoftwareAccess
    public let hardware: HardwareAccess
    public let onRead: OnRead?
    public let onWrite: OnWrite?
    public let isSinglePulse: Bool
    public let interrupt: InterruptBehaviour?
    public let sticky: Sticky
    public let counter: CounterBehaviour?
    /// Who wins when software writes a field in the very cycle in which hardware changes it.
    public let precedence: Precedence
    /// Software writes take effect only while this field of the same block is nonzero (`swwe`) or zero (`swwel`).
    public let writeEnable: Condition?
    /// nil: nothing resets it; it is zero at power-on.
    public let reset: UInt64?
    /// The resets that leave the field alone; power-on never does.
    public let survives: ResetSet
    public let encodings: [Encoding]
    public let doc: String

    /// A named value of the field.
    public struct Encoding: Hashable, Sendable {
        public let name: String
        public let value: UInt64
        public let doc: String

        public init(name: String, value: UInt64, doc: String) {
            self.name = name; self.value = value; self.doc = doc
        }
    }

    /// Another field that decides something about this one.
    public struct Condition: Hashable, Sendable {
        /// ``RegisterDescription/name`` of the register in the same block, element for element where both are arrays.
        public let register: String
        public let field: String
        /// The condition holds while the field is zero.
        public let isInverted: Bool

        public init(register: String, field: String, isInverted: Bool) {
            self.register = register; self.field = field; self.isInverted = isInverted
        }
    }

    public init(
        name: String, lsb: Int, width: Int, software: SoftwareAccess, hardware: HardwareAccess, onRead: OnRead? = nil,
        onWrite: OnWrite? = nil, isSinglePulse: Bool = false, interrupt: InterruptBehaviour? = nil, sticky: Sticky = .none,
        counter: CounterBehaviour? = nil, precedence: Precedence = .software, writeEnable: Condition? = nil, reset: UInt64? = 0,
        survives: ResetSet = [], encodings: [Encoding] = [], doc: String = ""
    ) {
        self.name = name; self.lsb = lsb; self.width = width; self.software = software; self.hardware = hardware
        self.onRead = onRead; self.onWrite = onWrite; self.isSinglePulse = isSinglePulse; self.interrupt = interrupt
        self.sticky = sticky; self.counter = counter; self.precedence = precedence; self.writeEnable = writeEnable
        self.reset = reset; self.survives = survives; self.encodings = encodings; self.doc = doc
    }

    /// The field's bits in place.
    public var mask: UInt64 { ones(width) << UInt64(lsb) }
}

/// A range inside a block that is memory, not registers (SystemRDL `external mem`): the block's model serves it.
public struct WindowDescription: Sendable {
    public let name: String
    public let offset: UInt64
    /// Bytes.
    public let size: UInt64
    public let software: SoftwareAccess
    public let doc: String

    public init(name: String, offset: UInt64, size: UInt64, software: SoftwareAccess, doc: String) {
        self.name = name; self.offset = offset; self.size = size; self.software = software; self.doc = doc
    }
}

/// What software may do with a field (SystemRDL `sw`).
public enum SoftwareAccess: String, Sendable, CaseIterable {
    case rw, r, w
    /// Readable; only the first write after a reset takes effect.
    case rw1
    /// Only the first write after a reset takes effect.
    case w1
    /// Not visible to software.
    case na

    public var canRead: Bool { self == .rw || self == .r || self == .rw1 }
    public var canWrite: Bool { self == .rw || self == .w || self == .rw1 || self == .w1 }
    public var isWriteOnce: Bool { self == .rw1 || self == .w1 }
}

/// What hardware does with a field (SystemRDL `hw`).
public enum HardwareAccess: String, Sendable, CaseIterable {
    case rw, r, w, na

    public var canWrite: Bool { self == .rw || self == .w }
}

/// What a software read does to a field (SystemRDL `onread`).
public enum OnRead: String, Sendable, CaseIterable {
    case rclr, rset
    /// Whatever the block's model does in its `didRead`.
    case ruser
}

/// What a software write does to a field (SystemRDL `onwrite`); none of them: the field takes the written value.
public enum OnWrite: String, Sendable, CaseIterable {
    case woset, woclr, wot, wzs, wzc, wzt, wclr, wset
    /// Whatever the block's model does in its `didWrite`.
    case wuser
}

/// What makes an interrupt field pend (SystemRDL `intr` with its modifier), and who lets it through.
public struct InterruptBehaviour: Hashable, Sendable {
    public enum Trigger: String, Sendable, CaseIterable { case level, posedge, negedge, bothedge }
    /// How a field of the same block gates the interrupt.
    public enum Gate: String, Sendable, CaseIterable { case enable, mask, haltenable, haltmask }
    public struct Gating: Hashable, Sendable {
        public let gate: Gate
        public let register: String
        public let field: String

        public init(gate: Gate, register: String, field: String) {
            self.gate = gate; self.register = register; self.field = field
        }
    }

    public let trigger: Trigger
    public let gating: [Gating]

    public init(trigger: Trigger, gating: [Gating] = []) {
        self.trigger = trigger; self.gating = gating
    }
}

/// Whether a field keeps what hardware showed it until software clears it.
public enum Sticky: String, Sendable, CaseIterable {
    case none
    /// The field as a whole holds the first value that isn't zero (SystemRDL `sticky`).
    case word
    /// Each bit by itself (SystemRDL `stickybit`).
    case bit
}

/// How a counter field moves (SystemRDL `counter`).
public struct CounterBehaviour: Hashable, Sendable {
    /// By how much it goes up and down when the hardware doesn't say.
    public let increment: UInt64
    public let decrement: UInt64
    /// The highest value when counting up; nil: it wraps.
    public let incrementSaturation: UInt64?
    /// The lowest value when counting down; nil: it wraps.
    public let decrementSaturation: UInt64?
    /// At or above it, the counter reports its threshold.
    public let incrementThreshold: UInt64?
    /// At or below it, the counter reports its threshold.
    public let decrementThreshold: UInt64?

    public init(
        increment: UInt64 = 1, decrement: UInt64 = 1, incrementSaturation: UInt64? = nil, decrementSaturation: UInt64? = nil,
        incrementThreshold: UInt64? = nil, decrementThreshold: UInt64? = nil
    ) {
        self.increment = increment; self.decrement = decrement; self.incrementSaturation = incrementSaturation
        self.decrementSaturation = decrementSaturation; self.incrementThreshold = incrementThreshold
        self.decrementThreshold = decrementThreshold
    }
}

/// Who wins a cycle (SystemRDL `precedence`).
public enum Precedence: String, Sendable, CaseIterable { case software = "sw", hardware = "hw" }

/// A reset, from the widest to the narrowest.
public enum ResetKind: UInt8, Sendable, CaseIterable {
    /// Power has come: everything takes its reset value.
    case powerOn = 0
    /// The link's or the watchdog's reset of the whole device.
    case hard
    /// Software resets a block through its own registers.
    case soft
    /// PCI function-level reset.
    case functionLevel
}

/// A set of resets.
public struct ResetSet: OptionSet, Hashable, Sendable {
    public var rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
    @inlinable public init(_ kind: ResetKind) { rawValue = 1 << kind.rawValue }

    public static let hard = ResetSet(.hard)
    public static let soft = ResetSet(.soft)
    public static let functionLevel = ResetSet(.functionLevel)
}

/// The lowest `width` bits, for any width.
@inlinable func ones(_ width: Int) -> UInt64 {
    width >= 64 ? .max : (1 &<< UInt64(truncatingIfNeeded: width)) &- 1
}
