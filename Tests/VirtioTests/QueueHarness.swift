import Interconnect
import Virtio

/// One split queue with its driver, and the storage that chains are taken into.
final class QueueHarness {
    let memory: FlatMemory
    let driver: MockDriver
    var queue: SplitQueue
    let segments: UnsafeMutableBufferPointer<Segment>
    let guest: GuestMemory

    init(size: UInt16 = 8, features: Features = [.version1, .indirectDescriptors], limit: Int = 64) throws {
        memory = FlatMemory(count: 1 << 20)
        driver = MockDriver(memory: memory, size: size, usesEventIndex: features.contains(.eventIndex))
        queue = try SplitQueue(layout: driver.layout, features: features)
        segments = .allocate(capacity: limit)
        guest = GuestMemory(memory)
    }

    deinit {
        segments.deallocate()
    }

    /// The next chain with its buffers; nil if there is none.
    func take() throws(QueueFault) -> (chain: DescriptorChain, segments: [Segment])? {
        guard let chain = try queue.take(from: guest, into: segments) else { return nil }
        return (chain, Array(segments.prefix(Int(chain.segments))))
    }

    func put(_ head: UInt16, written: UInt32 = 0) throws(QueueFault) {
        try queue.stage(head: head, written: written, in: guest)
        try queue.publish(in: guest)
    }

    func takeInterrupt() throws(QueueFault) -> Bool {
        try queue.takeInterrupt(in: guest)
    }

    func enableNotifications() throws(QueueFault) -> Bool {
        try queue.enableNotifications(in: guest)
    }

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
