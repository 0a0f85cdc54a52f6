import Registers

extension TraceSummary {
    /// The same as the text as one JSON object, on one line.
    ///
    /// - Parameter top: at most so many rows in each ranking.
    public func json(top: Int) -> String {
        let mistakes = rankedMistakes
        let members: [(String, String)] = [
            ("events", object(TraceClass.allCases.map { ($0.rawValue, "\(count(of: $0))") })),
            ("first", "\(first ?? 0)"), ("last", "\(last)"), ("accesses", "\(accesses.accesses)"),
            ("initiators", list(activeInitiators)), ("by_accesses", list(rankedRegisters(by: \.accesses, top))),
            ("by_waited", list(rankedRegisters(by: \.waited, top))),
            ("interrupts", array(rankedInterrupts(top).map { object([("name", quoted($0.name)), ("count", "\($0.count)")]) })),
            ("dma", array(activeFunctions.map { name, counts in
                object([
                    ("name", quoted(name)), ("reads", "\(counts.reads)"), ("bytes_read", "\(counts.bytesRead)"),
                    ("writes", "\(counts.writes)"), ("bytes_written", "\(counts.bytesWritten)"), ("refused", "\(counts.refused)"),
                ])
            })),
            ("queues", array(activeQueues.map(object))),
            ("mistakes", array(mistakes.prefix(top).map(object))), ("distinct_mistakes", "\(mistakes.count)"),
        ]
        return object(members)
    }

    private func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\"\($0)\":\($1)" }.joined(separator: ",") + "}"
    }

    private func array(_ items: [String]) -> String { "[" + items.joined(separator: ",") + "]" }

    private func list(_ rows: [(name: String, counts: AccessCounts)]) -> String {
        array(rows.map { name, counts in
            object([
                ("name", quoted(name)), ("accesses", "\(counts.accesses)"), ("reads", "\(counts.reads)"), ("writes", "\(counts.writes)"),
                ("waited", "\(counts.waited)"), ("faults", "\(counts.faults)"),
            ])
        })
    }

    private func object(_ row: QueueStatistics.Row) -> String {
        object([
            ("function", "\(row.function)"), ("queue", "\(row.queue)"), ("doorbells", "\(row.doorbells)"), ("requests", "\(row.requests)"),
            ("completed", "\(row.completed)"), ("notified", "\(row.notified)"), ("deepest", "\(row.deepest)"),
            ("p50", "\(row.latency(atPercentile: 50))"), ("p90", "\(row.latency(atPercentile: 90))"),
            ("p99", "\(row.latency(atPercentile: 99))"), ("most", "\(row.latency(atPercentile: 100))"),
        ])
    }

    private func object(_ ranked: RankedMistake) -> String {
        let mistake = ranked.mistake
        var members = [
            ("what", quoted(mistake.what)), ("name", quoted(mistake.name)), ("reason", quoted(mistake.reason)),
            ("initiator", quoted("\(mistake.initiator)")),
        ]
        if mistake.initiator.kind == .hart { members.append(("pc", "\"0x\(hex(mistake.origin))\"")) }
        if mistake.initiator.kind == .host { members.append(("pid", "\(mistake.origin)")) }
        return object(members + [("count", "\(ranked.count)"), ("first", "\(ranked.first)")])
    }
}
