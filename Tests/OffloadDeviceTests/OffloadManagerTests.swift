import AdminProtocol
import OffloadDevice
import Registers
import Testing

/// The firmware's ELF on the emulated device.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct OffloadManagerTests {
    @Test func bootsAndIdentifies() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        #expect(rig.wait(2_000) { rig.consoleText.hasSuffix("64\n") })
        #expect(rig.consoleText == "outrigger offload manager, boot 1\nreset cause 9\nready, virtual functions 64\n")
        #expect(rig.send(AdminCommand(.identify)) == AdminResult(.ok, resultBytes: UInt32(Identity.byteCount)))
        let identity = rig.result(Identity.self)
        #expect(identity.magic == Identity.expectedMagic)
        #expect(identity.virtualFunctions == 64 && identity.harts == 2 && identity.serviceCores == 8)
        #expect(identity.clockHertz == 1_000_000_000)
        #expect(rig[.fault] == 0)
    }

    @Test func unknownCommandsAreAnswered() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        #expect(rig.send(AdminCommand(opcode: 0xffff, group: 0, member: 0)) == AdminResult(.invalid, .opcode))
        #expect(rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 65)) == AdminResult(.invalid, .member))
        #expect(rig.send(AdminCommand(.listOpcodes)) == AdminResult(.ok, resultBytes: UInt32(OpcodeList.byteCount)))
    }

    @Test func aLoopInTheQueueBreaksTheQueueOnly() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        rig.describe(0, FirmwareRig.command, 8, flags: 1, next: 1)
        rig.describe(1, FirmwareRig.command, 8, flags: 1, next: 0)
        rig.ring(head: 0)
        #expect(rig.wait(1_000) { rig[.queueControl] & 1 == 0 })
        #expect(rig[.queueControl] >> 8 == 4, "broken")
        let events = rig.takeEvents()
        #expect(events.first?.kind == DeviceEvent.Kind.firmwareStarted.rawValue)
        #expect(events.first?.argument1 == 9, "power-on, and the host loaded it")
        #expect(events.last?.kind == DeviceEvent.Kind.queueError.rawValue)
        #expect(events.last?.argument0 == 4, "a loop")
        rig.enableRings()
        #expect(rig.send(AdminCommand(.identify)).status == 0)
        #expect(rig[.fault] == 0)
    }

    @Test func bandwidthFollowsDemand() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        // The link carries 1 MB in a window.
        rig.load(windows: 40, [(1, 100, 5000), (2, 100, 5000)])
        func guarantee(_ owner: UInt64) -> UInt16 {
            rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: owner))
            return rig.result(Allocation.self).guaranteePermille
        }
        #expect(guarantee(1) == 500 && guarantee(2) == 500)
        rig.load(windows: 60, [(1, 200, 5000), (2, 20, 5000)])
        #expect((850...900).contains(guarantee(1)))
        #expect((100...150).contains(guarantee(2)))
        let changes = rig.takeEvents().filter { $0.kind == DeviceEvent.Kind.partitionChanged.rawValue }
        #expect(changes.count >= 4)
        #expect(changes.last.map { $0.argument1 >> 16 } == UInt64(guarantee(UInt64(changes.last!.owner))))
    }

    /// 64 active virtual machines: sampling stays below 3 % of the hart in every single window, all of the firmware's work on average,
    /// decisions and their records included; 3.3 % while it scores all policies.
    @Test(arguments: [PolicyNumber.fair, PolicyNumber.adaptive])
    func sixtyFourOwnersCostLittle(policy: UInt32) throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        let owners = (1...64).map { (owner: $0, requests: 2, bytes: UInt64(1000 * $0)) }
        var parameters = PolicyParameters()
        (parameters.policy, parameters.hysteresisPermille) = (policy, 4)
        #expect(rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)
        // Intervals as short as may be, so that every owner is analysed and forecast twice.
        var interval = FeatureValue()
        (interval.feature, interval.value) = (Feature.analysisInterval.rawValue, 100)
        #expect(rig.send(AdminCommand(.setFeature), FirmwareRig.bytes(interval)).status == 0)
        rig.load(windows: 380, owners)
        let windows = try rig.counter(4), missed = try rig.counter(5), most = try rig.counter(6), commits = try rig.counter(7)
        #expect(windows >= 379 && missed == 0)
        let analyses = try rig.counter(13), analysisMost = try rig.counter(14)
        print("64 owners: \(analyses) intervals analysed, the dearest in \(analysisMost) cycles")
        #expect(analyses >= 3 * 64)
        #expect(analysisMost < 16_000, "cycles of the dearest analysis")
        #expect(commits > 0)
        #expect(most < 30_000, "cycles of the dearest window")
        let decision = try rig.counter(17)
        let dearest: UInt32 = policy == PolicyNumber.adaptive ? 440_000 : 190_000
        #expect(decision < dearest, "cycles of the dearest decision, with the end of an epoch and its record: of a window's 1,000,000")
        rig.send(AdminCommand(.getStatistics), FirmwareRig.bytes(StatisticsRequest()))
        let header = rig.result(StatisticsHeader.self)
        #expect(header.entries == 65)
        let busy = header.busyCycles, elapsed = header.cycle
        print("64 owners, policy \(policy): dearest window \(most) cycles, dearest decision \(decision), busy \(busy) of \(elapsed)")
        let permille: UInt64 = policy == PolicyNumber.adaptive ? 33 : 30
        #expect(busy * 1000 < elapsed * permille, "busy \(busy) of \(elapsed)")
        for owner in 1...64 {
            let entry = rig.result(StatisticsEntry.self, at: StatisticsHeader.byteCount + owner * StatisticsEntry.byteCount)
            #expect(entry.owner == owner)
            #expect(entry.reads == 760 && entry.readBytes == UInt64(760 * 1000 * owner), "owner \(owner)")
        }
    }

    // MARK: Faults

    /// What the PMP forbids: each instruction pair is put at the beginning of the event loop's round.
    @Test(arguments: [
        ([0x37, 0x05, 0, 0x80, 0x23, 0x20, 0x05, 0], 7, "a store to text: lui a0, 0x80000; sw zero, 0(a0)"),
        ([0x13, 0x05, 0x01, 0, 0x67, 0, 0x05, 0], 1, "a jump to the stack: mv a0, sp; jr a0"),
        ([0x37, 0x05, 0x20, 0x80, 0x67, 0, 0x05, 0], 1, "a jump to free SRAM: lui a0, 0x80200; jr a0"),
        ([0x37, 0x05, 0x01, 0, 0x03, 0x25, 0x05, 0], 5, "a load from the boot ROM: lui a0, 0x10; lw a0, 0(a0)"),
        ([0x37, 0x05, 0, 0x90, 0x23, 0x20, 0x05, 0], 7, "a store to nowhere: lui a0, 0x90000; sw zero, 0(a0)"),
        (
            [0x73, 0x10, 0, 0x3b, 0x73, 0x25, 0, 0x3b, 0x63, 0x04, 0x05, 0, 0, 0], 2,
            "a change of the ladder that has no effect: csrw pmpaddr0, zero; csrr a0, pmpaddr0; beqz a0, .+8; unimp"
        ),
    ] as [([UInt8], UInt32, String)])
    func theLadderHolds(code: [UInt8], cause: UInt32, what: String) throws {
        let rig = try FirmwareRig { image, bytes in
            try FirmwareRig.replace(FirmwareRig.symbol("V4passyyF", in: image), with: code, image, &bytes)
        }
        #expect(rig.wait(5_000) { rig[.fault] & 1 == 1 }, "\(what)")
        #expect(rig[.faultCause] == cause, "\(what)")
    }

    /// The link has no allocator to offer; this is what would be there if one slipped in.
    @Test func thereIsNoHeap() throws {
        let rig = try FirmwareRig()
        let allocators = ["malloc", "free", "posix_memalign", "swift_allocObject", "swift_slowAlloc", "swift_release"]
        #expect(rig.image.symbols.filter { allocators.contains($0.name) }.isEmpty)
        #expect(rig.image.symbols.contains { $0.name == "offload_trace" })
    }

    @Test func aLogIsStartedHarvestedAndStopped() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        func send(_ opcode: AdminOpcode, _ data: [UInt8] = []) -> (AdminResult, LogStatus) {
            let answer = rig.send(AdminCommand(opcode, group: .virtualFunction, member: 3), data)
            return (answer, rig.result(LogStatus.self))
        }
        let never = send(.harvestLog).1
        #expect(never.active == 0 && never.ringRecords == 0 && never.ringOffset == 0)
        var request = LogRequest()
        request.ringRecords = 32
        request.watermark = 2
        let (answer, started) = send(.startLog, FirmwareRig.bytes(request))
        #expect(answer == AdminResult(.ok, resultBytes: UInt32(LogStatus.byteCount)))
        #expect(started.active == 1 && started.ringRecords == 32 && started.granularity == 100 && started.pageShift == 12)
        #expect(send(.startLog, FirmwareRig.bytes(request)).0 == AdminResult(.busy, .tryAgain))
        rig.machine.inspect { device in
            for page in 0..<3 as Range<UInt64> {
                device.log.memoryWritten(
                    owner: .virtualMachine(3), address: Device.hostMemoryBase + page * 0x10000, bytes: 512, at: device.scheduler.now)
            }
        }
        let harvested = send(.harvestLog).1
        #expect(harvested.head == 3 && harvested.lost == 0 && harvested.dirtyPages == 3 && harvested.bytesWritten == 1536)
        let record: LogRecord = rig.read(LogRecord.self, at: Int(started.ringOffset) + LogRecord.byteCount)
        #expect(record.sequence == 1 && record.address == Device.hostMemoryBase + 0x10000 && record.extentBytes == 512 && record.owner == 3)
        #expect(rig.takeEvents().contains { $0.kind == DeviceEvent.Kind.logWatermark.rawValue && $0.owner == 3 })
        #expect(send(.stopLog).1.active == 0)
        request.ringRecords = 8192
        #expect(send(.startLog, FirmwareRig.bytes(request)).0 == AdminResult(.noMemory))
        request.ringRecords = 33
        #expect(send(.startLog, FirmwareRig.bytes(request)).0 == AdminResult(.invalid, .field))
    }

    @Test func theStandbyHartSleeps() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        let control = try address("SYSCTL.HART[1].CTRL"), status = try address("SYSCTL.HART[1].STATUS")
        rig.machine.inspect { device in
            var access = BusAccess(write: 3, to: control, size: 4, initiator: .debugger)
            #expect(device.crossbar.access(&access, in: .firmware) == .ok)
        }
        rig.machine.advance(by: 1_000_000)
        let found = rig.machine.inspect { device in device.peek(.firmware, status, size: 4) }
        #expect(found == 0b111, "present, running, waiting")
        #expect(rig.send(AdminCommand(.identify)).status == 0)
    }

    /// A load from address 0.
    @Test func aWildLoadLeavesARecord() throws {
        let rig = try FirmwareRig { image, bytes in
            let pass = try FirmwareRig.symbol("V4passyyF", in: image)
            try FirmwareRig.replace(pass, with: [0x03, 0x25, 0x00, 0x00], image, &bytes)  // lw a0, 0(zero)
        }
        #expect(rig.wait(5_000) { rig[.fault] & 1 == 1 })
        #expect(rig[.fault] >> 16 == 1, "a trap")
        #expect(rig[.faultCause] == 5, "load access fault")
        #expect(rig[.faultAddress] == 0)
        let pass = try rig.symbol("V4passyyF")
        #expect(rig[.faultPC] == pass.address)
        let stack = rig[.faultX, 4 * 2]
        #expect(stack > 0x8000_0000 && stack < 0x8040_0000, "the stack pointer")
        #expect(rig.state == 5)
        #expect(rig.wait(2_000) { rig.consoleText.contains("fault: cause 00000005") })
    }

    @Test func aHangIsFoundByTheWatchdog() throws {
        let rig = try FirmwareRig { image, bytes in
            let pass = try FirmwareRig.symbol("V4passyyF", in: image)
            try FirmwareRig.replace(pass, with: [0x01, 0xa0], image, &bytes)  // j .
        }
        #expect(rig.wait(70_000) { rig[.fault] & 1 == 1 })
        #expect(rig[.fault] >> 16 == 3, "the watchdog")
        let pass = try rig.symbol("V4passyyF")
        #expect(rig[.faultPC] == pass.address)
        #expect(rig.wait(80_000) { rig[.faultCount] == 2 }, "restarted, it hangs again: \(rig.consoleText)")
    }

    @Test func aMemoryErrorLeavesARecordAndTheFirmwareComesBack() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        var allocation = Allocation()
        allocation.guaranteePermille = 250
        allocation.flags = Allocation.pinned
        #expect(rig.send(AdminCommand(.setAllocation, group: .virtualFunction, member: 9), FirmwareRig.bytes(allocation)).status == 0)
        try rig.machine.injectMemoryError(at: UInt64(rig.symbol("offload_counters").address), isCorrectable: false)
        #expect(rig.wait(5_000) { rig[.fault] & 1 == 1 })
        #expect(rig[.fault] >> 16 == 4, "a memory error")
        #expect(rig[.faultAddress] == (try rig.symbol("offload_counters").address))
        #expect(rig.wait(80_000) { rig.state == 2 }, "restarted: \(rig.consoleText)")
        #expect(rig.wait(2_000) { rig.consoleText.hasSuffix("boot 2\nreset cause 2\nready, virtual functions 64\n") })
        #expect(rig[.fault] & 1 == 1, "the record is still there")
        rig.enableRings()
        #expect(rig.send(AdminCommand(.identify)).status == 0)
        rig.send(AdminCommand(.getAllocation, group: .virtualFunction, member: 9))
        let kept = rig.result(Allocation.self)
        #expect(kept.guaranteePermille == 250 && kept.flags == Allocation.pinned, "what the host has set is still in force")
        let events = rig.takeEvents()
        #expect(events.map(\.kind) == [DeviceEvent.Kind.firmwareStarted.rawValue, DeviceEvent.Kind.fault.rawValue])
        #expect(events.first?.argument1 == 2, "the watchdog")
        #expect(events.last?.argument0 == 5)
    }
}
