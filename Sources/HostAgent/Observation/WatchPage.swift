import AdminProtocol
import Presentation

/// The view of a running device: who has what, needs what and waits for what; which policy decides, what it decided and on what.
public struct WatchPage: LivePage {
    /// By what owners are ordered, the greatest first but for their numbers.
    public enum Order: String, CaseIterable, Sendable { case owner, share, rate, requests, forecast, p99 }

    private let look: () throws -> Observation
    private let device: String
    private var before: Observation?
    private var now: Observation
    private var trail = DecisionTrail()
    private var order: Order
    /// The owner whose details are shown.
    private var selected: Int?

    /// - Parameters:
    ///   - device: what it is called.
    ///   - selected: the owner whose details are shown at first; nil: on a terminal, the first one.
    ///   - look: looks at the device.
    public init(device: String, order: Order, selected: Int?, look: @escaping () throws -> Observation) {
        self.look = look; self.device = device; self.order = order; self.selected = selected
        now = Observation(identity: Identity(), statistics: StatisticsHeader())
    }

    /// Asks the firmware for what the page shows.
    public mutating func refresh() throws {
        let next = try look()
        before = now.identity.clockHertz == 0 ? nil : now
        now = next
        if let before { trail.note(from: before, to: now) }
    }

    private var progress: Progress { Progress(from: before, to: now) }

    // MARK: Keys

    /// Does what a key stands for.
    public mutating func press(_ key: Terminal.Key) {
        switch key {
        case .character("s"):
            let all = Order.allCases
            order = all[(all.firstIndex(of: order)! + 1) % all.count]
        case .up, .character("k"): move(-1)
        case .down, .character("j"): move(1)
        default: break
        }
    }

    private mutating func move(_ step: Int) {
        let owners = ordered.map(\.number)
        guard !owners.isEmpty else { return }
        let place = owners.firstIndex(of: selected ?? owners[0]) ?? 0
        selected = owners[min(max(place + step, 0), owners.count - 1)]
    }

    private var ordered: [Observation.Owner] {
        let progress = progress
        func key(_ owner: Observation.Owner) -> Double {
            switch order {
            case .owner: -Double(owner.number)
            case .share: Double(owner.allocation.guaranteePermille)
            case .rate: progress.bytes(of: owner)
            case .requests: progress.requests(of: owner)
            case .forecast: owner.analysis?.bytes(\.expected) ?? 0
            case .p99: Double(progress.latency(of: owner, permille: 990) ?? 0)
            }
        }
        // Equal ones stay in the order of their numbers.
        let keys = now.owners.map(key)
        return keys.indices.sorted { (keys[$1], $0) < (keys[$0], $1) }.map { now.owners[$0] }
    }

    // MARK: Text

    private static let columns: [Table.Column] = [
        .init("owner", 5, right: false), .init("share", 6), .init("cores", 5, rank: 4), .init("mem", 4, rank: 6),
        .init("g/f", 5, rank: 7),
        .init("at", 6, right: false, rank: 5), .init("B/s", 6), .init("next", 6), .init("from..to", 12, rank: 1),
        .init("req/s", 6, rank: 3),
        .init("p99", 8), .init("held up by", 22, right: false, rank: 2),
    ]

    /// The page's lines, as many and as long as there is room for; nil: no limit.
    public func lines(width: Int?, height: Int?, style: TextStyle) -> [String] {
        let wide = width ?? 200
        var lines = [style.title(title.cut(width ?? title.count)), load.cut(width ?? load.count), choice.cut(width ?? choice.count)]
        let table = Table(Self.columns, width: width)
        let owners = ordered
        let chosen = owners.first { $0.number == selected } ?? (height == nil ? nil : owners.first)
        let details = chosen.map { OwnerDetails(of: $0, in: now).lines.map { $0.cut(width ?? $0.count) } } ?? []
        let decisions = trail.entries.map { "\(time($0.cycle).column(11, right: true))  \($0.text)" }
        let keys = "q quit  s sort: \(order.rawValue)  up/down select  (rates: \(before == nil ? "since power-on" : "since the last page"))"

        // What a low window has no room for goes in this order: decisions, details, owners that aren't selected.
        let room = height.map { max($0 - lines.count - 2, 1) } ?? .max
        let shownDetails = height == nil || room >= details.count + 3 ? details : []
        let ownerRows = min(owners.count, max(room - shownDetails.count, 1))
        let left = room == .max ? .max : room - shownDetails.count - ownerRows
        let first = min(max((owners.firstIndex { $0.number == chosen?.number } ?? 0) - ownerRows / 2, 0), owners.count - ownerRows)

        lines.append(style.bold(table.heading))
        for owner in owners[first..<first + ownerRows] {
            let line = table.line(cells(owner))
            let isAnomalous = owner.analysis?.isAnomalous ?? false || owner.use?.anomalies ?? 0 != 0
            lines.append(height != nil && owner.number == chosen?.number ? style.title(line) : isAnomalous ? style.warning(line) : line)
        }
        if owners.isEmpty { lines.append("nobody has asked anything of the device yet".cut(wide)) }
        lines += shownDetails
        if left > 1 || height == nil, !decisions.isEmpty {
            lines.append(style.quiet("-- decisions".cut(width ?? 12)))
            lines += decisions.suffix(left == .max ? decisions.count : left - 1).map { $0.cut(width ?? $0.count) }
        }
        if let height {
            while lines.count < height - 1 { lines.append("") }
            if height > 3 { lines = lines.prefix(height - 1) + [style.quiet(keys.cut(wide))] }
            lines = Array(lines.prefix(height))
        }
        return lines
    }

    private func time(_ cycle: UInt64) -> String { duration(Double(cycle) / Double(max(now.identity.clockHertz, 1)) * 1e9) }

    private var title: String {
        let header = now.statistics
        return "\(device)  \(time(header.cycle))  policy \(now.policy?.text ?? "\(header.policy)")  decisions "
            + "\(header.decisionsTaken) of \(header.decisionsTaken &+ header.decisionsLeft) taken  firmware \(percent(header.busyPermille))"
    }

    private var load: String {
        let header = now.analysis
        return "busy: cores \(percent(header.coresPermille))  link to device \(percent(header.linkToDevicePermille))  "
            + "to host \(percent(header.linkToHostPermille))  fabric \(percent(header.fabricPermille))  "
            + "(each \(decimal(intervalSeconds, 3)) s)"
    }

    /// Which policy decides, why, and what is expected of each.
    private var choice: String {
        let selected = now.policies.first { $0.number == UInt32(now.selection.selected) }?.text ?? "\(now.selection.selected)"
        let scores = now.scored.map { "\($0.policy.text) \(decimal(SelectionStatus.fraction($0.entry.expected), 3))" }
        return "\(selected) selected: \(now.selection.reasonText)"
            + (scores.isEmpty ? "" : "; expected " + scores.joined(separator: ", "))
    }

    private var intervalSeconds: Double { Double(now.analysis.interval) / 1e6 }

    /// Bytes a second of an interval's level, read and written.
    private func rate(_ analysis: AnalysisEntry, _ level: KeyPath<MetricAnalysis, UInt16>) -> Double {
        intervalSeconds > 0 ? analysis.bytes(level) / intervalSeconds : 0
    }

    private func cells(_ owner: Observation.Owner) -> [String] {
        let progress = progress, allocation = owner.allocation
        func known(_ text: (AnalysisEntry) -> String) -> String { owner.analysis.map(text) ?? "-" }
        return [
            OwnerFigures.name(owner.number), percent(allocation.guaranteePermille),
            allocation.serviceCores == 0 ? "-" : "\(allocation.serviceCores)",
            allocation.memoryBlocks == 0 ? "-" : "\(allocation.memoryBlocks)",
            allocation.gpuSlots | allocation.fpgaSlots == 0 ? "-" : "\(allocation.gpuSlots)/\(allocation.fpgaSlots)",
            owner.component.map { $0.isInUse ? $0.placeText : "-" } ?? "-",
            short(progress.bytes(of: owner)), known { short(rate($0, \.expected)) },
            known { "\(short(rate($0, \.low)))..\(short(rate($0, \.high)))" }, short(progress.requests(of: owner)),
            progress.latency(of: owner, permille: 990).map(time) ?? "-",
            known { entry in
                guard entry.bottleneck != 0 else { return "-" }
                return entry.bottleneckText + (entry.evidence.map { " \($0 / 10)%" } ?? "") + (entry.isOwnShare ? " own" : "")
            },
        ]
    }

    // MARK: JSON

    public var json: JSON {
        let header = now.statistics, analysis = now.analysis
        return .object([
            ("device", .string(device)), ("cycle", .number(header.cycle)), ("clock_hertz", .number(UInt64(now.identity.clockHertz))),
            ("seconds", .real(progress.seconds)), ("policy", .string(now.policy?.text ?? "\(header.policy)")),
            ("selection", .object([
                ("selected", .string(now.policies.first { $0.number == UInt32(now.selection.selected) }?.text ?? "")),
                ("reason", .string(now.selection.reasonText)), ("epoch", .number(UInt64(now.selection.epoch))),
                ("measured", .real(SelectionStatus.fraction(now.selection.measured))),
                ("expected", .object(now.scored.map { ($0.policy.text, .real(SelectionStatus.fraction($0.entry.expected))) })),
                ("switches", .number(UInt64(now.selection.switches))), ("undone", .number(UInt64(now.selection.undone))),
                ("guard_rails", .number(UInt64(now.selection.guardRails))),
            ])),
            ("decisions_taken", .number(UInt64(header.decisionsTaken))), ("decisions_left", .number(UInt64(header.decisionsLeft))),
            ("generation", .number(UInt64(header.generation))), ("firmware_busy_permille", .number(UInt64(header.busyPermille))),
            ("interval_seconds", .real(intervalSeconds)), ("intervals", .number(UInt64(analysis.intervals))),
            ("busy_permille", .object([
                ("cores", .number(UInt64(analysis.coresPermille))), ("link_to_device", .number(UInt64(analysis.linkToDevicePermille))),
                ("link_to_host", .number(UInt64(analysis.linkToHostPermille))), ("fabric", .number(UInt64(analysis.fabricPermille))),
            ])),
            ("owners", .array(ordered.map(json))),
            ("decisions", .array(trail.entries.map { .object([("cycle", .number($0.cycle)), ("text", .string($0.text))]) })),
        ])
    }

    private func json(_ owner: Observation.Owner) -> JSON {
        let allocation = owner.allocation, progress = progress
        var members: [(String, JSON)] = [
            ("owner", .string(OwnerFigures.name(owner.number))),
            ("has", .object([
                ("guarantee_permille", .number(UInt64(allocation.guaranteePermille))), ("weight", .number(UInt64(allocation.weight))),
                ("limit", .number(UInt64(allocation.limit))), ("service_cores", .number(UInt64(allocation.serviceCores))),
                ("memory_blocks", .number(UInt64(allocation.memoryBlocks))), ("gpu_slots", .number(UInt64(allocation.gpuSlots))),
                ("fpga_slots", .number(UInt64(allocation.fpgaSlots))),
                ("pinned", .flag(owner.statistics.flags & StatisticsEntry.pinned != 0)),
            ])),
            ("wants", .object([
                ("latency_microseconds", .number(UInt64(owner.terms.latencyMicroseconds))),
                ("least_permille", .number(UInt64(owner.terms.leastPermille))),
            ])),
            ("demand_bytes_per_microsecond", .number(UInt64(owner.statistics.demand))),
            ("requests_per_second", .real(progress.requests(of: owner))), ("bytes_per_second", .real(progress.bytes(of: owner))),
        ]
        for (name, permille) in [("p50_cycles", 500), ("p99_cycles", 990)] as [(String, UInt64)] {
            if let cycles = progress.latency(of: owner, permille: permille) { members.append((name, .number(cycles))) }
        }
        if let entry = owner.analysis { members.append(("analysis", json(entry))) }
        if let use = owner.use {
            members.append(("reported", .object(Findings.reported.enumerated().map { place, figure in
                (figure.name.lowercased().map { $0.isLetter ? String($0) : "_" }.joined(), .object([
                    ("latest", .real(use.latest(place))), ("normal", .real(use.normal(place))),
                    ("anomalous", .flag(use.isAnomalous(place))),
                ]))
            } + [("confidence_permille", .number(UInt64(use.confidencePermille)))])))
        }
        if let component = owner.component, component.isInUse {
            members.append(("component", .object([
                ("at", .string(component.placeText)), ("kind", .string(component.kindText)), ("state", .string(component.stateText)),
                ("moves", .number(UInt64(component.moves))), ("last_move", .string(component.outcomeText)),
                ("black_out_cycles", .number(UInt64(component.blackout))),
            ])))
        }
        return .object(members)
    }

    private func json(_ entry: AnalysisEntry) -> JSON {
        .object([
            ("bottleneck", .string(entry.bottleneckText)), ("own_share", .flag(entry.isOwnShare)), ("pattern", .string(entry.patternText)),
            ("utilisation_permille", .number(UInt64(entry.utilisationPermille))),
            ("stages_permille", .object(zip(Findings.stages, entry.stageShares).map {
                ($0.0.map { $0 == " " ? "_" : String($0) }.joined(), .number(UInt64($0.1)))
            })),
            ("in_flight", .real(Double(entry.depth) / 256)), ("intervals", .number(UInt64(entry.intervals))),
            ("anomalous", .flag(entry.isAnomalous)), ("anomalies", .number(UInt64(entry.anomalies))),
            ("confidence_permille", .number(UInt64(entry.confidencePermille))),
            ("forecasts_checked", .number(UInt64(entry.checked))), ("forecasts_missed", .number(UInt64(entry.missed))),
            ("metrics", .object(Findings.metrics.map { metric in
                let value = metric.value(entry)
                func amount(_ level: UInt16) -> JSON { .real(Findings.amount(level, unit: metric.unit)) }
                return (metric.name, .object([
                    ("latest", amount(value.latest)), ("expected", amount(value.expected)), ("low", amount(value.low)),
                    ("high", amount(value.high)), ("long_expected", amount(value.longExpected)), ("long_low", amount(value.longLow)),
                    ("long_high", amount(value.longHigh)), ("normal", amount(value.mean)),
                ]))
            })),
        ])
    }
}
