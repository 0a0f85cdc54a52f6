import RISCV
import Simulation

extension Device {
    /// Begins a profile; one that was under way ends.
    /// - Parameters:
    ///   - interval: executed cycles from one look at a hart to the next.
    ///   - unwind: gives call stacks; without it a profile knows program counters only.
    public func startProfile(interval: Cycle, unwind: ExecutionProfile.Unwinder?) {
        core.profile = ExecutionProfile(of: harts, interval: interval, at: scheduler.now, unwind: unwind)
    }

    /// The profile up to now; nil if none was begun.
    public var profile: ExecutionProfile? {
        core.profile?.settle(harts, at: scheduler.now)
        return core.profile
    }

    public func stopProfile() { core.profile = nil }
}
