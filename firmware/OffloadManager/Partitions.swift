import AdminProtocol
import Hardware
import PolicyEngine

/// What the Resource Manager has granted, and how to change it. It checks every commit; nothing is in force that it has not accepted.
public struct Partitions {
    private let manager: RM
    public let linkBytesPerMicrosecond: UInt32

    public init(_ manager: RM) {
        self.manager = manager
        linkBytesPerMicrosecond = manager.linkCapacity.bytesPerUs
        // Whatever a firmware before this one has staged is not to slip in with the first commit.
        manager.write(RM.COMMAND(revert: true))
    }

    public var generation: UInt32 { manager.generation.count }

    /// What the owner has now.
    public func allocation(of owner: Int) -> Allocation {
        let active = manager.active[owner]
        let region = manager.activeRegion[owner]
        var allocation = Allocation()
        allocation.guaranteePermille = UInt16(truncatingIfNeeded: active.bandwidth.guarantee)
        allocation.weight = UInt16(truncatingIfNeeded: active.bandwidth.weight)
        allocation.limit = active.limit.bytesPerUs
        let slots = active.slots
        allocation.serviceCores = UInt8(truncatingIfNeeded: slots.cores)
        allocation.gpuSlots = UInt8(truncatingIfNeeded: slots.gpu)
        allocation.fpgaSlots = UInt8(truncatingIfNeeded: slots.fpga)
        if region.blocks != 0 {
            allocation.firstMemoryBlock = UInt16(truncatingIfNeeded: region.first)
            allocation.memoryBlocks = UInt16(truncatingIfNeeded: region.blocks)
        }
        allocation.generation = generation
        return allocation
    }

    public func guarantee(of owner: Int) -> UInt32 { manager.active[owner].bandwidth.guarantee }
    public func weight(of owner: Int) -> UInt32 { manager.active[owner].bandwidth.weight }
    /// log2 of the factor by which a policy has the weight count.
    public func boost(of owner: Int) -> UInt32 { manager.active[owner].bandwidth.boost }
    public func limit(of owner: Int) -> UInt32 { manager.active[owner].limit.bytesPerUs }

    /// Most that an owner's limit lets it have of the link, in 1/1000.
    public func mostShare(limit: UInt32) -> UInt32 {
        guard limit != 0, linkBytesPerMicrosecond != 0, limit < linkBytesPerMicrosecond else { return 1000 }
        return UInt32(truncatingIfNeeded: UInt64(limit) &* 1000 / UInt64(linkBytesPerMicrosecond))
    }

    /// What there is to divide of a resource. A unit of each always stays shared, so that nobody who has none of his own starves.
    public func total(of resource: Resource) -> UInt32 {
        let capacity = manager.capacity
        return switch resource {
        case .bandwidth: 1000
        case .cores: max(capacity.cores, 1) &- 1
        case .memory: UInt32(truncatingIfNeeded: memoryArea.count)
        case .gpu: max(capacity.gpu, 1) &- 1
        case .fpga: max(capacity.fpga, 1) &- 1
        }
    }

    /// What the owner has of a resource now.
    public func units(of resource: Resource, for owner: Int) -> UInt32 {
        let active = manager.active[owner]
        return switch resource {
        case .bandwidth: active.bandwidth.guarantee
        case .cores: active.slots.cores
        case .memory: manager.activeRegion[owner].blocks
        case .gpu: active.slots.gpu
        case .fpga: active.slots.fpga
        }
    }

    /// Stages what a decision gives an owner; its own weight and limit stay.
    public func stage(_ policy: borrowing PolicyEngine, of owner: Int) {
        let staged = manager.staged[owner]
        var bandwidth = staged.bandwidth
        bandwidth.guarantee = policy.target(of: owner)
        bandwidth.boost = policy.boost(of: owner)
        staged.bandwidth = bandwidth
        staged.slots = .init(
            cores: policy.target(of: owner, .cores), gpu: policy.target(of: owner, .gpu), fpga: policy.target(of: owner, .fpga))
    }

    // MARK: Memory

    /// Blocks that are divided. Below are the host's rings, above images of components and logs (firmware/README.md).
    private var memoryArea: Range<Int> {
        let blocks = Int(truncatingIfNeeded: manager.memoryCapacity.blocks)
        return blocks / 8..<min(blocks &* 7 / 16, blocks / 8 &+ BlockMap.limit)
    }

    /// Finds places for the memory of those whose targets have changed, and stages them. One run of blocks for each owner: it stays where
    /// it is if it can. Who finds no run that is long enough gets the longest one, and that as its target.
    public func stageMemory(_ policy: inout PolicyEngine) {
        let area = memoryArea
        var shrinking = OwnerSet(), growing = OwnerSet()
        var rest = policy.changing
        while let owner = rest.popFirst() {
            let target = policy.target(of: owner, .memory), now = policy.contexts[owner][.grant, .memory]
            if target < now { shrinking.insert(owner) } else if target > now { growing.insert(owner) }
        }
        guard !shrinking.union(growing).isEmpty else { return }
        var map = BlockMap()
        for entry in 0..<128 {
            let region = manager.stagedRegion[entry]
            if region.blocks != 0 { map.mark(Self.blocks(region).clamped(to: area), in: area, isUsed: true) }
        }
        while let owner = shrinking.popFirst() {
            let target = Int(truncatingIfNeeded: policy.target(of: owner, .memory)), blocks = Self.blocks(manager.stagedRegion[owner])
            let kept = blocks.lowerBound..<blocks.lowerBound &+ target
            map.mark(blocks.clamped(to: area), in: area, isUsed: false)
            map.mark(kept.clamped(to: area), in: area, isUsed: true)
            stage(kept, of: owner)
        }
        while let owner = growing.popFirst() {
            let target = Int(truncatingIfNeeded: policy.target(of: owner, .memory)), blocks = Self.blocks(manager.stagedRegion[owner])
            map.mark(blocks.clamped(to: area), in: area, isUsed: false)
            var place = blocks.lowerBound..<blocks.lowerBound &+ target
            if blocks.isEmpty || place.clamped(to: area) != place || !map.isFree(place, in: area) {
                let found = map.firstRun(of: target, in: area)
                place = found.count > blocks.count ? found : blocks
            }
            map.mark(place.clamped(to: area), in: area, isUsed: true)
            stage(place, of: owner)
            policy.limitTarget(of: owner, .memory, to: UInt32(truncatingIfNeeded: place.count))
        }
    }

    private static func blocks(_ region: RM.STAGED_REGION) -> Range<Int> {
        let first = Int(truncatingIfNeeded: region.first)
        return first..<first &+ Int(truncatingIfNeeded: region.blocks)
    }

    private func stage(_ blocks: Range<Int>, of owner: Int) {
        let isEmpty = blocks.isEmpty
        manager.stagedRegion[owner] = .init(
            owner: UInt32(truncatingIfNeeded: owner), first: isEmpty ? 0 : UInt32(truncatingIfNeeded: blocks.lowerBound),
            blocks: UInt32(truncatingIfNeeded: blocks.count))
    }

    // MARK: Floors

    /// What the Resource Manager sees to that the owner has at least.
    public func floor(of owner: Int) -> (permille: UInt32, cores: UInt32, blocks: UInt32) {
        let floor = manager.floor[owner]
        return (floor.guarantee, floor.cores, floor.blocks)
    }

    /// Sets the Resource Manager's floor of an owner to what it is promised, as far as it has that: a floor that isn't kept would have
    /// every commit refused.
    public func limitFloor(of owner: Int, to policy: borrowing PolicyEngine) {
        func kept(_ resource: Resource) -> UInt32 { min(policy.promise(to: owner, of: resource), units(of: resource, for: owner)) }
        manager.floor[owner] = .init(guarantee: kept(.bandwidth), cores: kept(.cores), blocks: kept(.memory))
    }

    /// Changes the whole partition of an owner with the next commit. The owner's memory region is the entry of its own number.
    public func stage(_ allocation: Allocation, of owner: Int) {
        let staged = manager.staged[owner]
        staged.bandwidth = .init(guarantee: UInt32(allocation.guaranteePermille), boost: 0, weight: UInt32(allocation.weight))
        staged.limit = .init(bytesPerUs: allocation.limit)
        staged.slots = .init(
            cores: UInt32(allocation.serviceCores), gpu: UInt32(allocation.gpuSlots), fpga: UInt32(allocation.fpgaSlots))
        manager.stagedRegion[owner] = .init(
            owner: UInt32(truncatingIfNeeded: owner), first: UInt32(allocation.firstMemoryBlock), blocks: UInt32(allocation.memoryBlocks))
    }

    /// Asks the Resource Manager to put what is staged in force now. If it refuses, the stage is as it was before.
    /// - Returns: RESULT; its reason is `none` if the commit was accepted.
    public func commit() -> RM.RESULT {
        manager.write(RM.COMMAND(commit: true))
        let result = manager.result
        if result.reason != .none { manager.write(RM.COMMAND(revert: true)) }
        return result
    }
}
