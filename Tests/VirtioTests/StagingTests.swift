import Simulation
import Testing
import Virtio

/// Chains that go back together: staged one by one, seen by the driver all at once.
@Suite("Batches of used chains")
struct StagingTests {
    private static let size: UInt16 = 8

    private static func driver(_ memory: FlatMemory, _ features: Features) -> any QueueDriver {
        features.contains(.packedRing)
            ? PackedMockDriver(memory: memory, at: memory.base, size: size, usesEventIndex: features.contains(.eventIndex))
            : MockDriver(memory: memory, at: memory.base, size: size, usesEventIndex: features.contains(.eventIndex))
    }

    @Test("the driver sees nothing before, then all of them in their order, with one interrupt", arguments: [
        [.version1], [.version1, .inOrder], [.version1, .packedRing], [.version1, .packedRing, .inOrder],
    ] as [Features])
    func seenTogether(features: Features) throws {
        let memory = FlatMemory(count: 1 << 16)
        let driver = Self.driver(memory, features), guest = GuestMemory(memory)
        var queue = try Virtqueue(layout: driver.layout, features: features)
        let segments = UnsafeMutableBufferPointer<Segment>.allocate(capacity: 4)
        defer { segments.deallocate() }
        // A packed ring that promises an order shows each at once, so that whoever comes after a killed device finds it given back.
        let areTogether = !features.isSuperset(of: [.packedRing, .inOrder])
        var random = SplitMix64(seed: features.rawValue)
        for round in 0..<200 {
            let count = Int.random(in: 1...Int(Self.size), using: &random)
            var chains: [DescriptorChain] = []
            for _ in 0..<count {
                _ = driver.submit([Segment(address: memory.base + 0x8000, length: 64, isWritable: true)])
                chains.append(try #require(try queue.take(from: guest, into: segments)))
            }
            // With VIRTIO_F_IN_ORDER they may be done in any order, and go back in the one in which they came.
            let order = features.contains(.inOrder) ? chains.shuffled(using: &random) : chains
            for chain in order {
                try queue.stage(chain, written: UInt32(chain.head) + 1, in: guest)
                if areTogether { #expect(driver.reap() == nil, "round \(round)") }
            }
            try queue.publish(in: guest)
            for chain in chains { #expect(driver.reap() == .init(head: chain.head, written: UInt32(chain.head) + 1), "round \(round)") }
            #expect(driver.reap() == nil)
            #expect(try queue.takeInterrupt(in: guest))
            #expect(try !queue.takeInterrupt(in: guest))
            // Nothing is left to be shown.
            let writes = memory.writes
            try queue.publish(in: guest)
            #expect(memory.writes == writes)
        }
        withExtendedLifetime(memory) {}
    }

    @Test("whoever hears of writes hears of every byte, in few pieces, also across the end of the ring")
    func writesAreTold() throws {
        let memory = FlatMemory(count: 1 << 16)
        let driver = MockDriver(memory: memory, size: Self.size), guest = GuestMemory(memory)
        // Its indexes wrap within the batch, too.
        var queue = try Virtqueue(
            layout: driver.layout, features: .version1, from: QueueStart(taken: 65_533, used: 65_533), notingIn: nil)
        driver.pokeAvailableIndex(65_533)
        let segments = UnsafeMutableBufferPointer<Segment>.allocate(capacity: 4)
        defer { segments.deallocate() }
        var chains: [DescriptorChain] = []
        for _ in 0..<6 {
            _ = driver.submit([Segment(address: memory.base + 0x8000, length: 64, isWritable: true)])
            chains.append(try #require(try queue.take(from: guest, into: segments)))
        }
        memory.recordsWrites = true
        for chain in chains { try queue.stage(chain, written: 7, in: guest) }
        try queue.publish(in: guest)
        let used = driver.layout.deviceArea
        // Elements 5, 6 and 7, then 0, 1 and 2; the index.
        #expect(memory.written == [used + 4 + 40..<used + 4 + 64, used + 4..<used + 4 + 24, used + 2..<used + 4])
        #expect(driver.usedIndex == 3 && queue.indices.used == 3)
        for (place, chain) in chains.enumerated() {
            #expect(memory.load(used + 4 + 8 * UInt64((5 + place) % 8), as: UInt32.self) == UInt32(chain.head))
        }
        withExtendedLifetime(memory) {}
    }
}
