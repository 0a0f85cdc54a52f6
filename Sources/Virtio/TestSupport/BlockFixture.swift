import Interconnect
import RegisterMaps
import Registers
import Simulation

/// A function's interrupts, counted.
package final class CountedInterrupts: InterruptPort {
    package var isMSIXEnabled = true
    package var vectorCount = 17
    package private(set) var raised: [Int]
    package private(set) var line = false

    package init() {
        raised = Array(repeating: 0, count: 17)
    }

    package func raise(vector: Int) {
        raised[vector] += 1
    }

    package func driveLine(_ level: Bool) {
        line = level
    }
}

/// A block function with nothing around it but memory, links and cores, and a driver that uses its registers as section 3.1.1 says:
/// for tests and benchmarks.
package final class BlockFixture {
    package let scheduler = Scheduler()
    package let memory: FlatMemory
    package let cores: ServicePool
    package let fromHost: Link
    package let toHost: Link
    package let interrupts = CountedInterrupts()
    package let block: BlockDevice
    package let device: VirtioDevice
    package let transport: VirtioPCITransport
    /// One for each queue, in the ring format that was negotiated.
    package private(set) var queues: [any QueueDriver] = []
    /// The same while the rings are split.
    package var drivers: [MockDriver] { queues.map { $0 as! MockDriver } }
    /// What the driver has agreed to.
    package private(set) var features: Features = []

    /// Bytes of memory that each queue has for its rings and the buffers of its requests.
    private let queueBytes: UInt64
    private let bufferBytes: UInt64

    package convenience init(
        _ configuration: BlockConfiguration = BlockConfiguration(), backend: any BlockBackend, observer: (any DataPathObserver)? = nil,
        queueSize: UInt16 = 64, bufferBytes: Int = 1 << 14
    ) {
        let queueBytes = 0x10000 + (UInt64(bufferBytes) + 4096) * UInt64(queueSize)
        self.init(
            configuration, backend: backend, observer: observer, queueSize: queueSize, bufferBytes: UInt64(bufferBytes),
            memory: FlatMemory(count: Int(queueBytes) * configuration.queues))
    }

    /// Models at power-on in the place of another fixture's, with its driver, that driver's memory, and its medium.
    package convenience init(replacing other: BlockFixture) {
        self.init(
            other.block.configuration, backend: other.block.backend, observer: nil,
            queueSize: other.device.configuration.maximumQueueSize, bufferBytes: other.bufferBytes, memory: other.memory)
        queues = other.queues
        features = other.features
    }

    private init(
        _ configuration: BlockConfiguration, backend: any BlockBackend, observer: (any DataPathObserver)?, queueSize: UInt16,
        bufferBytes: UInt64, memory: FlatMemory
    ) {
        let rate = Rate(bytesPerMicrosecond: 24_000, cyclesPerMicrosecond: 1000)
        self.bufferBytes = bufferBytes
        self.memory = memory
        queueBytes = 0x10000 + (bufferBytes + 4096) * UInt64(queueSize)
        cores = ServicePool(.init(name: "cores", cores: 4), on: scheduler)
        fromHost = Link(.init(name: "fromHost", rate: rate, latency: 400), on: scheduler)
        toHost = Link(.init(name: "toHost", rate: rate, latency: 400), on: scheduler)
        block = BlockDevice(
            configuration, backend: backend, path: DataPath(cores: cores, fromHost: fromHost, toHost: toHost, observer: observer))
        device = VirtioDevice(
            .init(component: 1, owner: .virtualMachine(1), maximumQueueSize: queueSize), type: block, dma: memory, on: scheduler)
        transport = VirtioPCITransport(device, interrupts: interrupts)
    }

    // MARK: Registers, as the host accesses them

    @discardableResult
    package func read(_ offset: UInt64, size: Int) -> UInt64 {
        var access = BusAccess(read: offset, size: size, initiator: .host(function: 1), time: scheduler.now)
        return transport.access(&access) == .ok ? access.value : .max
    }

    @discardableResult
    package func write(_ offset: UInt64, _ value: UInt64, size: Int) -> BusStatus {
        var access = BusAccess(write: value, to: offset, size: size, initiator: .host(function: 1), time: scheduler.now)
        return transport.access(&access)
    }

    package var status: DeviceStatus {
        get { DeviceStatus(rawValue: UInt8(truncatingIfNeeded: read(0x14, size: 1))) }
        set { write(0x14, UInt64(newValue.rawValue), size: 1) }
    }

    package var offered: Features {
        write(0x00, 0, size: 4)
        let low = read(0x04, size: 4)
        write(0x00, 1, size: 4)
        return Features(rawValue: low | read(0x04, size: 4) << 32)
    }

    /// Steps 1 to 6 of section 3.1.1; true if the device accepts.
    package func negotiate(_ wanted: Features) -> Bool {
        status = []
        status = .acknowledge
        status = [.acknowledge, .driver]
        features = wanted
        for word: UInt64 in 0..<2 {
            write(0x08, word, size: 4)
            write(0x0c, wanted.rawValue >> (32 * word) & 0xffff_ffff, size: 4)
        }
        status = [.acknowledge, .driver, .featuresOK]
        return status.contains(.featuresOK)
    }

    /// Step 7: queues with their vectors (queue q: q + 1), and step 8: DRIVER_OK.
    package func start() {
        write(0x10, 0, size: 2)
        queues = (0..<device.queueCount).map { queue in
            let base = memory.base + queueBytes * UInt64(queue), size = device.configuration.maximumQueueSize
            let usesEventIndex = features.contains(.eventIndex)
            let driver: any QueueDriver = features.contains(.packedRing)
                ? PackedMockDriver(memory: memory, at: base, size: size, usesEventIndex: usesEventIndex)
                : MockDriver(memory: memory, at: base, size: size, usesEventIndex: usesEventIndex)
            enable(queue: queue, driver.layout)
            return driver
        }
        status = [.acknowledge, .driver, .featuresOK, .driverOK]
    }

    package func enable(queue: Int, _ layout: QueueLayout) {
        write(0x16, UInt64(queue), size: 2)
        write(0x18, UInt64(layout.size), size: 2)
        write(0x1a, UInt64(queue + 1), size: 2)
        for (offset, address): (UInt64, UInt64) in [(0x20, layout.descriptorArea), (0x28, layout.driverArea), (0x30, layout.deviceArea)] {
            write(offset, address & 0xffff_ffff, size: 4)
            write(offset + 4, address >> 32, size: 4)
        }
        write(0x1c, 1, size: 2)
    }

    /// With split rings and completions in any order, if nothing else is wanted.
    package func bringUp(_ wanted: Features? = nil) {
        let accepted = negotiate(wanted ?? offered.subtracting([.notificationData, .ringReset, .packedRing, .inOrder]))
        precondition(accepted, "the device refuses its own features")
        start()
    }

    package func notify(queue: Int = 0) {
        if features.contains(.notificationData) {
            write(0x3000 + 4 * UInt64(queue), UInt64(queue) | UInt64(queues[queue].notificationData) << 16, size: 4)
        } else {
            write(0x3000 + 4 * UInt64(queue), UInt64(queue), size: 2)
        }
    }

    /// Saves or replaces all state but the driver's.
    package func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try scheduler.archive(&archive)
        try cores.archive(&archive)
        try fromHost.archive(&archive)
        try toHost.archive(&archive)
        try device.archive(&archive)
        try transport.archive(&archive)
    }

    // MARK: Requests

    /// Where the buffers of request `tag` lie: a page for header and status, then its data.
    package func buffer(_ tag: Int, queue: Int = 0) -> UInt64 {
        queues[queue].buffers + UInt64(tag) * (bufferBytes + 4096)
    }

    package func data(_ tag: Int, queue: Int = 0) -> UInt64 { buffer(tag, queue: queue) + 4096 }

    package func statusByte(_ tag: Int, queue: Int = 0) -> UInt8 { memory.load(buffer(tag, queue: queue) + 16, as: UInt8.self) }

    /// Makes a request available in the buffers of `tag`, its data in `pieces` equal buffers; the head, or nil if the queue is full.
    @discardableResult
    package func submit(
        type: UInt32, sector: UInt64 = 0, bytes: Int = 0, tag: Int = 0, queue: Int = 0, pieces: Int = 1, isIndirect: Bool = false
    ) -> UInt16? {
        let header = buffer(tag, queue: queue)
        memory.store(type, at: header)
        memory.store(UInt32(0), at: header + 4)
        memory.store(sector, at: header + 8)
        memory.store(UInt8(0xff), at: header + 16)
        var segments = [Segment(address: header, length: 16, isWritable: false)]
        for piece in 0..<pieces where bytes > 0 {
            let address = data(tag, queue: queue) + UInt64(bytes / pieces * piece)
            segments.append(Segment(address: address, length: UInt32(bytes / pieces), isWritable: type == 0 || type == 8))
        }
        segments.append(Segment(address: header + 16, length: 1, isWritable: true))
        return isIndirect ? queues[queue].submitIndirect(segments, table: header + 64) : queues[queue].submit(segments)
    }

    /// Lets device time run until nothing is due any more, at most `limit` cycles.
    package func run(limit: Cycle = 1_000_000_000) {
        let end = scheduler.now + limit
        while scheduler.nextDue <= end { scheduler.advance(to: scheduler.nextDue) }
    }

    /// Submits, notifies, runs to the end: the status byte and what the used element says; nil if no answer came.
    package func perform(
        type: UInt32, sector: UInt64 = 0, bytes: Int = 0, tag: Int = 0, queue: Int = 0, pieces: Int = 1, isIndirect: Bool = false
    ) -> (status: UInt8, written: UInt32)? {
        let head = submit(type: type, sector: sector, bytes: bytes, tag: tag, queue: queue, pieces: pieces, isIndirect: isIndirect)
        notify(queue: queue)
        run()
        guard let used = queues[queue].reap(), used.head == head else { return nil }
        return (statusByte(tag, queue: queue), used.written)
    }
}
