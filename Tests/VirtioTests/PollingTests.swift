import Interconnect
import Simulation
import Testing
import Virtio

/// The device looks at queues by itself, so that their driver need not ring: docs/virtio.md, "Doorbells".
@Suite("Polled queues")
struct PollingTests {
    private static let polling = VirtioDevice.Polling(interval: 1000, patience: 20_000)
    private static let rings: [Features] = [
        [.version1], [.version1, .eventIndex], [.version1, .packedRing], [.version1, .packedRing, .eventIndex],
        [.version1, .inOrder, .eventIndex], [.version1, .packedRing, .inOrder],
    ]

    /// A function whose wire leads back, whose driver has sent one frame and has it back.
    private func begun(_ features: Features, queueSize: UInt16 = 8) -> NetworkFixture {
        let fixture = NetworkFixture(backend: LoopBack(), queueSize: queueSize, polling: Self.polling)
        fixture.begin(features)
        fixture.send(frame(seed: 0))
        fixture.notifyTransmit()
        step(fixture, 10_000)
        #expect(fixture.receive()?.frame == frame(seed: 0))
        fixture.fill()
        return fixture
    }

    private func step(_ fixture: NetworkFixture, _ cycles: Cycle) { fixture.scheduler.advance(to: fixture.scheduler.now + cycles) }

    @Test("frames are found without a doorbell, lap after lap", arguments: rings)
    func withoutDoorbells(features: Features) {
        let fixture = begun(features)
        var random = SplitMix64(seed: features.rawValue)
        var sent = 1, received = 1
        while received < 600 {
            for _ in 0..<Int(random.next() % 8) where fixture.send(frame(bytes: 60 + sent % 7, seed: sent)) { sent += 1 }
            #expect(!fixture.queues[1].needsNotification())
            step(fixture, random.next() % 3000)
            while let (_, bytes) = fixture.receive() {
                guard bytes == frame(bytes: 60 + received % 7, seed: received) else {
                    Issue.record("frame \(received) of \(sent) differs, features \(features)")
                    return
                }
                received += 1
            }
            // Without a doorbell, too: the queue for received frames is polled when it runs dry.
            fixture.fill()
        }
        let counters = fixture.network.state.counters
        #expect(fixture.device.isPolling && counters.dropped == 0 && counters.transmitErrors == 0)
        #expect(fixture.status == [.acknowledge, .driver, .featuresOK, .driverOK])
    }

    @Test("the index of a split queue wraps at 65536 meanwhile")
    func indexWraps() {
        let fixture = begun([.version1, .eventIndex], queueSize: 64)
        var sent = 1, received = 1
        let bytes = frame()
        while received < 66_000 {
            while sent - received < 48, fixture.send(bytes) { sent += 1 }
            // The event that the device has left behind is passed once a wrap; that doorbell is harmless.
            fixture.notifyTransmit()
            step(fixture, 6000)
            while fixture.receive() != nil { received += 1 }
            fixture.fill()
        }
        #expect(fixture.network.state.counters.dropped == 0 && fixture.drivers[1].available < 1000)
    }

    @Test("a queue in which nothing comes asks for its doorbell, and the device rests", arguments: rings)
    func patienceEnds(features: Features) {
        let fixture = begun(features)
        step(fixture, Self.polling.patience + 2 * Self.polling.interval)
        #expect(!fixture.device.isPolling && fixture.scheduler.nextDue == .max)
        fixture.send(frame(seed: 9))
        #expect(fixture.queues[1].needsNotification())
        step(fixture, 100_000)
        #expect(fixture.receive() == nil, "nobody has told the device")
        fixture.notify(queue: 1)
        step(fixture, 10_000)
        #expect(fixture.receive()?.frame == frame(seed: 9) && fixture.device.isPolling)
    }

    @Test("a chain that comes at the last moment isn't lost", arguments: rings)
    func lastMoment(features: Features) {
        for delay in stride(from: 18_000 as Cycle, through: 22_000, by: 100) {
            let fixture = begun(features)
            step(fixture, delay)
            fixture.send(frame(seed: 3))
            fixture.notifyTransmit()
            step(fixture, 10_000)
            #expect(fixture.receive()?.frame == frame(seed: 3), "after \(delay) cycles, features \(features)")
        }
    }

    @Test("a reset ends it: of the device, of the function, of the queue", arguments: 0..<3)
    func reset(kind: Int) {
        let fixture = begun([.version1, .ringReset])
        #expect(fixture.device.isPolling)
        switch kind {
        case 0: fixture.status = []
        case 1: fixture.transport.reset(.functionLevel)
        default:
            fixture.write(0x16, 1, size: 2)
            fixture.write(0x3a, 1, size: 2)
        }
        #expect(!fixture.device.isPolling)
        let before = fixture.memory.writes
        fixture.send(frame(seed: 1))
        fixture.run()
        #expect(fixture.memory.writes == before && fixture.memory.faults == 0 && fixture.receive() == nil)
    }

    @Test("whoever stops the queue gets its doorbells", arguments: rings)
    func stopping(features: Features) {
        let fixture = begun(features)
        fixture.device.isServing = false
        #expect(!fixture.device.isPolling)
        fixture.send(frame(seed: 5))
        #expect(fixture.queues[1].needsNotification())
        step(fixture, 50_000)
        #expect(fixture.receive() == nil)
        fixture.device.isServing = true
        step(fixture, 10_000)
        #expect(fixture.receive()?.frame == frame(seed: 5) && fixture.device.isPolling)
    }

    @Test("from a queue that is paused while it is polled nothing is taken", arguments: rings)
    func pausing(features: Features) throws {
        let fixture = begun(features)
        fixture.device.pause(queue: 1)
        fixture.send(frame(seed: 6))
        step(fixture, Self.polling.patience + 2 * Self.polling.interval)
        #expect(fixture.receive() == nil && fixture.device.isDrained(queue: 1) && !fixture.device.isPolling)
        fixture.notifyTransmit()
        step(fixture, 50_000)
        #expect(fixture.receive() == nil && fixture.scheduler.nextDue == .max)
        #expect(fixture.status == [.acknowledge, .driver, .featuresOK, .driverOK])
        // Started anew where it was left, it is served and polled.
        let place = try #require(fixture.device.stop(queue: 1))
        #expect(fixture.device.start(
            queue: 1, fixture.queues[1].layout, from: QueueStart(taken: place, used: place), notingIn: nil))
        step(fixture, 10_000)
        #expect(fixture.receive()?.frame == frame(seed: 6) && fixture.device.isPolling)
    }

    @Test("what a poll can't accept stops the device")
    func jump() {
        let fixture = begun([.version1])
        fixture.drivers[1].pokeAvailableIndex(1000)
        step(fixture, 2000)
        #expect(fixture.status.contains(.needsReset) && !fixture.device.isPolling && fixture.scheduler.nextDue == .max)
        #expect(fixture.device.state.lastFailure == QueueSet.Failure(queue: 1, fault: .indexJump(available: 1000, taken: 1, size: 8)))
    }

    @Test("memory that vanishes under it stops the device")
    func unreachable() {
        let fixture = begun([.version1])
        fixture.memory.isEnabled = false
        step(fixture, 2000)
        #expect(fixture.status.contains(.needsReset) && !fixture.device.isPolling)
    }

    @Test("a snapshot goes on polling where it was", arguments: rings)
    func snapshot(features: Features) throws {
        let fixture = begun(features)
        step(fixture, 500)
        let saved = try fixture.save()
        let polled = fixture.scheduler.nextDue
        step(fixture, Self.polling.patience * 2)
        #expect(!fixture.device.isPolling)
        try fixture.load(saved)
        #expect(fixture.device.isPolling && fixture.scheduler.nextDue == polled)
        let isEqual = try fixture.save() == saved
        #expect(isEqual)
        fixture.send(frame(seed: 4))
        step(fixture, 10_000)
        #expect(fixture.receive()?.frame == frame(seed: 4))
    }
}
