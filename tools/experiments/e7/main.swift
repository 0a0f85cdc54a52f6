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

/// Targets that were missed.
nonisolated(unsafe) var missed: [String] = []
func require(_ isReached: Bool, _ target: String) { if !isReached { missed.append(target) } }

guard CommandLine.arguments.count <= 2 else {
    FileHandle.standardError.write(Data("usage: channel-sharing [TRACE.vscsi]\n".utf8))
    exit(64)
}
do {
    objectives()
    hostility()
    phases()
    if CommandLine.arguments.count == 2 { sharing(try RecordedTrace(contentsOf: CommandLine.arguments[1])) }
} catch {
    FileHandle.standardError.write(Data("channel-sharing: \(error)\n".utf8))
    exit(1)
}
for target in missed { print("missed: \(target)") }
exit(missed.isEmpty ? 0 : 1)
