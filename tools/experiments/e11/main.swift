import AdminProtocol
import ComponentLoad
import Glibc
import Histogram
import Simulation

// E11: a loaded disk moves between device and host, with a failure in each stage (docs/component-migration.md).
//
//     component-moves [FIRMWARE [MOVES [SEED]]]

/// What goes wrong in a move.
enum Failure: String, CaseIterable {
    case none = "nothing"
    case agentBeforeDraft = "agent ends: draft to check"
    case agentBeforeActivation = "agent ends: image to take in"
    case agentAtStart = "agent ends: first request"
    case agentServing = "agent ends: effect on the medium, no answer yet"
    case agentBeforeStop = "agent ends: asked to stop"
    case agentInTransit = "agent ends: image on its way back"
    case linkDraft = "link cut: draft"
    case linkReturn = "link cut: image on its way back"
    case imageThere = "image damaged: to the host"
    case imageBack = "image damaged: to the device"
    case firmware = "firmware restarts in mid-move"

    /// Where the component is when the move begins.
    var origin: ComponentPlace {
        switch self {
        case .agentServing, .agentBeforeStop, .agentInTransit, .linkReturn, .imageBack: .host
        default: .device
        }
    }
}

struct Experiment {
    let firmware: [UInt8]
    let moves: Int
    let seed: UInt64

    func makeRig(_ salt: UInt64) throws -> MoveRig {
        let rig = try MoveRig(firmware: firmware, depth: 16, seed: seed &+ salt)
        try rig.startAgent()
        for _ in 0..<20 { try rig.turn() }
        return rig
    }

    /// Brings the world to where a move can begin.
    func settle(_ rig: MoveRig, at place: ComponentPlace) throws {
        rig.endsAgent = { false }
        rig.cutLink(false)
        if rig.agent == nil { try rig.startAgent() }
        try rig.wait("a component that runs") { rig.stage.state == 1 }
        if (rig.stage.location == 1) != (place == .host) { try rig.move(to: place) }
        for _ in 0..<3 { try rig.turn() }
    }

    /// One move with a failure.
    /// - Returns: whether the failure came about.
    func fail(_ failure: Failure, _ rig: MoveRig, _ random: inout SplitMix64) throws -> Bool {
        try settle(rig, at: failure.origin)
        let destination: ComponentPlace = failure.origin == .host ? .device : .host
        var hasFailed = false
        /// Ends the agent at its next action in a stage.
        func end(in stage: @escaping ((state: UInt32, location: UInt32, request: UInt32)) -> Bool) {
            rig.endsAgent = {
                guard stage(rig.stage) else { return false }
                hasFailed = true
                return true
            }
        }
        switch failure {
        case .none: break
        case .agentBeforeDraft: end { $0.request == 1 }
        case .agentBeforeActivation: end { $0.state == 5 }
        case .agentAtStart: end { $0 == (1, 1, 2) }
        case .agentServing:
            var left = Int.random(in: 0..<40, using: &random)
            end { stage in
                left -= 1
                return stage.state == 1 && left < 0
            }
            try rig.wait("the agent's end") { hasFailed }
        case .agentBeforeStop: end { $0.request == 3 }
        case .agentInTransit, .imageThere, .imageBack, .firmware: break
        case .linkDraft, .linkReturn: rig.cutLink(true)
        }
        if failure != .agentServing { guard rig.ask(for: destination) == .ok else { return false } }
        switch failure {
        case .agentInTransit:
            hasFailed = try watch(rig) { $0.state == 4 && $0.location == 1 }
            if hasFailed { rig.killAgent() }
        case .linkDraft, .linkReturn:
            for _ in 0..<5 { try rig.turn() }
            hasFailed = (rig.stage.location == 1) == (failure.origin == .host)
            rig.cutLink(false)
        case .imageThere:
            hasFailed = try watch(rig) { $0.request == 1 || $0.state == 5 }
            if hasFailed { rig.damageImage(at: random.next()) }
        case .imageBack:
            // Between the agent's writing and the firmware's checking.
            rig.damagesReturn = true
            hasFailed = true
        case .firmware:
            for _ in 0..<Int.random(in: 0..<6, using: &random) { try rig.turn(cycles: 300) }
            try rig.restartFirmware()
            hasFailed = true
        default: break
        }
        try rig.wait("the end of a move (\(failure.rawValue))") { rig.stage.state == 1 && rig.status().outcome != 2 }
        rig.damagesReturn = false
        for _ in 0..<3 { try rig.turn() }
        return failure == .none || hasFailed
    }

    /// Waits for a stage in small steps; false if the move ends without it.
    private func watch(_ rig: MoveRig, _ stage: ((state: UInt32, location: UInt32, request: UInt32)) -> Bool) throws -> Bool {
        for _ in 0..<20_000 {
            if stage(rig.stage) { return true }
            rig.machine.advance(by: 50)
            if stage(rig.stage) { return true }
            try rig.load.pump()
            try rig.stepAgent(limit: 1)
        }
        return false
    }

    // MARK: Parts

    func storm(_ failure: Failure) throws {
        let rig = try makeRig(UInt64(Failure.allCases.firstIndex(of: failure)! + 1) << 32)
        var random = SplitMix64(seed: seed ^ 0x9e37)
        var injected = 0, tries = 0
        while injected < moves, tries < 4 * moves {
            tries += 1
            if try fail(failure, rig, &random) { injected += 1 }
            if tries % 100 == 0 { try rig.verify() }
        }
        try settle(rig, at: .device)
        try rig.verify()
        print(pad(failure.rawValue, 50), pad("\(injected)", 7), pad("\(rig.load.acknowledged)", 9), "0")
        fflush(nil)
        guard injected >= moves else { throw DiskLoad.Fault(description: "\(failure.rawValue): \(injected) of \(moves) came about") }
    }

    func blackouts(stopAndCopy: Bool) throws -> Histogram<UInt64> {
        let rig = try makeRig(stopAndCopy ? 3 : 5)
        var histogram = Histogram<UInt64>(highestTrackableValue: 1 << 40, numberOfSignificantValueDigits: .three)
        for _ in 0..<moves {
            // A process that has served the component before has its medium open: every move meets a new one.
            rig.killAgent()
            try settle(rig, at: .device)
            histogram.record(UInt64(try rig.move(to: .host, stopAndCopy: stopAndCopy).blackout))
            for _ in 0..<5 { try rig.turn() }
        }
        try rig.verify()
        return histogram
    }

    /// Ten times as many moves: nothing is left behind, and nothing lost.
    func holdings() throws {
        let held = try makeRig(7).moveForever(10 * moves)
        print("\(10 * moves) moves: the same is held as after the first\n  on the device \(held.device)\n  on the host \(held.host)")
    }

    func run() throws {
        try holdings()
        print("")
        print(pad("failure", 50), pad("moves", 7), pad("requests", 9), "lost or done twice")
        for failure in Failure.allCases { try storm(failure) }
        print("")
        let live = try blackouts(stopAndCopy: false), stopped = try blackouts(stopAndCopy: true)
        for (name, histogram) in [("live", live), ("stop-and-copy", stopped)] {
            let values = [50.0, 99, 100].map { "\(histogram.valueAtPercentile($0))" }
            print("black-out, \(name): p50 \(values[0]), p99 \(values[1]), greatest \(values[2]) cycles")
        }
        let ratio = Double(live.valueAtPercentile(99)) / Double(stopped.valueAtPercentile(99))
        print("p99, live over stop-and-copy: \(Double(Int(ratio * 1000)) / 1000)")
        guard ratio <= 0.25 else { throw DiskLoad.Fault(description: "a quarter at most expected, \(ratio) found") }
    }

    private func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
}

do {
    let moves = argument(2, default: 1000), seed = argument(3, default: 11 as UInt64)
    try Experiment(firmware: try firmwareFile(), moves: moves, seed: seed).run()
} catch {
    print("component-moves: \(error)")
    exit(1)
}
