// E7: one channel for virtual machines that wait and others that work through (docs/partitioning.md).
import AdminProtocol
import Foundation
import PolicyEngine
import RecordedTrace
import Simulation

typealias Clients = [(owner: Int, client: Client)]

let policies: [(number: UInt32, name: String)] = [
    (PolicyNumber.fair, "fair"), (PolicyNumber.latencyFirst, "latency-first"), (PolicyNumber.throughputFirst, "throughput-first"),
    (PolicyNumber.adaptive, "adaptive"),
]

func pad(_ text: String, _ width: Int) -> String { text + String(repeating: " ", count: max(1, width - text.count)) }
func number(_ value: Double, _ digits: Int = 2, width: Int = 8) -> String {
    let text = String(format: "%.\(digits)f", value)
    return String(repeating: " ", count: max(1, width - text.count)) + text
}
func mebibytes(_ bytes: UInt64, _ length: Cycle) -> Double { Double(bytes) / 1_048_576 / (Double(length) / Double(second)) }

/// Six replayed virtual machines, ten times as fast as recorded, of which three are light, and two that always have 32 requests of 128 KiB
/// in flight: owners 1...6, 7 and 8.
func shared(_ trace: RecordedTrace) -> Clients {
    let starts: [UInt64] = [1200, 1800, 5400, 0, 3600, 600]
    let replayed = starts.enumerated().map { (owner: $0 + 1, client: Client.replay(trace, from: $1)) }
    return replayed + [7, 8].map { ($0, .closed(depth: 32, bytes: 131_072, from: 0, to: 60 * second)) }
}

func row(_ name: String, _ run: Run, _ length: Cycle) {
    let all = Run.Owner(latencies: (1...6).flatMap { run.owners[$0].latencies })
    let light = (4...6).map { number(run.owners[$0].percentile(0.99)) }.joined()
    let batch = mebibytes(run.owners[7].bytes + run.owners[8].bytes, length)
    // The starvation guard: the least that one of the two moved in a tenth of a second.
    let least = [7, 8].map { run.owners[$0].tenths.prefix(Int(length / (second / 10))).min() ?? 0 }.min()!
    let counts = [run.selection.undone, run.selection.guardRails, run.selection.switches].map { number(Double($0), 0, width: 6) }.joined()
    print(
        pad(name, 34), number(all.percentile(0.5)), number(all.percentile(0.99)), light, number(batch, 0),
        number(mebibytes(least, second / 10), 0), counts)
}

func channel(_ clients: Clients) {
    print("\n60 s of a shared channel. Latency of the six, p99 of the light three, ms; MiB/s of the batch, least of one of them in 100 ms")
    print(pad("policy", 34), "     p50      p99     light 1  light 2 light 3   batch   least undone guard switches")
    for (policy, name) in policies {
        let run = Run(clients, policy: policy)
        run.run(for: 60 * second)
        row(name, run, 60 * second)
    }
    for forecasting in Forecasting.allCases {
        let run = Run(clients, policy: PolicyNumber.latencyFirst, forecasting: forecasting)
        run.run(for: 60 * second)
        row("latency-first, \(forecasting.rawValue)", run, 60 * second)
    }
}

guard CommandLine.arguments.count == 2 else {
    FileHandle.standardError.write(Data("usage: channel-sharing TRACE.vscsi\n".utf8))
    exit(64)
}
do {
    let trace = try RecordedTrace(contentsOf: CommandLine.arguments[1])
    channel(shared(trace))
} catch {
    FileHandle.standardError.write(Data("channel-sharing: \(error)\n".utf8))
    exit(1)
}
