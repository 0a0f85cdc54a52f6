import RegisterMaps
import Registers
import Simulation
import Testing

/// What hardware does to fields: interrupts, stickiness, counters, precedence, resets.
@Suite struct HardwareAccessTests {
    func state(_ device: Device) -> UInt64 { device.block.value(of: .init(rawValue: 0)) }

    @Test func aLevelInterruptThatIsNotStickyFollowsItsInput() {
        let device = Device(fields: "f 2 1 rw w reset=0 onwrite=woclr intr=level")
        device.drive(0, 1)
        device.write(0b100)
        #expect(state(device) == 0b100, "still driven")
        device.drive(0, 0)
        #expect(state(device) == 0)
    }

    @Test func aStickyLevelComesBackWhileItIsHeld() {
        let device = Device(fields: "f 2 1 rw w reset=0 onwrite=woclr intr=level stickybit")
        device.drive(0, 1)
        device.write(0b100)
        #expect(state(device) == 0b100)
        device.drive(0, 0)
        #expect(state(device) == 0b100, "sticky")
        device.write(0b100)
        #expect(state(device) == 0)
    }

    @Test(arguments: [
        ("posedge", [false, true, true, true]), ("negedge", [false, false, false, true]), ("bothedge", [false, true, true, true]),
    ])
    func edges(_ trigger: String, _ pending: [Bool]) {
        let device = Device(fields: "f 0 1 rw w reset=0 onwrite=woclr intr=\(trigger) stickybit")
        for (level, pends) in zip([0, 1, 1, 0] as [UInt64], pending) {
            device.drive(0, level)
            #expect((state(device) == 1) == pends, "\(trigger) at level \(level)")
        }
        device.write(1)
        #expect(state(device) == 0, "an edge stays cleared")
    }

    @Test func anEdgeInterruptNeedsANewEdgeAfterItWasCleared() {
        let device = Device(fields: "f 0 1 rw w reset=0 onwrite=woclr intr=posedge stickybit")
        device.drive(0, 1)
        device.write(1)
        device.drive(0, 1)
        #expect(state(device) == 0)
        device.drive(0, 0)
        device.drive(0, 1)
        #expect(state(device) == 1)
    }

    @Test func stickybitGathersBitsAndStickyHoldsTheFirstValue() {
        let device = Device(fields: "bits 0 4 rw w reset=0 stickybit", "word 4 4 rw w reset=0 sticky")
        for level: UInt64 in [0b0010, 0b0100, 0] {
            device.drive(0, level)
            device.drive(1, level)
        }
        #expect(state(device) == 0b0010_0110)
    }

    @Test func theInterruptLineIsStateAndEnable() {
        let device = Device("""
            register STATE 0 32
            field a 0 1 rw w reset=0 onwrite=woclr intr=level stickybit enable=ENABLE:a
            field b 1 1 rw w reset=0 onwrite=woclr intr=level stickybit mask=ENABLE:b
            field c 2 1 rw w reset=0 onwrite=woclr intr=level stickybit haltenable=ENABLE:c
            register ENABLE 4 32
            field a 4 1 rw r reset=0
            field b 5 1 rw r reset=1
            field c 6 1 rw r reset=1
            """)
        #expect(!device.block.interrupt && !device.block.halt)
        device.block.setValue(0b011, of: .init(rawValue: 0))
        #expect(!device.block.interrupt)
        device.write(0b011 << 4, 4)
        #expect(device.block.interrupt, "a is enabled; b is masked")
        device.write(0b000 << 4, 4)
        #expect(device.block.interrupt, "b isn't masked")
        device.block.setValue(0b100, of: .init(rawValue: 0))
        #expect(device.block.interrupt && !device.block.halt, "c has no gate of its own")
        device.write(0b100 << 4, 4)
        #expect(device.block.halt)
    }

    @Test func countersWrapSaturateAndReportThresholds() {
        let block = Device("""
            register WRAP 0 32
            field f 4 4 rw na reset=14 counter=1,1,-,-,15,0
            register SATURATE 4 32
            field f 0 8 rw na reset=8 counter=3,5,12,2,-,-
            """).block
        func value(_ register: Int) -> UInt64 { block.value(of: .init(rawValue: register)) }
        block.increment(.init(rawValue: 0), field: 0, 0)
        #expect(value(0) == 15 << 4)
        block.increment(.init(rawValue: 0), field: 0, 0)
        #expect(value(0) == 0)
        block.decrement(.init(rawValue: 0), field: 0, 0)
        #expect(value(0) == 15 << 4)
        for expected: UInt64 in [11, 12, 12] {
            block.increment(.init(rawValue: 1), field: 0, 0)
            #expect(value(1) == expected)
        }
        for expected: UInt64 in [7, 2, 2] {
            block.decrement(.init(rawValue: 1), field: 0, 0)
            #expect(value(1) == expected)
        }
    }

    @Test func counterOutcomes() {
        let counter = CounterBehaviour(incrementThreshold: 15, decrementThreshold: 1)
        #expect(NextValue.increment(15, by: 1, width: 4, counter) == (0, overflow: true))
        #expect(NextValue.decrement(0, by: 1, width: 4, counter) == (15, underflow: true))
        #expect(NextValue.increment(.max, by: 1, width: 64, counter) == (0, overflow: true))
        #expect(NextValue.increment(.max, by: 1, width: 64, .init(incrementSaturation: .max)) == (.max, overflow: false))
    }

    @Test func precedenceDecidesWhatCoincides() {
        for (precedence, expected) in [("sw", 0x05), ("hw", 0xff)] as [(String, UInt64)] {
            let device = Device(fields: "f 0 8 rw rw reset=0 precedence=\(precedence)")
            device.coincident = CoincidentEvents(set: 0xff)
            device.write(0x05)
            #expect(state(device) == expected, "\(precedence)")
        }
    }

    @Test func anEventInAFieldThatSoftwareDoesNotWriteHappens() {
        let device = Device(fields: "f 0 8 rw r reset=0", "g 8 8 r w reset=0x0f")
        device.coincident = CoincidentEvents(set: 0x3000, clear: 0x0100)
        device.write(0x05)
        #expect(state(device) == 0x3e05)
    }

    @Test func resetsReachTheFieldsThatDoNotSurviveThem() {
        let device = Device(
            fields: "always 0 4 rw r reset=1", "hard 4 4 rw r reset=2 survives=hard,soft", "flr 8 4 rw r reset=3 survives=flr",
            "never 12 4 rw r")
        for (kind, expected) in [(.powerOn, 0x0321), (.hard, 0xf3f1), (.soft, 0xf3f1), (.functionLevel, 0xff21)] as [(ResetKind, UInt64)] {
            device.block.setValue(0xffff, of: .init(rawValue: 0))
            device.block.reset(kind)
            #expect(state(device) == expected, "\(kind)")
        }
    }

    @Test func aHeldLevelShowsAgainAfterAReset() {
        let device = Device(fields: "f 0 1 rw w reset=0 onwrite=woclr intr=level stickybit")
        device.drive(0, 1)
        device.block.reset(.hard)
        #expect(state(device) == 1)
    }

    @Test func anArchiveHasEverything() throws {
        let map = "register R 0 64 access=32 rbuf wbuf\nfield f 0 64 rw rw reset=0x100000002\nregister S 8 32\nfield f 0 8 rw1 r reset=0"
        let device = Device(map)
        _ = device.read(0)
        device.write(5, 0)
        device.write(1, 8)
        var saving = StateArchive()
        try device.block.archive(&saving)
        let copy = Device(map)
        var loading = StateArchive(loading: saving.bytes)
        try copy.block.archive(&loading)
        try loading.finish()
        copy.write(9, 8)
        #expect(copy.read(8) == 1, "write-once is spent")
        #expect(copy.read(4) == 1, "the latched high word")
        copy.write(7, 4)
        #expect(copy.read(0, size: 8) == 7 << 32 | 5, "the waiting low word")
    }

    @Test func bitsOutsideAllFieldsAreRefused() throws {
        let wide = Device("register R 0 32\nfield f 0 32 rw rw reset=0x100")
        let narrow = Device("register R 0 32\nfield f 0 8 rw rw reset=0")
        var saving = StateArchive()
        try wide.block.archive(&saving)
        let bytes = saving.bytes
        #expect(throws: SnapshotError("snapshot: TEST: R: expected bits of 0xff, found 0x100 (byte 39)")) {
            var loading = StateArchive(loading: bytes)
            try narrow.block.archive(&loading)
        }
    }

    @Test func generatedKeysReachTheirRegisters() {
        let block = RegisterBlock(WDT.map)
        block[WDT.CTRL.bite_enable] = 0
        block[WDT.CTRL.enable] = 3
        #expect(block[WDT.CTRL] == 1, "a field takes the bits that fit")
        #expect(block.peek(WDT.map[WDT.CTRL.index].offset, size: 4) == 1)
        block.raise(WDT.INTR_STATE.bark)
        #expect(!block.interrupt)
        block[WDT.INTR_ENABLE.bark] = 1
        #expect(block.interrupt && block.interrupt(of: WDT.INTR_STATE))
        let plic = RegisterBlock(PLIC.map)
        for source in 0..<31 { plic[PLIC.PRIORITY, source] = UInt64(source % 8) }
        #expect(plic[PLIC.PRIORITY.priority, 30] == 6)
        #expect(plic.peek(PLIC.map[PLIC.PRIORITY.index].offset(ofElement: 30), size: 4) == 6)
    }
}
