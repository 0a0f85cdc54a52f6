import AdminProtocol
import Synchronization

/// The device's side of a split virtqueue (virtio 1.2, 2.7), served by this process in the driver's memory.
///
/// Requests are answered one at a time and in the order in which they are taken: the used index alone says what has been done. That is
/// what lets the device go on without a request lost or done twice when this process ends at any instruction (docs/component-migration.md).
struct HostedQueue {
    /// A buffer of a chain, by its place in the memory window.
    struct Segment {
        var offset: Int
        var count: Int
        var isWritable: Bool
    }

    /// What the driver did that can't be served: the component goes back to the device, which knows what to do about it.
    struct Broken: Error {}

    private enum Flag {
        static let next: UInt16 = 1, write: UInt16 = 2, indirect: UInt16 = 4
        static let noInterrupt: UInt16 = 1, noNotify: UInt16 = 1
    }

    let index: Int
    let layout: ComponentImage.Queue
    private let memory: DMAMemory
    private let hasEventIndex: Bool
    private let hasIndirect: Bool
    private let descriptors: Int, available: Int, used: Int
    /// Free-running positions, as in the image.
    private(set) var taken: UInt16
    private(set) var answered: UInt16
    /// Chains that were taken before the component came here, and are to be answered first.
    private(set) var heads: [UInt16]
    /// `answered` when the driver was last considered for an interrupt.
    private var considered: UInt16

    /// - Throws: when a ring is not in the memory that this process has.
    init(_ index: Int, of image: ComponentImage, memory: DMAMemory) throws(AgentError) {
        self.index = index
        self.memory = memory
        layout = image.queue(index)
        hasEventIndex = image.features & VirtioFunction.Feature.eventIndex != 0
        hasIndirect = image.features & VirtioFunction.Feature.indirectDescriptors != 0
        (taken, answered) = (layout.taken, layout.used)
        heads = (0..<Int(layout.heads)).map { image.head($0, ofQueue: index) }
        considered = answered
        let size = Int(layout.size)
        guard let descriptors = Self.offset(layout.descriptorArea, 16 * size, memory),
            let available = Self.offset(layout.driverArea, 6 + 2 * size, memory),
            let used = Self.offset(layout.deviceArea, 6 + 8 * size, memory)
        else { throw AgentError("queue \(index): its rings aren't in the host's memory") }
        (self.descriptors, self.available, self.used) = (descriptors, available, used)
    }

    /// The place of a DMA address in the window; nil if not all of it is there.
    private static func offset(_ address: UInt64, _ count: Int, _ memory: DMAMemory) -> Int? {
        guard address >= memory.busAddress, address - memory.busAddress <= UInt64(memory.window.size) else { return nil }
        let offset = Int(address - memory.busAddress)
        return count <= memory.window.size - offset ? offset : nil
    }

    // MARK: Taking

    /// The head of the next chain, which stays the next until ``answer(_:written:)``; nil if there is none.
    mutating func next() throws -> UInt16? {
        if let head = heads.first { return head }
        let index = try memory.window.load(UInt16.self, at: available + 2)
        guard index &- taken <= layout.size else { throw Broken() }
        guard index != taken else { return nil }
        // The driver wrote entries and descriptors before its index (2.7.13.3.1).
        atomicMemoryFence(ordering: .acquiring)
        let head = try memory.window.load(UInt16.self, at: available + 4 + 2 * Int(taken & (layout.size - 1)))
        guard head < layout.size else { throw Broken() }
        return head
    }

    /// The buffers of a chain, through one indirect table at most (2.7.5.3).
    func chain(_ head: UInt16) throws -> [Segment] {
        var segments: [Segment] = []
        var table = descriptors, size = Int(layout.size), place = Int(head), left = size, isIndirect = false
        while left > 0 {
            left -= 1
            let address = try memory.window.load(UInt64.self, at: table + 16 * place)
            let rest = try memory.window.load(UInt64.self, at: table + 16 * place + 8)
            let (count, flags, next) = (Int(UInt32(truncatingIfNeeded: rest)), UInt16(truncatingIfNeeded: rest >> 32), Int(rest >> 48))
            if flags & Flag.indirect != 0 {
                guard hasIndirect, !isIndirect, flags & Flag.next == 0, count > 0, count % 16 == 0, count <= 16 << 16,
                    let offset = Self.offset(address, count, memory)
                else { throw Broken() }
                (table, size, place, left, isIndirect) = (offset, count / 16, 0, count / 16, true)
                continue
            }
            guard count > 0, let offset = Self.offset(address, count, memory) else { throw Broken() }
            let isWritable = flags & Flag.write != 0
            guard isWritable || segments.last?.isWritable != true else { throw Broken() }
            segments.append(Segment(offset: offset, count: count, isWritable: isWritable))
            guard flags & Flag.next != 0 else { return segments }
            guard next < size else { throw Broken() }
            place = next
        }
        throw Broken()
    }

    // MARK: Answering

    /// Gives the next chain back, of which the first `written` writable bytes were written.
    mutating func answer(_ head: UInt16, written: UInt32) throws(AgentError) {
        let entry = used + 4 + 8 * Int(answered & (layout.size - 1))
        try memory.window.store(UInt64(head) | UInt64(written) << 32, at: entry)
        // 2.7.8.2: the entry, and the buffers, before the index that counts them.
        atomicMemoryFence(ordering: .releasing)
        try memory.window.store(answered &+ 1, at: used + 2)
        answered &+= 1
        if heads.isEmpty { taken &+= 1 } else { heads.removeFirst() }
    }

    /// Whether the driver wants an interrupt for what was answered since this was last asked (2.7.7.2).
    mutating func takeInterrupt() throws(AgentError) -> Bool {
        let old = considered
        guard answered != old else { return false }
        considered = answered
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        if hasEventIndex {
            let event = try memory.window.load(UInt16.self, at: available + 4 + 2 * Int(layout.size))
            return answered &- event &- 1 < answered &- old
        }
        return try memory.window.load(UInt16.self, at: available) & Flag.noInterrupt == 0
    }

    /// Asks the driver for a doorbell with the next chain, and says whether some came meanwhile (2.7.10).
    mutating func enableNotifications() throws -> Bool {
        if hasEventIndex {
            try memory.window.store(taken, at: used + 4 + 8 * Int(layout.size))
        } else {
            try memory.window.store(UInt16(0), at: used)
        }
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return try next() != nil
    }

    /// The queue as it stands, for an image.
    var context: ComponentImage.Queue {
        var queue = layout
        (queue.taken, queue.used, queue.heads) = (taken, answered, UInt16(heads.count))
        return queue
    }
}
