/// A register map turned into the tables that a ``RegisterBlock`` works with.
struct CompiledMap {
    var layouts: [RegisterLayout] = []
    var fields: [FieldLayout] = []
    var slotAt: [Int32] = []
    var registerOfSlot: [UInt16] = []
    var granuleShift: UInt64 = 3
    var coveredBytes: UInt64 = 0
    var interruptTerms: [InterruptTerm] = []

    init(_ map: RegisterMap) {
        for register in map.registers {
            layouts.append(RegisterLayout(register, firstSlot: registerOfSlot.count, firstField: fields.count))
            fields += register.fields.map { FieldLayout($0) }
            registerOfSlot += [UInt16](repeating: UInt16(layouts.count - 1), count: register.count)
            granuleShift = min(granuleShift, UInt64((register.width / 8).trailingZeroBitCount))
        }
        placeRegisters(map)
        resolveWriteConditions(map)
        resolveInterrupts(map)
    }

    /// Fills in which slot each granule of the address space belongs to; a granule is as wide as the narrowest register.
    private mutating func placeRegisters(_ map: RegisterMap) {
        for register in map.registers {
            coveredBytes = max(coveredBytes, register.offset(ofElement: register.count - 1) + UInt64(register.width / 8))
        }
        coveredBytes = (coveredBytes + 7) & ~7
        slotAt = [Int32](repeating: -1, count: Int(coveredBytes >> granuleShift))
        for (index, register) in map.registers.enumerated() {
            for element in 0..<register.count {
                let offset = register.offset(ofElement: element)
                for granule in offset >> granuleShift..<(offset + UInt64(register.width / 8)) >> granuleShift {
                    slotAt[Int(granule)] = Int32(layouts[index].firstSlot + element)
                }
            }
        }
    }

    private func find(_ register: String, _ field: String, in map: RegisterMap) -> (register: Int, field: FieldDescription)? {
        guard let index = map.registers.firstIndex(where: { $0.name == register }),
              let found = map.registers[index].fields.first(where: { $0.name == field })
        else { return nil }
        return (index, found)
    }

    private mutating func resolveWriteConditions(_ map: RegisterMap) {
        for (index, register) in map.registers.enumerated() {
            for (place, field) in register.fields.enumerated() {
                guard let condition = field.writeEnable, let gate = find(condition.register, condition.field, in: map) else { continue }
                let number = layouts[index].firstField + place
                fields[number].writeEnableSlot = layouts[gate.register].firstSlot
                fields[number].writeEnableStep = map.registers[gate.register].count > 1 ? 1 : 0
                fields[number].writeEnableMask = gate.field.mask
                fields[number].writeEnableInverted = condition.isInverted
            }
        }
    }

    private mutating func resolveInterrupts(_ map: RegisterMap) {
        for (index, register) in map.registers.enumerated() {
            for field in register.fields {
                guard let interrupt = field.interrupt else { continue }
                for element in 0..<register.count {
                    let bare = InterruptTerm(
                        register: index, slot: layouts[index].firstSlot + element, mask: field.mask, gateSlot: -1, gateShift: 0,
                        isInverted: false, isHalt: false)
                    let gated = interrupt.gating.compactMap { gating -> InterruptTerm? in
                        guard let gate = find(gating.register, gating.field, in: map) else { return nil }
                        var term = bare
                        term.gateSlot = layouts[gate.register].firstSlot + (map.registers[gate.register].count > 1 ? element : 0)
                        term.gateShift = field.lsb - gate.field.lsb
                        term.isInverted = gating.gate == .mask || gating.gate == .haltmask
                        term.isHalt = gating.gate == .haltenable || gating.gate == .haltmask
                        return term
                    }
                    if !gated.contains(where: { !$0.isHalt }) { add(bare) }
                    gated.forEach { add($0) }
                }
            }
        }
    }

    /// Adds a term, joined to one that differs in its bits only.
    private mutating func add(_ term: InterruptTerm) {
        let same = interruptTerms.firstIndex {
            $0.slot == term.slot && $0.gateSlot == term.gateSlot && $0.gateShift == term.gateShift
                && $0.isInverted == term.isInverted && $0.isHalt == term.isHalt
        }
        if let same { interruptTerms[same].mask |= term.mask } else { interruptTerms.append(term) }
    }
}
