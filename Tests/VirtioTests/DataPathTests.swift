import Interconnect
import Registers
import Simulation
import Testing
import Virtio

/// Records what the data path reports.
final class RecordedRequests: DataPathObserver {
    var arrived: [IORequest] = []
    var completed: [IORequest] = []
    var withdrawn: [IORequest] = []

    func requestWithdrawn(_ request: IORequest) { withdrawn.append(request) }
    func requestArrived(_ request: IORequest) { arrived.append(request) }
    func requestCompleted(_ request: IORequest) { completed.append(request) }
}

/// A request's way in device time, and what resets and faults do to it.
@Suite("Data path")
struct DataPathTests {
    private static let read: UInt32 = 0, write: UInt32 = 1, flush: UInt32 = 4

    private func fixture(
        observer: (any DataPathObserver)? = nil, queueSize: UInt16 = 64, _ change: (inout BlockConfiguration) -> Void = { _ in }
    ) throws -> BlockFixture {
        var configuration = BlockConfiguration()
        change(&configuration)
        return BlockFixture(configuration, backend: try MemoryBackend(byteCount: 1 << 20), observer: observer, queueSize: queueSize)
    }

    @Test("one request's time is the sum of its stages")
    func latency() throws {
        let requests = RecordedRequests()
        let fixture = try fixture(observer: requests)
        fixture.bringUp()
        let start = fixture.scheduler.now
        #expect(fixture.perform(type: Self.read, sector: 8, bytes: 4096)?.status == 0)
        let request = try #require(requests.completed.first)
        #expect(request.arrival == start)
        // Core: 500 + 3 x 20. Link to the device: 64 bytes at 24 bytes a cycle, 400. Medium: 4096 bytes at 3 a cycle, 60,000.
        // Link to the host: 4096 + 11 bytes at 24 a cycle, 400.
        let expected: Cycle = 560 + (3 + 400) + (1366 + 60_000) + (172 + 400)
        #expect(request.completion - request.arrival == expected)
        let (stages, ends) = (request.stages, [560, 560 + 403, 560 + 403 + 61_366] as [Cycle])
        #expect(stages == StageTimes(
            from: start, served: start + ends[0], fetched: start + ends[1], mediumDone: start + ends[2], completion: start + expected))
        #expect(request.kind == .read && request.position == 4096 && request.bytes == 4096 && request.depth == 1 && request.queue == 0)
        #expect(request.owner == .virtualMachine(1))
    }

    @Test("every request is reported twice, with queue, kind, bytes and depth")
    func observer() throws {
        let requests = RecordedRequests()
        let fixture = try fixture(observer: requests) { $0.queues = 3 }
        fixture.bringUp()
        for tag in 0..<12 {
            fixture.submit(type: UInt32(tag % 2), sector: UInt64(tag), bytes: 512, tag: tag, queue: tag % 3)
        }
        for queue in 0..<3 { fixture.notify(queue: queue) }
        #expect(requests.arrived.map(\.depth) == (1...12).map { UInt32($0) })
        fixture.run()
        #expect(requests.completed.count == 12)
        #expect(requests.completed.filter { $0.kind == .read }.count == 6)
        for queue in 0..<3 { #expect(requests.completed.filter { $0.queue == UInt16(queue) }.count == 4) }
        #expect(requests.completed.allSatisfy { $0.completion > $0.arrival && $0.bytes == 512 })
    }

    @Test("fast requests overtake slow ones")
    func outOfOrder() throws {
        let fixture = try fixture()
        fixture.bringUp()
        let slow = try #require(fixture.submit(type: Self.flush, tag: 0))
        let middle = try #require(fixture.submit(type: Self.read, bytes: 512, tag: 1))
        let fast = try #require(fixture.submit(type: Self.write, bytes: 512, tag: 2))
        fixture.notify()
        fixture.run()
        #expect([fixture.drivers[0].reap()?.head, fixture.drivers[0].reap()?.head, fixture.drivers[0].reap()?.head] == [fast, middle, slow])
    }

    @Test("full request slots hold queues back, and none starves")
    func slots() throws {
        let requests = RecordedRequests()
        let fixture = try fixture(observer: requests) { $0.queues = 2; $0.requestSlots = 4 }
        fixture.bringUp([.version1])
        for queue in 0..<2 {
            for tag in 0..<20 { fixture.submit(type: Self.read, bytes: 512, tag: tag, queue: queue) }
            fixture.notify(queue: queue)
        }
        #expect(fixture.block.requestsInFlight == 4)
        #expect(fixture.drivers[0].usedFlags == 1 && fixture.drivers[1].usedFlags == 1, "2.7.10: the device looks by itself")
        fixture.run()
        #expect(requests.completed.count == 40)
        #expect(requests.completed.prefix(20).filter { $0.queue == 1 }.count >= 5, "the second queue gets its turn")
        #expect(requests.arrived.allSatisfy { $0.depth <= 4 })
        for driver in fixture.drivers {
            #expect(driver.usedFlags == 0 && driver.usedIndex == 20)
        }
    }

    @Test("2.7.7: event index and flag suppress interrupts for completions")
    func interrupts() throws {
        let fixture = try fixture()
        fixture.bringUp()
        fixture.drivers[0].wantInterrupt(after: 7)
        for tag in 0..<8 { fixture.submit(type: Self.read, bytes: 512, tag: tag) }
        fixture.notify()
        fixture.run()
        #expect(fixture.drivers[0].usedIndex == 8 && fixture.interrupts.raised[1] == 1)
        fixture.bringUp([.version1])
        fixture.drivers[0].suppressInterrupts(true)
        #expect(fixture.perform(type: Self.read, bytes: 512)?.status == 0)
        #expect(fixture.interrupts.raised[1] == 1)
    }

    @Test("chains made available before DRIVER_OK are served without a notification")
    func early() throws {
        let fixture = try fixture()
        #expect(fixture.negotiate([.version1]))
        fixture.start()
        fixture.status = []
        #expect(fixture.negotiate([.version1]))
        let driver = MockDriver(memory: fixture.memory, size: 16)
        let head = driver.submit([
            Segment(address: driver.buffers, length: 16, isWritable: false),
            Segment(address: driver.buffers + 64, length: 513, isWritable: true),
        ])
        fixture.enable(queue: 0, driver.layout)
        fixture.notify()
        #expect(fixture.block.requestsInFlight == 0, "3.1: not before DRIVER_OK")
        fixture.status = .driverOK
        #expect(fixture.block.requestsInFlight == 1)
        fixture.run()
        #expect(driver.reap() == MockDriver.Used(head: try #require(head), written: 513))
    }

    /// Reset at every point of a request's life: nothing is written and nothing completes afterwards.
    @Test("2.4: a reset in mid-flight leaves no trace", arguments: [true, false])
    func reset(functionLevel: Bool) throws {
        var delay: Cycle = 0
        while delay < 80_000 {
            let requests = RecordedRequests()
            let fixture = try fixture(observer: requests, queueSize: 32)
            fixture.bringUp()
            for tag in 0..<8 { fixture.submit(type: UInt32(tag % 2), sector: UInt64(8 * tag), bytes: 512, tag: tag) }
            fixture.notify()
            fixture.scheduler.advance(to: fixture.scheduler.now + delay)
            let done = requests.completed.count
            let writes = fixture.memory.writes, interrupts = fixture.interrupts.raised
            let counters = fixture.block.state.counters
            if functionLevel { fixture.transport.reset(.functionLevel) } else { fixture.status = [] }
            #expect(fixture.status == [] && fixture.block.requestsInFlight == 0)
            #expect(requests.withdrawn.count == 8 - done, "delay \(delay): the observer knows that nothing is in flight")
            fixture.run()
            #expect(fixture.memory.writes == writes && fixture.interrupts.raised == interrupts, "delay \(delay)")
            #expect(requests.completed.count == done && fixture.block.state.counters == counters, "delay \(delay)")

            fixture.bringUp()
            #expect(fixture.perform(type: Self.read, bytes: 512)?.status == 0, "delay \(delay)")
            #expect(requests.completed.count == done + 1, "nothing of the past comes back")
            delay += delay < 4000 ? 97 : 2503
        }
    }

    @Test("2.1.2: a broken queue needs a reset; the other requests of the device end there, untouched")
    func needsReset() throws {
        let requests = RecordedRequests()
        let fixture = try fixture(observer: requests) { $0.queues = 2 }
        fixture.bringUp()
        fixture.submit(type: Self.read, bytes: 512, queue: 1)
        fixture.notify(queue: 1)
        fixture.drivers[0].pokeAvailableIndex(1000)
        let writes = fixture.memory.writes
        fixture.notify()
        #expect(fixture.status.contains([.needsReset, .driverOK]))
        #expect(fixture.interrupts.raised[0] == 1, "a configuration change notification")
        fixture.run()
        #expect(fixture.memory.writes == writes && fixture.block.requestsInFlight == 0)
        fixture.notify(queue: 1)
        fixture.run()
        #expect(fixture.memory.writes == writes, "doorbells do nothing")
        #expect(fixture.device.inspect(queue: 0)?.lastFault == .indexJump(available: 1000, taken: 0, size: 64))
        #expect(fixture.device.inspect(queue: 1)?.lastFault == nil)
        fixture.status = [.acknowledge, .driver, .featuresOK, .driverOK]
        #expect(fixture.status.contains(.needsReset), "only a reset ends it")
        fixture.bringUp()
        #expect(requests.arrived.count == 1 && requests.withdrawn.count == 1)
        #expect(fixture.perform(type: Self.read, bytes: 512)?.status == 0)
    }

    @Test("requests without header or status need a reset")
    func tooShort() throws {
        for segments in [(16, 0), (15, 1), (0, 17)] {
            let fixture = try fixture()
            fixture.bringUp()
            let driver = fixture.drivers[0]
            var chain: [Segment] = []
            if segments.0 > 0 { chain.append(Segment(address: driver.buffers, length: UInt32(segments.0), isWritable: false)) }
            if segments.1 > 0 { chain.append(Segment(address: driver.buffers + 64, length: UInt32(segments.1), isWritable: true)) }
            let head = try #require(driver.submit(chain))
            fixture.notify()
            #expect(fixture.status.contains(.needsReset))
            let fault = fixture.device.inspect(queue: 0)?.lastFault
            #expect(fault == .requestTooShort(head: head, readable: UInt64(segments.0), writable: UInt64(segments.1)))
        }
    }

    @Test("memory that goes away in mid-flight: no byte moves, the device needs a reset")
    func busMasterOff() throws {
        let fixture = try fixture()
        fixture.bringUp()
        fixture.submit(type: Self.read, bytes: 512)
        fixture.notify()
        let before = fixture.memory.copy()
        fixture.memory.isEnabled = false
        fixture.run()
        let isUntouched = fixture.memory.copy() == before
        #expect(isUntouched && fixture.memory.faults > 0)
        #expect(fixture.status.contains(.needsReset))
    }

    @Test("a router holds doorbells back, and is told when the component is drained")
    func router() throws {
        final class Router: DoorbellRouter {
            var serves = false
            var rung: [Int] = []
            var drained = 0
            func doorbellRang(component: Int, queue: Int, at cycle: Cycle) -> Bool {
                rung.append(queue)
                return serves
            }
            func componentDrained(_ component: Int, at cycle: Cycle) { drained += 1 }
            func recall(component: Int) -> Bool { false }
            func componentReset(_ component: Int) {}
        }
        let router = Router()
        let fixture = try fixture { $0.queues = 2 }
        fixture.device.router = router
        fixture.bringUp()
        fixture.submit(type: Self.read, bytes: 512, queue: 1)
        fixture.notify(queue: 1)
        fixture.run()
        #expect(router.rung == [1] && fixture.drivers[1].usedIndex == 0)
        fixture.device.serve(queue: 1, at: fixture.scheduler.now)
        #expect(fixture.device.requestsInFlight == 1 && router.drained == 0)
        fixture.run()
        #expect(fixture.drivers[1].usedIndex == 1 && router.drained == 1)

        // Quiescing: what is in flight ends, nothing new is taken, and all of it is found afterwards.
        router.serves = true
        fixture.submit(type: Self.read, bytes: 512, tag: 1, queue: 1)
        fixture.notify(queue: 1)
        fixture.device.isServing = false
        fixture.submit(type: Self.read, bytes: 512, tag: 2, queue: 1)
        fixture.notify(queue: 1)
        fixture.run()
        #expect(fixture.drivers[1].usedIndex == 2 && router.drained == 2)
        fixture.device.isServing = true
        fixture.run()
        #expect(fixture.drivers[1].usedIndex == 3 && router.drained == 3)
        // A reset drains, too.
        fixture.submit(type: Self.read, bytes: 512, tag: 3, queue: 1)
        fixture.notify(queue: 1)
        fixture.status = []
        #expect(router.drained == 4)
    }

    @Test("a partition's limit holds on the link")
    func shares() throws {
        // The medium is fast, so that the link decides.
        var configuration = BlockConfiguration()
        configuration.medium.rate = Rate(bytesPerMicrosecond: 100_000, cyclesPerMicrosecond: 1000)
        configuration.medium.readLatency = 1000
        configuration.requestCost = 10
        let first = BlockFixture(configuration, backend: try MemoryBackend(byteCount: 1 << 20), queueSize: 64)
        var table = [Partition](repeating: Partition(), count: 65)
        table[1] = Partition(limit: 1000)
        first.bringUp()
        func time(of count: Int) -> Cycle {
            let start = first.scheduler.now
            for tag in 0..<count { first.submit(type: Self.read, bytes: 8192, tag: tag) }
            first.notify()
            first.run()
            while first.drivers[0].reap() != nil {}
            return first.scheduler.now - start
        }
        let free = time(of: 20)
        first.toHost.partitionsCommitted(table, at: first.scheduler.now)
        let limited = time(of: 20)
        // 20 x 8203 bytes at 1 byte a cycle, less what the bucket holds at first.
        #expect(limited >= 20 * 8203 - 16_384 && limited < 20 * 8203 + 10_000)
        #expect(free * 10 < limited)
    }

    @Test("queue files: state as text, areas as bytes")
    func inspection() throws {
        let fixture = try fixture()
        #expect(fixture.device.inspect(queue: 1) == nil)
        #expect(fixture.device.peek(.driver, queue: 0) == nil)
        fixture.bringUp()
        fixture.submit(type: Self.read, bytes: 512)
        fixture.notify()
        let faults = fixture.memory.faults
        let layout = fixture.drivers[0].layout
        let text = try #require(fixture.device.inspect(queue: 0)).description
        for line in [
            "device status: ACKNOWLEDGE|DRIVER|FEATURES_OK|DRIVER_OK", "enabled: yes", "size: 64", "available index: 1", "taken index: 1",
            "used index: 0", "in flight: 1", "notifications: wanted", "last error: none",
            "descriptor area: 0x\(String(layout.descriptorArea, radix: 16))",
        ] {
            #expect(text.split(separator: "\n").contains(Substring(line)), "\(text)")
        }
        let descriptors = fixture.device.peek(.descriptors, queue: 0)
        #expect(descriptors == fixture.memory[layout.descriptorArea, 16 * 64])
        #expect(fixture.device.peek(.driver, queue: 0) == fixture.memory[layout.driverArea, 2 * 64 + 6])
        #expect(fixture.device.peek(.device, queue: 0) == fixture.memory[layout.deviceArea, 8 * 64 + 6])
        fixture.memory.isEnabled = false
        #expect(fixture.device.peek(.device, queue: 0) == nil && fixture.memory.faults == faults, "a look is no fault")
        #expect(fixture.device.names(of: [.version1, .blockFlush, Features(rawValue: 1 << 50)]) == ["BLK_FLUSH", "VERSION_1", "BIT_50"])
    }

    /// Random reads, writes, discards and flushes on several queues against an array of bytes. Requests in flight at a time
    /// never overlap, so that their order is of no matter.
    @Test("random requests against a model of the medium", arguments: [21, 22, 23, 24] as [UInt64])
    func random(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let fixture = try fixture(queueSize: 16) {
            $0.queues = 3
            $0.requestSlots = 8
        }
        fixture.bringUp(seed % 2 == 0 ? nil : [.version1, .blockFlush, .blockWriteZeroes])
        let isIndirectOffered = seed % 2 == 0
        let area = 64  // sectors of one tag's part of the medium
        var model = [UInt8](repeating: 0, count: 1 << 20)
        for round in 0..<60 {
            var expected: [(tag: Int, queue: Int, position: Int, bytes: Int)] = []
            var submitted = 0
            for tag in 0..<6 {
                let queue = Int(random.next() % 3), pieces = 1 << Int(random.next() % 3)
                let sectors = 4 * Int(1 + random.next() % 4), first = tag * area + Int(random.next() % UInt64(area - 16))
                let position = first * 512, bytes = sectors * 512
                let isIndirect = isIndirectOffered && random.next() % 2 == 0
                let head: UInt16?
                switch random.next() % 4 {
                case 0, 1:
                    fixture.memory[fixture.data(tag, queue: queue), bytes] = [UInt8](repeating: 0xee, count: bytes)
                    head = fixture.submit(
                        type: Self.read, sector: UInt64(first), bytes: bytes, tag: tag, queue: queue, pieces: pieces,
                        isIndirect: isIndirect)
                    if head != nil { expected.append((tag, queue, position, bytes)) }
                case 2:
                    let data = (0..<bytes / 8).flatMap { _ in withUnsafeBytes(of: random.next()) { Array($0) } }
                    fixture.memory[fixture.data(tag, queue: queue), bytes] = data
                    head = fixture.submit(
                        type: Self.write, sector: UInt64(first), bytes: bytes, tag: tag, queue: queue, pieces: pieces,
                        isIndirect: isIndirect)
                    if head != nil { model.replaceSubrange(position..<position + bytes, with: data) }
                default:
                    fixture.memory.store(UInt64(first), at: fixture.data(tag, queue: queue))
                    fixture.memory.store(UInt32(sectors), at: fixture.data(tag, queue: queue) + 8)
                    fixture.memory.store(UInt32(0), at: fixture.data(tag, queue: queue) + 12)
                    head = fixture.submit(type: 13, bytes: 16, tag: tag, queue: queue, isIndirect: isIndirect)
                    if head != nil { model.replaceSubrange(position..<position + bytes, with: repeatElement(0, count: bytes)) }
                }
                if head != nil { submitted += 1 }
                if random.next() % 3 == 0 { fixture.notify(queue: queue) }
            }
            for queue in 0..<3 where fixture.drivers[queue].needsNotification() { fixture.notify(queue: queue) }
            fixture.run()
            var reaped = 0
            for driver in fixture.drivers { while driver.reap() != nil { reaped += 1 } }
            #expect(reaped == submitted, "seed \(seed), round \(round)")
            for read in expected {
                let data = fixture.memory[fixture.data(read.tag, queue: read.queue), read.bytes]
                let isEqual = data == Array(model[read.position..<read.position + read.bytes])
                #expect(isEqual, "seed \(seed), round \(round), tag \(read.tag)")
            }
        }
        #expect(fixture.block.state.counters.ioErrors == 0 && fixture.block.state.counters.unsupported == 0)
    }
}
