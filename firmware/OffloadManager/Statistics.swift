import AdminProtocol
import Hardware
import PolicyEngine

/// The statistics page (regmaps/hostif/README.md, Statistics page): read from the blocks when the host asks, and kept nowhere.
extension OffloadManager {
    func statistics(_ select: StatisticsRequest, _ request: Request) -> Answer {
        let first = Int(select.firstOwner)
        guard first < PolicyEngine.owners else { return Answer(.invalid, .field) }
        let wanted = UInt32(min(Int(select.owners), PolicyEngine.owners - first))
        let headerBytes = UInt32(StatisticsHeader.byteCount)
        let entryBytes = UInt32(StatisticsEntry.byteCount)
        let entries = min(wanted, (request.room &- headerBytes) / entryBytes)

        let start = UInt32(AdminResult.byteCount)
        put(header(first: first, entries: entries), at: start, in: request.chain)
        let analyzer = hw.wa
        let active = OwnerSet(analyzer.active[0].owners, analyzer.active[1].owners, analyzer.active[2].owners)
        let logging = OwnerSet(hw.log.active[0].owners, hw.log.active[1].owners, hw.log.active[2].owners)
        for index in 0..<entries {
            let owner = first &+ Int(index)
            let place = start &+ headerBytes &+ index &* entryBytes
            guard mayShow(owner, select, request) else {
                var withheld = StatisticsEntry()
                (withheld.owner, withheld.flags) = (UInt8(truncatingIfNeeded: owner), StatisticsEntry.withheld)
                put(withheld, at: place, in: request.chain)
                continue
            }
            var entry = entry(of: owner)
            entry.flags = (active.contains(owner) ? StatisticsEntry.active : 0)
                | (policy.pinned.contains(owner) ? StatisticsEntry.pinned : 0)
                | (logging.contains(owner) ? StatisticsEntry.logging : 0)
                | (reported.contains(owner) ? StatisticsEntry.reported : 0)
            put(entry, at: place, in: request.chain)
        }
        return Answer(.ok, resultBytes: headerBytes &+ wanted &* entryBytes, written: headerBytes &+ entries &* entryBytes)
    }

    private func header(first: Int, entries: UInt32) -> StatisticsHeader {
        var header = StatisticsHeader()
        header.firstOwner = UInt16(truncatingIfNeeded: first)
        header.entries = UInt16(truncatingIfNeeded: entries)
        header.window = hw.wa.windowNumber.count
        header.generation = partitions.generation
        header.windowStart = hw.wa.windowStart.rawValue
        header.windowEnd = hw.wa.windowEnd.rawValue
        header.decisionsTaken = policy.decisionsTaken
        header.decisionsLeft = policy.decisionsLeft
        header.policy = UInt16(truncatingIfNeeded: policy.parameters.policy)
        header.busyPermille = busyPermille
        header.eventsDropped = events.dropped
        header.busyCycles = busyCycles
        header.cycle = interrupts.now
        return header
    }

    private func entry(of owner: Int) -> StatisticsEntry {
        var entry = StatisticsEntry()
        entry.owner = UInt8(truncatingIfNeeded: owner)
        let allocation = partitions.allocation(of: owner)
        entry.guaranteePermille = allocation.guaranteePermille
        entry.weight = allocation.weight
        entry.serviceCores = allocation.serviceCores
        entry.limit = allocation.limit
        entry.demand = policy.demand(of: owner) / windowMicroseconds
        addTotals(of: owner, to: &entry)
        addWindow(of: owner, to: &entry)
        let reports = hw.wa.owner[owner]
        entry.processorPermille = reports.reportCpu.permille
        entry.memoryKiB = reports.reportMemory.kib
        entry.networkKiBPerSecond = reports.reportNetwork.kibPerSecond
        entry.logRecords = hw.log.owner[owner].head.count
        entry.logLost = hw.log.owner[owner].lost.count
        return entry
    }

    private func addTotals(of owner: Int, to entry: inout StatisticsEntry) {
        hw.wa.select = .init(owner: UInt32(truncatingIfNeeded: owner), queue: 255, age: 0)
        let totals = hw.wa.detail
        entry.reads = totals.requests[0].count
        entry.writes = totals.requests[1].count
        entry.others = totals.requests[2].count &+ totals.requests[3].count &+ totals.requests[4].count
        entry.readBytes = totals.bytes[0].count
        entry.writeBytes = totals.bytes[1].count
    }

    /// The Workload Analyzer's totals of an owner's latencies.
    func latency(of owner: Int) -> LatencyHistogram {
        hw.wa.select = .init(owner: UInt32(truncatingIfNeeded: owner), queue: 255, age: 0)
        var histogram = LatencyHistogram()
        for bucket in 0..<LatencyHistogram.buckets { histogram.counts[bucket] = hw.wa.detail.latency[bucket].count }
        return histogram
    }

    private func addWindow(of owner: Int, to entry: inout StatisticsEntry) {
        let summary = hw.wa.summary[owner]
        let (latency, depth) = (summary.latency, summary.depth)
        entry.windowRequests = summary.requests.count
        entry.windowArrivals = summary.arrivals.count
        entry.windowBytes = UInt32(clamping: summary.readBytes.bytes &+ summary.writeBytes.bytes)
        entry.latency50 = UInt8(truncatingIfNeeded: latency.p50)
        entry.latency90 = UInt8(truncatingIfNeeded: latency.p90)
        entry.latency99 = UInt8(truncatingIfNeeded: latency.p99)
        entry.latencyMax = UInt8(truncatingIfNeeded: latency.max)
        entry.depth = UInt16(truncatingIfNeeded: depth.current)
        entry.depthMax = UInt16(truncatingIfNeeded: depth.max)
        entry.depthMean = summary.depthMean.value
        entry.sequential = summary.sequential.count
        entry.distinctPages = summary.distinctPages.count
        entry.dirtyPages = summary.dirtyPages.count
    }
}
