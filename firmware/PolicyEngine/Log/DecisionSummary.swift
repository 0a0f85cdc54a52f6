#if !hasFeature(Embedded)
import AdminProtocol

/// What people want to know of a recorded decision.
public struct DecisionSummary: Equatable, Sendable {
    /// What was known of an owner, and decided; of resources in the order of ``Resource``.
    public struct Owner: Equatable, Sendable {
        public var owner: Int
        /// What it needs, what was claimed for it, what it had, and what it is to have.
        public var need: [UInt32], claim: [UInt32], grant: [UInt32], target: [UInt32]
        /// The claim's weight.
        public var weight: UInt32
        /// `BindingResource` of the analysis, and the 99th percentile of its latency in microseconds.
        public var bottleneck: UInt32, latency: UInt32
    }

    /// What is expected of a policy; utilities in 1/65536.
    public struct Score: Equatable, Sendable {
        public var policy: UInt32
        public var predicted: UInt32, expected: UInt32, score: UInt32
    }

    public struct Fault: Equatable, Sendable {
        public var policy: UInt32
        public var fault: UInt32, instruction: UInt32, replacement: UInt32
    }

    public var number: UInt32
    /// Microseconds since power-on.
    public var microseconds: UInt64
    /// The host has given somebody something, and room was made for it.
    public var makesRoom: Bool
    /// The policy that the host has selected; the one in force; the one that divided, `fixed` if none did.
    public var selected: UInt32, inForce: UInt32, divided: UInt32
    public var reason: PolicyReason
    /// The largest change of any resource, in 1/1000; up to the hysteresis nothing changes.
    public var change: UInt32, hysteresis: UInt32
    public var fault: Fault?
    /// Of the policies that there are, with their names.
    public var scores: [Score]
    public var names: [UInt32: String]
    public var owners: [Owner]

    public static let resources = PolicyEngine.resourceNames

    /// Whether the allocation is to change.
    public var changes: Bool { makesRoom || change > hysteresis }

    /// - Returns: nil if the record isn't of a decision, or isn't whole.
    public init?(_ record: DecisionReader.Record) {
        guard record.kind == .decision || record.kind == .makingRoom,
              let engine = record.section(.engine), engine.count == PolicyEngine.engineFields.count,
              let words = record.section(.choice), words.count == DecisionChoice.fieldNames.count
        else { return nil }
        var choice = DecisionChoice()
        Self.decode(words) { choice.visit(&$0) }
        number = record.start.number
        microseconds = record.start.time / UInt64(max(engine[11], 1))
        makesRoom = record.kind == .makingRoom
        (selected, hysteresis) = (engine[0], engine[2])
        (inForce, divided, change) = (choice.inForce, choice.policy, choice.change)
        reason = PolicyReason(rawValue: choice.reason) ?? .selected
        fault = choice.fault == 0 ? nil : Fault(
            policy: choice.failed, fault: choice.fault, instruction: choice.instruction, replacement: choice.replacement)
        (scores, names, owners) = ([], [PolicyNumber.fixed: "fixed"], [])
        for section in record.sections {
            switch section.kind {
            case .policy where section.words.count == PolicyEntryFields.fieldNames.count:
                let number = UInt32(section.index)
                var entry = PolicyEntryFields()
                Self.decode(section.words) { entry.visit(&$0) }
                var described = PolicyEntry()
                described.name = entry.name
                names[number] = described.text
            case .knowledgeAfter where section.words.count == PolicyRecord.fieldNames.count:
                let number = UInt32(section.index)
                guard number != PolicyNumber.adaptive, number != PolicyNumber.fixed, names[number] != nil else { continue }
                var known = PolicyRecord()
                Self.decode(section.words) { known.visit(&$0) }
                scores.append(Score(policy: number, predicted: known.predicted, expected: known.expected, score: known.score))
            case .owner where section.words.count >= PolicyEngine.ownerFields(0).count:
                func halves(_ first: Int) -> (low: [UInt32], high: [UInt32]) {
                    let words = (0..<Resource.count).map { section.words[15 + first + 3 * $0] }
                    return (words.map { $0 & 0xffff }, words.map { $0 >> 16 })
                }
                owners.append(Owner(
                    owner: section.index, need: halves(1).low, claim: halves(2).high, grant: halves(0).low, target: halves(0).high,
                    weight: section.words[36], bottleneck: section.words[8] & 0xffff, latency: section.words[14]))
            default: break
            }
        }
    }

    private static func decode(_ words: [UInt32], _ body: (inout SectionFields) -> Void) {
        words.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var fields = SectionFields(restoring: base)
            body(&fields)
        }
    }
}

extension DecisionReader.Record {
    /// The words of the first section of a kind.
    func section(_ kind: DecisionSection) -> [UInt32]? { sections.first { $0.kind == kind }?.words }
}
#endif
