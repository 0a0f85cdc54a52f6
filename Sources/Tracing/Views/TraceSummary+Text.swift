import Registers

extension TraceSummary {
    /// For people. Parts about which there is nothing to say are left out.
    ///
    /// - Parameter top: at most so many rows in each ranking.
    public func text(top: Int) -> String {
        guard let first else { return "no events\n" }
        let classes = TraceClass.allCases.filter { count(of: $0) > 0 }
        let total = classes.reduce(0) { $0 + count(of: $1) }
        var lines = ["\(total) events, cycle \(first) to \(last) (\(microseconds(last - first)) us)"]
        lines.append("  " + classes.map { "\($0) \(count(of: $0))" }.joined(separator: ", "))
        if accesses.accesses > 0 {
            lines += table("initiators", Self.accessColumns, activeInitiators.map { ($0.name, Self.columns($0.counts)) })
            let byAccesses = rankedRegisters(by: \.accesses, top), byWaited = rankedRegisters(by: \.waited, top)
            lines += table("registers by accesses", Self.accessColumns, byAccesses.map { ($0.name, Self.columns($0.counts)) })
            lines += table("registers by cycles waited", Self.accessColumns, byWaited.map { ($0.name, Self.columns($0.counts)) })
        }
        lines += table("interrupts", ["count"], rankedInterrupts(top).map { ($0.name, [$0.count]) })
        lines += table(
            "DMA by function", ["reads", "bytes", "writes", "bytes", "refused"],
            activeFunctions.map { name, counts in
                (name, [counts.reads, counts.bytesRead, counts.writes, counts.bytesWritten, counts.refused])
            })
        lines += table(
            "queues, cycles from taken to completed", ["requests", "deepest", "50 %", "90 %", "99 %", "most"],
            activeQueues.map { row in
                ("dma\(row.function) queue \(row.queue)",
                 [row.requests, UInt64(row.deepest)] + [50, 90, 99, 100].map { row.latency(atPercentile: $0) })
            })
        return (lines + mistakeLines(top)).map { $0 + "\n" }.joined()
    }

    private static let accessColumns = ["accesses", "reads", "writes", "waited", "faults"]

    private static func columns(_ counts: AccessCounts) -> [UInt64] {
        [counts.accesses, counts.reads, counts.writes, counts.waited, counts.faults]
    }

    /// Nothing if there are no rows.
    private func table(_ title: String, _ columns: [String], _ rows: [(name: String, values: [UInt64])]) -> [String] {
        guard !rows.isEmpty else { return [] }
        let width = max(40, rows.map { $0.name.utf8.count + 2 }.max() ?? 0)
        func line(_ name: String, _ columns: [String]) -> String {
            padded(name, width) + columns.map { padded($0, 12, right: true) }.joined()
        }
        return ["", line(title, columns)] + rows.map { line("  " + $0.name, $0.values.map { "\($0)" }) }
    }

    private func mistakeLines(_ top: Int) -> [String] {
        let mistakes = rankedMistakes
        guard !mistakes.isEmpty else { return ["", "no faults, no accesses to what is reserved"] }
        let shown = mistakes.prefix(top)
        let width = max(40, shown.map { $0.mistake.what.utf8.count + $0.mistake.name.utf8.count + 3 }.max() ?? 0)
        var lines = ["", padded("faults and reserved accesses", width) + padded("count", 12, right: true)
            + "  by       at             first cycle     reason"]
        for (mistake, count, first) in shown {
            let origin = switch mistake.initiator.kind {
            case .hart: "pc=\(hex(mistake.origin))"
            case .host where mistake.origin != 0: "pid=\(mistake.origin)"
            default: ""
            }
            lines.append(
                padded("  \(mistake.what) \(mistake.name)", width) + padded("\(count)", 12, right: true) + "  "
                    + padded("\(mistake.initiator)", 9) + padded(origin, 15) + padded("\(first)", 16) + mistake.reason)
        }
        if mistakes.count > top { lines.append("  and \(mistakes.count - top) more") }
        return lines
    }

    /// With three decimals.
    private func microseconds(_ cycles: UInt64) -> String {
        let (high, low) = cycles.multipliedFullWidth(by: 1_000_000_000)
        guard high < frequency else { return "\(UInt64.max / 1000)" }
        let nanoseconds = frequency.dividingFullWidth((high, low)).quotient
        let rest = String(nanoseconds % 1000)
        return "\(nanoseconds / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
    }
}
