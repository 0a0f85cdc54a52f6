import Histogram

/// Requests of virtqueues: how many, how deep, and how long the device had each.
struct QueueStatistics {
    struct Row {
        let function: UInt8, queue: UInt16
        var doorbells: UInt64 = 0, requests: UInt64 = 0, completed: UInt64 = 0, notified: UInt64 = 0
        var deepest: UInt16 = 0
        /// Cycles from taken to completed, three digits exact.
        var latency = Histogram<UInt64>(numberOfSignificantValueDigits: .three)

        /// The cycles within which this share of the requests was completed.
        func latency(atPercentile percentile: Double) -> UInt64 { completed == 0 ? 0 : latency.valueAtPercentile(percentile) }
    }

    private struct Key: Hashable {
        let function: UInt8, queue: UInt16
    }

    private var places: [Key: Int] = [:]
    private var all: [Row] = []
    /// By row: when the requests that are under way were taken, by their heads.
    private var taken: [[UInt16: UInt64]] = []

    /// By function and queue.
    var rows: [Row] { all.sorted { ($0.function, $0.queue) < ($1.function, $1.queue) } }

    mutating func add(_ event: QueueEvent) {
        let key = Key(function: event.function, queue: event.queue)
        if places[key] == nil {
            places[key] = all.count
            all.append(Row(function: event.function, queue: event.queue))
            taken.append([:])
        }
        guard let place = places[key] else { return }
        all[place].deepest = max(all[place].deepest, event.depth)
        switch event.step {
        case .doorbell: all[place].doorbells += 1
        case .taken:
            all[place].requests += 1
            taken[place][event.head] = event.time
        case .completed:
            // One that was taken before the trace began has no latency.
            guard let start = taken[place].removeValue(forKey: event.head) else { return }
            all[place].completed += 1
            all[place].latency.record(event.time &- start)
        case .notified: all[place].notified += 1
        }
    }
}
