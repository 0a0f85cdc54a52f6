import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

struct PolicyScores: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "scores", abstract: "Which policy is in force, why, and what is expected of each.",
        discussion: "Utilities are 0...1. What is expected is what the model predicts with what was learned from what was measured.")

    @OptionGroup var device: DeviceOption

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let client = try device.client()
        let status = try client.selection(), policies = try client.policies()
        print(json ? status.json(policies) : status.table(policies))
    }
}

extension SelectionStatus {
    private func rows(_ policies: [PolicyEntry]) -> [(policy: PolicyEntry, entry: SelectionEntry)] {
        policies.filter { (1..<UInt32(Self.entries)).contains($0.number) }.map { ($0, self.policies[Int($0.number)]) }
    }

    func table(_ policies: [PolicyEntry]) -> String {
        func name(_ number: UInt8) -> String { policies.first { $0.number == number }?.text ?? "\(number)" }
        func text(_ utility: UInt16) -> String { decimal(Self.fraction(utility), 3) }
        let head = """
            \(name(selected)) selected, \(name(inForce)) in force: \(reasonText)
            epoch \(epoch): utility \(text(measured)) (latency \(text(latency)), throughput \(text(throughput)), \
            fairness \(text(fairness))), before \(text(measuredBefore))
            \(switches) changes of policy, \(guardRails) by the guard rail, \(undone) epochs undone

            """
        let columns = ["predicted", "expected", "score", "advantage", "epochs", "blocked", "failures"]
        let title = "policy".column(28) + columns.map { $0.column(11, right: true) }.joined()
        let lines = rows(policies).map { policy, entry in
            let mark = entry.flags & SelectionEntry.Flag.inForce != 0 ? " *" : entry.flags & SelectionEntry.Flag.candidate == 0 ? " -" : ""
            let cells = [
                text(entry.predicted), text(entry.expected), text(entry.score), decimal(Double(entry.advantage) / 65_535, 3),
                decimal(Double(entry.experience) / 256, 1), "\(entry.blocked)", "\(entry.failures)",
            ]
            return (policy.text + mark).column(28) + cells.map { $0.column(11, right: true) }.joined()
        }
        return ([head + title] + lines).joined(separator: "\n")
    }

    func json(_ policies: [PolicyEntry]) -> String {
        let entries = rows(policies).map { policy, entry in
            """
            {"number":\(policy.number),"predicted":\(entry.predicted),"expected":\(entry.expected),"score":\(entry.score),\
            "advantage":\(entry.advantage),"experience":\(entry.experience),"blocked":\(entry.blocked),"failures":\(entry.failures),\
            "proof":\(entry.proof),"candidate":\(entry.flags & SelectionEntry.Flag.candidate != 0)}
            """
        }
        return """
            {"selected":\(selected),"inForce":\(inForce),"reason":\(reason),"epoch":\(epoch),"measured":\(measured),\
            "measuredBefore":\(measuredBefore),"latency":\(latency),"throughput":\(throughput),"fairness":\(fairness),\
            "switches":\(switches),"guardRails":\(guardRails),"undone":\(undone),"policies":[\(entries.joined(separator: ","))]}
            """
    }
}

struct PolicyCandidates: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "candidates", abstract: "Set which policies 'adaptive' may choose, uploaded ones when they have proven themselves.")

    @OptionGroup var device: DeviceOption

    @Argument(help: "Names or numbers; all if none is given.")
    var policies: [String] = []

    func run() throws {
        let client = try device.client()
        let choosable: UInt64 = 0b1111_1110
        let bits = try policies.reduce(UInt64(0)) { bits, text in
            let policy = try client.policy(named: text)
            guard choosable >> UInt64(policy.number) & 1 != 0 else { throw UsageError("a policy that divides expected, '\(text)' found") }
            return bits | 1 << UInt64(policy.number)
        }
        try client.setFeature(Feature.candidates.rawValue, to: policies.isEmpty ? choosable : bits)
    }
}
