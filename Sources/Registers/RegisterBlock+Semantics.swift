// What reads, writes and resets do to values beyond plain replacement of bits: the slow half of `RegisterBlock.access`.

extension RegisterBlock {
    /// A read with side effects. Returns the value the reader sees.
    @usableFromInline @inline(never)
    func read(_ layout: UnsafeMutablePointer<RegisterLayout>, _ slot: Int, lanes: UInt64) -> UInt64 {
        let value = values[slot]
        var words = layout.pointee.accessWords(lanes)
        if layout.pointee.flags.contains(.buffersReads) {
            guard words & 1 != 0 else { return cells[slot].readBuffer }
            cells[slot].readBuffer = value
            words = .max
        }
        // 9.6: a read has no byte enables, so a clear or set on read takes the whole access word.
        values[slot] = (value & ~(words & layout.pointee.rclr)) | (words & layout.pointee.rset)
        settle(layout, slot)
        return value
    }

    /// A write with side effects, or one that coincides with hardware events.
    /// - Returns: whether it took effect; false while a buffered write waits for its last access word.
    @usableFromInline @inline(never)
    func write(
        _ layout: UnsafeMutablePointer<RegisterLayout>, _ slot: Int, data: UInt64, lanes: UInt64, events: CoincidentEvents = .none
    ) -> Bool {
        var data = data
        var lanes = lanes
        var events = events
        var words = layout.pointee.accessWords(lanes)
        if layout.pointee.flags.contains(.buffersWrites) {
            // The buffer reaches the fields a cycle after the bus has written it: what hardware does meanwhile comes first.
            values[slot] = (values[slot] & ~events.clear) | events.set
            events = .none
            let cell = cells + slot
            cell.pointee.writeBuffer = (cell.pointee.writeBuffer & ~lanes) | (data & lanes)
            cell.pointee.writeLanes |= lanes
            guard words & (1 << (layout.pointee.bytes * 8 - 1)) != 0 else { return false }
            (data, lanes, words) = (cell.pointee.writeBuffer, cell.pointee.writeLanes, .max)
            (cell.pointee.writeBuffer, cell.pointee.writeLanes) = (0, 0)
        }

        let old = values[slot]
        var allowed = layout.pointee.writable
        if layout.pointee.flags.contains(.writeConditions) { allowed &= ~lockedBits(layout, slot) }
        if layout.pointee.writeOnce != 0 {
            let once = layout.pointee.writeOnce & allowed
            allowed &= ~(cells[slot].written & once)
            cells[slot].written |= lanes & once
        }
        var hardware = HardwareOutcome()
        if events.set | events.clear != 0 {
            hardware = outcome(of: events, layout, slot, writes: words & allowed)
            allowed &= ~hardware.wins
        }
        var next = layout.pointee.written(old, data, lanes: lanes & allowed, words: words & allowed)
        next = (next & ~hardware.clear) | hardware.set
        values[slot] = next
        settle(layout, slot)
        return true
    }

    /// Lets held hardware levels show again after an access changed a register.
    @usableFromInline func settle(_ layout: UnsafeMutablePointer<RegisterLayout>, _ slot: Int) {
        let input = cells[slot].input
        values[slot] = (values[slot] | (input & layout.pointee.holdsInput)) & ~layout.pointee.followsInput
            | (input & layout.pointee.followsInput)
        guard layout.pointee.flags.contains(.wordSticky) else { return }
        for number in layout.pointee.firstField..<layout.pointee.endField {
            let field = fields[number]
            if field.sticky == .word && field.trigger == .level && values[slot] & field.mask == 0 { values[slot] |= input & field.mask }
        }
    }

    /// The bits whose `swwe` or `swwel` forbids software to write them now.
    private func lockedBits(_ layout: UnsafeMutablePointer<RegisterLayout>, _ slot: Int) -> UInt64 {
        var locked: UInt64 = 0
        for number in layout.pointee.firstField..<layout.pointee.endField where fields[number].writeEnableSlot >= 0 {
            let field = fields[number]
            let gate = values[field.writeEnableSlot + (slot - layout.pointee.firstSlot) * field.writeEnableStep] & field.writeEnableMask
            if (gate != 0) == field.writeEnableInverted { locked |= field.mask }
        }
        return locked
    }

    private struct HardwareOutcome {
        var set: UInt64 = 0
        var clear: UInt64 = 0
        /// The fields that software's write doesn't reach.
        var wins: UInt64 = 0
    }

    /// SystemRDL 9.4, `precedence`: of a software write and a hardware event in one cycle, one takes effect for the whole field.
    private func outcome(
        of events: CoincidentEvents, _ layout: UnsafeMutablePointer<RegisterLayout>, _ slot: Int, writes: UInt64
    ) -> HardwareOutcome {
        var outcome = HardwareOutcome()
        for number in layout.pointee.firstField..<layout.pointee.endField {
            let field = fields[number]
            guard (events.set | events.clear) & field.mask != 0 else { continue }
            if field.precedence == .hardware || writes & field.mask == 0 {
                outcome.set |= events.set & field.mask
                outcome.clear |= events.clear & field.mask
                outcome.wins |= field.mask
            }
        }
        return outcome
    }

    /// Puts the registers to their reset values, those that the reset reaches. Levels that hardware holds stay and show again; what a
    /// buffered read has latched stays too, and a buffered write that waits is forgotten.
    public func reset(_ kind: ResetKind) {
        for slot in 0..<slotCount {
            let layout = layouts + Int(registerOfSlot[slot])
            let mask = layout.pointee.resetMask(kind)
            values[slot] = (values[slot] & ~mask) | (layout.pointee.resetValue & mask)
            cells[slot].written &= ~mask
            (cells[slot].writeBuffer, cells[slot].writeLanes) = (0, 0)
            settle(layout, slot)
        }
    }
}
