import Hardware

/// The device's side of the admin queue: a split virtqueue (virtio 1.2, 2.7) in shared memory, without indirect descriptors and
/// without event indices.
///
/// Nothing that the host may have written there does harm: indices are checked against the size, walks are bounded by it, addresses
/// are checked against shared memory before anything is read or written.
public struct AdminQueue {
    /// A piece of a command or of its answer.
    public struct Segment {
        public var address: UInt32 = 0
        public var count: UInt32 = 0
    }

    /// A descriptor chain that may be served.
    public struct Chain {
        /// Descriptors that a command may have; a longer chain is a malformed command.
        public static let segmentLimit = 16

        public var head: UInt16 = 0
        /// First the `readable` ones, then the others.
        var segments = InlineArray<16, Segment>(repeating: Segment())
        var readable = 0
        var count = 0
        /// Something in the device-readable part, or the number of descriptors, makes the command unusable; it can still be answered.
        public var isMalformed = false
        /// A device-writable descriptor lay outside shared memory: the answer ends before it.
        var isAnswerCut = false
    }

    /// What is wrong with the rings, so that nothing in them can be trusted any more. The numbers are arguments of the event.
    public enum Defect: UInt32, Sendable {
        /// The available index is more than the queue's size ahead.
        case availableIndex = 1
        /// An available-ring entry names no descriptor.
        case head = 2
        /// A descriptor's next one is none.
        case next = 3
        /// A chain is longer than the table: it has a loop.
        case loop = 4
        /// A descriptor is indirect, which wasn't offered.
        case indirect = 5
        /// A device-readable descriptor follows a device-writable one.
        case order = 6
    }

    public enum Next {
        case empty
        case chain(Chain)
        /// With the offending index or descriptor.
        case broken(Defect, UInt32)
    }

    private let memory: SharedMemory
    /// 0: the queue is off.
    private var size: UInt32 = 0
    private var descriptors: UInt32 = 0
    private var available: UInt32 = 0
    private var used: UInt32 = 0
    /// Chains taken since the rings were laid out; all but the last have been completed, so that it is the used index, too.
    private var next: UInt16 = 0

    public init(memory: SharedMemory) { self.memory = memory }

    public var isEnabled: Bool { size != 0 }

    /// Begins to serve the rings at these bus addresses. Commands are completed in their order before the next one is taken, so that
    /// the used index says where to go on: also after a restart of the firmware in the middle of the queue's life.
    /// - Returns: false, with the queue off, if a ring isn't wholly in shared memory or misaligned. Hardware has checked that before.
    public mutating func enable(size: UInt32, descriptors: UInt32, available: UInt32, used: UInt32) -> Bool {
        self.size = 0
        guard (2...256).contains(size), size & (size &- 1) == 0, descriptors & 15 == 0, available & 1 == 0, used & 3 == 0,
              memory.contains(descriptors, 16 &* size), memory.contains(available, 6 &+ 2 &* size), memory.contains(used, 6 &+ 8 &* size)
        else { return false }
        self.size = size; self.descriptors = descriptors; self.available = available; self.used = used
        next = memory.load16(used &+ 2)
        return true
    }

    public mutating func disable() { size = 0 }

    /// The next command, if the host has made one available.
    public mutating func take() -> Next {
        guard size != 0 else { return .empty }
        let index = memory.load16(available &+ 2)
        let waiting = index &- next
        guard waiting != 0 else { return .empty }
        guard UInt32(waiting) <= size else { return .broken(.availableIndex, UInt32(index)) }
        Hart.fence()  // 2.7.13.1: the entry is read after the index.
        let head = memory.load16(available &+ 4 &+ 2 &* (UInt32(next) & (size &- 1)))
        guard UInt32(head) < size else { return .broken(.head, UInt32(head)) }
        next &+= 1
        return walk(head)
    }

    private func walk(_ head: UInt16) -> Next {
        var chain = Chain()
        chain.head = head
        var index = UInt32(head)
        var length: UInt32 = 0
        var isWritable = false
        while true {
            length &+= 1
            guard length <= size else { return .broken(.loop, UInt32(head)) }
            // struct virtq_desc (2.7.5): address 8, length 4, flags 2, next 2.
            let descriptor = descriptors &+ 16 &* index
            let segment = Segment(address: memory.load32(descriptor), count: memory.load32(descriptor &+ 8))
            let high = memory.load32(descriptor &+ 4)
            let tail = memory.load32(descriptor &+ 12)
            let (flags, following) = (tail & 0xffff, tail >> 16)
            guard flags & 4 == 0 else { return .broken(.indirect, index) }
            if flags & 2 != 0 { isWritable = true } else if isWritable { return .broken(.order, index) }
            add(high == 0 && memory.contains(segment.address, segment.count) ? segment : nil, isWritable: isWritable, to: &chain)
            guard flags & 1 != 0 else { return .chain(chain) }
            guard following < size else { return .broken(.next, following) }
            index = following
        }
    }

    /// - Parameter segment: nil for one outside shared memory.
    private func add(_ segment: Segment?, isWritable: Bool, to chain: inout Chain) {
        guard !chain.isAnswerCut else { return }
        guard let segment else {
            if isWritable { chain.isAnswerCut = true } else { chain.isMalformed = true }
            return
        }
        guard chain.count < Chain.segmentLimit else { chain.isMalformed = true; return }
        chain.segments[chain.count] = segment
        chain.count &+= 1
        if !isWritable { chain.readable &+= 1 }
    }

    /// Gives the chain that was taken last back to the host.
    /// - Parameter written: bytes of its device-writable part that were written.
    public mutating func complete(_ chain: Chain, written: UInt32) {
        guard size != 0 else { return }
        let entry = used &+ 4 &+ 8 &* (UInt32(next &- 1) & (size &- 1))
        memory.store32(UInt32(chain.head), entry)
        memory.store32(written, entry &+ 4)
        Hart.fence()  // 2.7.8.2: the entry is written before the index.
        memory.store16(next, used &+ 2)
    }

    /// Whether the driver wants no message for used entries (2.7.7.1).
    public var isSilenced: Bool { memory.load16(available) & 1 != 0 }

    // MARK: A chain's contents

    /// Copies from the chain's device-readable part.
    /// - Parameter offset: where in it to begin.
    /// - Returns: the bytes that there were, at most `capacity`.
    public func read(_ chain: Chain, from offset: UInt32 = 0, into buffer: UnsafeMutableRawPointer, capacity: UInt32) -> UInt32 {
        var skip = offset
        var done: UInt32 = 0
        for index in 0..<chain.readable where done < capacity {
            let segment = chain.segments[index]
            if skip >= segment.count { skip &-= segment.count; continue }
            let count = min(segment.count &- skip, capacity &- done)
            memory.copy(segment.address &+ skip, to: buffer + Int(done), count: count)
            done &+= count
            skip = 0
        }
        return done
    }

    /// Bytes of the chain's device-readable part.
    public func readable(_ chain: Chain) -> UInt32 { bytes(of: chain, 0..<chain.readable) }

    /// Bytes that the chain's device-writable part has room for.
    public func room(_ chain: Chain) -> UInt32 { bytes(of: chain, chain.readable..<chain.count) }

    private func bytes(of chain: Chain, _ segments: Range<Int>) -> UInt32 {
        var sum: UInt32 = 0
        for index in segments {
            let (total, overflow) = sum.addingReportingOverflow(chain.segments[index].count)
            sum = overflow ? .max : total
        }
        return sum
    }

    /// Writes into the chain's device-writable part.
    /// - Parameter offset: where in it to begin.
    /// - Returns: the bytes written: fewer than `count` if there is no more room.
    @discardableResult
    public func write(_ chain: Chain, at offset: UInt32, from bytes: UnsafeRawPointer, count: UInt32) -> UInt32 {
        var skip = offset
        var done: UInt32 = 0
        for index in chain.readable..<chain.count where done < count {
            let segment = chain.segments[index]
            if skip >= segment.count { skip &-= segment.count; continue }
            let part = min(segment.count &- skip, count &- done)
            memory.copy(bytes + Int(done), to: segment.address &+ skip, count: part)
            done &+= part
            skip = 0
        }
        return done
    }
}
