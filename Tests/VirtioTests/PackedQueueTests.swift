import Interconnect
import Simulation
import Testing
import Virtio

/// Virtio 1.2 section 2.8, packed virtqueues, seen from a well-behaved driver.
@Suite("2.8 Packed virtqueues")
struct PackedQueueTests {
    @Test("2.8.10: any size up to 32768, areas are aligned")
    func layout() throws {
        for size: UInt16 in [0, 32769, 65535] {
            #expect(throws: QueueFault.invalidSize(size)) { try PackedQueue(layout: QueueLayout(size: size), features: []) }
        }
        for size: UInt16 in [1, 3, 255, 32768] { _ = try PackedQueue(layout: QueueLayout(size: size), features: []) }
        #expect(throws: QueueFault.misaligned(.descriptors, address: 8, alignment: 16)) {
            try PackedQueue(layout: QueueLayout(size: 8, descriptorArea: 8), features: [])
        }
        #expect(throws: QueueFault.misaligned(.driver, address: 2, alignment: 4)) {
            try PackedQueue(layout: QueueLayout(size: 8, driverArea: 2), features: [])
        }
        #expect(throws: QueueFault.misaligned(.device, address: 2, alignment: 4)) {
            try PackedQueue(layout: QueueLayout(size: 8, deviceArea: 2), features: [])
        }
    }

    @Test("2.8.6: a chain is a run of descriptors, known by the buffer ID in its last one")
    func chain() throws {
        let harness = try PackedHarness(size: 5)
        #expect(try harness.take() == nil)
        let segments = [harness.readable(0, 16), harness.readable(64, 100), harness.writable(512, 1)]
        for lap in 0..<9 {
            let id = try #require(harness.driver.submit(segments))
            let taken = try #require(try harness.take())
            #expect(taken.segments == segments, "lap \(lap)")
            #expect(taken.chain == DescriptorChain(
                head: id, descriptors: 3, segments: 3, readableSegments: 2, readableBytes: 116, writableBytes: 1))
            #expect(try harness.take() == nil)
            try harness.put(taken.chain, written: UInt32(lap))
            #expect(harness.driver.reap() == MockDriver.Used(head: id, written: UInt32(lap)))
        }
    }

    @Test("2.8.7: an indirect table takes one descriptor, and of its flags only WRITE counts")
    func indirect() throws {
        let harness = try PackedHarness(size: 2)
        let segments = (0..<20).map { $0 < 10 ? harness.readable(UInt64($0) * 64, 64) : harness.writable(UInt64($0) * 64, 32) }
        let table = harness.driver.buffers + 0x8000
        let id = try #require(harness.driver.submitIndirect(segments, table: table))
        // Drivers leave NEXT and the ring's own flags behind in their tables.
        for entry in 0..<20 {
            let address = table + UInt64(16 * entry + 14)
            harness.memory.store(harness.memory.load(address, as: UInt16.self) | 0x8081, at: address)
        }
        let taken = try #require(try harness.take())
        #expect(taken.chain.head == id && taken.chain.descriptors == 1 && taken.segments == segments)
    }

    @Test("2.8.10: driver event suppression of all interrupts, or of none")
    func interruptFlag() throws {
        let harness = try PackedHarness()
        for suppress in [false, true, false] {
            harness.driver.suppressInterrupts(suppress)
            _ = harness.driver.submit([harness.writable(0, 1)])
            let taken = try #require(try harness.take())
            #expect(try harness.takeInterrupt() == false, "nothing was put yet")
            try harness.put(taken.chain)
            #expect(try harness.takeInterrupt() == !suppress)
            #expect(try harness.takeInterrupt() == false, "asked twice for the same descriptors")
            _ = harness.driver.reap()
        }
        // Without the event index, asking for a descriptor means nothing; neither does a place outside the ring with it.
        for features: Features in [[], [.eventIndex]] {
            let harness = try PackedHarness(features: features)
            harness.driver.wantInterrupt(at: features.isEmpty ? 0 : 8, wrap: true)
            _ = harness.driver.submit([harness.writable(0, 1)])
            try harness.put(try #require(try harness.take()).chain)
            #expect(try harness.takeInterrupt() == false)
        }
    }

    /// Batches of chains of several descriptors; the reference walks the ring one descriptor at a time.
    @Test("2.8.10: with the event index, exactly the batch that passes the descriptor interrupts", arguments: [1, 3, 8, 13] as [UInt16])
    func interruptEvent(size: UInt16) throws {
        var random = SplitMix64(seed: UInt64(size))
        let harness = try PackedHarness(size: size, features: [.eventIndex])
        var place: UInt16 = 0, wrap = true
        for step in 0..<5000 {
            let event = (offset: UInt16(random.next() % UInt64(size)), wrap: random.next() % 2 == 0)
            harness.driver.wantInterrupt(at: event.offset, wrap: event.wrap)
            var chains: [DescriptorChain] = []
            while random.next() % 3 != 0 {
                let count = 1 + Int(random.next() % 3)
                guard harness.driver.submit((0..<count).map { harness.readable(UInt64($0) * 16, 16) }) != nil else { break }
                chains.append(try #require(try harness.take()).chain)
            }
            var expected = false
            for chain in chains {
                try harness.put(chain)
                for _ in 0..<chain.descriptors {
                    if place == event.offset, wrap == event.wrap { expected = true }
                    place += 1
                    if place == size { (place, wrap) = (0, !wrap) }
                }
            }
            let interrupt = try harness.takeInterrupt()
            guard interrupt == expected else {
                Issue.record("size \(size), step \(step): \(chains.count) chains up to \(place), event \(event), interrupt \(interrupt)")
                return
            }
            while harness.driver.reap() != nil {}
        }
    }

    @Test("2.8.10: device event suppression follows the device's wish, and chains that slip in between are seen")
    func notifications() throws {
        let harness = try PackedHarness()
        try harness.queue.disableNotifications(in: harness.guest)
        #expect(harness.driver.deviceWish.flags == 1)
        _ = harness.driver.submit([harness.writable(0, 1)])
        #expect(!harness.driver.needsNotification())
        #expect(try harness.enableNotifications())
        #expect(harness.driver.deviceWish.flags == 0)
        _ = try harness.take()
        #expect(try harness.enableNotifications() == false)
    }

    @Test("2.8.10: with the event index, a notification is asked for the next chain only, over the wrap")
    func notificationEvent() throws {
        let harness = try PackedHarness(size: 3, features: [.eventIndex])
        for step in 0..<20 {
            #expect(try harness.enableNotifications() == false)
            #expect(harness.driver.deviceWish.flags == 2 && harness.driver.deviceWish.position == harness.driver.notificationData)
            _ = harness.driver.submit([harness.writable(0, 1), harness.writable(16, 1)])
            #expect(harness.driver.needsNotification(), "step \(step)")
            _ = harness.driver.submit([harness.writable(0, 1)])
            #expect(!harness.driver.needsNotification(), "step \(step): the device has been told already")
            while let taken = try harness.take() { try harness.put(taken.chain) }
            while harness.driver.reap() != nil {}
        }
    }
}

/// Each thing that a hostile driver can do to a packed queue ends in its own fault, and writes nothing.
@Suite("2.8 Hostile packed virtqueues")
struct HostilePackedQueueTests {
    private func expect(
        _ fault: QueueFault, features: Features = [.packedRing, .indirectDescriptors], limit: Int = 64,
        sourceLocation: SourceLocation = #_sourceLocation, _ poke: (PackedHarness) -> Void
    ) throws {
        let harness = try PackedHarness(features: features, limit: limit)
        poke(harness)
        let before = harness.memory.copy(), indices = harness.queue.indices
        #expect(harness.faultOnTake() == fault, sourceLocation: sourceLocation)
        let isUntouched = harness.memory.copy() == before && harness.memory.writes == 0 && harness.queue.indices == indices
        #expect(isUntouched, sourceLocation: sourceLocation)
    }

    private let available: UInt16 = 1 << 7, next: UInt16 = 1, indirect: UInt16 = 4

    @Test("a chain that never ends, and one that runs into descriptors in flight")
    func endless() throws {
        try expect(.loop(head: 0)) {
            for index: UInt16 in 0..<8 { $0.driver.poke(index, $0.readable(0, 16), id: 0, flags: available | next) }
        }
        let harness = try PackedHarness()
        _ = harness.driver.submit([harness.readable(0, 16), harness.readable(0, 16)])
        _ = try harness.take()
        for index: UInt16 in 2..<8 { harness.driver.poke(index, harness.readable(0, 16), id: 0, flags: available | next) }
        #expect(harness.faultOnTake() == .overrun(head: 2, size: 8))
        // The same with chains of one descriptor: the driver turns the ring over without having got anything back.
        let second = try PackedHarness(size: 2)
        for index: UInt16 in 0..<2 { second.driver.poke(index, second.readable(0, 16), id: index, flags: available) }
        _ = try second.take()
        _ = try second.take()
        second.driver.poke(0, second.readable(0, 16), id: 0, flags: second.driver.state(false))
        #expect(second.faultOnTake() == .overrun(head: 0, size: 2))
    }

    @Test("wild addresses, of buffers, of indirect tables and of the ring")
    func wild() throws {
        try expect(.bufferUnreachable(descriptor: 0, address: 0xdead_0000, length: 16, isWrite: true)) {
            $0.driver.poke(0, Segment(address: 0xdead_0000, length: 16, isWritable: true), id: 0, flags: available | 2)
        }
        try expect(.addressOverflow(descriptor: 1, address: .max - 7, length: 16)) {
            $0.driver.poke(0, $0.readable(0, 16), id: 0, flags: available | next)
            $0.driver.poke(1, Segment(address: .max - 7, length: 16, isWritable: false), id: 0, flags: available)
        }
        try expect(.bufferUnreachable(descriptor: 0, address: 0x10, length: 16, isWrite: false)) {
            $0.driver.poke(0, Segment(address: 0x10, length: 32, isWritable: false), id: 0, flags: available | indirect)
        }
        let harness = try PackedHarness()
        harness.queue = try PackedQueue(layout: QueueLayout(size: 8, descriptorArea: 0x40), features: [])
        #expect(harness.faultOnTake() == .areaUnreachable(.descriptors, address: 0x40))
        #expect(throws: QueueFault.areaUnreachable(.descriptors, address: 0x40)) {
            try harness.put(DescriptorChain(head: 0, descriptors: 1))
        }
        #expect(throws: QueueFault.areaUnreachable(.device, address: 0)) { try harness.queue.disableNotifications(in: harness.guest) }
        #expect(harness.memory.writes == 0)
    }

    @Test("empty buffers, wrong order, more buffers than announced")
    func shapes() throws {
        try expect(.emptyBuffer(descriptor: 0)) { $0.driver.poke(0, $0.readable(0, 0), id: 0, flags: available) }
        try expect(.readableAfterWritable(descriptor: 1)) {
            $0.driver.poke(0, $0.writable(0, 16), id: 0, flags: available | next | 2)
            $0.driver.poke(1, $0.readable(0, 16), id: 0, flags: available)
        }
        try expect(.tooManyBuffers(head: 0, limit: 3), limit: 3) {
            for index: UInt16 in 0..<4 { $0.driver.poke(index, $0.readable(0, 16), id: 0, flags: available | (index < 3 ? next : 0)) }
        }
    }

    @Test("2.8.8, 2.8.19: misused indirect descriptors")
    func indirects() throws {
        try expect(.indirectNotNegotiated(descriptor: 0), features: [.packedRing]) {
            $0.driver.poke(0, $0.readable(0, 16), id: 0, flags: available | indirect)
        }
        for place: UInt16 in 0..<2 {
            try expect(.indirectWithNext(descriptor: place)) {
                $0.driver.poke(0, $0.readable(0, 16), id: 0, flags: available | next | (place == 0 ? indirect : 0))
                $0.driver.poke(1, $0.readable(0, 16), id: 0, flags: available | (place == 1 ? indirect : 0))
            }
        }
        try expect(.nestedIndirect(descriptor: 0)) {
            $0.driver.poke(0, $0.readable(64, 16), id: 0, flags: indirect, table: $0.driver.buffers)
            $0.driver.poke(0, $0.readable(0, 16), id: 0, flags: available | indirect)
        }
        for length: UInt32 in [0, 8, 17, 16 * 65537, .max] {
            try expect(.indirectLength(descriptor: 0, length: length)) {
                $0.driver.poke(0, $0.readable(0, length), id: 0, flags: available | indirect)
            }
        }
    }

    /// Random bytes in the whole queue: any outcome but a trap, a write, or a buffer outside memory.
    @Test("garbage", arguments: [21, 22, 23, 24] as [UInt64])
    func garbage(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<250 {
            let harness = try PackedHarness(limit: 16)
            for index: UInt16 in 0..<8 {
                let segment = Segment(
                    address: harness.memory.base + random.next() % 0x11_0000, length: UInt32(random.next() % 0x1000), isWritable: false)
                // On either lap, mostly with flags that mean something.
                let flags = random.next() % 4 == 0 ? random.next() : (random.next() % 2 == 0 ? 0x80 : 0x8000) | random.next() % 8
                harness.driver.poke(index, segment, id: UInt16(truncatingIfNeeded: random.next()), flags: UInt16(truncatingIfNeeded: flags))
            }
            var chains: [DescriptorChain] = []
            do throws(QueueFault) {
                for _ in 0..<16 {
                    guard let taken = try harness.take() else { break }
                    chains.append(taken.chain)
                    let areInside = taken.segments.allSatisfy {
                        $0.length > 0 && $0.address >= harness.memory.base
                            && $0.address + UInt64($0.length) <= harness.memory.base + 0x10_0000
                    }
                    #expect(areInside, "seed \(seed)")
                }
            } catch {}
            #expect(harness.memory.writes == 0, "seed \(seed)")
            #expect(chains.reduce(0) { $0 + Int($1.descriptors) } <= 8, "seed \(seed): more descriptors than the ring has")
        }
    }
}
