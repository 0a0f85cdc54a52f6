import AdminProtocol

/// What the firmware says of the whole device at about one moment: what each owner does, has, needs and waits for, and what decides.
public struct Observation: Sendable {
    /// One owner.
    public struct Owner: Sendable {
        public var statistics: StatisticsEntry
        /// nil before its first interval.
        public var analysis: AnalysisEntry?
        /// What was reported of it, nil if nothing was.
        public var use: ReportedUse?
        public var allocation: Allocation
        /// What the host wants for it.
        public var terms: ServiceTerms
        /// Of a virtual machine.
        public var component: ComponentStatus?
        /// Since power-on.
        public var latency: LatencyHistogram

        public init(
            statistics: StatisticsEntry, analysis: AnalysisEntry? = nil, allocation: Allocation = Allocation(),
            component: ComponentStatus? = nil, latency: LatencyHistogram = LatencyHistogram(), use: ReportedUse? = nil,
            terms: ServiceTerms = ServiceTerms()
        ) {
            self.terms = terms
            self.statistics = statistics; self.analysis = analysis; self.allocation = allocation; self.use = use
            self.component = component; self.latency = latency
        }

        public var number: Int { Int(statistics.owner) }
        public var requests: UInt64 { statistics.reads &+ statistics.writes &+ statistics.others }
        public var bytes: UInt64 { statistics.readBytes &+ statistics.writeBytes }
    }

    public var identity: Identity
    public var statistics: StatisticsHeader
    public var analysis: AnalysisHeader
    public var parameters: PolicyParameters
    public var policies: [PolicyEntry]
    /// Why the policy in force is, and what is expected of each.
    public var selection: SelectionStatus
    /// Those that have done something, have something, or of whom something was reported.
    public var owners: [Owner]

    public init(
        identity: Identity, statistics: StatisticsHeader, analysis: AnalysisHeader = AnalysisHeader(),
        parameters: PolicyParameters = PolicyParameters(), policies: [PolicyEntry] = [],
        selection: SelectionStatus = SelectionStatus(), owners: [Owner] = []
    ) {
        self.selection = selection
        self.identity = identity; self.statistics = statistics; self.analysis = analysis
        self.parameters = parameters; self.policies = policies; self.owners = owners
    }

    /// Asks the firmware. The answers of one look are some commands apart.
    public init(_ client: AdminClient) throws {
        identity = try client.identify()
        let count = 1 + Int(identity.virtualFunctions)
        let (header, entries) = try client.statistics(owners: count)
        let (analysis, analysed) = try client.analysis(owners: count)
        statistics = header
        self.analysis = analysis
        parameters = try client.policy()
        policies = try client.policies()
        selection = try client.selection()
        owners = []
        for entry in entries where entry.reads | entry.writes | entry.others != 0 || entry.guaranteePermille != 0 || entry.flags != 0 {
            let number = Int(entry.owner), found = analysed.first { $0.owner == entry.owner }
            owners.append(Owner(
                statistics: entry, analysis: found.flatMap { $0.intervals > 0 ? $0 : nil },
                allocation: try client.allocation(of: number), component: number == 0 ? nil : try client.component(of: number),
                latency: try client.latency(of: number), use: entry.flags & StatisticsEntry.reported != 0 ? found?.use : nil,
                terms: try client.terms(of: number)))
        }
    }

    /// The policies that were scored, by what is expected of them, most first.
    var scored: [(policy: PolicyEntry, entry: SelectionEntry)] {
        policies.filter { (1..<UInt32(SelectionStatus.entries)).contains($0.number) }
            .map { ($0, selection.policies[Int($0.number)]) }.filter { $0.1.expected != 0 }
            .sorted { ($1.1.expected, $0.0.number) < ($0.1.expected, $1.0.number) }
    }

    /// The policy in force.
    public var policy: PolicyEntry? {
        policies.first { $0.flags & PolicyEntry.Flag.inForce != 0 } ?? policies.first { $0.number == UInt32(statistics.policy) }
    }
}

/// What was between two looks, or since power-on.
public struct Progress: Sendable {
    /// Device time.
    public let seconds: Double
    private let before: Observation?

    /// - Parameter before: nil, or of a device that has been restarted since: power-on.
    public init(from before: Observation?, to now: Observation) {
        let isLater = before.map { $0.statistics.cycle <= now.statistics.cycle } ?? false
        self.before = isLater ? before : nil
        let cycles = now.statistics.cycle &- (self.before?.statistics.cycle ?? 0)
        seconds = Double(cycles) / Double(max(now.identity.clockHertz, 1))
    }

    private func earlier(_ owner: Observation.Owner) -> Observation.Owner? { before?.owners.first { $0.number == owner.number } }

    private func rate(_ now: UInt64, _ then: UInt64?) -> Double {
        let then = then ?? 0
        return seconds > 0 && now >= then ? Double(now - then) / seconds : 0
    }

    /// A second.
    public func requests(of owner: Observation.Owner) -> Double { rate(owner.requests, earlier(owner)?.requests) }
    /// A second, read and written.
    public func bytes(of owner: Observation.Owner) -> Double { rate(owner.bytes, earlier(owner)?.bytes) }

    /// The upper end, in cycles, of the bucket that has the latency which so many in a thousand requests keep to; nil without requests.
    public func latency(of owner: Observation.Owner, permille: UInt64) -> UInt64? {
        let then = earlier(owner)?.latency
        var counts: [UInt64] = []
        for bucket in 0..<LatencyHistogram.buckets { counts.append(owner.latency.counts[bucket] &- (then?.counts[bucket] ?? 0)) }
        let total = counts.reduce(0, &+)
        guard total > 0 else { return nil }
        var sum: UInt64 = 0
        for (bucket, count) in counts.enumerated() {
            sum &+= count
            if Double(sum) * 1000 >= Double(total) * Double(permille) { return 2 << UInt64(bucket) }
        }
        return nil
    }
}
