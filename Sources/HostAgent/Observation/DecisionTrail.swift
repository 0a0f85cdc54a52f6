import AdminProtocol
import Presentation

/// What was decided between looks at the device, and what it was decided on.
public struct DecisionTrail: Sendable {
    public struct Entry: Sendable {
        /// Device cycle of the look that found it.
        public let cycle: UInt64
        public let text: String
    }

    /// The oldest first.
    public private(set) var entries: [Entry] = []
    private static let most = 200

    public init() {}

    /// Notes what has changed from one look to the next.
    public mutating func note(from before: Observation, to now: Observation) {
        if let old = before.policy, let new = now.policy, old.number != new.number {
            add(now, "policy \(old.text) -> \(new.text): \(now.selection.reasonText)")
        }
        if now.selection.undone != before.selection.undone { add(now, "the latest changes made things worse and are undone") }
        for policy in now.policies {
            let faults = before.policies.first { $0.number == policy.number }?.faults ?? 0
            if policy.faults != faults { add(now, "policy \(policy.text): its program was ended") }
        }
        for owner in now.owners {
            let earlier = before.owners.first { $0.number == owner.number }
            noteAllocation(of: owner, before: earlier?.allocation ?? Allocation(), now)
            noteComponent(of: owner, before: earlier?.component, now)
        }
    }

    private mutating func add(_ now: Observation, _ text: String) {
        entries.append(Entry(cycle: now.statistics.cycle, text: text))
        if entries.count > Self.most { entries.removeFirst(entries.count - Self.most) }
    }

    private mutating func noteAllocation(of owner: Observation.Owner, before: Allocation, _ now: Observation) {
        let after = owner.allocation
        var changes: [String] = []
        func compare(_ name: String, _ part: (Allocation) -> some BinaryInteger, _ text: (Int) -> String = { "\($0)" }) {
            let (old, new) = (Int(part(before)), Int(part(after)))
            if old != new { changes.append("\(name) \(text(old)) -> \(text(new))") }
        }
        compare("share", { $0.guaranteePermille }, { percent($0) })
        compare("weight", { $0.weight })
        compare("limit", { $0.limit }, { $0 == 0 ? "none" : "\($0) MB/s" })
        compare("cores", { $0.serviceCores })
        compare("blocks", { $0.memoryBlocks })
        compare("GPU", { $0.gpuSlots })
        compare("FPGA", { $0.fpgaSlots })
        guard !changes.isEmpty else { return }
        var reasons = ["demand \(owner.statistics.demand) MB/s"]
        if let analysis = owner.analysis, analysis.bottleneck != 0 {
            reasons.append("held up by \(analysis.bottleneckText)" + (analysis.evidence.map { " \(percent($0))" } ?? ""))
        }
        if after.flags & Allocation.pinned != 0 { reasons = ["set by hand"] }
        add(now, "\(OwnerFigures.name(owner.number)) \(changes.joined(separator: ", ")): \(reasons.joined(separator: ", "))")
    }

    private mutating func noteComponent(of owner: Observation.Owner, before: ComponentStatus?, _ now: Observation) {
        guard let before, let after = owner.component, before.moves != after.moves || before.outcome != after.outcome else { return }
        add(now, "\(OwnerFigures.name(owner.number)) component at \(after.placeText): move \(after.outcomeText)")
    }
}
