import Interconnect
import RegisterMaps
import Registers
import Simulation

/// RM, the Resource Manager: partitions bandwidth, service cores, memory blocks and accelerator slots between owners, and commits a
/// change all at once. Theory of operation and programmer's guide: regmaps/rm/README.md.
public final class ResourceManager: BusTarget, RegisterModel, DeadlineTarget, MemoryGuard, ArchivedModel {
    /// All that changes, beside the register values.
    public struct State: Sendable {
        var active = PartitionTable()
        var holders: BlockHolders
        /// A checked table that waits for its cycle.
        var pending: PartitionTable?
        /// Blocks that have changed hands and are still to be cleared, lowest first: 1.
        var unclean: [UInt8]

        init(blocks: Int) {
            holders = BlockHolders(blocks: blocks)
            unclean = [UInt8](repeating: 0, count: blocks)
        }
    }

    /// Bytes that are cleared in a cycle.
    static let clearingRate: UInt64 = 16

    public let registers: RegisterBlock
    public let resources: DeviceResources
    /// The block's interrupt.
    public let interrupt = Wire("rm")
    public private(set) var state: State
    /// Hears of accesses to memory blocks of others.
    public weak var violations: (any IsolationObserver)?

    private let scheduler: Scheduler
    private var commit: Deadline!
    private var clearing: Deadline!
    private var sinks: [any PartitionSink] = []
    /// The way to the memory that is shared out, and its first address.
    private var memory: (port: any DMAPort, base: UInt64)?
    /// Who knows of the use of slots.
    public weak var slotUse: (any SlotUseSource)?

    /// - Parameter number: the number of the first register, for traces.
    public init(_ resources: DeviceResources, on scheduler: Scheduler, number: Int = 0) {
        self.resources = resources
        self.scheduler = scheduler
        state = State(blocks: resources.memoryBlocks)
        registers = RegisterBlock(RM.map, number: number)
        commit = Deadline("rm.commit", on: scheduler, target: self)
        clearing = Deadline("rm.clearing", on: scheduler, target: self, tag: 1)
        showCapacity()
    }

    /// Adds a link or pool that obeys the active table, and tells it that at once.
    public func connect(_ sink: any PartitionSink) {
        sinks.append(sink)
        sink.partitionsCommitted(partitions, at: scheduler.now)
    }

    /// Connects the memory that is shared out.
    public func connect(_ port: any DMAPort, at base: UInt64) { memory = (port, base) }

    /// A reset of the device: every owner is back to weight 1 and nothing else, from now on.
    public func reset(_ kind: ResetKind) {
        commit.cancel()
        clearing.cancel()
        registers.reset(kind)
        state = State(blocks: resources.memoryBlocks)
        showCapacity()
        tellSinks(at: scheduler.now)
        settle()
    }

    private func showCapacity() {
        registers[RM.CAPACITY.cores] = UInt64(resources.serviceCores)
        registers[RM.CAPACITY.gpu] = UInt64(resources.gpuSlots)
        registers[RM.CAPACITY.fpga] = UInt64(resources.fpgaSlots)
        registers[RM.MEMORY_CAPACITY.blocks] = UInt64(resources.memoryBlocks)
        registers[RM.MEMORY_CAPACITY.block_shift] = UInt64(resources.memoryBlockShift)
        registers[RM.LINK_CAPACITY] = UInt64(resources.linkBandwidth)
    }

    /// What an owner has now.
    public struct Holding: Sendable {
        /// In 1/1000 of the link.
        public let guarantee: UInt64
        public let weight: UInt64
        /// Bytes per microsecond; 0: none.
        public let limit: UInt64
        public let cores: UInt64, gpu: UInt64, fpga: UInt64
        public let memoryBlocks: UInt64
    }

    /// - Parameter owner: 0...64.
    public func holding(of owner: Int) -> Holding {
        let entry = state.active.entries[owner]
        return Holding(
            guarantee: entry.guarantee, weight: entry.weight, limit: entry.limit, cores: entry.cores, gpu: entry.gpu, fpga: entry.fpga,
            memoryBlocks: UInt64(state.holders.count(of: UInt8(truncatingIfNeeded: owner))))
    }

    // MARK: The firmware's side

    public func access(_ access: inout BusAccess) -> BusStatus {
        let status = registers.access(&access, model: self)
        if access.isWrite { settle() }
        return status
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case RM.INTR_TEST: registers[RM.INTR_STATE] |= new
        case RM.COMMAND:
            if RM.COMMAND.cancel.isSet(in: new) { cancel() }
            if RM.COMMAND.revert.isSet(in: new) { revert() }
            if RM.COMMAND.commit.isSet(in: new) { stage(at: access.time) }
        default: break
        }
    }

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        let owner = Owner(rawValue: UInt8(truncatingIfNeeded: element))
        switch register {
        case RM.USE_GPU: registers[RM.USE_GPU, element] = slotUse?.requestCycles(at: .gpu, of: owner) ?? 0
        case RM.USE_FPGA: registers[RM.USE_FPGA, element] = slotUse?.requestCycles(at: .fpga, of: owner) ?? 0
        default: break
        }
    }

    private var staged: PartitionTable {
        var table = PartitionTable()
        for owner in 0..<PartitionTable.owners {
            table.entries[owner] = .init(
                bandwidth: registers[RM.STAGED_BANDWIDTH, owner], limit: registers[RM.STAGED_LIMIT, owner],
                slots: registers[RM.STAGED_SLOTS, owner])
        }
        for region in 0..<PartitionTable.regions { table.regions[region] = registers[RM.STAGED_REGION, region] }
        return table
    }

    // MARK: Commit

    /// Checks the staged tables and takes them, for the cycle in COMMIT_AT.
    private func stage(at cycle: Cycle) {
        guard state.pending == nil else { return reject(.init(reason: .busy)) }
        let table = staged
        if let fault = table.fault(in: resources, floors: { registers[RM.FLOOR, $0] }) { return reject(fault) }
        registers[RM.RESULT] = 0
        let due = registers[RM.COMMIT_AT_HI] << 32 | registers[RM.COMMIT_AT_LO]
        guard due > cycle else { return activate(table, at: cycle) }
        state.pending = table
        registers[RM.RESULT.pending] = 1
        commit.arm(at: due)
    }

    private func reject(_ fault: PartitionFault) {
        registers[RM.RESULT.reason] = fault.reason.rawValue
        registers[RM.RESULT.owner] = UInt64(fault.owner)
        registers[RM.RESULT.region] = UInt64(fault.region)
        registers.raise(RM.INTR_STATE.rejected)
    }

    private func cancel() {
        commit.cancel()
        state.pending = nil
        registers[RM.RESULT.pending] = 0
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        if tag == 1 { return clearNext(at: cycle) }
        guard let table = state.pending else { return }
        cancel()
        activate(table, at: cycle)
        settle()
    }

    private func activate(_ table: PartitionTable, at cycle: Cycle) {
        // The table was checked when it was taken, against capacities that never change.
        guard case .success(let holders) = table.blockHolders(resources.memoryBlocks) else { return }
        let before = state.holders
        state.active = table
        state.holders = holders
        for block in 0..<holders.blocks where BlockHolders.hasSecrets(before[block], from: holders[block]) { state.unclean[block] = 1 }
        beginClearing(at: cycle)
        for owner in 0..<PartitionTable.owners {
            registers[RM.ACTIVE_BANDWIDTH, owner] = table.entries[owner].bandwidth
            registers[RM.ACTIVE_LIMIT, owner] = table.entries[owner].limit
            registers[RM.ACTIVE_SLOTS, owner] = table.entries[owner].slots
        }
        for region in 0..<PartitionTable.regions { registers[RM.ACTIVE_REGION, region] = table.regions[region] }
        registers[RM.GENERATION] = (registers[RM.GENERATION] &+ 1) & 0xffff_ffff
        registers[RM.COMMITTED_AT] = cycle
        registers.raise(RM.INTR_STATE.committed)
        tellSinks(at: cycle)
    }

    private func revert() {
        for owner in 0..<PartitionTable.owners {
            registers[RM.STAGED_BANDWIDTH, owner] = state.active.entries[owner].bandwidth
            registers[RM.STAGED_LIMIT, owner] = state.active.entries[owner].limit
            registers[RM.STAGED_SLOTS, owner] = state.active.entries[owner].slots
        }
        for region in 0..<PartitionTable.regions { registers[RM.STAGED_REGION, region] = state.active.regions[region] }
    }

    // MARK: Clearing

    private func beginClearing(at cycle: Cycle) {
        let left = state.unclean.reduce(0) { $0 + Int($1) }
        registers[RM.CLEARING] = UInt64(left)
        if left != 0, clearing.due == nil { clearing.arm(at: cycle &+ cyclesPerBlock) }
    }

    private var cyclesPerBlock: Cycle { max((1 << UInt64(resources.memoryBlockShift)) / Self.clearingRate, 1) }

    /// A block has been cleared; the next one follows.
    private func clearNext(at cycle: Cycle) {
        guard let block = state.unclean.firstIndex(of: 1) else { return }
        if let memory {
            let piece = [UInt8](repeating: 0, count: min(1 << resources.memoryBlockShift, 1 << 16))
            let start = memory.base &+ UInt64(block) << UInt64(resources.memoryBlockShift)
            for offset in stride(from: 0, to: 1 << resources.memoryBlockShift, by: piece.count) {
                _ = piece.withUnsafeBytes { memory.port.write(start &+ UInt64(offset), from: $0) }
            }
        }
        state.unclean[block] = 0
        beginClearing(at: cycle)
        guard registers[RM.CLEARING] == 0 else { return }
        registers.raise(RM.INTR_STATE.cleared)
        tellSinks(at: cycle)
        settle()
    }

    /// Bytes of an owner's blocks that it can use.
    private func memory(of owner: UInt8) -> UInt64 {
        var blocks: UInt64 = 0
        for block in 0..<state.holders.blocks where state.holders[block] == owner && state.unclean[block] == 0 { blocks += 1 }
        return blocks << UInt64(resources.memoryBlockShift)
    }

    private var partitions: [Partition] {
        // Most owners have none.
        var owners = [Bool](repeating: false, count: 256)
        for block in 0..<state.holders.blocks { owners[Int(state.holders[block])] = true }
        return state.active.partitions { owners[Int($0)] ? memory(of: $0) : 0 }
    }

    private func tellSinks(at cycle: Cycle) {
        let partitions = partitions
        for sink in sinks { sink.partitionsCommitted(partitions, at: cycle) }
    }

    // MARK: Isolation

    public func permits(_ owner: Owner, offset: UInt64, count: UInt64, at cycle: Cycle) -> Bool {
        guard owner != .device, count != 0 else { return true }
        let shift = UInt64(resources.memoryBlockShift)
        let (end, overflow) = offset.addingReportingOverflow(count &- 1)
        let memory = UInt64(state.holders.blocks)
        // What lies beyond the blocks is nobody's.
        let first = min(offset >> shift, memory)
        let last = min((overflow ? .max : end) >> shift, memory)
        for block in first...last {
            let holder = block < memory ? state.holders[Int(block)] : BlockHolders.nobody
            let isUnclean = block < memory && state.unclean[Int(block)] != 0
            if !isUnclean, holder == owner.rawValue || holder == BlockHolders.nobody && owner == .host { continue }
            let refusing = isUnclean || holder == BlockHolders.nobody ? Owner.device.rawValue : holder
            deny(owner, holder: refusing, address: max(offset, block << shift), at: cycle)
            return false
        }
        return true
    }

    private func deny(_ owner: Owner, holder: UInt8, address: UInt64, at cycle: Cycle) {
        violations?.refused(.memory, to: owner, holder: Owner(rawValue: holder), address: address, at: cycle)
        registers[RM.DENIED] = min(registers[RM.DENIED] &+ 1, 0xffff_ffff)
        registers[RM.DENIED_OWNER.owner] = UInt64(owner.rawValue)
        registers[RM.DENIED_OWNER.holder] = UInt64(holder)
        registers[RM.DENIED_ADDRESS] = address
        if owner.rawValue < PartitionTable.owners {
            let element = Int(owner.rawValue)
            registers[RM.ACTIVE_DENIED, element] = min(registers[RM.ACTIVE_DENIED, element] &+ 1, 0xffff_ffff)
        }
        registers.raise(RM.INTR_STATE.denied)
        settle()
    }

    private func settle() { interrupt.drive(registers.interrupt) }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        for owner in 0..<PartitionTable.owners { (registers[RM.USE_GPU, owner], registers[RM.USE_FPGA, owner]) = (0, 0) }
        try archive.section("rm", version: 2) { (archive, version) throws(SnapshotError) in
            try archive.require(version == 2, "expected version 2, found \(version)")
            try registers.archive(&archive)
            try archive.state(&state.active)
            try archive.optional(&state.pending, blank: PartitionTable()) { (archive, table) throws(SnapshotError) in
                try table.archive(&archive)
            }
            for table in [state.active, state.pending].compactMap({ $0 }) where archive.isLoading {
                // Floors may have been raised since it was checked.
                let fault = table.fault(in: resources) { _ in 0 }
                try archive.require(fault == nil, "expected a table that can be committed, found that of owner \(fault?.owner ?? 0)")
            }
            if archive.isLoading, case .success(let holders) = state.active.blockHolders(resources.memoryBlocks) { state.holders = holders }
            try archive.elements(&state.unclean) { (archive, mark) throws(SnapshotError) in try archive.integer(&mark, in: 0...1) }
            try clearing.archive(&archive)
            try commit.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
