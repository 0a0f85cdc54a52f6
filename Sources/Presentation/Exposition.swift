/// Figures in Prometheus's text format, version 0.0.4: families of samples, each with its type and what it means.
///
/// Names follow Prometheus's conventions: `outrigger_` first, base units (seconds, bytes, ratio) and, of counters, `_total` last.
public struct Exposition: Sendable {
    public enum Kind: String, Sendable { case counter, gauge, histogram }

    /// Label names and values, in their order.
    public typealias Labels = KeyValuePairs<String, String>

    public struct Sample: Sendable {
        let labels: String
        let value: String

        public init(_ labels: Labels = [:], _ value: UInt64) {
            self.labels = Exposition.text(labels)
            self.value = "\(value)"
        }

        public init(_ labels: Labels = [:], ratio value: Double) {
            self.labels = Exposition.text(labels)
            self.value = "\(value)"
        }

        /// One of those states that it can be in: 1 or 0.
        public init(_ labels: Labels = [:], is value: Bool) { self.init(labels, value ? 1 : 0) }
    }

    public private(set) var text = ""

    public init() {}

    /// Adds a family; one without samples is left out.
    /// - Parameter name: without `outrigger_`; a counter's also without `_total`.
    public mutating func add(_ kind: Kind, _ name: String, _ help: String, _ samples: [Sample]) {
        guard !samples.isEmpty else { return }
        let name = head(kind, kind == .counter ? name + "_total" : name, help)
        for sample in samples { text += "\(name)\(sample.labels) \(sample.value)\n" }
    }

    /// A histogram of durations.
    public struct Histogram: Sendable {
        let labels: [(String, String)]
        let buckets: [(end: Double, count: UInt64)]
        let beyond: UInt64
        let sum: Double

        /// - Parameters:
        ///   - buckets: upper end in seconds and number of each, not cumulated, from the lowest on.
        ///   - beyond: how many took longer.
        ///   - sum: of all durations, in seconds.
        public init(_ labels: [(String, String)], buckets: [(end: Double, count: UInt64)], beyond: UInt64, sum: Double) {
            self.labels = labels; self.buckets = buckets; self.beyond = beyond; self.sum = sum
        }
    }

    /// Adds a family of histograms.
    public mutating func add(_ name: String, _ help: String, _ histograms: [Histogram]) {
        guard !histograms.isEmpty else { return }
        let name = head(.histogram, name, help)
        for histogram in histograms {
            let labels = histogram.labels.map { "\($0)=\(Self.quoted($1))" }
            var sum: UInt64 = 0
            func line(_ suffix: String, _ extra: [String], _ value: String) {
                let all = (labels + extra).joined(separator: ",")
                text += "\(name)_\(suffix)\(all.isEmpty ? "" : "{\(all)}") \(value)\n"
            }
            for (end, count) in histogram.buckets {
                sum &+= count
                line("bucket", ["le=\"\(end)\""], "\(sum)")
            }
            sum &+= histogram.beyond
            line("bucket", ["le=\"+Inf\""], "\(sum)")
            line("sum", [], "\(histogram.sum)")
            line("count", [], "\(sum)")
        }
    }

    private mutating func head(_ kind: Kind, _ name: String, _ help: String) -> String {
        let name = "outrigger_" + name
        text += "# HELP \(name) \(Self.escaped(help))\n# TYPE \(name) \(kind.rawValue)\n"
        return name
    }

    private static func text(_ labels: Labels) -> String {
        labels.isEmpty ? "" : "{" + labels.map { "\($0)=\(quoted($1))" }.joined(separator: ",") + "}"
    }

    /// A label's value may be anything, as long as it is escaped.
    private static func quoted(_ text: String) -> String {
        "\"" + escaped(text).replacing("\"", with: "\\\"") + "\""
    }

    private static func escaped(_ text: String) -> String {
        var result = ""
        for character in text {
            switch character {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            default: result.append(character)
            }
        }
        return result
    }
}

extension String {
    fileprivate func replacing(_ character: Character, with text: String) -> String {
        reduce(into: "") { $0 += $1 == character ? text : String($1) }
    }
}
