import Simulation

// What of queues and chains a snapshot has.

extension QueueSet.Entry {
    /// The layout of an enabled queue's ring is the entry's.
    /// - Parameter features: with which an enabled queue was made.
    mutating func archive(
        _ archive: inout StateArchive, version: UInt16, features: Features, maximumSize: UInt16
    ) throws(SnapshotError) {
        try archive.integer(&layout.size, in: 1...maximumSize)
        try archive.require(
            layout.size & (layout.size - 1) == 0 || features.contains(.packedRing), "expected a power of two, found \(layout.size)")
        try archive.integer(&layout.descriptorArea)
        try archive.integer(&layout.driverArea)
        try archive.integer(&layout.deviceArea)
        var isThere = isEnabled
        try archive.flag(&isThere)
        guard isThere else { return ring = nil }
        if archive.isLoading {
            do throws(QueueFault) {
                ring = try Virtqueue(layout: layout, features: features)
            } catch {
                throw archive.error("\(error)")
            }
        }
        try ring?.archive(&archive, version: version)
    }
}

extension QueueIndices: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&available)
        try archive.integer(&taken)
        try archive.integer(&used)
        try archive.flag(&notificationsEnabled)
    }
}

extension DescriptorChain: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&head)
        try archive.integer(&descriptors)
        try archive.integer(&place)
        try archive.integer(&segments)
        try archive.integer(&readableSegments)
        try archive.integer(&readableBytes)
        try archive.integer(&writableBytes)
    }
}

extension Segment: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&address)
        try archive.integer(&length)
        try archive.flag(&isWritable)
    }
}

extension QueueSet.Failure {
    static let blank = Self(queue: 0, fault: .loop(head: 0))

    /// - Parameter queues: of the device.
    package mutating func archive(_ archive: inout StateArchive, queues: Int) throws(SnapshotError) {
        try archive.integer(&queue, in: 0...queues - 1)
        var stored = StoredFault(fault)
        try archive.integer(&stored.kind)
        try archive.integer(&stored.a)
        try archive.integer(&stored.b)
        try archive.integer(&stored.c)
        try archive.flag(&stored.isWrite)
        guard let known = stored.fault else {
            throw archive.error("expected a kind of queue fault and the values that it has, found kind \(stored.kind)")
        }
        fault = known
    }
}

/// A ``QueueFault`` as it is stored: which one, and its values in the order in which the case has them.
private struct StoredFault {
    var kind: UInt8
    var a: UInt64 = 0
    var b: UInt64 = 0
    var c: UInt64 = 0
    var isWrite = false

    private init(
        _ kind: UInt8, _ a: some BinaryInteger, _ b: some BinaryInteger = 0 as UInt64, _ c: some BinaryInteger = 0 as UInt64,
        isWrite: Bool = false
    ) {
        self.kind = kind
        (self.a, self.b, self.c, self.isWrite) = (UInt64(a), UInt64(b), UInt64(c), isWrite)
    }

    init(_ fault: QueueFault) {
        self = switch fault {
        case .invalidSize(let size): Self(1, size)
        case .misaligned(let area, let address, let alignment): Self(2, Self.number(of: area), address, alignment)
        case .areaUnreachable(let area, let address): Self(3, Self.number(of: area), address)
        case .indexJump(let available, let taken, let size): Self(4, available, taken, size)
        case .headOutOfRange(let head, let size): Self(5, head, size)
        case .nextOutOfRange(let descriptor, let next, let size): Self(6, descriptor, next, size)
        case .loop(let head): Self(7, head)
        case .tooManyBuffers(let head, let limit): Self(8, head, limit)
        case .emptyBuffer(let descriptor): Self(9, descriptor)
        case .addressOverflow(let descriptor, let address, let length): Self(10, descriptor, address, length)
        case .chainTooLong(let head): Self(11, head)
        case .readableAfterWritable(let descriptor): Self(12, descriptor)
        case .bufferUnreachable(let descriptor, let address, let length, let isWrite):
            Self(13, descriptor, address, length, isWrite: isWrite)
        case .indirectNotNegotiated(let descriptor): Self(14, descriptor)
        case .nestedIndirect(let descriptor): Self(15, descriptor)
        case .indirectWithNext(let descriptor): Self(16, descriptor)
        case .indirectLength(let descriptor, let length): Self(17, descriptor, length)
        case .requestTooShort(let head, let readable, let writable): Self(18, head, readable, writable)
        case .overrun(let head, let size): Self(19, head, size)
        }
    }

    /// nil if there is no such kind, or a value is out of its range.
    var fault: QueueFault? {
        let area = a < UInt64(Self.areas.count) ? Self.areas[Int(a)] : nil
        let (a16, b16, c16, b32, c32) = (UInt16(exactly: a), UInt16(exactly: b), UInt16(exactly: c), UInt32(exactly: b), UInt32(exactly: c))
        switch kind {
        case 1: return a16.map { .invalidSize($0) }
        case 2: return area.map { .misaligned($0, address: b, alignment: c) }
        case 3: return area.map { .areaUnreachable($0, address: b) }
        default: break
        }
        guard let a = a16 else { return nil }
        switch kind {
        case 4: return b16.flatMap { b in c16.map { .indexJump(available: a, taken: b, size: $0) } }
        case 5: return b16.map { .headOutOfRange(head: a, size: $0) }
        case 6: return b16.flatMap { b in c32.map { .nextOutOfRange(descriptor: a, next: b, size: $0) } }
        case 7: return .loop(head: a)
        case 8: return Int(exactly: b).map { .tooManyBuffers(head: a, limit: $0) }
        case 9: return .emptyBuffer(descriptor: a)
        case 10: return c32.map { .addressOverflow(descriptor: a, address: b, length: $0) }
        case 11: return .chainTooLong(head: a)
        case 12: return .readableAfterWritable(descriptor: a)
        case 13: return c32.map { .bufferUnreachable(descriptor: a, address: b, length: $0, isWrite: isWrite) }
        case 14: return .indirectNotNegotiated(descriptor: a)
        case 15: return .nestedIndirect(descriptor: a)
        case 16: return .indirectWithNext(descriptor: a)
        case 17: return b32.map { .indirectLength(descriptor: a, length: $0) }
        case 18: return .requestTooShort(head: a, readable: b, writable: c)
        case 19: return b16.map { .overrun(head: a, size: $0) }
        default: return nil
        }
    }

    private static let areas: [QueueArea] = [.descriptors, .driver, .device]

    private static func number(of area: QueueArea) -> Int { areas.firstIndex(of: area) ?? 0 }
}
