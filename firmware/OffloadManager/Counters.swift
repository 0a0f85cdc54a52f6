/// What the firmware has done since it started, one word each, wrapping. A debugger or the host's tools find them by their symbol,
/// `offload_counters`, in the order of the cases.
public struct Counters {
    public enum Counter: Int, Sendable, CaseIterable {
        /// Passes of the event loop.
        case passes
        /// Admin commands served, and those of them that didn't end well.
        case commands, commandsRefused
        /// Times that the admin queue's rings were found broken.
        case queueDefects
        /// Windows sampled, and windows that were missed or torn.
        case windows, windowsMissed
        /// Most cycles that sampling took for one window.
        case windowCyclesMax
        /// Commits that the Resource Manager accepted and rejected.
        case commits, commitsRejected
        /// Events posted, and dropped for want of room.
        case events, eventsDropped
        /// Interrupts of sources that nobody serves.
        case strayInterrupts
        /// Housekeeping ticks.
        case ticks
        /// Owners' intervals that were analysed, and most cycles that one took; the cycles of all forecasts of the next interval.
        case analyses, analysisCyclesMax, forecastCycles
        /// Policy programs that were ended before their end.
        case policyFaults
        /// Most cycles that a decision took.
        case decisionCyclesMax
        /// Changes of the policy in force, and epochs whose changes of the allocation were undone.
        case policySwitches, changesUndone
    }

    private let words: UnsafeMutablePointer<UInt32>

    /// - Parameter words: memory of at least one word for each case, zero.
    public init(_ words: UnsafeMutablePointer<UInt32>) { self.words = words }

    public subscript(_ counter: Counter) -> UInt32 {
        get { words[counter.rawValue] }
        nonmutating set { words[counter.rawValue] = newValue }
    }

    public func count(_ counter: Counter, by amount: UInt32 = 1) { self[counter] = self[counter] &+ amount }
}
