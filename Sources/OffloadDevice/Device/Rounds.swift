import Registers
import RISCV
import Simulation

// How device time moves.
//
// It moves in rounds. A round begins where the last one ended and is to end at the next multiple of the quantum or at the next deadline,
// whichever comes first. In it each hart that is awake has one turn, in the order of their numbers, and executes until the round's end, or
// until a deadline that was armed meanwhile. While no hart is awake, time goes from deadline to deadline, without rounds.
//
// With two harts it makes a difference where a round ends. So nothing ends one that is not a part of the device's own life or an input:
//
// - Who carries the device on calls `runRound`, which does whole rounds. A host that moves time itself makes an appointment at a cycle:
//   that is an input, and no round goes past it.
// - A debugger, or `run(to:)`, stops anywhere: whose turn it is and where the round ends stays in the state, and is gone on with.
// - An input within a round, while a debugger holds it, happens between the two instructions where it came and does not end the round.
//   If it asks for a reset, the round ends in the next cycle, as with a request of a hart.

extension ManagementCore {
    /// Where the device is.
    var position: Position {
        guard let turn = state.turn else {
            return Position(
                round: state.rounds, hart: Position.between, time: 0, cycle: scheduler.now, inputs: state.inputs)
        }
        let isTurn = turn < harts.count
        return Position(
            round: state.rounds, hart: isTurn ? UInt8(turn) : Position.roundEnd, time: isTurn ? harts[turn].time : 0,
            cycle: scheduler.now, inputs: state.inputs)
    }

    /// One round, or the rest of one that is open. With no hart awake: on to what is due next, or to `end` if that comes earlier.
    /// Nothing while a debugger holds the device.
    func runRound(until end: Cycle) {
        if isHeld { return }
        if state.turn == nil {
            performRequests()
            guard state.awake.contains(true) else { return idle(until: end) }
            beginRound()
        }
        finishRound()
    }

    /// A round that begins before `cycle` ends there at the latest: an input.
    func makeAppointment(at cycle: Cycle) { state.appointment = cycle }

    /// Carries the device on to a position that the same inputs lead to; nothing if it has passed. A debugger can stop it before. Other
    /// inputs may lead past the position's cycle in fewer rounds: there it stops.
    func run(to target: Position) {
        while !isHeld, position < target {
            if state.turn == nil {
                guard scheduler.now <= target.cycle else { return }
                performRequests()
                guard state.awake.contains(true) else {
                    idle(until: max(target.cycle, scheduler.now &+ 1))
                    continue
                }
                beginRound()
            }
            if state.rounds == target.round {
                guard finishRound(upTo: target) else { return }
            } else {
                finishRound()
            }
        }
    }

    /// Time passes without harts, to the next deadline at most.
    private func idle(until end: Cycle) {
        let stop = debug?.end ?? .max
        guard scheduler.now < stop else { return hold(0, .cycle) }
        scheduler.advance(to: min(end, stop, max(scheduler.nextDue, scheduler.now &+ 1)))
    }

    private func beginRound() {
        let multiple = (scheduler.now / quantum &+ 1).multipliedReportingOverflow(by: quantum)
        state.end = min(multiple.overflow ? .max : multiple.partialValue, scheduler.nextDue)
        if state.appointment > scheduler.now { state.end = min(state.end, state.appointment) }
        state.rounds &+= 1
        state.turn = 0
    }

    /// The turns that are left, and the end of the round.
    /// - Parameter target: a position in this round to stop at.
    /// - Returns: false if it has stopped, at the target or because a debugger holds the harts.
    @discardableResult
    private func finishRound(upTo target: Position? = nil) -> Bool {
        let end = debug?.end ?? .max
        while let turn = currentTurn() {
            if let target, target.hart < turn { return false }
            let stop = target.map { Int($0.hart) == turn ? $0.time : .max } ?? .max
            guard harts[turn].time < stop else { return false }
            if harts[turn].time < end { takeTurn(turn, until: min(state.end, stop, end)) } else { hold(turn, .cycle) }
            if isHeld {
                _ = currentTurn()
                return false
            }
        }
        if let target, position >= target { return false }
        turnsOver = scheduler.now
        let over = min(state.end, scheduler.nextDue)
        let stop = target.map { $0.hart == Position.roundEnd ? $0.cycle : .max } ?? .max
        scheduler.advance(to: min(over, stop, end))
        guard over <= min(stop, end) else {
            if end < stop { hold(0, .cycle) }
            return false
        }
        state.turn = nil
        recorder.roundEnded()
        return true
    }

    /// The hart whose turn it is, when those whose turn is over, or passes, have been left behind; nil after all turns. A stop never
    /// leaves a turn that is over as the present one: what happens there might prolong it.
    private func currentTurn() -> Int? {
        guard var turn = state.turn else { return nil }
        let end = min(state.end, scheduler.nextDue)
        while turn < harts.count, !state.awake[turn] || state.isKept[turn] || harts[turn].time >= end { turn += 1 }
        state.turn = turn
        return turn < harts.count ? turn : nil
    }

    private func takeTurn(_ number: Int, until limit: Cycle) {
        setLimit(limit, hart: number)
        switch debug != nil ? runDebugged(number, until: limit) : run(harts[number], until: limit) {
        case .waiting, .halted: state.awake[number] = false
        case .horizon, .breakpoint: break
        }
    }

    func run(_ hart: Hart, until limit: Cycle) -> StopReason { profile?.run(hart, until: limit) ?? hart.run(until: limit) }
}
