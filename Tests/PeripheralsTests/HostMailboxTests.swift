import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

private final class Messages: InterruptMessageSink {
    var vectors: [Int] = []
    func interruptMessage(_ vector: Int, at cycle: Cycle) { vectors.append(vector) }
}

/// The mailbox with both sides' view of it. Shared memory is 16 MiB at 0x4000_0000.
private struct Bench {
    let scheduler = Scheduler()
    let mailbox: HostMailbox
    let messages = Messages()
    let firmware: RegisterProbe
    let host: RegisterProbe

    init() {
        mailbox = HostMailbox(
            .init(virtualFunctions: 64, harts: 2, sharedMemory: 0x4000_0000..<0x4100_0000), on: scheduler)
        firmware = RegisterProbe(target: mailbox.firmware, map: MAILBOX.map, scheduler: scheduler)
        host = RegisterProbe(target: mailbox.host, map: HOSTIF.map, scheduler: scheduler, initiator: .host(function: 0))
        mailbox.messages = messages
    }

    func configureQueue(_ entries: UInt64 = 64, desc: UInt64 = 0x4000_0000, avail: UInt64 = 0x4000_1000, used: UInt64 = 0x4000_2000) {
        host.write(HOSTIF.QUEUE_SIZE, entries)
        host.write(HOSTIF.QUEUE_DESC_LO, desc & 0xffff_ffff)
        host.write(HOSTIF.QUEUE_DESC_HI, desc >> 32)
        host.write(HOSTIF.QUEUE_AVAIL_LO, avail & 0xffff_ffff)
        host.write(HOSTIF.QUEUE_AVAIL_HI, avail >> 32)
        host.write(HOSTIF.QUEUE_USED_LO, used & 0xffff_ffff)
        host.write(HOSTIF.QUEUE_USED_HI, used >> 32)
        host.write(HOSTIF.QUEUE_CONTROL, 1)
    }

    func configureEvents(_ entries: UInt64 = 16, base: UInt64 = 0x4000_8000) {
        host.write(HOSTIF.EVENT_SIZE, entries)
        host.write(HOSTIF.EVENT_BASE_LO, base & 0xffff_ffff)
        host.write(HOSTIF.EVENT_BASE_HI, base >> 32)
        host.write(HOSTIF.EVENT_CONTROL, 1)
    }
}

@Suite struct MailboxRings {
    @Test func aGoodQueueIsShownToTheFirmware() {
        let bench = Bench()
        bench.firmware.write(MAILBOX.INTR_ENABLE, 2)
        bench.configureQueue()
        #expect(bench.host.read(HOSTIF.QUEUE_CONTROL) == 1)
        #expect(bench.firmware.read(MAILBOX.QUEUE) == 1 << 16 | 64)
        #expect(bench.firmware.read(MAILBOX.QUEUE_DESC) == 0x4000_0000)
        #expect(bench.firmware.read(MAILBOX.QUEUE_AVAIL) == 0x4000_1000)
        #expect(bench.firmware.read(MAILBOX.QUEUE_USED) == 0x4000_2000)
        #expect(bench.mailbox.firmware.interrupt.level)

        bench.host.write(HOSTIF.QUEUE_SIZE, 2)
        bench.host.write(HOSTIF.QUEUE_USED_LO, 0)
        #expect(bench.host.read(HOSTIF.QUEUE_SIZE) == 64 && bench.host.read(HOSTIF.QUEUE_USED_LO) == 0x4000_2000, "locked while enabled")
        bench.host.write(HOSTIF.QUEUE_CONTROL, 0)
        #expect(bench.firmware.read(MAILBOX.QUEUE) == 0)
        bench.host.write(HOSTIF.QUEUE_SIZE, 2)
        #expect(bench.host.read(HOSTIF.QUEUE_SIZE) == 2)
    }

    @Test(arguments: [
        (0, 0x4000_0000, 0x4000_1000, 0x4000_2000, HOSTIF.RingError.size), (1, 0x4000_0000, 0x4000_1000, 0x4000_2000, .size),
        (48, 0x4000_0000, 0x4000_1000, 0x4000_2000, .size), (512, 0x4000_0000, 0x4000_1000, 0x4000_2000, .size),
        (64, 0x4000_0008, 0x4000_1000, 0x4000_2000, .alignment), (64, 0x4000_0000, 0x4000_1001, 0x4000_2000, .alignment),
        (64, 0x4000_0000, 0x4000_1000, 0x4000_2002, .alignment), (64, 0x3fff_fff0, 0x4000_1000, 0x4000_2000, .range),
        (64, 0x4100_0000 - 1008, 0x4000_1000, 0x4000_2000, .range), (64, 0x1_4000_0000, 0x4000_1000, 0x4000_2000, .range),
        (64, 0x4000_0000, 0x4100_0000 - 132, 0x4000_2000, .range), (64, 0x4000_0000, 0x4000_1000, 0xffff_ffff_ffff_fffc, .range),
        (64, 0x4100_0000 - 1024, 0x4000_1000, 0x4000_2000, .none), (256, 0x4000_0000, 0x4100_0000 - 518, 0x4000_2000, .none),
        (2, 0x4000_0000, 0x4000_1000, 0x4100_0000 - 24, .none),
    ] as [(UInt64, UInt64, UInt64, UInt64, HOSTIF.RingError)])
    func aQueueIsCheckedBeforeItIsEnabled(_ entries: UInt64, _ desc: UInt64, _ avail: UInt64, _ used: UInt64, _ error: HOSTIF.RingError) {
        let bench = Bench()
        bench.configureQueue(entries, desc: desc, avail: avail, used: used)
        #expect(bench.host.read(HOSTIF.QUEUE_CONTROL) == (error == .none ? 1 : error.rawValue << 8))
        #expect(bench.firmware.read(MAILBOX.QUEUE) == (error == .none ? 1 << 16 | entries : 0))
    }

    @Test func doorbellsReachTheFirmwareOnlyWithAnEnabledQueue() {
        let bench = Bench()
        bench.firmware.write(MAILBOX.INTR_ENABLE, 1)
        bench.host.write(HOSTIF.DOORBELL, 1)
        #expect(!bench.mailbox.firmware.interrupt.level)
        bench.configureQueue()
        bench.host.write(HOSTIF.DOORBELL, 1)
        #expect(bench.mailbox.firmware.interrupt.level)
        bench.firmware.write(MAILBOX.INTR_STATE, 1)
        #expect(!bench.mailbox.firmware.interrupt.level)
        bench.host.write(HOSTIF.DOORBELL, 1 << 31 | 1 << 4)
        #expect(bench.firmware.read(MAILBOX.DOORBELL) == 1 << 31 | 1 << 4)
        bench.firmware.write(MAILBOX.DOORBELL, 1 << 4)
        #expect(bench.firmware.read(MAILBOX.DOORBELL) == 1 << 31)
    }

    @Test func aBrokenQueueIsDisabledAndTold() {
        let bench = Bench()
        bench.configureQueue()
        bench.host.write(HOSTIF.INTR_ENABLE, 1)
        bench.firmware.write(MAILBOX.QUEUE_ERROR, 1)
        #expect(bench.host.read(HOSTIF.QUEUE_CONTROL) == HOSTIF.RingError.broken.rawValue << 8)
        #expect(bench.firmware.read(MAILBOX.QUEUE) == 0)
        #expect(bench.messages.vectors == [0])
        bench.host.write(HOSTIF.QUEUE_CONTROL, 1)
        #expect(bench.host.read(HOSTIF.QUEUE_CONTROL) == 1, "enabling it again starts over")
    }

    @Test func eventsGoByHeadAndTail() {
        let bench = Bench()
        bench.configureEvents()
        #expect(bench.firmware.read(MAILBOX.EVENT) == 1 << 16 | 16 && bench.firmware.read(MAILBOX.EVENT_BASE) == 0x4000_8000)
        bench.firmware.write(MAILBOX.INTR_ENABLE, 4)
        bench.firmware.write(MAILBOX.EVENT_HEAD, 10)
        #expect(bench.host.read(HOSTIF.EVENT_HEAD) == 10)
        bench.host.write(HOSTIF.EVENT_TAIL, 4)
        #expect(bench.firmware.read(MAILBOX.EVENT_TAIL) == 4 && bench.mailbox.firmware.interrupt.level)
        bench.host.write(HOSTIF.EVENT_TAIL, 11)
        #expect(bench.host.read(HOSTIF.EVENT_TAIL) == 10, "a tail beyond the head counts as the head")
        bench.firmware.write(MAILBOX.EVENT_DROPPED, 3)
        #expect(bench.host.read(HOSTIF.EVENT_DROPPED) == 3)
        bench.host.write(HOSTIF.EVENT_CONTROL, 0)
        bench.configureEvents()
        #expect(bench.host.read(HOSTIF.EVENT_HEAD) == 0 && bench.firmware.read(MAILBOX.EVENT_TAIL) == 0)
        for (entries, base, error) in [(3, 0x4000_8000, 1), (16, 0x4000_8010, 2), (16, 0x40ff_ff00, 3)] as [(UInt64, UInt64, UInt64)] {
            bench.host.write(HOSTIF.EVENT_CONTROL, 0)
            bench.configureEvents(entries, base: base)
            #expect(bench.host.read(HOSTIF.EVENT_CONTROL) == error << 8)
            #expect(bench.firmware.read(MAILBOX.EVENT) == 0)
        }
    }
}

@Suite struct MailboxMessages {
    @Test func everyEnabledCauseSendsItsVectorEachTimeItComesUp() {
        let bench = Bench()
        bench.firmware.write(MAILBOX.NOTIFY, 7)
        #expect(bench.messages.vectors == [] && bench.host.read(HOSTIF.INTR_STATE) == 7, "not enabled: a bit, no message")
        bench.host.write(HOSTIF.INTR_ENABLE, 31)
        bench.firmware.write(MAILBOX.NOTIFY, 1)
        bench.firmware.write(MAILBOX.NOTIFY, 1)
        bench.firmware.write(MAILBOX.NOTIFY, 6)
        bench.firmware.write(MAILBOX.FIRMWARE, 1)
        bench.firmware.write(MAILBOX.FIRMWARE, 1 | 7 << 8)
        #expect(bench.messages.vectors == [0, 0, 1, 1, 2], "a new detail in the same state tells nobody")
        bench.host.write(HOSTIF.VECTOR, 9 | 255 << 8 | 30 << 16)
        bench.host.write(HOSTIF.INTR_TEST, 31)
        #expect(bench.messages.vectors.dropFirst(5) == [9, 30, 30])
        bench.host.write(HOSTIF.INTR_STATE, 31)
        #expect(bench.host.read(HOSTIF.INTR_STATE) == 0)
    }

    @Test func lifeSignsAndScratchPassThrough() {
        let bench = Bench()
        #expect(bench.host.read(HOSTIF.MAGIC) == 0x5254_554f && bench.host.read(HOSTIF.VERSION) == 0x1_0000)
        #expect(bench.host.read(HOSTIF.DEVICE) == 64 | 2 << 8 | 16 << 12 && bench.host.read(HOSTIF.CLOCK) == 1_000_000_000)
        bench.firmware.write(MAILBOX.FIRMWARE_VERSION, 0x0001_0203)
        bench.firmware.write(MAILBOX.FIRMWARE, 2 | 5 << 8)
        #expect(bench.host.read(HOSTIF.FIRMWARE_VERSION) == 0x0001_0203 && bench.host.read(HOSTIF.FIRMWARE) == 2 | 5 << 8)
        bench.scheduler.advance(to: 0x1_2345_6789)
        bench.firmware.write(MAILBOX.HEARTBEAT, 1)
        bench.firmware.write(MAILBOX.HEARTBEAT, 0)
        bench.scheduler.advance(to: 0x2_0000_0000)
        #expect(bench.host.read(HOSTIF.HEARTBEAT) == 1 && bench.host.read(HOSTIF.HEARTBEAT_AT) == 0x1_2345_6789)
        #expect(bench.host.read(HOSTIF.TIME) == 0x2_0000_0000)
        bench.firmware.write(MAILBOX.SCRATCH, 3, 77)
        #expect(bench.host.read(HOSTIF.SCRATCH, 3) == 77)
        bench.host.write(HOSTIF.SCRATCH, 3, 78)
        #expect(bench.firmware.read(MAILBOX.SCRATCH, 3) == 78)
    }
}

@Suite struct FaultRecord {
    private func crash(_ bench: Bench, cause: UInt64) {
        bench.firmware.write(MAILBOX.FAULT_CAUSE, cause)
        bench.firmware.write(MAILBOX.FAULT_PC, 0x8000_1234)
        bench.firmware.write(MAILBOX.FAULT_ADDRESS, 0xdead_beef)
        bench.firmware.write(MAILBOX.FAULT_STATUS, 0x1800)
        for register in 0..<32 { bench.firmware.write(MAILBOX.FAULT_X, register, cause << 8 | UInt64(register)) }
        bench.firmware.write(MAILBOX.FAULT, 1 | 1 << 8 | 1 << 16)
    }

    @Test func theFirstFaultStaysUntilTheHostClearsIt() {
        let bench = Bench()
        bench.host.write(HOSTIF.INTR_ENABLE, 16)
        bench.scheduler.advance(to: 12_345)
        crash(bench, cause: 5)
        #expect(bench.messages.vectors == [2])
        bench.scheduler.advance(to: 20_000)
        crash(bench, cause: 7)
        bench.mailbox.reset(.hard)
        bench.mailbox.reset(.functionLevel)
        #expect(bench.host.read(HOSTIF.FAULT) == 1 | 1 << 8 | 1 << 16)
        #expect(bench.host.read(HOSTIF.FAULT_COUNT) == 2)
        #expect(bench.host.read(HOSTIF.FAULT_CAUSE) == 5 && bench.host.read(HOSTIF.FAULT_PC) == 0x8000_1234)
        #expect(bench.host.read(HOSTIF.FAULT_ADDRESS) == 0xdead_beef && bench.host.read(HOSTIF.FAULT_STATUS) == 0x1800)
        #expect(bench.host.read(HOSTIF.FAULT_CYCLE) == 12_345)
        for register in 0..<32 { #expect(bench.host.read(HOSTIF.FAULT_X, register) == 0x500 | UInt64(register)) }

        bench.host.write(HOSTIF.FAULT, 1)
        #expect(bench.host.read(HOSTIF.FAULT) & 1 == 0)
        crash(bench, cause: 2)
        #expect(bench.host.read(HOSTIF.FAULT_CAUSE) == 2 && bench.host.read(HOSTIF.FAULT_COUNT) == 3)
        bench.mailbox.reset(.powerOn)
        #expect(bench.host.read(HOSTIF.FAULT) == 0 && bench.host.read(HOSTIF.FAULT_COUNT) == 0)
    }

    @Test func theHostCannotWriteTheRecord() {
        let bench = Bench()
        #expect(bench.host.status(writing: 1, to: bench.host.address(HOSTIF.FAULT_PC)) == .readOnly)
        #expect(bench.firmware.status(reading: bench.firmware.address(MAILBOX.NOTIFY)) == .writeOnly)
    }
}

@Suite struct MailboxResets {
    @Test func aFunctionLevelResetClearsTheHostsSetUp() {
        let bench = Bench()
        bench.configureQueue()
        bench.configureEvents()
        bench.host.write(HOSTIF.INTR_ENABLE, 31)
        bench.firmware.write(MAILBOX.FIRMWARE, 2)
        bench.firmware.write(MAILBOX.INTR_ENABLE, 16)
        bench.mailbox.reset(.functionLevel)
        #expect(bench.host.read(HOSTIF.QUEUE_CONTROL) == 0 && bench.host.read(HOSTIF.QUEUE_DESC_LO) == 0)
        #expect(bench.host.read(HOSTIF.INTR_ENABLE) == 0 && bench.host.read(HOSTIF.FIRMWARE) == 2)
        #expect(bench.firmware.read(MAILBOX.QUEUE) == 0 && bench.firmware.read(MAILBOX.EVENT) == 0)
        #expect(bench.mailbox.firmware.interrupt.level && bench.firmware.read(MAILBOX.FIRMWARE) == 2)
        #expect(bench.host.read(HOSTIF.DEVICE) & 0xff == 64)
    }

    @Test func theWatchdogsResetLeavesTheHostsSetUpToBeEnabledAgain() {
        let bench = Bench()
        bench.configureQueue()
        bench.host.write(HOSTIF.INTR_ENABLE, 31)
        bench.firmware.write(MAILBOX.FIRMWARE, 2)
        bench.messages.vectors = []
        bench.mailbox.reset(.hard)
        #expect(bench.messages.vectors == [2])
        #expect(bench.host.read(HOSTIF.FIRMWARE) == 0 && bench.host.read(HOSTIF.QUEUE_CONTROL) == 0)
        bench.host.write(HOSTIF.QUEUE_CONTROL, 1)
        #expect(bench.host.read(HOSTIF.QUEUE_CONTROL) == 1 && bench.firmware.read(MAILBOX.QUEUE) == 1 << 16 | 64)
    }
}
