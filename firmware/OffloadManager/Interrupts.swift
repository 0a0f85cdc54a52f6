import Hardware

/// The PLIC's context of hart 0, and the machine timer.
///
/// Interrupts are polled: `waitForInterrupt` wakes the hart, `claim` says who it was. Only the watchdog's bark has a priority above
/// the threshold that holds while the event loop works, and so is taken as a trap: out of a loop that hangs.
public struct Interrupts {
    public enum Source: UInt32 { case uart = 1, watchdog, fabric, analyzer, resources, components, mailbox, logging, system, audit }

    private let context: PLIC.CONTEXT
    private let aclint: ACLINT

    public init(_ plic: PLIC, _ aclint: ACLINT) {
        context = plic.context[0]
        self.aclint = aclint
        let served: [6 of Source] = [.uart, .analyzer, .components, .mailbox, .logging, .audit]
        var enabled: UInt32 = 1 &<< Source.watchdog.rawValue
        for index in served.indices {
            enabled |= 1 &<< served[index].rawValue
            plic.priority[Int(served[index].rawValue) &- 1] = .init(priority: 1)
        }
        plic.priority[Int(Source.watchdog.rawValue) &- 1] = .init(priority: 7)
        plic.enable[0] = .init(rawValue: enabled)
        aclint.mtimecmp[0] = .init(rawValue: .max)
    }

    /// Forgets requests from before a restart, when every block is set up. A line that is still high requests again.
    public func discardStale() {
        for _ in 0..<32 {
            let source = context.claim.source
            guard source != 0 else { return }
            context.claim = .init(source: source)
        }
    }

    /// Sleeps until there is something to do.
    public func wait() {
        Hart.interruptsOff()
        context.threshold = .init(threshold: 0)
        Hart.enableInterrupts(external: true, timer: true)
        Hart.waitForInterrupt()
        context.threshold = .init(threshold: 1)
        Hart.enableInterrupts(external: true, timer: false)
        Hart.interruptsOn()
    }

    /// The source that is to be served next; nil when none is left.
    public func claim() -> Source? { Source(rawValue: context.claim.source) }
    public func complete(_ source: Source) { context.claim = .init(source: source.rawValue) }

    /// Device cycle.
    public var now: UInt64 {
        // MTIME runs on between reads of its halves: high, low, and high again must agree (ACLINT 1.1).
        while true {
            let high = aclint.mtime.high
            let mtime = aclint.mtime
            if mtime.high == high { return mtime.rawValue }
        }
    }

    /// The timer wakes the hart at this device cycle.
    public func setTimer(_ cycle: UInt64) {
        // The high half first stands at its maximum, so that no half-written value fires (ACLINT 1.1).
        aclint.mtimecmp[0] = .init(rawValue: .max)
        aclint.mtimecmp[0] = .init(rawValue: cycle)
    }
}
