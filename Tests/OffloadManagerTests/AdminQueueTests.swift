import AdminProtocol
import Hardware
import OffloadManager
import Simulation
import Testing

/// What a hostile or careless host can do to the admin queue.
@Suite struct AdminQueueTests {
    /// Makes a chain available that breaks the queue, and checks that the firmware has turned it off and says why.
    func breaks(_ defect: AdminQueue.Defect, _ prepare: (FakeHost) -> Void) {
        let rig = Rig()
        rig.host.write(AdminCommand(.identify))
        prepare(rig.host)
        rig.pass()
        #expect(rig.device.isQueueBroken)
        #expect(rig.host.usedIndex == 0)
        #expect(rig.counters[.queueDefects] == 1)
        #expect(rig.counters[.commands] == 0)
        rig.pass()
        #expect(rig.counters[.queueDefects] == 1, "a queue that is off is not looked at")
    }

    @Test func anAvailableIndexTooFarAhead() {
        breaks(.availableIndex) { host in
            host.ring(head: 0)
            host.device.put(FakeHost.available + 2, UInt64(FakeHost.size + 1), 2)
        }
    }

    @Test func anAvailableIndexThatRunsBackwards() {
        breaks(.availableIndex) { host in
            host.ring(head: 0)
            host.device.put(FakeHost.available + 2, 0xffff, 2)
        }
    }

    @Test func aHeadBeyondTheTable() {
        breaks(.head) { $0.ring(head: FakeHost.size) }
    }

    @Test func aNextBeyondTheTable() {
        breaks(.next) { host in
            host.describe(0, FakeHost.address(FakeHost.command), 24, next: 0xfffe)
            host.ring(head: 0)
        }
    }

    @Test func aLoop() {
        breaks(.loop) { host in
            for index in 0..<3 { host.describe(index, FakeHost.address(FakeHost.command), 8, next: (index + 1) % 3) }
            host.ring(head: 1)
        }
    }

    @Test func anIndirectDescriptor() {
        breaks(.indirect) { host in
            host.describe(0, FakeHost.address(FakeHost.command), 24, flags: 4)
            host.ring(head: 0)
        }
    }

    @Test func aReadableDescriptorAfterAWritableOne() {
        breaks(.order) { host in
            host.describe(0, FakeHost.address(FakeHost.answer), 64, writable: true, next: 1)
            host.describe(1, FakeHost.address(FakeHost.command), 24)
            host.ring(head: 0)
        }
    }

    @Test func ringsOutsideSharedMemoryAreRefused() {
        let mailbox = FakeDevice.hw.mailbox.baseAddress
        for (offset, value) in [(0x44, 0x3fff_fff0), (0x44, 0x4000_1008), (0x48, 0x400f_fffe), (0x4c, 0xffff_fffc), (0x40, 3 | 1 << 16)]
            as [(UInt, UInt32)] {
            let rig = Rig()
            rig.device.set(mailbox, offset, value)
            rig.device.set(mailbox, 0, 2)
            rig.device.pending.append(7)
            rig.pass()
            #expect(rig.device.isQueueBroken, "register \(offset) = \(value)")
        }
    }

    /// Bad addresses spoil one command, not the queue.
    @Test(arguments: [0x3fff_ffff, 0x400f_fff0, 0x4010_0000, 0x8000_0000, 0x1_4000_4000, .max] as [UInt64])
    func aCommandOutsideSharedMemory(address: UInt64) {
        let rig = Rig()
        rig.host.describe(0, address, 24, next: 1)
        rig.host.describe(1, FakeHost.address(FakeHost.answer), 64, writable: true)
        rig.host.ring(head: 0)
        rig.pass()
        #expect(rig.host.latestUsed == (0, AdminResult.byteCount))
        #expect(rig.host.header == AdminResult(.invalid, .command))
        #expect(!rig.device.isQueueBroken)
        #expect(rig.send(AdminCommand(.identify)).status == 0)
    }

    @Test func anAnswerOutsideSharedMemory() {
        let rig = Rig()
        rig.host.write(AdminCommand(.identify))
        rig.host.describe(0, FakeHost.address(FakeHost.command), 24, next: 1)
        rig.host.describe(1, 0x8000_0000, 0x1000, writable: true)
        rig.host.ring(head: 0)
        rig.pass()
        #expect(rig.host.latestUsed == (0, 0))
        // Room for the header, and then a gap.
        rig.host.describe(1, FakeHost.address(FakeHost.answer), 8, writable: true, next: 2)
        rig.host.describe(2, 0x8000_0000, 0x1000, writable: true, next: 3)
        rig.host.describe(3, FakeHost.address(FakeHost.answer + 8), 0x1000, writable: true)
        rig.host.ring(head: 0)
        rig.pass()
        #expect(rig.host.latestUsed == (0, 8))
        #expect(rig.host.header == AdminResult(.invalid, .result))
    }

    @Test func aChainWithoutARoomForTheAnswer() {
        let rig = Rig()
        rig.host.write(AdminCommand(.identify))
        rig.host.describe(3, FakeHost.address(FakeHost.command), 24)
        rig.host.ring(head: 3)
        rig.pass()
        #expect(rig.host.latestUsed == (3, 0))
    }

    /// Commands and answers in pieces of odd sizes at odd addresses.
    @Test func scatteredChains() {
        let rig = Rig()
        rig.host.write(AdminCommand(.identify))
        for (index, piece) in [0, 5, 5, 23].enumerated() {
            rig.host.describe(index, FakeHost.address(FakeHost.command + piece), [5, 0, 18, 1][index], next: index + 1)
        }
        rig.host.describe(4, FakeHost.address(FakeHost.answer), 3, writable: true, next: 5)
        rig.host.describe(5, FakeHost.address(FakeHost.answer + 3), 30, writable: true, next: 6)
        rig.host.describe(6, FakeHost.address(FakeHost.answer + 33), 100, writable: true)
        rig.host.ring(head: 0)
        rig.pass()
        #expect(rig.host.latestUsed == (0, AdminResult.byteCount + Identity.byteCount))
        #expect(rig.host.header.status == 0)
        #expect(rig.host.result(Identity.self).magic == Identity.expectedMagic)
        #expect(rig.host.result(Identity.self).linkBandwidth == 16_000)
    }

    /// Rings and commands full of noise, with now and then a sensible value: the firmware neither traps nor reaches outside shared
    /// memory (the fake would), and still serves when the queue is set up anew.
    @Test(arguments: 1...6 as ClosedRange<UInt64>) func noise(seed: UInt64) {
        var random = SplitMix64(seed: seed)
        let rig = Rig()
        for round in 0..<1500 {
            for offset in stride(from: FakeHost.descriptors, to: FakeHost.descriptors + 16 * FakeHost.size, by: 16) {
                let isNear = random.next() % 4 != 0
                rig.device.put(offset, isNear ? FakeHost.address(Int(random.next() % 0x12_0000)) : random.next(), 8)
                rig.device.put(offset + 8, random.next() % 3 == 0 ? random.next() : random.next() % 200, 4)
                rig.device.put(offset + 12, random.next() % 4 == 0 ? random.next() : random.next() % 4, 2)
                rig.device.put(offset + 14, random.next() % 10, 2)
            }
            for offset in stride(from: FakeHost.command, to: FakeHost.command + 64, by: 8) { rig.device.put(offset, random.next(), 8) }
            rig.device.put(FakeHost.command, random.next() % 0x60, 2)
            rig.device.put(FakeHost.command + 2, random.next() % 2, 2)
            rig.device.put(FakeHost.command + 16, random.next() % 10, 8)
            if random.next() % 2 == 0 { rig.host.describe(0, FakeHost.address(FakeHost.command), 64, next: 1) }
            rig.host.ring(head: Int(random.next() % UInt64(FakeHost.size + 1)))
            if random.next() % 16 == 0 { rig.device.put(FakeHost.available + 2, random.next(), 2) }
            rig.pass()
            rig.pass()
            // Whatever the round has overwritten, the host sets its queue up anew.
            rig.device.put(FakeHost.available, 0, 8)
            rig.device.put(FakeHost.used, 0, 8)
            _ = FakeHost(rig.device)
            rig.device.set(FakeDevice.hw.mailbox.baseAddress, 0, 2)
            rig.device.pending.append(7)
            rig.pass()
            let answer = rig.send(AdminCommand(.identify))
            #expect(answer.status == 0, "seed \(seed), round \(round)")
            guard answer.status == 0 else { return }
        }
    }
}
