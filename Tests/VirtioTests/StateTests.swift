import Interconnect
import Registers
import Simulation
import Testing
import Virtio

@Suite("Saved state of a virtio device")
struct StateTests {
    /// A driver that does most things right, on a device with few slots, with any of the ring formats.
    private static func fixture(_ random: inout SplitMix64) throws -> BlockFixture {
        var configuration = BlockConfiguration()
        configuration.queues = 3
        configuration.requestSlots = 8
        configuration.maximumSegments = 6
        let fixture = BlockFixture(configuration, backend: try MemoryBackend(byteCount: 64 * 512), queueSize: 8, bufferBytes: 4096)
        bringUp(fixture, &random)
        fixture.memory.recordsWrites = true
        return fixture
    }

    private static func bringUp(_ fixture: BlockFixture, _ random: inout SplitMix64) {
        let all = fixture.offered.subtracting(.notificationData)
        let some = Features(rawValue: random.next()).union(.version1)
        fixture.bringUp(Bool.random(using: &random) ? all : all.intersection(some))
    }

    private static func work(_ fixture: BlockFixture, _ random: inout SplitMix64, steps: Int) {
        for _ in 0..<steps {
            let queue = Int.random(in: 0..<3, using: &random)
            switch UInt8.random(in: 0...31, using: &random) {
            case 0...11:
                let type = [0, 0, 1, 1, 4, 8, 11, 13, 99][Int.random(in: 0...8, using: &random)] as UInt32
                // Ranges to discard come from the buffers' old contents.
                let bytes = [11, 13].contains(type) ? 16 : Int.random(in: 0...8, using: &random) * 512
                fixture.submit(
                    type: type, sector: UInt64.random(in: 0...66, using: &random), bytes: bytes, tag: Int.random(in: 0...7, using: &random),
                    queue: queue, pieces: Int.random(in: 1...3, using: &random), isIndirect: Bool.random(using: &random))
            case 12...17: fixture.notify(queue: queue)
            case 18...19: while fixture.queues[queue].reap() != nil {}
            case 20: fixture.device.isServing = Bool.random(using: &random)
            case 21 where random.next() % 8 == 0:
                fixture.memory.store(random.next(), at: fixture.queues[queue].layout.descriptorArea)
            case 22 where random.next() % 8 == 0: fixture.transport.reset(.functionLevel)
            case 23: fixture.read(0x14 + UInt64.random(in: 0...8, using: &random) * 4, size: 4)
            case 24: fixture.write(0x2020, random.next() % 2, size: 1)
            case 25 where random.next() % 4 == 0: fixture.device.configurationChanged()
            case 26 where !fixture.device.isLive: bringUp(fixture, &random)
            case 27 where random.next() % 4 == 0:
                fixture.write(0x16, UInt64(queue), size: 2)
                fixture.write(0x3a, 1, size: 2)
            default: fixture.scheduler.advance(to: fixture.scheduler.now + Cycle.random(in: 0...40_000, using: &random))
            }
        }
    }

    /// All that a run leaves behind.
    private struct Outcome: Equatable {
        var state: [UInt8]
        var memory: [UInt8]
        var medium: [UInt8]
        var writes: [Range<UInt64>]

        init(_ fixture: BlockFixture) throws {
            state = try fixture.save()
            memory = fixture.memory.copy()
            medium = [UInt8](repeating: 0, count: Int(fixture.block.backend.byteCount))
            try medium.withUnsafeMutableBytes { try fixture.block.backend.read(0, into: $0) }
            writes = fixture.memory.written
        }
    }

    private static func corrupt(_ saved: [UInt8], _ random: inout SplitMix64) -> [UInt8] {
        var bytes = saved
        for _ in 0...Int.random(in: 0...2, using: &random) {
            bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
        }
        return bytes
    }

    @Test("what is saved in the middle of requests goes on the same", arguments: 1...24 as ClosedRange<UInt64>)
    func goesOn(seed: UInt64) throws {
        enum Interruption: CaseIterable { case none, saving, sameModels, freshModels }
        var outcomes: [Outcome] = []
        for interruption in Interruption.allCases {
            var random = SplitMix64(seed: seed)
            var fixture = try Self.fixture(&random)
            Self.work(fixture, &random, steps: Int.random(in: 50...400, using: &random))
            if interruption != .none {
                let saved = try fixture.save()
                if interruption == .sameModels {
                    var other = SplitMix64(seed: seed)
                    fixture.transport.reset(.functionLevel)
                    for _ in 0..<20 { try? fixture.load(Self.corrupt(saved, &other)) }
                }
                if interruption == .freshModels { fixture = BlockFixture(replacing: fixture) }
                if interruption != .saving { try fixture.load(saved) }
                #expect(try fixture.save() == saved, "seed \(seed), \(interruption): saving what was loaded")
            }
            Self.work(fixture, &random, steps: 400)
            fixture.device.isServing = true
            fixture.run()
            outcomes.append(try Outcome(fixture))
            if interruption == .none { #expect(fixture.block.state.counters.ok > 3, "seed \(seed)") }
        }
        for (interruption, outcome) in zip(Interruption.allCases, outcomes).dropFirst() {
            let isEqual = outcome == outcomes[0]
            #expect(isEqual, "seed \(seed), \(interruption)")
        }
    }

    @Test("no corruption traps, and a reset makes a device of any", arguments: 1...16 as ClosedRange<UInt64>)
    func corrupted(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let fixture = try Self.fixture(&random)
        Self.work(fixture, &random, steps: 200)
        let saved = try fixture.save()
        var refused = 0
        for _ in 0..<100 {
            do {
                try fixture.load(Self.corrupt(saved, &random))
                Self.work(fixture, &random, steps: 30)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 10, "seed \(seed)")
        try fixture.load(saved)
        fixture.device.isServing = true
        fixture.bringUp()
        #expect(try #require(fixture.perform(type: 0, bytes: 512)).status == 0, "seed \(seed)")
    }

    @Test("a fault of each kind is saved with its values", arguments: [
        .invalidSize(3), .misaligned(.device, address: 1 << 63, alignment: 4), .areaUnreachable(.descriptors, address: 7),
        .indexJump(available: 9, taken: 1, size: 4), .headOutOfRange(head: 5, size: 4),
        .nextOutOfRange(descriptor: 1, next: 2, size: 65536), .loop(head: 3), .tooManyBuffers(head: 1, limit: 128),
        .emptyBuffer(descriptor: 65535),
        .addressOverflow(descriptor: 1, address: .max, length: .max), .chainTooLong(head: 2), .readableAfterWritable(descriptor: 3),
        .bufferUnreachable(descriptor: 4, address: 5, length: 6, isWrite: true), .indirectNotNegotiated(descriptor: 1),
        .nestedIndirect(descriptor: 2), .indirectWithNext(descriptor: 3), .indirectLength(descriptor: 4, length: .max),
        .requestTooShort(head: 6, readable: 1 << 32, writable: 0), .overrun(head: 7, size: 8),
    ] as [QueueFault])
    func faults(fault: QueueFault) throws {
        let failure = QueueSet.Failure(queue: 2, fault: fault)
        var (saving, stored) = (StateArchive(), failure)
        try stored.archive(&saving, queues: 3)
        for count in [3, 2] {
            var loading = StateArchive(loading: saving.bytes)
            var loaded = QueueSet.Failure(queue: 0, fault: .loop(head: 0))
            if count == 3 {
                try loaded.archive(&loading, queues: count)
                #expect(loaded == failure)
            } else {
                #expect(throws: SnapshotError.self) { try loaded.archive(&loading, queues: count) }
            }
        }
    }
}
