import AdminProtocol
import ArgumentParser
import Glibc
import HostAgent

/// The firmware's analysis page, for people and for Prometheus.
struct AnalysisPage {
    let header: AnalysisHeader
    let entries: [AnalysisEntry]

    static let bottlenecks = ["none", "cores", "link to device", "medium", "link to host", "memory"]
    static let patterns = ["unknown", "sequential", "strided", "random"]

    /// Owners that were analysed.
    var known: [AnalysisEntry] { entries.filter { $0.intervals > 0 } }

    private static func name(_ index: UInt8, of names: [String]) -> String {
        names.indices.contains(Int(index)) ? names[Int(index)] : "\(index)"
    }
    static func owner(_ entry: AnalysisEntry) -> String { entry.owner == 0 ? "host" : "vm\(entry.owner)" }
    static func bottleneck(_ entry: AnalysisEntry) -> String { name(entry.bottleneck, of: bottlenecks) }
    static func pattern(_ entry: AnalysisEntry) -> String { name(entry.pattern, of: patterns) }

    /// The amount at a level: log2(1 + amount / unit) in 1/2048.
    static func amount(_ level: UInt16, unit: Double) -> Double { (exp2(Double(level) / 2048) - 1) * unit }

    // MARK: A table

    static let heading =
        "owner".column(7) + "bottleneck".column(20) + "share".column(8, right: true) + "busy".column(8, right: true)
        + "in flight".column(11, right: true) + "  " + "pattern".column(12) + "metric".column(9) + "now".column(12, right: true)
        + "next".column(12, right: true) + "from".column(12, right: true) + "to".column(12, right: true)
        + "then".column(12, right: true) + "normal".column(12, right: true)

    func lines() -> [String] {
        let seconds = decimal(Double(header.interval) / 1e6, 3)
        return [
            "interval \(seconds) s, \(header.intervals) so far; then: \(header.longIntervals) intervals; "
                + "busy: cores \(percent(header.coresPermille)), link to device \(percent(header.linkToDevicePermille)), "
                + "link to host \(percent(header.linkToHostPermille)), "
                + "fabric \(percent(header.fabricPermille))",
            Self.heading,
        ] + known.flatMap(rows)
    }

    private func percent(_ permille: UInt16) -> String { decimal(Double(permille) / 10, 1) + "%" }

    private func rows(_ entry: AnalysisEntry) -> [String] {
        let shares = [entry.coresPermille, entry.linkToDevicePermille, entry.mediumPermille, entry.linkToHostPermille]
        let isStage = (1...4).contains(entry.bottleneck)
        var resource = Self.bottleneck(entry)
        if entry.flags & AnalysisEntry.ownShare != 0 { resource += " (own)" }
        let lead = Self.owner(entry).column(7) + resource.column(20)
            + (isStage ? percent(shares[Int(entry.bottleneck) - 1]) : "-").column(8, right: true)
            + (isStage && entry.bottleneck != 3 ? percent(entry.utilisationPermille) : "-").column(8, right: true)
            + decimal(Double(entry.depth) / 256, 1).column(11, right: true) + "  " + Self.pattern(entry).column(12)
        let anomaly = entry.flags & AnalysisEntry.anomalous != 0 ? "  not normal" : ""
        func row(_ lead: String, _ name: String, _ metric: MetricAnalysis, _ text: (Double) -> String, unit: Double) -> String {
            let levels = [metric.latest, metric.expected, metric.low, metric.high, metric.longExpected, metric.mean]
            return lead + name.column(9) + levels.map { text(Self.amount($0, unit: unit)).column(12, right: true) }.joined()
        }
        let blank = "".column(lead.count)
        return [
            row(lead, "requests", entry.requests, { "\(UInt64($0.rounded()))" }, unit: 1) + anomaly,
            row(blank, "read", entry.readBytes, { bytes(UInt64($0.rounded())) }, unit: 4096),
            row(blank, "written", entry.writtenBytes, { bytes(UInt64($0.rounded())) }, unit: 4096),
        ]
    }

    // MARK: Prometheus

    /// In Prometheus' text format, version 0.0.4. Amounts are those of an interval.
    func prometheus() -> String {
        var text = ""
        func family(_ name: String, _ help: String, _ samples: [(labels: String, value: Double)]) {
            text += "# HELP outrigger_\(name) \(help)\n# TYPE outrigger_\(name) gauge\n"
            for sample in samples {
                text += "outrigger_\(name)\(sample.labels.isEmpty ? "" : "{\(sample.labels)}") \(decimal(sample.value, 3))\n"
            }
        }
        family("analysis_interval_seconds", "Length of an interval.", [("", Double(header.interval) / 1e6)])
        family("resource_utilisation_ratio", "How busy a resource was in the latest interval.", [
            (#"resource="cores""#, header.coresPermille), (#"resource="link to device""#, header.linkToDevicePermille),
            (#"resource="link to host""#, header.linkToHostPermille), (#"resource="fabric""#, header.fabricPermille),
        ].map { ($0.0, Double($0.1) / 1000) })
        func each(_ value: (AnalysisEntry) -> [(String, Double)]) -> [(labels: String, value: Double)] {
            known.flatMap { entry in
                value(entry).map { (#"owner="\#(Self.owner(entry))""# + ($0.0.isEmpty ? "" : "," + $0.0), $0.1) }
            }
        }
        family("bottleneck", "1 for what holds the owner's requests up.", each { [
            (#"resource="\#(Self.bottleneck($0))",pattern="\#(Self.pattern($0))""#, 1),
        ] })
        family("stage_share_ratio", "Part of the requests' time at a stage.", each { [
            (#"stage="cores""#, Double($0.coresPermille) / 1000), (#"stage="link to device""#, Double($0.linkToDevicePermille) / 1000),
            (#"stage="medium""#, Double($0.mediumPermille) / 1000), (#"stage="link to host""#, Double($0.linkToHostPermille) / 1000),
        ] })
        family("anomaly", "1 while the owner's latest interval is not normal for it.", each {
            [("", $0.flags & AnalysisEntry.anomalous != 0 ? 1 : 0)]
        })
        family("baseline_confidence_ratio", "How far the owner's baseline can be trusted.", each {
            [("", Double($0.confidencePermille) / 1000)]
        })
        func metrics(_ value: @escaping (MetricAnalysis) -> [(String, UInt16)]) -> [(labels: String, value: Double)] {
            each { entry in
                [("requests", entry.requests, 1.0), ("read_bytes", entry.readBytes, 4096), ("written_bytes", entry.writtenBytes, 4096)]
                    .flatMap { name, metric, unit in
                        value(metric).map { (#"metric="\#(name)""# + $0.0, Self.amount($0.1, unit: unit)) }
                    }
            }
        }
        family("demand", "What the owner did in the latest interval.", metrics { [("", $0.latest)] })
        family("demand_baseline", "What is normal for it.", metrics { [("", $0.mean)] })
        family("demand_forecast", "What is expected of the next interval, and where it will be nine times in ten.", metrics { [
            (#",bound="expected""#, $0.expected), (#",bound="low""#, $0.low), (#",bound="high""#, $0.high),
        ] })
        family("demand_forecast_long", "The same of the longer interval.", metrics { [
            (#",bound="expected""#, $0.longExpected), (#",bound="low""#, $0.longLow), (#",bound="high""#, $0.longHigh),
        ] })
        return text
    }
}

struct Analysis: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What the firmware makes of each owner: bottleneck, demand, forecast, baseline.",
        discussion: """
            Three lines for each owner that has been analysed. "share" is the part of its requests' time that the bottleneck took, "busy" \
            how busy that is; "(own)" says that it has room and the owner's own share or limit binds. "next" is the forecast of the next \
            interval, which lies between "from" and "to" nine times in ten; "then" that of the longer interval.
            """)

    enum Format: String, CaseIterable, ExpressibleByArgument { case table, prometheus }

    @OptionGroup var device: DeviceOption

    @Option(help: "'table' for people, 'prometheus' for a text collector.")
    var format = Format.table

    @Option(help: "Print a page every so many seconds, until interrupted.")
    var watch: Double?

    @Option(help: "End after so many pages.")
    var count: Int?

    func validate() throws {
        if let watch, !(watch > 0 && watch <= 3600) {
            throw ValidationError("--watch: seconds from 0 to 3600 expected, \(watch) found")
        }
    }

    func run() throws {
        let client = try device.client()
        let owners = 1 + Int(try client.identify().virtualFunctions)
        var left = count ?? (watch == nil ? 1 : .max)
        while left > 0 {
            let (header, entries) = try client.analysis(owners: owners)
            let page = AnalysisPage(header: header, entries: entries)
            // Home and clear to the end: a live table on a terminal, a log elsewhere.
            if watch != nil, isatty(STDOUT_FILENO) == 1 { print("\u{1b}[H\u{1b}[J", terminator: "") }
            print(format == .table ? page.lines().joined(separator: "\n") + "\n" : page.prometheus(), terminator: "")
            fflush(nil)
            left -= 1
            if left > 0 { usleep(UInt32((watch ?? 1) * 1e6)) }
        }
    }
}
