import AdminProtocol
import Presentation

/// All that is known of one owner, in words: what it has, what it waits for, what it asks for and will, what is normal for it.
public struct OwnerDetails {
    private let owner: Observation.Owner
    private let header: AnalysisHeader
    private let clock: UInt32

    public init(of owner: Observation.Owner, in observation: Observation) {
        self.owner = owner
        header = observation.analysis
        clock = observation.identity.clockHertz
    }

    public var lines: [String] {
        var lines = ["-- \(OwnerFigures.name(owner.number))", allocation]
        if owner.terms != ServiceTerms() { lines.append(terms) }
        if let entry = owner.analysis { lines += waiting(entry) + demand(entry) + [normal(entry)] }
        if let use = owner.use { lines.append(contentsOf: text(use)) }
        if let component = owner.component, component.isInUse { lines.append(text(component)) }
        return lines
    }

    /// What the host has reported, and in brackets what is normal of it.
    private func text(_ use: ReportedUse) -> [String] {
        func figure(_ place: Int) -> String {
            func text(_ value: Double) -> String {
                switch place {
                case 0: decimal(value, 1)
                case 1: short(value) + "B"
                case 2, 3: short(value) + "B/s"
                default: percent(Int(value * 1000))
                }
            }
            return "\(text(use.latest(place))) (\(text(use.normal(place))))\(use.isAnomalous(place) ? "!" : "")"
        }
        return [
            "reports  processors \(figure(0)), memory \(figure(1)), network \(figure(2)), block I/O \(figure(3))",
            "         waiting for processors \(figure(4)), memory \(figure(5)), I/O \(figure(6)); normal trusted to "
                + percent(use.confidencePermille),
        ]
    }

    private var allocation: String {
        let has = owner.allocation
        let limit = has.limit == 0 ? "none" : "\(has.limit) MB/s"
        return "has    share \(percent(has.guaranteePermille)), weight \(has.weight), limit \(limit), "
            + "\(has.serviceCores) cores, \(has.memoryBlocks) blocks, \(has.gpuSlots) GPU, \(has.fpgaSlots) FPGA"
            + (owner.statistics.flags & StatisticsEntry.pinned != 0 ? ", pinned" : "")
    }

    /// What the host wants for it.
    private var terms: String {
        let terms = owner.terms
        return "wants  latency \(terms.latencyMicroseconds == 0 ? "any" : duration(Double(terms.latencyMicroseconds) * 1000)); "
            + "expected \(terms.expectedCores) cores, \(terms.expectedMemoryBlocks) blocks, \(terms.expectedGPUSlots) GPU, "
            + "\(terms.expectedFPGASlots) FPGA; least \(percent(terms.leastPermille)), \(terms.leastCores) cores, "
            + "\(terms.leastMemoryBlocks) blocks"
    }

    private func waiting(_ entry: AnalysisEntry) -> [String] {
        let shares = zip(Findings.stages, entry.stageShares).map { "\($0) \(percent($1))" }.joined(separator: ", ")
        return [
            "waits  for \(entry.bottleneckText)" + (entry.isOwnShare ? ", by its own share" : "")
                + (entry.utilisationPermille > 0 ? ", \(percent(entry.utilisationPermille)) busy" : "")
                + ", \(decimal(Double(entry.depth) / 256, 1)) in flight, \(entry.patternText)",
            "       \(shares)",
        ]
    }

    /// A second, of requests and bytes: in the latest interval, in the next one with its range, in the long one, and what is normal.
    private func demand(_ entry: AnalysisEntry) -> [String] {
        let seconds = Double(header.interval) / 1e6, long = Double(max(header.longIntervals, 1))
        let heads = ["now", "next", "from", "to", "then", "normal"]
        return ["a second".column(9) + heads.map { $0.column(11, right: true) }.joined()] + Findings.metrics.map { metric in
            let value = metric.value(entry)
            let levels: [(level: UInt16, intervals: Double)] = [
                (value.latest, 1), (value.expected, 1), (value.low, 1), (value.high, 1), (value.longExpected, long), (value.mean, 1),
            ]
            return metric.name.column(9) + levels.map { level, intervals in
                let rate = seconds > 0 ? Findings.amount(level, unit: metric.unit) / seconds / intervals : 0
                return short(rate).column(11, right: true)
            }.joined()
        }
    }

    private func normal(_ entry: AnalysisEntry) -> String {
        "normal trusted to \(percent(entry.confidencePermille)), \(entry.anomalies) of \(entry.intervals) intervals were not"
            + (entry.isAnomalous ? ", nor this one" : "") + "; \(entry.missed) of \(entry.checked) forecasts missed"
    }

    private func text(_ component: ComponentStatus) -> String {
        let blackout = duration(Double(component.blackout) / Double(max(clock, 1)) * 1e9)
        return "served by the \(component.placeText), \(component.stateText), \(component.moves) moves, last \(component.outcomeText), "
            + "black-out \(blackout)"
    }
}
