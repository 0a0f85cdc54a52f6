import Simulation
import Testing
import Virtio

/// Random chains, direct and indirect, taken in order and given back in random order, against a list that is obviously right.
@Suite struct RandomChainTests {
    @Test("2.7: random chains of a split queue", arguments: 1...8 as ClosedRange<UInt64>)
    func split(seed: UInt64) throws {
        let features: Features = seed % 2 == 0 ? [.indirectDescriptors, .eventIndex] : [.indirectDescriptors]
        try check(SplitHarness(size: 1 << UInt16(1 + seed % 6), features: features), seed)
    }

    @Test("2.8: random chains of a packed queue", arguments: 1...8 as ClosedRange<UInt64>)
    func packed(seed: UInt64) throws {
        let harness = try PackedHarness(size: UInt16(1 + (seed * 13) % 40), features: [.indirectDescriptors])
        try check(harness, seed)
        #expect(harness.driver.wrongFlags == 0, "seed \(seed)")
    }

    private func check<Ring>(_ harness: QueueHarness<Ring>, _ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var expected: [(head: UInt16, segments: [Segment])] = []
        var inFlight: [DescriptorChain] = []
        var returned: [MockDriver.Used] = []
        var tables = 0
        for step in 0..<4000 {
            switch random.next() % 4 {
            case 0, 1:
                let count = 1 + Int(random.next() % 8)
                let readable = Int(random.next() % UInt64(count + 1))
                let segments = (0..<count).map { index in
                    Segment(
                        address: harness.driver.buffers + 0x10000 + random.next() % 0x8_0000, length: 1 + UInt32(random.next() % 0x2_0000),
                        isWritable: index >= readable)
                }
                if random.next() % 2 == 0 {
                    // A table stays as it is until its chain is back, so as many tables as descriptors are enough.
                    tables = (tables + 1) % 64
                    let table = harness.driver.buffers + UInt64(tables) * 128
                    if let head = harness.driver.submitIndirect(segments, table: table) { expected.append((head, segments)) }
                } else if let head = harness.driver.submit(segments) {
                    expected.append((head, segments))
                }
            case 2:
                let taken = try harness.take()
                #expect((taken == nil) == expected.isEmpty, "seed \(seed), step \(step)")
                guard let taken else { continue }
                let wanted = expected.removeFirst()
                #expect(taken.chain.head == wanted.head && taken.segments == wanted.segments, "seed \(seed), step \(step)")
                inFlight.append(taken.chain)
            default:
                guard !inFlight.isEmpty else { continue }
                let chain = inFlight.remove(at: Int(random.next() % UInt64(inFlight.count)))
                let element = MockDriver.Used(head: chain.head, written: UInt32(truncatingIfNeeded: random.next()))
                try harness.put(chain, written: element.written)
                returned.append(element)
                if random.next() % 2 == 0 {
                    while let used = harness.driver.reap() {
                        #expect(used == returned.removeFirst(), "seed \(seed), step \(step)")
                    }
                    #expect(returned.isEmpty, "seed \(seed), step \(step)")
                }
            }
        }
    }
}
