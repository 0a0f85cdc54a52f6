import Interconnect
import Simulation
import Testing

@Suite struct AcceleratorTests {
    @Test func anotherOwnersSlotIsLoadedFirst() {
        let work = PoolWork(slots: 1, loading: 1000)
        for owner in [1, 1, 2, 2, 1] as [UInt8] { work.submit(owner, 100) }
        work.scheduler.advance(to: 100_000)
        #expect(work.pool.loads >= 2)
        #expect(work.done.first!.cycle == 1100)
        #expect(work.done.last!.cycle == 500 + 1000 * work.pool.loads)
    }

    /// Whoever floods the slots has those that are granted to him, and others have theirs.
    @Test(arguments: AcceleratorType.allCases) func aGrantIsALimit(type: AcceleratorType) {
        let work = PoolWork(slots: 8, type: type, loading: 500)
        work.grant([1: 2, 2: 4], type)
        for owner in [1, 2, 3, 4] as [UInt8] { work.flood(owner, cost: 700) }
        work.scheduler.advance(to: 5_000_000)
        #expect(work.share(1) <= 2 * 1.02 && work.share(1) >= 1.98)
        #expect(work.share(2) <= 4 * 1.02 && work.share(2) >= 3.98)
        #expect(work.share(3) + work.share(4) <= 2 * 1.02)
    }

    @Test func onesOwnSlotsStayLoadedWhileTheyRest() {
        let work = PoolWork(slots: 3, loading: 10_000)
        work.grant([1: 1])
        work.submit(1, 100)
        work.scheduler.advance(to: 20_000)
        for owner in [2, 3, 4] as [UInt8] { work.flood(owner, cost: 300) }
        work.scheduler.advance(to: 500_000)
        let before = work.scheduler.now
        work.submit(1, 100)
        work.scheduler.advance(to: before + 100)
        #expect(work.done.last?.id == 1 && work.done.last?.cycle == before + 100, "nothing to load")
    }

    /// Work that waits counts like work that is served.
    @Test func demandIsMeasured() {
        let work = PoolWork(slots: 2, loading: 0)
        work.flood(5, cost: 1000, depth: 7)
        work.submit(6, 50_000)
        work.scheduler.advance(to: 1_000_000)
        #expect(work.pool.requestCycles(of: Owner(rawValue: 5)) == 7_000_000)
        let other = work.pool.requestCycles(of: Owner(rawValue: 6))
        #expect((50_000...60_000).contains(other), "\(other)")
        work.pool.abandon(owner: Owner(rawValue: 5), port: work.port)
        work.endless = [:]
        work.scheduler.advance(to: 2_000_000)
        #expect(work.pool.requestCycles(of: Owner(rawValue: 5)) <= 7_004_000, "two ran on to their end")
    }

    @Test func stateGoesOn() throws {
        let work = PoolWork(slots: 3, loading: 700), other = PoolWork(slots: 3, loading: 700)
        work.grant([1: 1])
        for owner in [1, 2, 3] as [UInt8] { work.flood(owner, cost: 900) }
        work.scheduler.advance(to: 123_456)
        var saved = StateArchive()
        try work.scheduler.archive(&saved)
        try work.pool.archive(&saved)
        var loading = StateArchive(loading: saved.bytes)
        try other.scheduler.archive(&loading)
        try other.pool.archive(&loading)
        other.endless = work.endless
        work.done = []
        for one in [work, other] { one.scheduler.advance(to: 300_000) }
        #expect(work.done.map(\.cycle) == other.done.map(\.cycle) && work.done.map(\.id) == other.done.map(\.id))
        #expect(work.pool.loads == other.pool.loads && work.done.count > 100)
        for owner in (1...3).map(Owner.init(rawValue:)) {
            #expect(work.pool.requestCycles(of: owner) == other.pool.requestCycles(of: owner))
        }
    }
}

@Suite struct BufferMemoryTests {
    @Test func whoHasMemoryOfItsOwnHasNoMore() {
        let buffers = BufferMemory()
        let (first, second) = (Owner.virtualMachine(1), Owner.virtualMachine(2))
        var table = [Partition](repeating: Partition(), count: 65)
        table[1].memory = 0x10000
        buffers.partitionsCommitted(table, at: 0)
        for _ in 0..<16 {
            #expect(buffers.hasRoom(first))
            buffers.take(4096, of: first)
        }
        #expect(!buffers.hasRoom(first) && buffers.used(by: first) == 0x10000)
        #expect(buffers.hasRoom(first, for: 0) && !buffers.hasRoom(first, for: 1) && buffers.hasRoom(second, for: .max))
        for _ in 0..<1000 { buffers.take(1 << 20, of: second) }
        #expect(buffers.hasRoom(second), "the common buffers")
        buffers.giveBack(4096, of: first)
        #expect(buffers.hasRoom(first))
        buffers.giveBack(.max, of: first)
        #expect(buffers.used(by: first) == 0)
    }
}
