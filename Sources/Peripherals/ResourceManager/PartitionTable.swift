import Interconnect
import RegisterMaps
import Registers
import Simulation

/// A complete division of the device: what every owner has, and who owns which memory blocks.
struct PartitionTable: Sendable, Equatable {
    static let owners = 65
    static let regions = 128

    /// Per owner, the values of its registers.
    struct Entry: Sendable, Equatable {
        var bandwidth: UInt64
        var limit: UInt64
        var slots: UInt64

        var guarantee: UInt64 { RM.STAGED_BANDWIDTH.guarantee.value(in: bandwidth) }
        var boost: UInt64 { RM.STAGED_BANDWIDTH.boost.value(in: bandwidth) }
        var weight: UInt64 { RM.STAGED_BANDWIDTH.weight.value(in: bandwidth) }
        var cores: UInt64 { RM.STAGED_SLOTS.cores.value(in: slots) }
        var gpu: UInt64 { RM.STAGED_SLOTS.gpu.value(in: slots) }
        var fpga: UInt64 { RM.STAGED_SLOTS.fpga.value(in: slots) }
    }

    var entries = [Entry](repeating: Entry(bandwidth: 1 << 16, limit: 0, slots: 0), count: owners)
    /// The values of the region registers.
    var regions = [UInt64](repeating: 0, count: regions)

    func owner(ofRegion region: Int) -> UInt8 { UInt8(truncatingIfNeeded: RM.STAGED_REGION.owner.value(in: regions[region])) }
    func firstBlock(ofRegion region: Int) -> Int { Int(RM.STAGED_REGION.first.value(in: regions[region])) }
    func blocks(ofRegion region: Int) -> Int { Int(RM.STAGED_REGION.blocks.value(in: regions[region])) }

    /// For links and pools, by owner.
    /// - Parameter memory: bytes that an owner has for itself.
    func partitions(memory: (UInt8) -> UInt64) -> [Partition] {
        entries.enumerated().map { owner, entry in
            Partition(
                guarantee: UInt16(entry.guarantee), limit: UInt32(entry.limit), weight: UInt16(entry.weight), boost: UInt8(entry.boost),
                serviceCores: UInt8(entry.cores), gpuSlots: UInt8(entry.gpu), fpgaSlots: UInt8(entry.fpga),
                memory: memory(UInt8(owner)))
        }
    }
}

extension PartitionTable: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.elements(&entries) { (archive, entry) throws(SnapshotError) in
            for value in [\Entry.bandwidth, \Entry.limit, \Entry.slots] { try archive.integer(&entry[keyPath: value], in: 0...0xffff_ffff) }
        }
        try archive.elements(&regions) { (archive, region) throws(SnapshotError) in try archive.integer(&region, in: 0...0xffff_ffff) }
    }
}

/// What there is to share out.
public struct DeviceResources: Sendable, Hashable {
    public var serviceCores: Int
    public var gpuSlots: Int
    public var fpgaSlots: Int
    /// Blocks of shared memory, from its start; at most 4095.
    public var memoryBlocks: Int
    /// log2 of a block's bytes.
    public var memoryBlockShift: Int
    /// Bytes per microsecond.
    public var linkBandwidth: UInt32

    public init(
        serviceCores: Int, gpuSlots: Int = 0, fpgaSlots: Int = 0, memoryBlocks: Int = 256, memoryBlockShift: Int = 16, linkBandwidth: UInt32
    ) {
        precondition((0...255).contains(serviceCores) && (0...255).contains(gpuSlots) && (0...255).contains(fpgaSlots),
                     "expected at most 255 service cores, GPU and FPGA slots each, found \(serviceCores), \(gpuSlots), \(fpgaSlots)")
        precondition((0...4095).contains(memoryBlocks) && (0...40).contains(memoryBlockShift),
                     "expected at most 4095 memory blocks of at most 2^40 bytes, found \(memoryBlocks) of 2^\(memoryBlockShift)")
        self.serviceCores = serviceCores; self.gpuSlots = gpuSlots; self.fpgaSlots = fpgaSlots
        self.memoryBlocks = memoryBlocks; self.memoryBlockShift = memoryBlockShift; self.linkBandwidth = linkBandwidth
    }
}

/// Why a table can't be committed, and the first owner and region that break the rule.
struct PartitionFault: Equatable {
    var reason: RM.Reason
    var owner = 0
    var region = 0
}

extension PartitionTable {
    /// The least that each owner must be left with, as the values of the FLOOR registers.
    typealias Floors = (_ owner: Int) -> UInt64

    /// The first rule that the table breaks, in the order of regmaps/rm/README.md; nil if it can be committed.
    func fault(in resources: DeviceResources, floors: Floors) -> PartitionFault? {
        if let owner = entries.firstIndex(where: { $0.weight == 0 }) { return .init(reason: .weight, owner: owner) }
        if let owner = excess(over: 1000, of: \.guarantee) { return .init(reason: .guarantee, owner: owner) }
        let link = UInt64(resources.linkBandwidth)
        if let owner = entries.firstIndex(where: { $0.limit != 0 && $0.limit * 1000 < $0.guarantee * link }) {
            return .init(reason: .limit, owner: owner)
        }
        if let owner = excess(over: resources.serviceCores, of: \.cores) { return .init(reason: .cores, owner: owner) }
        if let owner = excess(over: resources.gpuSlots, of: \.gpu) { return .init(reason: .gpu, owner: owner) }
        if let owner = excess(over: resources.fpgaSlots, of: \.fpga) { return .init(reason: .fpga, owner: owner) }
        let holders: BlockHolders
        switch blockHolders(resources.memoryBlocks) {
        case .success(let found): holders = found
        case .failure(let fault): return fault.fault
        }
        for owner in 0..<Self.owners {
            let floor = floors(owner)
            if entries[owner].guarantee < RM.FLOOR.guarantee.value(in: floor) || entries[owner].cores < RM.FLOOR.cores.value(in: floor)
                || UInt64(holders.count(of: UInt8(owner))) < RM.FLOOR.blocks.value(in: floor) {
                return .init(reason: .floor, owner: owner)
            }
        }
        return nil
    }

    /// The first owner with which the sum exceeds the capacity.
    private func excess(over capacity: Int, of amount: (Entry) -> UInt64) -> Int? {
        var sum: UInt64 = 0
        return entries.firstIndex {
            sum += amount($0)
            return sum > UInt64(capacity)
        }
    }

    struct RegionError: Error { var fault: PartitionFault }

    /// Who holds each memory block.
    func blockHolders(_ blocks: Int) -> Result<BlockHolders, RegionError> {
        let used = regions.indices.filter { self.blocks(ofRegion: $0) != 0 }
        func fault(_ reason: RM.Reason, _ region: Int) -> Result<BlockHolders, RegionError> {
            .failure(.init(fault: .init(reason: reason, owner: Int(owner(ofRegion: region)), region: region)))
        }
        if let region = used.first(where: { owner(ofRegion: $0) >= Self.owners && owner(ofRegion: $0) != Owner.device.rawValue }) {
            return fault(.owner, region)
        }
        if let region = used.first(where: { firstBlock(ofRegion: $0) + self.blocks(ofRegion: $0) > blocks }) {
            return fault(.range, region)
        }
        var holders = BlockHolders(blocks: blocks)
        for region in used {
            let first = firstBlock(ofRegion: region)
            guard holders.assign(first..<(first + self.blocks(ofRegion: region)), to: owner(ofRegion: region)) else {
                return fault(.overlap, region)
            }
        }
        return .success(holders)
    }
}

/// Who holds each memory block.
struct BlockHolders: Sendable, Equatable {
    /// The mark of a block in no region.
    static let nobody: UInt8 = 254

    private var holders: [UInt8]

    init(blocks: Int) { holders = .init(repeating: Self.nobody, count: blocks) }

    var blocks: Int { holders.count }

    subscript(_ block: Int) -> UInt8 { holders[block] }

    /// - Returns: false, with nothing changed, if somebody holds one of the blocks already.
    mutating func assign(_ range: Range<Int>, to owner: UInt8) -> Bool {
        guard holders[range].allSatisfy({ $0 == Self.nobody }) else { return false }
        for block in range { holders[block] = owner }
        return true
    }

    func count(of owner: UInt8) -> Int { holders.count { $0 == owner } }

    /// Whether a block that one has had may not be seen by another before it is cleared. The device may see all, and what the host had
    /// without a region it may see with one.
    static func hasSecrets(_ old: UInt8, from new: UInt8) -> Bool {
        func isHost(_ holder: UInt8) -> Bool { holder == nobody || holder == Owner.host.rawValue }
        return old != new && new != Owner.device.rawValue && !(isHost(old) && isHost(new))
    }
}
