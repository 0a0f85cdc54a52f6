import Simulation
import Testing
import Virtio

/// The block device through every combination of ring format and ring features.
@Suite("Ring formats")
struct RingFormatTests {
    private static let options: [Features] = {
        let bits: [Features] = [.packedRing, .inOrder, .eventIndex, .notificationData, .indirectDescriptors]
        return (0..<1 << bits.count).map { mask in
            bits.indices.reduce(Features.version1) { mask >> $1 & 1 != 0 ? $0.union(bits[$1]) : $0 }
        }
    }()

    /// Requests of different speeds on two queues: each is answered once with its own data, in order where that was agreed.
    @Test("requests of every kind are answered", arguments: options)
    func answers(features: Features) throws {
        var configuration = BlockConfiguration()
        (configuration.queues, configuration.requestSlots) = (2, 7)
        let fixture = BlockFixture(configuration, backend: try MemoryBackend(byteCount: 1 << 20), queueSize: 16)
        fixture.bringUp(features.union([.blockFlush, .blockMultiQueue]))
        var random = SplitMix64(seed: features.rawValue)
        var outstanding: [[(head: UInt16, tag: Int)]] = [[], []]
        var free: [[Int]] = [Array(0..<16), Array(0..<16)]
        var done = 0
        for step in 0..<600 {
            for queue in 0..<2 {
                while !free[queue].isEmpty, random.next() % 3 != 0 {
                    let tag = free[queue].last!
                    let type: UInt32 = [0, 1, 4][Int(random.next() % 3)]
                    let isIndirect = features.contains(.indirectDescriptors) && random.next() % 2 == 0
                    guard let head = fixture.submit(
                        type: type, sector: random.next() % 100, bytes: type == 4 ? 0 : 512, tag: tag, queue: queue, isIndirect: isIndirect)
                    else { break }
                    free[queue].removeLast()
                    outstanding[queue].append((head, tag))
                }
                if fixture.queues[queue].needsNotification() { fixture.notify(queue: queue) }
            }
            fixture.scheduler.advance(to: fixture.scheduler.now + random.next() % 60_000)
            if step % 20 == 0 { try fixture.reload() }
            for queue in 0..<2 {
                while let used = fixture.queues[queue].reap() {
                    let place = try #require(outstanding[queue].firstIndex { $0.head == used.head }, "step \(step)")
                    #expect(place == 0 || !features.contains(.inOrder), "step \(step): out of order")
                    let tag = outstanding[queue].remove(at: place).tag
                    #expect(fixture.statusByte(tag, queue: queue) == 0)
                    free[queue].append(tag)
                    done += 1
                }
            }
        }
        fixture.run()
        for queue in 0..<2 {
            while fixture.queues[queue].reap() != nil { done += 1 }
        }
        #expect(fixture.status.contains(.needsReset) == false)
        #expect(fixture.block.requestsInFlight == 0 && UInt64(done) == fixture.block.state.counters.ok && done > 500)
        let inspection = try #require(fixture.device.inspect(queue: 0))
        #expect(inspection.format == (features.contains(.packedRing) ? "packed" : "split"))
        #expect(fixture.device.peek(.descriptors, queue: 0)?.count == 256)
        #expect(fixture.device.peek(.device, queue: 0)?.count == (features.contains(.packedRing) ? 4 : 6 + 8 * 16))
    }

    @Test("2.7.9: in order, a slow request holds fast ones back, and all come with one interrupt", arguments: [true, false])
    func inOrder(isPacked: Bool) throws {
        let fixture = BlockFixture(backend: try MemoryBackend(byteCount: 1 << 20))
        fixture.bringUp(isPacked ? [.version1, .inOrder, .packedRing, .blockFlush] : [.version1, .inOrder, .blockFlush])
        let slow = try #require(fixture.submit(type: 4, tag: 0))
        let fast = try #require(fixture.submit(type: 1, bytes: 512, tag: 1))
        fixture.notify()
        fixture.run(limit: 60_000)
        #expect(fixture.block.state.counters.ok == 1 && fixture.queues[0].reap() == nil, "the write is done and waits for the flush")
        fixture.run()
        #expect(fixture.queues[0].reap()?.head == slow)
        #expect(fixture.queues[0].reap()?.head == fast)
        #expect(fixture.interrupts.raised[1] == 1)
    }

    @Test("2.8: a packed queue has any size, a split one a power of two")
    func sizes() throws {
        let fixture = BlockFixture(backend: try MemoryBackend(byteCount: 1 << 20))
        for (features, accepted) in [([.version1, .packedRing], [7, 64, 64]), ([.version1], [64, 64, 64])] as [(Features, [UInt64])] {
            #expect(fixture.negotiate(features))
            for (size, expected) in zip([7, 65, 0] as [UInt64], accepted) {
                fixture.write(0x18, 64, size: 2)
                fixture.write(0x18, size, size: 2)
                #expect(fixture.read(0x18, size: 2) == expected, "size \(size)")
            }
        }
    }

    @Test("a driver that makes more available in order than the queue has entries is stopped")
    func overrun() throws {
        let fixture = BlockFixture(backend: try MemoryBackend(byteCount: 1 << 20), queueSize: 4)
        fixture.bringUp([.version1, .inOrder])
        let driver = fixture.drivers[0]
        _ = fixture.submit(type: 0, bytes: 512)
        for _ in 0..<3 { driver.publish(driver.availableEntry(0)) }
        fixture.notify()
        driver.publish(driver.availableEntry(0))
        fixture.notify()
        #expect(fixture.status.contains(.needsReset))
        #expect(fixture.device.state.lastFailure?.fault == .overrun(head: driver.availableEntry(0), size: 4))
    }
}
