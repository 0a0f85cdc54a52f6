import Glibc

/// A mutual exclusion lock with the platform's own representation, for state that classes share between threads.
final class Lock: @unchecked Sendable {
    // Safe to share: a pthread mutex at a fixed address.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() { pthread_mutex_init(mutex, nil) }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }
}
