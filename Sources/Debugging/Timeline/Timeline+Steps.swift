import OffloadDevice
import RISCV
import Simulation

/// Instructions of one hart, one after the other, up to some position.
struct InstructionTrail {
    struct Step {
        /// From which the hart's next instruction is this one: where the one before ended.
        var position: Position
        var pc: UInt32
        /// Handlers of interrupts that had been entered, less those that had been left, since the trail began.
        var depth: Int
        /// A handler has just returned to it: a step that led over the handler did not stop here.
        var isReturnedTo: Bool
    }

    var steps: [Step] = []
    /// Where the last one ended, and the depth there.
    var end: Position?
    var depth = 0
}

extension Timeline {
    /// Goes on by one instruction of a hart; handlers of interrupts that come run to their end first.
    /// - Returns: false if the recording ends before.
    @discardableResult
    public func step(hart: Int, while range: Range<UInt32> = 0..<0) throws(TimelineError) -> Bool {
        try run(to: end, actions(hart, .step(while: range)))
        return device.debugStop?.reason == .step
    }

    /// Goes on by one instruction of a hart, or into the handler of an interrupt.
    func stepInto(hart: Int) throws(TimelineError) { try run(to: end, actions(hart, .instruction)) }

    /// Goes on until the harts have done what they are to do, or something else stops them.
    /// - Returns: nil if the recording ends before.
    func proceed(_ actions: [HartAction], _ search: TimelineSearch, isContinued: Bool) throws(TimelineError) -> DebugStop? {
        try observing(search) { (_) throws(TimelineError) in
            try run(to: end, actions, isContinued: isContinued)
            return device.debugStop
        }
    }

    /// Goes back by one instruction of a hart, over handlers of interrupts as ``step(hart:while:)`` does.
    /// - Returns: false if it has executed none before; the timeline is at its start then.
    @discardableResult
    public func stepBack(hart: Int) throws(TimelineError) -> Bool {
        if trails[hart].end != position || !trails[hart].hasEarlier {
            guard try follow(hart) else {
                try go(to: start)
                return false
            }
        }
        var trail = trails[hart]
        while let step = trail.steps.popLast() {
            guard step.depth <= trail.depth, !step.isReturnedTo else { continue }
            (trail.end, trail.depth) = (step.position, step.depth)
            break
        }
        guard let place = trail.end else { return false }
        try go(to: place)
        trail.end = position
        trails[hart] = trail
        return true
    }

    private func actions(_ hart: Int, _ action: HartAction) -> [HartAction] {
        var actions = Array(repeating: HartAction.run, count: device.harts.count)
        actions[hart] = action
        return actions
    }

    /// Looks up instructions of a hart that lead to the present position: as many as it takes to go back by one.
    private func follow(_ hart: Int) throws(TimelineError) -> Bool {
        let target = position
        let time = device.harts[hart].time
        // A long way back the hart may have slept.
        var window: Cycle = 256
        while true {
            let from = time > window ? time - window : 0
            try go(toCycle: from)
            if position >= target { try go(to: start) }
            let isAll = position <= start
            let trail = try trail(of: hart, to: target)
            if trail.hasEarlier {
                trails[hart] = trail
                return true
            }
            if isAll { return false }
            window *= 16
        }
    }

    /// Carries the device on to a position, instruction by instruction of a hart.
    private func trail(of hart: Int, to target: Position) throws(TimelineError) -> InstructionTrail {
        var trail = InstructionTrail()
        var isFirst = true, hasReturned = false
        while position < target {
            let before = device.harts[hart].state, place = position, isReturn = executesReturn(before)
            try run(to: target, actions(hart, .instruction))
            let after = device.harts[hart].state
            guard after.time != before.time else { continue }
            // Where the way begins, the hart may have been for long.
            if !isFirst || Int(place.hart) == hart || place == start {
                trail.steps.append(.init(position: place, pc: before.pc, depth: trail.depth, isReturnedTo: hasReturned))
            }
            (isFirst, hasReturned) = (false, false)
            if after.retired == before.retired {
                if after.csr.mcause >> 31 == 1 { trail.depth += 1 }
            } else if isReturn, before.csr.mcause >> 31 == 1 {
                trail.depth -= 1
                hasReturned = true
            }
        }
        trail.end = position
        return trail
    }

    /// The next instruction is `mret`.
    private func executesReturn(_ hart: HartState) -> Bool {
        device.peek(.firmware, UInt64(hart.pc), size: 2) == 0x0073 && device.peek(.firmware, UInt64(hart.pc) + 2, size: 2) == 0x3020
    }
}

extension InstructionTrail {
    /// There is one to go back to.
    var hasEarlier: Bool { steps.contains { $0.depth <= depth && !$0.isReturnedTo } }
}
