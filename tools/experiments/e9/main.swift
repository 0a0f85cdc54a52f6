import ComponentLoad
import Glibc

// E9: a component leaves the device before, or after, its service cores get too busy (docs/component-migration.md).
//
//     component-placement [FIRMWARE [INTERVALS [SEED]]]

private func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }

private func compare(_ run: PlacementRun, _ title: String) throws {
    print("\(title): \(run.load.count) intervals of \(PlacementRun.intervalCycles / 1_000_000) ms")
    print(pad("decided by", 32), pad("overloaded", 11), pad("away", 6), pad("moves", 6), pad("ahead", 6), pad("late", 5), "latest lead")
    var outcomes: [PlacementRun.Method: PlacementRun.Outcome] = [:]
    for method in PlacementRun.Method.allCases {
        let outcome = try run.run(method), status = outcome.status
        outcomes[method] = outcome
        print(pad(method.rawValue, 32), pad("\(outcome.overloaded)", 11), pad("\(outcome.away)", 6),
              pad("\(status.movesOut + status.movesHome)", 6), pad("\(status.ahead)", 6), pad("\(status.late)", 5), "\(status.lead) us")
        fflush(nil)
    }
    guard let early = outcomes[.predictive], let late = outcomes[.reactive], early.overloaded < late.overloaded, early.status.ahead > 0,
        early.status.lead > 0
    else { throw DiskLoad.Fault(description: "less time overloaded than by the latest interval, and a lead, expected") }
}

do {
    let firmware = try firmwareFile()
    let intervals = argument(2, default: 400), seed = argument(3, default: 9 as UInt64)
    for bursts in PlacementRun.Bursts.allCases {
        try compare(PlacementRun(firmware: firmware, bursts: bursts, intervals: intervals, seed: seed), "seed \(seed), \(bursts.rawValue)")
    }
} catch {
    print("component-placement: \(error)")
    exit(1)
}
