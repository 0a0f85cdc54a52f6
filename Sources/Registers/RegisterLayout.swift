/// One register's description, compiled to masks over its whole width. Plain data: accesses read it through a raw pointer.
@usableFromInline struct RegisterLayout {
    @usableFromInline var firstSlot: Int
    /// Bytes of the register and of its narrowest access.
    @usableFromInline var bytes: UInt64
    @usableFromInline var accessBytes: UInt64
    /// Bit n: accesses of n bytes are taken.
    @usableFromInline var sizes: UInt64 = 0
    @usableFromInline var latency: UInt64
    @usableFromInline var flags: Flags = []
    /// Places of the first and past the last field among the fields of the block.
    var firstField: Int
    var endField: Int

    @usableFromInline var readable: UInt64 = 0
    @usableFromInline var writable: UInt64 = 0
    /// The bits that belong to any field.
    @usableFromInline var defined: UInt64 = 0
    /// The bits that take the written value.
    @usableFromInline var plain: UInt64 = 0
    var woset: UInt64 = 0, woclr: UInt64 = 0, wot: UInt64 = 0
    var wzs: UInt64 = 0, wzc: UInt64 = 0, wzt: UInt64 = 0
    var wclr: UInt64 = 0, wset: UInt64 = 0
    var rclr: UInt64 = 0, rset: UInt64 = 0
    @usableFromInline var singlePulse: UInt64 = 0
    var writeOnce: UInt64 = 0
    /// Bits that show their hardware input, and bits that hold it.
    var followsInput: UInt64 = 0
    var holdsInput: UInt64 = 0

    var resetValue: UInt64 = 0
    /// The bits that a reset of each kind puts to `resetValue`.
    var resetMasks: (powerOn: UInt64, hard: UInt64, soft: UInt64, functionLevel: UInt64) = (.max, 0, 0, 0)

    @usableFromInline struct Flags: OptionSet, Sendable {
        @usableFromInline var rawValue: UInt8
        @usableFromInline init(rawValue: UInt8) { self.rawValue = rawValue }
        /// A read does more than return the value: side effects or a snapshot.
        @usableFromInline static var readEffects: Flags { @inlinable get { .init(rawValue: 1) } }
        /// A write does more than replace bits.
        @usableFromInline static var writeEffects: Flags { @inlinable get { .init(rawValue: 2) } }
        @usableFromInline static var buffersReads: Flags { @inlinable get { .init(rawValue: 4) } }
        @usableFromInline static var buffersWrites: Flags { @inlinable get { .init(rawValue: 8) } }
        static let writeConditions = Flags(rawValue: 16)
        static let wordSticky = Flags(rawValue: 32)
    }

    init(_ register: RegisterDescription, firstSlot: Int, firstField: Int) {
        self.firstSlot = firstSlot
        self.firstField = firstField
        endField = firstField + register.fields.count
        bytes = UInt64(register.width / 8)
        accessBytes = UInt64(register.accessWidth / 8)
        latency = UInt64(register.latency)
        for size: UInt64 in [1, 2, 4, 8] where size >= accessBytes && size <= bytes { sizes |= 1 << size }
        for field in register.fields { add(field) }
        if register.buffersReads { flags.formUnion([.buffersReads, .readEffects]) }
        if register.buffersWrites { flags.formUnion([.buffersWrites, .writeEffects]) }
        if rclr | rset != 0 { flags.insert(.readEffects) }
        let special = [woset, woclr, wot, wzs, wzc, wzt, wclr, wset, writeOnce, followsInput, holdsInput]
        if special.contains(where: { $0 != 0 }) { flags.insert(.writeEffects) }
    }

    private mutating func add(_ field: FieldDescription) {
        let mask = field.mask
        defined |= mask
        if field.software.canRead { readable |= mask }
        if field.software.canWrite {
            writable |= mask
            switch field.onWrite {
            case nil: plain |= mask
            case .woset: woset |= mask
            case .woclr: woclr |= mask
            case .wot: wot |= mask
            case .wzs: wzs |= mask
            case .wzc: wzc |= mask
            case .wzt: wzt |= mask
            case .wclr: wclr |= mask
            case .wset: wset |= mask
            case .wuser: break
            }
            if field.software.isWriteOnce { writeOnce |= mask }
        }
        switch field.onRead {
        case .rclr: rclr |= mask
        case .rset: rset |= mask
        case .ruser, nil: break
        }
        if field.isSinglePulse { singlePulse |= mask }
        if field.interrupt?.trigger ?? .level == .level {
            switch field.sticky {
            case .none: if field.interrupt != nil { followsInput |= mask }
            case .bit: holdsInput |= mask
            case .word: flags.formUnion([.wordSticky, .writeEffects])
            }
        } else if field.sticky == .word {
            flags.insert(.writeEffects)
        }
        if field.writeEnable != nil { flags.formUnion([.writeConditions, .writeEffects]) }

        guard let reset = field.reset else { return }
        resetValue |= (reset << UInt64(field.lsb)) & mask
        if !field.survives.contains(.hard) { resetMasks.hard |= mask }
        if !field.survives.contains(.soft) { resetMasks.soft |= mask }
        if !field.survives.contains(.functionLevel) { resetMasks.functionLevel |= mask }
    }

    func resetMask(_ kind: ResetKind) -> UInt64 {
        switch kind {
        case .powerOn: resetMasks.powerOn
        case .hard: resetMasks.hard
        case .soft: resetMasks.soft
        case .functionLevel: resetMasks.functionLevel
        }
    }

    /// The access words (SystemRDL `accesswidth`) that a set of byte lanes touches, as a mask.
    func accessWords(_ lanes: UInt64) -> UInt64 {
        guard accessBytes != bytes else { return .max }
        let word = ones(Int(accessBytes) * 8)
        var words: UInt64 = 0
        for shift in stride(from: 0 as UInt64, to: bytes * 8, by: Int(accessBytes) * 8) where lanes & (word << shift) != 0 {
            words |= word << shift
        }
        return words
    }

    /// What a software write leaves, by the masks; `lanes` are the bits whose byte lane is enabled, `words` those whose access
    /// word is written at all (`wclr` and `wset` look at that only).
    func written(_ old: UInt64, _ data: UInt64, lanes: UInt64, words: UInt64) -> UInt64 {
        var next = old ^ ((old ^ data) & plain & lanes)
        let one = data & lanes
        let zero = ~data & lanes
        next |= one & woset | zero & wzs
        next &= ~(one & woclr | zero & wzc)
        next ^= one & wot | zero & wzt
        next &= ~(words & wclr)
        next |= words & wset
        return next
    }
}

/// What hardware-side operations need to know of a field.
struct FieldLayout {
    var mask: UInt64
    var lsb: UInt64
    var width: Int
    var trigger: InterruptBehaviour.Trigger
    var sticky: Sticky
    var precedence: Precedence
    var software: SoftwareAccess
    var counter: CounterBehaviour?
    /// Where the field that lets software write is: a slot, element for element when `writeEnableStep` is 1; -1 for none.
    var writeEnableSlot = -1
    var writeEnableStep = 0
    var writeEnableMask: UInt64 = 0
    var writeEnableInverted = false

    init(_ field: FieldDescription) {
        mask = field.mask
        lsb = UInt64(field.lsb)
        width = field.width
        trigger = field.interrupt?.trigger ?? .level
        sticky = field.sticky
        precedence = field.precedence
        software = field.software
        counter = field.counter
    }
}

/// `values[slot] & values[gate]`, bit by bit: a part of a block's interrupt lines.
struct InterruptTerm {
    var register: Int
    var slot: Int
    var mask: UInt64
    /// -1: nothing gates it.
    var gateSlot: Int
    /// Left shift that brings the gate's bits to those of the interrupt; negative: right.
    var gateShift: Int
    var isInverted: Bool
    var isHalt: Bool
}
