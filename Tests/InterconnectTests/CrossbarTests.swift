import Interconnect
import Registers
import Simulation
import Testing

/// Remembers the last access and answers as told.
private final class Target: BusTarget {
    var last: BusAccess?
    var status = BusStatus.ok

    func access(_ access: inout BusAccess) -> BusStatus {
        last = access
        if !access.isWrite { access.value = 0x1234 }
        return status
    }

    func peek(_ address: UInt64, size: Int) -> UInt64? { address + 1 }
}

private final class Listener: CrossbarErrorListener {
    var count = 0
    func crossbarErrorLogged() { count += 1 }
}

/// An initiator that makes its next access as soon as it has the answer to the one before.
private struct Saturating {
    let initiator: Initiator
    var time: Cycle = 0
    var accesses = 0
}

@Suite struct CrossbarTests {
    private let crossbar = Crossbar(.init(hopLatency: 3, cyclesPerMicrosecond: 1000))
    private let target = Target()

    @Test func anAccessPaysHopsOccupancyAndLatency() {
        let index = crossbar.attach(target, name: "target", latency: 5, occupancy: 2)
        crossbar.map(index, in: .firmware, at: 0x1001_0000, size: 0x1000)
        var access = BusAccess(read: 0x1001_0024, size: 4, initiator: .hart(0), time: 1000)
        #expect(crossbar.bus(.firmware).access(&access) == .ok)
        #expect(access.time == 1000 + 3 + 2 + 5 + 3)
        #expect(access.value == 0x1234)
        #expect(target.last?.address == 0x24)
        #expect(target.last?.time == 1010)
        #expect(crossbar.bus(.firmware).peek(0x1001_0024, size: 4) == 0x25)
    }

    @Test func spacesAreApartAndLeadToTheSameTarget() {
        let index = crossbar.attach(target, name: "target", latency: 0)
        crossbar.map(index, in: .firmware, at: 0x4000_0000, size: 0x10000)
        crossbar.map(index, in: .host, at: 0x2000, size: 0x1000, offset: 0x8000)
        var access = BusAccess(write: 7, to: 0x2ffc, size: 4, initiator: .host(function: 0))
        #expect(crossbar.bus(.host).access(&access) == .ok)
        #expect(target.last?.address == 0x8ffc)
        var other = BusAccess(read: 0x2000, size: 4, initiator: .hart(0))
        #expect(crossbar.bus(.firmware).access(&other) == .unmapped)
        for address in [0x2ffe, 0x3000, 0xffff_ffff, 0x1_0000_2000, UInt64.max - 1] {
            var beyond = BusAccess(read: address, size: 4, initiator: .host(function: 0))
            #expect(crossbar.bus(.host).access(&beyond) == .unmapped, "address \(address)")
            #expect(crossbar.bus(.host).peek(address, size: 4) == nil)
        }
    }

    @Test func theErrorLogKeepsTheFirstErrorAndCounts() throws {
        let index = crossbar.attach(target, name: "target", latency: 0)
        crossbar.map(index, in: .firmware, at: 0x1000, size: 0x1000)
        let listener = Listener()
        crossbar.errorListener = listener
        target.status = .readOnly
        var first = BusAccess(write: 1, to: 0x1010, size: 2, initiator: .hart(1), origin: 0x8000_0004, time: 77)
        #expect(crossbar.bus(.firmware).access(&first) == .readOnly)
        var second = BusAccess(read: 0x9000, size: 4, initiator: .hart(0), time: 99)
        #expect(crossbar.bus(.firmware).access(&second) == .unmapped)
        let entry = try #require(crossbar.errorLog.first)
        #expect(entry.address == 0x1010 && entry.time == 77 && entry.origin == 0x8000_0004 && entry.initiator == .hart(1))
        #expect(entry.isWrite && entry.size == 2 && entry.status == .readOnly)
        #expect(crossbar.errorLog.count == 2)
        #expect(listener.count == 1)
        crossbar.clearErrorLog()
        #expect(crossbar.errorLog.first == nil && crossbar.errorLog.count == 0)
    }

    @Test func aDebuggerTakesNoTimeAndLeavesNoTrace() {
        let index = crossbar.attach(target, name: "target", latency: 5)
        crossbar.map(index, in: .firmware, at: 0x1000, size: 0x1000)
        var access = BusAccess(read: 0x1000, size: 4, initiator: .debugger, time: 10)
        #expect(crossbar.bus(.firmware).access(&access) == .ok)
        #expect(access.time == 10)
        var wrong = BusAccess(read: 0x5000, size: 4, initiator: .debugger)
        #expect(crossbar.bus(.firmware).access(&wrong) == .unmapped)
        #expect(crossbar.errorLog.count == 0)
        #expect(crossbar.targetState(index).accesses == 0)
    }

    /// Runs saturating initiators against one target until `end`, earliest first, and returns how often each got through.
    private func saturate(weights: [UInt8], occupancy: Cycle, until end: Cycle) -> [Int] {
        let initiators: [Initiator] = [.hart(0), .hart(1), .host(function: 2), .dma(function: 1)]
        let index = crossbar.attach(target, name: "target", latency: 0, occupancy: occupancy)
        crossbar.map(index, in: .firmware, at: 0, size: 0x1000)
        var lanes = zip(initiators, weights).enumerated().map { lane, pair in
            crossbar.setWeight(pair.1, lane: lane)
            return Saturating(initiator: pair.0)
        }
        while true {
            let next = lanes.indices.min { lanes[$0].time < lanes[$1].time }!
            guard lanes[next].time < end else { return lanes.map(\.accesses) }
            var access = BusAccess(read: 0, size: 4, initiator: lanes[next].initiator, time: lanes[next].time)
            #expect(crossbar.bus(.firmware).access(&access) == .ok)
            // The hops are taken off: they overlap with the next access of a pipelined initiator.
            lanes[next].time = access.time - 6
            lanes[next].accesses += 1
        }
    }

    @Test(arguments: 1...10 as ClosedRange<UInt64>)
    func throughputFollowsWeights(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let count = Int.random(in: 2...4, using: &random)
        let weights = (0..<count).map { _ in UInt8.random(in: 1...40, using: &random) }
        let accesses = saturate(weights: weights, occupancy: 64, until: 20_000_000)
        let sum = weights.reduce(0) { $0 + Double($1) }
        let total = accesses.reduce(0, +)
        for (weight, got) in zip(weights, accesses) {
            let share = Double(got) / Double(total)
            let expected = Double(weight) / sum
            #expect(abs(share - expected) <= 0.01 * expected + 0.0005, "seed \(seed), weights \(weights): \(accesses)")
        }
        // The target is neither idle nor in two places at once.
        #expect(abs(Double(total) * 64 / 20_000_000 - 1) < 0.01, "seed \(seed): \(total) accesses")
    }

    @Test func whoIsAloneDoesNotWait() {
        let accesses = saturate(weights: [1], occupancy: 10, until: 100_000)
        #expect(accesses == [10_000])
        #expect(crossbar.laneState(0).waited == 0)
    }

    @Test func theRateLimitHolds() {
        let index = crossbar.attach(target, name: "target", latency: 0)
        crossbar.map(index, in: .firmware, at: 0, size: 0x1000)
        crossbar.setLimit(bytesPerMicrosecond: 40, burst: 32, lane: Lane(.host(function: 0)).index)
        var time: Cycle = 0
        var starts: [Cycle] = []
        for _ in 0..<1000 {
            var access = BusAccess(read: 0, size: 4, initiator: .host(function: 0), time: time)
            #expect(crossbar.bus(.firmware).access(&access) == .ok)
            time = access.time
            starts.append(time)
        }
        // The burst of 8 accesses, then one every 100 cycles.
        #expect(starts[7] == 8 * 7)
        for (first, later) in zip(starts, starts.dropFirst(40)) { #expect(40 * 4 <= 32 + Double(later - first) * 0.04) }
        #expect(abs(Double(time) - 99_200) < 200)
    }
}
