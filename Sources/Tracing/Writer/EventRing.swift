import Simulation
import Synchronization

/// Takes events from the machine, one thread at a time, to the writer's thread, in order and without loss.
///
/// The machine stores an event and goes on. It takes a lock once in ``chunk`` events, and waits there while the ring is full.
@usableFromInline final class EventRing: @unchecked Sendable {
    // Sendable: slots from `tail` to `head` are the writer's, the others the machine's; the mutable properties are under `monitor`.

    static let capacity: UInt64 = 1 << 15
    /// So many events wake the writer, and are given back at once: few enough that it keeps up, many enough that waking costs nothing.
    static let chunk: UInt64 = 1 << 12

    /// The machine's end.
    let producer: UnsafeMutablePointer<EventProducer>
    private let slots: UnsafeMutablePointer<RawEvent>
    /// Events that the machine has stored, and that the writer is done with, ever.
    private let head: UnsafeMutablePointer<Atomic<UInt64>>
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
        head = .allocate(capacity: 1)
        head.initialize(to: Atomic(0))
        tail = .allocate(capacity: 1)
        tail.initialize(to: Atomic(0))
        producer = .allocate(capacity: 1)
        producer.initialize(to: EventProducer(slots, head, self))
    }

    deinit {
        producer.deallocate()
        head.deinitialize(count: 1).deallocate()
        tail.deinitialize(count: 1).deallocate()
        slots.deallocate()
    }

    // MARK: The machine's end

    /// The machine has stored all before `next`: wakes the writer, and waits until the next chunk is free.
    func makeRoom(_ next: UInt64) {
        monitor.lock()
        defer { monitor.unlock() }
        if isAsleep { monitor.notify() }
        while next &- tail.pointee.load(ordering: .acquiring) > Self.capacity - Self.chunk {
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
    var count: UInt64 { head.pointee.load(ordering: .acquiring) &- tail.pointee.load(ordering: .relaxed) }

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
@frozen public struct EventProducer {
    @usableFromInline let slots: UnsafeMutablePointer<RawEvent>
    /// Where the next event goes.
    @usableFromInline var slot: UnsafeMutablePointer<RawEvent>
    /// Room was made up to here.
    @usableFromInline var end: UnsafeMutablePointer<RawEvent>
    /// Written here alone.
    @usableFromInline let head: UnsafeMutablePointer<Atomic<UInt64>>
    /// Owned by the writer, which owns this too.
    @usableFromInline let ring: Unmanaged<EventRing>

    init(_ slots: UnsafeMutablePointer<RawEvent>, _ head: UnsafeMutablePointer<Atomic<UInt64>>, _ ring: EventRing) {
        self.slots = slots; self.head = head; self.ring = .passUnretained(ring)
        slot = slots
        end = slots + Int(EventRing.chunk)
    }

    /// Stores an event of one slot.
    @inlinable @inline(__always)
    public mutating func append(_ event: RawEvent) {
        put(event)
        publish(1)
        if slot == end { makeRoom() }
    }

    /// Stores an event, and what follows it; the writer sees them all or none.
    mutating func append(_ event: RawEvent, tail: [UInt8]) {
        var count: UInt64 = 1
        put(event)
        for start in stride(from: 0, to: tail.count, by: RawEvent.stride) {
            if slot == end { makeRoom(after: count) }
            var rest = RawEvent.zero
            withUnsafeMutableBytes(of: &rest) { $0.copyBytes(from: tail[start..<min(start + RawEvent.stride, tail.count)]) }
            put(rest)
            count += 1
        }
        publish(count)
        if slot == end { makeRoom() }
    }

    @inlinable @inline(__always)
    mutating func put(_ event: RawEvent) {
        slot.pointee = event
        slot += 1
    }

    /// The writer may have so many more.
    @inlinable @inline(__always)
    func publish(_ count: UInt64) {
        head.pointee.store(head.pointee.load(ordering: .relaxed) &+ count, ordering: .releasing)
    }

    /// - Parameter unpublished: slots before `slot` that the writer can't see yet.
    @usableFromInline @inline(never)
    mutating func makeRoom(after unpublished: UInt64 = 0) {
        let stored = head.pointee.load(ordering: .relaxed) &+ unpublished
        ring._withUnsafeGuaranteedRef { $0.makeRoom(stored) }
        if slot == slots + Int(EventRing.capacity) { slot = slots }
        end = slot + Int(EventRing.chunk)
    }
}
