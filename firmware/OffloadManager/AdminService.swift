import AdminProtocol
import Hardware
import PolicyEngine

/// How a command ended.
struct Answer {
    var status: AdminStatus
    var qualifier: AdminQualifier
    /// Bytes of result that there are, and that were written.
    var resultBytes: UInt32 = 0
    var written: UInt32 = 0

    init(_ status: AdminStatus, _ qualifier: AdminQualifier = .none, resultBytes: UInt32 = 0, written: UInt32 = 0) {
        self.status = status; self.qualifier = qualifier; self.resultBytes = resultBytes; self.written = written
    }
}

/// A command that has passed the checks that all commands share.
struct Request {
    var opcode: AdminOpcode
    /// The owner it concerns: 0 for the device group.
    var owner: Int
    /// The key that came with it.
    var key: UInt64
    /// Its data, as many bytes as the opcode needs.
    var data: UnsafeRawPointer
    /// Where the answer goes, and how much of it.
    var chain: AdminQueue.Chain
    var room: UInt32
}

/// The admin commands (regmaps/hostif/README.md, Admin protocol).
extension OffloadManager {
    /// Serves one command and writes its answer.
    /// - Returns: bytes written.
    mutating func serve(_ chain: AdminQueue.Chain) -> UInt32 {
        counters.count(.commands)
        let header = UInt32(AdminResult.byteCount)
        let room = queue.room(chain)
        var opcode: UInt16 = .max
        // A header and the data of the largest command.
        var bytes = InlineArray<8, UInt64>(repeating: 0)
        let answer = withUnsafeMutableBytes(of: &bytes) { buffer in
            let base = buffer.baseAddress!
            let count = queue.read(chain, into: base, capacity: 64)
            let command = AdminCommand(decoding: base)
            if count >= UInt32(AdminCommand.byteCount) { opcode = command.opcode }
            return check(command, readable: chain.isMalformed ? 0 : count, room: room, in: chain, data: base)
        }
        if let opcode = AdminOpcode(rawValue: opcode) {
            trace.record(TraceRing.Command(opcode: opcode, status: answer.status, qualifier: answer.qualifier), at: Hart.cycle)
        } else {
            trace.record(TraceRing.UnknownCommand(code: opcode, status: answer.status, qualifier: answer.qualifier), at: Hart.cycle)
        }
        if answer.status != .ok { counters.count(.commandsRefused) }
        guard room >= header else { return 0 }
        put(AdminResult(answer.status, answer.qualifier, resultBytes: answer.resultBytes), at: 0, in: chain)
        return header &+ answer.written
    }

    /// The checks that all commands share, in the order of the command's parts.
    private mutating func check(
        _ command: AdminCommand, readable: UInt32, room: UInt32, in chain: AdminQueue.Chain, data base: UnsafeMutableRawPointer
    ) -> Answer {
        let header = AdminCommand.byteCount
        guard room >= UInt32(AdminResult.byteCount) else { return Answer(.invalid, .result) }
        guard readable >= UInt32(header) else { return Answer(.invalid, .command) }
        guard let opcode = AdminOpcode(rawValue: command.opcode) else { return Answer(.invalid, .opcode) }
        guard let group = AdminGroup(rawValue: command.group), opcode.accepts(group) else { return Answer(.invalid, .group) }
        let members: ClosedRange<UInt64> = group == .device ? 0...0 : 1...max(UInt64(hw.sysctl.config.vfs), 1)
        guard members.contains(command.member) else { return Answer(.invalid, .member) }
        guard group == .device || audit.permits(Int(command.member), command.key) else { return Answer(.denied, .key) }
        guard readable >= UInt32(header &+ opcode.dataByteCount) else { return Answer(.invalid, .command) }
        guard room >= UInt32(AdminResult.byteCount &+ opcode.resultByteCount) else { return Answer(.invalid, .result) }
        return perform(Request(
            opcode: opcode, owner: Int(command.member), key: command.key, data: UnsafeRawPointer(base + header), chain: chain,
            room: room &- UInt32(AdminResult.byteCount)))
    }

    private mutating func perform(_ request: Request) -> Answer {
        let owner = request.owner
        switch request.opcode {
        case .listOpcodes: return result(OpcodeList.all, request)
        case .identify: return result(identity(), request)
        case .getFeature: return getFeature(FeatureSelect(decoding: request.data), request)
        case .setFeature: return setFeature(FeatureValue(decoding: request.data))
        case .reportBaseline: return report(Baseline(decoding: request.data), of: owner)
        case .getPolicy: return result(policy.parameters, request)
        case .setPolicy:
            let parameters = PolicyParameters(decoding: request.data)
            guard policy.isValid(parameters) else { return Answer(.invalid, .field) }
            setPolicy(parameters)
            return Answer(.ok)
        case .describePolicy:
            let number = PolicySelect(decoding: request.data).number
            guard policy.registry.contains(number) else { return Answer(.invalid, .field) }
            return result(describe(number), request)
        case .tunePolicy:
            let values = PolicyValues(decoding: request.data)
            guard policy.registry.contains(values.number) else { return Answer(.invalid, .field) }
            policy.setValues(values)
            vault.keep(values.number, of: policy.registry)
            return Answer(.ok)
        case .getSelection: return result(selectionStatus(), request)
        case .readDecisions: return decisions(from: DecisionLogRequest(decoding: request.data).position, request)
        case .uploadPolicy: return uploadPolicy(PolicyPiece(decoding: request.data), request)
        case .installPolicy: return installPolicy(PolicyInstallation(decoding: request.data), request)
        case .removePolicy: return removePolicy(PolicySelect(decoding: request.data).number)
        case .getAllocation:
            var allocation = partitions.allocation(of: owner)
            if policy.pinned.contains(owner) { allocation.flags = Allocation.pinned }
            return result(allocation, request)
        case .setAllocation: return set(Allocation(decoding: request.data), request)
        case .releaseAllocation: return set(Allocation(), request)
        case .getTerms: return result(policy.terms(of: owner), request)
        case .setTerms: return set(ServiceTerms(decoding: request.data), of: owner)
        case .startLog:
            var answer = logs.start(LogRequest(decoding: request.data), of: owner)
            if answer.status == .ok { answer = result(logs.status(of: owner), request) }
            return answer
        case .stopLog:
            logs.stop(of: owner)
            return result(logs.status(of: owner), request)
        case .harvestLog:
            logs.flush(of: owner)
            return result(logs.status(of: owner), request)
        case .getStatistics: return statistics(StatisticsRequest(decoding: request.data), request)
        case .getLatency: return result(latency(of: owner), request)
        case .getAnalysis: return analysisPage(StatisticsRequest(decoding: request.data), request)
        case .migrateComponent: return move(ComponentMove(decoding: request.data), request)
        case .getComponent: return result(mover.status(of: owner), request)
        case .getPlacement: return result(placement.status, request)
        case .setPlacement: return setPlacement(PlacementParameters(decoding: request.data))
        case .getAudit: return auditPage(StatisticsRequest(decoding: request.data), request)
        case .setKey:
            audit.set(OwnerKey(decoding: request.data).key, of: owner)
            return Answer(.ok)
        }
    }

    // MARK: Writing results

    /// Encodes a value into the answer.
    /// - Parameter offset: from the beginning of the device-writable part.
    func put<Value: WireLayout>(_ value: Value, at offset: UInt32, in chain: AdminQueue.Chain) {
        // No layout is longer than LatencyHistogram.
        var bytes = InlineArray<32, UInt64>(repeating: 0)
        withUnsafeMutableBytes(of: &bytes) { buffer in
            let base = buffer.baseAddress!
            value.encode(to: base)
            queue.write(chain, at: offset, from: base, count: UInt32(Value.byteCount))
        }
    }

    /// A good end with one value as the result.
    func result<Value: WireLayout>(_ value: Value, _ request: Request) -> Answer {
        put(value, at: UInt32(AdminResult.byteCount), in: request.chain)
        return Answer(.ok, resultBytes: UInt32(Value.byteCount), written: UInt32(Value.byteCount))
    }

    // MARK: Commands

    private func identity() -> Identity {
        let configuration = hw.sysctl.config
        let (capacity, memory) = (hw.rm.capacity, hw.rm.memoryCapacity)
        var identity = Identity()
        identity.firmwarePatch = Self.version.patch
        identity.firmwareMinor = Self.version.minor
        identity.firmwareMajor = Self.version.major
        identity.virtualFunctions = UInt16(truncatingIfNeeded: configuration.vfs)
        identity.harts = UInt8(truncatingIfNeeded: configuration.harts)
        identity.serviceCores = UInt8(truncatingIfNeeded: configuration.serviceCores)
        identity.clockHertz = hw.sysctl.clock.khz &* 1000
        identity.linkBandwidth = partitions.linkBytesPerMicrosecond
        identity.memoryBlocks = UInt16(truncatingIfNeeded: memory.blocks)
        identity.memoryBlockShift = UInt8(truncatingIfNeeded: memory.blockShift)
        identity.gpuSlots = UInt8(truncatingIfNeeded: capacity.gpu)
        identity.fpgaSlots = UInt8(truncatingIfNeeded: capacity.fpga)
        identity.features = 1 << Feature.policy.rawValue | 1 << Feature.events.rawValue | 1 << Feature.samplingWindow.rawValue
            | 1 << Feature.predictors.rawValue | 1 << Feature.analysisInterval.rawValue
            | 1 << Feature.candidates.rawValue
        identity.setBuild(Self.build)
        return identity
    }

    private func getFeature(_ select: FeatureSelect, _ request: Request) -> Answer {
        guard let feature = Feature(rawValue: select.feature) else { return Answer(.invalid, .field) }
        var value = FeatureValue()
        value.feature = select.feature
        value.value = switch feature {
        case .policy: UInt64(policy.parameters.policy)
        case .events: events.enabledKinds
        case .samplingWindow: UInt64(sampler.length)
        case .predictors: UInt64(analysis.next.experts.bits)
        case .analysisInterval: UInt64(analysis.windows)
        case .candidates: UInt64(policy.selection.candidates)
        }
        return result(value, request)
    }

    private mutating func setFeature(_ value: FeatureValue) -> Answer {
        guard let feature = Feature(rawValue: value.feature) else { return Answer(.invalid, .field) }
        switch feature {
        case .policy:
            var parameters = policy.parameters
            parameters.policy = UInt32(clamping: value.value)
            guard policy.isValid(parameters) else { return Answer(.invalid, .field) }
            setPolicy(parameters)
        case .events:
            guard value.value & ~EventRing.allKinds == 0 else { return Answer(.invalid, .field) }
            events.enabledKinds = value.value
        case .samplingWindow:
            guard setWindow(value.value) else { return Answer(.invalid, .field) }
        case .predictors:
            guard value.value <= UInt64(PredictorSet.all.bits) else { return Answer(.invalid, .field) }
            analysis.use(PredictorSet(bits: UInt32(truncatingIfNeeded: value.value)))
        case .analysisInterval:
            guard let windows = UInt32(exactly: value.value), WorkloadAnalysis.windowRange.contains(windows) else {
                return Answer(.invalid, .field)
            }
            analysis.setWindows(windows)
        case .candidates:
            guard value.value & ~UInt64(PolicySelection.choosable) == 0 else { return Answer(.invalid, .field) }
            policy.selection.candidates = UInt32(truncatingIfNeeded: value.value)
        }
        return Answer(.ok)
    }

    private mutating func report(_ baseline: Baseline, of owner: Int) -> Answer {
        guard baseline.confidencePermille <= 1000 else { return Answer(.invalid, .field) }
        let registers = hw.wa.owner[owner]
        registers.reportCpu = .init(permille: baseline.processorPermille)
        registers.reportMemory = .init(kib: baseline.memoryKiB)
        registers.reportNetwork = .init(kibPerSecond: baseline.networkKiBPerSecond)
        reported.insert(owner)
        analysis.take(baseline, of: owner, intervalMicroseconds: windowMicroseconds &* analysis.windows)
        return Answer(.ok)
    }

    /// Commits what the host wants an owner to have. While the policy is on it makes room among the owners that aren't pinned.
    private mutating func set(_ allocation: Allocation, _ request: Request) -> Answer {
        let owner = request.owner
        guard allocation.guaranteePermille <= 1000, allocation.weight >= 1, allocation.flags & ~Allocation.pinned == 0,
              allocation.firstMemoryBlock < 4096, allocation.memoryBlocks < 4096
        else { return Answer(.invalid, .field) }
        let most = partitions.mostShare(limit: allocation.limit)
        let before = policy.grant(of: owner), unitsBefore = partitions.allocation(of: owner)
        policy.set(UInt32(allocation.guaranteePermille), of: owner, weight: UInt32(allocation.weight), most: most, pin: true)
        setUnits(allocation, of: owner)
        let makesRoom = !policy.fits && policy.parameters.policy != PolicyNumber.fixed
        if makesRoom {
            policy.decide(at: interrupts.now, makingRoom: true)
            stageTargets()
        }
        partitions.stage(allocation, of: owner)
        let outcome = partitions.commit()
        guard outcome.reason == .none else {
            policy.set(before.share, of: owner, weight: before.weight, most: before.most, pin: before.isPinned)
            setUnits(unitsBefore, of: owner)
            return refused(outcome, request)
        }
        if makesRoom {
            unannounced = unannounced.union(policy.changing)
            policy.committed()
        }
        knownGeneration = partitions.generation
        policy.setBoost(0, of: owner)
        let isPinned = allocation.flags & Allocation.pinned != 0
        policy.set(UInt32(allocation.guaranteePermille), of: owner, weight: UInt32(allocation.weight), most: most, pin: isPinned)
        for resource in Resource.cores ... .fpga { policy.assign(partitions.units(of: resource, for: owner), of: resource, to: owner) }
        Settings(hw.sysctl).save(pinned: policy.pinned)
        counters.count(.commits)
        unannounced.insert(owner)
        return Answer(.ok)
    }

    private mutating func setUnits(_ allocation: Allocation, of owner: Int) {
        policy.setGrant(UInt32(allocation.serviceCores), of: .cores, for: owner)
        policy.setGrant(UInt32(allocation.memoryBlocks), of: .memory, for: owner)
        policy.setGrant(UInt32(allocation.gpuSlots), of: .gpu, for: owner)
        policy.setGrant(UInt32(allocation.fpgaSlots), of: .fpga, for: owner)
    }

    /// Takes in what the host wants for an owner. What is promised is in force with the next decisions; the Resource Manager sees to it.
    private mutating func set(_ terms: ServiceTerms, of owner: Int) -> Answer {
        guard terms.leastPermille <= 1000, terms.leastMemoryBlocks < 4096, terms.expectedMemoryBlocks < 4096 else {
            return Answer(.invalid, .field)
        }
        guard policy.canPromise(terms, to: owner) else { return Answer(.noSpace, .field) }
        policy.setTerms(terms, of: owner)
        partitions.limitFloor(of: owner, to: policy)
        return Answer(.ok)
    }

    private func refused(_ outcome: RM.RESULT, _ request: Request) -> Answer {
        counters.count(.commitsRejected)
        let status: AdminStatus = switch outcome.reason {
        case .limit, .weight, .owner: .invalid
        case .busy: .busy
        default: .noSpace
        }
        var word = outcome.rawValue.littleEndian
        let written = queue.write(request.chain, at: UInt32(AdminResult.byteCount), from: &word, count: 4)
        return Answer(status, .noResource, resultBytes: 4, written: written)
    }
}
