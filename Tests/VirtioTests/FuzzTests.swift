import Interconnect
import Registers
import Simulation
import Testing
import Virtio

/// A driver out of its mind: random register accesses, garbage in queues and buffers, resets at any time.
@Suite("Hostile drivers")
struct FuzzTests {
    /// One run's trace: what the registers returned, and what the device did to memory, in the order in which it happened.
    private func run(seed: UInt64, steps: Int) throws -> [UInt64] {
        var random = SplitMix64(seed: seed)
        var configuration = BlockConfiguration()
        configuration.queues = 3
        configuration.requestSlots = 8
        configuration.maximumSegments = 6
        let fixture = BlockFixture(configuration, backend: try MemoryBackend(byteCount: 64 * 512), queueSize: 8, bufferBytes: 4096)
        var trace: [UInt64] = []
        var failures = 0
        fixture.bringUp()
        fixture.memory.recordsWrites = true
        let common: [(offset: UInt64, size: Int)] = [
            (0x00, 4), (0x04, 4), (0x08, 4), (0x0c, 4), (0x10, 2), (0x12, 2), (0x14, 1), (0x15, 1), (0x16, 2), (0x18, 2), (0x1a, 2),
            (0x1c, 2), (0x1e, 2), (0x20, 4), (0x24, 4), (0x28, 8), (0x30, 4), (0x34, 4), (0x38, 2), (0x3a, 2),
        ]
        for _ in 0..<steps {
            let memory = fixture.memory
            let queue = Int(random.next() % 3)
            switch random.next() % 16 {
            case 0:
                let place = common[Int(random.next() % UInt64(common.count))]
                let status = fixture.write(place.offset, random.next() % 2 == 0 ? random.next() % 16 : random.next(), size: place.size)
                trace.append(UInt64(status.rawValue))
            case 1:
                let offset = [0, 0x1000, 0x2000, 0x3000, 0x3fff][Int(random.next() % 5)] + random.next() % 80
                trace.append(fixture.read(offset, size: 1 << Int(random.next() % 4)))
            case 2: fixture.write(random.next() % 0x4000, random.next(), size: 1 << Int(random.next() % 4))
            case 3 where random.next() % 8 == 0: fixture.transport.reset(.functionLevel)
            case 4 where !fixture.device.isLive:
                if fixture.status.contains(.needsReset) { failures += 1 }
                fixture.bringUp()
            case 5, 6:
                fixture.submit(
                    type: UInt32(random.next() % 16), sector: random.next() % 70, bytes: Int(random.next() % 9) * 256, queue: queue)
            case 7:
                // A word of garbage somewhere in a queue.
                let layout = fixture.drivers[queue].layout
                let offset = random.next() % (fixture.drivers[queue].buffers - layout.descriptorArea - 8)
                memory.store(random.next() % 3 == 0 ? random.next() : random.next() % 24, at: layout.descriptorArea + offset)
            case 8:
                let chain = (0..<1 + random.next() % 9).map { index in
                    let address = random.next() % 8 == 0 ? random.next() : fixture.buffer(0, queue: queue) + random.next() % 4096
                    return Segment(address: address, length: UInt32(random.next() % 700), isWritable: random.next() % 3 == 0 || index > 2)
                }
                if random.next() % 2 == 0 {
                    _ = fixture.drivers[queue].submitIndirect(chain, table: fixture.data(1, queue: queue))
                } else {
                    _ = fixture.drivers[queue].submit(chain)
                }
            case 9: memory.isEnabled = random.next() % 4 != 0
            case 10: fixture.device.isServing = random.next() % 3 != 0
            case 11, 12: fixture.scheduler.advance(to: fixture.scheduler.now + random.next() % 100_000)
            default: fixture.notify(queue: queue)
            }
            trace.append(UInt64(fixture.status.rawValue) | UInt64(fixture.block.requestsInFlight) << 8)
        }
        fixture.memory.isEnabled = true
        fixture.device.isServing = true
        fixture.run()
        #expect(fixture.block.requestsInFlight == 0, "seed \(seed): requests are left")
        #expect(fixture.block.state.counters.ok > 0 && failures > 0, "seed \(seed): the run was too tame or too wild to say anything")

        // Whatever happened, a reset makes it a device again.
        fixture.bringUp()
        #expect(try #require(fixture.perform(type: 0, bytes: 512)).status == 0, "seed \(seed)")
        for range in fixture.memory.written { trace += [range.lowerBound, range.upperBound] }
        let counters = fixture.block.state.counters
        trace += [counters.ok, counters.ioErrors, counters.unsupported, counters.bytesRead, counters.bytesWritten]
        return trace + [fixture.scheduler.now]
    }

    @Test("any sequence leaves a device that works after a reset, twice the same", arguments: Array(41...52) as [UInt64])
    func anything(seed: UInt64) throws {
        let first = try run(seed: seed, steps: 3000)
        let second = try run(seed: seed, steps: 3000)
        let isEqual = first == second
        #expect(isEqual, "seed \(seed): two runs differ")
        #expect(first.count > 3000)
    }
}
