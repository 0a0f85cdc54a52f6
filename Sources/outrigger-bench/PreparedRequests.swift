import Simulation
import Virtio

/// Block requests in a queue, a number of them in flight: half reads, half writes, at random places.
final class PreparedRequests {
    private static let queueSize: UInt16 = 256

    let queue: MockDriver
    private let depth: Int
    private let bytes: Int
    private let diskBytes: UInt64
    private let memory: FlatMemory
    private var random: SplitMix64

    /// - Parameter start: where in the memory the queue lies, its buffers behind it; nil: at its beginning.
    init(in memory: FlatMemory, at start: UInt64? = nil, depth: Int, bytes: Int, diskBytes: UInt64, seed: UInt64) {
        (self.memory, self.depth, self.bytes, self.diskBytes) = (memory, depth, bytes, diskBytes)
        random = SplitMix64(seed: seed)
        queue = MockDriver(memory: memory, at: start, size: Self.queueSize, usesEventIndex: true)
        // Requests keep their descriptors, three each; only the headers change.
        for tag in 0..<depth {
            let header = buffer(tag)
            let segments = [
                Segment(address: header, length: 16, isWritable: false),
                Segment(address: header + 4096, length: UInt32(bytes), isWritable: tag % 2 == 0),
                Segment(address: header + 16, length: 1, isWritable: true),
            ]
            for index: UInt16 in 0..<3 {
                let flags = index < 2 ? MockDriver.Flag.next : 0
                queue.pokeDescriptor(UInt16(3 * tag) + index, segments[Int(index)], flags: flags, next: UInt16(3 * tag) + index + 1)
            }
            memory.store(UInt32(tag % 2), at: header)
        }
    }

    /// A page for header and status, then the data.
    private func buffer(_ tag: Int) -> UInt64 { queue.buffers + UInt64(tag * (4096 + bytes)) }

    private func publish(_ tag: Int) {
        memory.store(random.next() % (diskBytes / UInt64(bytes)) * UInt64(bytes / 512), at: buffer(tag) + 8)
        queue.publish(UInt16(3 * tag))
    }

    /// Fills the queue.
    func begin() {
        for tag in 0..<depth { publish(tag) }
        queue.wantInterrupt(after: queue.usedIndex)
    }

    /// Reaps what is done and replaces it by new requests; returns how many.
    func serve() throws -> Int {
        var count = 0
        while let used = queue.reap() {
            let tag = Int(used.head) / 3
            guard memory.load(buffer(tag) + 16, as: UInt8.self) == 0 else {
                throw BenchmarkError(description: "request \(tag) failed")
            }
            publish(tag)
            count += 1
        }
        queue.wantInterrupt(after: queue.usedIndex)
        return count
    }
}
