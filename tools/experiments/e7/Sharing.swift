import AdminProtocol
import PolicyEngine
import RecordedTrace
import Simulation

/// A minute of six replayed virtual machines, ten times as fast as recorded, of which three are light, and of two that always have 32
/// requests of 128 KiB in flight: owners 1...6, 7 and 8.
func sharing(_ trace: RecordedTrace) {
    let starts: [UInt64] = [1200, 1800, 5400, 0, 3600, 600], length = 60 * second
    let replayed = starts.enumerated().map { (owner: $0 + 1, client: Client.replay(trace, from: $1)) }
    let clients = replayed + [7, 8].map { ($0, .closed(depth: 32, bytes: 131_072, from: 0, to: length)) }
    print("\n60 s of a shared channel. Latency of the six, p99 of the light three, ms; MiB/s of the batch, least of one of them in 100 ms")
    print(pad("policy", 34), "     p50      p99     light 1  light 2 light 3   batch   least undone guard switches")
    func row(_ name: String, _ policy: UInt32, _ forecasting: Forecasting) -> (light: Double, batch: Double, least: Double) {
        let run = Run(clients, policy: policy, forecasting: forecasting)
        run.run(for: length)
        let all = Run.Owner(latencies: (1...6).flatMap { run.owners[$0].latencies })
        let light = (4...6).map { run.owners[$0].percentile(0.99) }
        let batch = mebibytes(run.owners[7].bytes + run.owners[8].bytes, length), least = run.least(of: [7, 8], length)
        print(
            pad(name, 34), number(all.percentile(0.5)), number(all.percentile(0.99)), light.map { number($0) }.joined(), number(batch, 0),
            number(least, 0), run.events)
        return (light.max()!, batch, least)
    }
    for (policy, name) in policies {
        let (light, batch, least) = row(name, policy, .off)
        guard policy == PolicyNumber.latencyFirst else { continue }
        require(light <= 0.6, "light owners' p99 of at most 0.6 ms with latency-first")
        require(batch >= 1520 && least >= 500, "a batch of at least 1,520 MiB/s with latency-first, of which each has 500 at any time")
    }
    for policy in [PolicyNumber.latencyFirst, PolicyNumber.adaptive] {
        for forecasting in Forecasting.allCases {
            _ = row("\(policies.first { $0.number == policy }!.name), \(forecasting.rawValue)", policy, forecasting)
        }
    }
}

/// Preference for small requests doesn't starve anybody: eight owners that never have fewer than 64 requests of 4 KiB waiting.
func hostility() {
    let length = 5 * second
    let clients: Clients = (1...8).map { ($0, .closed(depth: 64, bytes: 4096, from: 0, to: length)) }
        + [9, 10].map { ($0, .closed(depth: 32, bytes: 131_072, from: 0, to: length)) }
    print("\nTwo batch owners beside eight floods of 4 KiB: MiB/s, least of one of them in 100 ms")
    for (policy, name) in policies {
        let run = Run(clients, policy: policy)
        run.run(for: length)
        let least = run.least(of: [9, 10], length)
        print(pad(name, 20), number(mebibytes(run.owners[9].bytes + run.owners[10].bytes, length), 1), number(least, 1))
        require(least >= 10, "10 MiB/s at any time beside floods with \(name)")
    }
}
