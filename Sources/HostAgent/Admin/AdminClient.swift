import AdminProtocol

/// The firmware's services, one method for each.
public struct AdminClient {
    private let queue: AdminQueue
    /// What the commands' senders know of owners that have keys.
    public var keys = OwnerKeys()

    /// Commands through a queue that is set up already.
    public init(_ queue: AdminQueue) { self.queue = queue }

    /// Sets up the device's admin queue.
    /// - Throws: when the folder is no Outrigger device, or its firmware does not come up.
    public init(_ device: PCIDevice) throws(AgentError) {
        queue = try AdminQueue(HostInterface(device))
    }

    /// What the firmware is, and what it manages.
    public func identify() throws -> Identity { try send(.identify) }

    /// The commands that the firmware knows.
    public func features() throws -> OpcodeList { try send(.listOpcodes) }

    /// Sets a feature of the firmware, one of `Feature`, for instance the sampling window in cycles.
    public func setFeature(_ number: UInt32, to value: UInt64) throws {
        var feature = FeatureValue()
        feature.feature = number
        feature.value = value
        _ = try queue.send(AdminCommand(.setFeature), data: Self.bytes(of: feature), room: 0)
    }

    /// Reports what the host (member 0) or a virtual machine uses by itself.
    public func report(_ baseline: Baseline, member: Int = 0) throws {
        _ = try queue.send(command(.reportBaseline, member), data: Self.bytes(of: baseline), room: 0)
    }

    /// The parameters of the allocation policy in force.
    public func policy() throws -> PolicyParameters { try send(.getPolicy) }

    /// Replaces the policy's parameters.
    /// - Throws: when one is out of range; then all stay as they were.
    public func setPolicy(_ parameters: PolicyParameters) throws {
        _ = try queue.send(AdminCommand(.setPolicy), data: Self.bytes(of: parameters), room: 0)
    }

    /// The policies that there are, in the order of their numbers.
    public func policies() throws -> [PolicyEntry] {
        var entries: [PolicyEntry] = []
        for number in 0..<PolicyNumber.count {
            if let entry = try describe(policy: number) { entries.append(entry) }
        }
        return entries
    }

    /// One policy; nil if there is none of this number.
    public func describe(policy number: UInt32) throws -> PolicyEntry? {
        do {
            return try send(.describePolicy, data: Self.bytes(of: PolicySelect(number: number)))
        } catch let refusal as AdminQueue.Refusal where refusal.qualifier == AdminQualifier.field.rawValue {
            return nil
        }
    }

    /// Which policy decides, why, and what is expected of each.
    public func selection() throws -> SelectionStatus { try send(.getSelection) }

    /// Words of the decision log from a position on, as many as one command brings; from the oldest record on if that isn't there any more.
    /// - Throws: when an owner has a key: records say what every owner does.
    public func decisions(from position: UInt32) throws -> (header: DecisionLogHeader, words: [UInt32]) {
        let bytes = try queue.send(
            AdminCommand(.readDecisions), data: Self.bytes(of: DecisionLogRequest(position: position)), room: .max)
        let header: DecisionLogHeader = try Self.decode(bytes)
        let words = bytes.count / 4 - DecisionLogHeader.byteCount / 4
        guard header.count <= words else { throw AgentError("\(header.count) words of decisions expected from the firmware, \(words) found") }
        return (header, (0..<Int(header.count)).map { bytes.number(at: DecisionLogHeader.byteCount + 4 * $0, UInt32.self)! })
    }

    /// Sets the values that tune a policy.
    public func tune(policy number: UInt32, _ values: TuningValues) throws {
        _ = try queue.send(AdminCommand(.tunePolicy), data: Self.bytes(of: PolicyValues(number: number, values: values)), room: 0)
    }

    /// Uploads a program in pieces and makes it a policy, in place of the one that has the number.
    /// - Throws: ``PolicyRefusal`` when the firmware's verifier doesn't let it pass; then all stays as it was.
    public func install(policy number: UInt32, name: String, program: [UInt8]) throws {
        var checksum = Checksum()
        for byte in program { checksum.add(byte) }
        for offset in stride(from: 0, to: max(program.count, 1), by: PolicyPiece.longest) {
            let bytes = Array(program[offset..<min(offset + PolicyPiece.longest, program.count)])
            let piece = PolicyPiece(offset: UInt32(offset), count: UInt32(bytes.count))
            _ = try queue.send(AdminCommand(.uploadPolicy), data: Self.bytes(of: piece) + bytes, room: 0)
        }
        var installation = PolicyInstallation()
        installation.number = number
        installation.count = UInt32(program.count)
        installation.checksum = checksum.value
        installation.setName(name)
        do {
            _ = try queue.send(AdminCommand(.installPolicy), data: Self.bytes(of: installation), room: PolicyRefusal.byteCount)
        } catch let refusal as AdminQueue.Refusal where refusal.qualifier == AdminQualifier.program.rawValue {
            throw try Self.decode(refusal.result) as PolicyRefusal
        }
    }

    /// Takes an uploaded policy away.
    /// - Throws: when it is the one that is selected.
    public func remove(policy number: UInt32) throws {
        _ = try queue.send(AdminCommand(.removePolicy), data: Self.bytes(of: PolicySelect(number: number)), room: 0)
    }

    /// What the host (0) or a virtual machine has of the device.
    public func allocation(of member: Int) throws -> Allocation { try send(.getAllocation, member: member) }

    /// Gives the host (0) or a virtual machine so much of the device. Pinned, the policy leaves it alone.
    /// - Throws: with the Resource Manager's reason when it does not fit; then all stays as it was.
    public func setAllocation(_ allocation: Allocation, of member: Int) throws {
        _ = try queue.send(command(.setAllocation, member), data: Self.bytes(of: allocation), room: 4)
    }

    /// Puts what a virtual machine has of the device back to the default, and leaves it to the policy.
    public func releaseAllocation(of member: Int) throws {
        _ = try queue.send(command(.releaseAllocation, member), room: 4)
    }

    /// What the host has said that it wants for an owner.
    public func terms(of member: Int) throws -> ServiceTerms { try send(.getTerms, member: member) }

    /// Says what the host wants for an owner.
    public func setTerms(_ terms: ServiceTerms, of member: Int) throws {
        _ = try queue.send(command(.setTerms, member), data: Self.bytes(of: terms), room: 0)
    }

    /// Begins to log what device DMA writes to a virtual machine's memory.
    public func startLog(_ request: LogRequest, member: Int) throws -> LogStatus {
        try send(.startLog, member: member, data: Self.bytes(of: request))
    }
    /// Ends a log. What it holds can still be read.
    public func stopLog(member: Int) throws -> LogStatus { try send(.stopLog, member: member) }
    /// Closes the open extent, so that the ring has all that was written until now.
    public func harvestLog(member: Int) throws -> LogStatus { try send(.harvestLog, member: member) }

    /// A page of statistics of the owners from `first` on.
    public func statistics(first: Int = 0, owners: Int = 65) throws -> (header: StatisticsHeader, entries: [StatisticsEntry]) {
        try page(command(.getStatistics, first, owners), first, owners)
    }

    /// What the firmware has found out about the owners from `first` on.
    public func analysis(first: Int = 0, owners: Int = 65) throws -> (header: AnalysisHeader, entries: [AnalysisEntry]) {
        try page(command(.getAnalysis, first, owners), first, owners)
    }

    /// The latencies of an owner's requests since power-on, in device cycles.
    public func latency(of member: Int) throws -> LatencyHistogram { try send(.getLatency, member: member) }

    /// Where a virtual machine's component is, and what has become of its moves.
    public func component(of member: Int) throws -> ComponentStatus { try send(.getComponent, member: member) }

    /// How components move by themselves, and how often they did.
    public func placement() throws -> PlacementStatus { try send(.getPlacement) }

    /// Has components move by themselves, or no longer.
    /// - Throws: when a value is out of range; then all stay as they were.
    public func setPlacement(_ parameters: PlacementParameters) throws {
        _ = try queue.send(AdminCommand(.setPlacement), data: Self.bytes(of: parameters), room: 0)
    }

    /// Moves a component and waits for the end of the move, whatever it is.
    public func moveComponent(_ member: Int, to destination: ComponentPlace, stopAndCopy: Bool = false) throws -> ComponentStatus {
        var move = ComponentMove()
        move.destination = destination.rawValue
        move.flags = stopAndCopy ? ComponentMove.stopAndCopy : 0
        _ = try queue.send(command(.migrateComponent, member), data: Self.bytes(of: move), room: 0)
        while true {
            let status = try component(of: member)
            if status.outcome != ComponentStatus.Outcome.moving.rawValue { return status }
        }
    }

    /// Gives a virtual machine a key, without which no command concerns it any more, or takes it away (0).
    public func setKey(_ key: UInt64, of member: Int) throws {
        _ = try queue.send(command(.setKey, member), data: Self.bytes(of: OwnerKey(key: key)), room: 0)
    }

    /// What isolation has refused the owners from `first` on.
    public func audit(first: Int = 0, owners: Int = 65) throws -> (header: AuditHeader, entries: [AuditEntry]) {
        try page(AdminCommand(.getAudit), first, owners)
    }

    private func page<Header: PageHeader, Entry: WireLayout>(
        _ command: AdminCommand, _ first: Int, _ owners: Int
    ) throws -> (header: Header, entries: [Entry]) {
        var request = StatisticsRequest()
        request.firstOwner = UInt16(first)
        request.owners = UInt16(owners)
        let bytes = try queue.send(command, data: Self.bytes(of: request), room: Header.byteCount + owners * Entry.byteCount)
        let header: Header = try Self.decode(bytes)
        let entries: [Entry] = try (0..<Int(header.entries)).map { index in
            try Self.decode(Array(bytes.dropFirst(Header.byteCount + index * Int(header.entryBytes))))
        }
        return (header, entries)
    }

    private func command(_ opcode: AdminOpcode, _ member: Int) -> AdminCommand {
        AdminCommand(opcode, group: member == 0 ? .device : .virtualFunction, member: UInt64(member), key: keys[member])
    }

    /// A page shows an owner that has a key only to who asks for it alone.
    private func command(_ opcode: AdminOpcode, _ first: Int, _ owners: Int) -> AdminCommand {
        AdminCommand(opcode, key: owners == 1 ? keys[first] : 0)
    }

    private func send<Result: WireLayout>(_ opcode: AdminOpcode, member: Int = 0, data: [UInt8] = []) throws -> Result {
        try Self.decode(try queue.send(command(opcode, member), data: data, room: Result.byteCount))
    }

    private static func bytes<Value: WireLayout>(of value: Value) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Value.byteCount)
        bytes.withUnsafeMutableBytes { value.encode(to: $0.baseAddress!) }
        return bytes
    }

    private static func decode<Value: WireLayout>(_ bytes: [UInt8]) throws(AgentError) -> Value {
        guard bytes.count >= Value.byteCount else {
            throw AgentError("a result of \(Value.byteCount) bytes expected from the firmware, \(bytes.count) found")
        }
        return bytes.withUnsafeBytes { Value(decoding: $0.baseAddress!) }
    }
}

/// The head of a page with an entry for each owner.
private protocol PageHeader: WireLayout {
    var entries: UInt16 { get }
    var entryBytes: UInt16 { get }
}

extension StatisticsHeader: PageHeader {}
extension AnalysisHeader: PageHeader {}
extension AuditHeader: PageHeader {
    /// The page doesn't say it.
    var entryBytes: UInt16 { UInt16(AuditEntry.byteCount) }
}
