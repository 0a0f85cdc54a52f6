import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

private final class Idle: CompletionSink {
    func completed(_ id: UInt64, at cycle: Cycle) {}
}

@Suite struct FabricTests {
    private let scheduler = Scheduler()
    private let crossbar = Crossbar(.init(hopLatency: 2, cyclesPerMicrosecond: 1000))
    private let up: Link
    private let down: Link
    private let fabric: FabricController
    private let probe: RegisterProbe

    init() {
        up = Link(.init(name: "up", rate: .init(bytesPerMicrosecond: 2000, cyclesPerMicrosecond: 1000), latency: 50), on: scheduler)
        down = Link(.init(name: "down", rate: .init(bytesPerMicrosecond: 1000, cyclesPerMicrosecond: 1000), latency: 50), on: scheduler)
        fabric = FabricController(crossbar, deviceToHost: up, hostToDevice: down, on: scheduler)
        probe = RegisterProbe(target: fabric, map: FABRIC.map, scheduler: scheduler)
        crossbar.map(crossbar.attach(fabric, name: "FABRIC", latency: 3), in: .firmware, at: 0x1003_0000, size: 0x2000)
    }

    @Test func theFirstErrorIsLoggedAndInterrupts() {
        probe.write(FABRIC.INTR_ENABLE, 1)
        scheduler.advance(to: 500)
        for address in [0x5000_0000, 0x6000_0000] as [UInt64] {
            var access = BusAccess(write: 1, to: address, size: 4, initiator: .hart(1), origin: 0x8000_0040, time: scheduler.now)
            #expect(crossbar.access(&access, in: .firmware) == .unmapped)
        }
        #expect(fabric.interrupt.level)
        #expect(probe.read(FABRIC.ERROR_STATUS) == 1 << 16 | 4 << 8 | 1 << 4 | 3)
        #expect(probe.read(FABRIC.ERROR_ADDRESS) == 0x5000_0000 && probe.read(FABRIC.ERROR_COUNT) == 2)
        #expect(probe.read(FABRIC.ERROR_ORIGIN) == 0x8000_0040 && probe.read(FABRIC.ERROR_TIME) == 500)
        #expect(probe.read(FABRIC.INITIATOR_ERRORS, 1) == 2)
        probe.write(FABRIC.CTRL, 1)
        probe.write(FABRIC.INTR_STATE, 1)
        #expect(!fabric.interrupt.level && probe.read(FABRIC.ERROR_STATUS) == 0)
    }

    @Test func weightsAndLimitsReachTheCrossbar() {
        probe.write(FABRIC.INITIATOR_WEIGHT, 2, 99)
        #expect(crossbar.laneState(2).weight == 99)
        probe.write(FABRIC.INITIATOR_WEIGHT, 2, 0)
        #expect(crossbar.laneState(2).weight == 1)
        probe.write(FABRIC.INITIATOR_BURST, 2, 8)
        probe.write(FABRIC.INITIATOR_RATE, 2, 4)
        var times: [Cycle] = []
        for _ in 0..<4 {
            var access = BusAccess(read: 0x1003_0000, size: 4, initiator: .host(function: 0), time: scheduler.now)
            #expect(crossbar.access(&access, in: .firmware) == .ok)
            times.append(access.time)
        }
        // Two fit in the burst, the others wait 1000 cycles each.
        #expect(times[1] - times[0] < 10 && times[2] >= 1000 && times[3] >= 2000)
        fabric.reset()
        #expect(crossbar.laneState(2).weight == 16 && crossbar.laneState(2).limit.rate.isUnlimited)
    }

    @Test func countersCountAndAreCleared() {
        let port = up.attach(Idle())
        up.submit(bytes: 4000, owner: .virtualMachine(3), id: 1, port: port)
        #expect(probe.read(FABRIC.LINK_QUEUED, 0) == 1)
        scheduler.advance(to: 10_000)
        #expect(probe.read(FABRIC.LINK_BYTES, 0) == 4000 && probe.read(FABRIC.LINK_BUSY, 0) == 2000)
        #expect(probe.read(FABRIC.FLOW_BYTES, 3) == 4000 && probe.read(FABRIC.LINK_QUEUED, 0) == 0)
        #expect(probe.read(FABRIC.LINK_BANDWIDTH, 1) == 1000 && probe.read(FABRIC.LINK_LATENCY, 1) == 50)
        var access = BusAccess(read: 0x1003_0000, size: 4, initiator: .hart(0), time: scheduler.now)
        #expect(crossbar.access(&access, in: .firmware) == .ok)
        #expect(probe.read(FABRIC.TARGET_ACCESSES, 0) == 1 && probe.read(FABRIC.TARGET_BASE, 0) == 0x1003_0000)
        #expect(probe.read(FABRIC.TARGET_LATENCY, 0) == access.time - scheduler.now)
        probe.write(FABRIC.CTRL, 2)
        #expect(probe.read(FABRIC.COUNTING_SINCE) == 10_000)
        #expect(probe.read(FABRIC.LINK_BYTES, 0) == 0 && probe.read(FABRIC.FLOW_BYTES, 3) == 0)
        #expect(probe.read(FABRIC.TARGET_ACCESSES, 0) == 0)
    }

    @Test func grantsAreShown() {
        var table = [Partition](repeating: Partition(), count: 65)
        table[4] = Partition(guarantee: 250, limit: 600, weight: 9)
        fabric.partitionsCommitted(table, at: 0)
        #expect(probe.read(FABRIC.FLOW_GRANT, 4) == 9 << 16 | 250 && probe.read(FABRIC.FLOW_LIMIT, 4) == 600)
        fabric.reset()
        #expect(probe.read(FABRIC.FLOW_GRANT, 4) == 9 << 16 | 250)
    }
}
