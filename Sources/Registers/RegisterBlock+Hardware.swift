// The hardware's side of the registers: what a block's model does to them, outside any software access.

extension RegisterBlock {
    // MARK: Values

    /// A register's value. Setting it stores every bit as given, whatever software could do.
    @inlinable public subscript<Register: SingleRegisterKey>(_ register: Register) -> UInt64 {
        get { values[Register.slot] }
        set { values[Register.slot] = newValue }
    }

    /// One element of an array of registers.
    @inlinable public subscript<Register: RegisterArrayKey>(_ register: Register, _ element: Int) -> UInt64 {
        get { values[slot(register, element)] }
        set { values[slot(register, element)] = newValue }
    }

    /// One element of an array of arrays.
    @inlinable public subscript<Register: RegisterTableKey>(_ register: Register, _ outer: Int, _ inner: Int) -> UInt64 {
        get { self[register, element(register, outer, inner)] }
        set { self[register, element(register, outer, inner)] = newValue }
    }

    /// A field's value. Setting it takes the lowest bits of the value that fit.
    @inlinable public subscript<Register: SingleRegisterKey>(_ field: FieldKey<Register>) -> UInt64 {
        get { field.value(in: values[Register.slot]) }
        set { values[Register.slot] = field.inserting(newValue, in: values[Register.slot]) }
    }

    @inlinable public subscript<Register: RegisterArrayKey>(_ field: FieldKey<Register>, _ element: Int) -> UInt64 {
        get { field.value(in: values[slot(Register.self, element)]) }
        set {
            let slot = slot(Register.self, element)
            values[slot] = field.inserting(newValue, in: values[slot])
        }
    }

    /// The element number of a place in an array of arrays.
    @inlinable public func element<Register: RegisterTableKey>(_ register: Register, _ outer: Int, _ inner: Int) -> Int {
        precondition(inner >= 0 && inner < Register.innerCount, "inner index outside the array of registers")
        return outer &* Register.innerCount &+ inner
    }

    @inlinable func slot<Register: RegisterArrayKey>(_ register: Register, _ element: Int) -> Int { slot(Register.self, element) }

    @inlinable func slot<Register: RegisterArrayKey>(_ register: Register.Type, _ element: Int) -> Int {
        precondition(element >= 0 && element < Register.count, "index outside the array of registers")
        return Register.slot &+ element
    }

    // MARK: Interrupt and sticky fields

    /// The hardware's level at a field's input from now on. An interrupt field takes what its trigger makes of the change, and keeps it
    /// if it is sticky.
    public func drive<Register: SingleRegisterKey>(_ field: FieldKey<Register>, _ level: UInt64) {
        drive(field.number, Register.slot, level)
    }

    public func drive<Register: RegisterArrayKey>(_ field: FieldKey<Register>, _ element: Int, _ level: UInt64) {
        drive(field.number, slot(Register.self, element), level)
    }

    /// One event at a field's input: sets the bits given by `bits`, all by default, whatever the trigger, and holds no level.
    public func raise<Register: SingleRegisterKey>(_ field: FieldKey<Register>, _ bits: UInt64 = .max) {
        self[field] |= bits
    }

    public func raise<Register: RegisterArrayKey>(_ field: FieldKey<Register>, _ element: Int, _ bits: UInt64 = .max) {
        self[field, element] |= bits
    }

    func drive(_ number: Int, _ slot: Int, _ level: UInt64) {
        let field = fields[number]
        let old = (values[slot] & field.mask) >> field.lsb
        let before = (cells[slot].input & field.mask) >> field.lsb
        let next = NextValue.input(
            old, before: before, input: level & ones(field.width), width: field.width, trigger: field.trigger, sticky: field.sticky)
        cells[slot].input = (cells[slot].input & ~field.mask) | (level << field.lsb & field.mask)
        values[slot] = (values[slot] & ~field.mask) | (next << field.lsb)
    }

    // MARK: Counters

    /// What a counter reports when it moves.
    public struct CounterOutcome: Hashable, Sendable {
        /// It passed its end and wrapped around (SystemRDL `overflow`, `underflow`).
        public var wrapped: Bool
        /// It is at or past the threshold for the direction it moved in (SystemRDL `incrthreshold`, `decrthreshold`).
        public var isPastThreshold: Bool
    }

    /// Moves a counter up, by its own step unless `amount` is given.
    @discardableResult
    public func increment<Register: SingleRegisterKey>(_ field: FieldKey<Register>, by amount: UInt64? = nil) -> CounterOutcome {
        increment(field.number, Register.slot, amount)
    }

    @discardableResult
    public func increment<Register: RegisterArrayKey>(
        _ field: FieldKey<Register>, _ element: Int, by amount: UInt64? = nil
    ) -> CounterOutcome {
        increment(field.number, slot(Register.self, element), amount)
    }

    /// Moves a counter down, by its own step unless `amount` is given.
    @discardableResult
    public func decrement<Register: SingleRegisterKey>(_ field: FieldKey<Register>, by amount: UInt64? = nil) -> CounterOutcome {
        decrement(field.number, Register.slot, amount)
    }

    @discardableResult
    public func decrement<Register: RegisterArrayKey>(
        _ field: FieldKey<Register>, _ element: Int, by amount: UInt64? = nil
    ) -> CounterOutcome {
        decrement(field.number, slot(Register.self, element), amount)
    }

    func increment(_ number: Int, _ slot: Int, _ amount: UInt64?) -> CounterOutcome {
        let field = fields[number]
        let counter = field.counter ?? CounterBehaviour()
        let old = (values[slot] & field.mask) >> field.lsb
        let (next, wrapped) = NextValue.increment(old, by: amount ?? counter.increment, width: field.width, counter)
        values[slot] = (values[slot] & ~field.mask) | (next << field.lsb & field.mask)
        return .init(wrapped: wrapped, isPastThreshold: counter.incrementThreshold.map { next >= $0 } ?? false)
    }

    func decrement(_ number: Int, _ slot: Int, _ amount: UInt64?) -> CounterOutcome {
        let field = fields[number]
        let counter = field.counter ?? CounterBehaviour()
        let old = (values[slot] & field.mask) >> field.lsb
        let (next, wrapped) = NextValue.decrement(old, by: amount ?? counter.decrement, width: field.width, counter)
        values[slot] = (values[slot] & ~field.mask) | (next << field.lsb & field.mask)
        return .init(wrapped: wrapped, isPastThreshold: counter.decrementThreshold.map { next <= $0 } ?? false)
    }

    // MARK: Interrupt lines

    /// The block's interrupt line: some interrupt field pends that its `enable` lets through and its `mask` doesn't stop.
    public var interrupt: Bool { interruptTerms.contains { !$0.isHalt && isActive($0) } }

    /// The block's halt line: the same with `haltenable` and `haltmask`, of the fields that have one of them.
    public var halt: Bool { interruptTerms.contains { $0.isHalt && isActive($0) } }

    /// The interrupt line of one register alone.
    public func interrupt(of register: some RegisterKey) -> Bool {
        interruptTerms.contains { !$0.isHalt && $0.register == register.index.rawValue && isActive($0) }
    }

    func isActive(_ term: InterruptTerm) -> Bool {
        let pending = values[term.slot] & term.mask
        guard pending != 0, term.gateSlot >= 0 else { return pending != 0 }
        let gate = term.gateShift >= 0 ? values[term.gateSlot] << UInt64(term.gateShift) : values[term.gateSlot] >> UInt64(-term.gateShift)
        return pending & (term.isInverted ? ~gate : gate) != 0
    }
}
