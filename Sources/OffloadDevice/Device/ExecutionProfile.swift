import RISCV
import Simulation

/// Where the harts spend their cycles: the call stack is noted at every so many cycles that a hart executes, and what the hart executes
/// until the next time counts as that stack's. All cycles are accounted for, so that the sums are exact; with an interval of 1 every
/// instruction's own are.
///
/// It looks between two instructions and changes nothing in what the harts do or when.
public final class ExecutionProfile {
    /// One way of being somewhere.
    public struct Place: Hashable, Sendable {
        public let hart: Int
        /// Program counters, innermost first: the hart's own, then addresses of return.
        public let stack: [UInt32]
    }

    /// Gives the program counters of a hart's call stack, innermost first.
    public typealias Unwinder = (Hart) -> [UInt32]

    /// Cycles that a hart executes from one look to the next.
    public let interval: Cycle
    /// What was executed in each place.
    public private(set) var cycles: [Place: Cycle] = [:]
    /// By hart: cycles in which it waited, or was off.
    public private(set) var waiting: [Cycle]
    private let unwind: Unwinder
    private var harts: [HartAccount]

    private struct HartAccount {
        /// Up to where it is accounted for.
        var last: Cycle
        /// Executed cycles until the next look.
        var left: Cycle = 0
        var place: Place?
        /// Cycles of the place that aren't in the table yet.
        var pending: Cycle = 0
    }

    /// - Parameters:
    ///   - interval: at least 1.
    ///   - unwind: nil: stacks have nothing but the program counter.
    ///   - now: the present cycle: harts that wait are behind it.
    init(of harts: [Hart], interval: Cycle, at now: Cycle, unwind: Unwinder?) {
        self.interval = max(interval, 1)
        self.unwind = unwind ?? { [$0.pc] }
        self.harts = harts.map { HartAccount(last: max($0.time, now)) }
        waiting = Array(repeating: 0, count: harts.count)
    }

    /// Does what `hart.run(until:)` does.
    func run(_ hart: Hart, until limit: Cycle) -> StopReason {
        accountForWaiting(hart)
        while true {
            let start = hart.time
            if harts[hart.id].left == 0 { look(hart) }
            let end = min(limit, start &+ harts[hart.id].left)
            let reason = hart.run(until: end)
            account(hart, hart.time &- start)
            // It goes on only if nothing but the end of this piece has stopped it.
            guard case .horizon = reason, hart.time >= end, end < limit else { return reason }
            // A run passes the breakpoint at which it begins.
            if hart.hasBreakpoint(hart.pc) { return .breakpoint }
        }
    }

    /// Does what `hart.step()` does.
    func step(_ hart: Hart) -> StopReason {
        accountForWaiting(hart)
        if harts[hart.id].left == 0 { look(hart) }
        let start = hart.time
        let reason = hart.step()
        account(hart, hart.time &- start)
        return reason
    }

    private func look(_ hart: Hart) {
        settle(hart.id)
        harts[hart.id].left = interval
        harts[hart.id].place = Place(hart: hart.id, stack: unwind(hart))
    }

    private func account(_ hart: Hart, _ executed: Cycle) {
        harts[hart.id].last = hart.time
        harts[hart.id].pending &+= executed
        harts[hart.id].left -= min(executed, harts[hart.id].left)
    }

    private func settle(_ hart: Int) {
        if let place = harts[hart].place, harts[hart].pending > 0 { cycles[place, default: 0] &+= harts[hart].pending }
        harts[hart].pending = 0
    }

    private func accountForWaiting(_ hart: Hart) {
        // A device that was put back to a snapshot is earlier than it was.
        if hart.time > harts[hart.id].last { waiting[hart.id] &+= hart.time &- harts[hart.id].last }
        harts[hart.id].last = hart.time
    }

    /// Brings the tables up to the present.
    func settle(_ all: [Hart], at now: Cycle) {
        for hart in all {
            // A hart that waits is taken along only when it wakes.
            let present = max(hart.time, now)
            settle(hart.id)
            if present > harts[hart.id].last { waiting[hart.id] &+= present &- harts[hart.id].last }
            harts[hart.id].last = present
        }
    }
}

extension ExecutionProfile.Place: Comparable {
    public static func < (a: Self, b: Self) -> Bool {
        a.hart != b.hart ? a.hart < b.hart : a.stack.lexicographicallyPrecedes(b.stack)
    }
}
