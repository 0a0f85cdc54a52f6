import AdminProtocol
import OffloadDevice
import PCIExpress
import RegisterMaps
import Registers
import Simulation
import Synchronization
import Testing
import Tracing

/// Collects events while a machine runs.
private final class Events: Sendable {
    private let events = Mutex<[TraceEvent]>([])

    init(of machine: Machine) {
        machine.onEvent { [self] event in events.withLock { $0.append(event) } }
    }

    /// All but accesses, so far.
    func take() -> [TraceEvent] {
        events.withLock { events in
            defer { events.removeAll() }
            return events.filter { if case .access = $0 { false } else { true } }
        }
    }
}

private func wire(_ name: String) throws -> UInt16 { UInt16(try #require(TraceNames.device.wires.firstIndex(of: name))) }

@Suite struct TraceEventTests {
    @Test func everyLegOfAnInterruptsWayIsTold() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let events = Events(of: machine)
        var program = TestProgram()
        // The handler, which makes the source quiet.
        program.load(.a0, TestProgram.base + 4 * 64)
        program.writeCSR(0x305, .a0)
        // The watchdog's source, of priority 1, to hart 0.
        program.poke(try address("PLIC.PRIORITY[1]"), 1)
        program.poke(try address("PLIC.ENABLE[0]"), 1 << 2)
        program.load(.a1, 1 << 11)
        program.writeCSR(0x304, .a1)
        program.load(.a1, 8)
        program.writeCSR(0x300, .a1)
        program.poke(try address("WDT.INTR_ENABLE"), 1)
        program.poke(try address("WDT.INTR_TEST"), 1)
        let interrupted = program.here
        while program.words.count < 64 { program.add(.zero, .zero, 0) }
        program.poke(try address("WDT.INTR_STATE"), 1)
        let loop = program.here
        program.jump(to: loop)
        try machine.loadFirmware(program.elf)
        machine.advance(by: 10_000)

        let interrupts = events.take().compactMap { if case .interrupt(let event) = $0 { event } else { nil } }
        let (source, pin) = (try wire("PLIC.WDT"), try wire("hart0.external"))
        let expected: [InterruptEvent.Step] = [
            .line(source, level: true), .line(pin, level: true),
            .trap(hart: 0, cause: 1 << 31 | 11, pc: interrupted, handler: TestProgram.base + 256),
            // The PLIC's request stays until it is claimed.
            .line(source, level: false),
        ]
        #expect(interrupts.map(\.step) == expected)
        let initiators: [Initiator] = [.device, .device, .hart(0), .device]
        #expect(interrupts.map(\.initiator) == initiators)
        #expect(zip(interrupts, interrupts.dropFirst()).allSatisfy { $0.time <= $1.time })
    }

    @Test func aBusErrorIsAFaultAndATrap() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let events = Events(of: machine)
        var program = TestProgram()
        program.load(.a0, TestProgram.base + 4 * 16)
        program.writeCSR(0x305, .a0)
        program.load(.a1, 0x2000_0000)
        let pc = program.here
        program.read(.a2, .a1, 4)
        while program.words.count < 16 { program.add(.zero, .zero, 0) }
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 10_000)
        let seen = events.take()
        try #require(seen.count == 2)
        let time = seen[0].time
        #expect(seen[0] == .fault(FaultEvent(
            time: time, kind: .bus, initiator: .hart(0), address: 0x2000_0004, origin: pc, name: "load access")))
        #expect(seen[1] == .interrupt(InterruptEvent(
            time: time, step: .trap(hart: 0, cause: 5, pc: pc, handler: TestProgram.base + 64))))
    }

    @Test func aRequestIsToldFromDoorbellToMessage() throws {
        let machine = try Machine(.small, pace: .lockstep)
        var driver = BlockDriver(machine, function: 1, offset: 0)
        let events = Events(of: machine)
        #expect(driver.request(type: 0, sector: 8, count: 4096) == 0)
        machine.onEvent(nil)
        let seen = events.take()
        #expect(seen.allSatisfy { $0.initiator == .dma(function: 1) })
        let steps = seen.compactMap { if case .queue(let event) = $0 { event } else { nil } }
        let expected: [QueueEvent.Step] = [.doorbell, .taken, .completed, .notified]
        #expect(steps.map(\.step) == expected)
        #expect(steps.map(\.depth) == [0, 1, 0, 0])
        let bytes: [UInt32] = [0, 16 + 4096 + 1, 4096 + 1, 0]
        #expect(steps.map(\.bytes) == bytes)
        #expect(steps.allSatisfy { $0.function == 1 && $0.queue == 0 && $0.head == 0 })
        #expect(steps[1].time < steps[2].time, "a request takes its time")
        let transfers = seen.compactMap { if case .dma(let event) = $0 { event } else { nil } }
        #expect(transfers.allSatisfy { $0.status == .ok && $0.function == 1 })
        // Header, payload, status.
        for (isWrite, place, bytes) in [(false, 0x1000, 16), (true, 0x2000, 4096), (true, 0x1100, 1)] as [(Bool, UInt64, UInt32)] {
            let count = transfers.count { $0.isWrite == isWrite && $0.address == Device.hostMemoryBase + place && $0.bytes == bytes }
            #expect(count == 1, "\(place)")
        }
        // Without MSI-X there is INTx, which a virtual function has not.
        #expect(!seen.contains { if case .interrupt = $0 { true } else { false } })
    }

    @Test func messagesToTheHostHaveTheirVector() throws {
        let machine = try Machine(.small, pace: .lockstep)
        // Bus mastering, MSI-X enabled, vector 2 not masked.
        _ = withUnsafeBytes(of: UInt16(6).littleEndian) { machine.writeConfiguration(function: 0, offset: 4, $0) }
        let capability = machine.inspect { device in
            let function = device.hierarchy.physicalFunction
            var place = Int(function.readConfiguration(0x34, size: 1))
            while place != 0, function.readConfiguration(place, size: 1) != 0x11 {
                place = Int(function.readConfiguration(place + 1, size: 1))
            }
            return place
        }
        _ = withUnsafeBytes(of: UInt16(0x8000).littleEndian) { machine.writeConfiguration(function: 0, offset: capability + 2, $0) }
        machine.write(0, 4, 16 * 2 + 12, 0)
        let events = Events(of: machine)
        _ = machine.perform(.interrupt(vector: 2, function: 0))
        let steps: [InterruptEvent.Step] = events.take().compactMap { if case .interrupt(let event) = $0 { event.step } else { nil } }
        #expect(steps == [.message(function: 0, vector: 2, level: true)])
    }

    @Test func faultsSayWhatWentWrong() throws {
        let machine = try Machine(.small, pace: .lockstep)
        var driver = BlockDriver(machine, function: 2, offset: 0)
        let events = Events(of: machine)
        func faults() -> [FaultEvent] { events.take().compactMap { if case .fault(let event) = $0 { event } else { nil } } }

        // An access that nothing answers.
        _ = machine.readBAR(function: 0, bar: 0, offset: 0xfff0, size: 4, origin: 7)
        #expect(faults().map { "\($0.kind) \($0.initiator) \($0.name)" } == ["aer dma0 unsupportedRequest"])

        // A ring that runs ahead.
        machine.hostMemory.bytes.storeBytes(of: 1000, toByteOffset: 0x402, as: UInt16.self)
        machine.write(2, 0, 0x3000, 0, 2)
        let broken = faults()
        #expect(broken.map { "\($0.kind) \($0.initiator) \($0.origin)" } == ["queue dma2 0"])
        #expect(broken.first?.name.contains("available index 1000") == true)

        // A buffer that reaches beyond what is mapped.
        driver = BlockDriver(machine, function: 1, offset: 0x10000)
        _ = events.take()
        driver.submit(type: 0, sector: 0, count: 1 << 20)
        let unmapped = Device.hostMemoryBase + 0x10_0000
        #expect(faults().map { "\($0.kind) \($0.initiator) \($0.address)" } == ["iommu dma1 \(unmapped)", "queue dma1 0"])
    }

    @Test func theWatchdogsBiteAndMemoryErrorsAreFaults() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let events = Events(of: machine)
        var program = TestProgram()
        program.poke(try address("WDT.UNLOCK"), 0x1acc_e551)
        program.poke(try address("WDT.BITE"), 5)
        program.poke(try address("WDT.CTRL"), 3)
        program.load(.a0, TestProgram.base + 0x1000)
        program.read(.a1, .a0)
        let loop = program.here
        program.jump(to: loop)
        try machine.loadFirmware(program.elf)
        try machine.injectMemoryError(at: UInt64(TestProgram.base) + 0x1000, isCorrectable: true)
        machine.advance(by: 7_000)
        let faults = events.take().compactMap { if case .fault(let event) = $0 { event } else { nil } }
        // After that the program starts anew.
        #expect(faults.prefix(2).map { "\($0.kind) \($0.initiator) \($0.address) \($0.name)" } == [
            "ecc hart0 \(TestProgram.base + 0x1000) corrected", "watchdog device 0 bite",
        ])
    }

    @Test func linesThatTheFirmwarePrintsAreTold() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let events = Events(of: machine)
        var program = TestProgram()
        program.poke(try address("UART.IIR_FCR"), 7)
        program.print("one\r\n\u{1b}[2\nrest")
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 200_000)
        let lines = events.take().compactMap { if case .log(let event) = $0 { event.content } else { nil } }
        #expect(lines == [.line("one"), .line("\u{1b}[2")])
    }

    @Test(.enabled(if: FirmwareRig.isBuilt)) func theFirmwaresOwnRecordsAreToldAsItWritesThem() throws {
        let rig = try FirmwareRig()
        let events = Events(of: rig.machine)
        rig.bringUp()
        rig.send(AdminCommand(.identify))
        let records = events.take().compactMap { event -> (UInt64, UInt16, [UInt32])? in
            guard case .log(let event) = event, case .record(let kind, let arguments) = event.content else { return nil }
            return (event.time, kind, arguments)
        }
        let count = UInt64(try rig.symbol("offload_trace").address) + 12
        let written = try #require(rig.machine.inspect { $0.peek(.firmware, count, size: 4) })
        #expect(records.count == written && written >= 2)
        #expect(records.allSatisfy { $0.2.count == 2 })
        #expect(zip(records, records.dropFirst()).allSatisfy { $0.0 <= $1.0 })
    }

    @Test(.enabled(if: FirmwareRig.isBuilt), arguments: 1...20 as ClosedRange<UInt64>)
    func aRingThatHasGoneWildDoesNoHarm(seed: UInt64) throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        let events = Events(of: rig.machine)
        let ring = UInt64(try rig.symbol("offload_trace").address)
        var random = SplitMix64(seed: seed)
        for _ in 0..<20 {
            // Magic, version, capacity, records written: each likely wrong, or nearly right.
            let values: [UInt32] = [0, 1, 2, 3, 511, 512, 513, 1 << 31, .max, 0x6f74_7263, .random(in: 0 ... .max, using: &random)]
            for word in 0..<4 as Range<UInt64> where Bool.random(using: &random) {
                let value = values.randomElement(using: &random) ?? 0
                _ = rig.machine.perform(.debuggerWrite(address: ring + 4 * word, size: 4, value: UInt64(value)))
            }
            rig.machine.advance(by: 30_000)
            // Never more than the ring holds, for each of three rounds and the rest of one.
            let records = events.take().count { event in
                guard case .log(let event) = event, case .record = event.content else { return false }
                return true
            }
            #expect(records <= 4 * 512, "seed \(seed)")
        }
    }

    @Test func recordingChangesNothing() throws {
        func run(recording: Bool) throws -> (now: UInt64, memory: [UInt8]) {
            let machine = try Machine(.small, pace: .lockstep)
            if recording { machine.onEvent { _ in } }
            var driver = BlockDriver(machine, function: 1, offset: 0)
            for sector in 0..<20 as Range<UInt64> { #expect(driver.request(type: UInt32(sector % 2), sector: sector, count: 512) == 0) }
            return (machine.now, Array(machine.hostMemory.bytes[..<0x8000]))
        }
        let (alone, recorded) = (try run(recording: false), try run(recording: true))
        #expect(alone.now == recorded.now && alone.memory == recorded.memory)
    }

    @Test func everyClassOfEventCountsInTheDigest() throws {
        func digest(_ change: (Machine) -> Void) throws -> UInt64? {
            let machine = try Machine(.small, pace: .lockstep)
            machine.startDigest()
            change(machine)
            return machine.digest
        }
        // Neither is a register access.
        let nothing = try digest { _ in }
        let fault = try digest { _ = $0.perform(.uncorrectableError(.malformedTLP, function: 0)) }
        let other = try digest { _ = $0.perform(.uncorrectableError(.ecrc, function: 0)) }
        #expect(nothing != fault && fault != other)
    }
}
