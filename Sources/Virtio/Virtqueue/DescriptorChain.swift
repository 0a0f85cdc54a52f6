/// One buffer of a descriptor chain.
public struct Segment: Equatable, Sendable {
    public var address: UInt64
    public var length: UInt32
    /// The device writes it; otherwise the device reads it.
    public var isWritable: Bool

    public init(address: UInt64, length: UInt32, isWritable: Bool) {
        self.address = address; self.length = length; self.isWritable = isWritable
    }
}

/// A chain taken from a queue; its buffers are in the storage that the caller gave, readable ones first.
public struct DescriptorChain: Equatable, Sendable {
    /// What the driver knows the chain by: the index of its first descriptor (split queue), its buffer ID (packed queue).
    public var head: UInt16
    /// Descriptors of the ring that go back with it (packed queue).
    public var descriptors: UInt16
    /// Its place among the chains taken, while they have to go back in that order.
    public var place: UInt16
    /// Buffers in all, and how many of them the device reads.
    public var segments: UInt16
    public var readableSegments: UInt16
    public var readableBytes: UInt64
    public var writableBytes: UInt64

    public init(
        head: UInt16, descriptors: UInt16 = 0, place: UInt16 = 0, segments: UInt16 = 0, readableSegments: UInt16 = 0,
        readableBytes: UInt64 = 0, writableBytes: UInt64 = 0
    ) {
        self.head = head; self.descriptors = descriptors; self.place = place
        self.segments = segments; self.readableSegments = readableSegments
        self.readableBytes = readableBytes; self.writableBytes = writableBytes
    }
}

/// What descriptors of both ring formats have in common.
enum DescriptorFlag {
    static let next: UInt16 = 1
    static let write: UInt16 = 2
    static let indirect: UInt16 = 4
}

// Checks that sections 2.7.5 and 2.8 share: nothing of a chain is handed out that isn't within its bounds and the DMA port's.
extension DescriptorChain {
    /// Adds a buffer.
    /// - Parameter index: of its descriptor, for faults.
    mutating func append(
        _ buffer: Segment, at index: UInt16, _ memory: GuestMemory, _ storage: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) {
        let (address, length) = (buffer.address, buffer.length)
        guard Int(segments) < storage.count else { throw .tooManyBuffers(head: head, limit: storage.count) }
        guard length > 0 else { throw .emptyBuffer(descriptor: index) }
        guard !address.addingReportingOverflow(UInt64(length)).overflow else {
            throw .addressOverflow(descriptor: index, address: address, length: length)
        }
        if buffer.isWritable {
            writableBytes &+= UInt64(length)
        } else {
            guard writableBytes == 0 else { throw .readableAfterWritable(descriptor: index) }
            readableBytes &+= UInt64(length)
            readableSegments &+= 1
        }
        guard readableBytes &+ writableBytes <= 1 << 32 else { throw .chainTooLong(head: head) }
        guard memory.check(address, bytes: Int(length), isWrite: buffer.isWritable) == .ok else {
            throw .bufferUnreachable(descriptor: index, address: address, length: length, isWrite: buffer.isWritable)
        }
        storage[Int(segments)] = buffer
        segments &+= 1
    }

    /// The number of descriptors of the indirect table that a descriptor points to. WRITE is ignored on it (2.7.5.3.2).
    static func tableSize(
        address: UInt64, length: UInt32, flags: UInt16, at index: UInt16, isNegotiated: Bool, isNested: Bool
    ) throws(QueueFault) -> UInt32 {
        guard isNegotiated else { throw .indirectNotNegotiated(descriptor: index) }
        guard !isNested else { throw .nestedIndirect(descriptor: index) }
        guard flags & DescriptorFlag.next == 0 else { throw .indirectWithNext(descriptor: index) }
        guard length != 0, length & 15 == 0, length <= 16 << 16 else { throw .indirectLength(descriptor: index, length: length) }
        guard !address.addingReportingOverflow(UInt64(length)).overflow else {
            throw .addressOverflow(descriptor: index, address: address, length: length)
        }
        return length / 16
    }
}
