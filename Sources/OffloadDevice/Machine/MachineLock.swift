import Glibc
import Synchronization

/// The one lock of a machine, and the condition on which its thread sleeps.
///
/// The machine's thread takes it again and again; so that others don't starve, who waits says so, and the thread stands back.
final class MachineLock: @unchecked Sendable {
    // Sendable: the pthread objects stay at their addresses, and the count is atomic.

    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private let waiting = Atomic<Int>(0)

    init() {
        pthread_mutex_init(mutex, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(condition, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func lock() {
        if pthread_mutex_trylock(mutex) == 0 { return }
        waiting.add(1, ordering: .relaxed)
        pthread_mutex_lock(mutex)
        waiting.subtract(1, ordering: .relaxed)
    }

    func tryLock() -> Bool { pthread_mutex_trylock(mutex) == 0 }
    func unlock() { pthread_mutex_unlock(mutex) }

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
    func signal() { pthread_cond_signal(condition) }

    /// Gives the lock up until ``signal()``.
    func sleep() { pthread_cond_wait(condition, mutex) }

    /// Gives the lock up until ``signal()``, or until a time of ``WallClock``.
    func sleep(until nanoseconds: UInt64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        pthread_cond_timedwait(condition, mutex, &time)
    }
}

/// The host's monotonic clock. Only the pace of a machine reads it, never a model.
enum WallClock {
    /// Nanoseconds.
    static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }
}
