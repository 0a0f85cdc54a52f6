import Glibc
import Simulation

/// Has the open chunk of a journal written soon after it was begun, also if nothing follows: so much a killed emulator loses at most.
///
/// It is a thread of its own: a machine in lockstep has none, and that of another may sleep for long.
final class JournalFlusher: @unchecked Sendable {
    // Sendable: what changes is touched under `monitor` alone, but for `thread`, which is its owner's.

    /// Nanoseconds from the begin of a chunk to its writing.
    private static let delay: UInt64 = 10_000_000

    private let monitor = Monitor()
    private let flush: () -> Void
    private var hasBegun = false, isOver = false
    private var thread: pthread_t?

    /// - Parameter flush: writes the chunk. It is called by the thread, up to ``stop()``.
    init(_ flush: @escaping () -> Void) {
        self.flush = flush
        var identity = pthread_t()
        // The thread is joined in stop(), before this can go.
        let status = pthread_create(&identity, nil, { context in
            Unmanaged<JournalFlusher>.fromOpaque(context!).takeUnretainedValue().run()
            return nil
        }, Unmanaged.passUnretained(self).toOpaque())
        if status == 0 { thread = identity }
    }

    /// A chunk has its first entry.
    func chunkBegan() {
        monitor.lock()
        hasBegun = true
        monitor.notify()
        monitor.unlock()
    }

    /// Returns when `flush` is called no more; not to be called by who holds what that waits for.
    func stop() {
        monitor.lock()
        isOver = true
        monitor.notify()
        monitor.unlock()
        if let thread { pthread_join(thread, nil) }
        thread = nil
    }

    private func run() {
        while awaitChunk() { flush() }
    }

    /// - Returns: false if there will be none any more.
    private func awaitChunk() -> Bool {
        monitor.lock()
        defer { monitor.unlock() }
        while !hasBegun, !isOver { monitor.wait() }
        let due = WallClock.now + Self.delay
        while !isOver, monitor.wait(until: due) {}
        hasBegun = false
        return !isOver
    }
}
