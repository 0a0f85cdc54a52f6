import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

private final class Sink: PartitionSink {
    var tables: [(table: [Partition], cycle: Cycle)] = []
    func partitionsCommitted(_ table: [Partition], at cycle: Cycle) { tables.append((table, cycle)) }
}

/// The memory that is shared out.
private final class Memory: DMAPort {
    var bytes: [UInt8]
    init(bytes count: Int) { bytes = [UInt8](repeating: 0, count: count) }

    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus { .unmapped }
    func write(_ address: UInt64, from source: UnsafeRawBufferPointer) -> BusStatus {
        bytes.replaceSubrange(Int(address - 0x4000_0000)..<Int(address - 0x4000_0000) + source.count, with: source)
        return .ok
    }
    func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool { false }
    func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus { .unmapped }
    func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? { nil }
    func wrote(_ address: UInt64, count: Int) {}
}

private struct Bench {
    let scheduler = Scheduler()
    let sink = Sink()
    let manager: ResourceManager
    let probe: RegisterProbe

    init() {
        manager = ResourceManager(
            DeviceResources(serviceCores: 8, gpuSlots: 4, fpgaSlots: 2, memoryBlocks: 256, memoryBlockShift: 16, linkBandwidth: 30_000),
            on: scheduler)
        probe = RegisterProbe(target: manager, map: RM.map, scheduler: scheduler)
        manager.connect(sink)
    }

    func stage(
        _ owner: Int, guarantee: UInt64 = 0, boost: UInt64 = 0, weight: UInt64 = 1, limit: UInt64 = 0, cores: UInt64 = 0, gpu: UInt64 = 0,
        fpga: UInt64 = 0
    ) {
        probe.write(RM.STAGED_BANDWIDTH, owner, guarantee | boost << 12 | weight << 16)
        probe.write(RM.STAGED_LIMIT, owner, limit)
        probe.write(RM.STAGED_SLOTS, owner, cores | gpu << 8 | fpga << 16)
    }

    func stageRegion(_ region: Int, owner: UInt64, first: UInt64, blocks: UInt64) {
        probe.write(RM.STAGED_REGION, region, owner | first << 8 | blocks << 20)
    }

    /// Commits, and gives what RESULT says.
    @discardableResult func commit(at cycle: Cycle = 0) -> (reason: RM.Reason?, owner: UInt64, region: UInt64, isPending: Bool) {
        probe.write(RM.COMMIT_AT_LO, cycle & 0xffff_ffff)
        probe.write(RM.COMMIT_AT_HI, cycle >> 32)
        probe.write(RM.COMMAND, 1)
        let result = probe.read(RM.RESULT)
        return (
            RM.Reason(rawValue: RM.RESULT.reason.value(in: result)), RM.RESULT.owner.value(in: result), RM.RESULT.region.value(in: result),
            RM.RESULT.pending.isSet(in: result))
    }
}

@Suite struct ResourceManagerCommits {
    @Test func aSinkLearnsTheTableWhenItConnectsAndWithEveryCommit() {
        let bench = Bench()
        #expect(bench.sink.tables.count == 1)
        #expect(bench.sink.tables[0].table == [Partition](repeating: Partition(), count: 65))
        bench.scheduler.advance(to: 700)
        bench.stage(0, guarantee: 100, weight: 2)
        bench.stage(64, guarantee: 900, boost: 15, weight: 7, limit: 27_000, cores: 8, gpu: 4, fpga: 2)
        #expect(bench.sink.tables.count == 1, "staging changes nothing")
        #expect(bench.probe.read(RM.ACTIVE_BANDWIDTH, 64) == 1 << 16)
        #expect(bench.commit().reason == RM.Reason.none)
        #expect(bench.sink.tables.count == 2 && bench.sink.tables[1].cycle == 700)
        #expect(bench.sink.tables[1].table[0] == Partition(guarantee: 100, limit: 0, weight: 2, serviceCores: 0))
        #expect(bench.sink.tables[1].table[64] == Partition(
            guarantee: 900, limit: 27_000, weight: 7, boost: 15, serviceCores: 8, gpuSlots: 4, fpgaSlots: 2))
        #expect(bench.probe.read(RM.ACTIVE_BANDWIDTH, 64) == 900 | 15 << 12 | 7 << 16)
        #expect(bench.probe.read(RM.ACTIVE_SLOTS, 64) == 8 | 4 << 8 | 2 << 16)
        #expect(bench.probe.read(RM.GENERATION) == 1 && bench.probe.read(RM.COMMITTED_AT) == 700)
        #expect(bench.probe.read(RM.INTR_STATE) == 1)
    }

    @Test func aCommitTakesWhatIsStagedNowAndAppliesItAtItsCycle() {
        let bench = Bench()
        bench.probe.write(RM.INTR_ENABLE, 1)
        bench.stage(1, guarantee: 400)
        let result = bench.commit(at: 5000)
        #expect(result.isPending && result.reason == RM.Reason.none)
        bench.stage(1, guarantee: 999)
        #expect(bench.commit(at: 9000).reason == .busy)
        bench.scheduler.advance(to: 4999)
        #expect(bench.sink.tables.count == 1 && !bench.manager.interrupt.level)
        bench.scheduler.advance(to: 5000)
        #expect(bench.manager.interrupt.level)
        #expect(bench.sink.tables.last?.cycle == 5000 && bench.sink.tables.last?.table[1].guarantee == 400)
        #expect(bench.probe.read(RM.COMMITTED_AT) == 5000)
        #expect(!RM.RESULT.pending.isSet(in: bench.probe.read(RM.RESULT)))

        bench.commit(at: 8000)
        bench.probe.write(RM.COMMAND, 4)
        bench.scheduler.advance(to: 10_000)
        #expect(bench.sink.tables.count == 2, "a cancelled commit never takes effect")
        #expect(bench.commit(at: 1).reason == RM.Reason.none, "and doesn't block the next; a cycle that has passed means now")
        #expect(bench.sink.tables.last?.table[1].guarantee == 999)
    }

    @Test func revertBringsTheActiveTablesBack() {
        let bench = Bench()
        bench.stage(3, guarantee: 10, weight: 5, limit: 1000, cores: 1)
        bench.stageRegion(7, owner: 3, first: 4, blocks: 2)
        bench.commit()
        bench.stage(3, guarantee: 900)
        bench.stageRegion(7, owner: 9, first: 0, blocks: 200)
        bench.probe.write(RM.COMMAND, 2)
        #expect(bench.probe.read(RM.STAGED_BANDWIDTH, 3) == 10 | 5 << 16)
        #expect(bench.probe.read(RM.STAGED_LIMIT, 3) == 1000)
        #expect(bench.probe.read(RM.STAGED_SLOTS, 3) == 1)
        #expect(bench.probe.read(RM.STAGED_REGION, 7) == 3 | 4 << 8 | 2 << 20)
    }

    @Test func aResetLeavesNothingPartitioned() {
        let bench = Bench()
        bench.stage(3, guarantee: 10)
        bench.stageRegion(0, owner: 3, first: 0, blocks: 1)
        bench.commit()
        bench.commit(at: 1000)
        bench.manager.reset(.hard)
        bench.scheduler.advance(to: 2000)
        #expect(bench.sink.tables.last?.table == [Partition](repeating: Partition(), count: 65))
        #expect(bench.probe.read(RM.GENERATION) == 0)
        #expect(bench.probe.read(RM.CAPACITY) == 8 | 4 << 8 | 2 << 16)
        #expect(bench.probe.read(RM.MEMORY_CAPACITY) == 256 | 16 << 16 && bench.probe.read(RM.LINK_CAPACITY) == 30_000)
        #expect(bench.manager.permits(.host, offset: 0, count: 1, at: 0))
    }
}

@Suite struct ResourceManagerRejections {
    /// Each broken rule is named, with the owner and region that break it, and nothing changes.
    @Test(arguments: [
        ("guarantee", RM.Reason.guarantee, 5, 0), ("weight", .weight, 9, 0), ("limit", .limit, 6, 0), ("cores", .cores, 64, 0),
        ("gpu", .gpu, 2, 0), ("fpga", .fpga, 0, 0), ("owner", .owner, 65, 3), ("range", .range, 4, 4), ("overlap", .overlap, 255, 12),
        ("floor guarantee", .floor, 11, 0), ("floor cores", .floor, 12, 0), ("floor blocks", .floor, 13, 0),
    ] as [(String, RM.Reason, UInt64, UInt64)])
    func aBrokenRuleIsNamed(_ rule: String, _ reason: RM.Reason, _ owner: UInt64, _ region: UInt64) {
        let bench = Bench()
        bench.probe.write(RM.INTR_ENABLE, 2)
        switch rule {
        case "guarantee":
            bench.stage(1, guarantee: 600); bench.stage(3, guarantee: 400); bench.stage(5, guarantee: 1); bench.stage(6, guarantee: 1)
        case "weight": bench.stage(9, weight: 0)
        case "limit": bench.stage(6, guarantee: 500, limit: 14_999)
        case "cores": bench.stage(1, cores: 4); bench.stage(2, cores: 4); bench.stage(64, cores: 1)
        case "gpu": bench.stage(2, gpu: 5)
        case "fpga": bench.stage(0, fpga: 3)
        case "owner": bench.stageRegion(3, owner: 65, first: 0, blocks: 1)
        case "range": bench.stageRegion(4, owner: 4, first: 255, blocks: 2)
        case "overlap": bench.stageRegion(2, owner: 1, first: 10, blocks: 10); bench.stageRegion(12, owner: 255, first: 19, blocks: 1)
        case "floor guarantee": bench.probe.write(RM.FLOOR, 11, 20); bench.stage(11, guarantee: 19)
        case "floor cores": bench.probe.write(RM.FLOOR, 12, 2 << 12); bench.stage(12, cores: 1)
        default: bench.probe.write(RM.FLOOR, 13, 3 << 20); bench.stageRegion(1, owner: 13, first: 0, blocks: 2)
        }
        let result = bench.commit(at: rule.count.isMultiple(of: 2) ? 0 : 100)
        #expect(result.reason == reason && result.owner == owner && result.region == region && !result.isPending)
        #expect(bench.manager.interrupt.level)
        bench.scheduler.advance(to: 1000)
        #expect(bench.sink.tables.count == 1 && bench.probe.read(RM.GENERATION) == 0)
    }

    @Test func theLimitsThemselvesAreAccepted() {
        let bench = Bench()
        bench.stage(1, guarantee: 500, limit: 15_000, cores: 8, gpu: 4)
        bench.stage(2, guarantee: 500, fpga: 2)
        bench.stageRegion(0, owner: 1, first: 0, blocks: 128)
        bench.stageRegion(127, owner: 2, first: 128, blocks: 128)
        bench.stageRegion(5, owner: 99, first: 0, blocks: 0)
        bench.probe.write(RM.FLOOR, 1, 500 | 8 << 12 | 128 << 20)
        #expect(bench.commit().reason == RM.Reason.none)
    }

    /// Whatever random tables are committed, no sink ever sees more than there is.
    @Test(arguments: [11, 12, 13] as [UInt64]) func noSinkEverSeesMoreThanThereIs(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let bench = Bench()
        var accepted = 0
        for step in 0..<400 {
            for _ in 0..<(1 + random.next() % 3) {
                bench.stage(
                    Int(random.next() % 65), guarantee: random.next() % 2 * (random.next() % 200), weight: random.next() % 20,
                    limit: random.next() % 2 * 30_000, cores: random.next() % 4 / 3 * 2)
            }
            if bench.commit(at: UInt64(step) * 10 + random.next() % 20).reason == RM.Reason.none {
                accepted += 1
            } else {
                bench.probe.write(RM.COMMAND, 2)
            }
            bench.scheduler.advance(to: UInt64(step) * 10)
        }
        for (table, _) in bench.sink.tables {
            #expect(table.reduce(0) { $0 + Int($1.guarantee) } <= 1000, "seed \(seed)")
            #expect(table.reduce(0) { $0 + Int($1.serviceCores) } <= 8, "seed \(seed)")
            #expect(table.allSatisfy { $0.weight > 0 })
        }
        #expect(accepted > 50 && accepted < 400, "seed \(seed): the test needs both outcomes")
    }
}

@Suite struct MemoryIsolation {
    /// VM 1 has blocks 0 and 1, VM 2 block 2, the device block 3; the rest is nobody's.
    private func bench() -> Bench {
        let bench = Bench()
        bench.stageRegion(0, owner: 1, first: 0, blocks: 2)
        bench.stageRegion(1, owner: 2, first: 2, blocks: 1)
        bench.stageRegion(2, owner: 255, first: 3, blocks: 1)
        bench.commit()
        // Until all that has changed hands is cleared.
        bench.scheduler.advance(to: 100_000)
        bench.probe.write(RM.INTR_STATE, 15)
        return bench
    }

    @Test(arguments: [
        (1, 0, 0x20000, true), (1, 0x1ffff, 1, true), (1, 0x1ffff, 2, false), (1, 0x20000, 1, false), (2, 0x20000, 0x10000, true),
        (2, 0x1ffff, 1, false), (0, 0, 1, false), (0, 0x30000, 1, false), (0, 0x40000, 0x1000, true), (1, 0x40000, 1, false),
        (255, 0, 0x40000, true), (0, 0xff_ffff, 1, true), (0, 0xff_ffff, 2, true), (1, 0xff_ffff, 2, false), (3, 0, 0, true),
    ] as [(UInt8, UInt64, UInt64, Bool)])
    func onlyTheHolderOfEveryBlockMayPass(_ owner: UInt8, _ offset: UInt64, _ count: UInt64, _ isAllowed: Bool) {
        let bench = bench()
        #expect(bench.manager.permits(Owner(rawValue: owner), offset: offset, count: count, at: 5) == isAllowed)
        #expect(bench.probe.read(RM.DENIED) == (isAllowed ? 0 : 1))
    }

    @Test func aDenialIsCountedAndTold() {
        let bench = bench()
        bench.probe.write(RM.INTR_ENABLE, 4)
        #expect(!bench.manager.permits(.virtualMachine(1), offset: 0x1fff0, count: 32, at: 5))
        #expect(!bench.manager.permits(.virtualMachine(1), offset: .max, count: .max, at: 6))
        #expect(!bench.manager.permits(.host, offset: 0x8000, count: 1, at: 7))
        #expect(bench.manager.interrupt.level)
        #expect(bench.probe.read(RM.DENIED) == 3)
        #expect(bench.probe.read(RM.ACTIVE_DENIED, 1) == 2 && bench.probe.read(RM.ACTIVE_DENIED, 0) == 1)
        #expect(bench.probe.read(RM.DENIED_OWNER) == 0 | 1 << 8)
        #expect(bench.probe.read(RM.DENIED_ADDRESS) == 0x8000)
    }

    @Test func ownershipChangesWithTheCommitAndNotBefore() {
        let bench = bench()
        bench.stageRegion(1, owner: 1, first: 2, blocks: 1)
        bench.commit(at: 100_500)
        bench.scheduler.advance(to: 100_499)
        #expect(bench.manager.permits(.virtualMachine(2), offset: 0x20000, count: 1, at: 100_499))
        bench.scheduler.advance(to: 100_500)
        #expect(!bench.manager.permits(.virtualMachine(2), offset: 0x20000, count: 1, at: 100_500))
        #expect(!bench.manager.permits(.virtualMachine(1), offset: 0, count: 0x30000, at: 100_500), "it isn't clear yet")
        #expect(bench.manager.permits(.virtualMachine(1), offset: 0, count: 0x20000, at: 100_500))
        bench.scheduler.advance(to: 100_500 + 4096)
        #expect(bench.manager.permits(.virtualMachine(1), offset: 0, count: 0x30000, at: 104_596))
    }

    /// What changes hands is cleared before anybody else sees it, in whichever way it goes; what stays with its holder stays as it is.
    @Test func whatChangesHandsIsCleared() {
        let bench = bench()
        let memory = Memory(bytes: 256 << 16)
        bench.manager.connect(memory, at: 0x4000_0000)
        for block in 0..<8 { memory.bytes[block << 16 + 77] = 1 }
        // Block 0 goes to nobody, 1 stays, 2 goes to VM 3, 3 from the device to VM 3, 4 and 5 from nobody to the host and the device.
        bench.stageRegion(0, owner: 1, first: 1, blocks: 1)
        bench.stageRegion(1, owner: 3, first: 2, blocks: 2)
        bench.stageRegion(2, owner: 0, first: 4, blocks: 1)
        bench.stageRegion(3, owner: 255, first: 5, blocks: 1)
        bench.probe.write(RM.INTR_ENABLE, 8)
        bench.commit()
        #expect(bench.probe.read(RM.CLEARING) == 3)
        #expect(bench.sink.tables.last!.table[3].memory == 0 && bench.sink.tables.last!.table[1].memory == 0x10000)
        for owner in [0, 3] as [UInt8] {
            for block in [0, 2, 3] as [UInt64] {
                #expect(!bench.manager.permits(Owner(rawValue: owner), offset: block << 16 + 77, count: 1, at: 0), "block \(block)")
            }
        }
        #expect(bench.manager.permits(.device, offset: 0, count: 0x4_0000, at: 0))
        bench.scheduler.advance(to: 100_000 + 3 * 4096 - 1)
        #expect(bench.probe.read(RM.CLEARING) == 1 && !bench.manager.interrupt.level)
        bench.scheduler.advance(to: 100_000 + 3 * 4096)
        #expect(bench.probe.read(RM.CLEARING) == 0 && bench.manager.interrupt.level)
        #expect((0..<8).map { memory.bytes[$0 << 16 + 77] } == [0, 1, 0, 0, 1, 1, 1, 1])
        #expect(bench.sink.tables.last!.table[3].memory == 0x20000)
        #expect(bench.manager.permits(.virtualMachine(3), offset: 0x2_0000, count: 0x2_0000, at: 0))
        #expect(bench.manager.permits(.host, offset: 77, count: 1, at: 0))
    }
}
