import AdminProtocol
import Presentation

extension OwnerFigures {
    /// As the firmware's pages have them.
    init(_ owner: Observation.Owner, blockShift: UInt8) {
        self.init(owner: owner.number)
        let page = owner.statistics, allocation = owner.allocation
        (reads, writes, others) = (page.reads, page.writes, page.others)
        (readBytes, writtenBytes) = (page.readBytes, page.writeBytes)
        (guaranteePermille, weight) = (UInt64(allocation.guaranteePermille), UInt64(allocation.weight))
        (limit, serviceCores) = (UInt64(allocation.limit), UInt64(allocation.serviceCores))
        (gpuSlots, fpgaSlots) = (UInt64(allocation.gpuSlots), UInt64(allocation.fpgaSlots))
        memoryBytes = UInt64(allocation.memoryBlocks) << UInt64(min(blockShift, 40))
    }
}

extension Observation {
    /// All of it for Prometheus.
    public var exposition: Exposition {
        var page = Exposition()
        page.add(owners.map { OwnerFigures($0, blockShift: identity.memoryBlockShift) })
        addDecisions(to: &page)
        addAnalysis(to: &page)
        addForecasts(to: &page)
        addReports(to: &page)
        addComponents(to: &page)
        return page
    }

    private func addDecisions(to page: inout Exposition) {
        page.add(.gauge, "policy_in_force", "1 for the policy whose decisions are in force.", policies.map {
            .init(["policy": $0.text], is: $0.number == policy?.number)
        })
        page.add(.counter, "policy_evaluations", "Decisions of a policy.", policies.map {
            .init(["policy": $0.text], UInt64($0.evaluations))
        })
        page.add(.counter, "policy_faults", "Programs of a policy that were ended before their end.", policies.map {
            .init(["policy": $0.text], UInt64($0.faults))
        })
        page.add(.gauge, "policy_expected_utility_ratio", "What is expected of a policy, of the best there can be.", scored.map {
            .init(["policy": $0.policy.text], ratio: SelectionStatus.fraction($0.entry.expected))
        })
        page.add(.gauge, "measured_utility_ratio", "What the latest epoch came to, of the best there can be.", [
            .init([:], ratio: SelectionStatus.fraction(selection.measured)),
        ])
        page.add(.counter, "policy_switches", "Changes of the policy in force, by why.", [
            .init(["reason": "any"], UInt64(selection.switches)), .init(["reason": "guard rail"], UInt64(selection.guardRails)),
        ])
        page.add(.counter, "undone_epochs", "Epochs whose changes were undone because they did harm.", [
            .init([:], UInt64(selection.undone)),
        ])
        page.add(.counter, "decisions", "Decisions, by whether they changed the allocation.", [
            .init(["outcome": "taken"], UInt64(statistics.decisionsTaken)), .init(["outcome": "left"], UInt64(statistics.decisionsLeft)),
        ])
        page.add(.gauge, "partition_generation", "Generation of the Resource Manager's table.", [.init([:], UInt64(statistics.generation))])
        page.add(.counter, "firmware_busy_cycles", "Device cycles in which the firmware was at work.", [.init([:], statistics.busyCycles)])
        page.add(.counter, "events_dropped", "Events that nobody had room for.", [.init([:], UInt64(statistics.eventsDropped))])
        page.add(.gauge, "demand_bytes_per_second", "Demand as the policies see it.", owners.map {
            .init(["owner": OwnerFigures.name($0.number)], UInt64($0.statistics.demand) * 1_000_000)
        })
    }

    /// Samples of those that were analysed.
    private func analysed(_ samples: (String, AnalysisEntry) -> [Exposition.Sample]) -> [Exposition.Sample] {
        owners.flatMap { owner in owner.analysis.map { samples(OwnerFigures.name(owner.number), $0) } ?? [] }
    }

    private func addAnalysis(to page: inout Exposition) {
        page.add(.gauge, "analysis_interval_seconds", "Length of an interval of the analysis.", [
            .init([:], ratio: Double(analysis.interval) / 1e6),
        ])
        let busy = [
            ("cores", analysis.coresPermille), ("link to device", analysis.linkToDevicePermille),
            ("link to host", analysis.linkToHostPermille), ("fabric", analysis.fabricPermille),
        ]
        page.add(.gauge, "resource_utilisation_ratio", "How busy a resource was in the latest interval.", busy.map {
            .init(["resource": $0.0], ratio: Double($0.1) / 1000)
        })
        page.add(.gauge, "bottleneck", "1 for what holds the owner's requests up.", analysed { name, entry in
            Findings.bottlenecks.map { .init(["owner": name, "resource": $0], is: $0 == entry.bottleneckText) }
        })
        page.add(.gauge, "stage_time_ratio", "Part of the requests' time at a stage, in the latest interval.", analysed { name, entry in
            zip(Findings.stages, entry.stageShares).map { .init(["owner": name, "stage": $0], ratio: Double($1) / 1000) }
        })
        page.add(.gauge, "access_pattern", "1 for how the owner goes through its medium.", analysed { name, entry in
            Findings.patterns.map { .init(["owner": name, "pattern": $0], is: $0 == entry.patternText) }
        })
        page.add(.gauge, "anomaly", "1 while the owner's latest interval is not normal for it.", analysed { name, entry in
            [.init(["owner": name], is: entry.isAnomalous)]
        })
        page.add(.counter, "anomalies", "Intervals that were not normal.", analysed { name, entry in
            [.init(["owner": name], UInt64(entry.anomalies))]
        })
        page.add(.gauge, "baseline_confidence_ratio", "How far the owner's baseline can be trusted.", analysed { name, entry in
            [.init(["owner": name], ratio: Double(entry.confidencePermille) / 1000)]
        })
    }

    private func addForecasts(to page: inout Exposition) {
        /// Requests in one family, bytes in another: a family has one unit.
        func add(_ name: String, _ help: String, _ values: @escaping (MetricAnalysis) -> [(bound: String?, level: UInt16)]) {
            func samples(_ metric: Findings.Metric) -> [Exposition.Sample] {
                analysed { owner, entry in
                    values(metric.value(entry)).map { bound, level in
                        let amount = Findings.amount(level, unit: metric.unit)
                        return switch (bound, metric.unit == 1) {
                        case (let bound?, true): .init(["owner": owner, "bound": bound], ratio: amount)
                        case (nil, true): .init(["owner": owner], ratio: amount)
                        case (let bound?, false): .init(["owner": owner, "operation": metric.operation, "bound": bound], ratio: amount)
                        case (nil, false): .init(["owner": owner, "operation": metric.operation], ratio: amount)
                        }
                    }
                }
            }
            page.add(.gauge, "interval_requests" + name, "Requests " + help, samples(Findings.metrics[0]))
            page.add(.gauge, "interval" + name + "_bytes", "Bytes " + help, Findings.metrics[1...].flatMap(samples))
        }
        add("", "in the latest interval.") { [(nil, $0.latest)] }
        add("_baseline", "in an interval that is normal for the owner.") { [(nil, $0.mean)] }
        add("_forecast", "in the next interval: what is expected, and the range that holds it nine times in ten.") {
            [("expected", $0.expected), ("low", $0.low), ("high", $0.high)]
        }
        add("_long_forecast", "in the next long interval, the same.") {
            [("expected", $0.longExpected), ("low", $0.longLow), ("high", $0.longHigh)]
        }
        page.add(.counter, "forecasts", "Forecasts of requests, by whether their range held what came.", analysed { name, entry in [
            .init(["owner": name, "outcome": "held"], UInt64(entry.checked &- min(entry.missed, entry.checked))),
            .init(["owner": name, "outcome": "missed"], UInt64(entry.missed)),
        ] })
    }

    /// What the host has reported of itself and of virtual machines, and what is normal of it.
    private func addReports(to page: inout Exposition) {
        let reports = owners.compactMap { owner in owner.use.map { (name: OwnerFigures.name(owner.number), use: $0) } }
        func add(_ name: String, _ help: String, _ figures: [(place: Int, resource: String?)]) {
            page.add(.gauge, name, help, reports.flatMap { owner, use in
                figures.flatMap { place, resource -> [Exposition.Sample] in
                    [("latest", use.latest(place)), ("normal", use.normal(place))].map { value, amount in
                        guard let resource else { return .init(["owner": owner, "value": value], ratio: amount) }
                        return .init(["owner": owner, "resource": resource, "value": value], ratio: amount)
                    }
                }
            })
        }
        add("reported_processors", "Processors that were busy, as the host reports.", [(0, nil)])
        add("reported_memory_bytes", "Memory in use, as the host reports.", [(1, nil)])
        add("reported_bytes_per_second", "Network and block I/O, as the host reports.", [(2, "network"), (3, "block")])
        add("reported_waiting_ratio", "Part of the time in which somebody waited, as the host reports.", [
            (4, "processors"), (5, "memory"), (6, "block"),
        ])
        page.add(.gauge, "reported_anomaly", "1 for what was not normal in the latest report.", reports.flatMap { owner, use in
            Findings.reported.indices.map { .init(["owner": owner, "figure": Findings.reported[$0].name], is: use.isAnomalous($0)) }
        })
        page.add(.gauge, "reported_confidence_ratio", "How far it can be trusted what is normal of the reports.", reports.map {
            .init(["owner": $0.name], ratio: Double($0.use.confidencePermille) / 1000)
        })
    }

    private func addComponents(to page: inout Exposition) {
        let components = owners.compactMap { owner in
            owner.component.flatMap { $0.kind == 0 ? nil : (name: OwnerFigures.name(owner.number), status: $0) }
        }
        page.add(.gauge, "component_place", "1 for who serves the component.", components.flatMap { component in
            Findings.places.map { .init(["owner": component.name, "place": $0], is: $0 == component.status.placeText) }
        })
        page.add(.counter, "component_moves", "Moves of the component that were completed.", components.map {
            .init(["owner": $0.name], UInt64($0.status.moves))
        })
        page.add(.gauge, "component_black_out_seconds", "Time for which nobody served the component in its last move.", components.map {
            .init(["owner": $0.name], ratio: Double($0.status.blackout) / Double(max(identity.clockHertz, 1)))
        })
    }
}
