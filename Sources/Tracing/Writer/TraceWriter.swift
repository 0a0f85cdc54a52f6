import Glibc
import Registers
import Simulation

/// Records what happens in one device: into a folder, or only as a hash.
///
/// The machine stores an event in a ring and goes on; a thread of the writer's own encodes, hashes and writes. It changes nothing of what
/// is recorded or when, so two runs that are the same have the same hash. A trace that can't be written stops with ``failure`` set: the
/// device goes on.
public final class TraceWriter: @unchecked Sendable {
    // Sendable: `sink` is the thread's alone until that has ended; what both sides use is under `monitor`.

    /// Where the trace is; nil when there is only a hash.
    public let folder: String?
    private let ring = EventRing()
    private let sink: TraceRecording
    private let monitor = Monitor()
    private var state = State()
    private var thread = pthread_t()

    private struct State {
        /// Times that somebody asked for the totals, those of them that were served, and the last time with all to be written.
        var asked = 0
        var served = 0
        var flushed = 0
        var isEnding = false
        var hasEnded = false
        var totals = Totals()
    }

    /// What a trace comes to.
    public struct Totals: Sendable, Equatable, CustomStringConvertible {
        /// Events recorded.
        public var events: UInt64 = 0
        /// Over all events in the order in which they were recorded: the same for the same run, on any machine.
        public var hash: UInt64 = FNV1a().value
        /// Why nothing is written any more; nil while all is well.
        public var failure: TraceError?

        /// `2965 events, hash 0x0123456789abcdef`.
        public var description: String {
            let digits = hex(hash)
            return "\(events) events, hash 0x\(String(repeating: "0", count: 16 - digits.utf8.count))\(digits)"
        }
    }

    /// Begins a trace. The folder is made; one with an earlier trace is emptied, one with anything else refused.
    ///
    /// - Parameters:
    ///   - folder: nil for the hash alone.
    ///   - names: what the numbers in events mean.
    ///   - frequency: fabric cycles per second.
    public init(
        folder: String?, names: TraceNames, frequency: UInt64, selection: TraceSelection = TraceSelection()
    ) throws(TraceError) {
        self.folder = folder
        sink = try TraceRecording(folder, TraceMetadata(names: names, frequency: frequency), selection)
        // Signals are for the threads that wait for them.
        var all = sigset_t(), before = sigset_t()
        sigfillset(&all)
        pthread_sigmask(SIG_SETMASK, &all, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        // The thread is joined in finish(), before the writer can go.
        let status = pthread_create(&thread, nil, { context in
            Unmanaged<TraceWriter>.fromOpaque(context!).takeUnretainedValue().run()
            return nil
        }, Unmanaged.passUnretained(self).toOpaque())
        guard status == 0 else {
            state.hasEnded = true
            throw TraceError("the trace's thread", status)
        }
    }

    deinit { finish() }

    // MARK: The machine's side

    /// Where accesses are stored without a call. Used as ``record(_:)`` is, until ``finish()``.
    public var producer: UnsafeMutablePointer<EventProducer> { ring.producer }

    /// Records one event. By one thread at a time; not after ``finish()``.
    public func record(_ event: TraceEvent) {
        var tail: [UInt8] = []
        let raw = RawEvent(event, tail: &tail)
        ring.producer.pointee.append(raw, tail: tail)
    }

    /// Waits until all that was recorded so far is in the files, so that a reader sees it.
    /// - Returns: what the trace comes to by now.
    @discardableResult
    public func flush() -> Totals { ask(isFlush: true) }

    /// What the trace comes to by now.
    public var totals: Totals { ask(isFlush: false) }

    private func ask(isFlush: Bool) -> Totals {
        monitor.lock()
        defer { monitor.unlock() }
        guard !state.hasEnded else { return state.totals }
        state.asked += 1
        let mine = state.asked
        if isFlush { state.flushed = mine }
        ring.callWriter()
        while state.served < mine, !state.hasEnded { monitor.wait() }
        return state.totals
    }

    /// Ends the trace: writes all, and how many events there were and their hash.
    /// - Returns: what it came to.
    @discardableResult
    public func finish() -> Totals {
        monitor.lock()
        let hasEnded = state.hasEnded
        state.isEnding = true
        monitor.unlock()
        if !hasEnded {
            ring.callWriter()
            pthread_join(thread, nil)
        }
        return state.totals
    }

    // MARK: The thread

    /// A packet is written when its first event is this old, so that little is lost with the process.
    private static let oldest: UInt64 = 500_000_000
    /// So often the thread looks for such packets.
    private static let interval: UInt64 = 250_000_000

    /// Of a thread that has much to do: the ring takes what comes meanwhile.
    private static let nap: UInt64 = 1_000_000

    /// The thread's name, for whoever looks at the process's threads.
    public static let threadName = "trace-writer"

    private func run() {
        setThreadName()
        var isEnding = false
        while !isEnding {
            monitor.lock()
            let asked = state.asked
            let isFlush = state.flushed > state.served
            isEnding = state.isEnding
            monitor.unlock()
            let isBusy = takeAll()
            let now = WallClock.now
            if isEnding {
                sink.finish()
            } else {
                sink.flush(olderThan: isFlush ? now : now - Self.oldest)
            }
            monitor.lock()
            state.totals = sink.totals
            let isServed = state.served < asked || isEnding
            state.served = asked
            state.hasEnded = isEnding
            if isServed { monitor.notify() }
            monitor.unlock()
            if isEnding { break }
            if isBusy {
                ring.nap(until: now + Self.nap)
            } else {
                ring.wait(until: now + Self.interval)
            }
        }
    }

    /// `pthread_setname_np` is not in Swift's Glibc.
    private func setThreadName() {
        let file = open("/proc/thread-self/comm", O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { return }
        write(file, Self.threadName, Self.threadName.utf8.count)
        close(file)
    }

    /// Takes the events that there are now; not those that come meanwhile: to follow the machine event by event would hold up both.
    /// - Returns: whether there were so many that more are likely to come at once.
    private func takeAll() -> Bool {
        let total = ring.count
        var rest = total
        while rest > 0 {
            let count = min(rest, EventRing.chunk)
            var done: UInt64 = 0
            while done < count {
                let slots = UInt64(ring.slot(done).pointee.slots)
                if slots == 1 {
                    sink.add(ring.slot(done))
                } else {
                    sink.add((0..<slots).map { ring.slot(done + $0) })
                }
                done += slots
            }
            ring.release(done)
            // An event of several slots may end beyond the chunk, but never beyond what was stored.
            rest -= min(rest, done)
        }
        return total >= EventRing.chunk / 4
    }
}
