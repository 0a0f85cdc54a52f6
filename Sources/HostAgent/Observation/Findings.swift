import AdminProtocol
import Glibc
import Presentation

/// The firmware's numbers in words and units.
enum Findings {
    static let bottlenecks = ["nothing", "cores", "link to device", "medium", "link to host", "memory"]
    static let patterns = ["unknown", "sequential", "strided", "random"]
    static let stages = Array(bottlenecks[1...4])

    static func name(_ index: UInt8, of names: [String]) -> String {
        names.indices.contains(Int(index)) ? names[Int(index)] : "\(index)"
    }

    /// The amount at a level: log2(1 + amount / unit) in 1/2048.
    static func amount(_ level: UInt16, unit: Double) -> Double { (exp2(Double(level) / 2048) - 1) * unit }

    /// Requests, bytes read, bytes written.
    static let metrics = [
        Metric(name: "requests", operation: "", unit: 1) { $0.requests },
        Metric(name: "read", operation: "read", unit: 4096) { $0.readBytes },
        Metric(name: "written", operation: "write", unit: 4096) { $0.writtenBytes },
    ]

    struct Metric: Sendable {
        let name: String
        /// As the operations of requests are called.
        let operation: String
        /// What one is, of the levels.
        let unit: Double
        let value: @Sendable (AnalysisEntry) -> MetricAnalysis
    }

    /// The figures that the host reports: name, and what one is in base units (processors, bytes, bytes a second, parts of the time).
    static let reported: [(name: String, unit: Double)] = [
        ("processors", 0.001), ("memory", 1024), ("network", 1024), ("block I/O", 1024), ("waiting for processors", 0.01),
        ("waiting for memory", 0.01), ("waiting for I/O", 0.01),
    ]

    static let places = ["device", "host"]
    static let componentKinds = ["-", "network", "block", "console"]
    static let componentStates = ["absent", "running", "quiescing", "serialising", "in transit", "restoring"]
    static let outcomes = ["-", "done", "under way", "refused", "took too long", "agent lost", "driver's wish", "no room"]
}

extension AnalysisEntry {
    var isAnomalous: Bool { flags & Self.anomalous != 0 }
    var isOwnShare: Bool { flags & Self.ownShare != 0 }
    var bottleneckText: String { Findings.name(bottleneck, of: Findings.bottlenecks) }
    var patternText: String { Findings.name(pattern, of: Findings.patterns) }
    var stageShares: [UInt16] { [coresPermille, linkToDevicePermille, mediumPermille, linkToHostPermille] }
    /// The part of the requests' time that the bottleneck took, nil for one that is no stage.
    var evidence: UInt16? { (1...4).contains(bottleneck) ? stageShares[Int(bottleneck) - 1] : nil }

    /// Bytes read and written of an interval.
    func bytes(_ level: KeyPath<MetricAnalysis, UInt16>) -> Double {
        Findings.amount(readBytes[keyPath: level], unit: 4096) + Findings.amount(writtenBytes[keyPath: level], unit: 4096)
    }
}

/// In words.
extension ComponentStatus {
    public var placeText: String { Findings.name(location, of: Findings.places) }
    public var stateText: String { Findings.name(state, of: Findings.componentStates) }
    public var outcomeText: String { Findings.name(outcome, of: Findings.outcomes) }
    public var kindText: String { Findings.name(kind, of: Findings.componentKinds) }
    /// Somebody uses it.
    public var isInUse: Bool { kind != 0 && (doorbells != 0 || moves != 0) }
}

extension ReportedUse {
    /// In base units.
    func latest(_ figure: Int) -> Double { Findings.amount(latest[figure], unit: Findings.reported[figure].unit) }
    func normal(_ figure: Int) -> Double { Findings.amount(normal[figure], unit: Findings.reported[figure].unit) }
    func isAnomalous(_ figure: Int) -> Bool { anomalies >> UInt8(figure) & 1 != 0 }
}
