import Simulation

/// A transmit queue's chains in the device, oldest first: `bursts` on the link, then the burst that a core serves, then those that wait.
///
/// What it holds is in raw memory, which its owner gives back by `deallocate`: each frame passes several times.
struct TransmitQueue: @unchecked Sendable {
    // Sendable: used by whoever has the device.

    /// Chains that the device takes at a time, and the buffers of one.
    static let slots = 128
    static let segmentsPerSlot = 32

    struct Slot: Sendable {
        var chain = DescriptorChain(head: 0)
        var arrival: Cycle = 0
        /// A core was done with it.
        var served: Cycle = 0
        var depth: UInt32 = 0
        /// Bytes that were sent before.
        var position: UInt64 = 0
    }

    let chains: UnsafeMutablePointer<Slot>
    private let segments: UnsafeMutablePointer<Segment>
    /// Place of the oldest chain, and how many there are.
    private(set) var first = 0
    private(set) var count = 0
    var onLink = 0
    var inService = 0
    /// Full, so that the driver's queue was not looked at to its end.
    var isStalled = false
    /// Counts the queue's resets, so that what was submitted before finds nothing.
    var generation: UInt16 = 0

    init() {
        chains = .allocate(capacity: Self.slots)
        chains.initialize(repeating: Slot(), count: Self.slots)
        segments = .allocate(capacity: Self.slots * Self.segmentsPerSlot)
        segments.initialize(
            repeating: Segment(address: 0, length: 0, isWritable: false), count: Self.slots * Self.segmentsPerSlot)
    }

    func deallocate() {
        chains.deallocate()
        segments.deallocate()
    }

    var isFull: Bool { count == Self.slots }
    var waiting: Int { count - onLink - inService }

    /// Where chain `number`, counted from the oldest, is.
    func place(_ number: Int) -> Int { (first &+ number) & (Self.slots &- 1) }

    /// Where a chain's buffers go, in the place after the newest.
    var newSegments: UnsafeMutableBufferPointer<Segment> {
        UnsafeMutableBufferPointer(start: segments + place(count) * Self.segmentsPerSlot, count: Self.segmentsPerSlot)
    }

    mutating func append(_ slot: Slot) {
        chains[place(count)] = slot
        count += 1
    }

    func segment(_ place: Int, _ index: Int) -> Segment { segments[place &* Self.segmentsPerSlot &+ index] }

    /// A core is done with chain `number`.
    mutating func served(_ number: Int, at cycle: Cycle) { chains[place(number)].served = cycle }

    mutating func removeFirst() {
        first = place(1)
        count -= 1
        onLink -= 1
    }

    mutating func archivePositions(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&first, in: 0...Self.slots - 1)
        try archive.integer(&count, in: 0...Self.slots)
        try archive.integer(&onLink, in: 0...count)
        try archive.integer(&inService, in: 0...count - onLink)
        try archive.flag(&isStalled)
        try archive.integer(&generation)
    }

    mutating func archiveSlot(_ place: Int, _ archive: inout StateArchive) throws(SnapshotError) {
        try archive.state(&chains[place].chain)
        try archive.integer(&chains[place].arrival)
        try archive.integer(&chains[place].served)
        try archive.integer(&chains[place].depth)
        try archive.integer(&chains[place].position)
        let chain = chains[place].chain
        try archive.require(
            Int(chain.segments) <= Self.segmentsPerSlot && chain.readableSegments <= chain.segments,
            "expected a chain of at most \(Self.segmentsPerSlot) buffers, found \(chain.segments)")
        var readable: UInt64 = 0
        for index in 0..<Int(chain.segments) {
            let segment = place * Self.segmentsPerSlot + index
            try archive.state(&segments[segment])
            if index < Int(chain.readableSegments) { readable &+= UInt64(segments[segment].length) }
        }
        try archive.require(readable == chain.readableBytes, "expected \(chain.readableBytes) readable bytes, found \(readable)")
    }

    mutating func forget() {
        (first, count, onLink, inService, isStalled) = (0, 0, 0, 0, false)
        generation &+= 1
    }
}

/// Frames for one receive queue, oldest first: `ready` ones that wait for the driver's buffers, those on the link, the burst that a core
/// serves, then those that are on the wire or wait. Their bytes are in the device's memory; the rest is in raw memory, as a
/// ``TransmitQueue``'s.
struct ReceiveQueue: @unchecked Sendable {
    // Sendable: used by whoever has the device.

    struct Slot: Sendable {
        var length = 0
        /// The frame has set out, and has come over the wire.
        var arrival: Cycle = 0
        var due: Cycle = 0
        /// A core was done with it, and it has come over the link.
        var served: Cycle = 0
        var delivered: Cycle = 0
        var depth: UInt32 = 0
        /// Bytes that were received before.
        var position: UInt64 = 0
        var isChecksumValid = false
    }

    /// The chains that one frame can fill, and all their buffers.
    static let chainLimit = 64
    static let segmentLimit = 256

    let frames: UnsafeMutablePointer<Slot>
    /// How many there is room for, a power of two.
    let capacity: Int
    private(set) var first = 0
    private(set) var count = 0
    var ready = 0
    var onLink = 0
    var inService = 0
    var generation: UInt16 = 0

    /// Chains that were taken for the oldest frame, while they don't suffice.
    let chains: UnsafeMutablePointer<DescriptorChain>
    var chainCount = 0
    private let segments: UnsafeMutablePointer<Segment>
    var segmentCount = 0
    var room: UInt64 = 0

    init(slots: Int) {
        capacity = slots
        frames = .allocate(capacity: slots)
        frames.initialize(repeating: Slot(), count: slots)
        chains = .allocate(capacity: Self.chainLimit)
        chains.initialize(repeating: DescriptorChain(head: 0), count: Self.chainLimit)
        segments = .allocate(capacity: Self.segmentLimit)
        segments.initialize(repeating: Segment(address: 0, length: 0, isWritable: true), count: Self.segmentLimit)
    }

    func deallocate() {
        frames.deallocate()
        chains.deallocate()
        segments.deallocate()
    }

    /// All places for buffers; the first `segmentCount` are in use.
    var allSegments: UnsafeMutableBufferPointer<Segment> { UnsafeMutableBufferPointer(start: segments, count: Self.segmentLimit) }

    var isFull: Bool { count == capacity }
    var waiting: Int { count - ready - onLink - inService }
    /// When the next frame that no core serves has come over the wire; `Cycle.max` if there is none, or a core looks by itself.
    var nextDue: Cycle { inService == 0 && waiting > 0 ? frames[place(count - waiting)].due : .max }

    func place(_ number: Int) -> Int { (first &+ number) & (capacity &- 1) }

    /// The place that the next frame takes.
    mutating func append(_ slot: Slot) -> Int {
        let place = place(count)
        frames[place] = slot
        count += 1
        return place
    }

    mutating func removeFirst() {
        first = place(1)
        count -= 1
        ready -= 1
    }

    mutating func archivePositions(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&first, in: 0...capacity - 1)
        try archive.integer(&count, in: 0...capacity)
        try archive.integer(&ready, in: 0...count)
        try archive.integer(&onLink, in: 0...count - ready)
        try archive.integer(&inService, in: 0...count - ready - onLink)
        try archive.integer(&generation)
    }

    mutating func forgetChains() {
        (chainCount, segmentCount, room) = (0, 0, 0)
    }

    mutating func forget() {
        (first, count, ready, onLink, inService) = (0, 0, 0, 0, 0)
        forgetChains()
        generation &+= 1
    }
}

/// When the driver hears of used buffers in one direction: VIRTIO_NET_F_NOTF_COAL, section 5.1.6.5.7.
struct Coalescing: Sendable, Equatable {
    /// Frames after which it is told at once.
    var packets: UInt32 = 0
    /// The longest that it waits to be told; 0: not at all.
    var microseconds: UInt32 = 0
}

/// Frames of one queue of which the driver was not told.
struct HeldNotification: Sendable {
    var packets: UInt32 = 0
    /// When it is told at the latest.
    var due = Cycle.max
}
