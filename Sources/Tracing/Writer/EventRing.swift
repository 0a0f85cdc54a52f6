import Registers
import Simulation
import Synchronization

/// Takes events from the machine, one thread at a time, to the writer's thread, in order and without loss.
///
/// The machine stores an event and goes on. It takes a lock once in ``chunk`` events, and waits there while the ring is full.
@usableFromInline final class EventRing: @unchecked Sendable {
    // Sendable: slots from `tail` to the producer's cursor are the writer's, the others the machine's; the mutable properties are under
    // `monitor`.

    static let capacity: UInt64 = 1 << 15
    /// So many events wake the writer, and are given back at once: few enough that it keeps up, many enough that waking costs nothing.
    /// One is always free: a full ring isn't taken for an empty one.
    static let chunk: UInt64 = 1 << 12

    /// The machine's end.
    let producer: UnsafeMutablePointer<EventProducer>
    private let slots: UnsafeMutablePointer<RawEvent>
    /// Events that the writer is done with, ever.
    private let tail: UnsafeMutablePointer<Atomic<UInt64>>

    private let monitor = Monitor()
    private var isProducerWaiting = false
    /// The writer waits for a chunk.
    private var isAsleep = false
    /// The writer is to look at once, whatever there is.
    private var isCalled = false

    init() {
        slots = .allocate(capacity: Int(Self.capacity))
        // The machine is spared the page faults.
        slots.initialize(repeating: .zero, count: Int(Self.capacity))
        tail = .allocate(capacity: 1)
        tail.initialize(to: Atomic(0))
        producer = .allocate(capacity: 1)
        producer.initialize(to: EventProducer(slots, self))
    }

    deinit {
        producer.deinitialize(count: 1).deallocate()
        tail.deinitialize(count: 1).deallocate()
        slots.deallocate()
    }

    // MARK: The machine's end

    /// The machine has stored all before the slot `next`: wakes the writer, and waits until a chunk and one more are free.
    func makeRoom(_ next: UnsafeMutablePointer<RawEvent>) {
        monitor.lock()
        defer { monitor.unlock() }
        if isAsleep { monitor.notify() }
        while count(to: next) > Self.capacity - 2 * Self.chunk {
            isProducerWaiting = true
            monitor.notify()
            monitor.wait()
        }
        isProducerWaiting = false
    }

    /// Has the writer look at what there is now, without waiting for a whole chunk.
    func callWriter() {
        monitor.lock()
        isCalled = true
        monitor.notify()
        monitor.unlock()
    }

    // MARK: The writer's end

    /// Waits for a chunk, for a call, or for a time of ``WallClock``; whatever comes first.
    func wait(until time: UInt64) {
        monitor.lock()
        defer { monitor.unlock() }
        isAsleep = true
        while !isCalled, count < Self.chunk, monitor.wait(until: time) {}
        isAsleep = false
        isCalled = false
    }

    /// Waits until a time of ``WallClock``, soon, while events come in: the machine is spared waking the writer. Ends before it for a
    /// call or a full ring.
    func nap(until time: UInt64) {
        monitor.lock()
        defer { monitor.unlock() }
        while !isCalled, !isProducerWaiting, monitor.wait(until: time) {}
        isCalled = false
    }

    /// Events that wait for the writer.
    var count: UInt64 { count(to: producer.pointee.published) }

    /// Events from the oldest that waits to the slot `next`.
    private func count(to next: UnsafeMutablePointer<RawEvent>) -> UInt64 {
        (UInt64(next - slots) &- tail.pointee.load(ordering: .acquiring)) & (Self.capacity - 1)
    }

    /// The event at `place` of those that wait, 0 for the oldest.
    func slot(_ place: UInt64) -> UnsafePointer<RawEvent> {
        UnsafePointer(slots + Int((tail.pointee.load(ordering: .relaxed) &+ place) & (Self.capacity - 1)))
    }

    /// The writer is done with the oldest `count` events.
    func release(_ count: UInt64) {
        tail.pointee.store(tail.pointee.load(ordering: .relaxed) &+ count, ordering: .releasing)
        monitor.lock()
        if isProducerWaiting { monitor.notify() }
        monitor.unlock()
    }
}

/// The machine's end of an ``EventRing``, in raw memory: a few stores for an event. Whoever uses it holds the machine's lock.
///
/// An access is put together in the slot that will be its: ``RawEvent/begin(at:)``, then register blocks leave in its
/// ``RegisterTap`` what it does, then ``finish(_:address:bus:status:)``. Events that it brings about go before it.
@frozen public struct EventProducer: ~Copyable {
    /// Where the next event goes: the writer has all before it.
    @usableFromInline let cursor: Atomic<UnsafeMutablePointer<RawEvent>>
    /// Room was made up to here.
    @usableFromInline var end: UnsafeMutablePointer<RawEvent>
    @usableFromInline let slots: UnsafeMutablePointer<RawEvent>
    /// Owned by the writer, which owns this too.
    @usableFromInline let ring: Unmanaged<EventRing>

    init(_ slots: UnsafeMutablePointer<RawEvent>, _ ring: EventRing) {
        self.slots = slots; self.ring = .passUnretained(ring)
        cursor = Atomic(slots)
        end = slots + Int(EventRing.chunk)
    }

    /// What the writer has, to the slot after its last.
    var published: UnsafeMutablePointer<RawEvent> { cursor.load(ordering: .acquiring) }

    /// The slot of the access that is under way.
    @inlinable @inline(__always)
    public var slot: UnsafeMutablePointer<RawEvent> { cursor.load(ordering: .relaxed) }

    /// Where the pointer to ``slot`` is, and with it that to a ``RegisterTap``, which is what a slot begins with.
    public var place: UnsafeRawPointer { withUnsafePointer(to: cursor) { UnsafeRawPointer($0) } }

    /// The access in ``slot`` has come back: see ``RawEvent/finish(_:address:bus:status:)``.
    @inlinable @inline(__always)
    public mutating func finish(_ access: inout BusAccess, address: UInt64, bus: Int, status: BusStatus) {
        let slot = slot
        slot.pointee.finish(&access, address: address, bus: bus, status: status)
        let next = slot + 1
        cursor.store(next, ordering: .releasing)
        if next == end { cursor.store(makeRoom(next), ordering: .releasing) }
    }

    /// Stores an event of which there are many: spared the way by a ``TraceEvent``.
    public mutating func append(_ event: DMAEvent) { append(RawEvent(event)) }
    public mutating func append(_ event: QueueEvent) { append(RawEvent(event)) }

    /// Stores an event, and what follows it; the writer sees them all or none.
    mutating func append(_ event: RawEvent, tail: [UInt8] = []) {
        // What an access that is under way has met so far moves to the slot that becomes its.
        let underWay = slot.pointee
        var next = slot
        put(event, at: &next)
        for start in stride(from: 0, to: tail.count, by: RawEvent.stride) {
            var rest = RawEvent.zero
            withUnsafeMutableBytes(of: &rest) { $0.copyBytes(from: tail[start..<min(start + RawEvent.stride, tail.count)]) }
            put(rest, at: &next)
        }
        cursor.store(next, ordering: .releasing)
        next.pointee = underWay
    }

    private mutating func put(_ event: RawEvent, at slot: inout UnsafeMutablePointer<RawEvent>) {
        slot.pointee = event
        slot += 1
        if slot == end { slot = makeRoom(slot) }
    }

    /// Waits until there is room for a chunk from the slot `next` on.
    /// - Returns: the same slot, in the ring.
    @usableFromInline @inline(never)
    mutating func makeRoom(_ next: UnsafeMutablePointer<RawEvent>) -> UnsafeMutablePointer<RawEvent> {
        ring._withUnsafeGuaranteedRef { $0.makeRoom(next) }
        let slot = next == slots + Int(EventRing.capacity) ? slots : next
        end = slot + Int(EventRing.chunk)
        return slot
    }
}
