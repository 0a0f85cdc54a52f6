import Interconnect
import Simulation
import Testing

/// Keeps a link busy for chosen owners, and writes down what arrives.
private final class Traffic: CompletionSink {
    struct Arrival: Equatable {
        var id: UInt64
        var cycle: Cycle
    }

    let scheduler = Scheduler()
    let link: Link
    private(set) var port = SubmitterPort(rawValue: 0)
    /// Bytes of each transfer, by id; the id's low byte is the owner.
    var bytes: [UInt64: UInt64] = [:]
    var arrivals: [Arrival] = []
    /// Owners that submit the next transfer when one arrives, and how large it is.
    var refill: [UInt8: () -> UInt64] = [:]
    private var submitted: UInt64 = 0

    init(bytesPerMicrosecond: UInt32 = 1000, latency: Cycle = 100, quantum: UInt32 = 4096, burst: UInt32 = 16384) {
        link = Link(
            .init(
                name: "test", rate: .init(bytesPerMicrosecond: bytesPerMicrosecond, cyclesPerMicrosecond: 1000), latency: latency,
                quantum: quantum, burst: burst),
            on: scheduler)
        port = link.attach(self)
    }

    func submit(_ owner: UInt8, _ size: UInt64) {
        let id = submitted << 8 | UInt64(owner)
        submitted += 1
        bytes[id] = size
        link.submit(bytes: size, owner: Owner(rawValue: owner), id: id, port: port)
    }

    func completed(_ id: UInt64, at cycle: Cycle) {
        arrivals.append(Arrival(id: id, cycle: cycle))
        if let next = refill[UInt8(truncatingIfNeeded: id)] { submit(UInt8(truncatingIfNeeded: id), next()) }
    }

    func arrived(_ owner: UInt8) -> UInt64 {
        arrivals.reduce(0) { $0 + (UInt8(truncatingIfNeeded: $1.id) == owner ? bytes[$1.id]! : 0) }
    }
}

/// What owners with endless demand get of a link in the long run: `min(limit, guarantee + weight * level)`, with the level at which the
/// link is full. The fluid that the scheduler approximates, found by bisection.
private func fluidShares(capacity: Double, _ partitions: [Partition]) -> [Double] {
    func rates(_ level: Double) -> [Double] {
        partitions.map { partition in
            let want = capacity * Double(partition.guarantee) / 1000 + Double(Int(partition.weight) << Int(partition.boost)) * level
            return partition.limit == 0 ? want : min(want, Double(partition.limit))
        }
    }
    var low = 0.0
    var high = capacity
    for _ in 0..<100 {
        let level = (low + high) / 2
        if rates(level).reduce(0, +) > capacity { high = level } else { low = level }
    }
    return rates(low)
}

@Suite struct LinkTests {
    @Test func oneTransferTakesItsTimeAndTheLatency() {
        let traffic = Traffic(bytesPerMicrosecond: 1000, latency: 100)
        traffic.submit(1, 10_000)
        traffic.scheduler.advance(to: 10_099)
        #expect(traffic.arrivals.isEmpty)
        traffic.scheduler.advance(to: 10_100)
        #expect(traffic.arrivals == [.init(id: 1, cycle: 10_100)])
        #expect(traffic.link.busyCycles == 10_000)
        #expect(traffic.link.transfersInFlight == 0)
    }

    @Test func fractionsOfCyclesAddUp() {
        // 32 bytes a cycle: 1000 transfers of 16 bytes take 500 cycles, not 1000.
        let traffic = Traffic(bytesPerMicrosecond: 32_000, latency: 0)
        for _ in 0..<1000 { traffic.submit(3, 16) }
        traffic.scheduler.advance(to: 1000)
        #expect(traffic.arrivals.count == 1000)
        #expect(traffic.arrivals.last?.cycle == 500)
    }

    /// The link may come free and a limit allow the next piece within the same cycle, in either order.
    @Test(arguments: 1...40 as ClosedRange<UInt64>)
    func limitsThatEndWithinACycleHoldNobodyUp(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let traffic = Traffic(bytesPerMicrosecond: UInt32.random(in: 1000...40_000, using: &random), quantum: 512, burst: 2048)
        var table = [Partition](repeating: Partition(), count: 65)
        for owner in 0...3 {
            table[owner].guarantee = UInt16.random(in: 0...400, using: &random)
            table[owner].limit = UInt32.random(in: 0...3, using: &random) * UInt32.random(in: 500...9000, using: &random)
        }
        traffic.link.partitionsCommitted(table, at: 0)
        for _ in 0..<300 {
            traffic.submit(UInt8.random(in: 0...3, using: &random), UInt64.random(in: 0...6000, using: &random))
            traffic.scheduler.advance(to: traffic.scheduler.now + Cycle.random(in: 0...500, using: &random))
        }
        traffic.scheduler.advance(to: traffic.scheduler.now + 10_000_000)
        #expect(traffic.arrivals.count == 300, "seed \(seed)")
    }

    @Test(arguments: 1...12 as ClosedRange<UInt64>)
    func sharesConvergeToTheFluid(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let traffic = Traffic()
        var table = [Partition](repeating: Partition(), count: 65)
        let owners = Array(1...UInt8.random(in: 2...7, using: &random))
        for owner in owners {
            let limited = Bool.random(using: &random)
            table[Int(owner)] = Partition(
                guarantee: UInt16.random(in: 0...140, using: &random), limit: limited ? UInt32.random(in: 150...400, using: &random) : 0,
                weight: UInt16.random(in: 1...50, using: &random), boost: UInt8.random(in: 0...2, using: &random))
        }
        table[1].limit = 0
        traffic.link.partitionsCommitted(table, at: 0)
        for owner in owners {
            let size = UInt64.random(in: 64...20_000, using: &random)
            traffic.refill[owner] = { size }
            for _ in 0..<(200_000 / size + 2) { traffic.submit(owner, size) }
        }
        let end: Cycle = 50_000_000
        traffic.scheduler.advance(to: end)
        let expected = fluidShares(capacity: 1000, owners.map { table[Int($0)] })
        for (owner, rate) in zip(owners, expected) {
            let measured = Double(traffic.link.bytes(of: Owner(rawValue: owner))) / (Double(end) / 1000)
            #expect(abs(measured - rate) <= 0.01 * rate + 0.5, "seed \(seed), owner \(owner): \(measured) MB/s, expected \(rate)")
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func aGuaranteeHoldsUnderHostileLoad(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let traffic = Traffic()
        var table = [Partition](repeating: Partition(weight: 10_000), count: 65)
        table[1] = Partition(guarantee: 300, weight: 1)
        traffic.link.partitionsCommitted(table, at: 0)
        for owner in 2...9 as ClosedRange<UInt8> {
            let sizes = [1, 64, 4096, 1_000_000].shuffled(using: &random)
            traffic.refill[owner] = { UInt64(sizes[0]) }
            for size in sizes { for _ in 0..<50 { traffic.submit(owner, UInt64(size)) } }
        }
        traffic.refill[1] = { 4096 }
        for _ in 0..<4 { traffic.submit(1, 4096) }
        traffic.scheduler.advance(to: 10_000_000)
        // 300 MB/s for 10 ms, but for what is on the way.
        #expect(traffic.arrived(1) >= 2_970_000, "seed \(seed): \(traffic.arrived(1)) bytes")
        for owner in 2...9 as ClosedRange<UInt8> { #expect(traffic.link.bytes(of: Owner(rawValue: owner)) > 0, "owner \(owner) starved") }
    }

    /// Two owners keep the link busy. A third one's burst waits for the piece in service and for one of the other's, however long it is;
    /// with all that it could want the two still get their part by weight.
    @Test func whoseWeightIsBoostedWaitsForOnePieceOfEachAndStarvesNobody() {
        let traffic = Traffic(latency: 0, quantum: 1 << 20, burst: 1 << 20)
        var table = [Partition](repeating: Partition(), count: 65)
        table[1].boost = 7
        traffic.link.partitionsCommitted(table, at: 0)
        for owner in [2, 3] as [UInt8] {
            traffic.refill[owner] = { 100_000 }
            for _ in 0..<8 { traffic.submit(owner, 100_000) }
        }
        traffic.scheduler.advance(to: 1_234_567)
        for _ in 0..<20 { traffic.submit(1, 5000) }
        traffic.scheduler.advance(to: 2_000_000)
        let burst = traffic.arrivals.filter { $0.id & 0xff == 1 }.map(\.cycle)
        #expect(burst.count == 20 && burst.last! - 1_234_567 <= 2 * 100_000 + 20 * 5000)

        traffic.refill[1] = { 5000 }
        for _ in 0..<20 { traffic.submit(1, 5000) }
        let (start, before) = (traffic.scheduler.now, [2, 3].map { traffic.link.bytes(of: Owner(rawValue: $0)) })
        traffic.scheduler.advance(to: start + 2_000_000_000)
        for (owner, bytes) in zip([2, 3] as [UInt8], before) {
            let moved = traffic.link.bytes(of: Owner(rawValue: owner)) - bytes, due = UInt64(2_000_000_000 / 130)
            #expect(moved + 100_000 >= due && moved <= due + 100_000, "owner \(owner): \(moved) of \(due)")
        }
    }

    @Test(arguments: 1...6 as ClosedRange<UInt64>)
    func aLimitIsNeverExceeded(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let traffic = Traffic(bytesPerMicrosecond: 8000, latency: 0)
        let limit = UInt32.random(in: 10...900, using: &random)
        var table = [Partition](repeating: Partition(), count: 65)
        table[1] = Partition(guarantee: 5, limit: limit, weight: 50)
        traffic.link.partitionsCommitted(table, at: 0)
        var sizes = SplitMix64(seed: seed &+ 99)
        traffic.refill[1] = { UInt64.random(in: 1...4096, using: &sizes) }
        traffic.refill[2] = { 3000 }
        traffic.submit(2, 3000)
        for _ in 0..<20 { traffic.submit(1, 4000) }
        traffic.scheduler.advance(to: 3_000_000)
        let own = traffic.arrivals.filter { UInt8(truncatingIfNeeded: $0.id) == 1 }
        let burst = Double(traffic.link.configuration.burst)
        // A piece is granted before it moves: the first one's own time on the link belongs to the span.
        let slack: Cycle = 513
        for first in own.indices {
            var sum = 0.0
            for arrival in own[first...].prefix(60) {
                sum += Double(traffic.bytes[arrival.id]!)
                let span = Double(arrival.cycle + slack - own[first].cycle) / 1000
                #expect(sum <= burst + Double(limit) * span, "seed \(seed)")
            }
        }
        let average = Double(traffic.link.bytes(of: .virtualMachine(1))) / 3000
        #expect(average >= 0.99 * Double(limit), "seed \(seed): the limit of \(limit) leaves only \(average)")
    }

    @Test(arguments: 1...8 as ClosedRange<UInt64>)
    func bytesAreConservedAndEachOwnersOrderIsKept(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let traffic = Traffic(bytesPerMicrosecond: UInt32.random(in: 1...40_000, using: &random))
        var table = (0..<65).map { _ in
            Partition(
                guarantee: UInt16.random(in: 0...200, using: &random), limit: UInt32.random(in: 0...100, using: &random),
                weight: UInt16.random(in: 0...1000, using: &random))
        }
        var time: Cycle = 0
        for _ in 0..<400 {
            switch UInt32.random(in: 0..<10, using: &random) {
            case 0:
                table.shuffle(using: &random)
                traffic.link.partitionsCommitted(table, at: time)
            case 1...3:
                time += Cycle.random(in: 0...20_000, using: &random)
                traffic.scheduler.advance(to: time)
            default:
                traffic.submit(UInt8.random(in: 0...255, using: &random), UInt64.random(in: 0...30_000, using: &random))
            }
        }
        traffic.scheduler.advance(to: time + 60_000_000_000)
        #expect(traffic.arrivals.count == traffic.bytes.count, "seed \(seed)")
        #expect(traffic.link.bytes == traffic.bytes.values.reduce(0, +), "seed \(seed)")
        for owner in 0...255 as ClosedRange<UInt8> {
            let own = traffic.arrivals.filter { UInt8(truncatingIfNeeded: $0.id) == owner }
            #expect(zip(own, own.dropFirst()).allSatisfy { $0.id < $1.id && $0.cycle <= $1.cycle }, "seed \(seed), owner \(owner)")
        }
    }

    @Test func abandonedTransfersNeverComplete() {
        let traffic = Traffic()
        traffic.submit(1, 4096)
        traffic.submit(1, 4096)
        traffic.submit(2, 4096)
        traffic.scheduler.advance(to: 4100)
        traffic.link.abandon(owner: .virtualMachine(1), port: traffic.port)
        traffic.scheduler.advance(to: 1_000_000)
        #expect(traffic.arrivals.map { UInt8(truncatingIfNeeded: $0.id) } == [2])
        #expect(traffic.link.transfersInFlight == 0)
    }
}
