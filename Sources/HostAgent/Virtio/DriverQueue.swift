import Synchronization

/// The driver's side of a split virtqueue (virtio 1.2, 2.7).
///
/// Chains have a fixed number of descriptors, so that each request slot keeps its own descriptors for life: slot *n* of a queue
/// with chains of *k* owns descriptors *nk*...*nk+k-1*. Nothing is searched or allocated in use.
public struct DriverQueue {
    /// One buffer of a chain.
    public struct Buffer {
        public var address: UInt64
        public var length: UInt32
        public var deviceWrites: Bool

        public init(address: UInt64, length: Int, deviceWrites: Bool) {
            self.address = address
            self.length = UInt32(length)
            self.deviceWrites = deviceWrites
        }
    }

    private enum Flag {
        static let next: UInt16 = 1, write: UInt16 = 2
        static let noNotify: UInt16 = 1
    }

    public let index: Int
    public let size: Int
    private let memory: MemoryWindow
    private let descriptors: Int, available: Int, used: Int
    private var availableIndex: UInt16 = 0
    private var notifiedIndex: UInt16 = 0
    private var usedIndex: UInt16 = 0
    private let eventIndex: Bool

    /// Bytes that the rings of a queue of this size take, each aligned as 2.7 asks.
    public static func bytes(size: Int) -> Int { usedOffset(size) + (6 + 8 * size + 15) & ~15 }
    private static func availableOffset(_ size: Int) -> Int { 16 * size }
    private static func usedOffset(_ size: Int) -> Int { (availableOffset(size) + 6 + 2 * size + 15) & ~15 }

    /// Lays the rings out at `offset` of `memory`, which must be a multiple of 16.
    public init(index: Int, size: Int, memory: DMAMemory, offset: Int, eventIndex: Bool) throws(AgentError) {
        precondition(offset % 16 == 0 && size > 0 && size & (size - 1) == 0)
        self.index = index
        self.size = size
        self.memory = memory.window
        self.eventIndex = eventIndex
        descriptors = offset
        available = offset + Self.availableOffset(size)
        used = offset + Self.usedOffset(size)
        busAddress = memory.busAddress
        for word in stride(from: offset, to: offset + Self.bytes(size: size), by: 8) { try self.memory.store(UInt64(0), at: word) }
    }

    private let busAddress: UInt64
    public var descriptorAddress: UInt64 { busAddress + UInt64(descriptors) }
    public var availableAddress: UInt64 { busAddress + UInt64(available) }
    public var usedAddress: UInt64 { busAddress + UInt64(used) }

    /// Writes the chain whose first descriptor is `head` and puts it into the available ring. The device sees it after ``publish()``.
    public mutating func add(head: Int, _ buffers: borrowing [Buffer]) throws(AgentError) {
        for position in 0..<buffers.count {
            let at = descriptors + 16 * (head + position), buffer = buffers[position], last = position == buffers.count - 1
            try memory.store(buffer.address, at: at)
            let flags = (last ? 0 : Flag.next) | (buffer.deviceWrites ? Flag.write : 0)
            let next = last ? 0 : UInt64(head + position + 1)
            try memory.store(UInt64(buffer.length) | UInt64(flags) << 32 | next << 48, at: at + 8)
        }
        try memory.store(UInt16(head), at: available + 4 + 2 * (Int(availableIndex) & (size - 1)))
        availableIndex &+= 1
    }

    /// Makes the chains added so far visible to the device.
    ///
    /// - Returns: whether the device wants to be notified (2.7.10).
    public mutating func publish() throws(AgentError) -> Bool {
        guard availableIndex != notifiedIndex else { return false }
        // 2.7.13.3: the device must not see the index before the entries that it counts.
        atomicMemoryFence(ordering: .releasing)
        try memory.store(availableIndex, at: available + 2)
        // 2.7.13.4.1: the device's wish is read after the index has been written, or both sides may miss each other.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        let previous = notifiedIndex
        notifiedIndex = availableIndex
        if eventIndex {
            let event = try memory.load(UInt16.self, at: used + 4 + 8 * size)
            return availableIndex &- event &- 1 < availableIndex &- previous
        }
        return try memory.load(UInt16.self, at: used) & Flag.noNotify == 0
    }

    /// The next finished chain: its head and how many bytes the device wrote; nil when there is none.
    public mutating func take() throws(AgentError) -> (head: Int, written: Int)? {
        guard try memory.load(UInt16.self, at: used + 2) != usedIndex else { return nil }
        // 2.7.14: neither the entry nor the data is read before the index that says they are there.
        atomicMemoryFence(ordering: .acquiring)
        let entry = try memory.load(UInt64.self, at: used + 4 + 8 * (Int(usedIndex) & (size - 1)))
        usedIndex &+= 1
        let head = Int(truncatingIfNeeded: entry & 0xffff_ffff)
        guard head < size else { throw AgentError("queue \(index): used entry names descriptor \(head) of \(size)") }
        return (head, Int(entry >> 32))
    }

    /// Asks for an interrupt at the next completion (2.7.7.2).
    ///
    /// - Returns: whether one came meanwhile, so that waiting would be wrong.
    public mutating func armInterrupt() throws(AgentError) -> Bool {
        if eventIndex {
            try memory.store(usedIndex, at: available + 4 + 2 * size)
        } else {
            try memory.store(UInt16(0), at: available)
        }
        // 2.7.7.1: what came before the device saw the wish brings no interrupt, so the index is read after it.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        return try memory.load(UInt16.self, at: used + 2) != usedIndex
    }
}
