import AdminProtocol
import Hardware
import PolicyEngine

/// Moving resources to where they are needed.
extension OffloadManager {
    /// Decides anew about what every owner has, and puts it in force.
    mutating func reallocateResources() {
        let start = Hart.cycle
        defer {
            let cycles = Hart.cycle &- start
            counters[.decisionCyclesMax] = max(counters[.decisionCyclesMax], cycles)
        }
        describeOwners()
        let before = policy.selection
        let decision = policy.decide(at: interrupts.now)
        if let rollback = decision.rollback { report(rollback) }
        reportSelection(before)
        guard decision.change > UInt32(policy.parameters.hysteresisPermille) else { return policy.left() }
        updateResourceAssignments()
    }

    /// Tells the policies what only they need of the latest window, and what hardware has measured since the last decision.
    private mutating func describeOwners() {
        let turn = policy.turn, blockShift = hw.rm.memoryCapacity.blockShift
        use.begin(turn, upTo: hw.wa.windowEnd.rawValue, interrupts.now)
        // Somebody else has committed: a component that moves gives its cores back, or takes them along.
        if partitions.generation != knownGeneration { readGrants() }
        var rest = policy.concerned
        while let owner = rest.popFirst() {
            let component = hw.vic.component[owner].state
            if component.present, component.location == .host { policy.away.insert(owner) } else { policy.away.remove(owner) }
            let summary = hw.wa.summary[owner], context = policy.contexts[owner]
            if turn == .memory {
                policy.observe(memoryWanted(by: owner, blockShift), of: .memory, by: owner)
            } else if let wanted = use.measure(owner, hw.wa, hw.rm) {
                policy.observe(wanted, of: turn, by: owner)
            }
            let requests = summary.requests.count
            guard requests != 0 else { continue }
            let latency = summary.latency
            context[.latency50] = microseconds(latency.p50)
            context[.latency99] = microseconds(latency.p99)
            context[.bottleneck] = UInt32(analysis.report(of: owner).bottleneck)
            context[.sequential] = min(summary.sequential.count, requests &* 2) &* 1000 / requests
        }
    }

    /// Memory blocks that hold the payload in flight, in 1/256; or the pages that the device writes, if their number holds the owner up.
    private func memoryWanted(by owner: Int, _ blockShift: UInt32) -> UInt32 {
        let summary = hw.wa.summary[owner]
        let bytes = UInt64(summary.depthMean.value) &* UInt64(policy.contexts[owner][.requestBytes])
        let inFlight = UInt32(clamping: bytes &>> UInt64(blockShift))
        guard analysis.report(of: owner).bottleneck == BindingResource.memory.rawValue else { return inFlight }
        return max(inFlight, (summary.dirtyPages.count &<< 8) &>> (blockShift &- 12))
    }

    /// Takes over what the Resource Manager has in force.
    mutating func readGrants() {
        knownGeneration = partitions.generation
        for owner in 0..<PolicyEngine.owners {
            for resource in Resource.all { policy.setGrant(partitions.units(of: resource, for: owner), of: resource, for: owner) }
            policy.setBoost(partitions.boost(of: owner), of: owner)
        }
    }

    /// The upper end of a latency bucket: log2 of cycles, rounded down.
    private func microseconds(_ bucket: UInt32) -> UInt32 {
        let cycles: UInt32 = bucket >= 31 ? .max : 2 &<< bucket
        return cycles / cyclesPerMicrosecond
    }

    /// Stages what the last decision changes.
    mutating func stageTargets() {
        var rest = policy.changing
        while let owner = rest.popFirst() { partitions.stage(policy, of: owner) }
        partitions.stageMemory(&policy)
    }

    /// Commits the new allocation as a whole. If the Resource Manager refuses it, all stays as it was.
    private mutating func updateResourceAssignments() {
        let changing = policy.changing
        stageTargets()
        let result = partitions.commit()
        knownGeneration = partitions.generation
        guard result.reason == .none else {
            policy.rejected()
            counters.count(.commitsRejected)
            trace.record(TraceRing.Rejected(reason: result.reason.rawValue, owner: result.owner), at: Hart.cycle)
            events.post(.partitionRejected, owner: Int(result.owner), severity: .warning, at: interrupts.now, UInt64(result.rawValue))
            return
        }
        var promised = policy.promised
        while let owner = promised.popFirst() { partitions.limitFloor(of: owner, to: policy) }
        policy.committed()
        unannounced = unannounced.union(changing)
        counters.count(.commits)
        trace.record(TraceRing.Committed(generation: partitions.generation, owners: changing.count), at: Hart.cycle)
    }

    /// Tells the host of another policy in force, and of harm that is undone.
    private mutating func reportSelection(_ before: PolicySelection) {
        let now = policy.selection
        let policies = UInt64(now.inForce) | UInt64(before.inForce) << 32
        let utilities = UInt64(now.measured) | UInt64(now.measuredBefore) << 32
        if now.undone != before.undone {
            counters.count(.changesUndone)
            events.post(.changeUndone, severity: .warning, at: interrupts.now, policies, utilities)
        }
        guard now.inForce != before.inForce else { return }
        counters.count(.policySwitches)
        // What the host has selected itself it knows.
        guard now.why != .selected else { return }
        let reason = UInt64(now.why.rawValue) << 16
        events.post(.policyChanged, at: interrupts.now, policies | reason, utilities)
    }

    private mutating func report(_ rollback: PolicyEngine.Rollback) {
        counters.count(.policyFaults)
        trace.record(TraceRing.PolicyFault(policy: rollback.policy, instruction: rollback.instruction), at: Hart.cycle)
        events.post(
            .policyFault, severity: .error, at: interrupts.now, UInt64(rollback.replacement) | UInt64(rollback.policy) << 32,
            UInt64(rollback.fault.rawValue) | UInt64(rollback.instruction) << 32)
        Settings(hw.sysctl).save(policy.parameters)
        vault.keep(rollback.policy, of: policy.registry)
    }

    // MARK: Policies

    /// Puts policy parameters in force, and saves them.
    mutating func setPolicy(_ parameters: PolicyParameters) {
        windowMicroseconds = max(sampler.length / cyclesPerMicrosecond, 1)
        let linkBytes = UInt64(partitions.linkBytesPerMicrosecond) * UInt64(windowMicroseconds)
        policy.configure(
            parameters, linkBytes: UInt32(clamping: linkBytes), windowMicroseconds: windowMicroseconds,
            cyclesPerMicrosecond: cyclesPerMicrosecond)
        Settings(hw.sysctl).save(parameters)
    }

    /// Takes in a piece of a program, which follows the command's data.
    mutating func uploadPolicy(_ piece: PolicyPiece, _ request: Request) -> Answer {
        let start = UInt32(AdminCommand.byteCount + PolicyPiece.byteCount)
        guard piece.count <= UInt32(PolicyPiece.longest), queue.readable(request.chain) >= start &+ piece.count else {
            return Answer(.invalid, .command)
        }
        guard policy.expects(piece.offset) else { return Answer(.invalid, .field) }
        var done: UInt32 = 0
        var bytes = InlineArray<8, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &bytes) { buffer in
            while done < piece.count {
                let count = queue.read(
                    request.chain, from: start &+ done, into: buffer.baseAddress!, capacity: min(UInt32(buffer.count), piece.count &- done))
                guard count != 0 else { return }
                for index in 0..<Int(count) { policy.upload(buffer[index]) }
                done &+= count
            }
        }
        return Answer(.ok)
    }

    /// Makes a policy of what was uploaded.
    mutating func installPolicy(_ installation: PolicyInstallation, _ request: Request) -> Answer {
        guard PolicyNumber.uploaded.contains(installation.number) else { return Answer(.invalid, .field) }
        guard let refusal = policy.install(installation) else {
            vault.keep(installation.number, of: policy.registry)
            return Answer(.ok)
        }
        put(refusal, at: UInt32(AdminResult.byteCount), in: request.chain)
        let count = UInt32(PolicyRefusal.byteCount)
        return Answer(.invalid, .program, resultBytes: count, written: count)
    }

    mutating func removePolicy(_ number: UInt32) -> Answer {
        guard PolicyNumber.uploaded.contains(number), policy.registry.contains(number) else { return Answer(.invalid, .field) }
        guard policy.parameters.policy != number else { return Answer(.busy, .tryAgain) }
        policy.remove(number)
        vault.keep(number, of: policy.registry)
        return Answer(.ok)
    }

    /// What the list of policies says of one.
    func describe(_ number: UInt32) -> PolicyEntry {
        var entry = policy.registry.entry(number)
        if policy.parameters.policy == number { entry.flags = PolicyEntry.Flag.selected }
        if policy.parameters.policy != PolicyNumber.fixed, policy.selection.inForce == number { entry.flags |= PolicyEntry.Flag.inForce }
        return entry
    }

    /// Which policy decides, and why.
    func selectionStatus() -> SelectionStatus {
        let selection = policy.selection, available = policy.getAvailablePolicies()
        func short(_ utility: UInt32) -> UInt16 { UInt16(clamping: utility) }
        var status = SelectionStatus()
        status.selected = UInt8(truncatingIfNeeded: policy.parameters.policy)
        status.inForce = UInt8(truncatingIfNeeded: selection.inForce)
        status.reason = policy.reason.rawValue
        status.decisionsPerEpoch = UInt8(truncatingIfNeeded: PolicySelection.decisionsPerEpoch)
        status.epoch = selection.epoch
        (status.measured, status.measuredBefore) = (short(selection.measured), short(selection.measuredBefore))
        status.latency = short(selection.terms.latency)
        status.throughput = short(selection.terms.throughput)
        status.fairness = short(selection.terms.fairness)
        (status.switches, status.undone, status.guardRails) = (selection.switches, selection.undone, selection.guardRails)
        status.decisions = policy.decisionsTaken &+ policy.decisionsLeft
        status.overwritten = policy.log.overwritten
        status.candidates = selection.candidates
        for number in 1..<UInt32(SelectionStatus.entries) where available >> number & 1 != 0 {
            let record = policy.record(of: number)
            var entry = SelectionEntry()
            (entry.predicted, entry.expected, entry.score) = (short(record.predicted), short(record.expected), short(record.score))
            entry.advantage = Int16(clamping: record.advantage)
            entry.experience = record.experience
            entry.blocked = UInt16(clamping: max(Int32(bitPattern: record.blockedUntil &- selection.epoch), 0))
            entry.failures = UInt16(clamping: record.failures)
            entry.proof = record.proof
            entry.flags = (number == selection.inForce ? SelectionEntry.Flag.inForce : 0)
                | (policy.isCandidate(number) ? SelectionEntry.Flag.candidate : 0)
            status.policies[Int(number)] = entry
        }
        return status
    }
}
