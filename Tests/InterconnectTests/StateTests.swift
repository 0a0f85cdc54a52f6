import Interconnect
import Registers
import Simulation
import Testing

/// A link, a pool of cores and a crossbar under random load, with a record of all that comes out of them.
private final class Rig: CompletionSink, BusTarget {
    let scheduler = Scheduler()
    let link: Link
    let pool: ServicePool
    let crossbar = Crossbar(.init(hopLatency: 3, cyclesPerMicrosecond: 1000))
    private var linkPorts: [SubmitterPort] = []
    private var poolPorts: [SubmitterPort] = []
    private(set) var trace: [UInt64] = []

    init() {
        link = Link(
            .init(
                name: "link", rate: .init(bytesPerMicrosecond: 7000, cyclesPerMicrosecond: 1000), latency: 350, quantum: 512, burst: 2048),
            on: scheduler)
        pool = ServicePool(.init(name: "pool", cores: 5), on: scheduler)
        for _ in 0..<2 { linkPorts.append(link.attach(self)) }
        for _ in 0..<3 { poolPorts.append(pool.attach(self)) }
        for index in 0..<3 as Range<UInt64> {
            let target = crossbar.attach(self, name: "target\(index)", latency: 5 * index, occupancy: 1 + index)
            crossbar.map(target, in: .firmware, at: 0x1000 * index, size: 0x1000)
        }
    }

    func completed(_ id: UInt64, at cycle: Cycle) { trace += [id, cycle] }
    func access(_ access: inout BusAccess) -> BusStatus { access.address < 0xf00 ? .ok : .denied }
    func peek(_ address: UInt64, size: Int) -> UInt64? { nil }

    func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try scheduler.archive(&archive)
        try link.archive(&archive)
        try pool.archive(&archive)
        try crossbar.archive(&archive)
        try archive.finish()
    }

    func save() throws -> [UInt8] {
        var archive = StateArchive()
        try self.archive(&archive)
        return archive.bytes
    }

    func load(_ bytes: [UInt8]) throws {
        var archive = StateArchive(loading: bytes)
        try self.archive(&archive)
        trace = []
    }

    func work(_ random: inout SplitMix64, steps: Int) {
        for _ in 0..<steps {
            let owner = Owner(rawValue: UInt8.random(in: 0...4, using: &random))
            switch UInt8.random(in: 0...15, using: &random) {
            case 0...4:
                link.submit(
                    bytes: UInt64.random(in: 0...6000, using: &random), owner: owner, id: random.next(),
                    port: linkPorts[Int.random(in: 0...1, using: &random)])
            case 5...8:
                pool.submit(
                    cost: Cycle.random(in: 0...900, using: &random), owner: owner, id: random.next(),
                    port: poolPorts[Int.random(in: 0...2, using: &random)])
            case 9: link.abandon(owner: owner, port: linkPorts[Int.random(in: 0...1, using: &random)])
            case 10: pool.abandon(owner: owner, port: poolPorts[Int.random(in: 0...2, using: &random)])
            case 11: commit(&random)
            case 12:
                crossbar.setWeight(UInt8.random(in: 0...255, using: &random), lane: Int.random(in: 0..<Lane.count, using: &random))
                crossbar.setLimit(
                    bytesPerMicrosecond: UInt32.random(in: 0...9000, using: &random), burst: UInt64.random(in: 0...64, using: &random),
                    lane: Int.random(in: 0..<Lane.count, using: &random))
            case 13: access(&random)
            default: scheduler.advance(to: scheduler.now + Cycle.random(in: 0...700, using: &random))
            }
        }
        trace += [scheduler.now, scheduler.nextDue, UInt64(link.transfersInFlight), UInt64(pool.requestsInFlight)]
    }

    private func commit(_ random: inout SplitMix64) {
        var table = [Partition](repeating: Partition(), count: 65)
        for owner in 0...4 {
            table[owner] = Partition(
                guarantee: UInt16.random(in: 0...400, using: &random), limit: UInt32.random(in: 0...3, using: &random) * 1000,
                weight: UInt16.random(in: 0...99, using: &random), serviceCores: UInt8.random(in: 0...2, using: &random))
        }
        link.partitionsCommitted(table, at: scheduler.now)
        pool.partitionsCommitted(table, at: scheduler.now)
    }

    private func access(_ random: inout SplitMix64) {
        for _ in 0..<20 {
            let initiator = [Initiator.hart(0), .hart(1), .host(function: 1), .dma(function: 2)][Int.random(in: 0...3, using: &random)]
            var access = BusAccess(read: UInt64.random(in: 0..<0x3800, using: &random), size: 4, initiator: initiator, time: scheduler.now)
            let status = crossbar.access(&access, in: .firmware)
            trace += [UInt64(status.rawValue), access.time]
        }
    }
}

@Suite("Saved state of the interconnect")
struct StateTests {
    private static func busy(_ seed: UInt64) -> (Rig, SplitMix64) {
        var random = SplitMix64(seed: seed)
        let rig = Rig()
        rig.work(&random, steps: Int.random(in: 0...600, using: &random))
        return (rig, random)
    }

    @Test("what is saved in the middle of work goes on the same", arguments: 1...30 as ClosedRange<UInt64>)
    func goesOn(seed: UInt64) throws {
        let (rig, random) = Self.busy(seed)
        let saved = try rig.save()
        try rig.load(saved)
        #expect(try rig.save() == saved, "seed \(seed): saving what was loaded")
        func outcome(of rig: Rig) throws -> ([UInt64], [UInt8]) {
            var random = random
            rig.work(&random, steps: 600)
            return (rig.trace, try rig.save())
        }
        let uninterrupted = try outcome(of: rig)
        try rig.load(saved)
        #expect(try outcome(of: rig) == uninterrupted, "seed \(seed): the same models")
        let other = Rig()
        try other.load(saved)
        #expect(try outcome(of: other) == uninterrupted, "seed \(seed): fresh models")
        #expect(uninterrupted.0.count > 100)
    }

    @Test("no corruption traps or hangs", arguments: 1...20 as ClosedRange<UInt64>)
    func corrupted(seed: UInt64) throws {
        let (rig, after) = Self.busy(seed)
        let saved = try rig.save()
        var random = after
        var refused = 0
        for _ in 0..<200 {
            var bytes = saved
            for _ in 0...Int.random(in: 0...2, using: &random) {
                let place = Int.random(in: 0..<bytes.count, using: &random)
                bytes[place] = Bool.random(using: &random) ? UInt8(truncatingIfNeeded: random.next()) : bytes[place] ^ 0x80
            }
            do {
                try rig.load(bytes)
                rig.work(&random, steps: 40)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 20, "seed \(seed)")
        try rig.load(saved)
        #expect(try rig.save() == saved, "seed \(seed): a good state loads after bad ones")
    }

    @Test func aPortThatIsNotThereIsRefused() throws {
        let (small, large) = (Rig(), Rig())
        let port = large.pool.attach(large)
        large.pool.submit(cost: 10, owner: .host, id: 1, port: port)
        let saved = try large.save()
        #expect(throws: SnapshotError.self) { try small.load(saved) }
    }
}
