import Registers
import Simulation
import Testing
import Virtio

/// The legacy interface of a transitional device, as drivers from before virtio 1.0 use it: virtio 1.2 section 4.1.4.10.
@Suite("4.1.4.10 Legacy interface")
struct LegacyTests {
    private let fixture: NetworkFixture
    private let legacy: VirtioLegacyTransport

    init() {
        fixture = NetworkFixture(backend: LoopBack(), queueSize: 64)
        fixture.interrupts.isMSIXEnabled = false
        legacy = VirtioLegacyTransport(beside: fixture.transport)
    }

    private func read(_ offset: UInt64, size: Int) -> UInt64 {
        var access = BusAccess(read: offset, size: size, initiator: .host(function: 65), time: fixture.scheduler.now)
        return legacy.access(&access) == .ok ? access.value : .max
    }

    @discardableResult
    private func write(_ offset: UInt64, _ value: UInt64, size: Int) -> BusStatus {
        var access = BusAccess(write: value, to: offset, size: size, initiator: .host(function: 65), time: fixture.scheduler.now)
        return legacy.access(&access)
    }

    /// A legacy queue in host memory: descriptors, available ring, and the used ring at the next page.
    private func enable(_ queue: Int, at offset: UInt64) -> MockDriver {
        let start = fixture.memory.base + offset
        let driver = MockDriver(memory: fixture.memory, at: start, size: 64, legacyAlignment: 4096)
        // As drivers leave it before the device may look at anything.
        fixture.memory[start, 0x2000] = [UInt8](repeating: 0xab, count: 0x2000)
        write(0x0e, UInt64(queue), size: 2)
        write(0x08, start >> 12, size: 4)
        fixture.memory[start, 0x2000] = [UInt8](repeating: 0, count: 0x2000)
        return driver
    }

    @Test("a driver in the way of ixy: status bits one by one, page numbers, a frame out and in")
    func loop() throws {
        for status: UInt64 in [0, 1, 2] { write(0x12, status, size: 1) }
        let offered = read(0x00, size: 4)
        let needed: UInt64 = 1 << 0 | 1 << 1 | 1 << 17 | 1 << 18 | 1 << 27
        #expect(offered & needed == needed)
        write(0x04, needed, size: 4)
        for queue: UInt64 in 0..<3 {
            write(0x0e, queue, size: 2)
            #expect(read(0x0c, size: 2) == 64)
        }
        write(0x0e, 3, size: 2)
        #expect(read(0x0c, size: 2) == 0 && read(0x08, size: 4) == 0)
        let receive = enable(0, at: 0), transmit = enable(1, at: 0x4000), control = enable(2, at: 0x8000)
        write(0x0e, 1, size: 2)
        #expect(read(0x08, size: 4) == (fixture.memory.base + 0x4000) >> 12)
        write(0x12, 4, size: 1)
        #expect(read(0x12, size: 1) == 7)
        #expect(fixture.device.features.rawValue == needed)

        let buffers = fixture.memory.base + 0x10000
        // Receive buffers of 2058 bytes; only header and frame are written.
        fixture.memory[buffers, 2058] = [UInt8](repeating: 0xcd, count: 2058)
        _ = receive.submit([Segment(address: buffers, length: 2058, isWritable: true)])
        write(0x10, 0, size: 2)
        // Promiscuous mode: class and command, data, answer in one chain.
        let command = buffers + 0x2000
        fixture.memory[command, 4] = [0, 0, 1, 0xff]
        _ = control.submit([
            Segment(address: command, length: 2, isWritable: false), Segment(address: command + 2, length: 1, isWritable: false),
            Segment(address: command + 3, length: 1, isWritable: true),
        ])
        write(0x10, 2, size: 2)
        fixture.run()
        #expect(control.reap()?.written == 1 && fixture.memory[command + 3, 1] == [0])

        let sent = frame(bytes: 64, seed: 9)
        fixture.memory[buffers + 0x1000, 74] = [UInt8](repeating: 0, count: 10) + sent
        _ = transmit.submit([Segment(address: buffers + 0x1000, length: 74, isWritable: false)])
        write(0x10, 1, size: 2)
        fixture.run()
        #expect(transmit.reap()?.written == 0)
        #expect(receive.reap()?.written == 74, "a header of 10 bytes")
        #expect(fixture.memory[buffers + 10, 64] == sent)
        #expect(fixture.memory[buffers + 74, 1984].allSatisfy { $0 == 0xcd })
        // Unused entries of the used rings were not touched.
        #expect(fixture.memory[receive.layout.deviceArea + 12, 64].allSatisfy { $0 == 0 })

        #expect(fixture.interrupts.line)
        #expect(legacy.peek(0x13, size: 1) == 1 && fixture.transport.peek(0x1000, size: 1) == 1)
        #expect(read(0x13, size: 1) == 1 && read(0x13, size: 1) == 0 && !fixture.interrupts.line)
        #expect(fixture.transport.peek(0x1000, size: 1) == 0)

        write(0x12, 0, size: 1)
        #expect(read(0x12, size: 1) == 0 && fixture.status == [] && fixture.device.features.isEmpty)
    }

    @Test("the device configuration moves by the vectors while MSI-X is enabled")
    func configuration() {
        let mac = fixture.network.configuration.mac.octets.map { UInt64($0) }
        #expect((0..<6).map { read(0x14 + $0, size: 1) } == mac)
        #expect(read(0x1a, size: 2) == 1)
        fixture.interrupts.isMSIXEnabled = true
        #expect((0..<6).map { read(0x18 + $0, size: 1) } == mac)
        #expect(read(0x14, size: 2) == 0xffff && read(0x16, size: 2) == 0xffff)
        write(0x14, 0, size: 2)
        write(0x0e, 1, size: 2)
        write(0x16, 2, size: 2)
        #expect(read(0x14, size: 2) == 0 && read(0x16, size: 2) == 2 && legacy.peek(0x16, size: 2) == 2)
        write(0x16, 100, size: 2)
        #expect(read(0x16, size: 2) == 0xffff, "no such vector")
        #expect(write(0x14, 0, size: 4) == .wrongSize)
        // A legacy driver sets its address byte by byte.
        for (place, octet) in [2, 0, 0, 0, 0, 7].enumerated() { write(0x18 + UInt64(place), UInt64(octet), size: 1) }
        #expect(fixture.network.readConfiguration(0, size: 6) == 0x0700_0000_0002)
    }

    @Test("what was not offered is not accepted, and agreed features stay")
    func features() {
        for status: UInt64 in [0, 1, 3] { write(0x12, status, size: 1) }
        write(0x04, 0xffff_ffff, size: 4)
        write(0x12, 7, size: 1)
        #expect(fixture.device.features == fixture.device.legacyFeatures)
        #expect(!fixture.device.features.contains(.version1))
        write(0x04, 0, size: 4)
        #expect(fixture.device.features == fixture.device.legacyFeatures)
        // The modern side shows the same device.
        #expect(fixture.status == [.acknowledge, .driver, .featuresOK, .driverOK])
    }

    @Test("a queue is used before DRIVER_OK, and page 0 takes it out of use")
    func early() {
        for status: UInt64 in [0, 1, 3] { write(0x12, status, size: 1) }
        let transmit = enable(1, at: 0)
        let buffer = fixture.memory.base + 0x10000
        _ = transmit.submit([Segment(address: buffer, length: 74, isWritable: false)])
        write(0x10, 1, size: 2)
        fixture.run()
        #expect(transmit.reap() != nil)
        write(0x08, 0, size: 4)
        _ = transmit.submit([Segment(address: buffer, length: 74, isWritable: false)])
        write(0x10, 1, size: 2)
        fixture.run()
        #expect(transmit.reap() == nil && !fixture.device.state.queues.entries[1].isEnabled)
        #expect(fixture.network.state.counters.transmitted == 1)
    }

    @Test("a modern driver's queues are not touched from here, and a saved state remembers whose they are")
    func both() throws {
        fixture.begin()
        write(0x0e, 0, size: 2)
        write(0x08, 0, size: 4)
        #expect(fixture.device.state.queues.entries[0].isEnabled)
        write(0x12, 0, size: 1)
        for status: UInt64 in [1, 3, 7] { write(0x12, status, size: 1) }
        var saved = StateArchive()
        try fixture.archive(&saved)
        try legacy.archive(&saved)
        write(0x12, 0, size: 1)
        var loaded = StateArchive(loading: saved.bytes)
        try fixture.archive(&loaded)
        try legacy.archive(&loaded)
        try loaded.finish()
        #expect(read(0x12, size: 1) == 7 && fixture.device.isLive)
    }

    @Test("random accesses do no harm", arguments: [51, 52, 53] as [UInt64])
    func garbage(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        for _ in 0..<4000 {
            let size = 1 << Int(random.next() % 3)
            let value = random.next() % 4 == 0 ? random.next() : random.next() % 8
            switch random.next() % 8 {
            case 0...3: write(random.next() % 128, value & (1 << UInt64(8 * size) - 1), size: size)
            case 4: write(0x08, (fixture.memory.base >> 12) + random.next() % 64, size: 4)
            case 5: fixture.interrupts.isMSIXEnabled.toggle()
            case 6: fixture.run(limit: 10_000)
            default: _ = read(random.next() % 128, size: size)
            }
        }
        fixture.interrupts.isMSIXEnabled = false
        fixture.begin()
        fixture.send(frame(seed: 1))
        fixture.notifyTransmit()
        fixture.run()
        #expect(fixture.receive()?.frame == frame(seed: 1), "seed \(seed)")
    }
}
