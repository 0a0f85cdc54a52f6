import Interconnect
import Simulation
import Testing
import Virtio

/// Virtio 1.2 section 2.7, split virtqueues, seen from a well-behaved driver.
@Suite("2.7 Split virtqueues")
struct SplitQueueTests {
    @Test("2.7: sizes are powers of two up to 32768, areas are aligned")
    func layout() throws {
        for size: UInt16 in [0, 3, 6, 255, 32767, 32769, 65535] {
            #expect(throws: QueueFault.invalidSize(size)) { try SplitQueue(layout: QueueLayout(size: size), features: []) }
        }
        for size: UInt16 in [1, 2, 256, 32768] {
            _ = try SplitQueue(layout: QueueLayout(size: size), features: [])
        }
        #expect(throws: QueueFault.misaligned(.descriptors, address: 8, alignment: 16)) {
            try SplitQueue(layout: QueueLayout(size: 8, descriptorArea: 8), features: [])
        }
        #expect(throws: QueueFault.misaligned(.driver, address: 1, alignment: 2)) {
            try SplitQueue(layout: QueueLayout(size: 8, driverArea: 1), features: [])
        }
        #expect(throws: QueueFault.misaligned(.device, address: 2, alignment: 4)) {
            try SplitQueue(layout: QueueLayout(size: 8, deviceArea: 2), features: [])
        }
    }

    @Test("2.7.5: a chain arrives with its buffers in order")
    func chain() throws {
        let harness = try SplitHarness()
        #expect(try harness.take() == nil)
        let segments = [harness.readable(0, 16), harness.readable(64, 100), harness.writable(512, 1)]
        let head = try #require(harness.driver.submit(segments))
        let taken = try #require(try harness.take())
        #expect(taken.segments == segments)
        #expect(taken.chain == DescriptorChain(head: head, segments: 3, readableSegments: 2, readableBytes: 116, writableBytes: 1))
        #expect(try harness.take() == nil)
    }

    @Test("2.7.5.3: indirect tables, alone and at the end of a chain; WRITE on the table is ignored")
    func indirect() throws {
        let harness = try SplitHarness()
        let segments = (0..<20).map { $0 < 10 ? harness.readable(UInt64($0) * 64, 64) : harness.writable(UInt64($0) * 64, 32) }
        let table = harness.driver.buffers + 0x8000
        let head = try #require(harness.driver.submitIndirect(segments, table: table))
        let taken = try #require(try harness.take())
        #expect(taken.chain.head == head && taken.segments == segments)

        let first = harness.readable(0x4000, 16)
        harness.driver.pokeDescriptor(6, first, flags: MockDriver.Flag.next, next: 7)
        harness.driver.pokeDescriptor(
            7, Segment(address: table, length: 20 * 16, isWritable: true), flags: MockDriver.Flag.indirect, next: 0)
        harness.driver.publish(6)
        let mixed = try #require(try harness.take())
        #expect(mixed.segments == [first] + segments)
    }

    @Test("2.7.8: used elements carry id and length, the index follows")
    func used() throws {
        let harness = try SplitHarness(size: 4)
        for round in 0..<10 {
            let head = try #require(harness.driver.submit([harness.writable(0, 100)]))
            let taken = try #require(try harness.take())
            try harness.put(taken.chain, written: UInt32(round))
            #expect(harness.driver.reap() == MockDriver.Used(head: head, written: UInt32(round)))
            #expect(harness.driver.reap() == nil)
        }
        #expect(harness.queue.indices == QueueIndices(available: 10, taken: 10, used: 10, notificationsEnabled: true))
    }

    @Test("2.7.7: without the event index, the driver's flag suppresses interrupts")
    func interruptFlag() throws {
        let harness = try SplitHarness()
        for suppress in [false, true, false] {
            harness.driver.suppressInterrupts(suppress)
            _ = try #require(harness.driver.submit([harness.writable(0, 1)]))
            let taken = try #require(try harness.take())
            #expect(try harness.takeInterrupt() == false, "nothing was put yet")
            try harness.put(taken.chain)
            #expect(try harness.takeInterrupt() == !suppress)
            #expect(try harness.takeInterrupt() == false, "asked twice for the same elements")
            _ = harness.driver.reap()
        }
    }

    @Test("2.7.7: with the event index, exactly the chain that passes used_event interrupts, over the wrap")
    func interruptEvent() throws {
        let harness = try SplitHarness(size: 4, features: [.version1, .eventIndex])
        var used: UInt16 = 0
        for step in 0..<70_000 {
            let event = used &+ UInt16(step % 3)
            harness.driver.wantInterrupt(after: event)
            _ = harness.driver.submit([harness.writable(0, 1)])
            let taken = try #require(try harness.take())
            try harness.put(taken.chain)
            let interrupt = try harness.takeInterrupt()
            // One element was put, at index `used`: it passes the event only if the event is that index.
            guard interrupt == (event == used) else {
                Issue.record("step \(step): event \(event), element \(used), interrupt \(interrupt)")
                return
            }
            used &+= 1
            _ = harness.driver.reap()
        }
    }

    @Test("2.7.10: NO_NOTIFY follows the device's wish, and chains that slip in between are seen")
    func notificationFlag() throws {
        let harness = try SplitHarness()
        #expect(harness.driver.usedFlags == 0)
        try harness.queue.disableNotifications(in: harness.guest)
        #expect(harness.driver.usedFlags == 1)
        _ = harness.driver.submit([harness.writable(0, 1)])
        #expect(harness.driver.needsNotification() == false)
        #expect(try harness.enableNotifications() == true)
        #expect(harness.driver.usedFlags == 0)
        _ = try harness.take()
        #expect(try harness.enableNotifications() == false)
    }

    @Test("2.7.10: with the event index, avail_event asks for the next chain only")
    func notificationEvent() throws {
        let harness = try SplitHarness(features: [.version1, .eventIndex])
        #expect(try harness.enableNotifications() == false)
        _ = harness.driver.submit([harness.writable(0, 1)])
        #expect(harness.driver.needsNotification())
        _ = harness.driver.submit([harness.writable(0, 1)])
        #expect(harness.driver.needsNotification() == false, "the device has been told already")
        while try harness.take() != nil {}
        #expect(try harness.enableNotifications() == false)
        #expect(harness.driver.availableEvent == 2)
        _ = harness.driver.submit([harness.writable(0, 1)])
        #expect(harness.driver.needsNotification())
    }
}
