import AdminProtocol
import ComponentLoad
import Glibc
import Simulation

// E9: a component leaves the device before, or after, its service cores get too busy (docs/component-migration.md).
//
//     component-placement [FIRMWARE [INTERVALS [SEED]]]

/// Who decides about moves, and by what.
enum Method: String, CaseIterable {
    case off = "nobody"
    case reactive = "latest interval (reactive)"
    case lastValue = "forecast: last value alone"
    case average = "forecast: predictors off"
    case predictive = "forecast (predictive)"

    var mode: PlacementParameters.Mode {
        switch self {
        case .off: .off
        case .reactive: .reactive
        case .lastValue, .average, .predictive: .predictive
        }
    }
    /// Feature 3.
    var predictors: UInt64 {
        switch self {
        case .lastValue: 1
        case .average: 0
        case .off, .reactive, .predictive: 0x7f
        }
    }
}

/// What one run has shown.
struct Outcome {
    var overloaded = 0, away = 0
    var status = PlacementStatus()
    var requests = 0
}

struct Experiment {
    static let windowCycles: UInt64 = 100_000, windows: UInt64 = 100
    static var intervalCycles: UInt64 { windowCycles * windows }
    static let turns = 250
    /// Of the service cores, in 1/1000.
    static let high: UInt16 = 100, low: UInt16 = 60

    let firmware: [UInt8]
    let intervals: Int
    let seed: UInt64

    /// Requests in each interval: little, and a burst every now and then, whose rise takes an interval. Neither period nor height is exact.
    var load: [Int] {
        var random = SplitMix64(seed: seed)
        func around(_ value: Int, _ percent: Int) -> Int { value + value * (Int(random.next() % UInt64(2 * percent + 1)) - percent) / 100 }
        var load: [Int] = []
        while load.count < intervals {
            for _ in 0..<14 { load.append(around(300, 20)) }
            load.append(around(1_000, 10))
            for _ in 0..<5 { load.append(around(3_500, 10)) }
        }
        return Array(load.prefix(intervals))
    }

    func run(_ method: Method) throws -> Outcome {
        let rig = try MoveRig(firmware: firmware, depth: 32, seed: seed)
        try rig.startAgent()
        for (number, value) in [(2, Self.windowCycles), (4, Self.windows), (3, method.predictors)] as [(UInt32, UInt64)] {
            var feature = FeatureValue()
            (feature.feature, feature.value) = (number, value)
            guard rig.command(AdminCommand(.setFeature), feature) == .ok else {
                throw DiskLoad.Fault(description: "feature \(number): refused")
            }
        }
        var parameters = PlacementParameters()
        parameters.mode = method.mode.rawValue
        (parameters.highPermille, parameters.lowPermille) = (Self.high, Self.low)
        guard rig.command(AdminCommand(.setPlacement), parameters) == .ok else { throw DiskLoad.Fault(description: "placement: refused") }

        var outcome = Outcome()
        var busy = rig.coresBusy
        for quota in load {
            var begun = 0
            for turn in 1...Self.turns {
                let due = quota * turn / Self.turns - begun
                begun += try rig.turn(most: due, cycles: Self.intervalCycles / UInt64(Self.turns))
            }
            let now = rig.coresBusy
            if (now - busy) * 1000 > UInt64(Self.high) * Self.intervalCycles * rig.cores { outcome.overloaded += 1 }
            if rig.stage.location == 1 { outcome.away += 1 }
            busy = now
        }
        try rig.verify()
        guard rig.command(AdminCommand(.getPlacement)) == .ok else { throw DiskLoad.Fault(description: "placement: no status") }
        outcome.status = rig.result()
        outcome.requests = rig.load.acknowledged
        return outcome
    }

    func printAll() throws {
        print("seed \(seed): \(intervals) intervals of \(Self.intervalCycles / 1_000_000) ms")
        print(pad("decided by", 30), pad("overloaded", 11), pad("away", 6), pad("moves", 6), pad("ahead", 6), pad("late", 5), "latest lead")
        var outcomes: [Method: Outcome] = [:]
        for method in Method.allCases {
            let outcome = try run(method), status = outcome.status
            outcomes[method] = outcome
            print(pad(method.rawValue, 30), pad("\(outcome.overloaded)", 11), pad("\(outcome.away)", 6),
                  pad("\(status.movesOut + status.movesHome)", 6), pad("\(status.ahead)", 6), pad("\(status.late)", 5), "\(status.lead) us")
            fflush(nil)
        }
        guard let early = outcomes[.predictive], let late = outcomes[.reactive], early.overloaded < late.overloaded, early.status.ahead > 0,
            early.status.lead > 0
        else { throw DiskLoad.Fault(description: "less time overloaded than by the latest interval, and a lead, expected") }
    }

    private func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
}

do {
    let intervals = argument(2, default: 400), seed = argument(3, default: 9 as UInt64)
    try Experiment(firmware: try firmwareFile(), intervals: intervals, seed: seed).printAll()
} catch {
    print("component-placement: \(error)")
    exit(1)
}
