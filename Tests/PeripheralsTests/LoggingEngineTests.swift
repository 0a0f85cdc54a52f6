import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

/// Shared memory as the engine sees it: bytes from 0x4000_0000.
private final class SharedMemory: DMAPort {
    static let range: Range<UInt64> = 0x4000_0000..<0x4010_0000
    var bytes = [UInt8](repeating: 0, count: range.count)
    var isRefusing = false
    /// Is told of the writes, as a real port tells its observers.
    weak var observer: (any DMAObserver)?

    func read(_ address: UInt64, into target: UnsafeMutableRawBufferPointer) -> BusStatus {
        let start = Int(address - Self.range.lowerBound)
        bytes.withUnsafeBytes { target.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<(start + target.count)])) }
        return .ok
    }

    func write(_ address: UInt64, from source: UnsafeRawBufferPointer) -> BusStatus {
        guard !isRefusing else { return .denied }
        bytes.replaceSubrange(Int(address - Self.range.lowerBound)..<(Int(address - Self.range.lowerBound) + source.count), with: source)
        observer?.memoryWritten(owner: .host, address: address, bytes: source.count, at: 0)
        return .ok
    }

    func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? { nil }
    func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus { .ok }
    func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool { read(address, into: bytes) == .ok }
    func wrote(_ address: UInt64, count: Int) {}

    func number(_ address: UInt64, _ size: Int) -> UInt64 {
        (0..<size).reduce(0) { $0 | UInt64(bytes[Int(address - Self.range.lowerBound) + $1]) << UInt64(8 * $1) }
    }
}

private struct Record: Equatable {
    var sequence, cycle, address, bytes, writes, owner, flags: UInt64
}

private struct Bench {
    static let region: UInt64 = 0x1_0000_0000
    let scheduler = Scheduler()
    let memory = SharedMemory()
    let engine: LoggingEngine
    let probe: RegisterProbe
    let host: RegisterProbe

    init() {
        engine = LoggingEngine(memory: memory, sharedMemory: SharedMemory.range, on: scheduler)
        memory.observer = engine
        probe = RegisterProbe(target: engine, map: LOG.map, scheduler: scheduler)
        host = RegisterProbe(target: engine.host, map: LOG_HOST.map, scheduler: scheduler, initiator: .host(function: 0))
        probe.write(LOG.FLUSH_INTERVAL, 0)
    }

    func ringBase(_ owner: Int) -> UInt64 { 0x4000_0000 + UInt64(owner) * 0x2000 }

    func start(_ owner: Int, granularity: UInt64 = 100, records: UInt64 = 64, pages: UInt64 = 65536, pageShift: UInt64 = 12) {
        probe.write(LOG.OWNER_RING_BASE, owner, ringBase(owner))
        probe.write(LOG.OWNER_RING_SIZE, owner, records)
        probe.write(LOG.OWNER_REGION_PAGES, owner, pages)
        probe.write(LOG.OWNER_CONTROL, owner, 1 | granularity << 8 | pageShift << 16)
        #expect(probe.read(LOG.OWNER_STATUS, owner) == 1)
    }

    func control(_ owner: Int, _ bits: UInt64, granularity: UInt64 = 100) {
        probe.write(LOG.OWNER_CONTROL, owner, bits | granularity << 8 | 12 << 16)
    }

    func write(_ owner: Int, _ offset: UInt64, _ bytes: Int) {
        engine.memoryWritten(owner: Owner(rawValue: UInt8(owner)), address: Self.region &+ offset, bytes: bytes, at: scheduler.now)
    }

    /// Consumes the records that wait in an owner's ring, as a host program does.
    func harvest(_ owner: Int) -> [Record] {
        let base = host.read(LOG_HOST.OWNER_RING_OFFSET, owner) + 0x4000_0000
        let size = host.read(LOG_HOST.OWNER_RING_SIZE, owner)
        let head = host.read(LOG_HOST.OWNER_HEAD, owner)
        var tail = host.read(LOG_HOST.OWNER_TAIL, owner)
        var records: [Record] = []
        while tail != head {
            let at = base + 32 * (tail % size)
            records.append(Record(
                sequence: memory.number(at, 8), cycle: memory.number(at + 8, 8), address: memory.number(at + 16, 8) - Self.region,
                bytes: memory.number(at + 24, 4), writes: memory.number(at + 28, 2), owner: memory.number(at + 30, 1),
                flags: memory.number(at + 31, 1)))
            tail = (tail + 1) & 0xffff_ffff
        }
        host.write(LOG_HOST.OWNER_TAIL, owner, tail)
        return records
    }

    /// Takes an owner's whole dirty bitmap.
    func dirtyPages(_ owner: Int, through probe: RegisterProbe? = nil) -> Set<UInt64> {
        let probe = probe ?? self.probe
        let isHost = probe.map.name == "LOG_HOST"
        var pages: Set<UInt64> = []
        for chunk in 0..<8 as Range<UInt64> {
            let select = UInt64(owner) | chunk << 8
            if isHost { probe.write(LOG_HOST.BITMAP_SELECT, select) } else { probe.write(LOG.BITMAP_SELECT, select) }
            for word in 0..<256 as Range<UInt64> {
                let bits = probe.word((isHost ? LOG_HOST.map : LOG.map).windows[0].offset + 4 * word)
                for bit in 0..<32 as Range<UInt64> where bits >> bit & 1 != 0 { pages.insert((chunk * 256 + word) * 32 + bit) }
            }
        }
        return pages
    }
}

@Suite struct Extents {
    @Test func adjacentAndOverlappingWritesCoalesce() {
        let bench = Bench()
        bench.start(3)
        bench.scheduler.advance(to: 100)
        bench.write(3, 0x1000, 0x200)
        bench.scheduler.advance(to: 200)
        bench.write(3, 0x1200, 0x100)
        bench.write(3, 0xf00, 0x100)
        bench.write(3, 0x1100, 0x10)
        #expect(bench.harvest(3) == [], "the extent is still open")
        #expect(bench.probe.read(LOG.OWNER_STATUS, 3) == 3)
        bench.write(3, 0x9000, 1)
        #expect(bench.harvest(3) == [Record(sequence: 0, cycle: 100, address: 0xf00, bytes: 0x400, writes: 4, owner: 3, flags: 0)])
        bench.control(3, 3)
        #expect(bench.harvest(3) == [Record(sequence: 1, cycle: 200, address: 0x9000, bytes: 1, writes: 1, owner: 3, flags: 0)])
        #expect(bench.probe.read(LOG.OWNER_WRITTEN, 3) == 0x411 && bench.probe.read(LOG.OWNER_SEQUENCE, 3) == 2)
    }

    @Test(arguments: [
        (100, 1), (99, 4096), (75, 4096), (74, 16384), (50, 16384), (49, 65536), (25, 65536), (24, 1 << 20), (1, 1 << 20), (127, 1),
    ] as [(UInt64, UInt64)])
    func granularityRoundsExtentsOutwards(_ granularity: UInt64, _ unit: UInt64) {
        let bench = Bench()
        bench.start(1, granularity: granularity)
        let (first, count): (UInt64, UInt64) = (5 * unit - 1, 2)
        bench.write(1, first, Int(count))
        bench.control(1, 3, granularity: granularity)
        let start = first / unit * unit
        let end = (first + count + unit - 1) / unit * unit
        #expect(bench.harvest(1) == [Record(sequence: 0, cycle: 0, address: start, bytes: end - start, writes: 1, owner: 1, flags: 0)])
    }

    @Test func granularityZeroRecordsNothingButMarksPages() {
        let bench = Bench()
        bench.start(1, granularity: 0)
        bench.write(1, 0x5000, 8192)
        bench.control(1, 0, granularity: 0)
        #expect(bench.harvest(1) == [])
        #expect(bench.dirtyPages(1) == [5, 6])
    }

    @Test func aChangeOfGranularityClosesTheExtentAtTheOldOne() {
        let bench = Bench()
        bench.start(1)
        bench.write(1, 100, 10)
        bench.control(1, 1, granularity: 80)
        #expect(bench.harvest(1).map(\.bytes) == [10])
        bench.write(1, 100, 10)
        bench.control(1, 1, granularity: 90)
        #expect(bench.harvest(1) == [], "the same unit: the extent stays open")
        bench.control(1, 0)
        #expect(bench.harvest(1).map(\.bytes) == [4096])
    }

    @Test func openExtentsAreFlushedByTime() {
        let bench = Bench()
        bench.probe.write(LOG.FLUSH_INTERVAL, 1000)
        bench.start(1)
        bench.start(2)
        bench.scheduler.advance(to: 100)
        bench.write(1, 0, 10)
        bench.scheduler.advance(to: 600)
        bench.write(2, 0, 10)
        bench.write(1, 10, 10)
        bench.scheduler.advance(to: 1099)
        #expect(bench.harvest(1) == [])
        bench.scheduler.advance(to: 1100)
        #expect(bench.harvest(1).map(\.bytes) == [20] && bench.harvest(2) == [])
        bench.scheduler.advance(to: 1600)
        #expect(bench.harvest(2).map(\.bytes) == [10])
    }

    @Test func onlyRunningLogsRecord() {
        let bench = Bench()
        bench.write(1, 0, 10)
        bench.start(1)
        bench.write(2, 0, 10)
        bench.engine.memoryWritten(owner: .device, address: 0, bytes: 10, at: 0)
        bench.control(1, 2)
        #expect(bench.harvest(1) == [])
        bench.write(1, 0, 10)
        #expect(bench.probe.read(LOG.OWNER_WRITTEN, 1) == 0 && bench.probe.read(LOG.ACTIVE, 0) == 0)
    }

    /// What the records and the bitmap say together equals a byte-by-byte account of random writes, whatever is harvested when.
    @Test(arguments: [21, 22, 23] as [UInt64]) func everyByteWrittenIsInARecordAndInTheBitmap(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let bench = Bench()
        bench.start(5, records: 4096 / 32)
        var truth: Set<UInt64> = []
        var logged: Set<UInt64> = []
        var sequences: [UInt64] = []
        var truePages: Set<UInt64> = []
        var pages: Set<UInt64> = []
        var last: UInt64 = 0
        func take() {
            for record in bench.harvest(5) {
                sequences.append(record.sequence)
                for byte in record.address..<(record.address + record.bytes) { logged.insert(byte) }
            }
        }
        for _ in 0..<2000 {
            let offset = random.next() % 3 == 0 ? random.next() % (1 << 20) : last
            let count = 1 + random.next() % 64
            bench.write(5, offset, Int(count))
            last = offset + count
            for byte in offset..<last { truth.insert(byte); truePages.insert(byte >> 12) }
            if random.next() % 50 == 0 { take() }
            if random.next() % 500 == 0 { pages.formUnion(bench.dirtyPages(5, through: random.next() % 2 == 0 ? bench.host : bench.probe)) }
        }
        bench.host.write(LOG_HOST.FLUSH, 5)
        take()
        pages.formUnion(bench.dirtyPages(5))
        #expect(logged == truth && pages == truePages, "seed \(seed)")
        #expect(sequences == Array(0..<UInt64(sequences.count)), "seed \(seed)")
        #expect(bench.probe.read(LOG.OWNER_LOST, 5) == 0 && bench.probe.read(LOG.OWNER_DIRTY, 5) == 0)
    }
}

@Suite struct Rings {
    @Test func aFullRingLosesRecordsAndNeverPages() {
        let bench = Bench()
        bench.probe.write(LOG.INTR_ENABLE, 2)
        bench.start(2, records: 16)
        for number in 0..<20 as Range<UInt64> { bench.write(2, number * 0x2000, 1) }
        bench.control(2, 3)
        #expect(bench.probe.read(LOG.OWNER_LOST, 2) == 4 && bench.probe.read(LOG.OWNER_HEAD, 2) == 16)
        #expect(bench.engine.interrupt.level && bench.probe.read(LOG.ATTENTION, 0) == 1 << 2)
        #expect(bench.harvest(2).map(\.sequence) == Array(0..<16))
        bench.write(2, 0x100, 1)
        bench.control(2, 3)
        let next = bench.harvest(2)
        #expect(next.map(\.sequence) == [20] && next.map(\.flags) == [1], "it says that some before it are missing")
        #expect(bench.dirtyPages(2) == Set((0..<20).map { $0 * 2 }))
    }

    @Test func theWatermarkIsRaisedWhenEnoughRecordsWait() {
        let bench = Bench()
        bench.probe.write(LOG.INTR_ENABLE, 1)
        bench.probe.write(LOG.OWNER_WATERMARK, 40, 3)
        bench.start(40)
        for number in 0..<3 as Range<UInt64> { bench.write(40, number * 100, 1) }
        #expect(!bench.engine.interrupt.level, "two records stored, one open")
        bench.control(40, 3)
        #expect(bench.engine.interrupt.level && bench.probe.read(LOG.ATTENTION, 1) == 1 << 8)
    }

    @Test func aTailBeyondTheHeadCountsAsTheHead() {
        let bench = Bench()
        bench.start(1, records: 16)
        for number in 0..<5 as Range<UInt64> { bench.write(1, number * 100, 1) }
        bench.probe.write(LOG.OWNER_TAIL, 1, 77)
        #expect(bench.probe.read(LOG.OWNER_TAIL, 1) == 4)
    }

    @Test func theEnginesOwnWritesAreNotLogged() {
        let bench = Bench()
        bench.probe.write(LOG.OWNER_REGION_LO, 0, 0x4000_0000)
        bench.probe.write(LOG.OWNER_REGION_HI, 0, 0)
        bench.start(0, pages: 256)
        bench.start(1)
        for number in 0..<5 as Range<UInt64> { bench.write(1, number * 100, 1) }
        #expect(bench.probe.read(LOG.OWNER_WRITTEN, 0) == 0)
    }

    @Test func memoryThatRefusesStopsTheLog() {
        let bench = Bench()
        bench.start(1)
        bench.write(1, 0, 1)
        bench.memory.isRefusing = true
        bench.write(1, 100, 1)
        #expect(bench.probe.read(LOG.OWNER_STATUS, 1) & 0xff01 == LOG.LogError.store.rawValue << 8)
        #expect(bench.probe.read(LOG.OWNER_HEAD, 1) == 0 && bench.probe.read(LOG.INTR_STATE) == 8)
    }
}

@Suite struct LogConfiguration {
    @Test(arguments: [
        (0x4000_0000, 15, 0, 16, 12, LogErrorCase.size), (0x4000_0000, 0, 0, 16, 12, .size), (0x4000_0000, 131_072, 0, 16, 12, .size),
        (0x4000_0010, 16, 0, 16, 12, .alignment), (0x3fff_ffe0, 16, 0, 16, 12, .range), (0x400f_ff00, 16, 0, 16, 12, .range),
        (0xffff_ffe0, 16, 0, 16, 12, .range), (0x4000_0000, 16, 0, 0, 12, .region), (0x4000_0000, 16, 0, 65_537, 12, .region),
        (0x4000_0000, 16, 0x800, 16, 12, .region), (0x4000_0000, 16, 0, 16, 11, .page), (0x4000_0000, 16, 0, 16, 22, .page),
        (0x4000_0000, 16, 0xffff_ffff_ffff_f000, 2, 12, .region), (0x4000_0000, 16, 0xffff_ffff_ffff_f000, 1, 12, .none),
        (0x4000_8000, 16, 0, 16, 12, .overlap), (0x400f_fe00, 16, 0, 16, 21, .none),
    ] as [(UInt64, UInt64, UInt64, UInt64, UInt64, LogErrorCase)])
    func startChecksEverything(
        _ ring: UInt64, _ records: UInt64, _ region: UInt64, _ pages: UInt64, _ pageShift: UInt64, _ error: LogErrorCase
    ) {
        let bench = Bench()
        bench.start(4, records: 64)
        bench.probe.write(LOG.OWNER_RING_BASE, 1, ring)
        bench.probe.write(LOG.OWNER_RING_SIZE, 1, records)
        bench.probe.write(LOG.OWNER_REGION_LO, 1, region & 0xffff_ffff)
        bench.probe.write(LOG.OWNER_REGION_HI, 1, region >> 32)
        bench.probe.write(LOG.OWNER_REGION_PAGES, 1, pages)
        bench.probe.write(LOG.OWNER_CONTROL, 1, 1 | pageShift << 16)
        #expect(bench.probe.read(LOG.OWNER_STATUS, 1) == (error == .none ? 1 : error.rawValue << 8))
        #expect(bench.probe.read(LOG.OWNER_CONTROL, 1) & 1 == (error == .none ? 1 : 0))
        #expect(bench.probe.read(LOG.ACTIVE, 0) == (error == .none ? 1 << 4 | 1 << 1 : 1 << 4))
    }

    typealias LogErrorCase = LOG.LogError

    @Test func theConfigurationIsLockedWhileTheLogRuns() {
        let bench = Bench()
        bench.start(1)
        bench.probe.write(LOG.OWNER_RING_BASE, 1, 0)
        bench.probe.write(LOG.OWNER_REGION_PAGES, 1, 1)
        bench.probe.write(LOG.OWNER_CONTROL, 1, 1 | 100 << 8 | 20 << 16)
        #expect(bench.probe.read(LOG.OWNER_RING_BASE, 1) == bench.ringBase(1) && bench.probe.read(LOG.OWNER_REGION_PAGES, 1) == 65536)
        #expect(bench.probe.read(LOG.OWNER_CONTROL, 1) == 1 | 100 << 8 | 12 << 16)
    }

    @Test func aNewStartBeginsEmpty() {
        let bench = Bench()
        bench.start(1)
        bench.write(1, 0, 1)
        bench.control(1, 0)
        #expect(bench.probe.read(LOG.OWNER_HEAD, 1) == 1 && bench.probe.read(LOG.OWNER_DIRTY, 1) == 1, "readable after stop")
        bench.start(1)
        #expect(bench.probe.read(LOG.OWNER_HEAD, 1) == 0 && bench.probe.read(LOG.OWNER_DIRTY, 1) == 0)
        bench.engine.reset(.hard)
        #expect(bench.probe.read(LOG.ACTIVE, 0) == 0 && bench.host.read(LOG_HOST.OWNER_STATUS, 1) & 1 == 0)
    }
}

@Suite struct DirtyBitmaps {
    @Test func pagesBeyondTheRegionAreReported() {
        let bench = Bench()
        bench.probe.write(LOG.INTR_ENABLE, 4)
        bench.start(1, pages: 40)
        bench.write(1, 39 * 4096 + 4000, 200)
        #expect(bench.engine.interrupt.level && bench.probe.read(LOG.OWNER_STATUS, 1) == 7)
        #expect(bench.host.read(LOG_HOST.OWNER_STATUS, 1) & 7 == 7)
        bench.probe.write(LOG.BITMAP_SELECT, 1)
        #expect(bench.probe.word(0x8000) == 0)
        #expect(bench.probe.read(LOG.OWNER_STATUS, 1) == 7, "only the last word clears it")
        #expect(bench.probe.word(0x8004) == 1 << 7)
        #expect(bench.probe.read(LOG.OWNER_STATUS, 1) == 3)
        bench.engine.memoryWritten(owner: .virtualMachine(1), address: .max - 3, bytes: 100, at: 0)
        #expect(bench.probe.read(LOG.OWNER_STATUS, 1) & 4 != 0)
    }

    @Test func pageSizesScaleTheBitmap() {
        let bench = Bench()
        bench.start(1, pages: 128, pageShift: 21)
        bench.write(1, 0, 1)
        bench.write(1, (31 << 21) + 5, 70 << 21)
        #expect(bench.probe.read(LOG.OWNER_DIRTY, 1) == 72)
        #expect(bench.dirtyPages(1) == Set([0] + Array(31...101)))
    }

    @Test func aWordIsTakenOnceByWhoeverReadsItFirst() {
        let bench = Bench()
        bench.start(1)
        bench.write(1, 0, 1)
        bench.host.write(LOG_HOST.BITMAP_SELECT, 1)
        bench.probe.write(LOG.BITMAP_SELECT, 1)
        #expect(bench.engine.peek(0x8000, size: 4) == 1 && bench.engine.host.peek(0x1000, size: 4) == 1, "a look takes nothing")
        #expect(bench.host.word(0x1000) == 1)
        #expect(bench.probe.word(0x8000) == 0)
        #expect(bench.probe.status(reading: 0x8000, size: 8) == .wrongSize && bench.probe.status(reading: 0x8002) == .misaligned)
        #expect(bench.probe.status(writing: 0, to: 0x8000) == .readOnly)
        bench.host.write(LOG_HOST.BITMAP_SELECT, 200)
        #expect(bench.host.word(0x1000) == 0, "no such owner")
    }
}
