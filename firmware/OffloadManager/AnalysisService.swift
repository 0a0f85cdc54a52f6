import AdminProtocol
import Hardware

/// The analysis page (regmaps/hostif/README.md, Analysis page).
extension OffloadManager {
    func analysisPage(_ select: StatisticsRequest, _ request: Request) -> Answer {
        let first = Int(select.firstOwner)
        guard first < WorkloadAnalysis.owners else { return Answer(.invalid, .field) }
        let wanted = UInt32(min(Int(select.owners), WorkloadAnalysis.owners - first))
        let headerBytes = UInt32(AnalysisHeader.byteCount)
        let entryBytes = UInt32(AnalysisEntry.byteCount)
        let entries = min(wanted, (request.room &- headerBytes) / entryBytes)

        let start = UInt32(AdminResult.byteCount)
        var header = AnalysisHeader()
        header.firstOwner = UInt16(truncatingIfNeeded: first)
        header.entries = UInt16(truncatingIfNeeded: entries)
        header.interval = windowMicroseconds &* analysis.windows
        header.intervals = analysis.intervals
        header.predictors = analysis.next.experts.bits
        header.longIntervals = UInt16(truncatingIfNeeded: WorkloadAnalysis.longIntervals)
        header.coresPermille = analysis.utilisation[0]
        header.linkToDevicePermille = analysis.utilisation[1]
        header.linkToHostPermille = analysis.utilisation[2]
        header.fabricPermille = analysis.utilisation[3]
        put(header, at: start, in: request.chain)
        for index in 0..<entries {
            let owner = first &+ Int(index)
            var entry = AnalysisEntry()
            (entry.owner, entry.flags) = (UInt8(truncatingIfNeeded: owner), AnalysisEntry.withheld)
            if mayShow(owner, select, request) { entry = analysisEntry(of: owner) }
            put(entry, at: start &+ headerBytes &+ index &* entryBytes, in: request.chain)
        }
        return Answer(.ok, resultBytes: headerBytes &+ wanted &* entryBytes, written: headerBytes &+ entries &* entryBytes)
    }

    private func analysisEntry(of owner: Int) -> AnalysisEntry {
        let report = analysis.report(of: owner), baseline = analysis.baseline(of: owner)
        var entry = AnalysisEntry()
        entry.owner = UInt8(truncatingIfNeeded: owner)
        entry.bottleneck = report.bottleneck
        entry.pattern = report.pattern
        entry.flags = (baseline.anomalies != 0 ? AnalysisEntry.anomalous : 0)
            | (baseline.isEstablished ? AnalysisEntry.established : 0)
            | (report.isOwnShare ? AnalysisEntry.ownShare : 0)
        (entry.coresPermille, entry.linkToDevicePermille) = (report.shares.0, report.shares.1)
        (entry.mediumPermille, entry.linkToHostPermille) = (report.shares.2, report.shares.3)
        entry.depth = report.depth
        entry.utilisationPermille = report.utilisation
        entry.confidencePermille = baseline.confidence
        entry.intervals = report.intervals
        entry.anomalies = report.anomalies
        let record = analysis.next.record(of: owner, .requests)
        (entry.checked, entry.missed) = (record.checked, record.missed)
        entry.requests = metric(.requests, report.latest.0, report.latestLong.0, of: owner)
        entry.readBytes = metric(.readBytes, report.latest.1, report.latestLong.1, of: owner)
        entry.writtenBytes = metric(.writtenBytes, report.latest.2, report.latestLong.2, of: owner)
        entry.use = analysis.reportedBaseline(of: owner).report
        return entry
    }

    private func metric(_ metric: DemandMetric, _ latest: Int32, _ latestLong: Int32, of owner: Int) -> MetricAnalysis {
        let next = analysis.next.forecast(of: owner, metric), long = analysis.nextLong.forecast(of: owner, metric)
        let baseline = analysis.baseline(of: owner)
        func word(_ level: Int32) -> UInt16 { UInt16(truncatingIfNeeded: level) }
        var result = MetricAnalysis()
        result.latest = word(latest)
        (result.expected, result.low, result.high) = (word(next.expected), word(next.low), word(next.high))
        result.longLatest = word(latestLong)
        (result.longExpected, result.longLow, result.longHigh) = (word(long.expected), word(long.low), word(long.high))
        (result.mean, result.deviation) = (word(baseline.mean(of: metric)), word(baseline.deviation(of: metric)))
        return result
    }
}
