import Interconnect
import RegisterMaps
import Registers

/// What a latch shows in the registers.
extension WorkloadAnalyzer {
    /// Brings everything that software reads of windows up to the latest latch.
    func publish() {
        let window = state.counters.window(age: 1)
        registers[WA.WINDOW_NUMBER] = window.number & 0xffff_ffff
        registers[WA.WINDOW_START] = window.start
        registers[WA.WINDOW_END] = window.end
        let active = state.counters.active
        registers[WA.ACTIVE, 0] = active.0 & 0xffff_ffff
        registers[WA.ACTIVE, 1] = active.0 >> 32
        registers[WA.ACTIVE, 2] = active.1
        let changed = (active.0 | state.summarised.0, active.1 | state.summarised.1)
        for owner in 0..<WorkloadCounters.owners where has(owner, in: changed) { summarise(owner) }
        state.summarised = active
        showDetail()
    }

    /// Shows how busy resources were in the window that ends, and counts what owners used of them.
    func measureUtilisation() {
        guard let source = utilisation else { return }
        for resource in 0..<UtilisationMeter.resources {
            let usage = source.usage(of: resource)
            let busy = state.utilisation.advance(resource, to: usage.busy)
            registers[WA.RESOURCE_UNITS, resource] = UInt64(usage.units)
            registers[WA.RESOURCE_BUSY, resource] = busy
            registers[WA.RESOURCE_BUSY_TOTAL, resource] &+= busy
        }
        for owner in 0..<WorkloadCounters.owners {
            for resource in 0..<WorkloadRecord.usedResources {
                let used = state.utilisation.advance(owner, resource, to: source.used(resource, by: Owner(rawValue: UInt8(owner))))
                if used != 0 { state.counters.use(used, of: resource, owner: owner) }
            }
        }
    }

    /// What was used up to now belongs to no window.
    func skipUtilisation() {
        guard let source = utilisation else { return }
        for resource in 0..<UtilisationMeter.resources { _ = state.utilisation.advance(resource, to: source.usage(of: resource).busy) }
        for owner in 0..<WorkloadCounters.owners {
            for resource in 0..<WorkloadRecord.usedResources {
                _ = state.utilisation.advance(owner, resource, to: source.used(resource, by: Owner(rawValue: UInt8(owner))))
            }
        }
    }

    private func has(_ owner: Int, in set: (UInt64, UInt64)) -> Bool {
        (owner < 64 ? set.0 >> UInt64(owner) : set.1 >> UInt64(owner - 64)) & 1 != 0
    }

    private func summarise(_ owner: Int) {
        guard has(owner, in: state.counters.active) else { return clearSummary(owner) }
        state.counters.withRecord(WorkloadCounters.meter(owner: owner), age: 1) { record in
            guard let record else { return clearSummary(owner) }
            typealias Place = WorkloadRecord
            var requests: UInt64 = 0
            for kind in 0..<Place.kinds { requests &+= record[Place.requests + kind] }
            registers[WA.SUMMARY_REQUESTS, owner] = clipped(requests)
            registers[WA.SUMMARY_ARRIVALS, owner] = clipped(record[Place.arrivals])
            registers[WA.SUMMARY_READS, owner] = clipped(record[Place.requests])
            registers[WA.SUMMARY_WRITES, owner] = clipped(record[Place.requests + 1])
            registers[WA.SUMMARY_READ_BYTES, owner] = record[Place.bytes]
            registers[WA.SUMMARY_WRITE_BYTES, owner] = record[Place.bytes + 1]
            registers[WA.SUMMARY_LATENCY_SUM, owner] = record[Place.latencySum]
            registers[WA.SUMMARY_LATENCY.p50, owner] = Place.percentile(50, of: record)
            registers[WA.SUMMARY_LATENCY.p90, owner] = Place.percentile(90, of: record)
            registers[WA.SUMMARY_LATENCY.p99, owner] = Place.percentile(99, of: record)
            registers[WA.SUMMARY_LATENCY.max, owner] = UInt64(Place.bucket(record[Place.latencyMax]))
            registers[WA.SUMMARY_DEPTH.current, owner] = min(record[Place.depth] & 0xffff_ffff, 0xffff)
            registers[WA.SUMMARY_DEPTH.max, owner] = min(record[Place.depth] >> 32, 0xffff)
            registers[WA.SUMMARY_DEPTH_MEAN, owner] = meanDepth(record[Place.depthIntegral], record[Place.duration])
            registers[WA.SUMMARY_SEQUENTIAL, owner] = clipped(record[Place.sequential])
            registers[WA.SUMMARY_DISTINCT_PAGES, owner] = record[Place.distinctPages]
            registers[WA.SUMMARY_DIRTY_PAGES, owner] = record[Place.dirtyPages]
        }
    }

    private func clearSummary(_ owner: Int) {
        registers[WA.SUMMARY_REQUESTS, owner] = 0
        registers[WA.SUMMARY_ARRIVALS, owner] = 0
        registers[WA.SUMMARY_READS, owner] = 0
        registers[WA.SUMMARY_WRITES, owner] = 0
        registers[WA.SUMMARY_READ_BYTES, owner] = 0
        registers[WA.SUMMARY_WRITE_BYTES, owner] = 0
        registers[WA.SUMMARY_LATENCY_SUM, owner] = 0
        registers[WA.SUMMARY_LATENCY, owner] = 0
        registers[WA.SUMMARY_DEPTH, owner] = 0
        registers[WA.SUMMARY_DEPTH_MEAN, owner] = 0
        registers[WA.SUMMARY_SEQUENTIAL, owner] = 0
        registers[WA.SUMMARY_DISTINCT_PAGES, owner] = 0
        registers[WA.SUMMARY_DIRTY_PAGES, owner] = 0
    }

    /// In 1/256, saturating.
    private func meanDepth(_ integral: UInt64, _ duration: UInt64) -> UInt64 {
        guard duration != 0 else { return 0 }
        let (whole, rest) = integral.quotientAndRemainder(dividingBy: duration)
        return whole >= 1 << 24 ? 0xffff_ffff : whole << 8 | min(rest >= 1 << 56 ? rest / (duration >> 8) : (rest << 8) / duration, 255)
    }

    private func clipped(_ count: UInt64) -> UInt64 { min(count, 0xffff_ffff) }

    // MARK: Detail

    /// Brings DETAIL up to date with SELECT.
    func showDetail() {
        let select = registers[WA.SELECT]
        let owner = Int(WA.SELECT.owner.value(in: select))
        let queue = Int(WA.SELECT.queue.value(in: select))
        let age = Int(WA.SELECT.age.value(in: select))
        guard owner < WorkloadCounters.owners, queue < WorkloadCounters.queues || queue == 255, state.counters.exists(age: age) else {
            registers[WA.SELECTED] = 0
            return show(nil, duration: 0)
        }
        let window = state.counters.window(age: age)
        registers[WA.SELECTED.window] = window.number
        registers[WA.SELECTED.valid] = 1
        let meter = WorkloadCounters.meter(owner: owner, queue: queue == 255 ? nil : queue)
        let duration = age == 0 ? state.counters.covered : window.end &- window.start
        state.counters.withRecord(meter, age: age) { show($0, duration: duration) }
    }

    private func show(_ record: UnsafePointer<UInt64>?, duration: UInt64) {
        typealias Place = WorkloadRecord
        func value(_ place: Int) -> UInt64 { record.map { $0[place] } ?? 0 }
        for kind in 0..<Place.kinds {
            registers[WA.DETAIL_REQUESTS, kind] = value(Place.requests + kind)
            registers[WA.DETAIL_BYTES, kind] = value(Place.bytes + kind)
        }
        registers[WA.DETAIL_ARRIVALS] = value(Place.arrivals)
        registers[WA.DETAIL_LATENCY_SUM] = value(Place.latencySum)
        registers[WA.DETAIL_LATENCY_MAX] = value(Place.latencyMax)
        registers[WA.DETAIL_DEPTH_INTEGRAL] = value(Place.depthIntegral)
        registers[WA.DETAIL_DEPTH] = value(Place.depth)
        registers[WA.DETAIL_SEQUENTIAL] = value(Place.sequential)
        registers[WA.DETAIL_RUNS] = value(Place.runs)
        registers[WA.DETAIL_RUN_MAX] = value(Place.runMax)
        registers[WA.DETAIL_STRIDED] = value(Place.strided)
        registers[WA.DETAIL_STRIDE] = value(Place.stride)
        registers[WA.DETAIL_DISTINCT_PAGES] = value(Place.distinctPages)
        registers[WA.DETAIL_WRITTEN_PAGES] = value(Place.writtenPages)
        registers[WA.DETAIL_DIRTY_PAGES] = value(Place.dirtyPages)
        registers[WA.DETAIL_DMA_BYTES] = value(Place.dmaBytes)
        registers[WA.DETAIL_DURATION] = duration
        for bucket in 0..<Place.buckets {
            registers[WA.DETAIL_LATENCY, bucket] = value(Place.latency + bucket)
            registers[WA.DETAIL_SIZE, bucket] = value(Place.size + bucket)
        }
        for stage in 0..<Place.stages { registers[WA.DETAIL_STAGE, stage] = value(Place.stage + stage) }
        for resource in 0..<Place.usedResources { registers[WA.DETAIL_USED, resource] = value(Place.used + resource) }
    }

    // MARK: Thresholds

    /// Compares every active owner's latest window with its thresholds.
    func compareThresholds() {
        var crossed = false
        for owner in 0..<WorkloadCounters.owners where has(owner, in: state.counters.active) && isOver(owner) {
            registers[WA.OVER, owner / 32] |= 1 << UInt64(owner % 32)
            crossed = true
        }
        if crossed { registers.raise(WA.INTR_STATE.threshold) }
    }

    private func isOver(_ owner: Int) -> Bool {
        let bytes = registers[WA.SUMMARY_READ_BYTES, owner] &+ registers[WA.SUMMARY_WRITE_BYTES, owner]
        return reaches(bytes, registers[WA.OWNER_THRESHOLD_BYTES, owner])
            || reaches(registers[WA.SUMMARY_DEPTH.max, owner], registers[WA.OWNER_THRESHOLD_DEPTH, owner])
            || reaches(registers[WA.SUMMARY_LATENCY.p99, owner], registers[WA.OWNER_THRESHOLD_LATENCY, owner])
    }

    private func reaches(_ value: UInt64, _ threshold: UInt64) -> Bool { threshold != 0 && value >= threshold }
}
