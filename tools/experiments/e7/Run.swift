import AdminProtocol
import OffloadManager
import PolicyEngine
import Simulation

/// What the needs of the policies are made of.
enum Forecasting: String, CaseIterable {
    case off = "predictors off", all = "all predictors", last = "last value", constant = "constant"
}

/// Virtual machines on the channel, with the firmware's policy engine, and what became of them.
final class Run {
    struct Owner {
        var latencies: [UInt32] = []
        var bytes: UInt64 = 0
        /// Cycles for which it has occupied the channel.
        var cycles: Cycle = 0
        /// Bytes in each tenth of a second.
        var tenths: [UInt64] = []
        var unserved: UInt32 = 0
    }

    private(set) var owners = [Owner](repeating: Owner(), count: 65)
    typealias Epoch = (end: Cycle, utility: Double, policy: UInt32)
    /// What the firmware measured at the end of each epoch, 0...1, and the policy that was in force.
    private(set) var epochs: [Epoch] = []
    private(set) var selection = PolicySelection()

    private let channel = Channel()
    private let clients: [(owner: Int, client: Client)]
    private var engine: PolicyEngine
    private let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 21, alignment: 8)
    private var window = [Window](repeating: Window(), count: 65)
    private var predictor: DemandPredictor
    private let forecasting: Forecasting
    private var interval = [Window](repeating: Window(), count: 65)
    private var totals = [Window](repeating: Window(), count: 65)

    private struct Window {
        var bytes: UInt64 = 0
        var requests: UInt32 = 0
        var buckets = [UInt32](repeating: 0, count: 40)
    }

    /// - Parameters:
    ///   - tune: changes the engine before it begins.
    init(
        _ clients: Clients, policy: UInt32, forecasting: Forecasting = .off, idleWindows: UInt16 = 10_000,
        tune: (inout PolicyEngine) -> Void = { _ in }
    ) {
        self.clients = clients
        self.forecasting = forecasting
        var arena = Arena(memory)
        engine = PolicyEngine(in: &arena)
        predictor = DemandPredictor(owners: 65, in: &arena)
        predictor.use(forecasting == .last ? PredictorSet(.last) : .all)
        var parameters = PolicyParameters()
        parameters.policy = policy
        parameters.idleWindows = idleWindows
        if forecasting == .off { parameters.flags = PolicyParameters.ignoresForecasts }
        tune(&engine)
        engine.configure(parameters, linkBytes: Channel.bytesPerMicrosecond * 1000)
    }

    deinit { memory.deallocate() }

    func run(for length: Cycle) {
        channel.completion = { [unowned self] request, cycle in completed(request, cycle, length) }
        var open: [(owner: Int, requests: [(cycle: Cycle, bytes: UInt32)], next: Int)] = []
        var starts: [(depth: Int, request: Channel.Request)] = []
        for (owner, client) in clients {
            switch client {
            case .open(let requests): open.append((owner, requests, 0))
            case .closed(let depth, let bytes, let from, let to):
                starts.append((depth, .init(owner: owner, bytes: bytes, arrival: from, repeatsUntil: to)))
            }
        }
        var now: Cycle = 0
        while now < length {
            let end = now + 1000 * Channel.cyclesPerMicrosecond
            // What arrives in this window, in the order of time.
            var arrivals: [Channel.Request] = []
            for place in open.indices {
                while open[place].next < open[place].requests.count, open[place].requests[open[place].next].cycle < end {
                    let request = open[place].requests[open[place].next]
                    arrivals.append(.init(owner: open[place].owner, bytes: request.bytes, arrival: request.cycle))
                    open[place].next += 1
                }
            }
            for start in starts where start.request.arrival >= now && start.request.arrival < end {
                arrivals += Array(repeating: start.request, count: start.depth)
            }
            arrivals.sort { ($0.arrival, $0.owner) < ($1.arrival, $1.owner) }
            for request in arrivals {
                channel.scheduler.advance(to: request.arrival)
                channel.submit(request)
            }
            channel.scheduler.advance(to: end)
            now = end
            endWindow(now)
        }
        for owner in 0..<65 { owners[owner].unserved = channel.depth[owner] }
        selection = engine.selection
    }

    private func completed(_ request: Channel.Request, _ cycle: Cycle, _ length: Cycle) {
        let latency = cycle - request.arrival, owner = request.owner
        window[owner].bytes += UInt64(request.bytes)
        window[owner].requests += 1
        window[owner].buckets[63 - max(latency, 1).leadingZeroBitCount] += 1
        owners[owner].latencies.append(UInt32(clamping: latency / Channel.cyclesPerMicrosecond))
        owners[owner].bytes += UInt64(request.bytes)
        owners[owner].cycles += Channel.cycles(request.bytes)
        let tenth = Int(cycle / (second / 10))
        while owners[owner].tenths.count <= tenth { owners[owner].tenths.append(0) }
        owners[owner].tenths[tenth] += UInt64(request.bytes)
        guard request.repeatsUntil > cycle else { return }
        var next = request
        next.arrival = cycle
        channel.submit(next)
    }

    private func endWindow(_ now: Cycle) {
        var active = OwnerSet()
        for owner in 0..<65 where window[owner].requests != 0 || channel.depth[owner] != 0 {
            let sum = window[owner]
            // The smallest bucket that has 99 of 100 requests with those below it.
            var below: UInt32 = 0
            let bucket = sum.requests == 0 ? 0 : sum.buckets.firstIndex { count in
                below += count
                return below * 100 >= sum.requests * 99
            }!
            let sample = OwnerSample(
                bytes: UInt32(clamping: sum.bytes), requests: sum.requests, depth: channel.depth[owner], latencyBucket: UInt8(bucket))
            engine.add(sample, of: owner)
            active.insert(owner)
            interval[owner].bytes += sum.bytes
            interval[owner].requests += sum.requests
            window[owner] = Window()
        }
        if now % second == 0 { endInterval() }
        guard engine.endWindow(active: active) else { return }
        engine.predictResourceNeeds()
        let epoch = engine.selection.epoch, inForce = engine.selection.inForce
        let policy = engine.selectBestPolicy(engine.getAvailablePolicies())
        let change = engine.calculateNewAllocation(policy).change
        if engine.selection.epoch != epoch {
            epochs.append((now, Double(engine.selection.measured) / Double(Utility.one), inForce))
        }
        guard change > UInt32(engine.parameters.hysteresisPermille) else { return engine.left() }
        engine.committed()
        channel.commit((0..<65).map { (engine.share(of: $0), engine.contexts[$0][.boost]) })
    }

    /// What is forecast of the next second, as the firmware's analysis does it.
    private func endInterval() {
        for owner in 0..<65 {
            let sum = interval[owner]
            interval[owner] = Window()
            totals[owner].bytes += sum.bytes
            totals[owner].requests += 1
            guard totals[owner].bytes != 0 else { continue }
            switch forecasting {
            case .off: break
            case .constant:
                // What the owner has moved so far, evenly.
                let mean = UInt32(clamping: totals[owner].bytes / UInt64(totals[owner].requests) / 1000)
                engine.setForecast(DemandForecast(bytes: mean, bytesHigh: mean), of: owner)
            case .all, .last:
                var levels = InlineArray<3, Int32>(repeating: 0)
                levels[0] = Level.of(UInt64(sum.requests), unit: DemandMetric.requests.unit)
                levels[1] = Level.of(sum.bytes, unit: DemandMetric.readBytes.unit)
                predictor.observe(levels, of: owner)
                let forecast = predictor.forecast(of: owner, .readBytes)
                func bytes(_ level: Int32) -> UInt32 { UInt32(clamping: Level.amount(level, unit: DemandMetric.readBytes.unit) / 1000) }
                engine.setForecast(DemandForecast(bytes: bytes(forecast.expected), bytesHigh: bytes(forecast.high)), of: owner)
            }
        }
    }
}

extension Run.Owner {
    /// In milliseconds.
    func percentile(_ part: Double) -> Double {
        guard !latencies.isEmpty else { return 0 }
        let sorted = latencies.sorted()
        return Double(sorted[min(Int(Double(sorted.count) * part), sorted.count - 1)]) / 1000
    }
}

extension Run {
    /// MiB/s of the one of some owners that moved least in any tenth of a second.
    func least(of some: [Int], _ length: Cycle) -> Double {
        let tenth = second / 10, count = Int(length / tenth)
        return mebibytes(some.map { owners[$0].tenths.count < count ? 0 : owners[$0].tenths.prefix(count).min()! }.min()!, tenth)
    }

    /// How often harm was undone, the fallback took over, and the policy changed.
    var events: String { [selection.undone, selection.guardRails, selection.switches].map { number(Double($0), 0, width: 6) }.joined() }
}
