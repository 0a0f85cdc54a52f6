import Glibc
import Simulation
import Synchronization

/// The one lock of a machine, and the condition on which its thread sleeps.
///
/// The machine's thread takes it again and again; so that others don't starve, who waits says so, and the thread stands back.
final class MachineLock: Sendable {
    private let monitor = Monitor()
    private let waiting = Atomic<Int>(0)

    func lock() {
        if monitor.tryLock() { return }
        waiting.add(1, ordering: .relaxed)
        monitor.lock()
        waiting.subtract(1, ordering: .relaxed)
    }

    func tryLock() -> Bool { monitor.tryLock() }
    func unlock() { monitor.unlock() }

    /// Somebody waits for the lock.
    var isWanted: Bool { waiting.load(ordering: .relaxed) > 0 }

    /// Lets everybody who waits have the lock before the caller has it again.
    func giveWay() {
        guard isWanted else { return }
        unlock()
        while isWanted { sched_yield() }
        // Who has it now gives way too, if it hears of somebody who waits.
        lock()
    }

    /// Wakes the machine's thread.
    func signal() { monitor.notify() }

    /// Gives the lock up until ``signal()``.
    func sleep() { monitor.wait() }

    /// Gives the lock up until ``signal()``, or until a time of ``WallClock``.
    func sleep(until time: UInt64) { monitor.wait(until: time) }
}
