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

/// The shared hardware around functions of tests: memory, links and cores.
package final class FixtureHardware {
    package let scheduler = Scheduler()
    package let cores: ServicePool
    package let fromHost: Link
    package let toHost: Link

    package init() {
        let rate = Rate(bytesPerMicrosecond: 24_000, cyclesPerMicrosecond: 1000)
        cores = ServicePool(.init(name: "cores", cores: 4), on: scheduler)
        fromHost = Link(.init(name: "fromHost", rate: rate, latency: 400), on: scheduler)
        toHost = Link(.init(name: "toHost", rate: rate, latency: 400), on: scheduler)
    }

    package func path(_ observer: (any DataPathObserver)?) -> DataPath {
        DataPath(cores: cores, fromHost: fromHost, toHost: toHost, observer: observer)
    }
}

/// A function with nothing around it but memory, links and cores, and a driver that uses its registers as section 3.1.1 says: for tests
/// and benchmarks.
package class FunctionFixture {
    package let hardware: FixtureHardware
    package let memory: FlatMemory
    package let interrupts = CountedInterrupts()
    package let device: VirtioDevice
    package let transport: VirtioPCITransport
    /// One for each queue, in the ring format that was negotiated.
    package private(set) var queues: [any QueueDriver] = []
    /// The same of a test that negotiates no packed rings: each is a `MockDriver` then, and one that asks otherwise is mistaken.
    package var drivers: [MockDriver] { queues.map { $0 as! MockDriver } }
    /// What the driver has agreed to.
    package private(set) var features: Features = []

    /// Bytes of memory that each queue has for its rings and buffers.
    package let queueBytes: UInt64

    package var scheduler: Scheduler { hardware.scheduler }
    package var fromHost: Link { hardware.fromHost }
    package var toHost: Link { hardware.toHost }
    package var cores: ServicePool { hardware.cores }

    /// - Parameter memory: nil makes one for all queues.
    init(
        _ type: any DeviceType, number: Int, queueSize: UInt16, queueBytes: UInt64, memory: FlatMemory? = nil,
        polling: VirtioDevice.Polling = .init(), on hardware: FixtureHardware
    ) {
        self.hardware = hardware
        self.queueBytes = queueBytes
        self.memory = memory ?? FlatMemory(count: Int(queueBytes) * type.queueCount)
        device = VirtioDevice(
            .init(component: number, owner: .virtualMachine(number), maximumQueueSize: queueSize, polling: polling), type: type,
            dma: self.memory, on: hardware.scheduler)
        transport = VirtioPCITransport(device, interrupts: interrupts)
    }

    /// A function at power-on in the place of another fixture's, with its driver and that driver's memory.
    init(_ type: any DeviceType, replacing other: FunctionFixture, on hardware: FixtureHardware) {
        self.hardware = hardware
        queueBytes = other.queueBytes
        memory = other.memory
        device = VirtioDevice(other.device.configuration, type: type, dma: memory, on: hardware.scheduler)
        transport = VirtioPCITransport(device, interrupts: interrupts)
        queues = other.queues
        features = other.features
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
        try hardware.scheduler.archive(&archive)
        try hardware.cores.archive(&archive)
        try hardware.fromHost.archive(&archive)
        try hardware.toHost.archive(&archive)
        try device.archive(&archive)
        try transport.archive(&archive)
    }

    /// Lets device time run until nothing is due any more, at most `limit` cycles.
    package func run(limit: Cycle = 1_000_000_000) {
        let end = scheduler.now + limit
        while scheduler.nextDue <= end { scheduler.advance(to: scheduler.nextDue) }
    }
}
