import AdminProtocol
import OffloadDevice
import Simulation

/// A disk with bursts of requests, whose component the firmware moves by itself, or doesn't (docs/component-migration.md).
public struct PlacementRun {
    /// Who decides about moves, and by what. A constant forecast is one of the first two, whatever the constant.
    public enum Method: String, CaseIterable, Sendable {
        case off = "nobody: it stays on the device"
        case away = "nobody: it stays on the host"
        case reactive = "latest interval (reactive)"
        case lastValue = "forecast: last value alone"
        case average = "forecast: predictors off"
        case predictive = "forecast (predictive)"

        var mode: PlacementParameters.Mode {
            switch self {
            case .off, .away: .off
            case .reactive: .reactive
            case .lastValue, .average, .predictive: .predictive
            }
        }
        /// ``Feature/predictors``.
        var predictors: UInt64 {
            switch self {
            case .lastValue: 1
            case .average: 0
            case .off, .away, .reactive, .predictive: 0x7f
            }
        }
    }

    /// What tells of a burst before it is there.
    public enum Bursts: String, CaseIterable, Sendable {
        case announced = "bursts at irregular times whose rise takes an interval"
        case regular = "bursts every 20 intervals that come at once"
    }

    /// What a run has shown: intervals in which the service cores were busier than they may be, intervals at whose end the component was
    /// away, requests answered, and the firmware's own account.
    public struct Outcome {
        public var overloaded = 0, away = 0, requests = 0
        public var status = PlacementStatus()
    }

    private static let windowCycles: UInt64 = 100_000, windows: UInt64 = 100
    public static var intervalCycles: UInt64 { windowCycles * windows }
    private static let turns = 250
    /// How busy the service cores may be, in 1/1000. In a burst it would be 790 to 960.
    private static let high: UInt16 = 700, low: UInt16 = 400

    let firmware: [UInt8]
    let seed: UInt64
    /// Requests in each interval: few, and a burst of five intervals every now and then.
    public let load: [Int]

    public init(firmware: [UInt8], bursts: Bursts, intervals: Int, seed: UInt64) {
        self.firmware = firmware
        self.seed = seed
        var random = SplitMix64(seed: seed)
        func around(_ value: Int, _ percent: Int) -> Int { value + value * (Int(random.next() % UInt64(2 * percent + 1)) - percent) / 100 }
        var load: [Int] = []
        while load.count < intervals {
            let quiet = bursts == .announced ? around(14, 20) : 15
            for _ in 0..<quiet { load.append(around(300, 20)) }
            if bursts == .announced { load.append(around(1_000, 10)) }
            for _ in 0..<5 { load.append(around(3_500, 10)) }
        }
        self.load = Array(load.prefix(intervals))
    }

    public func run(_ method: Method) throws -> Outcome {
        var description = MachineDescription()
        description.service.cost = 20_000
        let rig = try MoveRig(description, firmware: firmware, depth: 32, seed: seed)
        try rig.startAgent()
        let settings: [(Feature, UInt64)] = [
            (.samplingWindow, Self.windowCycles), (.analysisInterval, Self.windows), (.predictors, method.predictors),
        ]
        for (feature, value) in settings {
            var setting = FeatureValue()
            (setting.feature, setting.value) = (feature.rawValue, value)
            try rig.require(AdminCommand(.setFeature), setting)
        }
        var parameters = PlacementParameters()
        parameters.mode = method.mode.rawValue
        (parameters.highPermille, parameters.lowPermille) = (Self.high, Self.low)
        try rig.require(AdminCommand(.setPlacement), parameters)
        if method == .away { try rig.move(to: .host) }

        var outcome = Outcome()
        var busy = rig.coresBusy
        // Requests that are due and not begun: a driver that finds its queue full submits them later.
        var owed = 0
        for quota in load {
            for turn in 1...Self.turns {
                owed += quota * turn / Self.turns - quota * (turn - 1) / Self.turns
                owed -= try rig.turn(most: owed, cycles: Self.intervalCycles / UInt64(Self.turns))
            }
            let now = rig.coresBusy
            if (now - busy) * 1000 > UInt64(Self.high) * Self.intervalCycles * rig.cores { outcome.overloaded += 1 }
            if rig.stage.location == 1 { outcome.away += 1 }
            busy = now
        }
        while owed > 0 { owed -= try rig.turn(most: owed) }
        try rig.wait(submits: false, "the end of \(rig.load.inFlight) requests") { rig.load.inFlight == 0 }
        outcome.requests = rig.load.acknowledged
        try rig.verify()
        try rig.require(AdminCommand(.getPlacement))
        outcome.status = rig.result()
        return outcome
    }
}
