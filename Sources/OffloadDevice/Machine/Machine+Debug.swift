import Simulation

// A debugger's way of stopping the machine. While it holds the harts, device time stands still whatever the pace: host accesses
// are served, and nothing else happens.

extension Machine {
    /// Holds the harts for a debugger, of which there is one at most: one that was there before has lost them.
    /// - Parameter onStop: is called for every stop, under the lock; it must not call the machine.
    public func attachDebugger(onStop: @escaping @Sendable () -> Void) {
        inspect { $0.core.attachDebugger(onStop: onStop) }
    }

    /// Ends the debugger's business: no breakpoint stays, and the harts go on.
    public func detachDebugger() {
        inspect {
            keepHarts(0)
            $0.core.detachDebugger()
            continueTime()
        }
    }

    /// Holds the harts that a debugger has let go.
    public func hold() { inspect { $0.core.hold(0, .request) } }

    /// Lets device time go on, until something stops a hart.
    ///
    /// The calling thread carries it on itself for a round: most steps are done with that, also in lockstep.
    /// - Parameter actions: by hart; all are there.
    public func resume(_ actions: [HartAction]) {
        inspect { device in
            keepHarts(actions.indices.reduce(0) { $0 | (actions[$1] == .hold ? 1 << UInt64($1) : 0) })
            device.core.resume(actions)
            continueTime()
            let steps = actions.contains { if case .step = $0 { true } else { false } }
            if steps { runRound(until: .max) }
        }
    }

    private func keepHarts(_ mask: UInt64) {
        if device.core.keptHarts != mask { _ = enter(.keepHarts(mask)) }
    }

    /// What passed by the wall clock while device time stood still is not made up for.
    private func continueTime() {
        if clock.followsWallClock { clock.anchor(at: device.scheduler.now) }
    }
}
