/// What an owner has done since power-on, up to the latest latch: what `WA.DETAIL` shows at age 0, without selecting anything.
public struct WorkloadTotals: Sendable {
    /// Completed, by kind: reads, writes, and three others.
    public let requests: [UInt64]
    public let readBytes: UInt64, writtenBytes: UInt64
    /// Requests by the logarithm to base 2 of their cycles, rounded down; the last bucket has all that took longer, too.
    public let latency: [UInt64]
    /// The sum of their cycles.
    public let latencySum: UInt64

    init(_ record: UnsafePointer<UInt64>) {
        requests = (0..<WorkloadRecord.kinds).map { record[WorkloadRecord.requests + $0] }
        (readBytes, writtenBytes) = (record[WorkloadRecord.bytes], record[WorkloadRecord.bytes + 1])
        latency = (0..<WorkloadRecord.buckets).map { record[WorkloadRecord.latency + $0] }
        latencySum = record[WorkloadRecord.latencySum]
    }
}

extension WorkloadAnalyzer {
    /// - Parameter owner: 0...64.
    public func totals(of owner: Int) -> WorkloadTotals {
        state.counters.withRecord(WorkloadCounters.meter(owner: owner), age: 0) { record in
            // There always are totals.
            WorkloadTotals(record!)
        }
    }
}
