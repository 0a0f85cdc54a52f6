import Glibc

/// A file that is read like a character device: a read takes what has come, and waits while there is nothing.
///
/// A waiting read occupies no thread: it is kept here and answered when ``changed()`` finds something for it. Subclasses say
/// what there is. All of this may be used from any thread; the stream's lock is held while the subclass is asked, so what
/// ``take(_:for:)`` and ``isReadable(for:)`` touch is touched nowhere else but under ``withLock(_:)``.
open class StreamFile: Node, @unchecked Sendable {
    /// What a read gets.
    public enum Outcome: Sendable {
        case bytes([UInt8])
        /// Nothing yet: wait, or EAGAIN.
        case nothing
        case failed(Errno)
    }

    /// A read that waits for its answer, and how to give it.
    public struct Waiter {
        /// Tells the waiters of one stream apart.
        public let identity: UInt
        let open: OpenFile?
        let count: Int
        let answer: (Outcome) -> Void

        /// - Parameter answer: is called once, with bytes or a failure, from any thread.
        public init(identity: UInt, open: OpenFile?, count: Int, answer: @escaping (Outcome) -> Void) {
            self.identity = identity
            self.open = open
            self.count = count
            self.answer = answer
        }
    }

    /// Somebody in `poll(2)` who wants to hear once that something changed. It is dropped when that has happened or nobody asks any more.
    public struct Poller {
        let open: OpenFile?
        let notify: () -> Void

        public init(open: OpenFile?, notify: @escaping () -> Void) {
            self.open = open
            self.notify = notify
        }
    }

    private let lock = Lock()
    private var waiters: [Waiter] = []
    private var pollers: [Poller] = []

    /// What a read of at most `count` bytes of this opening gets now. Taking is final: the bytes are the reader's.
    open func take(_ count: Int, for open: OpenFile?) -> Outcome { .nothing }
    /// Whether a read of this opening would find something.
    open func isReadable(for open: OpenFile?) -> Bool { false }

    /// Whether a read of any opening fails: `poll(2)` says so.
    open var isBroken: Bool { false }

    /// What may bring something about when a reader is about to wait, if anything. Without the stream's lock, on the serving thread.
    public final var beforeWaiting: (() -> Void)?

    public final func withLock<Result>(_ body: () -> Result) -> Result {
        lock.lock()
        defer { lock.unlock() }
        return body()
    }

    /// What there is for a reader may have changed: answers the waiting reads that find something, oldest first, and tells
    /// those who poll. From any thread, but not under ``withLock(_:)``.
    public final func changed() {
        withLock {
            waiters.removeAll { waiter in
                let outcome = take(waiter.count, for: waiter.open)
                if case .nothing = outcome { return false }
                waiter.answer(outcome)
                return true
            }
            notifyPollers()
        }
    }

    /// A read: answered at once if there is something, if the file is open without blocking, or if `isInterrupted`; later otherwise.
    public final func read(_ waiter: Waiter, isInterrupted: Bool = false) {
        if waiter.open?.isNonBlocking != true { prepareToWait(waiter.open) }
        withLock {
            let outcome: Outcome = hasVanished ? .failed(.noDevice) : take(waiter.count, for: waiter.open)
            switch outcome {
            case .nothing where waiter.open?.isNonBlocking == true: waiter.answer(.failed(.tryAgain))
            case .nothing where isInterrupted: waiter.answer(.failed(.interrupted))
            case .nothing: waiters.append(waiter)
            default: waiter.answer(outcome)
            }
        }
    }

    /// A signal has come for the client of a waiting read: EINTR, unless it has been answered meanwhile.
    public final func interrupt(_ identity: UInt) {
        withLock {
            guard let index = waiters.firstIndex(where: { $0.identity == identity }) else { return }
            waiters.remove(at: index).answer(.failed(.interrupted))
        }
    }

    /// What `poll(2)` returns for this opening; `poller`, if any, hears of the next change, in place of an earlier one.
    public final func poll(_ open: OpenFile?, _ poller: Poller?) -> Int32 {
        prepareToWait(open)
        return withLock {
            if let poller {
                pollers.removeAll { $0.open === open }
                pollers.append(poller)
            }
            if hasVanished || isBroken { return POLLERR | POLLHUP }
            return isReadable(for: open) ? POLLIN | POLLRDNORM : 0
        }
    }

    /// Ends all waiting: the mount is going away.
    public final func failWaiters(_ error: Errno) {
        withLock {
            for waiter in waiters { waiter.answer(.failed(error)) }
            waiters = []
            notifyPollers()
        }
    }

    final override var isStream: Bool { true }

    public final override func vanished() { failWaiters(.noDevice) }

    open override func open(flags: Int32) throws(Errno) -> OpenFile? { OpenFile(flags: flags) }

    public override func close(_ file: OpenFile?) {
        withLock { pollers.removeAll { $0.open === file } }
    }

    private func prepareToWait(_ open: OpenFile?) {
        if let beforeWaiting, !hasVanished, !withLock({ isReadable(for: open) }) { beforeWaiting() }
    }

    private func notifyPollers() {
        for poller in pollers { poller.notify() }
        pollers = []
    }
}
