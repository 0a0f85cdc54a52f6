import Registers
import Testing

/// SystemRDL's software access properties, one by one.
@Suite struct SoftwareAccessTests {
    @Test func rwTakesWhatIsWritten() {
        let device = Device(fields: "f 4 8 rw r reset=0x5a")
        #expect(device.read() == 0x5a0)
        device.write(0xff0)
        #expect(device.read() == 0xff0)
    }

    @Test func rIgnoresWritesBesideWritableFields() {
        let device = Device(fields: "f 0 8 r na reset=0x5a", "g 8 8 rw r reset=0")
        #expect(device.write(0xffff) == .ok)
        #expect(device.read() == 0xff5a)
    }

    @Test func wReadsAsZeroBesideReadableFields() {
        let device = Device(fields: "f 0 8 w r reset=0", "g 8 8 rw r reset=0")
        device.write(0x1234)
        #expect(device.read() == 0x1200)
        #expect(device.block.value(of: .init(rawValue: 0)) == 0x1234)
    }

    @Test func naIsInvisible() {
        let device = Device(fields: "f 0 8 na rw reset=0x5a", "g 8 8 rw r reset=0")
        device.write(0xffff)
        #expect(device.read() == 0xff00)
        #expect(device.block.value(of: .init(rawValue: 0)) == 0xff5a)
    }

    @Test func rw1TakesTheFirstWriteAfterAReset() {
        let device = Device(fields: "f 0 8 rw1 r reset=0x11")
        device.write(0x22)
        device.write(0x33)
        #expect(device.read() == 0x22)
        device.block.reset(.hard)
        #expect(device.read() == 0x11)
        device.write(0x44)
        #expect(device.read() == 0x44)
    }

    @Test func w1TakesTheFirstWriteAndCannotBeRead() {
        let device = Device(fields: "f 0 8 w1 r reset=0", "g 8 1 rw r reset=0")
        device.write(0x22)
        device.write(0x33)
        #expect(device.read() == 0)
        #expect(device.block.value(of: .init(rawValue: 0)) == 0x22)
    }

    /// 0b1100_1100 meets 0b0000_1111: every combination of old and written bit.
    @Test(arguments: [
        ("woset", 0xcf), ("woclr", 0xc0), ("wot", 0xc3), ("wzs", 0xfc), ("wzc", 0x0c), ("wzt", 0x3c), ("wclr", 0x00), ("wset", 0xff),
        ("wuser", 0xcc),
    ] as [(String, UInt64)])
    func onWrite(_ property: String, _ expected: UInt64) {
        let device = Device(fields: "f 4 8 rw r reset=0xcc onwrite=\(property)")
        device.write(0x0f0)
        #expect(device.read() == expected << 4)
    }

    @Test func rclrClearsAfterTheRead() {
        let device = Device(fields: "f 0 8 r w reset=0x5a onread=rclr", "g 8 8 rw r reset=0x11")
        #expect(device.read() == 0x115a)
        #expect(device.read() == 0x1100)
    }

    @Test func rsetSetsAfterTheRead() {
        let device = Device(fields: "f 4 4 rw r reset=0x5 onread=rset")
        #expect(device.read() == 0x50)
        #expect(device.read() == 0xf0)
    }

    @Test func ruserIsLeftToTheModel() {
        let device = Device(fields: "f 0 8 r w reset=0x5a onread=ruser")
        #expect(device.read() == 0x5a)
        #expect(device.read() == 0x5a)
        #expect(device.hooks == ["willRead R", "didRead R 90", "willRead R", "didRead R 90"])
    }

    @Test func singlePulseIsSeenByTheHookAndGoneAfterwards() {
        let device = Device(fields: "f 3 1 rw r reset=0 singlepulse", "g 0 1 rw r reset=0")
        device.write(0b1001)
        #expect(device.hooks.last == "didWrite R 0 9")
        #expect(device.read() == 1)
    }

    @Test func swweLetsWritesThroughWhileTheFieldIsSet() {
        let device = Device("""
            register LOCK 0 32
            field open 1 1 rw r reset=0
            register R 4 32
            field f 0 8 rw r reset=0 swwe=LOCK:open
            field g 8 8 rw r reset=0 swwel=LOCK:open
            """)
        device.write(0x1111, 4)
        #expect(device.read(4) == 0x1100)
        device.write(0b10, 0)
        device.write(0x2222, 4)
        #expect(device.read(4) == 0x1122)
    }

    @Test func byteAccessesReachTheirBytesOnly() {
        let device = Device("register R 0 32 access=8\nfield f 0 32 rw r reset=0x11223344")
        #expect(device.read(1, size: 1) == 0x33)
        #expect(device.read(2, size: 2) == 0x1122)
        device.write(0xab, 3, size: 1)
        device.write(0xcdef, 0, size: 2)
        #expect(device.read() == 0xab22_cdef)
    }

    @Test func aByteReadClearsItsByteOnly() {
        let device = Device("register R 0 32 access=8\nfield f 0 8 r w reset=0x11 onread=rclr\nfield g 8 8 r w reset=0x22 onread=rclr")
        #expect(device.read(1, size: 1) == 0x22)
        #expect(device.read() == 0x11)
    }

    @Test(arguments: [8, 16, 32, 64]) func registersOfEveryWidth(_ width: Int) {
        let device = Device("register R 8 \(width)\nfield f 0 \(width) rw r reset=0x5a")
        #expect(device.read(8, size: width / 8) == 0x5a)
        device.write(.max, 8, size: width / 8)
        #expect(device.read(8, size: width / 8) == .max >> UInt64(64 - width))
    }
}

/// Registers wider than an access.
@Suite struct WideRegisterTests {
    @Test func aBufferedReadIsOneValue() {
        let device = Device("register R 0 64 access=32 rbuf\nfield f 0 64 r w reset=0x1111111122222222")
        #expect(device.read(0) == 0x2222_2222)
        device.block.setValue(0x3333_3333_4444_4444, of: .init(rawValue: 0))
        #expect(device.read(4) == 0x1111_1111)
        #expect(device.read(0) == 0x4444_4444)
        #expect(device.read(4) == 0x3333_3333)
    }

    @Test func aFullWidthReadNeedsNoBuffer() {
        let device = Device("register R 0 64 access=32 rbuf\nfield f 0 64 r w reset=0x1111111122222222")
        #expect(device.read(0, size: 8) == 0x1111_1111_2222_2222)
    }

    @Test func aBufferedReadClearsOnceWithTheLowWord() {
        let device = Device("register R 0 64 access=32 rbuf\nfield f 0 64 r w reset=0x1111111122222222 onread=rclr")
        #expect(device.read(0) == 0x2222_2222)
        #expect(device.block.value(of: .init(rawValue: 0)) == 0)
        #expect(device.read(4) == 0x1111_1111)
    }

    @Test func aBufferedWriteTakesEffectWithTheHighWord() {
        let device = Device("register R 0 64 access=32 wbuf\nfield f 0 64 rw r reset=0")
        device.write(0x2222_2222, 0)
        #expect(device.block.value(of: .init(rawValue: 0)) == 0)
        #expect(device.hooks == ["willWrite R"])
        device.write(0x1111_1111, 4)
        #expect(device.block.value(of: .init(rawValue: 0)) == 0x1111_1111_2222_2222)
        #expect(device.hooks.last == "didWrite R 0 \(0x1111_1111_2222_2222 as UInt64)")
    }

    @Test func theHighWordAloneLeavesTheLowOne() {
        let device = Device("register R 0 64 access=32 wbuf\nfield f 0 64 rw r reset=0x5555555566666666")
        device.write(0x1111_1111, 4)
        #expect(device.read(0, size: 8) == 0x1111_1111_6666_6666)
    }

    @Test func aResetForgetsAWaitingWrite() {
        let device = Device("register R 0 64 access=32 wbuf\nfield f 0 64 rw r reset=0")
        device.write(0x2222_2222, 0)
        device.block.reset(.hard)
        device.write(0x1111_1111, 4)
        #expect(device.read(0, size: 8) == 0x1111_1111_0000_0000)
    }

    @Test func withoutBuffersEachWordIsByItself() {
        let device = Device("register R 0 64 access=32\nfield low 0 32 rw r reset=0\nfield high 32 32 rw r reset=0")
        device.write(7, 4)
        #expect(device.read(0, size: 8) == 7 << 32)
    }
}
