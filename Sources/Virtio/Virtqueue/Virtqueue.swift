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
    /// What identifies the chain when it is put back: the index of its first descriptor (split queue).
    public var head: UInt16
    /// Buffers in all, and how many of them the device reads.
    public var segments: UInt16
    public var readableSegments: UInt16
    public var readableBytes: UInt64
    public var writableBytes: UInt64

    public init(head: UInt16, segments: UInt16 = 0, readableSegments: UInt16 = 0, readableBytes: UInt64 = 0, writableBytes: UInt64 = 0) {
        self.head = head; self.segments = segments; self.readableSegments = readableSegments
        self.readableBytes = readableBytes; self.writableBytes = writableBytes
    }
}

/// Size and addresses of a queue, as the driver programs them.
public struct QueueLayout: Equatable, Sendable {
    public var size: UInt16
    public var descriptorArea: UInt64
    public var driverArea: UInt64
    public var deviceArea: UInt64

    public init(size: UInt16, descriptorArea: UInt64 = 0, driverArea: UInt64 = 0, deviceArea: UInt64 = 0) {
        self.size = size; self.descriptorArea = descriptorArea; self.driverArea = driverArea; self.deviceArea = deviceArea
    }
}

/// An enabled virtqueue in the ring format that was negotiated.
///
/// Devices call only this type; each case is a plain struct with the same five operations, and the `switch` is the whole
/// dispatch. The packed ring (virtio 1.2 section 2.8) becomes a second case.
public enum Virtqueue: Sendable {
    case split(SplitQueue)

    public init(layout: QueueLayout, features: Features) throws(QueueFault) {
        self = .split(try SplitQueue(layout: layout, features: features))
    }

    /// Takes the next available chain into `segments`; nil if there is none.
    public mutating func take(
        from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain? {
        switch self {
        case .split(var queue):
            defer { self = .split(queue) }
            return try queue.take(from: memory, into: segments)
        }
    }

    /// Gives a chain back, of which the device wrote the first `written` writable bytes.
    public mutating func put(head: UInt16, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        switch self {
        case .split(var queue):
            defer { self = .split(queue) }
            try queue.put(head: head, written: written, in: memory)
        }
    }

    /// Whether the driver wants an interrupt for what was put since this was last asked.
    public mutating func takeInterrupt(in memory: GuestMemory) throws(QueueFault) -> Bool {
        switch self {
        case .split(var queue):
            defer { self = .split(queue) }
            return try queue.takeInterrupt(in: memory)
        }
    }

    /// Asks the driver for a notification of the next chain, and says whether chains came meanwhile.
    public mutating func enableNotifications(in memory: GuestMemory) throws(QueueFault) -> Bool {
        switch self {
        case .split(var queue):
            defer { self = .split(queue) }
            return try queue.enableNotifications(in: memory)
        }
    }

    /// Tells the driver that it need not notify: the device will look by itself.
    public mutating func disableNotifications(in memory: GuestMemory) throws(QueueFault) {
        switch self {
        case .split(var queue):
            defer { self = .split(queue) }
            try queue.disableNotifications(in: memory)
        }
    }

    /// Chains taken and not given back.
    var depth: Int {
        switch self {
        case .split(let queue): Int(queue.indices.taken &- queue.indices.used)
        }
    }

    /// The positions of both sides, for people who look.
    public var indices: QueueIndices {
        switch self {
        case .split(let queue): queue.indices
        }
    }
}

/// Free-running positions of a queue.
public struct QueueIndices: Equatable, Sendable {
    /// The driver's available index as last read.
    public var available: UInt16
    /// The next available entry that the device takes.
    public var taken: UInt16
    /// The next used entry that the device writes.
    public var used: UInt16
    /// The device has asked for notifications.
    public var notificationsEnabled: Bool

    public init(available: UInt16, taken: UInt16, used: UInt16, notificationsEnabled: Bool) {
        self.available = available; self.taken = taken; self.used = used; self.notificationsEnabled = notificationsEnabled
    }
}
