import Interconnect
import Virtio

/// One split queue with its driver, and the storage that chains are taken into.
struct QueueHarness {
    let memory: FlatMemory
    var driver: MockDriver
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

    /// The next chain with its buffers; nil if there is none.
    mutating func take() throws(QueueFault) -> (chain: DescriptorChain, segments: [Segment])? {
        guard let chain = try queue.take(from: guest, into: segments) else { return nil }
        return (chain, Array(segments.prefix(Int(chain.segments))))
    }

    /// The fault that taking the next chain ends with; nil if it doesn't.
    mutating func faultOnTake() -> QueueFault? {
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
