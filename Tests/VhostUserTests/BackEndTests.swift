import Glibc
import OffloadDevice
import Scratch
import Simulation
import Testing
import VhostUser
import Virtio

/// A front-end and a machine, with a socket between them.
@Suite(.serialized) struct BackEndTests {
    @Test func aFrontEndUsesTheFunctionsDisk() throws {
        let rig = try Rig()
        try rig.begin()
        for sector: UInt64 in [0, 7, 2047] { try rig.check(sector: sector, seed: UInt8(truncatingIfNeeded: sector)) }
        // A sector beyond the disk's end fails in the request's own status.
        rig.submit(write: false, sector: 2048, tag: 3)
        try rig.finish(1)
        #expect(rig.status(3) == 1)
        let counters = rig.machine.inspect { $0.virtioFunction(1)?.block?.state.counters }
        #expect(counters?.ok == 6 && counters?.ioErrors == 1)
        #expect(counters?.bytesWritten == 3 * 512)
    }

    @Test func featuresAndConfigurationAreTheDevices() throws {
        let rig = try Rig()
        try rig.frontEnd.connect(to: rig.path)
        let features = try rig.frontEnd.features()
        #expect(features.isSuperset(of: [.version1, .eventIndex, .indirectDescriptors, .blockFlush, .blockDiscard]))
        #expect(features.contains(.packedRing))
        #expect(features.isDisjoint(with: [.accessPlatform, .inOrder, .notificationData, .ringReset]))
        #expect(try rig.frontEnd.queueCount() == 1)
        // Capacity in sectors, virtio 1.2 section 5.2.4.
        #expect(try rig.frontEnd.configuration(offset: 0, count: 8) == [0, 8, 0, 0, 0, 0, 0, 0])
    }

    @Test func aQueueThatStopsHasFinishedWhatItTook() throws {
        let rig = try Rig()
        try rig.begin()
        for tag in 0..<10 { rig.submit(write: true, sector: UInt64(tag), tag: tag, Array(repeating: UInt8(tag), count: 512)) }
        rig.frontEnd.kick(queue: 0)
        let base = try rig.frontEnd.stop(queue: 0)
        // What was taken is done; the rest is left for whoever starts the queue again.
        #expect(UInt32(rig.queue.usedIndex) == base)
        try rig.frontEnd.start(queue: 0, rig.queue.layout, base: base)
    }

    @Test func anotherFrontEndFindsTheDiskAsItWas() throws {
        let rig = try Rig()
        try rig.begin()
        try rig.check(sector: 5, seed: 1)
        _ = try rig.frontEnd.stop(queue: 0)
        rig.frontEnd.disconnect()
        try rig.exchangeFrontEnd()
        try rig.begin()
        #expect(try rig.read(sector: 5) == Rig.pattern(seed: 1))
        try rig.check(sector: 5, seed: 2)
    }

    @Test func chainsInFlightAreFinishedByTheNextBackEnd() throws {
        // Device time hardly moves: what is taken stays in flight.
        let first = try Rig(pace: .realtime(ratio: 1e-6))
        try first.begin(keepsInflight: true)
        for tag in 0..<20 { first.submit(write: true, sector: UInt64(tag), tag: tag, Array(repeating: UInt8(tag + 1), count: 512)) }
        first.frontEnd.kick(queue: 0)
        // The kick has been served when a later message has been answered.
        while first.machine.inspect({ $0.virtioFunction(1)!.device.requestsInFlight }) == 0 { _ = try first.frontEnd.features() }
        #expect(first.queue.usedIndex == 0)
        first.server.stop()

        let second = try Rig(replacing: first)
        try second.begin(keepsInflight: true)
        try second.finish(20)
        for tag in 0..<20 {
            #expect(second.status(tag) == 0)
            second.submit(write: false, sector: UInt64(tag), tag: tag)
            try second.finish(1)
            #expect(second.frontEnd.memory[second.buffer(tag) + 4096, 512] == Array(repeating: UInt8(tag + 1), count: 512))
        }
        #expect(second.queue.reap() == nil)
    }

    @Test func aPackedQueueGoesRoundAndOnFromWhereItStopped() throws {
        let rig = try Rig(isPacked: true)
        try rig.begin()
        // Six descriptors a time: the ring of 75 wraps in the middle of chains.
        for sector: UInt64 in 0..<40 { try rig.check(sector: sector, seed: UInt8(sector)) }
        let base = try rig.frontEnd.stop(queue: 0)
        // Both positions are behind all that came back: 240 descriptors, three laps and 15.
        #expect(base == 15 | 15 << 16)
        rig.frontEnd.disconnect()
        try rig.begin(base: base)
        try rig.check(sector: 3, seed: 99)
        // Of the base's halves the lower one counts.
        let next = try rig.frontEnd.stop(queue: 0)
        rig.frontEnd.disconnect()
        try rig.begin(base: next & 0xffff)
        try rig.check(sector: 4, seed: 98)
        _ = try rig.frontEnd.stop(queue: 0)
        rig.frontEnd.disconnect()
        #expect(throws: (any Error).self) { try rig.begin(base: 75) }
    }

    /// Device time hardly moves, or slowly: nothing was given back when the connection ends, or something.
    @Test(arguments: [1e-6, 1e-3]) func whatIsInFlightInAPackedQueueIsFinishedByTheNextBackEnd(ratio: Double) throws {
        let first = try Rig(pace: .realtime(ratio: ratio), isPacked: true)
        try first.begin(keepsInflight: true)
        for tag in 0..<20 { first.submit(write: true, sector: UInt64(tag), tag: tag, Array(repeating: UInt8(tag + 1), count: 512)) }
        first.frontEnd.kick(queue: 0)
        while first.machine.inspect({ $0.virtioFunction(1)!.device.requestsInFlight }) == 0, first.status(0) == 0xff {
            _ = try first.frontEnd.features()
        }
        first.server.stop()

        let second = try Rig(replacing: first)
        try second.begin(keepsInflight: true)
        try second.finish(20)
        for tag in 0..<20 { #expect(second.status(tag) == 0) }
        try second.check(sector: 30, seed: 5)
        #expect(second.driver.reap() == nil)
    }

    /// A device that was killed while it gave a chain back: before the driver could see it, and after that.
    @Test(arguments: [false, true]) func aPackedQueueGoesOnAfterAStepThatWasHalfDone(wasSeen: Bool) throws {
        let rig = try Rig(isPacked: true)
        try rig.begin(keepsInflight: true)
        for sector: UInt64 in 0..<4 { try rig.check(sector: sector, seed: UInt8(sector)) }
        rig.frontEnd.disconnect()
        let table = try GuestPages(descriptor: rig.frontEnd.inflight, offset: 0, count: 64)
        // `used_idx` and `old_used_idx` (QueueRegionPacked): 4 times 6 descriptors.
        #expect(table.bytes.load(fromByteOffset: 16, as: UInt16.self) == 24 && table.bytes.load(fromByteOffset: 18, as: UInt16.self) == 24)
        if wasSeen {
            table.bytes.storeBytes(of: 21, toByteOffset: 18, as: UInt16.self)
        } else {
            table.bytes.storeBytes(of: 27, toByteOffset: 16, as: UInt16.self)
            rig.submit(write: false, sector: 2, tag: 7)
        }
        try rig.begin(keepsInflight: true)
        if !wasSeen { try rig.finish(1) }
        try rig.check(sector: 5, seed: 50)
        #expect(table.bytes.load(fromByteOffset: 16, as: UInt16.self) == (wasSeen ? 30 : 33))
        #expect(rig.driver.reap() == nil)
    }

    /// A snapshot doesn't have the front-end's memory: the function waits for it, and goes on when it comes back.
    @Test(arguments: [false, true]) func aSnapshotWithAFrontEndIsGoneOnFromWhenItComesBack(isPacked: Bool) throws {
        let first = try Rig(pace: .realtime(ratio: 1e-6), isPacked: isPacked)
        try first.begin(keepsInflight: true)
        for tag in 0..<20 { first.submit(write: true, sector: UInt64(tag), tag: tag, Array(repeating: UInt8(tag + 1), count: 512)) }
        first.frontEnd.kick(queue: 0)
        while first.machine.inspect({ $0.virtioFunction(1)!.device.requestsInFlight }) == 0 { _ = try first.frontEnd.features() }
        let snapshot = try Snapshot(bytes: first.machine.capture().bytes)
        first.server.stop()

        let second = try Rig(snapshot.description, replacing: first) { try $0.restore(snapshot) }
        second.machine.inspect { device in
            let function = device.virtioFunction(1)!
            #expect(function.device.state.status.isEmpty && !function.device.state.hasFrontEnd && !function.function.isBusMaster)
            // Host memory is back, and there is nothing of the front-end's.
            #expect(function.function.domain?.state.mappings.map(\.origin) == [.machine])
        }
        try second.begin(keepsInflight: true)
        try second.finish(20)
        for tag in 0..<20 {
            second.submit(write: false, sector: UInt64(tag), tag: tag)
            try second.finish(1)
            #expect(second.frontEnd.memory[second.buffer(tag) + 4096, 512] == Array(repeating: UInt8(tag + 1), count: 512))
        }
    }

    @Test(arguments: [false, true]) func aRecordingIsReplayedWithoutTheFrontEnd(isPacked: Bool) throws {
        let folder = try TemporaryFolder(), recording = folder.path("recording")
        do {
            let rig = try Rig(isPacked: isPacked) { machine in
                machine.startDigest()
                try machine.startRecording(folder: recording)
            }
            try rig.begin(keepsInflight: true)
            for sector: UInt64 in 0..<20 { try rig.check(sector: sector * 100, seed: UInt8(sector)) }
            let base = try rig.frontEnd.stop(queue: 0)
            try rig.begin(keepsInflight: true, base: base)
            try rig.check(sector: 3, seed: 77)
            rig.frontEnd.disconnect()
            rig.server.stop()
            rig.machine.stop()
            #expect(rig.machine.stopRecording() == nil)
        }
        let replayer = try Replayer(Recording(folder: recording))
        try replayer.startTrace(folder: nil)
        try replayer.run(to: replayer.recording.end)
        #expect(replayer.divergence == nil)
        let counters = replayer.device.virtioFunction(1)?.block?.state.counters
        #expect(counters?.ok == 42)
    }

    @Test func aResetOfTheFunctionEndsTheConnection() throws {
        let rig = try Rig()
        try rig.begin()
        try rig.check(sector: 0, seed: 9)
        rig.machine.perform(.resetFunction(1))
        #expect(try rig.ended().hasSuffix("expected the function to stay, found it reset or taken away"))
        // It can be had again, with the memory of a new front-end.
        let memory = rig.machine.inspect { $0.hierarchy.function(1)?.domain?.state.mappings.count }
        #expect(memory == 1)
        rig.machine.perform(.setVirtualFunctions(0))
        try rig.frontEnd.connect(to: rig.path)
        #expect(try rig.ended().hasSuffix("expected a function that is present, and has no front-end yet"))
        rig.machine.perform(.setVirtualFunctions(2))
        let next = try Rig(replacing: nil)
        try next.begin()
        try next.check(sector: 0, seed: 9)
    }

    @Test func memoryThatIsCutShortEndsTheConnectionAndNothingElse() throws {
        let rig = try Rig()
        try rig.begin()
        try rig.check(sector: 0, seed: 3)
        #expect(ftruncate(rig.frontEnd.pages.fileDescriptor, 0) == 0)
        rig.frontEnd.kick(queue: 0)
        #expect(try rig.ended().hasSuffix("expected memory that stays as long as it was, found it cut short"))
        #expect(rig.machine.inspect { $0.virtioFunction(1)!.device.state.status.isEmpty })
    }

    @Test(arguments: 1...4 as ClosedRange<UInt64>) func malformedMessagesEndTheConnectionAndLeaveNothingBehind(seed: UInt64) throws {
        let rig = try Rig()
        try rig.begin()
        rig.frontEnd.disconnect()
        // One that the back-end has answered has had its predecessor's end.
        try rig.frontEnd.connect(to: rig.path)
        _ = try rig.frontEnd.features()
        let descriptors = openDescriptors(of: rig.frontEnd.pages.fileDescriptor, socketsAt: rig.path)
        var random = SplitMix64(seed: seed)
        for _ in 0..<150 {
            try rig.frontEnd.connect(to: rig.path)
            for _ in 0..<Int.random(in: 1...12, using: &random) {
                let request = UInt32.random(in: 0...45, using: &random)
                let payload = (0..<Int.random(in: 0...48, using: &random)).map { _ in
                    Bool.random(using: &random) ? 0 : UInt8.random(in: 0...255, using: &random)
                }
                let passed = (0..<Int.random(in: 0...2, using: &random)).map { _ in
                    Bool.random(using: &random) ? rig.frontEnd.pages.fileDescriptor : 0
                }
                guard rig.frontEnd.send(request, payload, descriptors: passed) else { break }
            }
        }
        // Also such as aren't messages at all.
        for bytes in [[1, 0, 0], [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [1, 0, 0, 0, 1, 0, 0, 0, 255, 255, 255, 255]] as [[UInt8]] {
            try rig.frontEnd.connect(to: rig.path)
            #expect(rig.frontEnd.send(raw: bytes))
        }
        try rig.begin()
        try rig.check(sector: 1, seed: 4)
        #expect(openDescriptors(of: rig.frontEnd.pages.fileDescriptor, socketsAt: rig.path) == descriptors)
    }
}
