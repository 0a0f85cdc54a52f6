import Interconnect
import Registers
import Simulation

/// A piece of a function's DMA address space and the memory behind it.
public struct DMAMapping {
    /// Who put it there, hence what a reset of the function does to it.
    public enum Origin: UInt8, Sendable {
        /// The machine: host memory, shared memory. Stays, and is there for as long as the domain.
        case machine = 0
        /// A client process's memory: dropped when the function is reset.
        case client = 1
    }
    /// I/O virtual address of the first byte.
    public var address: UInt64
    public var count: UInt64
    public var memory: UnsafeMutableRawPointer
    public var isReadable: Bool
    public var isWritable: Bool
    public var origin: Origin

    public init(
        address: UInt64, count: UInt64, memory: UnsafeMutableRawPointer, isReadable: Bool = true, isWritable: Bool = true,
        origin: Origin = .machine
    ) {
        self.address = address; self.count = count; self.memory = memory
        self.isReadable = isReadable; self.isWritable = isWritable; self.origin = origin
    }

    /// Address of the last byte; `count` is never zero.
    var last: UInt64 { address &+ count &- 1 }
}

/// A mapping that a domain refuses.
public enum DMAMappingError: Error, Hashable, CustomStringConvertible {
    /// No bytes, or past the end of the address space.
    case badRange(address: UInt64, count: UInt64)
    case overlap(address: UInt64, count: UInt64, with: UInt64)

    public var description: String {
        switch self {
        case .badRange(let address, let count):
            "DMA mapping: expected a range of at least one byte below 2^64, found \(count) bytes at 0x\(hex(address, 1))"
        case .overlap(let address, let count, let other):
            "DMA mapping: expected a free range, found \(count) bytes at 0x\(hex(address, 1)) over the mapping at 0x\(hex(other, 1))"
        }
    }
}

/// A DMA transfer that was refused. No byte of it moved.
public struct DMAFault: Hashable, Sendable {
    public enum Cause: UInt8, Sendable {
        /// Some byte of it is not mapped.
        case unmapped = 0
        /// All is mapped, but not for reading (or writing).
        case notPermitted = 1
        /// The function, or the port above it, may not master the bus.
        case busMasterDisabled = 2
    }
    /// Function index.
    public var function: Int
    /// First address that was refused.
    public var address: UInt64
    /// Bytes of the whole transfer.
    public var count: Int
    public var isWrite: Bool
    public var cause: Cause
    public var cycle: Cycle
}

/// The translation unit in front of host memory: one ``DMADomain`` per function, and the record of what was refused.
public final class IOMMU {
    public struct State: Sendable {
        /// The latest faults, oldest first, at most `IOMMU.recordLimit`.
        public internal(set) var faults: [DMAFault] = []
        /// All faults since power-on.
        public internal(set) var faultCount: UInt64 = 0
    }
    /// Faults that the record keeps.
    public static let recordLimit = 64

    public internal(set) var state = State()
    /// There while what is read from memory of others is an input: of a recording, or of a replay.
    public var externalMemory: ExternalMemory?
    /// Hears of every byte range that a function wrote.
    public weak var observer: (any DMAObserver)?
    let scheduler: Scheduler

    init(scheduler: Scheduler) {
        self.scheduler = scheduler
    }

    /// Forgets the recorded faults; the count goes on.
    public func clearFaults() {
        state.faults.removeAll()
    }

    func record(_ fault: DMAFault) {
        if state.faults.count == Self.recordLimit { state.faults.removeFirst() }
        state.faults.append(fault)
        state.faultCount &+= 1
    }
}

/// One function's DMA address space: an ordered map of disjoint intervals.
public final class DMADomain: DMAPort {
    public struct State {
        /// Sorted by address, disjoint.
        public internal(set) var mappings: [DMAMapping] = []
        /// Faults of this function since power-on.
        public internal(set) var faultCount: UInt64 = 0
    }

    /// The last mapping that was hit. Raw memory, so that the way most descriptors take has neither ARC nor exclusivity checks.
    private struct Window {
        var address: UInt64 = 0
        /// 0: nothing is cached, or the function may not master the bus.
        var count: UInt64 = 0
        var memory: UnsafeMutableRawPointer?
        var isReadable = false
        var isWritable = false
    }

    /// Function index.
    public let function: Int
    /// Whose memory this is, for the observers.
    public let owner: Owner
    public internal(set) var state = State() { didSet { window.pointee.count = 0 } }
    /// Whether the function may master the bus now; follows from configuration space.
    var isEnabled = false { didSet { window.pointee.count = 0 } }
    /// While somebody records.
    @exclusivity(unchecked) unowned(unsafe) var trace: (any TraceSink)?
    /// Told of reads that ended without data (the completer aborts them: PCI Express Base 5.0, 7.5.1.1.4).
    var onReadFault: (() -> Void)?

    /// What the machine has mapped, whether or not it still is: the memory to which the mappings of a snapshot lead.
    private(set) var machineMappings: [DMAMapping] = []

    private let iommu: IOMMU
    private let window: UnsafeMutablePointer<Window>

    init(function: Int, owner: Owner, iommu: IOMMU) {
        self.function = function
        self.owner = owner
        self.iommu = iommu
        window = .allocate(capacity: 1)
        window.initialize(to: Window())
    }

    deinit {
        window.deallocate()
    }

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
                var head = mapping
                head.count = address - mapping.address
                kept.append(head)
            }
            if mapping.last > last {
                var tail = mapping
                tail.address = last + 1
                tail.count = mapping.last - last
                tail.memory = mapping.memory + Int(tail.address - mapping.address)
                kept.append(tail)
            }
        }
        state.mappings = kept
    }

    /// Removes every mapping of that origin.
    public func unmapAll(_ origin: DMAMapping.Origin) {
        state.mappings.removeAll { $0.origin == origin }
    }

    /// Replaces all mappings by a client's: the function belongs to somebody with an address space of his own. The domain is as before
    /// if one of them is refused.
    public func lend(to client: [DMAMapping]) throws(DMAMappingError) {
        let before = state.mappings
        state.mappings = []
        do {
            for mapping in client { try insert(mapping) }
        } catch {
            state.mappings = before
            throw error
        }
    }

    /// Ends what ``lend(to:)`` began: the machine's mappings are back, and no others.
    public func takeBack() {
        state.mappings = machineMappings.sorted { $0.address < $1.address }
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
        let hit = window.pointee
        let offset = address &- hit.address
        if offset < hit.count, count >= 0, UInt64(count) <= hit.count - offset, writing ? hit.isWritable : hit.isReadable {
            return hit.memory! + Int(offset)
        }
        guard isEnabled, count >= 0 else { return nil }
        let place = index(after: address)
        guard place > 0 else { return nil }
        let mapping = state.mappings[place - 1]
        let start = address - mapping.address
        guard start < mapping.count, UInt64(count) <= mapping.count - start, writing ? mapping.isWritable : mapping.isReadable else {
            return nil
        }
        window.pointee = Window(
            address: mapping.address, count: mapping.count, memory: mapping.memory, isReadable: mapping.isReadable,
            isWritable: mapping.isWritable)
        return mapping.memory + Int(start)
    }

    public func wrote(_ address: UInt64, count: Int) {
        guard count > 0 else { return }
        trace?.memoryTransferred(function: function, address: address, bytes: count, isWrite: true, status: .ok)
        iommu.observer?.memoryWritten(owner: owner, address: address, bytes: count, at: iommu.scheduler.now)
    }

    public func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return .ok }
        if let memory = locate(address, count: bytes.count, writing: false) {
            read(memory, into: base, bytes.count)
            trace?.memoryTransferred(function: function, address: address, bytes: bytes.count, isWrite: false, status: .ok)
            return .ok
        }
        let status = transfer(address, count: bytes.count, writing: false) { offset, memory, count in
            read(memory, into: base + offset, count)
        }
        trace?.memoryTransferred(function: function, address: address, bytes: bytes.count, isWrite: false, status: status)
        return status
    }

    public func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> BusStatus {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return .ok }
        if let memory = locate(address, count: bytes.count, writing: true) {
            write(base, to: memory, bytes.count)
        } else {
            let status = transfer(address, count: bytes.count, writing: true) { offset, memory, count in
                write(base + offset, to: memory, count)
            }
            guard status == .ok else {
                trace?.memoryTransferred(function: function, address: address, bytes: bytes.count, isWrite: true, status: status)
                return status
            }
        }
        wrote(address, count: bytes.count)
        return .ok
    }

    private func read(_ memory: UnsafeRawPointer, into target: UnsafeMutableRawPointer, _ count: Int) {
        if let external = iommu.externalMemory, external.read(memory, into: .init(start: target, count: count)) { return }
        target.copyMemory(from: memory, byteCount: count)
    }

    private func write(_ source: UnsafeRawPointer, to memory: UnsafeMutableRawPointer, _ count: Int) {
        if let external = iommu.externalMemory { external.willWrite(.init(start: source, count: count), to: memory) }
        memory.copyMemory(from: source, byteCount: count)
    }

    public func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, bytes.count > 0 else { return true }
        guard refusal(address, bytes.count, false) == nil else { return false }
        return transfer(address, count: bytes.count, writing: false) { offset, memory, count in
            (base + offset).copyMemory(from: memory, byteCount: count)
        } == .ok
    }

    public func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus {
        if count <= 0 || locate(address, count: count, writing: writing) != nil { return .ok }
        guard let (cause, at) = refusal(address, count, writing) else { return .ok }
        return fault(at, count, writing, cause)
    }

    /// A transfer over several mappings: all of it is checked before any of it moves.
    private func transfer(
        _ address: UInt64, count: Int, writing: Bool, _ move: (_ offset: Int, _ memory: UnsafeMutableRawPointer, _ count: Int) -> Void
    ) -> BusStatus {
        if let (cause, at) = refusal(address, count, writing) { return fault(at, count, writing, cause) }
        var place = index(after: address) - 1, offset = 0
        while offset < count {
            let mapping = state.mappings[place]
            let start = address &+ UInt64(offset) &- mapping.address
            let here = Int(min(mapping.count - start, UInt64(count - offset)))
            move(offset, mapping.memory + Int(start), here)
            offset += here
            place += 1
        }
        return .ok
    }

    /// Why a transfer of at least one byte is not allowed, and the first address at which it isn't; nil if it is.
    private func refusal(_ address: UInt64, _ count: Int, _ writing: Bool) -> (DMAFault.Cause, at: UInt64)? {
        guard isEnabled else { return (.busMasterDisabled, address) }
        guard address <= UInt64.max - UInt64(count - 1) else { return (.unmapped, address) }
        var place = index(after: address) - 1, next = address, left = UInt64(count)
        while true {
            guard state.mappings.indices.contains(place), next >= state.mappings[place].address, next <= state.mappings[place].last else {
                return (.unmapped, next)
            }
            let mapping = state.mappings[place]
            guard writing ? mapping.isWritable : mapping.isReadable else { return (.notPermitted, next) }
            let here = mapping.count - (next - mapping.address)
            if here >= left { return nil }
            next += here
            left -= here
            place += 1
        }
    }

    private func fault(_ address: UInt64, _ count: Int, _ writing: Bool, _ cause: DMAFault.Cause) -> BusStatus {
        state.faultCount &+= 1
        trace?.faultMet(.iommu(function: function, address: address, cause: "\(cause)"))
        iommu.record(DMAFault(
            function: function, address: address, count: count, isWrite: writing, cause: cause, cycle: iommu.scheduler.now))
        if cause != .busMasterDisabled, !writing { onReadFault?() }
        return .denied
    }
}
