import Interconnect
import Registers
import Simulation
import Synchronization

/// The device's side of a packed virtqueue (virtio 1.2 section 2.8): one ring, in which the driver writes available descriptors and the
/// device overwrites them by used ones.
///
/// As in ``SplitQueue`` nothing that the driver writes is trusted, a fault leaves its memory as it was, and each fence says against what it
/// orders.
public struct PackedQueue: Sendable {
    /// A place in the ring: an offset, and the wrap counter that its descriptors are compared with (section 2.8.1).
    struct Position: Equatable, Sendable {
        var offset: UInt16 = 0
        var wrap = true

        /// As in event suppression structures and notification data: the wrap counter is bit 15.
        var encoded: UInt16 { offset | (wrap ? 1 << 15 : 0) }

        init() {}

        init(encoded: UInt16) {
            (offset, wrap) = (encoded & 0x7fff, encoded >> 15 != 0)
        }

        mutating func advance(by count: UInt16, size: UInt16) {
            // Both are at most 32768, so that the sum fits.
            let sum = UInt32(offset) + UInt32(count)
            if sum >= UInt32(size) { wrap.toggle() }
            offset = UInt16(sum >= UInt32(size) ? sum - UInt32(size) : sum)
        }

        /// How far it is from `start` to here, going forwards through the ring's two laps.
        func distance(from start: Position, size: UInt16) -> UInt32 {
            let laps = 2 * UInt32(size)
            let (to, from) = (UInt32(offset) + (wrap ? 0 : UInt32(size)), UInt32(start.offset) + (start.wrap ? 0 : UInt32(size)))
            return to >= from ? to - from : to + laps - from
        }
    }

    public let layout: QueueLayout
    private let hasEventIndex: Bool
    private let hasIndirect: Bool
    private var taken = Position()
    private var used = Position()
    /// `used` when the driver was last considered for an interrupt.
    private var considered = Position()
    /// Descriptors that were taken and not given back.
    private var held: UInt16 = 0
    /// The first used descriptor that was staged, whose flags the driver has yet to see, and these flags.
    private var unpublished: UInt16?
    private var unpublishedFlags: UInt16 = 0
    private var notificationsEnabled = true

    /// Flags by which a descriptor is available or used, section 2.8.1.
    private enum Flag {
        static let available: UInt16 = 1 << 7
        static let used: UInt16 = 1 << 15
    }
    /// `RING_EVENT_FLAGS_*`, section 2.8.10.
    private enum EventFlag {
        static let enable: UInt16 = 0
        static let disable: UInt16 = 1
        static let descriptor: UInt16 = 2
    }

    /// Checks size and alignment (section 2.8.10); the areas' addresses are checked when they are used.
    public init(layout: QueueLayout, features: Features) throws(QueueFault) {
        guard layout.size != 0, layout.size <= 32768 else { throw .invalidSize(layout.size) }
        guard layout.descriptorArea & 15 == 0 else { throw .misaligned(.descriptors, address: layout.descriptorArea, alignment: 16) }
        guard layout.driverArea & 3 == 0 else { throw .misaligned(.driver, address: layout.driverArea, alignment: 4) }
        guard layout.deviceArea & 3 == 0 else { throw .misaligned(.device, address: layout.deviceArea, alignment: 4) }
        self.layout = layout
        hasEventIndex = features.contains(.eventIndex)
        hasIndirect = features.contains(.indirectDescriptors)
    }

    /// A queue that goes on where another device has left it: at a position up to which all was given back.
    init(layout: QueueLayout, features: Features, from start: QueueStart) throws(QueueFault) {
        try self.init(layout: layout, features: features)
        used = Position(encoded: start.used)
        guard used.offset < layout.size else { throw .invalidSize(layout.size) }
        (taken, considered) = (used, used)
    }

    /// The used position after so many descriptors more, with the wrap counter in bit 15.
    func usedPosition(after descriptors: UInt16) -> UInt16 {
        var position = used
        position.advance(by: min(descriptors, held), size: layout.size)
        return position.encoded
    }

    /// Whether descriptor flags say that a descriptor is available to a device that is at this position, with the wrap counter in bit 15.
    public static func isAvailable(flags: UInt16, at position: UInt16) -> Bool {
        let wrap = position >> 15 != 0
        return (flags & Flag.available != 0) == wrap && (flags & Flag.used != 0) != wrap
    }

    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.state(&taken)
        try archive.state(&used)
        try archive.state(&considered)
        try archive.integer(&held, in: 0...layout.size)
        try archive.flag(&notificationsEnabled)
        let size = layout.size, (taken, used, considered) = (taken, used, considered)
        try archive.require(
            max(taken.offset, used.offset, considered.offset) < size && taken.distance(from: used, size: size) == UInt32(held),
            "expected positions in a ring of \(size) with \(held) descriptors between used and taken")
    }

    private func address(of offset: UInt16) -> UInt64 { layout.descriptorArea &+ 16 &* UInt64(offset) }

    /// Bytes of each area.
    public static func bytes(of area: QueueArea, size: UInt16) -> Int {
        area == .descriptors ? 16 * Int(size) : 4
    }

    /// Where driver and device are, for inspection and snapshots.
    public var indices: QueueIndices {
        QueueIndices(
            available: taken.encoded, taken: taken.encoded, used: used.encoded, notificationsEnabled: notificationsEnabled)
    }

    // MARK: Taking chains

    /// Takes the next chain; nil if there is none.
    /// - Parameter segments: gets its buffers, in their order.
    /// - Throws: what the driver did that no chain can be; nothing is taken then.
    public mutating func take(
        from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain? {
        guard try isAvailable(taken, memory) else { return nil }
        let (chain, end) = try walk(memory, segments)
        held &+= chain.descriptors
        taken = end
        return chain
    }

    /// Whether a chain could be taken.
    public func hasChains(in memory: GuestMemory) throws(QueueFault) -> Bool { try isAvailable(taken, memory) }

    /// Whether the driver has made the descriptor at a position available.
    private func isAvailable(_ position: Position, _ memory: GuestMemory) throws(QueueFault) -> Bool {
        guard let flags = memory.load(address(of: position.offset) &+ 14, as: UInt16.self) else {
            throw .areaUnreachable(.descriptors, address: address(of: position.offset))
        }
        guard (flags & Flag.available != 0) == position.wrap, (flags & Flag.used != 0) != position.wrap else { return false }
        // The driver writes the flags of a chain's first descriptor last (2.8.21): read the rest after them.
        atomicMemoryFence(ordering: .acquiring)
        return true
    }

    /// Reads the chain at `taken`, whose descriptors follow each other in the ring (section 2.8.6), and where the next one begins.
    private func walk(
        _ memory: GuestMemory, _ segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> (chain: DescriptorChain, end: Position) {
        // Until the last descriptor has told the buffer ID, faults know the chain by where it begins.
        var chain = DescriptorChain(head: taken.offset)
        var position = taken
        while true {
            guard chain.descriptors < layout.size else { throw .loop(head: taken.offset) }
            guard chain.descriptors &+ held < layout.size else { throw .overrun(head: taken.offset, size: layout.size) }
            let index = position.offset
            var descriptor = Descriptor()
            guard withUnsafeMutableBytes(of: &descriptor, { memory.read(address(of: index), into: $0) }) == .ok else {
                throw .areaUnreachable(.descriptors, address: address(of: index))
            }
            let flags = UInt16(littleEndian: descriptor.flags)
            if flags & DescriptorFlag.indirect != 0 {
                // Section 2.8.19: never together with NEXT, so that the table is all of the chain.
                guard chain.descriptors == 0 else { throw .indirectWithNext(descriptor: index) }
                try walkTable(descriptor, at: index, &chain, memory, segments)
            } else {
                try chain.append(descriptor.segment, at: index, memory, segments)
            }
            chain.descriptors &+= 1
            position.advance(by: 1, size: layout.size)
            if flags & DescriptorFlag.next == 0 {
                chain.head = UInt16(littleEndian: descriptor.id)
                return (chain, position)
            }
        }
    }

    /// Adds the buffers of an indirect table: all its descriptors, of whose flags only WRITE counts (sections 2.8.7 and 2.8.8).
    private func walkTable(
        _ descriptor: Descriptor, at index: UInt16, _ chain: inout DescriptorChain, _ memory: GuestMemory,
        _ segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) {
        let table = UInt64(littleEndian: descriptor.address)
        let count = try DescriptorChain.tableSize(
            address: table, length: UInt32(littleEndian: descriptor.length), flags: UInt16(littleEndian: descriptor.flags), at: index,
            isNegotiated: hasIndirect, isNested: false)
        for entry in 0..<count {
            // At most 65536 descriptors, so that the number fits.
            let inner = UInt16(truncatingIfNeeded: entry)
            var element = Descriptor()
            let address = table &+ 16 &* UInt64(entry)
            guard withUnsafeMutableBytes(of: &element, { memory.read(address, into: $0) }) == .ok else {
                throw .bufferUnreachable(descriptor: inner, address: address, length: 16, isWrite: false)
            }
            guard UInt16(littleEndian: element.flags) & DescriptorFlag.indirect == 0 else { throw .nestedIndirect(descriptor: inner) }
            try chain.append(element.segment, at: inner, memory, segments)
        }
    }

    // MARK: Giving chains back

    /// Writes a used descriptor in the place of the oldest that were not given back (section 2.8.5), and skips the chain's others. The
    /// driver, which looks at them in their order, sees it by ``publish(in:)``.
    public mutating func stage(id: UInt16, descriptors: UInt16, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        let address = address(of: used.offset)
        let flags = (used.wrap ? Flag.available | Flag.used : 0) | (written != 0 ? DescriptorFlag.write : 0)
        // Bytes 8 to 15 of the descriptor: length, buffer ID, flags. Those of the first one come last, and show all others.
        var body = (UInt64(written) | UInt64(id) << 32 | UInt64(flags) << 48).littleEndian
        let bytes = unpublished == nil ? 6 : 8
        let status = withUnsafeMutableBytes(of: &body) {
            memory.write(address &+ 8, from: UnsafeRawBufferPointer(rebasing: $0[..<bytes]))
        }
        guard status == .ok else { throw .areaUnreachable(.descriptors, address: address) }
        if unpublished == nil { (unpublished, unpublishedFlags) = (used.offset, flags) }
        moveOn(by: descriptors)
    }

    /// Writes a used descriptor that the driver sees at once, by one store: whoever comes after a device that was killed finds the chain
    /// as it was, or given back.
    mutating func putAtOnce(id: UInt16, descriptors: UInt16, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        let address = address(of: used.offset)
        let flags = (used.wrap ? Flag.available | Flag.used : 0) | (written != 0 ? DescriptorFlag.write : 0)
        // The driver reads the buffers after this.
        atomicMemoryFence(ordering: .releasing)
        guard memory.store(UInt64(written) | UInt64(id) << 32 | UInt64(flags) << 48, to: address &+ 8) else {
            throw .areaUnreachable(.descriptors, address: address)
        }
        moveOn(by: descriptors)
    }

    private mutating func moveOn(by descriptors: UInt16) {
        // Never more than were taken, whatever a stored snapshot says.
        let count = min(descriptors, held)
        used.advance(by: count, size: layout.size)
        held &-= count
    }

    /// Shows the driver the descriptors that were staged.
    public mutating func publish(in memory: GuestMemory) throws(QueueFault) {
        guard let first = unpublished else { return }
        // The driver reads descriptors and buffers after the flags (2.8.22): they must be there before.
        atomicMemoryFence(ordering: .releasing)
        let address = address(of: first)
        guard memory.store(unpublishedFlags, to: address &+ 14) else { throw .areaUnreachable(.descriptors, address: address) }
        unpublished = nil
    }

    /// Whether the driver wants an interrupt for what it was shown since this was last asked.
    public mutating func takeInterrupt(in memory: GuestMemory) throws(QueueFault) -> Bool {
        let old = considered
        guard used != old else { return false }
        considered = used
        // The driver writes its wish, then looks at the ring; the device writes the ring, then looks at the wish. Without a full fence
        // both could miss the other's write.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        // struct pvirtq_event_suppress (2.8.10): the position, then the flags.
        guard let wish = memory.load(layout.driverArea, as: UInt32.self) else {
            throw .areaUnreachable(.driver, address: layout.driverArea)
        }
        switch UInt16(truncatingIfNeeded: wish >> 16) & 3 {
        case EventFlag.enable: return true
        case EventFlag.descriptor where hasEventIndex:
            let event = Position(encoded: UInt16(truncatingIfNeeded: wish))
            // The event lies in [old, used). One outside the ring is never reached.
            guard event.offset < layout.size else { return false }
            return event.distance(from: old, size: layout.size) < used.distance(from: old, size: layout.size)
        default: return false
        }
    }

    // MARK: The driver's notifications (section 2.8.10)

    /// Asks the driver to notify of the next chain; true if chains came meanwhile.
    public mutating func enableNotifications(in memory: GuestMemory) throws(QueueFault) -> Bool {
        let flags = hasEventIndex ? EventFlag.descriptor : EventFlag.enable
        if hasEventIndex || !notificationsEnabled {
            guard memory.store(UInt32(taken.encoded) | UInt32(flags) << 16, to: layout.deviceArea) else {
                throw .areaUnreachable(.device, address: layout.deviceArea)
            }
        }
        notificationsEnabled = true
        // As in takeInterrupt, with the sides exchanged: a chain made available before the driver saw the wish must be seen here.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return try isAvailable(taken, memory)
    }

    /// Tells the driver that it need not notify.
    public mutating func disableNotifications(in memory: GuestMemory) throws(QueueFault) {
        guard notificationsEnabled else { return }
        notificationsEnabled = false
        guard memory.store(EventFlag.disable, to: layout.deviceArea &+ 2) else {
            throw .areaUnreachable(.device, address: layout.deviceArea)
        }
    }
}

extension PackedQueue.Position: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        var stored = encoded
        try archive.integer(&stored)
        self = Self(encoded: stored)
    }
}

/// `struct pvirtq_desc`, section 2.8.13, as it lies in memory.
private struct Descriptor: BitwiseCopyable {
    var address: UInt64 = 0
    var length: UInt32 = 0
    var id: UInt16 = 0
    var flags: UInt16 = 0

    var segment: Segment {
        Segment(
            address: UInt64(littleEndian: address), length: UInt32(littleEndian: length),
            isWritable: UInt16(littleEndian: flags) & DescriptorFlag.write != 0)
    }
}
