import Registers
import Testing

/// Bad accesses are never silent, and never change anything.
@Suite struct BusErrorTests {
    let device = Device("""
        register RW 0x10 32
        field f 0 8 rw r reset=0x5a
        register RO 0x14 32
        field f 0 8 r w reset=0x11 onread=rclr
        register WO 0x18 32
        field f 0 8 w r reset=0
        register BYTE 0x1c 8
        field f 0 8 rw r reset=0x77
        window RAM 0x100 0x10 rw
        window ROM 0x200 0x10 r
        """)

    @Test(arguments: [0, 0xc, 0x1d, 0x20, 0xff, 0x110, 0x1000, 0x1_0000_0010, .max] as [UInt64])
    func nothingAnswersOutsideRegistersAndWindows(_ address: UInt64) {
        #expect(device.status(read: address, size: 1) == .unmapped)
        #expect(device.write(1, address, size: 1) == .unmapped)
        #expect(device.block.peek(address, size: 1, model: device) == nil)
        #expect(device.block.failures(.unmapped) == 2)
        #expect(device.hooks.isEmpty)
    }

    @Test(arguments: [(0x10, 1), (0x10, 2), (0x10, 8), (0x1c, 2), (0x1c, 4)] as [(UInt64, Int)])
    func onlySizesBetweenAccessWidthAndWidth(_ address: UInt64, _ size: Int) {
        #expect(device.status(read: address, size: size) == .wrongSize)
        #expect(device.write(1, address, size: size) == .wrongSize)
        #expect(device.block.failures(.wrongSize) == 2)
        #expect(device.read(0x10) == 0x5a)
    }

    @Test(arguments: [1, 2, 3] as [UInt64]) func onlyMultiplesOfTheSize(_ offset: UInt64) {
        #expect(device.status(read: 0x10 + offset) == .misaligned)
        #expect(device.write(0, 0x10 + offset) == .misaligned)
        #expect(device.read(0x10) == 0x5a)
        #expect(device.block.failures(.misaligned) == 2)
    }

    @Test func aWriteToWhatCanOnlyBeRead() {
        #expect(device.write(0xff, 0x14) == .readOnly)
        #expect(device.read(0x14) == 0x11)
        #expect(device.block.failures(.readOnly) == 1)
    }

    @Test func aReadOfWhatCanOnlyBeWritten() {
        device.write(0x33, 0x18)
        #expect(device.status(read: 0x18) == .writeOnly)
        #expect(device.block.peek(0x18, size: 4) == nil)
        #expect(device.block.failures(.writeOnly) == 1)
    }

    @Test func reservedBitsAreCountedAndTheRestTakesEffect() {
        #expect(device.write(0xf00, 0x10) == .ok)
        #expect(device.read(0x10) == 0)
        #expect(device.block.reservedBitWrites == 1)
        device.write(0xff, 0x10)
        #expect(device.block.reservedBitWrites == 1)
    }

    @Test func peekHasNoSideEffect() {
        #expect(device.block.peek(0x14, size: 4) == 0x11)
        #expect(device.block.peek(0x14, size: 4) == 0x11)
        #expect(device.hooks.isEmpty)
        #expect(device.read(0x14) == 0x11)
        #expect(device.block.peek(0x14, size: 4) == 0)
    }

    @Test func windowsAreTheModels() {
        #expect(device.write(0xab, 0x103, size: 1) == .ok)
        #expect(device.read(0x103, size: 1) == 0xab)
        #expect(device.block.peek(0x103, size: 1, model: device) == 0xab)
        #expect(device.write(1, 0x203, size: 1) == .readOnly)
        #expect(device.read(0x203, size: 1) == 0xab)
        #expect(device.status(read: 0x10e, size: 4) == .unmapped, "across the window's end")
    }

    @Test func theTapHasWhatEachAccessDid() {
        let tap = UnsafeMutablePointer<RegisterTap>.allocate(capacity: 1)
        let place = UnsafeMutablePointer<UnsafeMutablePointer<RegisterTap>>.allocate(capacity: 1)
        place.initialize(to: tap)
        defer {
            tap.deallocate()
            place.deallocate()
        }
        func told(_ access: () -> Void) -> String {
            tap.initialize(to: RegisterTap())
            access()
            let last = tap.pointee
            return last.place == RegisterTap.none ? "nothing" : "\(last.register)[\(last.element)]+\(last.byte) \(last.old)->\(last.new)"
        }
        device.block.setTap(place)
        #expect(told { device.write(0x101, 0x10) } == "0[0]+0 90->1")
        #expect(told { device.write(0, 0x12, size: 1) } == "0[0]+2 1->1")
        #expect(told { _ = device.read(0x14) } == "1[0]+0 17->0")
        #expect(told { device.write(1, 0x14) } == "1[0]+0 0->0", "refused")
        #expect(told { _ = device.read(0) } == "nothing")
        device.block.setTap(nil)
        #expect(told { device.write(2, 0x10) } == "nothing")
    }

    @Test func anAccessCostsTheRegistersLatency() {
        let device = Device("register SLOW 0 32 latency=7\nfield f 0 8 rw r reset=0")
        var access = BusAccess(read: 0, size: 4, initiator: .hart(0), time: 100)
        #expect(device.block.access(&access, model: device) == .ok)
        #expect(access.time == 107)
    }
}
