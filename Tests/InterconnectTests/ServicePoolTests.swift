import Interconnect
import Simulation
import Testing

@Suite struct ServicePoolTests {
    @Test func coresServeInParallelAndInOrder() {
        let work = PoolWork(cores: 2)
        for id in 0..<4 as Range<UInt64> { work.submit(1, 100, id: id) }
        work.scheduler.advance(to: 200)
        #expect(work.done.map(\.id) == [1, 0x101, 0x201, 0x301])
        #expect(work.done.map(\.cycle) == [100, 100, 200, 200])
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func sharesFollowWeights(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let work = PoolWork(cores: 3)
        var table = [Partition](repeating: Partition(), count: 65)
        let owners = Array(1...UInt8.random(in: 4...9, using: &random))
        for owner in owners { table[Int(owner)].weight = UInt16.random(in: 1...30, using: &random) }
        work.pool.partitionsCommitted(table, at: 0)
        for owner in owners { work.flood(owner, cost: Cycle.random(in: 20...3000, using: &random)) }
        work.scheduler.advance(to: 30_000_000)
        let weights = owners.reduce(0.0) { $0 + Double(table[Int($1)].weight) }
        for owner in owners {
            let expected = 3 * Double(table[Int(owner)].weight) / weights
            #expect(abs(work.share(owner) - expected) <= 0.01 * expected + 0.001, "seed \(seed), owner \(owner)")
        }
    }

    @Test func reservedCoresAreTheOwnersAlone() {
        let work = PoolWork(cores: 8)
        var table = [Partition](repeating: Partition(weight: 1000), count: 65)
        table[1] = Partition(weight: 1, serviceCores: 3)
        work.pool.partitionsCommitted(table, at: 0)
        for owner in 1...6 as ClosedRange<UInt8> { work.flood(owner, cost: 500) }
        work.scheduler.advance(to: 10_000_000)
        #expect(abs(work.share(1) - 3) < 0.01)
        for owner in 2...6 as ClosedRange<UInt8> { #expect(abs(work.share(owner) - 1) < 0.01) }
        // A reservation that comes later takes effect too, and one core stays shared whatever is asked for.
        table[2].serviceCores = 200
        work.pool.partitionsCommitted(table, at: work.scheduler.now)
        let before = (2...6).map { work.pool.busyCycles(of: Owner(rawValue: $0)) }
        work.scheduler.advance(to: 20_000_000)
        let gained = zip(2...6, before).map { Double(work.pool.busyCycles(of: Owner(rawValue: $0)) - $1) / 10_000_000 }
        #expect(abs(gained[0] - 4) < 0.01)
        for share in gained.dropFirst() { #expect(abs(share - 0.25) < 0.01) }
    }

    @Test func abandonedRequestsNeverComplete() {
        let work = PoolWork(cores: 1)
        work.submit(1, 100)
        work.submit(1, 100)
        work.submit(2, 100)
        work.pool.abandon(owner: .virtualMachine(1), port: work.port)
        work.scheduler.advance(to: 10_000)
        #expect(work.done.map(\.id) == [2])
        #expect(work.pool.requestsInFlight == 0)
    }
}
