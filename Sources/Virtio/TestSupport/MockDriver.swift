import Registers
import Synchronization

/// The driver's side of one split virtqueue, for tests and benchmarks: lays the queue out in memory, makes chains available and
/// reaps used ones, as virtio 1.2 sections 2.7.13 and 2.7.14 tell a driver to. `poke` functions write what no driver should.
package final class MockDriver {
    package let memory: FlatMemory
    package let layout: QueueLayout
    package let usesEventIndex: Bool
    /// First byte after the queue: free for buffers.
    package let buffers: UInt64

    // Unchecked, so that a benchmark measures the device and not the checks around these.
    @exclusivity(unchecked) package private(set) var available: UInt16 = 0
    @exclusivity(unchecked) package private(set) var reaped: UInt16 = 0
    /// Chains that are available or in the device's hands.
    @exclusivity(unchecked) package private(set) var outstanding = 0
    @exclusivity(unchecked) private var free: [UInt16]
    /// How many descriptors of the table each head holds.
    @exclusivity(unchecked) private var held: [UInt16]
    @exclusivity(unchecked) private var notified: UInt16 = 0

    package enum Flag {
        package static let next: UInt16 = 1
        package static let write: UInt16 = 2
        package static let indirect: UInt16 = 4
    }

    package struct Used: Equatable {
        package var head: UInt16
        package var written: UInt32

        package init(head: UInt16, written: UInt32) {
            self.head = head; self.written = written
        }
    }

    /// - Parameter legacyAlignment: of the device area, 4096 on a legacy interface (section 2.7.2).
    package init(memory: FlatMemory, at base: UInt64? = nil, size: UInt16, usesEventIndex: Bool = false, legacyAlignment: UInt64 = 4) {
        let start = base ?? memory.base
        let driver = start + UInt64(SplitQueue.bytes(of: .descriptors, size: size))
        let device = (driver + UInt64(SplitQueue.bytes(of: .driver, size: size)) + legacyAlignment - 1) & ~(legacyAlignment - 1)
        self.memory = memory
        self.usesEventIndex = usesEventIndex
        layout = QueueLayout(size: size, descriptorArea: start, driverArea: driver, deviceArea: device)
        buffers = (device + UInt64(SplitQueue.bytes(of: .device, size: size)) + 4095) & ~4095
        free = Array((0..<size).reversed())
        held = [UInt16](repeating: 0, count: Int(size))
        let rings = Int(buffers - start)
        memory[start, rings] = [UInt8](repeating: 0, count: rings)
    }

    // MARK: A driver's work

    /// Puts a chain into the descriptor table and makes it available; nil if too few descriptors are free.
    package func submit(_ segments: [Segment]) -> UInt16? {
        guard segments.count <= free.count, !segments.isEmpty else { return nil }
        var next: UInt16 = 0
        for (index, segment) in segments.enumerated().reversed() {
            let descriptor = free.removeLast()
            let isLast = index == segments.count - 1
            pokeDescriptor(descriptor, segment, flags: isLast ? 0 : Flag.next, next: next)
            next = descriptor
        }
        held[Int(next)] = UInt16(segments.count)
        publish(next)
        return next
    }

    /// The same through a table of indirect descriptors at `table`.
    package func submitIndirect(_ segments: [Segment], table: UInt64) -> UInt16? {
        guard let head = free.popLast() else { return nil }
        for (index, segment) in segments.enumerated() {
            let isLast = index == segments.count - 1
            pokeDescriptor(UInt16(index), segment, flags: isLast ? 0 : Flag.next, next: UInt16(index) &+ 1, table: table)
        }
        pokeDescriptor(
            head, Segment(address: table, length: UInt32(16 * segments.count), isWritable: false), flags: Flag.indirect, next: 0)
        held[Int(head)] = 1
        publish(head)
        return head
    }

    /// Makes a head available that is already in the table.
    package func publish(_ head: UInt16) {
        memory.store(head, at: layout.driverArea + 4 + 2 * UInt64(available % layout.size))
        available &+= 1
        // The device may be another process's (2.7.13.3.1).
        atomicMemoryFence(ordering: .releasing)
        memory.store(available, at: layout.driverArea + 2)
        outstanding += 1
    }

    /// Whether the device wants to be notified of what was made available since this was last asked (section 2.7.13.4).
    package func needsNotification() -> Bool {
        let old = notified
        notified = available
        // Section 2.7.13.4.1: the device's wish is read after the index has been written, or both sides may miss each other.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if usesEventIndex {
            let event = memory.load(layout.deviceArea + 4 + 8 * UInt64(layout.size), as: UInt16.self)
            return available &- event &- 1 < available &- old
        }
        return memory.load(layout.deviceArea, as: UInt16.self) & 1 == 0
    }

    /// The next used element, whose descriptors become free again.
    package func reap() -> Used? {
        guard memory.load(layout.deviceArea + 2, as: UInt16.self) != reaped else { return nil }
        atomicMemoryFence(ordering: .acquiring)
        let entry = layout.deviceArea + 4 + 8 * UInt64(reaped % layout.size)
        let head = UInt16(truncatingIfNeeded: memory.load(entry, as: UInt32.self))
        let used = Used(head: head, written: memory.load(entry + 4, as: UInt32.self))
        reaped &+= 1
        outstanding -= 1
        // A device whose state was tampered with may say anything, and write anywhere.
        guard Int(used.head) < held.count else { return used }
        var descriptor = used.head
        for _ in 0..<held[Int(used.head)] {
            guard descriptor < layout.size else { break }
            free.append(descriptor)
            descriptor = memory.load(layout.descriptorArea + 16 * UInt64(descriptor) + 14, as: UInt16.self)
        }
        held[Int(used.head)] = 0
        return used
    }

    /// `used_event`: asks for an interrupt when the used index passes `index` (section 2.7.7.1).
    package func wantInterrupt(after index: UInt16) {
        memory.store(index, at: layout.driverArea + 4 + 2 * UInt64(layout.size))
        // Whoever looks for used chains next sees those of which the device could not know that they are waited for.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    /// `VIRTQ_AVAIL_F_NO_INTERRUPT`.
    package func suppressInterrupts(_ suppress: Bool) {
        memory.store(UInt16(suppress ? 1 : 0), at: layout.driverArea)
    }

    // MARK: What a hostile driver does

    package func pokeDescriptor(_ index: UInt16, _ segment: Segment, flags: UInt16, next: UInt16, table: UInt64? = nil) {
        let address = (table ?? layout.descriptorArea) + 16 * UInt64(index)
        memory.store(segment.address, at: address)
        memory.store(segment.length, at: address + 8)
        memory.store(flags | (segment.isWritable ? Flag.write : 0), at: address + 12)
        memory.store(next, at: address + 14)
    }

    package func pokeAvailableIndex(_ index: UInt16) {
        available = index
        memory.store(index, at: layout.driverArea + 2)
    }

    package func availableEntry(_ slot: UInt16) -> UInt16 {
        memory.load(layout.driverArea + 4 + 2 * UInt64(slot % layout.size), as: UInt16.self)
    }
    package var usedIndex: UInt16 { memory.load(layout.deviceArea + 2, as: UInt16.self) }
    package var usedFlags: UInt16 { memory.load(layout.deviceArea, as: UInt16.self) }
    package var availableEvent: UInt16 { memory.load(layout.deviceArea + 4 + 8 * UInt64(layout.size), as: UInt16.self) }
}
