import Simulation

/// The numbers of section 5.2.6.
enum BlockType {
    static let read: UInt32 = 0
    static let write: UInt32 = 1
    static let flush: UInt32 = 4
    static let getID: UInt32 = 8
    static let discard: UInt32 = 11
    static let writeZeroes: UInt32 = 13
}

/// The status byte of a request, section 5.2.6.
public enum BlockStatus: UInt8, Sendable {
    case ok = 0
    case ioError = 1
    case unsupported = 2
}

/// A request in the device.
struct BlockRequest: Sendable {
    /// What it waits for. Each stage ends at its own cycle, so requests overtake each other.
    enum Stage: UInt8, Sendable {
        case free = 0
        /// A service core.
        case service
        /// Descriptors, header and data from the host.
        case fetch
        /// The medium.
        case medium
        /// Data and status to the host.
        case deliver
        /// An accelerator slot: before the medium with a write, after it with a read.
        case transform
        /// Room in its owner's memory.
        case room
    }

    var stage = Stage.free
    /// Its queue was reset: it ends without a trace.
    var isDropped = false
    /// What the request was found to be on arrival; anything but `ok` is final.
    var status = BlockStatus.ok
    /// Counts the uses of the slot, so that what was submitted for an earlier use finds nothing.
    var generation: UInt32 = 0
    var queue = 0
    var type: UInt32 = 0
    var chain = DescriptorChain(head: 0)
    /// First byte on the medium.
    var position: UInt64 = 0
    /// Bytes to or from the medium.
    var bytes: UInt64 = 0
    /// Bytes that are in its owner's memory while it is in flight: those of data that is moved.
    var payloadBytes: UInt64 { status == .ok && (type == BlockType.read || type == BlockType.write) ? bytes : 0 }
    var arrival: Cycle = 0
    var depth: UInt32 = 0
    /// End of the core's stage, and of the fetch.
    var served: Cycle = 0
    var fetched: Cycle = 0
    /// End of the medium's stage; requests of one cycle end in the order in which they came to it.
    var due: Cycle = 0
    var order: UInt64 = 0
}

extension BlockRequest: ArchivedState {
    /// Of a free slot, only its uses count.
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        if archive.isLoading { self = BlockRequest() }
        try archive.raw(&stage)
        try archive.integer(&generation)
        guard stage != .free else { return }
        try archive.flag(&isDropped)
        try archive.raw(&status)
        try archive.integer(&queue)
        try archive.integer(&type)
        try archive.state(&chain)
        try archive.integer(&position)
        try archive.integer(&bytes)
        try archive.integer(&arrival)
        try archive.integer(&depth)
        try archive.integer(&served)
        try archive.integer(&fetched)
        try archive.integer(&due)
        try archive.integer(&order)
    }
}

/// The device's request slots: a fixed number, so that nothing is allocated per request, and a full table holds queues back.
struct BlockRequestTable: Sendable {
    private(set) var slots: [BlockRequest]
    /// Buffers of all slots, `segmentsPerSlot` each.
    private var segments: [Segment]
    let segmentsPerSlot: Int
    private var free: [Int32]
    /// Slots at the medium, a binary heap by (due, order).
    private var heap: [Int32] = []
    private var nextOrder: UInt64 = 0
    /// The slot whose request waits for room; none is taken from a queue meanwhile.
    private(set) var parked: Int? {
        get { parkedSlot < 0 ? nil : parkedSlot }
        set { parkedSlot = newValue ?? -1 }
    }
    /// Or -1. With an optional as its last field, a copy of the table is destroyed at wrong addresses where code isn't optimised (Swift
    /// 6.3.1).
    private var parkedSlot = -1

    init(slots count: Int, segmentsPerSlot: Int) {
        slots = Array(repeating: BlockRequest(), count: count)
        segments = Array(repeating: Segment(address: 0, length: 0, isWritable: false), count: count * segmentsPerSlot)
        self.segmentsPerSlot = segmentsPerSlot
        free = (0..<Int32(count)).reversed()
        heap.reserveCapacity(count)
    }

    var inFlight: Int { slots.count - free.count }
    var isFull: Bool { free.isEmpty }

    subscript(slot: Int) -> BlockRequest {
        _read { yield slots[slot] }
        _modify { yield &slots[slot] }
    }

    func segment(_ slot: Int, _ index: Int) -> Segment {
        segments[slot &* segmentsPerSlot &+ index]
    }

    mutating func withSegments<Result>(_ slot: Int, _ body: (UnsafeMutableBufferPointer<Segment>) -> Result) -> Result {
        let first = slot * segmentsPerSlot, count = segmentsPerSlot
        return segments.withUnsafeMutableBufferPointer { body(UnsafeMutableBufferPointer(rebasing: $0[first..<first + count])) }
    }

    mutating func allocate() -> Int? {
        free.popLast().map(Int.init)
    }

    mutating func release(_ slot: Int) {
        slots[slot].stage = .free
        slots[slot].isDropped = false
        slots[slot].generation &+= 1
        if parked == slot { parked = nil }
        free.append(Int32(truncatingIfNeeded: slot))
    }

    mutating func park(_ slot: Int) {
        slots[slot].stage = .room
        parked = slot
    }

    mutating func unpark(_ slot: Int) {
        slots[slot].stage = .service
        parked = nil
    }

    /// Forgets all requests; the generations go on.
    mutating func releaseAll() {
        heap.removeAll(keepingCapacity: true)
        for slot in slots.indices where slots[slot].stage != .free { release(slot) }
    }

    /// What ties a request to what it submits elsewhere.
    func id(of slot: Int) -> UInt64 {
        UInt64(slots[slot].generation) &<< 32 | UInt64(slot)
    }

    func slot(of id: UInt64) -> Int? {
        let slot = Int(id & 0xffff_ffff)
        guard slot < slots.count, slots[slot].stage != .free else { return nil }
        return slots[slot].generation == UInt32(truncatingIfNeeded: id &>> 32) ? slot : nil
    }

    /// Saves or replaces the requests and the order in which slots are handed out. Loaded requests are checked by `isPossible`, which is
    /// given each with its buffers.
    mutating func archive(
        _ archive: inout StateArchive, isPossible: (BlockRequest, ArraySlice<Segment>) -> Bool
    ) throws(SnapshotError) {
        try archive.elements(&slots) { (archive, request) throws(SnapshotError) in try archive.state(&request) }
        for slot in slots.indices where slots[slot].stage != .free {
            let first = slot * segmentsPerSlot
            let used = first..<first + Int(min(slots[slot].chain.segments, UInt16(clamping: segmentsPerSlot)))
            for index in used { try archive.state(&segments[index]) }
            try archive.require(
                slots[slot].chain.segments == used.count && isPossible(slots[slot], segments[used]), "slot \(slot): expected a "
                    + "request of \(segmentsPerSlot) buffers at most that the device can serve, found \(slots[slot])")
        }
        try archive.array(&free, limit: slots.count, blank: 0) { (archive, slot) throws(SnapshotError) in
            try archive.integer(&slot, in: 0...Int32(slots.count) - 1)
        }
        try archive.integer(&nextOrder)
        guard archive.isLoading else { return }
        var isFree = [Bool](repeating: false, count: slots.count)
        for slot in free { isFree[Int(slot)] = true }
        try archive.require(
            slots.indices.allSatisfy { isFree[$0] == (slots[$0].stage == .free) } && free.count == isFree.count { $0 },
            "expected a list of the free slots")
        heap.removeAll(keepingCapacity: true)
        for slot in slots.indices where slots[slot].stage == .medium { push(slot) }
        let waiting = slots.indices.filter { slots[$0].stage == .room }
        try archive.require(waiting.count <= 1, "expected one request at most that waits for room, found \(waiting.count)")
        try archive.require(waiting.isEmpty || inFlight > 1, "expected another request beside one that waits for room, found none")
        parked = waiting.first
    }

    // MARK: The heap of what the medium works on

    var nextDue: Cycle { heap.isEmpty ? .max : slots[Int(heap[0])].due }

    mutating func insert(_ slot: Int, due: Cycle) {
        slots[slot].due = due
        slots[slot].order = nextOrder
        nextOrder &+= 1
        push(slot)
    }

    private mutating func push(_ slot: Int) {
        heap.append(Int32(truncatingIfNeeded: slot))
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard isBefore(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    /// The slot that is due first, if it is by `cycle`.
    mutating func popDue(by cycle: Cycle) -> Int? {
        guard let first = heap.first, slots[Int(first)].due <= cycle else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return Int(first) }
        heap[0] = last
        var parent = 0
        while true {
            var next = parent
            for child in 2 * parent + 1..<2 * parent + 3 where child < heap.count && isBefore(heap[child], heap[next]) { next = child }
            guard next != parent else { return Int(first) }
            heap.swapAt(parent, next)
            parent = next
        }
    }

    private func isBefore(_ a: Int32, _ b: Int32) -> Bool {
        let (a, b) = (slots[Int(a)], slots[Int(b)])
        return a.due != b.due ? a.due < b.due : a.order < b.order
    }
}
