import AdminProtocol
import Simulation

/// Each policy by what it is for, on a load on which they differ: light owners; one that asks again as soon as it is answered; two that
/// always have requests of 32 KiB waiting, and two of 128 KiB.
func objectives() {
    let length = 10 * second
    var clients: Clients = (1...3).map { owner in
        (owner, .bursts(60, of: 1...24, bytes: 4096, from: 0, to: length, seed: UInt64(owner)))
    }
    clients.append((4, .closed(depth: 8, bytes: 4096, from: 0, to: length)))
    for (owner, bytes) in [(5, 32_768), (6, 32_768), (7, 131_072), (8, 131_072)] as [(Int, UInt32)] {
        clients.append((owner, .closed(depth: 32, bytes: bytes, from: 0, to: length)))
    }
    print("p99 of the worst of three light owners, ms; MiB/s of all; Jain's index of the channel's time for the other five")
    print(pad("policy", 20), " latency  throughput  fairness")
    let policies = Array(policies.prefix(3))
    let figures = policies.map { policy, name in
        let run = Run(clients, policy: policy)
        run.run(for: length)
        let latency = (1...3).map { run.owners[$0].percentile(0.99) }.max()!
        let throughput = mebibytes(run.owners.reduce(0) { $0 + $1.bytes }, length)
        let fairness = jain((4...8).map { Double(run.owners[$0].cycles) })
        print(pad(name, 20), number(latency), number(throughput, 1, width: 11), number(fairness, 3, width: 9))
        return (latency, throughput, fairness)
    }
    let (fair, latencyFirst, throughputFirst) = (figures[0], figures[1], figures[2])
    require(latencyFirst.0 < min(fair.0, throughputFirst.0), "latency-first has the best latency")
    require(throughputFirst.1 > max(fair.1, latencyFirst.1), "throughput-first has the best throughput")
    require(fair.2 > max(latencyFirst.2, throughputFirst.2), "fair has the best fairness")
}

/// 1: all alike; 1/n: one has everything.
private func jain(_ values: [Double]) -> Double {
    let sum = values.reduce(0, +), squares = values.reduce(0) { $0 + $1 * $1 }
    return squares == 0 ? 1 : sum * sum / (Double(values.count) * squares)
}
