import Interconnect
import Registers
import Simulation
import Synchronization

/// The device's side of a split virtqueue (virtio 1.2 section 2.7).
///
/// Nothing that the driver writes is trusted: every index is checked against its table, every chain against its length, every
/// buffer against the DMA port, before the chain is handed out. A fault leaves the driver's memory as it was.
///
/// The driver may run on another processor, so the order of accesses matters. The DMA port's calls are opaque to the compiler;
/// the fences below order them for the processor, and each says against what.
public struct SplitQueue: Sendable {
    public let layout: QueueLayout
    private let hasEventIndex: Bool
    private let hasIndirect: Bool
    public private(set) var indices = QueueIndices(available: 0, taken: 0, used: 0, notificationsEnabled: true)
    /// `indices.used` when the driver was last considered for an interrupt (the "old" of section 2.7.10's formula).
    private var considered: UInt16 = 0
    /// The used index that the driver sees: `indices.used`, but for elements that were staged.
    private var published: UInt16 = 0
    /// Of the elements staged last, how many nobody was told of.
    private var untold: UInt16 = 0

    /// `VIRTQ_AVAIL_F_NO_INTERRUPT` and `VIRTQ_USED_F_NO_NOTIFY`, sections 2.7.6 and 2.7.8.
    private static let suppress: UInt16 = 1

    /// Checks size and alignment (section 2.7); the areas' addresses are checked when they are used.
    public init(layout: QueueLayout, features: Features) throws(QueueFault) {
        guard layout.size != 0, layout.size <= 32768, layout.size & (layout.size - 1) == 0 else { throw .invalidSize(layout.size) }
        guard layout.descriptorArea & 15 == 0 else { throw .misaligned(.descriptors, address: layout.descriptorArea, alignment: 16) }
        guard layout.driverArea & 1 == 0 else { throw .misaligned(.driver, address: layout.driverArea, alignment: 2) }
        guard layout.deviceArea & 3 == 0 else { throw .misaligned(.device, address: layout.deviceArea, alignment: 4) }
        self.layout = layout
        hasEventIndex = features.contains(.eventIndex)
        hasIndirect = features.contains(.indirectDescriptors)
    }

    /// A queue that goes on where another device has left it.
    init(layout: QueueLayout, features: Features, from start: QueueStart) throws(QueueFault) {
        try self.init(layout: layout, features: features)
        indices.available = start.taken
        indices.taken = start.taken
        indices.used = start.used
        considered = start.used
        published = start.used
    }

    /// Saves or replaces the positions; the rest is what the queue was made with.
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.state(&indices)
        try archive.require(
            indices.available &- indices.taken <= layout.size,
            "expected an available index up to \(layout.size) ahead of \(indices.taken), found \(indices.available)")
        try archive.integer(&considered)
        if archive.isLoading { published = indices.used }
    }

    // MARK: Addresses (sections 2.7.5, 2.7.6 and 2.7.8)

    private var mask: UInt16 { layout.size &- 1 }
    private var availableFlags: UInt64 { layout.driverArea }
    private var availableIndex: UInt64 { layout.driverArea &+ 2 }
    private func availableEntry(_ index: UInt16) -> UInt64 { layout.driverArea &+ 4 &+ 2 &* UInt64(index & mask) }
    private var usedEvent: UInt64 { layout.driverArea &+ 4 &+ 2 &* UInt64(layout.size) }
    private var usedFlags: UInt64 { layout.deviceArea }
    private var usedIndex: UInt64 { layout.deviceArea &+ 2 }
    private func usedEntry(_ index: UInt16) -> UInt64 { layout.deviceArea &+ 4 &+ 8 &* UInt64(index & mask) }
    private var availableEvent: UInt64 { layout.deviceArea &+ 4 &+ 8 &* UInt64(layout.size) }

    /// Bytes of each area, the event-index words included whether negotiated or not.
    public static func bytes(of area: QueueArea, size: UInt16) -> Int {
        switch area {
        case .descriptors: 16 * Int(size)
        case .driver: 6 + 2 * Int(size)
        case .device: 6 + 8 * Int(size)
        }
    }

    // MARK: Taking chains

    /// Takes the next chain; nil if there is none.
    /// - Parameter segments: gets its buffers, in their order.
    /// - Throws: what the driver did that no chain can be; nothing is taken then.
    public mutating func take(
        from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain? {
        if indices.taken == indices.available, try !refreshAvailable(memory) { return nil }
        guard let head = memory.load(availableEntry(indices.taken), as: UInt16.self) else {
            throw .areaUnreachable(.driver, address: availableEntry(indices.taken))
        }
        let chain = try chain(at: head, from: memory, into: segments)
        indices.taken &+= 1
        return chain
    }

    /// Whether a chain could be taken.
    public mutating func hasChains(in memory: GuestMemory) throws(QueueFault) -> Bool {
        if indices.taken != indices.available { return true }
        return try refreshAvailable(memory)
    }

    /// The chain that begins with a descriptor.
    func chain(
        at head: UInt16, from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain {
        guard head < layout.size else { throw .headOutOfRange(head: head, size: layout.size) }
        return try walk(head, memory, segments)
    }

    /// Goes on where another device stopped. The driver's wish for notifications is renewed when the queue is next looked at, whatever
    /// that device has left in the used ring.
    mutating func resume(taken: UInt16, used: UInt16) {
        indices = QueueIndices(available: taken, taken: taken, used: used, notificationsEnabled: false)
        considered = used
        published = used
    }

    /// The used ring's index in the driver's memory; nil if it can't be read.
    func usedIndex(in memory: GuestMemory) -> UInt16? { memory.load(usedIndex, as: UInt16.self) }

    /// Reads the driver's index; true if it is ahead of what was taken.
    private mutating func refreshAvailable(_ memory: GuestMemory) throws(QueueFault) -> Bool {
        guard let index = memory.load(availableIndex, as: UInt16.self) else {
            throw .areaUnreachable(.driver, address: availableIndex)
        }
        guard index &- indices.taken <= layout.size else {
            throw .indexJump(available: index, taken: indices.taken, size: layout.size)
        }
        indices.available = index
        // The driver wrote ring entries and descriptors before its index (2.7.13.3.1): read them after it.
        atomicMemoryFence(ordering: .acquiring)
        return index != indices.taken
    }

    /// Follows one chain through the table, and through at most one indirect table at its end (section 2.7.5.3).
    private func walk(
        _ head: UInt16, _ memory: GuestMemory, _ segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain {
        var chain = DescriptorChain(head: head)
        var table = layout.descriptorArea
        var tableSize = UInt32(layout.size)
        var isIndirect = false
        var index = head
        var left = tableSize
        while true {
            guard left > 0 else { throw .loop(head: head) }
            left &-= 1
            let address = table &+ 16 &* UInt64(index)
            var descriptor = Descriptor()
            guard withUnsafeMutableBytes(of: &descriptor, { memory.read(address, into: $0) }) == .ok else {
                if isIndirect { throw .bufferUnreachable(descriptor: index, address: address, length: 16, isWrite: false) }
                throw .areaUnreachable(.descriptors, address: address)
            }
            let flags = UInt16(littleEndian: descriptor.flags)
            if flags & DescriptorFlag.indirect != 0 {
                table = UInt64(littleEndian: descriptor.address)
                tableSize = try DescriptorChain.tableSize(
                    address: table, length: UInt32(littleEndian: descriptor.length), flags: flags, at: index,
                    isNegotiated: hasIndirect, isNested: isIndirect)
                (left, index, isIndirect) = (tableSize, 0, true)
                continue
            }
            let buffer = Segment(
                address: UInt64(littleEndian: descriptor.address), length: UInt32(littleEndian: descriptor.length),
                isWritable: flags & DescriptorFlag.write != 0)
            try chain.append(buffer, at: index, memory, segments)
            guard flags & DescriptorFlag.next != 0 else { return chain }
            let next = UInt16(littleEndian: descriptor.next)
            guard UInt32(next) < tableSize else { throw .nextOutOfRange(descriptor: index, next: next, size: tableSize) }
            index = next
        }
    }

    // MARK: Giving chains back

    /// Writes a used element, of which the driver hears by ``publish(in:)``.
    public mutating func stage(head: UInt16, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        let address = usedEntry(indices.used)
        // struct virtq_used_elem: id, then len, both 32 bits wide (2.7.8).
        let element = UInt64(head) | UInt64(written) << 32
        if let place = memory.place(address, bytes: 8) {
            place.storeBytes(of: element.littleEndian, as: UInt64.self)
            untold &+= 1
        } else {
            tellStaged(memory)
            guard memory.store(element, to: address) else { throw .areaUnreachable(.device, address: address) }
        }
        indices.used &+= 1
    }

    /// Shows the driver the elements that were staged.
    public mutating func publish(in memory: GuestMemory) throws(QueueFault) {
        guard published != indices.used else { return }
        tellStaged(memory)
        // The driver reads buffers and elements after the index (2.7.8.2): they must be there before it.
        atomicMemoryFence(ordering: .releasing)
        guard memory.store(indices.used, to: usedIndex) else { throw .areaUnreachable(.device, address: usedIndex) }
        published = indices.used
    }

    /// Tells of the elements that were written in place, all together.
    private mutating func tellStaged(_ memory: GuestMemory) {
        guard untold > 0 else { return }
        let first = indices.used &- untold
        let beforeWrap = min(untold, layout.size &- (first & mask))
        memory.wrote(usedEntry(first), bytes: 8 * Int(beforeWrap))
        if beforeWrap < untold { memory.wrote(usedEntry(first &+ beforeWrap), bytes: 8 * Int(untold &- beforeWrap)) }
        untold = 0
    }

    /// Whether the driver wants an interrupt for what it was shown since this was last asked.
    public mutating func takeInterrupt(in memory: GuestMemory) throws(QueueFault) -> Bool {
        let old = considered
        guard indices.used != old else { return false }
        considered = indices.used
        // The driver writes its wish, then looks at the used index; the device writes the index, then looks at the wish
        // (2.7.7.2). Without a full fence both could miss the other's write.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if hasEventIndex {
            guard let event = memory.load(usedEvent, as: UInt16.self) else { throw .areaUnreachable(.driver, address: usedEvent) }
            // Section 2.7.7.2, as vring_need_event() of section 2.7.10: the event lies in [old, used).
            return indices.used &- event &- 1 < indices.used &- old
        }
        guard let flags = memory.load(availableFlags, as: UInt16.self) else {
            throw .areaUnreachable(.driver, address: availableFlags)
        }
        return flags & Self.suppress == 0
    }

    // MARK: The driver's notifications (section 2.7.10)

    /// Asks the driver to notify of the next chain; true if chains came meanwhile.
    public mutating func enableNotifications(in memory: GuestMemory) throws(QueueFault) -> Bool {
        if hasEventIndex {
            guard memory.store(indices.taken, to: availableEvent) else { throw .areaUnreachable(.device, address: availableEvent) }
        } else if !indices.notificationsEnabled {
            guard memory.store(UInt16(0), to: usedFlags) else { throw .areaUnreachable(.device, address: usedFlags) }
        }
        indices.notificationsEnabled = true
        // As in takeInterrupt, with the sides exchanged: a chain made available before the driver saw the wish must be seen here.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return try refreshAvailable(memory)
    }

    /// Tells the driver that it need not notify.
    public mutating func disableNotifications(in memory: GuestMemory) throws(QueueFault) {
        guard indices.notificationsEnabled else { return }
        indices.notificationsEnabled = false
        // With the event index there is nothing to write: the event left behind is only reached again after a full wrap, and a
        // notification more than needed is harmless (2.7.10.1).
        guard !hasEventIndex else { return }
        guard memory.store(Self.suppress, to: usedFlags) else { throw .areaUnreachable(.device, address: usedFlags) }
    }
}

/// `struct virtq_desc`, section 2.7.5, as it lies in memory.
private struct Descriptor: BitwiseCopyable {
    var address: UInt64 = 0
    var length: UInt32 = 0
    var flags: UInt16 = 0
    var next: UInt16 = 0
}
