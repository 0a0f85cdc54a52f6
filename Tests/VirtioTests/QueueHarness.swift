import Interconnect
import Virtio

/// What the tests of both ring formats ask of a queue.
protocol TestedRing {
    associatedtype Driver: QueueDriver
    static func driver(in memory: FlatMemory, size: UInt16, usesEventIndex: Bool) -> Driver
    init(layout: QueueLayout, features: Features) throws(QueueFault)
    mutating func take(
        from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>
    ) throws(QueueFault) -> DescriptorChain?
    mutating func stage(_ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) throws(QueueFault)
    mutating func publish(in memory: GuestMemory) throws(QueueFault)
    mutating func takeInterrupt(in memory: GuestMemory) throws(QueueFault) -> Bool
    mutating func enableNotifications(in memory: GuestMemory) throws(QueueFault) -> Bool
}

extension SplitQueue: TestedRing {
    static func driver(in memory: FlatMemory, size: UInt16, usesEventIndex: Bool) -> MockDriver {
        MockDriver(memory: memory, size: size, usesEventIndex: usesEventIndex)
    }

    mutating func stage(_ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        try stage(head: chain.head, written: written, in: memory)
    }
}

extension PackedQueue: TestedRing {
    static func driver(in memory: FlatMemory, size: UInt16, usesEventIndex: Bool) -> PackedMockDriver {
        PackedMockDriver(memory: memory, size: size, usesEventIndex: usesEventIndex)
    }

    mutating func stage(_ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) throws(QueueFault) {
        try stage(id: chain.head, descriptors: chain.descriptors, written: written, in: memory)
    }
}

typealias SplitHarness = QueueHarness<SplitQueue>
typealias PackedHarness = QueueHarness<PackedQueue>

/// One queue with its driver, and the storage that chains are taken into.
final class QueueHarness<Ring: TestedRing> {
    let memory = FlatMemory(count: 1 << 20)
    let driver: Ring.Driver
    var queue: Ring
    let segments: UnsafeMutableBufferPointer<Segment>
    let guest: GuestMemory

    init(size: UInt16 = 8, features: Features = [.version1, .indirectDescriptors], limit: Int = 64) throws {
        driver = Ring.driver(in: memory, size: size, usesEventIndex: features.contains(.eventIndex))
        queue = try Ring(layout: driver.layout, features: features)
        segments = .allocate(capacity: limit)
        guest = GuestMemory(memory)
    }

    deinit { segments.deallocate() }

    /// The next chain with its buffers; nil if there is none.
    func take() throws(QueueFault) -> (chain: DescriptorChain, segments: [Segment])? {
        guard let chain = try queue.take(from: guest, into: segments) else { return nil }
        return (chain, Array(segments.prefix(Int(chain.segments))))
    }

    func put(_ chain: DescriptorChain, written: UInt32 = 0) throws(QueueFault) {
        try queue.stage(chain, written: written, in: guest)
        try queue.publish(in: guest)
    }

    func takeInterrupt() throws(QueueFault) -> Bool { try queue.takeInterrupt(in: guest) }

    func enableNotifications() throws(QueueFault) -> Bool { try queue.enableNotifications(in: guest) }

    /// The fault that taking the next chain ends with; nil if it doesn't.
    func faultOnTake() -> QueueFault? {
        do throws(QueueFault) {
            _ = try queue.take(from: guest, into: segments)
            return nil
        } catch {
            return error
        }
    }

    func readable(_ offset: UInt64, _ length: UInt32) -> Segment {
        Segment(address: driver.buffers + offset, length: length, isWritable: false)
    }

    func writable(_ offset: UInt64, _ length: UInt32) -> Segment {
        Segment(address: driver.buffers + offset, length: length, isWritable: true)
    }
}
