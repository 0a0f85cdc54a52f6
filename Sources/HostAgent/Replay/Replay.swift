import Glibc
import Histogram

/// Drives a block device with a recorded workload and checks every byte that comes back.
public struct Replay {
    /// When a request is sent.
    public enum Pace: Sendable {
        /// As many requests in flight as the driver has slots, each as soon as there is room.
        case closedLoop
        /// Each request at its recorded time, divided by `speed`, or as soon after it as there is room.
        case openLoop(speed: Double)
    }

    /// How a workload is replayed.
    public struct Options: Sendable {
        public var pace = Pace.closedLoop
        /// Most requests in flight.
        public var depth = 32
        /// How many times the workload is replayed, one after the other.
        public var rounds = 1
        /// The disk is known to be all zeros where nothing was written.
        public var fresh = false
        /// Positions beyond the disk's end are taken modulo its capacity.
        public var wrap = false
        public init() {}
    }

    /// What came of it.
    public struct Result {
        public var requests = 0
        public var reads = 0, writes = 0, flushes = 0
        public var readBytes = 0, writtenBytes = 0
        public var verifiedBytes = 0
        /// Bytes of sectors whose contents could not be known when they were first read.
        public var adoptedBytes = 0
        public var wallNanoseconds: UInt64 = 0
        /// Wall-clock nanoseconds from submission to completion.
        public var latency = Histogram<UInt64>(highestTrackableValue: 3_600_000_000_000, numberOfSignificantValueDigits: .three)
    }

    private let driver: BlockDriver
    private let workload: Workload
    private let options: Options
    private let depth: Int
    private var ledger: SectorLedger
    private var inFlight: [Pending?]
    private let buffer: UnsafeMutableRawBufferPointer
    private var result = Result()

    /// A request on its way.
    private struct Pending {
        var request: Workload.Request
        var submitted: UInt64
    }

    public init(_ workload: Workload, on driver: BlockDriver, options: Options) throws(AgentError) {
        let capacity = driver.capacity * 512, address = driver.function.device.address
        if workload.largestRequest > driver.maximumBytes {
            throw AgentError("\(address): a request of \(workload.largestRequest) bytes; this driver's buffers have \(driver.maximumBytes)")
        }
        if !options.wrap, workload.end > capacity {
            throw AgentError(
                "\(address): the workload reaches byte \(workload.end) of a disk of \(capacity) bytes (--wrap takes positions modulo that)")
        }
        if UInt64(workload.largestRequest) > capacity { throw AgentError("\(address): a request larger than the disk") }
        if driver.isReadOnly, workload.count(.write) > 0 { throw AgentError("\(address): the disk is read-only, the workload writes") }
        if !driver.canFlush, workload.count(.flush) > 0 { throw AgentError("\(address): the disk doesn't take the workload's flushes") }
        self.driver = driver
        self.workload = workload
        self.options = options
        depth = max(1, min(options.depth, driver.slots))
        ledger = SectorLedger(fresh: options.fresh)
        inFlight = Array(repeating: nil, count: driver.slots)
        buffer = .allocate(byteCount: max(512, workload.largestRequest), alignment: 16)
    }

    /// Replays the whole workload.
    ///
    /// - Parameter progress: called now and then with the number of finished requests.
    /// - Throws: at the first byte that is not what it must be, and at the first request that fails.
    public mutating func run(progress: (Int) -> Void) throws(AgentError) -> Result {
        defer { buffer.deallocate() }
        let start = Self.nanoseconds()
        let total = workload.requests.count * options.rounds
        var next = 0
        while result.requests < total {
            var submitted = false
            while next < total, driver.inFlight < depth {
                let request = place(workload.requests[next % workload.requests.count])
                if let due = due(next, start), due > Self.nanoseconds() { break }
                guard !conflicts(request) else { break }
                try submit(request)
                next += 1
                submitted = true
            }
            if submitted { try driver.kick() }
            var finished = 0
            while let completion = try driver.take() {
                try finish(completion)
                finished += 1
            }
            if finished > 0 {
                if result.requests % 512 < finished { progress(result.requests) }
            } else if driver.inFlight > 0 {
                try driver.wait(milliseconds: waitLimit(due(next, start)))
            } else if let due = due(next, start) {
                Self.sleep(until: due)
            }
        }
        progress(result.requests)
        result.wallNanoseconds = Self.nanoseconds() - start
        result.verifiedBytes = ledger.verifiedBytes
        result.adoptedBytes = ledger.adoptedBytes
        return result
    }

    /// The request at its place on this disk.
    private func place(_ request: Workload.Request) -> Workload.Request {
        let capacity = driver.capacity * 512
        guard options.wrap, request.position + UInt64(request.bytes) > capacity else { return request }
        var placed = request
        placed.position = request.position % (capacity - UInt64(request.bytes) + 512) & ~511
        return placed
    }

    /// Whether the request must wait: a device may reorder what overlaps, and a flush covers only what has completed.
    private func conflicts(_ request: Workload.Request) -> Bool {
        for case let other? in inFlight {
            if request.operation == .flush || other.request.operation == .flush { return true }
            if request.operation == .read && other.request.operation == .read { continue }
            if request.position < other.request.position + UInt64(other.request.bytes)
                && other.request.position < request.position + UInt64(request.bytes) { return true }
        }
        return false
    }

    private mutating func submit(_ request: Workload.Request) throws(AgentError) {
        guard let slot = driver.takeSlot() else { return }
        let sector = request.position / 512
        switch request.operation {
        case .read:
            try driver.submit(.read, slot: slot, sector: sector, bytes: request.bytes)
        case .write:
            let data = UnsafeMutableRawBufferPointer(rebasing: buffer[..<request.bytes])
            ledger.write(sector: sector, data)
            try driver.writeData(UnsafeRawBufferPointer(data), slot: slot)
            try driver.submit(.write, slot: slot, sector: sector, bytes: request.bytes)
        case .flush:
            try driver.submit(.flush, slot: slot, sector: 0, bytes: 0)
        }
        inFlight[slot] = Pending(request: request, submitted: Self.nanoseconds())
    }

    private mutating func finish(_ completion: BlockDriver.Completion) throws(AgentError) {
        guard let pending = inFlight[completion.slot] else {
            throw AgentError("\(driver.function.device.address): the device finished a request that was not in flight")
        }
        inFlight[completion.slot] = nil
        let request = pending.request
        guard completion.status == 0 else {
            throw AgentError(
                "\(driver.function.device.address): request \(result.requests + 1), \(request.operation) of \(request.bytes) bytes "
                    + "at \(request.position): status 0 expected, \(completion.status) found")
        }
        result.latency.record(Self.nanoseconds() - pending.submitted)
        switch request.operation {
        case .read:
            let data = UnsafeMutableRawBufferPointer(rebasing: buffer[..<request.bytes])
            try driver.readData(into: data, slot: completion.slot)
            if let wrong = ledger.check(sector: request.position / 512, UnsafeRawBufferPointer(data)) {
                throw AgentError("\(driver.function.device.address): wrong data at byte \(request.position + UInt64(wrong)), "
                    + "in a read of \(request.bytes) bytes at \(request.position)")
            }
            result.reads += 1
            result.readBytes += request.bytes
        case .write:
            result.writes += 1
            result.writtenBytes += request.bytes
        case .flush:
            result.flushes += 1
        }
        driver.release(slot: completion.slot)
        result.requests += 1
    }

    /// When request `next` of all rounds has to be sent in an open loop that began at `start`; nil in a closed one, and after the last.
    private func due(_ next: Int, _ start: UInt64) -> UInt64? {
        guard case .openLoop(let speed) = options.pace, next < workload.requests.count * options.rounds else { return nil }
        let (round, place) = next.quotientAndRemainder(dividingBy: workload.requests.count)
        let length = workload.requests.last.map(\.time) ?? 0
        return start + UInt64(Double(UInt64(round) * length + workload.requests[place].time) * 1000 / speed)
    }

    /// How long to wait for a completion: in an open loop no longer than until the next request is due.
    private func waitLimit(_ due: UInt64?) -> Int32 {
        let now = Self.nanoseconds()
        guard let due, due > now else { return 1000 }
        return Int32(min(1000, (due - now) / 1_000_000))
    }

    private static func nanoseconds() -> UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    private static func sleep(until nanoseconds: UInt64) {
        var time = timespec(tv_sec: Int(nanoseconds / 1_000_000_000), tv_nsec: Int(nanoseconds % 1_000_000_000))
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &time, nil)
    }
}
