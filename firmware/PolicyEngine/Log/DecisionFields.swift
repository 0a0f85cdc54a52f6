#if !hasFeature(Embedded)
import AdminProtocol

// Only the host reads records: the way back into an engine, and the names of what is in them.

extension PolicyEngine {
    /// Brings back a section of what a decision depends on; what it gives is passed over.
    /// - Parameter everything: the record is of a division that makes room.
    /// - Returns: false if the values would lead out of the engine's bounds.
    mutating func restore(_ kind: DecisionSection, _ index: Int, _ words: [UInt32], everything: Bool) -> Bool {
        words.withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return false }
            var fields = SectionFields(restoring: base)
            switch kind {
            case .engine: return words.count == Self.engineFields.count && restoreEngine(&fields)
            case .policy:
                var entry = PolicyEntryFields()
                guard words.count == PolicyEntryFields.fieldNames.count, (1..<Int(PolicyNumber.count)).contains(index) else { return false }
                entry.visit(&fields)
                registry.set(entry.values, of: UInt32(index))
            case .memory:
                let number = UInt32(index >> 8), place = index & 0xff
                guard words.count == Self.memoryWords, place <= Self.owners, let memory = registry.memory(of: number) else { return false }
                (memory + place &* Self.memoryWords).update(from: base, count: Self.memoryWords)
            case .selection:
                guard words.count == PolicySelection.fieldNames.count else { return false }
                selection.visit(&fields)
                return selection.inForce < PolicyNumber.adaptive && selection.before < PolicyNumber.adaptive
                    && selection.requestCost <= PolicySelection.greatestRequestCost
            case .knowledge:
                guard words.count == PolicyRecord.fieldNames.count, index < records.count else { return false }
                records[index].visit(&fields)
                return records[index].backoff <= PolicySelection.greatestBackoff
            case .owner:
                let units = unitsToDivide(everything: everything)
                guard index < Self.owners, words.count == Self.ownerFields(units).count else { return false }
                visitOwner(index, units, &fields)
                guard states[index].requestBytes != 0 else { return false }
                // As it was before the decision.
                for resource in 1..<Resource.count where units >> UInt32(resource) & 1 != 0 {
                    demands[index * Resource.count + resource].units = demands[index * Resource.count + resource].unitsBefore
                }
            case .outcome:
                guard index < Self.owners, words.count == 6 + Resource.count else { return false }
                visitOutcome(index, &fields)
            case .start, .program, .instructions, .choice, .selectionAfter, .knowledgeAfter: break
            }
            return true
        }
    }

    private mutating func restoreEngine(_ fields: inout SectionFields) -> Bool {
        visitEngine(&fields)
        guard Self.isInRange(parameters), policyBefore < PolicyNumber.count, Resource(rawValue: turnNumber) != nil, turnNumber != 0,
              (0..<Resource.count).allSatisfy({ capacities[$0] <= PolicyContext.greatestClaim })
        else { return false }
        // What follows from it is computed as it was then; that begins an epoch, which the other sections then replace.
        let (isProven, policyBefore, membersBefore) = (isProven, policyBefore, membersBefore)
        configure(parameters, linkBytes: linkBytes, windowMicroseconds: windowMicroseconds, cyclesPerMicrosecond: cyclesPerMicrosecond)
        (self.isProven, self.policyBefore, self.membersBefore) = (isProven, policyBefore, membersBefore)
        return true
    }
}

extension PolicyEngine {
    /// Names of the words of a section `engine`.
    static let engineFields = [
        "policy", "period", "hysteresis", "least", "most", "smoothing", "headroom", "idle", "flags", "link bytes", "window", "clock",
        "policy before", "policy is proven", "decisions taken", "decisions left", "scarce", "turn", "capacity of link", "capacity of cores",
        "capacity of memory", "capacity of GPU", "capacity of FPGA", "rest of link", "rest of cores", "rest of memory", "rest of GPU",
        "rest of FPGA",
    ] + ["members", "holders", "pinned", "promised", "expectant", "away", "members before", "members held"].flatMap { name in
        (0..<3).map { "\(name) \($0)" }
    }
}

extension PolicyEngine {
    /// Names of the words of a section `owner`; of halves the lower one first.
    static func ownerFields(_ units: UInt32) -> [String] {
        let divided = (1..<Resource.count).filter { units >> UInt32($0) & 1 != 0 }
        return ownerFields + divided.flatMap { resource in
            let name = resourceNames[resource]
            return ["demand for \(name)", "\(name) needed before, \(name) promised", "\(name) foretold, \(name) assigned"]
        }
    }

    static let resourceNames = ["link", "cores", "memory", "GPU slots", "FPGA slots"]

    private static let ownerFields = [
        "demand", "request bytes", "forecast bytes", "forecast bytes, high", "forecast load, and high", "most, least of link", "weight",
        "latency target", "bottleneck, sequential", "requests", "bytes", "depth", "latest request bytes", "latency of half",
        "latency of 99 %",
    ] + resourceNames.flatMap { ["\($0) granted, \($0) decided", "\($0) needed, \($0) at least", "\($0) expected, \($0) claimed"] }
        + resourceNames.dropFirst().map { "\($0) needed by all" }
        + ["capacity of cores, memory", "capacity of GPU slots, FPGA slots", "claim's weight", "boost, decided boost"]
}

extension PolicyEntryFields {
    static let fieldNames = [
        "instructions", "program's checksum", "instructions before", "checksum before", "value 0", "value 1", "value 2", "value 3",
        "name 0", "name 1", "name 2", "name 3", "name 4", "name 5",
    ]
}

extension DecisionChoice {
    static let fieldNames = [
        "policy", "policy in force", "reason", "change", "failed policy", "fault", "instruction", "replacement", "changing 0", "changing 1",
        "changing 2", "scarce",
    ]
}

extension PolicySelection {
    static let fieldNames = [
        "epoch", "decisions", "windows", "target bucket", "candidates", "policy in force", "policy before", "reason", "is new",
        "has changed", "is undoing", "suspicions", "lags", "measured", "measured before", "latency", "throughput", "fairness", "common", "deviation",
        "epochs", "request cost", "switches", "undone", "guard rails",
    ]
}

extension PolicyRecord {
    static let fieldNames = [
        "advantage", "experience", "predicted", "expected", "score", "blocked until", "backoff", "proof", "good epochs", "failures",
    ]
}
#endif
