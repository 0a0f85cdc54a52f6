import AdminProtocol

// Decisions with all that they depend on: into the log, and back out of it. One list of fields for each section serves both ways.

extension PolicyEngine {
    /// The first three stages of a re-allocation, and the record of them: predicts what owners need, selects a policy, and divides by it.
    /// - Parameters:
    ///   - time: now, in device cycles.
    ///   - makingRoom: all resources are divided anew, by the policy in force, since the host has given somebody something.
    /// - Returns: as `calculateNewAllocation`.
    @discardableResult
    public mutating func decide(at time: UInt64, makingRoom: Bool = false) -> (change: UInt32, rollback: Rollback?) {
        recordPrograms(at: time)
        let owners = concerned.union(members).union(pinned), units = unitsToDivide(everything: makingRoom)
        log.begin(makingRoom ? .makingRoom : .decision, at: time)
        recordInputs(owners, endsEpoch: !makingRoom && selection.decisions &+ 1 >= PolicySelection.decisionsPerEpoch)
        predictResourceNeeds(everything: makingRoom)
        let best = makingRoom ? selection.inForce : selectBestPolicy(getAvailablePolicies())
        let decision = calculateNewAllocation(best)
        var choice = DecisionChoice()
        (choice.policy, choice.inForce, choice.reason, choice.change) = (best, selection.inForce, reason.rawValue, decision.change)
        if let rollback = decision.rollback {
            (choice.failed, choice.fault) = (rollback.policy, rollback.fault.rawValue)
            (choice.instruction, choice.replacement) = (rollback.instruction, rollback.replacement)
        }
        (choice.changing, choice.scarce) = (changing, scarce)
        recordOutcome(owners, units, choice)
        log.finish()
        return decision
    }

    // MARK: Recording

    /// Programs are recorded when they are new, and again before the ring has gone half round since.
    private mutating func recordPrograms(at time: UInt64) {
        for bank in 0..<PolicyRegistry.bankCount {
            guard let program = registry.program(inBank: bank) else { continue }
            if program.isRecorded, log.end &- program.recordedAt < UInt32(truncatingIfNeeded: DecisionLog.words / 2) { continue }
            registry.setRecorded(bank, at: log.end)
            log.begin(.program, at: time)
            var fields = log.open()
            fields.save(program.count)
            fields.save(program.checksum)
            log.close(.program, 0, fields)
            var done = 0
            let count = 2 &* Int(program.count)
            while done < count {
                let piece = min(count &- done, Self.piece)
                log.put(.instructions, done / Self.piece, registry.words(inBank: bank) + done, piece)
                done &+= piece
            }
            log.finish()
        }
    }

    /// Words of a program in one section.
    private static let piece = 60

    private mutating func recordInputs(_ owners: OwnerSet, endsEpoch: Bool) {
        var fields = log.open()
        visitEngine(&fields)
        log.close(.engine, 0, fields)
        for number in 1..<PolicyNumber.count where registry.contains(number) {
            var entry = PolicyEntryFields(registry, number)
            fields = log.open()
            entry.visit(&fields)
            log.close(.policy, Int(number), fields)
            recordMemory(of: number, owners)
        }
        recordSelection(.selection, .knowledge)
        guard endsEpoch else { return }
        var rest = owners
        while let owner = rest.popFirst() {
            fields = log.open()
            visitOutcome(owner, &fields)
            log.close(.outcome, owner, fields)
        }
    }

    /// What programs remember; nothing but zeros isn't recorded.
    private mutating func recordMemory(of number: UInt32, _ owners: OwnerSet) {
        guard let memory = registry.memory(of: number) else { return }
        let index = Int(number) << 8
        record(memory, as: index)
        var rest = owners
        while let owner = rest.popFirst() { record(memory + (owner &+ 1) &* Self.memoryWords, as: index | (owner &+ 1)) }
    }

    static let memoryWords = Int(Place.memoryBytes) / 4

    private mutating func record(_ memory: UnsafePointer<UInt32>, as index: Int) {
        var any: UInt32 = 0
        for place in 0..<Self.memoryWords { any |= memory[place] }
        if any != 0 { log.put(.memory, index, memory, Self.memoryWords) }
    }

    private mutating func recordSelection(_ selectionKind: DecisionSection, _ knowledgeKind: DecisionSection) {
        var fields = log.open()
        selection.visit(&fields)
        log.close(selectionKind, 0, fields)
        for number in 0..<records.count {
            fields = log.open()
            records.part(number, of: 1).pointee.visit(&fields)
            log.close(knowledgeKind, number, fields)
        }
    }

    private mutating func recordOutcome(_ owners: OwnerSet, _ units: UInt32, _ choice: DecisionChoice) {
        var choice = choice
        var fields = log.open()
        choice.visit(&fields)
        log.close(.choice, 0, fields)
        recordSelection(.selectionAfter, .knowledgeAfter)
        var rest = owners
        while let owner = rest.popFirst() {
            fields = log.open()
            visitOwner(owner, units, &fields)
            log.close(.owner, owner, fields)
        }
    }

    // MARK: Sections

    @inline(__always) mutating func visitEngine(_ fields: inout SectionFields) {
        fields.word(&parameters.policy)
        fields.word(&parameters.periodWindows)
        fields.number(&parameters.hysteresisPermille)
        fields.number(&parameters.leastPermille)
        fields.number(&parameters.mostPermille)
        fields.number(&parameters.smoothing)
        fields.number(&parameters.headroomPermille)
        fields.number(&parameters.idleWindows)
        fields.number(&parameters.flags)
        fields.word(&linkBytes)
        fields.word(&windowMicroseconds)
        fields.word(&cyclesPerMicrosecond)
        fields.word(&policyBefore)
        fields.flag(&isProven)
        fields.word(&decisionsTaken)
        fields.word(&decisionsLeft)
        fields.word(&scarce)
        fields.number(&turnNumber)
        for resource in 0..<Resource.count { fields.word(&capacities[resource]) }
        for resource in 0..<Resource.count { fields.number(&resting[resource]) }
        fields.owners(&members)
        fields.owners(&holders)
        fields.owners(&pinned)
        fields.owners(&promised)
        fields.owners(&expectant)
        fields.owners(&away)
        fields.owners(&membersBefore)
        fields.owners(&membersHeld)
    }

    /// What is known of an owner, what was found out in the decision, and what it gives the owner.
    /// - Parameter units: resources that come in units and that the decision is about.
    @inline(__always) func visitOwner(_ owner: Int, _ units: UInt32, _ fields: inout SectionFields) {
        typealias Field = PolicyContext.Field
        let state = states.part(owner, of: 1), words = contexts[owner].words
        let demand = demands.part(owner, of: Resource.count), target = targets.part(owner, of: Resource.count)
        fields.word(&state.pointee.demand)
        fields.word(&state.pointee.requestBytes)
        fields.word(&state.pointee.forecast.bytes)
        fields.word(&state.pointee.forecast.bytesHigh)
        fields.halves(&state.pointee.forecast.load, &state.pointee.forecast.loadHigh)
        fields.halves(&state.pointee.most, &demand[0].least)
        fields.word(&words[Field.ownerWeight.rawValue])
        fields.word(&words[Field.latencyTarget.rawValue])
        fields.halves(&words[Field.bottleneck.rawValue], &words[Field.sequential.rawValue])
        fields.word(&words[Field.requests.rawValue])
        fields.word(&words[Field.bytes.rawValue])
        fields.word(&words[Field.depth.rawValue])
        fields.word(&words[Field.requestBytes.rawValue])
        fields.word(&words[Field.latency50.rawValue])
        fields.word(&words[Field.latency99.rawValue])
        for resource in 0..<Resource.count {
            fields.halves(&words[Field.grant.rawValue &+ resource], &target[resource])
            fields.halves(&words[Field.need.rawValue &+ resource], &words[Field.least.rawValue &+ resource])
            fields.halves(&words[Field.expected.rawValue &+ resource], &words[Field.claim.rawValue &+ resource])
        }
        // What resources' turns before have left.
        for resource in 1..<Resource.count { fields.word(&words[Field.totalNeed.rawValue &+ resource]) }
        fields.halves(&words[Field.capacity.rawValue &+ 1], &words[Field.capacity.rawValue &+ 2])
        fields.halves(&words[Field.capacity.rawValue &+ 3], &words[Field.capacity.rawValue &+ 4])
        fields.word(&words[Field.weight.rawValue])
        fields.halves(&words[Field.boost.rawValue], &boosts.part(owner, of: 1).pointee)
        for resource in 1..<Resource.count where units &>> UInt32(truncatingIfNeeded: resource) & 1 != 0 {
            fields.word(&demand[resource].wanted)
            fields.halves(&demand[resource].unitsBefore, &demand[resource].least)
            fields.halves(&demand[resource].expected, &demand[resource].assigned)
        }
    }

    @inline(__always) func visitOutcome(_ owner: Int, _ fields: inout SectionFields) {
        let outcome = outcomes.part(owner, of: 1), grants = grantsBefore.part(owner, of: Resource.count)
        fields.word(&outcome.pointee.carried)
        fields.word(&outcome.pointee.served)
        fields.word(&outcome.pointee.waiting)
        fields.word(&outcome.pointee.requests)
        fields.word(&outcome.pointee.promptness)
        for resource in 0..<Resource.count { fields.word(&grants[resource]) }
        fields.word(&boostsBefore.part(owner, of: 1).pointee)
    }
}

/// What a decision depends on of one policy.
struct PolicyEntryFields {
    /// Its program, and the one that it has replaced and that it gives way to; 0 instructions: none.
    var count: UInt32 = 0, checksum: UInt32 = 0
    var countBefore: UInt32 = 0, checksumBefore: UInt32 = 0
    var values = TuningValues()
    var name: (UInt64, UInt64, UInt64) = (0, 0, 0)

    init() {}

    init(_ registry: borrowing PolicyRegistry, _ number: UInt32) {
        let programs = registry.programs(of: number)
        (count, checksum) = (programs.now.count, programs.now.checksum)
        (countBefore, checksumBefore) = (programs.before.count, programs.before.checksum)
        (values, name) = (registry.values(of: number), registry.name(of: number))
    }

    @inline(__always) mutating func visit(_ fields: inout SectionFields) {
        fields.word(&count)
        fields.word(&checksum)
        fields.word(&countBefore)
        fields.word(&checksumBefore)
        fields.word(&values.value0)
        fields.word(&values.value1)
        fields.word(&values.value2)
        fields.word(&values.value3)
        fields.long(&name.0)
        fields.long(&name.1)
        fields.long(&name.2)
    }
}

/// What a decision gives once.
struct DecisionChoice: Equatable {
    /// The policy that was selected to divide, `fixed` if all was to stay; the one in force; ``PolicyReason``.
    var policy: UInt32 = 0, inForce: UInt32 = 0, reason: UInt8 = 0
    /// The largest change of any resource, in 1/1000.
    var change: UInt32 = 0
    /// A policy whose program was ended, and what became of it (`PolicyEngine.Rollback`).
    var failed: UInt32 = 0, fault: UInt32 = 0, instruction: UInt32 = 0, replacement: UInt32 = 0
    /// Owners whose allocation is to change.
    var changing = OwnerSet()
    var scarce: UInt32 = 0

    @inline(__always) mutating func visit(_ fields: inout SectionFields) {
        fields.word(&policy)
        fields.word(&inForce)
        fields.number(&reason)
        fields.word(&change)
        fields.word(&failed)
        fields.word(&fault)
        fields.word(&instruction)
        fields.word(&replacement)
        fields.owners(&changing)
        fields.word(&scarce)
    }
}

extension PolicySelection {
    @inline(__always) mutating func visit(_ fields: inout SectionFields) {
        fields.word(&epoch)
        fields.word(&decisions)
        fields.word(&windows)
        fields.word(&targetBucket)
        fields.word(&candidates)
        fields.word(&inForce)
        fields.word(&before)
        var reason = why.rawValue
        fields.number(&reason)
        why = PolicyReason(rawValue: reason) ?? .selected
        fields.flag(&isNew)
        fields.flag(&hasChanged)
        fields.flag(&isUndoing)
        fields.number(&suspicions)
        fields.number(&lags)
        fields.word(&measured)
        fields.word(&measuredBefore)
        fields.word(&terms.latency)
        fields.word(&terms.throughput)
        fields.word(&terms.fairness)
        fields.number(&learner.common)
        fields.word(&learner.deviation)
        fields.word(&learner.epochs)
        fields.word(&requestCost)
        fields.word(&switches)
        fields.word(&undone)
        fields.word(&guardRails)
    }
}

extension PolicyRecord {
    @inline(__always) mutating func visit(_ fields: inout SectionFields) {
        fields.number(&advantage)
        fields.word(&experience)
        fields.word(&predicted)
        fields.word(&expected)
        fields.word(&score)
        fields.word(&blockedUntil)
        fields.number(&backoff)
        fields.number(&proof)
        fields.number(&good)
        fields.word(&failures)
    }
}
