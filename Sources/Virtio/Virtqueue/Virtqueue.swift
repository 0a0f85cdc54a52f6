import Simulation

/// Size and addresses of a queue, as the driver programs them.
public struct QueueLayout: Hashable, Sendable {
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
/// Devices call only this type; the rings are plain structs with the same operations, and the `switch` is the whole dispatch.
public struct Virtqueue: Sendable {
    public enum Ring: Sendable {
        case split(SplitQueue)
        case packed(PackedQueue)
    }

    public private(set) var ring: Ring
    /// While VIRTIO_F_IN_ORDER is in force.
    private var order: CompletionOrder?
    /// Chains taken and not given back.
    private(set) var depth = 0
    /// Chains that are taken before those of the available ring, the last one first.
    private var backlog: [UInt16] = []
    /// Where chains in flight are noted, of a split and of a packed ring; no part of the queue's own state.
    private var inflight: InflightTable?
    private var packedInflight: PackedInflightTable?

    /// Checks size and alignment; the areas' addresses are checked when they are used.
    public init(layout: QueueLayout, features: Features) throws(QueueFault) {
        if features.contains(.packedRing) {
            ring = .packed(try PackedQueue(layout: layout, features: features))
        } else {
            ring = .split(try SplitQueue(layout: layout, features: features))
        }
        order = features.contains(.inOrder) ? CompletionOrder(size: layout.size) : nil
    }

    /// A queue that goes on where another device has left it. A packed one has to be in order: then what is unfinished is still in its
    /// ring.
    public init(layout: QueueLayout, features: Features, from start: QueueStart, notingIn notes: InflightNotes?) throws(QueueFault) {
        if features.contains(.packedRing) {
            ring = .packed(try PackedQueue(layout: layout, features: features, from: start))
        } else {
            ring = .split(try SplitQueue(layout: layout, features: features, from: start))
            backlog = start.unfinished.reversed()
        }
        order = features.contains(.inOrder) ? CompletionOrder(size: layout.size) : nil
        switch notes {
        case .split(let table): inflight = table
        case .packed(let table): packedInflight = table
        case nil: break
        }
    }

    /// Takes the next available chain into `segments`; nil if there is none.
    public mutating func take(
        from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain? {
        guard var chain = backlog.isEmpty ? try takeFromRing(memory, segments) : try takeUnfinished(memory, segments) else { return nil }
        if order != nil { chain.place = try order!.begin(chain) }
        depth += 1
        inflight?.took(chain.head)
        return chain
    }

    /// The oldest chain that another device had taken.
    private mutating func takeUnfinished(
        _ memory: GuestMemory, _ segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain? {
        guard case .split(let queue) = ring, let head = backlog.popLast() else { return nil }
        return try queue.chain(at: head, from: memory, into: segments)
    }

    private mutating func takeFromRing(
        _ memory: GuestMemory, _ segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain? {
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            return try queue.take(from: memory, into: segments)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            return try queue.take(from: memory, into: segments)
        }
    }

    /// Gives a chain back, of which the device wrote the first `written` writable bytes. With VIRTIO_F_IN_ORDER the driver sees it once it
    /// has seen all that were taken before.
    public mutating func put(_ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        try stage(chain, written: written, in: memory)
        try publish(in: memory)
    }

    /// The same, but the driver sees the chain only after ``publish(in:)``, which has to come before anything else of the machine runs.
    public mutating func stage(_ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        guard order != nil else { return try stageInRing(chain.head, chain.descriptors, written, memory) }
        order!.finish(chain, written: written)
        while let next = order!.popFinished() { try stageInRing(next.head, next.descriptors, next.written, memory) }
    }

    private mutating func stageInRing(
        _ head: UInt16, _ descriptors: UInt16, _ written: UInt32, _ memory: GuestMemory
    ) throws(QueueFault) {
        depth -= 1
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            inflight?.willGive(back: head)
            try queue.stage(head: head, written: written, in: memory)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            guard order != nil else {
                return try queue.stage(id: head, descriptors: descriptors, written: written, in: memory)
            }
            // One by one, with a table or without one: a recording is replayed without.
            packedInflight?.willGive(used: queue.usedPosition(after: descriptors))
            try queue.putAtOnce(id: head, descriptors: descriptors, written: written, in: memory)
            packedInflight?.gave()
        }
    }

    /// Shows the driver all chains that were staged.
    public mutating func publish(in memory: GuestMemory) throws(QueueFault) {
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            try queue.publish(in: memory)
            inflight?.gave(used: queue.indices.used)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            try queue.publish(in: memory)
        }
    }

    /// Takes a chain back that was taken: nothing of it has happened. Only in a split ring that promises no order.
    mutating func recall(_ chain: DescriptorChain) {
        depth -= 1
        backlog.insert(chain.head, at: 0)
    }

    /// Goes on where another device stopped.
    /// - Returns: false, with nothing changed, in a packed ring, whose positions are others.
    mutating func resume(taken: UInt16, used: UInt16) -> Bool {
        guard case .split(var queue) = ring else { return false }
        queue.resume(taken: taken, used: used)
        ring = .split(queue)
        backlog.removeAll()
        depth = 0
        return true
    }

    /// Adds a chain that another device has taken.
    mutating func add(recalled head: UInt16) {
        guard case .split(let queue) = ring, backlog.count < Int(queue.layout.size) else { return }
        backlog.insert(head, at: 0)
    }

    /// Heads of the chains that were taken and that nobody works on, in the order in which they are to be served.
    var recalled: [UInt16] { backlog.reversed() }

    /// Whether there is a chain to be taken.
    public mutating func hasChains(in memory: GuestMemory) throws(QueueFault) -> Bool {
        guard backlog.isEmpty else { return true }
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            return try queue.hasChains(in: memory)
        case .packed(let queue): return try queue.hasChains(in: memory)
        }
    }

    /// Whether the driver wants an interrupt for what was put since this was last asked.
    public mutating func takeInterrupt(in memory: GuestMemory) throws(QueueFault) -> Bool {
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            return try queue.takeInterrupt(in: memory)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            return try queue.takeInterrupt(in: memory)
        }
    }

    /// Asks the driver for a notification of the next chain, and says whether chains came meanwhile.
    public mutating func enableNotifications(in memory: GuestMemory) throws(QueueFault) -> Bool {
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            return try queue.enableNotifications(in: memory)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            return try queue.enableNotifications(in: memory)
        }
    }

    /// Tells the driver that it need not notify: the device will look by itself.
    public mutating func disableNotifications(in memory: GuestMemory) throws(QueueFault) {
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            try queue.disableNotifications(in: memory)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            try queue.disableNotifications(in: memory)
        }
    }

    /// Saves or replaces what changes in a queue; loading takes place in one that was made with the same layout and features.
    mutating func archive(_ archive: inout StateArchive, version: UInt16) throws(SnapshotError) {
        switch ring {
        case .split(var queue):
            defer { ring = .split(queue) }
            try queue.archive(&archive)
        case .packed(var queue):
            defer { ring = .packed(queue) }
            try queue.archive(&archive)
        }
        try order?.archive(&archive)
        try archive.integer(&depth, in: 0...1 << 16)
        guard version >= 2 else { return }
        try archive.array(&backlog, limit: 1 << 15, blank: 0) { (archive, head) throws(SnapshotError) in try archive.integer(&head) }
    }

    /// The positions of both sides, for people who look.
    public var indices: QueueIndices {
        switch ring {
        case .split(let queue): queue.indices
        case .packed(let queue): queue.indices
        }
    }

    /// For people: `split` or `packed`.
    public var format: String {
        switch ring {
        case .split: "split"
        case .packed: "packed"
        }
    }

    /// Bytes of each area.
    public func bytes(of area: QueueArea) -> Int {
        switch ring {
        case .split(let queue): SplitQueue.bytes(of: area, size: queue.layout.size)
        case .packed(let queue): PackedQueue.bytes(of: area, size: queue.layout.size)
        }
    }
}

/// Where a queue goes on that another device has left.
public struct QueueStart: Hashable, Sendable {
    /// The next entry of the available ring that is taken. A packed queue takes again what is behind `used`.
    public var taken: UInt16
    /// The next entry of the used ring that is written; of a packed queue the offset in the ring, with the wrap counter in bit 15.
    public var used: UInt16
    /// Chains of a split queue that were taken before `taken` and not given back, oldest first.
    public var unfinished: [UInt16]

    public init(taken: UInt16 = 0, used: UInt16 = 0, unfinished: [UInt16] = []) {
        self.taken = taken; self.used = used; self.unfinished = unfinished
    }
}

/// Positions of a queue: free-running in a split queue; in a packed queue, offsets in the ring with the wrap counter as bit 15.
public struct QueueIndices: Equatable, Sendable {
    /// The driver's available index as last read (split queue); as far as chains were found available (packed queue).
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

/// Holds chains back until all that were taken before them are done: VIRTIO_F_IN_ORDER (virtio 1.2 sections 2.7.9 and 2.8.9).
struct CompletionOrder: Sendable {
    struct Entry: Sendable {
        var head: UInt16 = 0
        var descriptors: UInt16 = 0
        var written: UInt32 = 0
        var isFinished = false
    }

    /// A ring of as many chains as the queue can have outstanding.
    private var entries: [Entry]
    /// Place of the oldest chain outstanding, and how many there are.
    private var first = 0
    private var count = 0

    init(size: UInt16) {
        entries = Array(repeating: Entry(), count: Int(size))
    }

    /// The place of a chain that was just taken.
    mutating func begin(_ chain: DescriptorChain) throws(QueueFault) -> UInt16 {
        // Every chain has a descriptor of its own: more chains than descriptors are a driver's that didn't wait for used ones.
        guard count < entries.count else { throw .overrun(head: chain.head, size: UInt16(entries.count)) }
        let place = (first + count) % entries.count
        entries[place] = Entry(head: chain.head, descriptors: chain.descriptors)
        count += 1
        return UInt16(place)
    }

    mutating func finish(_ chain: DescriptorChain, written: UInt32) {
        // A chain out of a stored snapshot may say anything.
        guard Int(chain.place) < entries.count else { return }
        entries[Int(chain.place)].written = written
        entries[Int(chain.place)].isFinished = true
    }

    /// The oldest chain outstanding, if it is done.
    mutating func popFinished() -> Entry? {
        guard count > 0, entries[first].isFinished else { return nil }
        let entry = entries[first]
        entries[first].isFinished = false
        first = (first + 1) % entries.count
        count -= 1
        return entry
    }

    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.elements(&entries) { (archive, entry) throws(SnapshotError) in
            try archive.integer(&entry.head)
            try archive.integer(&entry.descriptors)
            try archive.integer(&entry.written)
            try archive.flag(&entry.isFinished)
        }
        try archive.integer(&first, in: 0...entries.count - 1)
        try archive.integer(&count, in: 0...entries.count)
    }
}
