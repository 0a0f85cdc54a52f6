import AdminProtocol
import Hardware
import OffloadManager
import PolicyEngine
import Testing

@Suite struct EventRingTests {
    let device = FakeDevice()

    func with<Result>(_ body: (inout EventRing) -> Result) -> Result {
        Volatile.$bus.withValue(device) {
            let memory = SharedMemory(address: UInt32(FakeDevice.sharedBase), byteCount: UInt32(device.shared.count))
            var ring = EventRing(FakeDevice.hw.mailbox, memory: memory)
            ring.configure()
            return body(&ring)
        }
    }

    func enable(entries: UInt32, base: UInt32) {
        device.set(FakeDevice.hw.mailbox.baseAddress, 0x60, entries | 1 << 16)
        device.set(FakeDevice.hw.mailbox.baseAddress, 0x64, base)
    }

    @Test func postsUntilFullAndCountsTheRest() {
        enable(entries: 4, base: 0x4000_0100)
        with { ring in
            for number in 0..<6 as Range<UInt64> {
                ring.post(.partitionChanged, owner: 7, severity: .warning, at: 1000 + number, number, 9)
            }
            #expect(ring.posted == 4 && ring.dropped == 2)
            #expect(device.get(FakeDevice.hw.mailbox.baseAddress, 0x68) == 4)
            #expect(device.get(FakeDevice.hw.mailbox.baseAddress, 0x70) == 2)
            #expect(device.notifications == [2, 2, 2, 2])
            // The host has read two.
            device.set(FakeDevice.hw.mailbox.baseAddress, 0x6c, 2)
            ring.post(.queueError, at: 5000)
            let event = device.shared.withUnsafeBytes { DeviceEvent(decoding: $0.baseAddress! + 0x100) }
            #expect(event == DeviceEvent(.queueError, sequence: 6, cycle: 5000), "dropped ones have numbers, too")
            let second = device.shared.withUnsafeBytes { DeviceEvent(decoding: $0.baseAddress! + 0x120) }
            #expect(second == DeviceEvent(.partitionChanged, owner: 7, severity: .warning, sequence: 1, cycle: 1001, 1, 9))
        }
    }

    @Test func kindsCanBeSwitchedOff() {
        enable(entries: 4, base: 0x4000_0100)
        with { ring in
            ring.enabledKinds = 1 << UInt64(DeviceEvent.Kind.queueError.rawValue)
            ring.post(.partitionChanged, at: 1)
            ring.post(.queueError, at: 2)
            #expect(ring.posted == 1 && ring.dropped == 0)
        }
    }

    @Test(arguments: [(3, 0x4000_0100), (8192, 0x4000_0000), (4, 0x4000_0110), (4, 0x4010_0000), (4, 0x400f_ffe0), (4, 0xffff_ffe0), (0, 0)]
        as [(UInt32, UInt32)])
    func aRingThatCantBeIsNotWritten(entries: UInt32, base: UInt32) {
        enable(entries: entries, base: base)
        let before = device.shared
        with { ring in
            ring.post(.queueError, at: 1)
            #expect(ring.posted == 0 && ring.dropped == 1)
        }
        #expect(device.shared == before)
    }
}

@Suite struct ProtectionTests {
    /// The rights that the ladder gives to an address (privileged architecture 3.7.1: the lowest entry that matches decides).
    func rights(_ address: UInt32) -> Protection.Rights? {
        let ladder = Protection.ladder(Hart.sections, sharedBytes: 0x100_0000)
        var base: UInt32 = 0
        for index in 0..<Protection.rungCount {
            #expect(ladder[index].top >= base, "rung \(index) is not above the one before")
            if address >> 2 >= base, address >> 2 < ladder[index].top { return ladder[index].rights }
            base = ladder[index].top
        }
        return nil
    }

    @Test func everyPlaceHasItsRights() {
        let sections = Hart.sections
        let expected: [(UInt32, Protection.Rights)] = [
            (0, .none), (0x1_0000, .none), (0x01ff_fffc, .none),
            (0x0200_0000, .data), (0x0200_bff8, .data), (0x0201_0000, .none),
            (0x0c00_0000, .data), (0x0c20_0004, .data), (0x0c40_0000, .none),
            (0x1000_0000, .data), (0x1008_fffc, .data), (0x100e_0000, .none),
            (0x3fff_fffc, .none), (0x4000_0000, .data), (0x40ff_fffc, .data), (0x4100_0000, .none),
            (0x7fff_fffc, .none), (sections.text, .code), (sections.textEnd - 4, .code),
            (sections.textEnd, .read), (sections.constantsEnd - 4, .read), (sections.constantsEnd, .data),
            (sections.stackGuard - 4, .data), (sections.stackGuard, .none), (sections.stack - 4, .none),
            (sections.stack, .data), (sections.end - 4, .data), (sections.end, .none), (0xffff_fff0, .none),
        ]
        for (address, rights) in expected { #expect(self.rights(address) == rights, "0x\(String(address, radix: 16))") }
    }
}

@Suite struct FaultTests {
    func report(cause: UInt32, address: UInt32 = 0, ecc: UInt32 = 0) -> FakeDevice {
        let device = FakeDevice()
        device.set(FakeDevice.hw.sysctl.baseAddress, 0x104, ecc)
        let words: [UInt32] = (0..<32).map { $0 * 0x11 } + [cause, 0x8000_1234, address, 0x1800]
        words.withUnsafeBufferPointer { buffer in
            Volatile.$bus.withValue(device) { FaultFrame(buffer.baseAddress!).report(to: FakeDevice.hw) }
        }
        return device
    }

    func kind(_ device: FakeDevice) -> UInt32 { device.get(FakeDevice.hw.mailbox.baseAddress, 0x100) >> 16 }

    @Test func theRecordHasAllOfTheTrap() {
        let device = report(cause: 7, address: 0xdead_beec)
        let mailbox = FakeDevice.hw.mailbox.baseAddress
        #expect(device.get(mailbox, 0x100) == 1 | 1 << 16)
        #expect([0x108, 0x10c, 0x110, 0x114].map { device.get(mailbox, $0) } == [7, 0x8000_1234, 0xdead_beec, 0x1800])
        #expect((0..<32).map { device.get(mailbox, 0x180 + 4 * $0) } == (0..<32).map { $0 * 0x11 })
        #expect(device.get(mailbox, 0x10) & 0xff == 5)
        #expect(device.console == "\nfault: cause 00000007 pc 80001234 address deadbeec\n")
    }

    @Test func kinds() {
        #expect(kind(report(cause: 2)) == 2, "Swift's own trap")
        #expect(kind(report(cause: 2, address: 0xc000_1073)) == 2, "the same, as a 32-bit instruction")
        #expect(kind(report(cause: 2, address: 0x1234_5678)) == 1, "another illegal instruction")
        #expect(kind(report(cause: 3)) == 2, "the stack protector")
        #expect(kind(report(cause: 0x8000_000b)) == 3, "the watchdog")
        #expect(kind(report(cause: 5, address: 0x9000_0000)) == 1, "a bus error")
        #expect(kind(report(cause: 5, address: 0x8000_2000, ecc: 3)) == 4, "a memory error")
    }
}

@Suite struct ConsoleTests {
    @Test func whatDoesntFitIsDroppedAndSaidSo() {
        let device = FakeDevice()
        Volatile.$bus.withValue(device) {
            let storage = TestStorage()
            var arena = Arena(storage.value.arena)
            var console = Console(FakeDevice.hw.uart, in: &arena)
            // Sixteen bytes leave at each line, the rest waits.
            for number in 0..<100 as Range<UInt32> { console.log("a line of thirty characters, or so", number, 4_294_967_295) }
            for _ in 0..<200 { console.drain() }
            console.log("after")
            for _ in 0..<200 { console.drain() }
            #expect(device.get(FakeDevice.hw.uart.baseAddress, 4) == 0, "nothing waits, no interrupt")
        }
        let lines = device.console.split(separator: "\n")
        #expect(lines.first == "a line of thirty characters, or so 0 4294967295")
        #expect(lines.last == "after")
        let dropped = lines.compactMap { line in line.hasPrefix("[dropped lines: ") ? Int(line.dropFirst(16).dropLast()) : nil }
        #expect(dropped.reduce(0, +) == 100 - lines.filter { $0.hasPrefix("a line") }.count)
        #expect(dropped.reduce(0, +) > 0)
    }
}
