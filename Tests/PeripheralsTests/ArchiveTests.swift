import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

/// Every block on one scheduler, driven at random.
private final class Board: DMAPort, MemoryErrorSink {
    static let shared: Range<UInt64> = 0x4000_0000..<0x4010_0000

    let scheduler = Scheduler()
    private var bytes = [UInt8](repeating: 0, count: shared.count)
    private let aclint: CoreLocalInterruptor, plic = PlatformInterruptController(), uart: ConsoleUART, watchdog: Watchdog
    private let controller: SystemController, fabric: FabricController, analyzer: WorkloadAnalyzer, manager: ResourceManager
    private let components: VirtualIOController, mailbox: HostMailbox, ecc: ECCMemory
    private var log: LoggingEngine!
    private let links: [Link]
    private let crossbar = Crossbar(.init(hopLatency: 2, cyclesPerMicrosecond: 1000))
    private var blocks: [(target: any BusTarget, map: RegisterMap)] = []

    init() throws {
        aclint = CoreLocalInterruptor(on: scheduler)
        uart = ConsoleUART(on: scheduler)
        watchdog = Watchdog(on: scheduler)
        var identity = SystemController.Identity()
        (identity.harts, identity.sramBytes) = (2, 8192)
        controller = SystemController(identity)
        let rate = Rate(bytesPerMicrosecond: 2000, cyclesPerMicrosecond: 1000)
        links = ["up", "down"].map { [scheduler] in Link(.init(name: $0, rate: rate, latency: 50), on: scheduler) }
        fabric = FabricController(crossbar, deviceToHost: links[0], hostToDevice: links[1], on: scheduler)
        analyzer = WorkloadAnalyzer(on: scheduler)
        components = VirtualIOController(on: scheduler)
        manager = ResourceManager(.init(serviceCores: 8, memoryBlocks: 16, linkBandwidth: 30_000), on: scheduler)
        mailbox = HostMailbox(.init(virtualFunctions: 64, harts: 2, sharedMemory: Self.shared), on: scheduler)
        ecc = ECCMemory(try MemoryPages(name: "test", size: 8192))
        log = LoggingEngine(memory: self, sharedMemory: Self.shared, on: scheduler)
        controller.memory = ecc
        ecc.sink = self
        let wires = [
            uart.interrupt, watchdog.interrupt, fabric.interrupt, analyzer.interrupt, manager.interrupt, components.interrupt,
            mailbox.firmware.interrupt, log.interrupt, controller.interrupt,
        ]
        for (index, wire) in wires.enumerated() { wire.connect(to: plic, input: index + 1) }
        blocks = [
            (aclint, ACLINT.map), (plic, PLIC.map), (uart, UART.map), (watchdog, WDT.map), (controller, SYSCTL.map), (fabric, FABRIC.map),
            (analyzer, WA.map), (manager, RM.map), (components, VIC.map), (components.host, VIC_HOST.map),
            (mailbox.firmware, MAILBOX.map), (mailbox.host, HOSTIF.map),
            (log, LOG.map), (log.host, LOG_HOST.map),
        ]
    }

    func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try scheduler.archive(&archive)
        let models: [any ArchivedModel] = [
            aclint, plic, uart, watchdog, controller, fabric, analyzer, manager, components, mailbox, log, ecc,
        ]
        for model in models { try model.archive(&archive) }
    }

    func save() throws -> [UInt8] {
        var archive = StateArchive()
        try self.archive(&archive)
        return archive.bytes
    }

    func load(_ bytes: [UInt8]) throws {
        var archive = StateArchive(loading: bytes)
        try self.archive(&archive)
        try archive.finish()
    }

    /// Logs of four owners, an analyzer that counts, a watchdog that doesn't bite, a pending commit.
    func configure() {
        func write(_ target: any BusTarget, _ map: RegisterMap, _ register: some RegisterKey, _ element: Int = 0, _ value: UInt64) {
            let address = map.registers[register.index.rawValue].offset(ofElement: element)
            var access = BusAccess(write: value, to: address, size: 4, initiator: .hart(0), time: scheduler.now)
            #expect(target.access(&access) == .ok)
        }
        for owner in 1...4 {
            write(log, LOG.map, LOG.OWNER_REGION_HI, owner, 1)
            write(log, LOG.map, LOG.OWNER_REGION_PAGES, owner, 100)
            write(log, LOG.map, LOG.OWNER_RING_BASE, owner, Self.shared.lowerBound + UInt64(owner) << 12)
            write(log, LOG.map, LOG.OWNER_RING_SIZE, owner, 32)
            write(log, LOG.map, LOG.OWNER_CONTROL, owner, 12 << 16 | UInt64(owner) * 25 << 8 | 1)
        }
        write(log, LOG.map, LOG.FLUSH_INTERVAL, 0, 20_000)
        write(analyzer, WA.map, WA.WINDOW_LENGTH, 0, 50_000)
        write(analyzer, WA.map, WA.CONTROL, 0, 1)
        write(manager, RM.map, RM.COMMIT_AT_LO, 0, 700_000)
        write(manager, RM.map, RM.COMMAND, 0, 1)
    }

    /// Accesses at random, requests and DMA of the data path, and time.
    /// - Returns: a digest of all that was read.
    func run(_ steps: Int, _ random: inout SplitMix64) -> UInt64 {
        var digest: UInt64 = 0
        for _ in 0..<steps {
            let (target, map) = blocks[Int.random(in: 0..<blocks.count, using: &random)]
            let register = map.registers[Int.random(in: 0..<map.registers.count, using: &random)]
            let address = register.offset(ofElement: Int.random(in: 0..<register.count, using: &random))
            let value = UInt64.random(in: 0...0xffff_ffff, using: &random) & UInt64.random(in: 0...0xffff_ffff, using: &random)
            var access = BusAccess(read: address, size: 4, initiator: .hart(0), time: scheduler.now)
            if Bool.random(using: &random) {
                access = BusAccess(write: value, to: address, size: 4, initiator: .hart(0), time: scheduler.now)
            }
            digest = (digest ^ UInt64(target.access(&access).rawValue) ^ access.value) &* 0x100_0000_01b3
            let owner = UInt8.random(in: 0...5, using: &random)
            analyzer.requestArrived(request(owner, &random))
            if Bool.random(using: &random) { analyzer.requestCompleted(request(owner, &random)) }
            log.memoryWritten(
                owner: Owner(rawValue: owner), address: 1 << 32 + UInt64.random(in: 0..<(101 << 12), using: &random),
                bytes: Int.random(in: 1...9000, using: &random), at: scheduler.now)
            if owner == 5 { uart.receive([UInt8.random(in: 0...255, using: &random)]) }
            _ = ecc.plantError(at: UInt64.random(in: 0...8191, using: &random), isCorrectable: true)
            _ = components.doorbellRang(component: Int(owner), queue: 1, at: scheduler.now)
            scheduler.advance(to: scheduler.now &+ UInt64.random(in: 0...3000, using: &random))
        }
        return digest
    }

    private func request(_ owner: UInt8, _ random: inout SplitMix64) -> IORequest {
        IORequest(
            owner: Owner(rawValue: owner), queue: UInt16.random(in: 0...9, using: &random), kind: .write,
            position: UInt64.random(in: 0...1 << 20, using: &random) & ~511, bytes: 4096, arrival: scheduler.now,
            completion: scheduler.now &+ 5000, depth: 1)
    }

    // MARK: What the blocks talk to

    func memoryErrorMet(_ error: MemoryError) {}
    func plantedErrorsChanged(to count: Int) {}
    func read(_ address: UInt64, into target: UnsafeMutableRawBufferPointer) -> BusStatus { .unmapped }
    func write(_ address: UInt64, from source: UnsafeRawBufferPointer) -> BusStatus {
        guard Self.shared.contains(address), UInt64(source.count) <= Self.shared.upperBound - address else { return .unmapped }
        return .ok
    }
    func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? { nil }
    func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus { .ok }
    func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool { read(address, into: bytes) == .ok }
    func wrote(_ address: UInt64, count: Int) {}
}

@Suite struct ArchiveTests {
    @Test(arguments: [1, 2, 3] as [UInt64])
    func blocksGoOnFromWhatWasSaved(_ seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let board = try Board()
        board.configure()
        _ = board.run(2000, &random)
        let saved = try board.save()
        let other = try Board()
        try other.load(saved)
        #expect(try other.save() == saved)
        var again = random
        let digest = board.run(2000, &random)
        #expect(other.run(2000, &again) == digest)
        #expect(try other.save() == board.save())
    }

    /// A load either fails, or what it leaves works on.
    @Test func flippedBitsAreRefusedOrHarmless() throws {
        var random = SplitMix64(seed: 77)
        let board = try Board()
        board.configure()
        _ = board.run(500, &random)
        let saved = try board.save()
        var refused = 0
        for _ in 0..<100 {
            var bytes = saved
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] ^= UInt8(1) << UInt8.random(in: 0...7, using: &random)
            }
            let other = try Board()
            do {
                try other.load(bytes)
                _ = other.run(50, &random)
            } catch is SnapshotError {
                refused += 1
            }
        }
        #expect(refused > 10 && refused < 100)
    }
}
