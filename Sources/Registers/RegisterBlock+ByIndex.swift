// Access to registers by their place in the map instead of by generated keys: for debuggers and tests, which learn of them at run time.

extension RegisterBlock {
    private func slot(_ register: RegisterIndex, _ element: Int) -> Int {
        let description = map.registers[register.rawValue]
        precondition(element >= 0 && element < description.count, "\(map.name).\(description.name) has no element \(element)")
        return layouts[register.rawValue].firstSlot + element
    }

    /// A register's value as it is stored, without any side effect.
    public func value(of register: RegisterIndex, _ element: Int = 0) -> UInt64 { values[slot(register, element)] }

    /// Stores every bit as given: a debugger's poke.
    public func setValue(_ value: UInt64, of register: RegisterIndex, _ element: Int = 0) { values[slot(register, element)] = value }

    /// The same as `drive` with a generated key.
    package func drive(_ register: RegisterIndex, field: Int, _ element: Int, _ level: UInt64) {
        drive(layouts[register.rawValue].firstField + field, slot(register, element), level)
    }

    package func increment(_ register: RegisterIndex, field: Int, _ element: Int) {
        _ = increment(layouts[register.rawValue].firstField + field, slot(register, element), nil)
    }

    package func decrement(_ register: RegisterIndex, field: Int, _ element: Int) {
        _ = decrement(layouts[register.rawValue].firstField + field, slot(register, element), nil)
    }

    /// A write with any byte lanes enabled, which no access on our buses makes but some buses can.
    package func write(_ register: RegisterIndex, _ element: Int, data: UInt64, lanes: UInt64, events: CoincidentEvents = .none) {
        let layout = layouts + register.rawValue
        let slot = slot(register, element)
        if write(layout, slot, data: data, lanes: lanes, events: events) { values[slot] &= ~layout.pointee.singlePulse }
    }

    /// The interrupt or halt line of one element of a register.
    package func line(_ register: RegisterIndex, _ element: Int, isHalt: Bool) -> Bool {
        let slot = slot(register, element)
        return interruptTerms.contains { $0.slot == slot && $0.isHalt == isHalt && isActive($0) }
    }
}
