import AdminProtocol
import Hardware
import OffloadManager
import PolicyEngine
import Testing

/// The firmware as a whole, booted on a fake device.
final class Rig {
    let device = FakeDevice()
    private(set) var host: FakeHost!
    private var manager: OffloadManager?
    private let storage = TestStorage()

    /// - Parameter prepare: what is done to the device before the firmware starts.
    init(queue: Bool = true, prepare: (FakeDevice) -> Void = { _ in }) {
        prepare(device)
        if queue { host = FakeHost(device) }
        Volatile.$bus.withValue(device) { manager = OffloadManager(storage.value) }
        pass()
    }

    var counters: Counters { Counters(storage.value.counters.baseAddress!) }
    var state: UInt32 { device.get(FakeDevice.hw.mailbox.baseAddress, 0x10) & 0xff }

    func pass() { Volatile.$bus.withValue(device) { manager?.pass() } }

    func windows(_ count: Int, _ samples: [UInt: OwnerSample]) {
        for _ in 0..<count {
            device.endWindow(samples)
            pass()
        }
    }

    /// Sends a command in two descriptors and returns its answer.
    @discardableResult
    func send(_ command: AdminCommand, _ data: [UInt8] = [], readable: Int? = nil, writable: Int = 0x4000) -> AdminResult {
        device.put(FakeHost.answer, .max, 8)
        host.write(command, data)
        host.describe(0, FakeHost.address(FakeHost.command), readable ?? AdminCommand.byteCount + data.count, next: 1)
        host.describe(1, FakeHost.address(FakeHost.answer), writable, writable: true)
        let before = host.usedIndex
        host.ring(head: 0)
        pass()
        #expect(host.usedIndex == before + 1)
        #expect(host.latestUsed.head == 0)
        return host.header
    }
}

@Suite struct OffloadManagerTests {
    @Test func bootsAndSaysSo() {
        let rig = Rig()
        #expect(rig.state == 2)
        for _ in 0..<20 { rig.device.pending.append(1); rig.pass() }
        #expect(rig.device.console == "outrigger offload manager, boot 0\nreset cause 1\nready, virtual functions 8\n")
        #expect(rig.device.get(FakeDevice.hw.sysctl.baseAddress, 0x40) == 0, "the reset cause is cleared")
        #expect(rig.device.get(FakeDevice.hw.wdt.baseAddress, 0x10) == 3, "the watchdog is armed")
        #expect(rig.device.get(FakeDevice.hw.wa.baseAddress, 0xc) & 1 == 1, "windows run")
        #expect(rig.device.heartbeats == 21)
        #expect(rig.device.pats == 1, "only ticks pat")
    }

    @Test func adoptsTheSharesInForce() {
        let rig = Rig { device in
            device.set(FakeDevice.hw.rm.baseAddress, 0x2000 + 3 * 16, 250 | 1 << 16)
        }
        rig.windows(10, [1: .init(bytes: 15_000_000, requests: 100)])
        #expect(rig.device.guarantee(1) > 500)
        #expect(rig.device.guarantee(3) == 0, "its owner did nothing")
    }

    @Test func aRestartKeepsWhatTheHostHasSet() {
        let first = Rig()
        var allocation = Allocation()
        allocation.guaranteePermille = 300
        allocation.limit = 8000
        allocation.flags = Allocation.pinned
        #expect(first.send(AdminCommand(.setAllocation, group: .virtualFunction, member: 7), FakeHost.bytes(allocation)).status == 0)
        var parameters = PolicyParameters()
        parameters.periodWindows = 4
        #expect(first.send(AdminCommand(.setPolicy), FakeHost.bytes(parameters)).status == 0)
        let registers = first.device.registers
        let second = Rig { device in
            device.registers = registers
            device.set(FakeDevice.hw.sysctl.baseAddress, 0x40, 2)
            device.set(FakeDevice.hw.wa.baseAddress, 0x10, 2_000_000)
        }
        second.send(AdminCommand(.getPolicy))
        #expect(second.host.result(PolicyParameters.self) == parameters)
        second.windows(20, [1: .init(bytes: 40_000_000, requests: 100)])
        #expect(second.device.guarantee(7) == 300, "still pinned")
        #expect(second.device.guarantee(1) == 700)
        #expect(second.device.get(FakeDevice.hw.wa.baseAddress, 0x10) == 2_000_000)
        second.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 7))
        #expect(second.host.result(Allocation.self).flags == Allocation.pinned)
    }

    @Test func movesBandwidthByDemand() {
        let rig = Rig()
        let busy = OwnerSample(bytes: 8_000_000, requests: 1000, depth: 64)
        rig.windows(20, [1: busy, 2: busy])
        #expect(rig.device.guarantee(1) == 500 && rig.device.guarantee(2) == 500)
        #expect(rig.device.commits == 1)
        rig.windows(60, [1: busy, 2: .init(bytes: 800_000, requests: 100)])
        #expect((640...670).contains(rig.device.guarantee(1)), "17/32 of the link, and a quarter more")
        #expect((55...95).contains(rig.device.guarantee(2)), "1/20 of it, and a quarter more")
        #expect(rig.counters[.windows] == 80)
        #expect(rig.counters[.commits] == UInt32(rig.device.commits))
    }

    @Test func aRejectedCommitChangesNothing() {
        let rig = Rig()
        rig.device.commitResults = [UInt32(1 | 2 << 8)]
        rig.windows(10, [1: .init(bytes: 8_000_000, requests: 1000)])
        #expect(rig.counters[.commitsRejected] == 1)
        #expect(rig.device.guarantee(1) == 0)
        #expect(rig.device.get(FakeDevice.hw.rm.baseAddress, 0x1000 + 16) == 1 << 16, "the stage is reverted")
        rig.windows(19, [1: .init(bytes: 8_000_000, requests: 1000)])
        #expect(rig.device.guarantee(1) == 0, "the next try comes after twice the period")
        rig.windows(1, [1: .init(bytes: 8_000_000, requests: 1000)])
        #expect(rig.device.guarantee(1) > 0)
    }

    @Test func missedWindowsAreCounted() {
        let rig = Rig()
        rig.device.endWindow([:])
        rig.device.endWindow([:])
        rig.device.endWindow([:])
        rig.pass()
        #expect(rig.counters[.windows] == 1)
        #expect(rig.counters[.windowsMissed] == 2)
    }

    // MARK: Commands

    @Test func identifies() {
        let rig = Rig()
        let answer = rig.send(AdminCommand(.identify))
        #expect(answer == AdminResult(.ok, resultBytes: UInt32(Identity.byteCount)))
        #expect(rig.host.latestUsed.length == AdminResult.byteCount + Identity.byteCount)
        let identity = rig.host.result(Identity.self)
        #expect(identity.magic == Identity.expectedMagic)
        #expect(identity.virtualFunctions == 8 && identity.harts == 2 && identity.serviceCores == 4)
        #expect(identity.linkBandwidth == 16_000)
        #expect(identity.clockHertz == 1_000_000_000)
        #expect(rig.device.notifications == [1])
    }

    /// Every opcode of the protocol is served, and every other one is answered as unknown.
    @Test func servesEveryOpcode() {
        let rig = Rig()
        rig.send(AdminCommand(.listOpcodes))
        #expect(rig.host.result(OpcodeList.self) == .all)
        for opcode in UInt16(0)..<256 {
            let known = AdminOpcode(rawValue: opcode)
            let member: UInt64 = known.map { $0.accepts(.device) ? 0 : 1 } ?? 0
            let group: AdminGroup = member == 0 ? .device : .virtualFunction
            let answer = rig.send(AdminCommand(opcode: opcode, group: group.rawValue, member: member), [UInt8](repeating: 0, count: 40))
            #expect((answer.qualifier == AdminQualifier.opcode.rawValue) == (known == nil), "opcode \(opcode)")
        }
    }

    @Test func malformedCommandsAreAnsweredWithTheReason() {
        let rig = Rig()
        func check(_ answer: AdminResult, _ qualifier: AdminQualifier, _ comment: Comment) {
            #expect(answer == AdminResult(.invalid, qualifier), comment)
        }
        check(rig.send(AdminCommand(.identify), readable: 23), .command, "short header")
        check(rig.send(AdminCommand(.setPolicy), [UInt8](repeating: 0, count: 31)), .command, "short data")
        check(rig.send(AdminCommand(opcode: 0xbeef, group: 0, member: 0)), .opcode, "unknown opcode")
        check(rig.send(AdminCommand(opcode: 1, group: 7, member: 0)), .group, "unknown group")
        check(rig.send(AdminCommand(.identify, group: .virtualFunction, member: 1)), .group, "opcode of the other group")
        check(rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 0)), .member, "function 0")
        check(rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 9)), .member, "function 9 of 8")
        check(rig.send(AdminCommand(.getAllocation, group: .device, member: 1)), .member, "a member of the device")
        check(rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 1 << 40)), .member, "a huge member")
        check(rig.send(AdminCommand(.identify), writable: 8 + Identity.byteCount - 1), .result, "no room")
    }

    @Test func statisticsPageIsCutToTheRoom() {
        let rig = Rig()
        rig.windows(1, [3: .init(bytes: 4096, requests: 1, depth: 2)])
        var request = StatisticsRequest()
        request.firstOwner = 2
        request.owners = 5
        let room = AdminResult.byteCount + StatisticsHeader.byteCount + 3 * StatisticsEntry.byteCount + 5
        let answer = rig.send(AdminCommand(.getStatistics), FakeHost.bytes(request), writable: room)
        let whole = StatisticsHeader.byteCount + 5 * StatisticsEntry.byteCount
        #expect(answer == AdminResult(.ok, resultBytes: UInt32(whole)))
        #expect(rig.host.latestUsed.length == room - 5)
        let header = rig.host.result(StatisticsHeader.self)
        #expect(header.firstOwner == 2 && header.entries == 3 && header.window == 1)
        let entry = rig.host.result(StatisticsEntry.self, at: StatisticsHeader.byteCount + StatisticsEntry.byteCount)
        #expect(entry.owner == 3 && entry.flags == StatisticsEntry.active)
        #expect(entry.windowRequests == 1 && entry.windowBytes == 4096 && entry.depth == 2)
        #expect(rig.device.shared[FakeHost.answer + room - 5] == 0, "nothing is written after the last entry")

        request.firstOwner = 65
        #expect(rig.send(AdminCommand(.getStatistics), FakeHost.bytes(request)) == AdminResult(.invalid, .field))
    }

    @Test func policyParametersAreCheckedAndKept() {
        let rig = Rig()
        var parameters = PolicyParameters()
        parameters.periodWindows = 3
        parameters.leastPermille = 25
        #expect(rig.send(AdminCommand(.setPolicy), FakeHost.bytes(parameters)) == AdminResult(.ok))
        rig.send(AdminCommand(.getPolicy))
        #expect(rig.host.result(PolicyParameters.self) == parameters)
        var wrong = parameters
        wrong.smoothing = 0
        #expect(rig.send(AdminCommand(.setPolicy), FakeHost.bytes(wrong)) == AdminResult(.invalid, .field))
        rig.send(AdminCommand(.getPolicy))
        #expect(rig.host.result(PolicyParameters.self) == parameters)
    }

    @Test func featuresAreCheckedAndKept() {
        let rig = Rig()
        func set(_ feature: UInt32, _ value: UInt64) -> AdminResult {
            var data = FeatureValue()
            data.feature = feature
            data.value = value
            return rig.send(AdminCommand(.setFeature), FakeHost.bytes(data))
        }
        func get(_ feature: UInt32) -> UInt64 {
            var data = FeatureSelect()
            data.feature = feature
            rig.send(AdminCommand(.getFeature), FakeHost.bytes(data))
            return rig.host.result(FeatureValue.self).value
        }
        #expect(get(0) == 1 && get(2) == 1_000_000)
        #expect(set(0, 0) == AdminResult(.ok) && get(0) == 0)
        rig.windows(50, [1: .init(bytes: 8_000_000, requests: 1000)])
        #expect(rig.device.commits == 0, "the policy is off")
        #expect(set(2, 2_000_000) == AdminResult(.ok) && get(2) == 2_000_000)
        for (feature, value) in [(0, 4), (0, 9), (1, 1 << 63), (2, 0), (2, 49_999), (2, 1 << 32), (3, 128), (4, 99), (5, 1), (6, 0)]
            as [(UInt32, UInt64)] {
            #expect(set(feature, value) == AdminResult(.invalid, .field), "feature \(feature), value \(value)")
        }
    }

    @Test func anAllocationMakesRoomForItself() {
        let rig = Rig()
        let busy = OwnerSample(bytes: 8_000_000, requests: 1000, depth: 64)
        rig.windows(20, [1: busy, 2: busy])
        var allocation = Allocation()
        allocation.guaranteePermille = 400
        allocation.weight = 7
        allocation.limit = 9000
        allocation.flags = Allocation.pinned
        #expect(rig.send(AdminCommand(.setAllocation, group: .virtualFunction, member: 3), FakeHost.bytes(allocation)) == AdminResult(.ok))
        #expect([1, 2, 3].map { rig.device.guarantee($0) } == [300, 300, 400])
        rig.windows(50, [1: busy, 2: busy])
        #expect([1, 2, 3].map { rig.device.guarantee($0) } == [300, 300, 400], "pinned")
        rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 3))
        var found = rig.host.result(Allocation.self)
        #expect(found.generation == UInt32(rig.device.commits))
        found.generation = 0
        #expect(found == allocation)
        #expect(rig.send(AdminCommand(.releaseAllocation, group: .virtualFunction, member: 3)) == AdminResult(.ok))
        rig.windows(20, [1: busy, 2: busy])
        #expect([1, 2, 3].map { rig.device.guarantee($0) } == [500, 500, 0])
    }

    @Test func aRefusedAllocationCarriesTheReason() {
        let rig = Rig()
        let result = UInt32(2 | 5 << 8)
        rig.device.commitResults = [result]
        var allocation = Allocation()
        allocation.serviceCores = 200
        let answer = rig.send(AdminCommand(.setAllocation, group: .virtualFunction, member: 5), FakeHost.bytes(allocation))
        #expect(answer == AdminResult(.noSpace, .noResource, resultBytes: 4))
        #expect(rig.device.number(FakeHost.answer + AdminResult.byteCount, 4) == UInt64(result))
        allocation.weight = 0
        #expect(
            rig.send(AdminCommand(.setAllocation, group: .virtualFunction, member: 5), FakeHost.bytes(allocation))
                == AdminResult(.invalid, .field))
    }

    @Test func baselinesGoToTheAnalyzer() {
        let rig = Rig()
        var baseline = Baseline()
        baseline.processorPermille = 1500
        baseline.memoryKiB = 77
        baseline.networkKiBPerSecond = 88
        #expect(rig.send(AdminCommand(.reportBaseline, group: .virtualFunction, member: 8), FakeHost.bytes(baseline)) == AdminResult(.ok))
        let place: UInt = 0x3000 + 8 * 0x20
        #expect((0..<3).map { rig.device.get(FakeDevice.hw.wa.baseAddress, place + 4 * $0) } == [1500, 77, 88])
    }

    @Test func aBusyQueueDoesntHoldUpTheWindows() {
        let rig = Rig()
        rig.host.write(AdminCommand(.identify))
        rig.host.describe(0, FakeHost.address(FakeHost.command), AdminCommand.byteCount, next: 1)
        rig.host.describe(1, FakeHost.address(FakeHost.answer), 0x1000, writable: true)
        for _ in 0..<8 { rig.host.ring(head: 0) }
        rig.device.pending.removeLast(7)
        rig.pass()
        #expect(rig.host.usedIndex == 8)
    }

    @Test func aRestartGoesOnWhereTheQueueStood() {
        let rig = Rig()
        rig.send(AdminCommand(.identify))
        rig.send(AdminCommand(.identify))
        let memory = rig.device.shared
        let again = Rig { $0.shared = memory }
        #expect(again.host.usedIndex == 2)
        #expect(again.send(AdminCommand(.identify)) == AdminResult(.ok, resultBytes: UInt32(Identity.byteCount)))
        #expect(again.host.usedIndex == 3)
    }
}
