import Registers

/// Who accessed what how often, what that cost, and what went wrong.
public struct TraceSummary {
    private struct Counts {
        var reads: UInt64 = 0, writes: UInt64 = 0, faults: UInt64 = 0
        /// Cycles until the accesses came back.
        var waited: UInt64 = 0

        var accesses: UInt64 { reads + writes }

        mutating func add(_ event: AccessEvent) {
            if event.isWrite { writes += 1 } else { reads += 1 }
            if event.status != .ok { faults += 1 }
            waited &+= event.wait
        }
    }

    /// Accesses that are the same mistake: made by the same instruction at the same place, with the same outcome.
    private struct Mistake: Hashable {
        let name: String, reason: String, isWrite: Bool
        let initiator: Initiator
        /// Program counter or process.
        let origin: UInt32
    }

    /// One mistake: how often, and the cycle of its first time.
    private typealias RankedMistake = (mistake: Mistake, count: UInt64, first: UInt64)

    private let decoder: TraceDecoder
    private let frequency: UInt64
    private var total = Counts()
    private var first: UInt64?
    private var last: UInt64 = 0
    /// By register number, elements of arrays together.
    private var registers: [Counts]
    private var elsewhere = Counts()
    /// By the initiator's raw value.
    private var initiators = [Counts](repeating: Counts(), count: 0x400)
    private var mistakes: [Mistake: (count: UInt64, first: UInt64)] = [:]

    /// - Parameter frequency: fabric cycles per second.
    public init(_ decoder: TraceDecoder, frequency: UInt64) {
        self.decoder = decoder
        self.frequency = frequency
        registers = .init(repeating: Counts(), count: decoder.known.count)
    }

    /// Counts one access.
    public mutating func add(_ event: AccessEvent) {
        if first == nil { first = event.time }
        last = event.time
        total.add(event)
        initiators[Int(event.initiator.rawValue) & 0x3ff].add(event)
        if case .register(let number, _, _) = event.target { registers[Int(number)].add(event) } else { elsewhere.add(event) }
        guard let (name, reason) = mistake(event) else { return }
        let key = Mistake(name: name, reason: reason, isWrite: event.isWrite, initiator: event.initiator, origin: event.origin)
        mistakes[key, default: (0, event.time)].count += 1
    }

    /// Whether something is wrong with an access: its status, or that it went to a range that is reserved.
    private func mistake(_ event: AccessEvent) -> (name: String, reason: String)? {
        guard case .address(let address, let bus) = event.target else {
            return event.status == .ok ? nil : (decoder.name(event), "\(event.status)")
        }
        let surroundings = decoder.surroundings(address, bus: bus)
        if event.status == .ok, surroundings?.isReserved != true { return nil }
        let place = surroundings.map { " (\($0.name)\($0.isReserved ? ", reserved" : ""))" } ?? ""
        return (decoder.name(event) + place, event.status == .ok ? "reserved" : "\(event.status)")
    }

    // MARK: Ranking

    private func ranked(by key: KeyPath<Counts, UInt64>, _ top: Int) -> [(name: String, counts: Counts)] {
        var rows = registers.indices.map { (name: decoder.known[$0].name, counts: registers[$0]) }
        rows.append(("no register", elsewhere))
        // Equals in the order of their names, so that two runs give the same text.
        return Array(
            rows.filter { $0.counts[keyPath: key] > 0 }
                .sorted { ($1.counts[keyPath: key], $0.name) < ($0.counts[keyPath: key], $1.name) }.prefix(top))
    }

    private var rankedMistakes: [RankedMistake] {
        mistakes.map { ($0.key, $0.value.count, $0.value.first) }.sorted { a, b in
            if a.count != b.count { return a.count > b.count }
            if a.first != b.first { return a.first < b.first }
            return (a.mistake.name, a.mistake.initiator.rawValue, a.mistake.origin, a.mistake.isWrite ? 1 : 0)
                < (b.mistake.name, b.mistake.initiator.rawValue, b.mistake.origin, b.mistake.isWrite ? 1 : 0)
        }
    }

    private var activeInitiators: [(name: String, counts: Counts)] {
        initiators.indices.filter { initiators[$0].accesses > 0 }.map { ("\(Initiator(rawValue: UInt16($0)))", initiators[$0]) }
    }

    // MARK: Text

    /// For people.
    ///
    /// - Parameter top: at most so many rows in each ranking.
    public func text(top: Int) -> String {
        guard let first else { return "no accesses\n" }
        var lines = ["\(total.accesses) accesses, cycle \(first) to \(last) (\(microseconds(last - first)) us)", ""]
        lines += table("initiators", activeInitiators)
        lines += [""] + table("registers by accesses", ranked(by: \.accesses, top))
        lines += [""] + table("registers by cycles waited", ranked(by: \.waited, top))
        let mistakes = rankedMistakes
        lines.append("")
        if mistakes.isEmpty {
            lines.append("no faults, no accesses to what is reserved")
        } else {
            lines.append(padded("faults and reserved accesses", 36) + "       count  status         by       at             first cycle")
            for (mistake, count, first) in mistakes.prefix(top) {
                let origin = switch mistake.initiator.kind {
                case .hart: "pc=\(hex(mistake.origin))"
                case .host where mistake.origin != 0: "pid=\(mistake.origin)"
                default: ""
                }
                lines.append(
                    padded("  \(mistake.isWrite ? "write" : "read") \(mistake.name)", 36) + padded("\(count)", 12, right: true) + "  "
                        + padded(mistake.reason, 15) + padded("\(mistake.initiator)", 9) + padded(origin, 15) + "\(first)")
            }
            if mistakes.count > top { lines.append("  and \(mistakes.count - top) more") }
        }
        return lines.map { $0 + "\n" }.joined()
    }

    private func table(_ title: String, _ rows: [(name: String, counts: Counts)]) -> [String] {
        func line(_ name: String, _ columns: [String]) -> String {
            padded(name, 36) + columns.map { padded($0, 12, right: true) }.joined()
        }
        return [line(title, ["accesses", "reads", "writes", "waited", "faults"])] + rows.map { name, counts in
            line("  " + name, [counts.accesses, counts.reads, counts.writes, counts.waited, counts.faults].map { "\($0)" })
        }
    }

    /// With three decimals.
    private func microseconds(_ cycles: UInt64) -> String {
        let (high, low) = cycles.multipliedFullWidth(by: 1_000_000_000)
        guard high < frequency else { return "\(UInt64.max / 1000)" }
        let nanoseconds = frequency.dividingFullWidth((high, low)).quotient
        let rest = String(nanoseconds % 1000)
        return "\(nanoseconds / 1000)." + String(repeating: "0", count: 3 - rest.count) + rest
    }

    // MARK: JSON

    /// The same as one JSON object, on one line.
    public func json(top: Int) -> String {
        func object(_ name: String, _ counts: Counts) -> String {
            "{\"name\":\"\(name)\",\"accesses\":\(counts.accesses),\"reads\":\(counts.reads),\"writes\":\(counts.writes),"
                + "\"waited\":\(counts.waited),\"faults\":\(counts.faults)}"
        }
        func list(_ rows: [(name: String, counts: Counts)]) -> String { "[\(rows.map(object).joined(separator: ","))]" }
        let mistakes = rankedMistakes
        let mistakeObjects = mistakes.prefix(top).map { mistake, count, first in
            let origin = mistake.initiator.kind == .hart ? "\"pc\":\"0x\(hex(mistake.origin))\"" : "\"pid\":\(mistake.origin)"
            return "{\"name\":\"\(mistake.name)\",\"access\":\"\(mistake.isWrite ? "write" : "read")\",\"status\":\"\(mistake.reason)\","
                + "\"initiator\":\"\(mistake.initiator)\",\(origin),\"count\":\(count),\"first\":\(first)}"
        }
        return "{\"accesses\":\(total.accesses),\"first\":\(first ?? 0),\"last\":\(last),\"initiators\":\(list(activeInitiators)),"
            + "\"by_accesses\":\(list(ranked(by: \.accesses, top))),\"by_waited\":\(list(ranked(by: \.waited, top))),"
            + "\"mistakes\":[\(mistakeObjects.joined(separator: ","))],\"distinct_mistakes\":\(mistakes.count)}"
    }
}
