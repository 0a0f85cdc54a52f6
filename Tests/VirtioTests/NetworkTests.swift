import Interconnect
import Simulation
import Testing
import Virtio

/// A frame with addresses, a type and a payload whose bytes depend on `seed`.
func frame(
    to destination: MACAddress = .broadcast, from source: MACAddress = MACAddress(value: 0x0200_0000_0001), bytes: Int = 60, seed: Int = 0
) -> [UInt8] {
    destination.octets + source.octets + [0x88, 0xb5] + (0..<bytes - 14).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ seed) }
}

/// A UDP datagram over IPv4, with the pseudo header's sum where a driver leaves it for the device.
func datagram(sourcePort: UInt16, destinationPort: UInt16, payload: [UInt8], isReversed: Bool = false) -> [UInt8] {
    let length = 8 + payload.count
    var addresses: [[UInt8]] = [[10, 0, 0, 1], [10, 0, 0, 2]]
    if isReversed { addresses.reverse() }
    let ports = isReversed ? [destinationPort, sourcePort] : [sourcePort, destinationPort]
    var sum = UInt32(17) + UInt32(length)
    for part in addresses { sum += UInt32(part[0]) << 8 + UInt32(part[1]) + UInt32(part[2]) << 8 + UInt32(part[3]) }
    while sum >> 16 != 0 { sum = sum & 0xffff + sum >> 16 }
    var bytes = frame(bytes: 14)
    (bytes[12], bytes[13]) = (8, 0)
    bytes += [0x45, 0, 0, UInt8(20 + length), 0, 0, 0, 0, 64, 17, 0, 0] + addresses[0] + addresses[1]
    bytes += ports.flatMap { [UInt8($0 >> 8), UInt8($0 & 0xff)] } + [0, UInt8(length), UInt8(sum >> 8), UInt8(sum & 0xff)]
    return bytes + payload
}

@Suite("5.1 Network device")
struct NetworkTests {
    private let peer = MACAddress(value: 0x0200_0000_0002)

    @Test("frames come back from a loop as they were sent, once each and in order", arguments: [
        [.version1], [.version1, .packedRing], [.version1, .inOrder, .packedRing, .eventIndex], [.version1, .eventIndex],
        [.version1, .networkMergeableBuffers, .indirectDescriptors], [.version1, .inOrder, .notificationData, .packedRing],
    ] as [Features])
    func loop(features: Features) throws {
        let requests = RecordedRequests()
        let fixture = NetworkFixture(backend: LoopBack(), observer: requests, queueSize: 32)
        fixture.begin(features)
        var random = SplitMix64(seed: features.rawValue)
        var sent: [[UInt8]] = [], received = 0
        for step in 0..<400 {
            while random.next() % 6 != 0 {
                let bytes = frame(bytes: 14 + Int(random.next() % 1505), seed: sent.count)
                guard fixture.send(bytes, isSplit: random.next() % 2 == 0) else { break }
                sent.append(bytes)
            }
            fixture.notifyTransmit()
            fixture.scheduler.advance(to: fixture.scheduler.now + random.next() % 4000)
            if step % 25 == 0 { try fixture.reload() }
            while let (header, bytes) = fixture.receive() {
                guard bytes == sent[received] else {
                    Issue.record("frame \(received) differs: \(bytes.count) bytes, \(sent[received].count) expected")
                    return
                }
                #expect(header[0] == 0 && header[1] == 0 && header[10] == 1)
                received += 1
            }
            fixture.fill()
        }
        fixture.run()
        fixture.fill()
        fixture.run()
        while fixture.receive() != nil {
            received += 1
            fixture.fill()
        }
        let counters = fixture.network.state.counters
        #expect(received == sent.count && counters.transmitted == UInt64(received) && counters.received == UInt64(received))
        #expect(received > 500 && counters.dropped == 0 && counters.transmittedBytes == UInt64(sent.reduce(0) { $0 + $1.count }))
        #expect(requests.arrived.count == 2 * received && requests.completed.count == 2 * received)
        #expect(requests.completed.filter { $0.kind == .read }.reduce(0) { $0 + $1.bytes } == counters.receivedBytes)
        #expect(fixture.network.requestsInFlight == 0 && !fixture.status.contains(.needsReset))
    }

    @Test("one frame's time is the sum of its stages, and a burst shares them")
    func latency() throws {
        let requests = RecordedRequests()
        let fixture = NetworkFixture(backend: LoopBack(), observer: requests)
        fixture.begin()
        let start = fixture.scheduler.now
        fixture.send(frame(bytes: 60))
        fixture.notifyTransmit()
        fixture.run()
        // Core: 100. Link: 16 + 12 + 60 bytes at 24 a cycle, 400. Wire: 60 at 3.125 a cycle, 1000. Core: 100. Link: 60 + 12 + 8, 400.
        let sent: Cycle = 100 + 4 + 400
        #expect(requests.completed.map(\.kind) == [.write, .read])
        #expect(requests.completed[0].completion - start == sent)
        #expect(requests.completed[1].completion - start == sent + 20 + 1000 + 100 + 4 + 400)
        #expect(fixture.interrupts.raised[1] == 1 && fixture.interrupts.raised[2] == 1)
    }

    @Test("2.4: frames that a reset takes are in flight no more")
    func resetInFlight() throws {
        let requests = RecordedRequests()
        let fixture = NetworkFixture(backend: LoopBack(), observer: requests, queueSize: 32)
        for delay in stride(from: 0 as Cycle, to: 4_000, by: 190) {
            fixture.begin()
            for number in 0..<8 { fixture.send(frame(bytes: 200, seed: number)) }
            fixture.notifyTransmit()
            fixture.scheduler.advance(to: fixture.scheduler.now + delay)
            fixture.status = []
            fixture.run()
            #expect(requests.arrived.count == requests.completed.count + requests.withdrawn.count, "delay \(delay)")
        }
        #expect(!requests.withdrawn.isEmpty && !requests.completed.isEmpty)
    }

    @Test("5.1.4: the device configuration")
    func configuration() throws {
        var configuration = NetworkConfiguration()
        configuration.mac = try #require(MACAddress("52:54:00:12:34:56"))
        (configuration.queuePairs, configuration.mtu) = (4, 9000)
        let fixture = NetworkFixture(configuration, backend: LoopBack())
        #expect((0..<6).map { fixture.read(0x2000 + $0, size: 1) } == [0x52, 0x54, 0, 0x12, 0x34, 0x56])
        #expect(fixture.read(0x2006, size: 2) == 1 && fixture.read(0x2008, size: 2) == 4 && fixture.read(0x200a, size: 2) == 9000)
        #expect(fixture.read(0x200c, size: 4) == 25_000 && fixture.read(0x2010, size: 1) == 1 && fixture.read(0x2011, size: 1) == 0)
        #expect(fixture.offered.isSuperset(of: [.networkMultiQueue, .networkChecksum, .networkMTU]))
        // No segmentation of either side is offered, nor fragmentation (bits 6 to 14).
        #expect(fixture.offered.rawValue & 0x7fc0 == 0)
        fixture.begin()
        fixture.write(0x2000, 0, size: 1)
        #expect(fixture.read(0x2000, size: 1) == 0x52, "read-only to a modern driver")
        #expect(MACAddress("52:54:00:12:34") == nil && MACAddress("52:54:00:12:34:5g") == nil && MACAddress("5:54:00:12:34:567") == nil)
    }

    @Test("frames wait for receive buffers, and beyond the slots they are dropped and counted")
    func noBuffers() throws {
        var configuration = NetworkConfiguration()
        configuration.receiveSlots = 16
        let fixture = NetworkFixture(configuration, backend: LoopBack(), queueSize: 32)
        fixture.begin(fills: false)
        for number in 0..<20 { fixture.send(frame(seed: number)) }
        fixture.notifyTransmit()
        fixture.run()
        #expect(fixture.network.state.counters.dropped == 4)
        #expect(fixture.network.requestsInFlight == 0, "the device has nothing to do but to wait for its driver")
        fixture.fill(limit: 10)
        #expect((0..<10).allSatisfy { number in fixture.receive().map { $0.frame == frame(seed: number) } ?? false })
        fixture.fill()
        #expect((10..<16).allSatisfy { number in fixture.receive().map { $0.frame == frame(seed: number) } ?? false })
        #expect(fixture.receive() == nil)
    }

    @Test("5.1.6.4: mergeable buffers share a frame, others must hold it")
    func buffers() throws {
        let merging = NetworkFixture(backend: LoopBack(), bufferBytes: 100)
        merging.begin([.version1, .networkMergeableBuffers], fills: false)
        merging.fill(limit: 3)
        merging.network.receive(NetworkFrame([UInt8](frame(bytes: 500, seed: 3)).withUnsafeBytes { copied($0) }))
        merging.run()
        #expect(merging.receive() == nil, "512 bytes need six buffers")
        merging.fill()
        let (header, bytes) = try #require(merging.receive())
        #expect(bytes == frame(bytes: 500, seed: 3) && header[10] == 6)

        let single = NetworkFixture(backend: LoopBack(), bufferBytes: 100)
        single.begin([.version1])
        for size in [500, 60] { single.network.receive(NetworkFrame(frame(bytes: size).withUnsafeBytes { copied($0) })) }
        single.run()
        #expect(single.network.state.counters.dropped == 1)
        #expect(single.receive()?.frame.count == 60, "the buffer that was too small serves the next frame")
    }

    /// Outlives the array it comes from.
    private func copied(_ bytes: UnsafeRawBufferPointer) -> UnsafeRawBufferPointer {
        let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: bytes.count, alignment: 1)
        copy.copyMemory(from: bytes)
        return UnsafeRawBufferPointer(copy)
    }

    @Test("5.1.6.2: partial checksums are completed, and anything not negotiated is an error")
    func checksums() throws {
        let fixture = NetworkFixture(backend: LoopBack())
        fixture.begin(NetworkFixture.usual.union([.networkChecksum, .networkGuestChecksum]))
        let bytes = datagram(sourcePort: 1, destinationPort: 2, payload: [1, 2, 3])
        fixture.send(bytes, header: [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0])
        fixture.notifyTransmit()
        fixture.run()
        let (header, received) = try #require(fixture.receive())
        #expect(header[0] == 2, "DATA_VALID")
        #expect(Array(received[..<40]) == Array(bytes[..<40]) && Array(received[42...]) == Array(bytes[42...]))
        // The whole datagram with its pseudo header sums up to all ones (RFC 1071).
        var sum = UInt32(17 + 11)
        for place in stride(from: 26, to: received.count, by: 2) {
            sum += UInt32(received[place]) << 8 + (place + 1 < received.count ? UInt32(received[place + 1]) : 0)
        }
        #expect(sum & 0xffff + sum >> 16 == 0xffff)

        // A start behind the end, a place behind it, and segmentation.
        for header: [UInt8] in [
            [1, 0, 0, 0, 0, 0, 200, 0, 6, 0, 0, 0], [1, 0, 0, 0, 0, 0, 44, 0, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0],
            [0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        ] { fixture.send(bytes, header: header) }
        fixture.send([UInt8](repeating: 1, count: 13))
        fixture.send(frame(bytes: 1519))
        fixture.notifyTransmit()
        fixture.run()
        #expect(fixture.reclaim() == 6 && fixture.receive() == nil)
        #expect(fixture.network.state.counters.transmitErrors == 6)

        fixture.begin(NetworkFixture.usual)
        fixture.send(bytes, header: [1, 0, 0, 0, 0, 0, 34, 0, 6, 0, 0, 0])
        fixture.notifyTransmit()
        fixture.run()
        #expect(fixture.receive() == nil && fixture.network.state.counters.transmitErrors == 7)
    }

    @Test("5.1.6.5: receive modes, address tables and VLANs")
    func filters() throws {
        let fixture = NetworkFixture(backend: LoopBack())
        let own = fixture.network.configuration.mac, group = MACAddress(value: 0x0100_5e00_0001)
        fixture.begin(NetworkFixture.usual.union([.networkControlVLAN, .networkControlReceiveExtra, .networkControlMAC]))
        func arrives(_ bytes: [UInt8]) -> Bool {
            fixture.fill()
            fixture.send(bytes)
            fixture.notifyTransmit()
            fixture.run()
            return fixture.receive() != nil
        }
        func tagged(_ vlan: Int) -> [UInt8] {
            var bytes = frame(to: own)
            bytes.replaceSubrange(12..<16, with: [0x81, 0, UInt8(vlan >> 8), UInt8(vlan & 0xff)])
            return bytes
        }
        #expect(arrives(frame(to: peer)), "everything until the driver says otherwise")
        #expect(fixture.command(0, 0, [0]) == 0)
        #expect(!arrives(frame(to: peer)) && arrives(frame(to: own)) && arrives(frame()) && !arrives(frame(to: group)))
        #expect(fixture.command(0, 1, [1]) == 0)
        #expect(arrives(frame(to: group)))
        #expect(fixture.command(0, 1, [0]) == 0)
        let table: [UInt8] = [1, 0, 0, 0] + peer.octets + [1, 0, 0, 0] + group.octets
        #expect(fixture.command(1, 0, table) == 0)
        #expect(arrives(frame(to: peer)) && arrives(frame(to: group)) && !arrives(frame(to: MACAddress(value: 0x0200_0000_0003))))
        #expect(fixture.command(1, 1, MACAddress(value: 0x0200_0000_0003).octets) == 0)
        #expect(arrives(frame(to: MACAddress(value: 0x0200_0000_0003))) && !arrives(frame(to: own)))
        #expect(fixture.read(0x2005, size: 1) == 3)
        #expect(fixture.command(1, 1, own.octets) == 0)
        #expect(!arrives(tagged(7)) && arrives(tagged(0)))
        #expect(fixture.command(2, 0, [7, 0]) == 0)
        #expect(arrives(tagged(7)) && !arrives(tagged(8)))
        #expect(fixture.command(2, 1, [7, 0]) == 0)
        #expect(!arrives(tagged(7)))
        #expect(fixture.command(0, 5, [1]) == 0)
        #expect(!arrives(frame()))
        #expect(fixture.network.state.counters.filtered > 0)

        // More addresses than the table holds let all of their kind pass.
        let many = (0..<65).flatMap { MACAddress(value: 0x0200_0001_0000 + UInt64($0)).octets }
        #expect(fixture.command(1, 0, [65, 0, 0, 0] + many + [0, 0, 0, 0]) == 0)
        #expect(arrives(frame(to: peer)) && !arrives(frame(to: group)))
    }

    @Test("commands that make no sense are refused, and the device goes on")
    func badCommands() throws {
        let fixture = NetworkFixture(backend: LoopBack())
        fixture.begin()
        let bad: [(UInt8, UInt8, [UInt8])] = [
            (0, 0, []), (0, 0, [2]), (0, 0, [1, 1]), (0, 9, [1]), (0, 2, [1]), (1, 0, []), (1, 0, [255, 255, 255, 255, 0, 0, 0, 0]),
            (1, 0, [1, 0, 0, 0, 1, 2, 3]), (1, 1, [1, 2, 3, 4, 5, 6]), (2, 0, [1, 0]), (3, 0, []), (4, 0, [1, 0]), (5, 0, []),
            (6, 0, [0, 0, 0, 0, 0, 0, 0, 0]), (255, 255, [1, 2, 3]),
        ]
        for (commandClass, command, data) in bad {
            #expect(fixture.command(commandClass, command, data) == 1, "\(commandClass).\(command)")
        }
        #expect(fixture.network.state.counters.controlErrors == UInt64(bad.count))
        #expect(fixture.command(0, 0, [1]) == 0)
        #expect(fixture.command(1, 0, [UInt8](repeating: 0, count: 1900)) == 1)
    }

    @Test("5.1.5: with several queues a flow stays on the queue on which it was sent")
    func multiQueue() throws {
        var configuration = NetworkConfiguration()
        configuration.queuePairs = 4
        let fixture = NetworkFixture(configuration, backend: LoopBack())
        fixture.begin(NetworkFixture.usual.union(.networkMultiQueue))
        for pair in 0..<4 { fixture.send(datagram(sourcePort: UInt16(pair), destinationPort: 80, payload: []), pair: pair) }
        for pair in 0..<4 { fixture.notifyTransmit(pair) }
        fixture.run()
        #expect((0..<4).allSatisfy { fixture.receive(0) != nil || $0 > 3 }, "one pair until the driver asks for more")
        for pairs: UInt8 in [0, 5] { #expect(fixture.command(4, 0, [pairs, 0]) == 1) }
        #expect(fixture.command(4, 0, [4, 0]) == 0 && fixture.network.state.activePairs == 4)
        fixture.fill(0)
        for round in 0..<8 {
            let pair = (round * 3 + 1) % 4
            fixture.send(datagram(sourcePort: UInt16(round), destinationPort: 80, payload: [UInt8(round)]), pair: pair)
            fixture.notifyTransmit(pair)
            fixture.run()
            #expect(fixture.receive(pair)?.frame.last == UInt8(round))
            // Its answer comes on the same queue.
            let answer = datagram(sourcePort: UInt16(round), destinationPort: 80, payload: [99], isReversed: true)
            fixture.network.receive(NetworkFrame(answer.withUnsafeBytes { copied($0) }))
            fixture.run()
            #expect(fixture.receive(pair)?.frame.last == 99)
        }
    }

    @Test("6.1 NOTF_COAL: the driver is told after so many frames, or so much time")
    func coalescing() throws {
        let fixture = NetworkFixture(backend: LoopBack())
        fixture.begin(NetworkFixture.usual.union(.networkCoalescing))
        #expect(fixture.command(6, 1, [4, 0, 0, 0, 50, 0, 0, 0]) == 0)
        let before = fixture.interrupts.raised[1]
        for number in 0..<3 {
            fixture.network.receive(NetworkFrame(frame(seed: number).withUnsafeBytes { copied($0) }))
            fixture.scheduler.advance(to: fixture.scheduler.now + 5000)
        }
        #expect(fixture.interrupts.raised[1] == before && fixture.drivers[0].usedIndex == 3)
        fixture.network.receive(NetworkFrame(frame().withUnsafeBytes { copied($0) }))
        fixture.scheduler.advance(to: fixture.scheduler.now + 5000)
        #expect(fixture.interrupts.raised[1] == before + 1, "the fourth")
        fixture.network.receive(NetworkFrame(frame().withUnsafeBytes { copied($0) }))
        fixture.scheduler.advance(to: fixture.scheduler.now + 49_000)
        #expect(fixture.interrupts.raised[1] == before + 1)
        fixture.scheduler.advance(to: fixture.scheduler.now + 5000)
        #expect(fixture.interrupts.raised[1] == before + 2, "50 microseconds after the first")
    }

    @Test("5.1.6.5.4: a link that comes back asks the driver to announce itself")
    func link() throws {
        let fixture = NetworkFixture(backend: LoopBack())
        fixture.begin(NetworkFixture.usual.union(.networkAnnounce))
        let generation = fixture.read(0x15, size: 1)
        fixture.network.setLink(isUp: false)
        #expect(fixture.read(0x2006, size: 2) == 0 && fixture.read(0x15, size: 1) == generation + 1 && fixture.interrupts.raised[0] == 1)
        fixture.send(frame())
        fixture.notifyTransmit()
        fixture.run()
        #expect(fixture.reclaim() == 1 && fixture.receive() == nil)
        fixture.network.setLink(isUp: true)
        #expect(fixture.read(0x2006, size: 2) == 3)
        #expect(fixture.command(3, 0, []) == 0 && fixture.read(0x2006, size: 2) == 1)
    }

    @Test("2.4: a reset in mid-flight leaves no trace")
    func reset() throws {
        for delay in stride(from: 0 as Cycle, to: 3000, by: 37) {
            let fixture = NetworkFixture(backend: LoopBack())
            fixture.begin()
            for number in 0..<20 { fixture.send(frame(seed: number)) }
            fixture.notifyTransmit()
            fixture.scheduler.advance(to: fixture.scheduler.now + delay)
            fixture.status = []
            let writes = fixture.memory.writes
            fixture.run()
            #expect(fixture.memory.writes == writes && fixture.network.requestsInFlight == 0, "after \(delay) cycles")
            fixture.begin()
            fixture.send(frame(seed: 77))
            fixture.notifyTransmit()
            fixture.run()
            #expect(fixture.receive()?.frame == frame(seed: 77), "after \(delay) cycles")
        }
    }

    @Test("queues that no driver makes", arguments: [31, 32, 33, 34] as [UInt64])
    func garbage(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let fixture = NetworkFixture(backend: LoopBack(), queueSize: 16)
        var failures = 0
        for _ in 0..<60 {
            fixture.begin(random.next() % 2 == 0 ? [.version1, .networkMergeableBuffers, .networkControlQueue] : NetworkFixture.usual)
            for _ in 0..<40 {
                let queue = Int(random.next() % 3)
                switch random.next() % 4 {
                case 0: fixture.send(frame(bytes: 14 + Int(random.next() % 1600)))
                case 1:
                    let layout = fixture.drivers[queue].layout
                    let address = layout.descriptorArea + random.next() % (16 * 16) & ~7
                    fixture.memory.store(random.next() % 3 == 0 ? random.next() : random.next() % 64, at: address)
                case 2:
                    let segments = (0..<1 + random.next() % 5).map { index in
                        Segment(
                            address: fixture.address(queue, 0) + random.next() % 4096, length: UInt32(random.next() % 40),
                            isWritable: random.next() % 2 == 0 || index > 2)
                    }
                    _ = fixture.drivers[queue].submit(segments)
                default: fixture.notify(queue: queue)
                }
            }
            fixture.notifyTransmit()
            fixture.run()
            if fixture.status.contains(.needsReset) { failures += 1 }
        }
        #expect(failures > 5, "seed \(seed): too tame to say anything")
        fixture.begin()
        fixture.send(frame(seed: 5))
        fixture.notifyTransmit()
        fixture.run()
        #expect(fixture.receive()?.frame == frame(seed: 5), "seed \(seed)")
    }
}
