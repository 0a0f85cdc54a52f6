import AdminProtocol
import ComponentLoad
import OffloadDevice
import PCIExpress
import Registers
import Testing

/// Attacks on the isolation of owners, each carried out on the whole device with its firmware, by what an attacker has: the files of a
/// virtual machine's function, its memory, or the admin queue (docs/isolation.md). What is attacked must be untouched, and the attempt
/// must be in the attacker's counters, in an event, and in the audit page.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct IsolationTests {
    /// Who attacks, and who is attacked.
    static let attacker = 1, victim = 2

    private func rig() throws -> FirmwareRig {
        let rig = try FirmwareRig()
        rig.bringUp()
        // The host itself may use its function as it likes.
        _ = withUnsafeBytes(of: UInt16(6).littleEndian) { rig.machine.writeConfiguration(function: 0, offset: 4, $0) }
        _ = rig.takeEvents()
        return rig
    }

    private func drivers(_ rig: FirmwareRig) -> (attacker: BlockDriver, victim: BlockDriver) {
        (BlockDriver(rig.machine, function: Self.attacker, offset: 0), BlockDriver(rig.machine, function: Self.victim, offset: 0x10_0000))
    }

    private func audit(_ rig: FirmwareRig, _ owner: Int) -> AuditEntry {
        var request = StatisticsRequest()
        (request.firstOwner, request.owners) = (UInt16(owner), 1)
        #expect(rig.send(AdminCommand(.getAudit), FirmwareRig.bytes(request)).status == AdminStatus.ok.rawValue)
        return rig.result(AuditEntry.self, at: AuditHeader.byteCount)
    }

    /// Carries an attack out, and looks for its traces.
    /// - Returns: the address in the first event about it.
    @discardableResult
    private func expect(
        _ kind: AuditEntry.Kind, by owner: Int = attacker, holder: Int = 255, _ rig: FirmwareRig,
        sourceLocation: SourceLocation = #_sourceLocation, _ attack: () throws -> Void
    ) rethrows -> UInt64? {
        // The firmware's allowance is there again.
        rig.machine.advance(by: 11_000_000)
        let before = audit(rig, owner)
        _ = rig.takeEvents()
        try attack()
        rig.machine.advance(by: 100_000)
        let after = audit(rig, owner), place = Int(kind.rawValue) - 1
        #expect(after.counts[place] > before.counts[place], "counted", sourceLocation: sourceLocation)
        let events = rig.takeEvents().filter {
            $0.kind == DeviceEvent.Kind.isolationDenied.rawValue && Int($0.owner) == owner && $0.argument1 >> 32 == UInt64(kind.rawValue)
        }
        #expect(!events.isEmpty, "told to the host", sourceLocation: sourceLocation)
        #expect(events.allSatisfy { $0.argument1 & 0xff == UInt64(holder) }, "\(events)", sourceLocation: sourceLocation)
        #expect(after.cycle >= before.cycle && after.kind != 0, sourceLocation: sourceLocation)
        return events.first?.argument0
    }

    private func sendKeyed(_ rig: FirmwareRig, _ opcode: AdminOpcode, _ owner: Int, key: UInt64 = 0, _ data: [UInt8] = []) -> AdminResult {
        rig.send(AdminCommand(opcode, group: .virtualFunction, member: UInt64(owner), key: key), data)
    }

    // MARK: DMA

    @Test func strayDMAReachesNothing() throws {
        let rig = try rig()
        var (attacker, victim) = drivers(rig)
        rig.put(0x10_0000, UInt64(0x5ec2e7))
        let shared = Device.sharedBase + 0x10_0000
        let address = expect(.dma, rig) {
            attacker.submit(type: 0, sector: 0, count: 512, target: shared)
            rig.machine.advance(by: 1_000_000)
        }
        #expect(address == shared && rig.get(0x10_0000, UInt64.self) == 0x5ec2e7)
        #expect(audit(rig, Self.attacker).counts[Int(AuditEntry.Kind.queue.rawValue) - 1] == 1, "its device needs a reset")
        #expect(victim.request(type: 0, sector: 0, count: 512) == 0, "others go on")
    }

    @Test func anotherMachinesMemoryIsOutOfReach() throws {
        let rig = try rig()
        var (attacker, victim) = drivers(rig)
        // The host's IOMMU driver gives each virtual machine its own memory alone.
        try rig.machine.inspect { device in
            let memory = device.hostMemory.bytes.baseAddress!
            for (function, start) in [(Self.attacker, 0), (Self.victim, 0x10_0000)] {
                try device.hierarchy.function(function)!.domain!.lend(to: [
                    DMAMapping(address: Device.hostMemoryBase + UInt64(start), count: 0x10_0000, memory: memory + start)
                ])
            }
        }
        for byte in victim.data.indices { victim.data[byte] = 0xa5 }
        let place = Device.hostMemoryBase + 0x10_2000
        for type in [0, 1] as [UInt32] {
            let address = expect(.dma, rig) {
                attacker.submit(type: type, sector: 0, count: 4096, target: place)
                rig.machine.advance(by: 1_000_000)
            }
            #expect(address == place)
            // What is in its rings would be served again.
            rig.machine.hostMemory.bytes.baseAddress!.initializeMemory(as: UInt8.self, repeating: 0, count: 0x1000)
            attacker = BlockDriver(rig.machine, function: Self.attacker, offset: 0)
        }
        #expect(victim.data.allSatisfy { $0 == 0xa5 })
        #expect(attacker.request(type: 0, sector: 0, count: 4096) == 0 && attacker.data[..<4096].allSatisfy { $0 == 0 }, "nothing was read")
        #expect(victim.request(type: 0, sector: 0, count: 4096) == 0)
    }

    @Test func anInterruptForgedByDMAIsNoInterrupt() throws {
        let rig = try rig()
        var (attacker, _) = drivers(rig)
        let before = rig.machine.inspect { $0.interrupts.counts }
        let address = expect(.interrupt, rig) {
            attacker.submit(type: 0, sector: 0, count: 512, target: 0xfee0_1000)
            rig.machine.advance(by: 1_000_000)
        }
        let after = rig.machine.inspect { $0.interrupts.counts }
        #expect(address == 0xfee0_1000)
        #expect((0..<before.count).allSatisfy { $0 == 0 || before[$0] == after[$0] }, "no virtual function has sent one")
    }

    @Test func memoryThatIsTakenAwayUnderARequestIsNotTouched() throws {
        let rig = try rig()
        var (attacker, _) = drivers(rig)
        for byte in attacker.data.indices { attacker.data[byte] = 0x3c }
        expect(.dma, rig) {
            attacker.submit(type: 0, sector: 0, count: 4096)
            rig.machine.advance(by: 1_000)
            #expect(attacker.completed == 0, "taken, and its buffers checked")
            rig.machine.inspect { device in
                device.hierarchy.function(Self.attacker)!.domain!.unmap(Device.hostMemoryBase + 0x2000, count: 0x2000)
            }
            rig.machine.advance(by: 1_000_000)
        }
        #expect(attacker.data.allSatisfy { $0 == 0x3c })
    }

    // MARK: Queues and doorbells

    /// The table is changed after the device has checked it: what was checked is what is used.
    @Test func descriptorsThatChangeAfterTheCheckChangeNothing() throws {
        let rig = try rig()
        var (attacker, victim) = drivers(rig)
        for byte in victim.data.indices { victim.data[byte] = 0xa5 }
        for byte in attacker.data.indices { attacker.data[byte] = 0x3c }
        let descriptors = rig.machine.hostMemory.bytes.baseAddress!
        attacker.submit(type: 0, sector: 0, count: 4096)
        var changes = 0
        while attacker.completed == 0 {
            // Before each stage of the request: another buffer, another length, a loop.
            descriptors.storeBytes(of: Device.sharedBase, toByteOffset: 16, as: UInt64.self)
            descriptors.storeBytes(of: 0xffff_ffff, toByteOffset: 24, as: UInt32.self)
            descriptors.storeBytes(of: 1, toByteOffset: 30, as: UInt16.self)
            rig.machine.advance(by: 100)
            changes += 1
            try #require(changes < 100_000)
        }
        #expect(changes > 5 && attacker.status == 0)
        #expect(attacker.data[..<4096].allSatisfy { $0 == 0 }, "the buffer that was checked")
        #expect(victim.request(type: 0, sector: 0, count: 512) == 0)
        let entry = audit(rig, Self.attacker)
        #expect((0..<9).allSatisfy { entry.counts[$0] == 0 })
        // What was put there is refused when it is made available.
        expect(.queue, rig) {
            let ring = descriptors + 0x400
            ring.storeBytes(of: 2, toByteOffset: 2, as: UInt16.self)
            rig.machine.write(Self.attacker, 0, 0x3000, 0, 2)
        }
    }

    @Test func anOverflowingRingStopsItsOwnFunctionAlone() throws {
        let rig = try rig()
        var (_, victim) = drivers(rig)
        let ring = rig.machine.hostMemory.bytes.baseAddress! + 0x400
        let address = expect(.queue, rig) {
            ring.storeBytes(of: 9, toByteOffset: 2, as: UInt16.self)
            rig.machine.write(Self.attacker, 0, 0x3000, 0, 2)
        }
        #expect(address == 0 && rig.machine.read(Self.attacker, 0, 0x14, 1) & 64 != 0, "DEVICE_NEEDS_RESET")
        #expect(victim.request(type: 0, sector: 0, count: 512) == 0)
    }

    @Test func aDoorbellRingsNobodyElses() throws {
        let rig = try rig()
        var (_, victim) = drivers(rig)
        let served = rig.machine.inspect { $0.virtioFunction(Self.victim)!.block!.state.counters }
        // It names the victim's queue, in its own place and in places beyond its queues.
        for (place, queue) in [(0, 2), (Self.victim, 0), (Self.victim, Self.victim), (63, 63), (63, 0)] as [(Int, Int)] {
            expect(.doorbell, rig) { rig.machine.write(Self.attacker, 0, 0x3000 + 4 * UInt64(place), UInt64(queue), 2) }
        }
        #expect(rig.machine.inspect { $0.virtioFunction(Self.victim)!.block!.state.counters } == served)
        #expect(victim.request(type: 0, sector: 0, count: 512) == 0)
    }

    @Test func aStaleDoorbellAfterAResetIsRefused() throws {
        let rig = try rig()
        var (attacker, victim) = drivers(rig)
        #expect(attacker.request(type: 0, sector: 0, count: 512) == 0)
        guard case .done = rig.machine.perform(.resetFunction(Self.attacker)) else { return #expect(Bool(false), "the function is there") }
        let used = attacker.completed
        let address = expect(.doorbell, rig) { attacker.submit(type: 0, sector: 0, count: 512) }
        rig.machine.advance(by: 1_000_000)
        #expect(address == 0 && attacker.completed == used && attacker.status == 0xff, "nothing has happened")
        #expect(victim.request(type: 0, sector: 0, count: 512) == 0)
    }

    // MARK: Registers

    @Test func theRegistersOfTheHostAreOutOfReach() throws {
        let rig = try rig()
        for (bar, offset) in [(0, 0x0800), (0, 0x3ffc), (0, 0x1_0000), (2, 0), (4, 0x1000)] as [(Int, UInt64)] {
            expect(.access, rig) {
                let read = rig.machine.readBAR(function: Self.attacker, bar: bar, offset: offset, size: 4, origin: 7)
                #expect(read.status != .ok && read.value == 0xffff_ffff)
                #expect(rig.machine.writeBAR(function: Self.attacker, bar: bar, offset: offset, size: 4, value: 1, origin: 7) != .ok)
            }
        }
        #expect(rig.state == 2)
    }

    @Test func aVirtualFunctionCantMoveItsWindows() throws {
        let rig = try rig()
        for offset in [0x10, 0x14, 0x20] {
            let address = expect(.configuration, holder: 0, rig) {
                _ = withUnsafeBytes(of: UInt32(0xfee0_0000).littleEndian) {
                    rig.machine.writeConfiguration(function: Self.attacker, offset: offset, $0)
                }
            }
            #expect(address == UInt64(offset))
        }
        #expect(rig.machine.inspect { $0.hierarchy.function(Self.attacker)!.space.bytes[0x10..<0x28].allSatisfy { $0 == 0 } })
        // Nor does it take effect anywhere else what a virtual function writes to where its physical function has the capability of
        // virtual functions.
        let others = { rig.machine.inspect { device in [0, Self.victim].map { device.hierarchy.function($0)!.space.bytes } } }
        let before = others()
        for offset in stride(from: 0x100, to: 0x1000, by: 4) {
            _ = withUnsafeBytes(of: UInt32.max) { rig.machine.writeConfiguration(function: Self.attacker, offset: offset, $0) }
        }
        #expect(others() == before)
    }

    // MARK: Memory blocks

    private func give(_ rig: FirmwareRig, _ owner: Int, first: UInt16, blocks: UInt16) -> UInt16 {
        var allocation = Allocation()
        (allocation.weight, allocation.firstMemoryBlock, allocation.memoryBlocks) = (1, first, blocks)
        let status = sendKeyed(rig, .setAllocation, owner, FirmwareRig.bytes(allocation)).status
        // Blocks that change hands are cleared meanwhile.
        rig.machine.advance(by: 20_000)
        return status
    }

    @Test func aMemoryBlockIsItsOwnersAlone() throws {
        let rig = try rig()
        #expect(give(rig, Self.victim, first: 16, blocks: 2) == 0)
        rig.put(0x10_0000, UInt32(0x5ec2e7))
        for offset in [0x10_0000, 0x11_fffc] as [UInt64] {
            let address = expect(.memory, by: 0, holder: Self.victim, rig) {
                let read = rig.machine.readBAR(function: 0, bar: 2, offset: offset, size: 4, origin: 7)
                #expect(read.status == .denied && read.value == 0xffff_ffff)
                #expect(rig.machine.writeBAR(function: 0, bar: 2, offset: offset, size: 4, value: 1, origin: 7) == .denied)
            }
            #expect(address == offset)
        }
        #expect(rig.get(0x10_0000, UInt32.self) == 0x5ec2e7)
    }

    @Test func aBlockThatChangesHandsIsEmpty() throws {
        let rig = try rig()
        #expect(give(rig, Self.victim, first: 16, blocks: 2) == 0)
        for offset in [0x10_0000, 0x10_fff8, 0x11_0000, 0x11_fff8] { rig.put(offset, UInt64(0x5ec2e7)) }
        // Half of it stays with its owner.
        #expect(give(rig, Self.victim, first: 17, blocks: 1) == 0)
        #expect(give(rig, Self.attacker, first: 16, blocks: 1) == 0)
        #expect(rig.get(0x10_0000, UInt64.self) == 0 && rig.get(0x10_fff8, UInt64.self) == 0)
        #expect(rig.get(0x11_0000, UInt64.self) == 0x5ec2e7 && rig.get(0x11_fff8, UInt64.self) == 0x5ec2e7)
        // Nor does the host find anything when it gets the block back.
        #expect(sendKeyed(rig, .releaseAllocation, Self.victim).status == 0)
        rig.machine.advance(by: 20_000)
        #expect(rig.machine.readBAR(function: 0, bar: 2, offset: 0x11_0000, size: 8, origin: 7).value == 0)
    }

    // MARK: Keys

    @Test func withoutItsKeyNobodySeesOrChangesAnOwner() throws {
        let rig = try rig()
        var (_, victim) = drivers(rig)
        #expect(victim.request(type: 0, sector: 0, count: 512) == 0)
        rig.machine.advance(by: 2_000_000)
        let (own, other) = (0xfeed_0001_c0de_0002 as UInt64, 0x1111_2222_3333_4444 as UInt64)
        #expect(sendKeyed(rig, .setKey, Self.attacker, FirmwareRig.bytes(OwnerKey(key: other))).status == 0)
        #expect(sendKeyed(rig, .setKey, Self.victim, FirmwareRig.bytes(OwnerKey(key: own))).status == 0)
        let before = rig.machine.inspect { $0.resourceManager.registers.peek(0x2000 + 16 * UInt64(Self.victim), size: 4) }
        var allocation = Allocation()
        (allocation.guaranteePermille, allocation.weight) = (1, 1)
        let attempts: [(AdminOpcode, [UInt8])] = [
            (.getLatency, []), (.getAllocation, []), (.setAllocation, FirmwareRig.bytes(allocation)), (.releaseAllocation, []),
            (.startLog, FirmwareRig.bytes(LogRequest())), (.stopLog, []), (.harvestLog, []), (.getComponent, []),
            (.migrateComponent, FirmwareRig.bytes(ComponentMove())), (.setKey, FirmwareRig.bytes(OwnerKey(key: 0))),
            (.reportBaseline, FirmwareRig.bytes(Baseline())),
        ]
        for (opcode, data) in attempts {
            for key in [0, other, own ^ 1, own &+ 1 << 32] {
                expect(.key, by: 0, holder: Self.victim, rig) {
                    let answer = sendKeyed(rig, opcode, Self.victim, key: key, data)
                    #expect(answer.status == AdminStatus.denied.rawValue && answer.qualifier == AdminQualifier.key.rawValue)
                    #expect(answer.resultBytes == 0)
                }
            }
        }
        #expect(rig.machine.inspect { $0.resourceManager.registers.peek(0x2000 + 16 * UInt64(Self.victim), size: 4) } == before)

        // Pages show the victim to nobody but who asks for it with its key.
        func entry(first: Int, owners: Int, key: UInt64) -> StatisticsEntry {
            var request = StatisticsRequest()
            (request.firstOwner, request.owners) = (UInt16(first), UInt16(owners))
            #expect(rig.send(AdminCommand(.getStatistics, key: key), FirmwareRig.bytes(request)).status == 0)
            return rig.result(
                StatisticsEntry.self, at: StatisticsHeader.byteCount + (Self.victim - first) * StatisticsEntry.byteCount)
        }
        #expect(entry(first: 0, owners: 8, key: own).flags == StatisticsEntry.withheld)
        expect(.key, by: 0, holder: Self.victim, rig) {
            let shown = entry(first: Self.victim, owners: 1, key: other)
            #expect(shown.flags == StatisticsEntry.withheld && shown.reads == 0)
        }
        #expect(entry(first: Self.victim, owners: 1, key: own).reads == 1)

        // With the key all is as ever, also after a restart of the firmware: hardware has the keys.
        try rig.machine.restartFirmware()
        #expect(rig.wait(5_000) { rig.state == 2 })
        rig.enableRings()
        #expect(sendKeyed(rig, .getLatency, Self.victim).status == AdminStatus.denied.rawValue)
        #expect(sendKeyed(rig, .getLatency, Self.victim, key: own).status == 0)
        #expect(sendKeyed(rig, .setKey, Self.victim, key: own, FirmwareRig.bytes(OwnerKey(key: 0))).status == 0)
        #expect(sendKeyed(rig, .getLatency, Self.victim).status == 0)
    }

    // MARK: The host agent

    /// VIC_HOST in the physical function's BAR0.
    private static let window: UInt64 = 0x3000

    private func read(_ rig: MoveRig, _ offset: UInt64) -> UInt32 {
        UInt32(truncatingIfNeeded: rig.machine.readBAR(function: 0, bar: 0, offset: Self.window + offset, size: 4, origin: 7).value)
    }

    private func write(_ rig: MoveRig, _ offset: UInt64, _ value: UInt32) {
        rig.machine.writeBAR(function: 0, bar: 0, offset: Self.window + offset, size: 4, value: UInt64(value), origin: 7)
    }

    private func counts(_ rig: MoveRig, _ owner: Int) -> [UInt64] {
        rig.machine.inspect { device in (0..<9).map { device.audit.peek(0x1000 + 0x40 * UInt64(owner) + 4 * $0, size: 4) ?? 0 } }
    }

    @Test func anAgentForgesNoInterrupts() throws {
        let rig = try MoveRig(firmware: FirmwareRig.read(), depth: 4, seed: 31)
        try rig.startAgent()
        for _ in 0..<20 { try rig.turn() }
        let generation = read(rig, 0x400 + 0x10) >> 16
        let before = rig.machine.inspect { $0.interrupts.counts }
        for value in [UInt32(MoveRig.function) | generation << 16, 70, 255] as [UInt32] { write(rig, 0x20, value) }
        #expect(rig.machine.inspect { $0.interrupts.counts }[MoveRig.function] == before[MoveRig.function], "the device serves it")
        #expect(counts(rig, 0)[Int(AuditEntry.Kind.interrupt.rawValue) - 1] == 3)
        // What is of an earlier generation is late, and no attempt.
        try rig.move(to: .host)
        write(rig, 0x20, UInt32(MoveRig.function) | generation << 16)
        #expect(counts(rig, 0)[Int(AuditEntry.Kind.interrupt.rawValue) - 1] == 3)
        try rig.verify()
    }

    @Test func anAgentWithoutTheKeyServesNothing() throws {
        let rig = try MoveRig(firmware: FirmwareRig.read(), depth: 4, seed: 32)
        rig.machine.inspect { device in
            for (offset, value) in [(0x30, 0x1234), (0x34, 0), (0x38, UInt64(MoveRig.function) | 1 << 8)] as [(UInt64, UInt64)] {
                var access = BusAccess(write: value, to: offset, size: 4, initiator: .hart(0), time: device.scheduler.now)
                #expect(device.audit.access(&access) == .ok)
            }
        }
        try rig.startAgent()
        for _ in 0..<20 { try rig.turn() }
        #expect(rig.ask(for: .host) == .denied)
        rig.key = 0x1234
        #expect(rig.ask(for: .host) == .ok)
        // The agent's replies have no effect: the firmware waits for one, and gives the move up.
        for _ in 0..<1_100 { try rig.turn(cycles: 1_000_000) }
        #expect(rig.status().outcome == ComponentStatus.Outcome.timeout.rawValue)
        #expect(rig.stage == (1, 0, 0) && counts(rig, 0)[Int(AuditEntry.Kind.key.rawValue) - 1] >= 2)
        // With the key it serves.
        write(rig, 0x900 + 8 * UInt64(MoveRig.function), 0x1234)
        write(rig, 0x904 + 8 * UInt64(MoveRig.function), 0)
        try rig.move(to: .host)
        let before = rig.load.acknowledged
        for _ in 0..<50 { try rig.turn() }
        #expect(rig.load.acknowledged > before)
        try rig.move(to: .device)
        try rig.verify()
        // It went with the agent.
        rig.killAgent()
        try rig.startAgent()
        let denied = counts(rig, 0)[Int(AuditEntry.Kind.key.rawValue) - 1]
        write(rig, 0x40c + 0x10 * UInt64(MoveRig.function), 0)
        #expect(counts(rig, 0)[Int(AuditEntry.Kind.key.rawValue) - 1] == denied + 1)
    }

    @Test func anotherOwnersImageIsRefused() throws {
        let rig = try MoveRig(firmware: FirmwareRig.read(), depth: 4, seed: 33)
        try rig.startAgent()
        for _ in 0..<20 { try rig.turn() }
        try rig.move(to: .host)
        for _ in 0..<20 { try rig.turn() }
        rig.changesReturn = { image in
            // The image of owner 2, whole and with a checksum that is right.
            image.bytes[17] = UInt8(Self.victim)
            image.seal()
        }
        #expect(rig.ask(for: .device) == .ok)
        try rig.wait("a refusal") { rig.status().outcome == ComponentStatus.Outcome.refused.rawValue }
        #expect(rig.status().reason == ComponentImage.Defect.type.rawValue && rig.stage.location == 1)
        #expect(counts(rig, 0)[Int(AuditEntry.Kind.image.rawValue) - 1] == 1)
        rig.changesReturn = nil
        for _ in 0..<20 { try rig.turn() }
        try rig.move(to: .device)
        try rig.verify()
    }

    // MARK: The audit itself

    @Test func aFloodHidesNobodyAndCostsLittle() throws {
        let rig = try rig()
        _ = drivers(rig)
        let (before, windows) = (try rig.counter(4), try rig.counter(5))
        for round in 0..<2_000 {
            rig.machine.write(Self.attacker, 0, 0x3000 + 4 * 63, 63, 2)
            if round == 1_000 { rig.machine.write(Self.victim, 0, 0x3000 + 4 * 62, 62, 2) }
            rig.machine.advance(by: 10_000)
        }
        rig.machine.advance(by: 100_000_000)
        #expect(audit(rig, Self.attacker).counts[2] == 2_000)
        let other = audit(rig, Self.victim)
        #expect(other.counts[2] == 1, "its one record came through")
        #expect(other.kind == AuditEntry.Kind.doorbell.rawValue && other.address == 62)
        #expect(try rig.counter(4) - before >= 119 && rig.counter(5) == windows, "no window was missed")
        let events = rig.takeEvents().filter { $0.kind == DeviceEvent.Kind.isolationDenied.rawValue }
        // 20 ms of flood and the 100 ms after it: eight records in each ten.
        #expect(events.count <= 8 * 13 && events.contains { Int($0.owner) == Self.victim })
    }
}
