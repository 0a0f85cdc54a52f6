import Glibc
import Simulation

// How device time moves: docs/machine.md, "Paces".

/// Where device time should be, by the wall clock.
struct PaceClock {
    /// Device cycles in a nanosecond of wall time; 0: the wall clock doesn't matter.
    private let cyclesPerNanosecond: Double
    private var anchorCycle: Cycle = 0
    private var anchorTime: UInt64 = 0

    init(_ pace: Machine.Pace, frequency: UInt64) {
        cyclesPerNanosecond = if case .realtime(let ratio) = pace { max(ratio, 1e-6) * Double(frequency) / 1e9 } else { 0 }
    }

    var followsWallClock: Bool { cyclesPerNanosecond > 0 }

    /// From now on device time `cycle` is the present.
    mutating func anchor(at cycle: Cycle) {
        anchorCycle = cycle
        anchorTime = WallClock.now
    }

    /// The wall clock doesn't matter until the next anchor.
    mutating func stop() { anchorTime = 0 }

    /// The cycle that is the present by the wall clock.
    var cycle: Cycle { anchorTime == 0 ? anchorCycle : anchorCycle &+ Cycle(Double(WallClock.now &- anchorTime) * cyclesPerNanosecond) }

    /// The wall time of a cycle.
    func time(of cycle: Cycle) -> UInt64 {
        guard cycle > anchorCycle else { return anchorTime }
        return anchorTime &+ UInt64(min(Double(cycle &- anchorCycle) / cyclesPerNanosecond, 1e18))
    }

    /// Cycles of so many nanoseconds.
    func cycles(_ nanoseconds: UInt64) -> Cycle { Cycle(Double(nanoseconds) * cyclesPerNanosecond) }
}

extension Machine {
    /// An idle device's timers are served together: it sleeps this long at least, in nanoseconds.
    private static let idleSleep: UInt64 = 5_000_000
    /// For less than this a wait is spent awake: sleeping takes longer.
    private static let shortestSleep: UInt64 = 30_000
    /// A device that is further behind the wall clock than this, in nanoseconds, doesn't try to make up for it.
    private static let longestLag: UInt64 = 20_000_000
    /// How long a host program that waits for an interrupt may let device time run, in seconds of device time.
    private static let longestWait: Cycle = 2

    /// Before an access: brings a device that slept to the present. A busy one is where it is.
    func catchUp() {
        guard clock.followsWallClock, device.isIdle else { return }
        let present = clock.cycle
        carry(towards: present)
        // A device that is slower than the wall clock would have ever more to make up for.
        if clock.cycle &- present > clock.cycles(Self.longestLag) { clock.anchor(at: device.scheduler.now) }
    }

    // MARK: Rounds

    /// One round, or time without harts until `end` at most.
    func runRound(until end: Cycle) {
        device.runRound(until: end)
        if let journal, device.scheduler.now >= journal.nextDigest { journal.digest(device.recordedDigest) }
    }

    /// Carries the device on to `end` exactly, which ends a round there: an input.
    func carry(to end: Cycle) {
        guard device.scheduler.now < end, !device.core.isHeld else { return }
        _ = enter(.appointment(at: end))
        while device.scheduler.now < end, !device.core.isHeld { runRound(until: end) }
    }

    /// Carries the device on to `present`, or a little further if that is within a round: what is looked at, and when, must not be where
    /// a round ends.
    private func carry(towards present: Cycle) {
        while device.scheduler.now < present, !device.core.isHeld { runRound(until: present) }
    }

    // MARK: Following

    /// After an access: what the host's kernel does about interrupts, and the thread's wake-up if the device has got something to do.
    func settle() {
        maskInterruptLines()
        let isIdle = device.isIdle
        hasWork.store(!isIdle, ordering: .relaxed)
        guard sleepsUntil != 0 else { return }
        if !isIdle || (clock.followsWallClock && clock.time(of: device.scheduler.nextDue) &+ Self.idleSleep < sleepsUntil) {
            sleepsUntil = 0
            lock.signal()
        }
    }

    /// The machine's thread.
    func runThread() {
        lock.lock()
        while !isStopping {
            if device.core.isHeld { sleep() } else if clock.followsWallClock { followWallClock() } else { runAtWill() }
            maskInterruptLines()
            lock.giveWay()
        }
        lock.unlock()
    }

    private func maskInterruptLines() {
        if !device.interrupts.unmaskedLines.isEmpty { _ = enter(.maskInterruptLines) }
    }

    /// Pace `max`: a round, or sleep when there is no work.
    private func runAtWill() {
        if device.isIdle { sleep() } else { runRound(until: .max) }
    }

    /// Until there is something to do.
    private func sleep() {
        sleepsUntil = .max
        lock.sleep()
        sleepsUntil = 0
    }

    /// Pace `realtime`: a round if the device is behind, sleep until its next deadline otherwise.
    private func followWallClock() {
        let now = device.scheduler.now
        let present = clock.cycle
        if now < present {
            if !device.isIdle {
                if present - now > clock.cycles(Self.longestLag) { clock.anchor(at: now) }
                if !device.core.isIdle || device.scheduler.nextDue <= present { return runRound(until: present) }
            }
            carry(towards: present)
            guard device.core.isIdle else { return }
        }
        let wallTime = WallClock.now
        var wake = device.core.isIdle ? clock.time(of: device.scheduler.nextDue) : wallTime + Self.shortestSleep
        if device.isIdle { wake = max(wake, wallTime + Self.idleSleep) }
        if wake <= wallTime + Self.shortestSleep {
            lock.unlock()
            while WallClock.now < wake, !lock.isWanted { sched_yield() }
            lock.lock()
        } else {
            sleepsUntil = wake
            lock.sleep(until: wake)
            sleepsUntil = 0
        }
    }

    // MARK: Time moved by the host

    /// The present device cycle.
    public var now: Cycle { locked { $0.scheduler.now } }

    /// Lets device time pass. In `realtime` this is time beyond the wall clock's.
    public func advance(by cycles: Cycle) {
        lock.lock()
        defer { lock.unlock() }
        catchUp()
        let end = device.scheduler.now.addingReportingOverflow(cycles).partialValue
        if device.scheduler.now < end, !device.core.isHeld { _ = enter(.appointment(at: end)) }
        while device.scheduler.now < end, !isStopping, !device.core.isHeld {
            runRound(until: end)
            lock.giveWay()
        }
        if clock.followsWallClock { clock.anchor(at: device.scheduler.now) }
        settle()
    }

    /// A host program waits for an interrupt of a function, and has seen `count` of them. Where the wall clock doesn't move
    /// device time, this does, until there is one or two seconds of device time have passed.
    /// - Returns: interrupts so far.
    @discardableResult
    public func waitForInterrupt(function: Int, after count: UInt64) -> UInt64 {
        lock.lock()
        defer { lock.unlock() }
        func arrived() -> UInt64 { device.interrupts.counts.indices.contains(function) ? device.interrupts.counts[function] : 0 }
        guard !clock.followsWallClock else { return arrived() }
        let end = device.scheduler.now &+ Self.longestWait &* description.clockHertz
        while arrived() == count, device.scheduler.now < end, !device.core.isHeld {
            runRound(until: end)
            lock.giveWay()
        }
        settle()
        return arrived()
    }

    /// Lends the calling thread to the machine until the device is idle, for at most `nanoseconds` of wall time, unless others use the
    /// machine. A thread that has just accessed the device and answered its client saves a wake-up of the machine's own thread.
    public func lendThread(for nanoseconds: UInt64) {
        guard hasWork.load(ordering: .relaxed), pace != .lockstep, lock.tryLock() else { return }
        defer { lock.unlock() }
        let end = WallClock.now + nanoseconds
        while !device.isIdle, !lock.isWanted, WallClock.now < end {
            let present = clock.followsWallClock ? clock.cycle : .max
            guard device.scheduler.now < present else { break }
            runRound(until: present)
        }
        settle()
    }
}
