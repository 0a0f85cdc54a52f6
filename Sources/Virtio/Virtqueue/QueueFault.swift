import Registers

/// The three areas of a virtqueue (virtio 1.2 section 2.6).
public enum QueueArea: String, Sendable {
    /// The descriptor table of a split queue, the descriptor ring of a packed one.
    case descriptors = "descriptor area"
    /// Written by the driver: a split queue's available ring, a packed one's driver event suppression.
    case driver = "driver area"
    /// Written by the device: a split queue's used ring, a packed one's device event suppression.
    case device = "device area"
}

/// What a driver did to a virtqueue that no device can serve. The device then sets DEVICE_NEEDS_RESET (virtio 1.2 section
/// 2.1.2) and touches neither the queue nor any memory of the driver until it is reset.
public enum QueueFault: Error, Equatable, Sendable {
    /// Sections 2.7 and 2.8: a queue has 1 to 32768 entries, a split one a power of two.
    case invalidSize(UInt16)
    /// Sections 2.7 and 2.8: descriptors are aligned to 16 bytes, a split queue's driver area to 2, the other areas to 4.
    case misaligned(QueueArea, address: UInt64, alignment: UInt64)
    /// The DMA port refused an access to the queue's own memory.
    case areaUnreachable(QueueArea, address: UInt64)
    /// Section 2.7.13.3: the available index ran more than the queue's size ahead of what the device has taken.
    case indexJump(available: UInt16, taken: UInt16, size: UInt16)
    /// An available-ring entry names a descriptor that the table doesn't have.
    case headOutOfRange(head: UInt16, size: UInt16)
    /// Chains were made available beyond the descriptors that the device has given back.
    case overrun(head: UInt16, size: UInt16)
    /// A descriptor's `next` is outside its table.
    case nextOutOfRange(descriptor: UInt16, next: UInt16, size: UInt32)
    /// Section 2.7.5.2: the chain has more descriptors than its table, so it loops.
    case loop(head: UInt16)
    /// The chain has more buffers than the device announced that it takes.
    case tooManyBuffers(head: UInt16, limit: Int)
    /// A buffer of no bytes.
    case emptyBuffer(descriptor: UInt16)
    /// The buffer runs past the end of the address space.
    case addressOverflow(descriptor: UInt16, address: UInt64, length: UInt32)
    /// Section 2.7.5.2: a chain has at most 2^32 bytes.
    case chainTooLong(head: UInt16)
    /// Section 2.7.4.2: device-readable buffers come before device-writable ones.
    case readableAfterWritable(descriptor: UInt16)
    /// The DMA port refused a buffer, or a table of indirect descriptors.
    case bufferUnreachable(descriptor: UInt16, address: UInt64, length: UInt32, isWrite: Bool)
    /// Section 2.7.5.3.1: an indirect descriptor without VIRTIO_F_INDIRECT_DESC.
    case indirectNotNegotiated(descriptor: UInt16)
    /// Section 2.7.5.3.1: an indirect descriptor within an indirect table.
    case nestedIndirect(descriptor: UInt16)
    /// Section 2.7.5.3.1: INDIRECT and NEXT in one descriptor.
    case indirectWithNext(descriptor: UInt16)
    /// Section 2.7.5.3: the table's length is no multiple of 16, or zero, or beyond 65536 descriptors.
    case indirectLength(descriptor: UInt16, length: UInt32)
    /// The chain has no room for what the device type's request must have (block: a 16-byte header and a status byte).
    case requestTooShort(head: UInt16, readable: UInt64, writable: UInt64)
}

extension QueueFault: CustomStringConvertible {
    public var description: String {
        switch self {
        case .invalidSize(let size):
            "queue size \(size) is not from 1 to 32768, or not a power of two in a split queue"
        case .misaligned(let area, let address, let alignment):
            "\(area.rawValue) at \(hex(address)) is not aligned to \(alignment) bytes"
        case .areaUnreachable(let area, let address):
            "\(area.rawValue) at \(hex(address)) is not reachable by DMA"
        case .indexJump(let available, let taken, let size):
            "available index \(available) is \(available &- taken) ahead of the device's \(taken); the queue has \(size) entries"
        case .headOutOfRange(let head, let size):
            "available ring names descriptor \(head); the table has \(size)"
        case .overrun(let head, let size):
            "the chain at descriptor \(head) takes more than the \(size) entries of the queue together with those in flight"
        case .nextOutOfRange(let descriptor, let next, let size):
            "descriptor \(descriptor) continues at \(next); its table has \(size)"
        case .loop(let head):
            "the chain at descriptor \(head) loops"
        case .tooManyBuffers(let head, let limit):
            "the chain at descriptor \(head) has more than \(limit) buffers"
        case .emptyBuffer(let descriptor):
            "descriptor \(descriptor) has no bytes"
        case .addressOverflow(let descriptor, let address, let length):
            "descriptor \(descriptor), \(length) bytes at \(hex(address)), runs past the end of the address space"
        case .chainTooLong(let head):
            "the chain at descriptor \(head) has more than 2^32 bytes"
        case .readableAfterWritable(let descriptor):
            "descriptor \(descriptor) is device-readable and follows a device-writable one"
        case .bufferUnreachable(let descriptor, let address, let length, let isWrite):
            "descriptor \(descriptor), \(length) bytes at \(hex(address)), cannot be \(isWrite ? "written" : "read") by DMA"
        case .indirectNotNegotiated(let descriptor):
            "descriptor \(descriptor) is indirect, but VIRTIO_F_INDIRECT_DESC was not negotiated"
        case .nestedIndirect(let descriptor):
            "descriptor \(descriptor) of an indirect table is itself indirect"
        case .indirectWithNext(let descriptor):
            "descriptor \(descriptor) is both indirect and continued"
        case .indirectLength(let descriptor, let length):
            "descriptor \(descriptor) is an indirect table of \(length) bytes, not 1 to 65536 descriptors of 16"
        case .requestTooShort(let head, let readable, let writable):
            "the request at descriptor \(head) has \(readable) readable and \(writable) writable bytes, less than a request must have"
        }
    }
}

private func hex(_ value: UInt64) -> String {
    "0x" + String(value, radix: 16)
}
