import AdminProtocol
import Hardware
import PolicyEngine

// The host's commands about components, and what it is told of them.

extension OffloadManager {
    /// Begins a move; what becomes of it is in the component's status, and in an event.
    mutating func move(_ move: ComponentMove, _ request: Request) -> Answer {
        guard let destination = ComponentPlace(rawValue: move.destination), move.flags & ~ComponentMove.stopAndCopy == 0 else {
            return Answer(.invalid, .field)
        }
        return mover.begin(
            request.owner, to: destination, stopAndCopy: move.flags & ComponentMove.stopAndCopy != 0, at: interrupts.now)
    }

    /// Tells the host how the last move has ended.
    mutating func announceMoves() {
        guard let entry = mover.takeNews() else { return }
        let state = hw.vic.component[entry].state
        let (outcome, reason) = mover.ending(of: entry)
        // Below 256 it is what was found in the image; the agent's own component would have fitted.
        if outcome == .refused, state.location == .host, (1..<256).contains(reason) { audit.reportImage(of: entry, reason: reason) }
        events.post(
            .componentChanged, owner: entry, at: interrupts.now, UInt64(state.state.rawValue), UInt64(state.location.rawValue))
    }
}

extension ComponentMover {
    /// How the last move ended, and why it was refused.
    func ending(of entry: Int) -> (ComponentStatus.Outcome?, reason: UInt16) {
        (ComponentStatus.Outcome(rawValue: outcomes[entry]), reasons[entry])
    }

    func status(of entry: Int) -> ComponentStatus {
        let component = vic.component[entry]
        let state = component.state
        var status = ComponentStatus()
        status.kind = UInt8(truncatingIfNeeded: component.identity.kind)
        status.state = UInt8(truncatingIfNeeded: state.state.rawValue)
        status.location = UInt8(truncatingIfNeeded: state.location.rawValue)
        status.outcome = outcomes[entry]
        status.generation = UInt16(truncatingIfNeeded: component.generation.count)
        status.reason = reasons[entry]
        status.moves = component.moves.count
        status.blackout = component.blackout.cycles
        status.doorbells = component.doorbells.count
        status.inFlight = component.inFlight.count
        status.imageBytes = UInt32(images[entry])
        status.begun = begun
        status.abandoned = abandoned
        status.flags = vic.agent.attached ? ComponentStatus.agentAttached : 0
        return status
    }
}
