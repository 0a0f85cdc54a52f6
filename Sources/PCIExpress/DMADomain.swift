import Interconnect
import Registers
import Simulation

/// One function's DMA address space: an ordered map of disjoint intervals.
public final class DMADomain: DMAPort {
    public struct State {
        /// Sorted by address, disjoint.
        public internal(set) var mappings: [DMAMapping] = []
        /// All of them are a front-end's (``DMADomain/lend(to:)``).
        public internal(set) var isLent = false
        /// Faults of this function since power-on.
        public internal(set) var faultCount: UInt64 = 0
    }

    /// Function index.
    public let function: Int
    /// Whose memory this is, for the observers.
    public let owner: Owner
    public internal(set) var state = State() { didSet { cache.clear() } }
    /// Whether the function may master the bus now; follows from configuration space.
    var isEnabled = false { didSet { cache.clear() } }
    /// While somebody records.
    @exclusivity(unchecked) unowned(unsafe) var trace: (any TraceSink)? { didSet { openCache() } }
    /// Told of reads that ended without data (the completer aborts them: PCI Express Base 5.0, 7.5.1.1.4).
    var onReadFault: (() -> Void)?

    /// What the machine has mapped, whether or not it still is: the memory to which the mappings of a snapshot lead.
    private(set) var machineMappings: [DMAMapping] = []

    /// Finds the memory of the process that drives the function.
    public weak var client: (any ClientMemory)?
    let iommu: IOMMU
    private let cache = TranslationCache()
    public var translations: TranslationCache { cache }

    init(function: Int, owner: Owner, iommu: IOMMU) {
        self.function = function
        self.owner = owner
        self.iommu = iommu
        iommu.domains.append(.passUnretained(self))
        openCache()
    }

    deinit {
        iommu.domains.removeAll { $0.toOpaque() == Unmanaged.passUnretained(self).toOpaque() }
        cache.deallocate()
    }

    /// A device passes the domain by while nobody has to hear of its transfers.
    func openCache() { cache.isOpen = trace == nil && iommu.externalMemory == nil }

    // MARK: Mappings

    /// Adds a mapping. It may touch others but not overlap them.
    public func map(_ mapping: DMAMapping) throws(DMAMappingError) {
        try insert(mapping)
        if mapping.origin == .machine { machineMappings.append(mapping) }
    }

    func insert(_ mapping: DMAMapping) throws(DMAMappingError) {
        guard mapping.count > 0, mapping.address <= UInt64.max - (mapping.count - 1) else {
            throw .badRange(address: mapping.address, count: mapping.count)
        }
        let place = index(after: mapping.address)
        if place > 0, state.mappings[place - 1].last >= mapping.address {
            throw .overlap(address: mapping.address, count: mapping.count, with: state.mappings[place - 1].address)
        }
        if place < state.mappings.count, state.mappings[place].address <= mapping.last {
            throw .overlap(address: mapping.address, count: mapping.count, with: state.mappings[place].address)
        }
        state.mappings.insert(mapping, at: place)
    }

    /// Removes whatever is mapped in `count` bytes from `address` (to the end of the address space at most); a mapping that
    /// reaches beyond keeps the rest.
    public func unmap(_ address: UInt64, count: UInt64) {
        guard count > 0 else { return }
        let last = count - 1 > UInt64.max - address ? UInt64.max : address + (count - 1)
        var kept: [DMAMapping] = []
        for mapping in state.mappings {
            if mapping.last < address || mapping.address > last {
                kept.append(mapping)
                continue
            }
            if mapping.address < address {
                kept.append(mapping.part(from: mapping.address, to: address - 1))
            }
            if mapping.last > last {
                kept.append(mapping.part(from: last + 1, to: mapping.last))
            }
        }
        state.mappings = kept
    }

    public func released() { dropClient() }

    /// Removes every mapping of that origin.
    public func unmapAll(_ origin: DMAMapping.Origin) {
        state.mappings.removeAll { $0.origin == origin }
    }

    /// Replaces all mappings by those of somebody with an address space of his own. The domain is as before if one of them is refused.
    public func lend(to frontEnd: [DMAMapping]) throws(DMAMappingError) {
        let before = state
        state.mappings = []
        do {
            for mapping in frontEnd { try insert(mapping) }
        } catch {
            state = before
            throw error
        }
        state.isLent = true
    }

    /// Ends what ``lend(to:)`` began: the machine's mappings are back, and no others.
    public func takeBack() {
        state.mappings = machineMappings.sorted { $0.address < $1.address }
        state.isLent = false
    }

    /// Index of the first mapping that starts after `address`.
    private func index(after address: UInt64) -> Int {
        var low = 0, high = state.mappings.count
        while low < high {
            let middle = (low + high) / 2
            if state.mappings[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }

    // MARK: Transfers

    public func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        iommu.externalMemory == nil ? locate(address, count: count, writing: writing) : nil
    }

    private func locate(_ address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        if let hit = cache.find(address, count: count, writing: writing) { return hit }
        guard isEnabled, count >= 0 else { return nil }
        let place = index(after: address)
        guard place > 0 else { return nil }
        let mapping = state.mappings[place - 1]
        let start = address - mapping.address
        guard start < mapping.count, UInt64(count) <= mapping.count - start, writing ? mapping.isWritable : mapping.isReadable,
            let memory = mapping.memory
        else { return nil }
        cache.insert(
            mapping.address, count: mapping.count, memory, isReadable: mapping.isReadable, isWritable: mapping.isWritable, for: address)
        return memory + Int(start)
    }

    public func wrote(_ address: UInt64, count: Int) {
        guard count > 0 else { return }
        trace?.memoryTransferred(function: function, address: address, bytes: count, isWrite: true, status: .ok)
        iommu.observer?.memoryWritten(owner: owner, address: address, bytes: count, at: iommu.scheduler.now)
    }

    public func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return .ok }
        var status = BusStatus.ok
        if iommu.externalMemory == nil, let memory = locate(address, count: bytes.count, writing: false) {
            copyShared(from: memory, to: base, count: bytes.count)
        } else {
            status = transfer(address, count: bytes.count, writing: false) { mapping, start, offset, count in
                read(mapping, start, into: base + offset, count)
            }
        }
        trace?.memoryTransferred(function: function, address: address, bytes: bytes.count, isWrite: false, status: status)
        return status
    }

    public func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> BusStatus {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return .ok }
        if iommu.externalMemory == nil, let memory = locate(address, count: bytes.count, writing: true) {
            copyShared(from: base, to: memory, count: bytes.count)
        } else {
            let status = transfer(address, count: bytes.count, writing: true) { mapping, start, offset, count in
                write(base + offset, to: mapping, start, count)
            }
            guard status == .ok else {
                trace?.memoryTransferred(function: function, address: address, bytes: bytes.count, isWrite: true, status: status)
                return status
            }
        }
        wrote(address, count: bytes.count)
        return .ok
    }

    public func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return true }
        guard refusal(address, bytes.count, false, adopts: false) == nil else { return false }
        return forEachPiece(of: address, bytes.count) { mapping, start, offset, count in
            guard let memory = mapping.memory else {
                let target = UnsafeMutableRawBufferPointer(start: base + offset, count: count)
                if let image = mapping.image {
                    let part = image.bytes[(mapping.imageStart + Int(start))...].prefix(count)
                    target.copyMemory(from: UnsafeRawBufferPointer(rebasing: part))
                    return true
                }
                return mapping.client?.read(mapping.address &+ start, into: target) ?? false
            }
            (base + offset).copyMemory(from: memory + Int(start), byteCount: count)
            return true
        } == nil
    }

    public func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus {
        if count <= 0 || locate(address, count: count, writing: writing) != nil { return .ok }
        guard let (cause, at) = refusal(address, count, writing) else { return .ok }
        return fault(at, count, writing, cause)
    }

    /// A transfer over several mappings: all of it is checked before any of it moves.
    private func transfer(
        _ address: UInt64, count: Int, writing: Bool,
        _ move: (_ mapping: DMAMapping, _ start: UInt64, _ offset: Int, _ count: Int) -> Bool
    ) -> BusStatus {
        if let (cause, at) = refusal(address, count, writing) { return fault(at, count, writing, cause) }
        // Only a client that has just left loses memory under a transfer.
        if let lost = forEachPiece(of: address, count, move) { return fault(lost, count, writing, .unmapped) }
        return .ok
    }

    /// Does something with each mapped piece of a range that is mapped throughout.
    /// - Returns: the address of the first piece for which `body` was false; nil if there was none.
    private func forEachPiece(
        of address: UInt64, _ count: Int, _ body: (_ mapping: DMAMapping, _ start: UInt64, _ offset: Int, _ count: Int) -> Bool
    ) -> UInt64? {
        var place = index(after: address) - 1, offset = 0
        while offset < count {
            let mapping = state.mappings[place]
            let start = address &+ UInt64(offset) &- mapping.address
            let here = Int(min(mapping.count - start, UInt64(count - offset)))
            guard body(mapping, start, offset, here) else { return address &+ UInt64(offset) }
            offset += here
            place += 1
        }
        return nil
    }

    /// Why a transfer of at least one byte is not allowed, and the first address at which it isn't; nil if it is.
    /// - Parameter adopts: whether the client is asked for memory that isn't mapped yet.
    private func refusal(
        _ address: UInt64, _ count: Int, _ writing: Bool, adopts: Bool = true
    ) -> (DMAFault.Cause, at: UInt64)? {
        guard isEnabled else { return (.busMasterDisabled, address) }
        guard address <= UInt64.max - UInt64(count - 1) else { return (.unmapped, address) }
        var next = address, left = UInt64(count)
        while true {
            let place = index(after: next) - 1
            guard state.mappings.indices.contains(place), next <= state.mappings[place].last else {
                guard adopts, adopt(next) else { return (.unmapped, next) }
                continue
            }
            let mapping = state.mappings[place]
            guard writing ? mapping.isWritable : mapping.isReadable else { return (.notPermitted, next) }
            let here = mapping.count - (next - mapping.address)
            if here >= left { return nil }
            next += here
            left -= here
        }
    }

    /// The addresses around one that isn't mapped, up to the next mapping to both sides.
    func gap(around address: UInt64) -> ClosedRange<UInt64> {
        let place = index(after: address)
        let first = place > 0 ? state.mappings[place - 1].last + 1 : 0
        return first...(place < state.mappings.count ? state.mappings[place].address - 1 : .max)
    }

    private func fault(_ address: UInt64, _ count: Int, _ writing: Bool, _ cause: DMAFault.Cause) -> BusStatus {
        state.faultCount &+= 1
        trace?.faultMet(.iommu(function: function, address: address, cause: "\(cause)"))
        iommu.record(DMAFault(
            function: function, address: address, count: count, isWrite: writing, cause: cause, cycle: iommu.scheduler.now),
            by: owner)
        if cause != .busMasterDisabled, !writing { onReadFault?() }
        return .denied
    }
}
