import Interconnect
import Simulation

/// The counters of one owner, or of one of its queues, over some time: 104 words in the order of the registers of `WA.DETAIL`.
enum WorkloadRecord {
    static let words = 104

    /// Places of the counters. Where a name stands for several, the first one's.
    static let requests = 0
    static let bytes = 8
    static let arrivals = 16
    static let latencySum = 17
    static let latencyMax = 18
    static let depthIntegral = 19
    /// Requests in flight: at the end in the low half, the most in the high half.
    static let depth = 20
    static let sequential = 21
    static let runs = 22
    static let runMax = 23
    static let strided = 24
    static let stride = 25
    static let distinctPages = 26
    static let writtenPages = 27
    static let dirtyPages = 28
    static let dmaBytes = 29
    static let duration = 30
    static let latency = 32
    static let size = 64
    /// Cores, link to the device, medium, link to the host.
    static let stage = 96
    static let used = 100

    static let kinds = 5
    static let stages = 4
    static let usedResources = 3
    static let buckets = 32

    /// The bucket of a number: the floor of its base-2 logarithm, 0 for 0, at most 31.
    @inline(__always) static func bucket(_ number: UInt64) -> Int {
        min(63 &- (number | 1).leadingZeroBitCount, buckets - 1)
    }

    /// Adds a window's record to the totals. Page estimates and duration are not sums; the caller sets them.
    static func add(_ window: UnsafePointer<UInt64>, to totals: UnsafeMutablePointer<UInt64>) {
        for word in 0..<words {
            switch word {
            case latencyMax, runMax: totals[word] = max(totals[word], window[word])
            case depth: totals[word] = window[word] & 0xffff_ffff | max(totals[word] >> 32, window[word] >> 32) << 32
            case stride: totals[word] = window[word]
            case distinctPages, writtenPages, dirtyPages, duration: break
            default: totals[word] &+= window[word]
            }
        }
    }

    /// The smallest latency bucket that has, with those below it, at least `percent` of the completed requests; 0 without any.
    static func percentile(_ percent: UInt64, of record: UnsafePointer<UInt64>) -> UInt64 {
        var count: UInt64 = 0
        for bucket in 0..<buckets { count &+= record[latency + bucket] }
        guard count != 0 else { return 0 }
        // At least percent/100 of the requests, rounded up.
        let wanted = count / 100 * percent + (count % 100 * percent + 99) / 100
        var sum: UInt64 = 0
        for bucket in 0..<buckets {
            sum &+= record[latency + bucket]
            if sum >= wanted { return UInt64(bucket) }
        }
        return UInt64(buckets - 1)
    }
}

/// What an owner or queue carries over from one window to the next.
struct WorkloadProgress: Sendable, Equatable {
    /// Requests in flight, and since when there have been that many.
    var depth: UInt32 = 0
    var depthSince: Cycle = 0
    /// The last read or write: where it began and ended, how far it began from the one before, and which one of its run it was.
    var start: UInt64 = 0
    var end: UInt64 = 0
    var stride: UInt64 = 0
    var run: UInt64 = 0
    /// Reads and writes seen so far, up to 2: it takes one to be sequential, two for a stride.
    var history: UInt8 = 0
    /// Something happened in the present window.
    var isTouched = false

    /// Counts an arrival.
    @inline(__always)
    mutating func arrive(_ request: IORequest, at cycle: Cycle, in record: UnsafeMutablePointer<UInt64>) {
        isTouched = true
        settleDepth(at: cycle, in: record)
        depth &+= 1
        record[WorkloadRecord.depth] = max(record[WorkloadRecord.depth], UInt64(depth) << 32)
        record[WorkloadRecord.arrivals] &+= 1
        guard request.kind == .read || request.kind == .write else { return }
        record[WorkloadRecord.size + WorkloadRecord.bucket(request.bytes)] &+= 1

        let stride = request.position &- start
        if history > 0 && request.position == end {
            record[WorkloadRecord.sequential] &+= 1
            run &+= 1
        } else {
            record[WorkloadRecord.runs] &+= 1
            if history > 1 && stride == self.stride { record[WorkloadRecord.strided] &+= 1 }
            run = 1
        }
        record[WorkloadRecord.runMax] = max(record[WorkloadRecord.runMax], run)
        self.stride = history > 0 ? stride : 0
        start = request.position
        end = request.position &+ request.bytes
        if history < 2 { history &+= 1 }
    }

    /// Counts a completion.
    @inline(__always)
    mutating func complete(_ request: IORequest, at cycle: Cycle, in record: UnsafeMutablePointer<UInt64>) {
        isTouched = true
        settleDepth(at: cycle, in: record)
        if depth > 0 { depth &-= 1 }
        let kind = min(Int(request.kind.rawValue), WorkloadRecord.kinds - 1)
        record[WorkloadRecord.requests + kind] &+= 1
        record[WorkloadRecord.bytes + kind] &+= request.bytes
        let latency = request.completion > request.arrival ? request.completion - request.arrival : 0
        record[WorkloadRecord.latencySum] &+= latency
        record[WorkloadRecord.latencyMax] = max(record[WorkloadRecord.latencyMax], latency)
        record[WorkloadRecord.latency + WorkloadRecord.bucket(latency)] &+= 1
        record[WorkloadRecord.stage] &+= request.stages.cores
        record[WorkloadRecord.stage + 1] &+= request.stages.linkToDevice
        record[WorkloadRecord.stage + 2] &+= request.stages.medium
        record[WorkloadRecord.stage + 3] &+= request.stages.linkToHost
    }

    /// A request that had arrived is in flight no more, and is not done.
    mutating func withdraw(at cycle: Cycle, in record: UnsafeMutablePointer<UInt64>) {
        isTouched = true
        settleDepth(at: cycle, in: record)
        if depth > 0 { depth &-= 1 }
    }

    /// Follows the requests in flight without counting anything.
    mutating func follow(_ change: Int) {
        depth = UInt32(max(0, Int(depth) + change))
    }

    /// Brings the integral of the depth over time up to `cycle`.
    @inline(__always)
    mutating func settleDepth(at cycle: Cycle, in record: UnsafeMutablePointer<UInt64>) {
        guard cycle > depthSince else { return }
        record[WorkloadRecord.depthIntegral] &+= UInt64(depth) &* (cycle &- depthSince)
        depthSince = cycle
    }
}

extension WorkloadProgress: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // No device has so many requests in flight that counting on from here would wrap.
        try archive.integer(&depth, in: 0...UInt32.max / 2)
        try archive.cycle(&depthSince)
        try archive.integer(&start)
        try archive.integer(&end)
        try archive.integer(&stride)
        try archive.integer(&run)
        try archive.integer(&history, in: 0...2)
        try archive.flag(&isTouched)
    }
}
