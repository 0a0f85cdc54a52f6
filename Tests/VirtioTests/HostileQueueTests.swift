import Interconnect
import Simulation
import Testing
import Virtio

/// What no driver may do (virtio 1.2 sections 2.7.4.2, 2.7.5, 2.7.13): each ends in its own fault, and writes nothing.
@Suite("2.7 Hostile split virtqueues")
struct HostileQueueTests {
    /// Lets `poke` prepare the queue, then expects this fault and no byte written by the device.
    private func expect(
        _ fault: QueueFault, features: Features = [.version1, .indirectDescriptors], limit: Int = 64,
        sourceLocation: SourceLocation = #_sourceLocation, _ poke: (SplitHarness) -> Void
    ) throws {
        let harness = try SplitHarness(features: features, limit: limit)
        poke(harness)
        let before = harness.memory.copy()
        #expect(harness.faultOnTake() == fault, sourceLocation: sourceLocation)
        #expect(harness.memory.writes == 0, sourceLocation: sourceLocation)
        let isUntouched = harness.memory.copy() == before
        #expect(isUntouched, sourceLocation: sourceLocation)
        #expect(harness.queue.indices.taken == 0, sourceLocation: sourceLocation)
    }

    @Test("2.7.5.2: loops, of one descriptor and of all")
    func loops() throws {
        try expect(.loop(head: 3)) {
            $0.driver.pokeDescriptor(3, $0.readable(0, 16), flags: MockDriver.Flag.next, next: 3)
            $0.driver.publish(3)
        }
        try expect(.loop(head: 0)) {
            for index: UInt16 in 0..<8 {
                $0.driver.pokeDescriptor(index, $0.readable(0, 16), flags: MockDriver.Flag.next, next: (index + 1) % 8)
            }
            $0.driver.publish(0)
        }
        try expect(.loop(head: 0)) {
            let table = $0.driver.buffers
            $0.driver.pokeDescriptor(0, $0.readable(64, 16), flags: MockDriver.Flag.next, next: 1, table: table)
            $0.driver.pokeDescriptor(1, $0.readable(64, 16), flags: MockDriver.Flag.next, next: 0, table: table)
            $0.driver.pokeDescriptor(0, $0.readable(0, 32), flags: MockDriver.Flag.indirect, next: 0)
            $0.driver.publish(0)
        }
    }

    @Test("2.7.13: the available index runs ahead of the queue")
    func indexJump() throws {
        try expect(.indexJump(available: 9, taken: 0, size: 8)) { $0.driver.pokeAvailableIndex(9) }
        try expect(.indexJump(available: 65535, taken: 0, size: 8)) { $0.driver.pokeAvailableIndex(65535) }
    }

    @Test("descriptor numbers outside the table")
    func outOfTable() throws {
        try expect(.headOutOfRange(head: 8, size: 8)) { $0.driver.publish(8) }
        try expect(.headOutOfRange(head: 65535, size: 8)) { $0.driver.publish(65535) }
        try expect(.nextOutOfRange(descriptor: 0, next: 700, size: 8)) {
            $0.driver.pokeDescriptor(0, $0.readable(0, 16), flags: MockDriver.Flag.next, next: 700)
            $0.driver.publish(0)
        }
        try expect(.nextOutOfRange(descriptor: 0, next: 1, size: 1)) {
            $0.driver.pokeDescriptor(0, $0.readable(64, 16), flags: MockDriver.Flag.next, next: 1, table: $0.driver.buffers)
            $0.driver.pokeDescriptor(0, $0.readable(0, 16), flags: MockDriver.Flag.indirect, next: 0)
            $0.driver.publish(0)
        }
    }

    @Test("wild addresses, of buffers and of indirect tables")
    func wild() throws {
        try expect(.bufferUnreachable(descriptor: 0, address: 0xdead_0000, length: 16, isWrite: true)) {
            $0.driver.pokeDescriptor(0, Segment(address: 0xdead_0000, length: 16, isWritable: true), flags: 0, next: 0)
            $0.driver.publish(0)
        }
        try expect(.bufferUnreachable(descriptor: 1, address: 0x1_000f_fff0, length: 17, isWrite: true)) {
            $0.driver.pokeDescriptor(0, $0.writable(0, 512), flags: MockDriver.Flag.next, next: 1)
            $0.driver.pokeDescriptor(1, Segment(address: 0x1_000f_fff0, length: 17, isWritable: true), flags: 0, next: 0)
            $0.driver.publish(0)
        }
        try expect(.addressOverflow(descriptor: 0, address: .max - 7, length: 16)) {
            $0.driver.pokeDescriptor(0, Segment(address: .max - 7, length: 16, isWritable: true), flags: 0, next: 0)
            $0.driver.publish(0)
        }
        try expect(.addressOverflow(descriptor: 0, address: .max - 15, length: 32)) {
            $0.driver.pokeDescriptor(
                0, Segment(address: .max - 15, length: 32, isWritable: false), flags: MockDriver.Flag.indirect, next: 0)
            $0.driver.publish(0)
        }
        try expect(.bufferUnreachable(descriptor: 0, address: 0x10, length: 16, isWrite: false)) {
            $0.driver.pokeDescriptor(0, Segment(address: 0x10, length: 32, isWritable: false), flags: MockDriver.Flag.indirect, next: 0)
            $0.driver.publish(0)
        }
    }

    @Test("rings outside memory")
    func wildRings() throws {
        let harness = try SplitHarness()
        let outside = QueueLayout(size: 8, descriptorArea: 0, driverArea: 0x2000, deviceArea: 0x3000)
        harness.queue = try SplitQueue(layout: outside, features: [])
        #expect(harness.faultOnTake() == .areaUnreachable(.driver, address: 0x2002))
        var layout = harness.driver.layout
        layout.descriptorArea = 0x40
        harness.queue = try SplitQueue(layout: layout, features: [])
        harness.driver.publish(1)
        #expect(harness.faultOnTake() == .areaUnreachable(.descriptors, address: 0x50))
        layout.deviceArea = .max & ~3
        harness.queue = try SplitQueue(layout: layout, features: [])
        #expect(throws: QueueFault.areaUnreachable(.device, address: 0)) {
            try harness.put(DescriptorChain(head: 0))
        }
        #expect(harness.memory.writes == 0)
    }

    @Test("buffers of no bytes, and chains of more than 2^32")
    func lengths() throws {
        try expect(.emptyBuffer(descriptor: 0)) {
            $0.driver.pokeDescriptor(0, $0.readable(0, 0), flags: 0, next: 0)
            $0.driver.publish(0)
        }
        try expect(.chainTooLong(head: 0)) {
            $0.memory.promisesEverything = true
            $0.driver.pokeDescriptor(0, $0.readable(0, .max), flags: MockDriver.Flag.next, next: 1)
            $0.driver.pokeDescriptor(1, $0.readable(0, 2), flags: 0, next: 0)
            $0.driver.publish(0)
        }
    }

    @Test("2.7.4.2: device-readable after device-writable")
    func order() throws {
        try expect(.readableAfterWritable(descriptor: 2)) {
            $0.driver.pokeDescriptor(0, $0.readable(0, 16), flags: MockDriver.Flag.next, next: 1)
            $0.driver.pokeDescriptor(1, $0.writable(0, 16), flags: MockDriver.Flag.next, next: 2)
            $0.driver.pokeDescriptor(2, $0.readable(0, 16), flags: 0, next: 0)
            $0.driver.publish(0)
        }
    }

    @Test("2.7.5.3.1: misused indirect descriptors")
    func indirect() throws {
        let flag = MockDriver.Flag.indirect
        try expect(.indirectNotNegotiated(descriptor: 0), features: [.version1]) {
            $0.driver.pokeDescriptor(0, $0.readable(0, 16), flags: flag, next: 0)
            $0.driver.publish(0)
        }
        try expect(.indirectWithNext(descriptor: 0)) {
            $0.driver.pokeDescriptor(0, $0.readable(0, 16), flags: flag | MockDriver.Flag.next, next: 1)
            $0.driver.publish(0)
        }
        try expect(.nestedIndirect(descriptor: 0)) {
            $0.driver.pokeDescriptor(0, $0.readable(64, 16), flags: flag, next: 0, table: $0.driver.buffers)
            $0.driver.pokeDescriptor(0, $0.readable(0, 16), flags: flag, next: 0)
            $0.driver.publish(0)
        }
        for length: UInt32 in [0, 8, 17, 16 * 65537, .max] {
            try expect(.indirectLength(descriptor: 0, length: length)) {
                $0.driver.pokeDescriptor(0, $0.readable(0, length), flags: flag, next: 0)
                $0.driver.publish(0)
            }
        }
    }

    @Test("more buffers than the device announced")
    func tooMany() throws {
        try expect(.tooManyBuffers(head: 0, limit: 3), limit: 3) {
            let harness = $0
            let segments = (0..<4).map { harness.readable($0 * 16, 16) }
            for index: UInt16 in 0..<4 {
                $0.driver.pokeDescriptor(
                    index, segments[Int(index)], flags: index < 3 ? MockDriver.Flag.next : 0, next: index + 1)
            }
            $0.driver.publish(0)
        }
    }

    /// Random bytes in the whole queue: any outcome but a trap, a write, or a buffer outside memory.
    @Test("garbage", arguments: [11, 12, 13, 14, 15, 16] as [UInt64])
    func garbage(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<250 {
            let harness = try SplitHarness(limit: 16)
            let ringBytes = Int(harness.driver.buffers - harness.memory.base)
            for _ in 0..<(8 + random.next() % 64) {
                // Mostly small numbers, so that garbage gets past the first check.
                let value = random.next() % 4 == 0 ? random.next() : random.next() % 16
                let offset = Int(random.next() % UInt64(ringBytes / 2)) * 2
                harness.memory.store(UInt16(truncatingIfNeeded: value), at: harness.memory.base + UInt64(offset))
            }
            for index: UInt16 in 0..<8 where random.next() % 2 == 0 {
                let address = harness.memory.base + random.next() % 0x11_0000
                harness.memory.store(address, at: harness.driver.layout.descriptorArea + 16 * UInt64(index))
            }
            for _ in 0..<16 {
                do throws(QueueFault) {
                    guard let taken = try harness.take() else { break }
                    let areInside = taken.segments.allSatisfy {
                        $0.length > 0 && $0.address >= harness.memory.base
                            && $0.address + UInt64($0.length) <= harness.memory.base + 0x10_0000
                    }
                    #expect(areInside, "seed \(seed)")
                } catch {
                    break
                }
            }
            #expect(harness.memory.writes == 0, "seed \(seed)")
        }
    }
}
