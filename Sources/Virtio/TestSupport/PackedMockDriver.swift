import Registers
import Synchronization

/// What tests and benchmarks ask of a driver's side of a queue in either ring format.
package protocol QueueDriver: AnyObject {
    var layout: QueueLayout { get }
    /// First byte after the queue: free for buffers.
    var buffers: UInt64 { get }
    /// Makes a chain available; what it is known by, or nil if too few descriptors are free.
    func submit(_ segments: [Segment]) -> UInt16?
    /// The same through a table of indirect descriptors at `table`.
    func submitIndirect(_ segments: [Segment], table: UInt64) -> UInt16?
    /// The next used chain.
    func reap() -> MockDriver.Used?
    /// Whether the device wants to be notified of what was made available since this was last asked.
    func needsNotification() -> Bool
    /// Asks for no interrupts, or for all.
    func suppressInterrupts(_ suppress: Bool)
    /// With the event index: asks for an interrupt with the next used chain.
    func wantInterruptForNext()
    /// What a notification says where VIRTIO_F_NOTIFICATION_DATA is negotiated (virtio 1.2 section 4.1.5.2): bits 16 to 31.
    var notificationData: UInt16 { get }
}

extension MockDriver: QueueDriver {
    package func wantInterruptForNext() { wantInterrupt(after: reaped) }
    package var notificationData: UInt16 { available }
}

/// The driver's side of one packed virtqueue, for tests and benchmarks, as virtio 1.2 sections 2.8.21 and 2.8.22 tell a driver to.
package final class PackedMockDriver: QueueDriver {
    package let memory: FlatMemory
    package let layout: QueueLayout
    package let usesEventIndex: Bool
    package let buffers: UInt64

    /// Next place for an available descriptor, and the next used one to look at, each with its wrap counter.
    @exclusivity(unchecked) package private(set) var next: UInt16 = 0
    @exclusivity(unchecked) package private(set) var nextWrap = true
    @exclusivity(unchecked) package private(set) var reaped: UInt16 = 0
    @exclusivity(unchecked) package private(set) var reapedWrap = true
    @exclusivity(unchecked) private var freeDescriptors: Int
    @exclusivity(unchecked) private var freeIDs: [UInt16]
    /// Descriptors of the ring that each buffer ID holds.
    @exclusivity(unchecked) private var held: [UInt16]
    /// Used descriptors whose WRITE flag didn't say whether something was written (section 2.8.4).
    @exclusivity(unchecked) package private(set) var wrongFlags = 0
    @exclusivity(unchecked) private var notified: UInt16 = 0
    @exclusivity(unchecked) private var notifiedWrap = true
    /// Free-running: descriptors made available.
    @exclusivity(unchecked) private var added: UInt32 = 0
    @exclusivity(unchecked) private var addedWhenNotified: UInt32 = 0

    private enum Flag {
        static let available: UInt16 = 1 << 7
        static let used: UInt16 = 1 << 15
    }

    package init(memory: FlatMemory, at base: UInt64? = nil, size: UInt16, usesEventIndex: Bool = false) {
        let start = base ?? memory.base
        let driver = start + UInt64(PackedQueue.bytes(of: .descriptors, size: size))
        self.memory = memory
        self.usesEventIndex = usesEventIndex
        layout = QueueLayout(size: size, descriptorArea: start, driverArea: driver, deviceArea: driver + 4)
        buffers = (driver + 8 + 4095) & ~4095
        freeDescriptors = Int(size)
        // Not the order of the ring: an ID is no place.
        freeIDs = Array(0..<size)
        held = [UInt16](repeating: 0, count: Int(size))
        memory[start, Int(buffers - start)] = [UInt8](repeating: 0, count: Int(buffers - start))
    }

    // MARK: A driver's work

    package func submit(_ segments: [Segment]) -> UInt16? {
        guard !segments.isEmpty, segments.count <= freeDescriptors, let id = freeIDs.popLast() else { return nil }
        let (first, firstWrap) = (next, nextWrap)
        var firstFlags: UInt16 = 0
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            let flags = state(nextWrap) | (segment.isWritable ? DescriptorFlag.write : 0) | (isLast ? 0 : DescriptorFlag.next)
            // The first descriptor's flags are written last: until then the chain isn't there.
            if index == 0 { firstFlags = flags }
            poke(next, segment, id: isLast ? id : 0xffff, flags: index == 0 ? state(!firstWrap) : flags)
            advance()
        }
        memory.store(firstFlags, at: address(first) + 14)
        return finish(id, descriptors: UInt16(segments.count))
    }

    package func submitIndirect(_ segments: [Segment], table: UInt64) -> UInt16? {
        guard freeDescriptors > 0, let id = freeIDs.popLast() else { return nil }
        for (index, segment) in segments.enumerated() {
            poke(UInt16(index), segment, id: 0, flags: segment.isWritable ? DescriptorFlag.write : 0, table: table)
        }
        let head = Segment(address: table, length: UInt32(16 * segments.count), isWritable: false)
        poke(next, head, id: id, flags: state(nextWrap) | DescriptorFlag.indirect)
        advance()
        return finish(id, descriptors: 1)
    }

    private func finish(_ id: UInt16, descriptors: UInt16) -> UInt16 {
        held[Int(id)] = descriptors
        freeDescriptors -= Int(descriptors)
        added &+= UInt32(descriptors)
        return id
    }

    private func advance() {
        next += 1
        if next == layout.size { (next, nextWrap) = (0, !nextWrap) }
    }

    package func reap() -> MockDriver.Used? {
        let flags = memory.load(address(reaped) + 14, as: UInt16.self)
        guard (flags & Flag.available != 0) == reapedWrap, (flags & Flag.used != 0) == reapedWrap else { return nil }
        let id = memory.load(address(reaped) + 12, as: UInt16.self)
        let written = memory.load(address(reaped) + 8, as: UInt32.self)
        if (flags & DescriptorFlag.write != 0) != (written != 0) { wrongFlags += 1 }
        // A device whose state was tampered with may say anything.
        guard Int(id) < held.count, held[Int(id)] > 0 else { return nil }
        let count = held[Int(id)]
        held[Int(id)] = 0
        freeIDs.append(id)
        freeDescriptors += Int(count)
        for _ in 0..<count {
            reaped += 1
            if reaped == layout.size { (reaped, reapedWrap) = (0, !reapedWrap) }
        }
        return MockDriver.Used(head: id, written: written)
    }

    package func needsNotification() -> Bool {
        let new = added - addedWhenNotified
        addedWhenNotified = added
        let (old, oldWrap) = (notified, notifiedWrap)
        (notified, notifiedWrap) = (next, nextWrap)
        let wish = memory.load(layout.deviceArea, as: UInt32.self)
        switch wish >> 16 & 3 {
        case 0: return true
        case 2:
            // Step by step, so that it is obviously right.
            var (place, wrap) = (old, oldWrap)
            for _ in 0..<new {
                if UInt32(place) == wish & 0x7fff, wrap == (wish >> 15 & 1 != 0) { return true }
                place += 1
                if place == layout.size { (place, wrap) = (0, !wrap) }
            }
            return false
        default: return false
        }
    }

    package func suppressInterrupts(_ suppress: Bool) {
        memory.store(UInt32(suppress ? 1 : 0) << 16, at: layout.driverArea)
    }

    /// Asks for an interrupt when the device writes the used descriptor at this place.
    package func wantInterrupt(at offset: UInt16, wrap: Bool) {
        memory.store(UInt32(offset) | (wrap ? 1 << 15 : 0) | 2 << 16, at: layout.driverArea)
        // As in MockDriver.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    package func wantInterruptForNext() { wantInterrupt(at: reaped, wrap: reapedWrap) }

    package var notificationData: UInt16 { next | (nextWrap ? 1 << 15 : 0) }
    /// Event suppression as the device wrote it: the position with its wrap counter, and the flags.
    package var deviceWish: (position: UInt16, flags: UInt16) {
        (memory.load(layout.deviceArea, as: UInt16.self), memory.load(layout.deviceArea + 2, as: UInt16.self))
    }

    // MARK: What a hostile driver does

    /// Flags of an available descriptor on the lap with this wrap counter.
    package func state(_ wrap: Bool) -> UInt16 { wrap ? Flag.available : Flag.used }

    package func poke(_ index: UInt16, _ segment: Segment, id: UInt16, flags: UInt16, table: UInt64? = nil) {
        let address = (table ?? layout.descriptorArea) + 16 * UInt64(index)
        memory.store(segment.address, at: address)
        memory.store(segment.length, at: address + 8)
        memory.store(id, at: address + 12)
        memory.store(flags, at: address + 14)
    }

    private func address(_ index: UInt16) -> UInt64 { layout.descriptorArea + 16 * UInt64(index) }
}
