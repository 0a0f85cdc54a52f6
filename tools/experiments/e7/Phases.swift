import AdminProtocol
import PolicyEngine
import Simulation

/// Eight loads, one after the other: what `adaptive` loses by learning, and what it gains over any policy that stays.
func phases() {
    let phase = 4 * second, length = phase * Cycle(Mix.allCases.count)
    let clients = Mix.allCases.enumerated().flatMap { number, mix in
        mix.clients(from: Cycle(number) * phase, to: Cycle(number + 1) * phase, seed: UInt64(number + 1))
    }
    print("\nUtility that the firmware measures, in phases of 4 s; epochs in which it is more than 5 % below fair's at that time, of 400")
    for (number, mix) in Mix.allCases.enumerated() { print("phase \(number + 1): \(mix.rawValue)") }
    print(pad("policy", 18), (1...8).map { number(Double($0), 0, width: 7) }.joined(), "   mean  below undone guard switches")
    var fallback: [Run.Epoch] = []
    var rows: [(means: [Double], mean: Double, below: Int)] = []
    for (policy, name) in policies {
        let run = Run(clients, policy: policy, idleWindows: 100)
        run.run(for: length)
        if policy == PolicyNumber.fair { fallback = run.epochs }
        let means = (0..<Mix.allCases.count).map { number in
            mean(run.epochs.filter { ($0.end - 1) / phase == Cycle(number) }.map(\.utility))
        }
        // Epochs are of the same length, whatever the policy.
        let below = zip(run.epochs, fallback).count { $0.utility < 0.95 * $1.utility }
        rows.append((means, mean(run.epochs.map(\.utility)), below))
        print(
            pad(name, 18), means.map { number($0, 3, width: 7) }.joined(), number(rows.last!.mean, 3, width: 7),
            number(Double(below), 0, width: 6), run.events)
    }
    let fixed = rows.dropLast(), adaptive = rows.last!
    let best = fixed.map(\.mean).max()!
    let hindsight = adaptive.means.indices.map { number in fixed.map { $0.means[number] }.max()! }
    print(
        "adaptive:", number(100 * (adaptive.mean / best - 1), 1), "% above the best fixed policy,",
        number(100 * (1 - adaptive.mean / mean(hindsight)), 1), "% below the best one of each phase")
    require(adaptive.mean > best, "adaptive is better than the best fixed policy")
    require(adaptive.mean >= 0.9 * mean(hindsight), "adaptive is within 10 % of the best policy of each phase")
    require(adaptive.below <= 4, "adaptive is below the fallback in at most 1 % of epochs")
}

private func mean(_ values: [Double]) -> Double { values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count) }
