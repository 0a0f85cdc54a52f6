/// What of a run a trace keeps. The trace hash is over all of the run, whatever is kept.
public struct TraceSelection: Sendable {
    /// Only events that it lets through; all without one.
    public var filter: TraceFilter?
    /// Recording begins with the first event that this lets through, whether or not the filter keeps it, and again after each end;
    /// without it, with the trace.
    public var start: TraceFilter?
    /// Recording ends with the first event that this lets through.
    public var stop: TraceFilter?
    /// So many bytes of what was before each start are kept. Nothing by default.
    public var history = 0
    /// At most so many bytes are kept, the newest; all without a limit. At least ``smallestLimit``.
    public var limit: Int?

    /// Below this, a limit or a history would have more of packets' headers than of events.
    public static let smallestLimit = 1 << 20

    public init() {}
}

/// Decides, event after event, what is kept.
struct TraceTrigger {
    private let selection: TraceSelection
    /// Whether events have to be looked at one by one.
    let looksAtEvents: Bool
    private var phase: Phase

    private enum Phase {
        case waiting, recording, ended
    }

    /// What is to be done about an event.
    struct Decision {
        /// It is written, if the filter lets it through.
        var isKept = false
        /// Before it, history becomes part of the trace.
        var isStart = false
        /// After it, recording ends.
        var isEnd = false
    }

    init(_ selection: TraceSelection) {
        self.selection = selection
        looksAtEvents = selection.filter != nil || selection.start != nil || selection.stop != nil
        phase = selection.start == nil ? .recording : .waiting
    }

    /// What is written now may be dropped for more of it.
    var isHistory: Bool { phase == .waiting }
    /// What is kept of history, or of all, in bytes; nil without a limit.
    func budget(ofHistory isHistory: Bool) -> Int? { isHistory ? selection.history : selection.limit }

    mutating func decide(_ event: TraceEvent) -> Decision {
        var decision = Decision()
        if phase == .waiting, selection.start?.matches(event) == true {
            phase = .recording
            decision.isStart = true
        }
        let isWritten = phase == .recording || phase == .waiting && selection.history > 0
        decision.isKept = isWritten && selection.filter?.matches(event) != false
        if phase == .recording, selection.stop?.matches(event) == true {
            phase = selection.start == nil ? .ended : .waiting
            decision.isEnd = true
        }
        return decision
    }
}
