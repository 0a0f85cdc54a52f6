import Peripherals
import RegisterMaps
import Simulation
import Testing

private final class Terminal: ConsoleSink {
    let scheduler: Scheduler
    var output: [(byte: UInt8, cycle: Cycle)] = []
    init(_ scheduler: Scheduler) { self.scheduler = scheduler }
    func consoleOutput(_ byte: UInt8) { output.append((byte, scheduler.now)) }
    var text: String { String(decoding: output.map(\.byte), as: UTF8.self) }
}

@Suite struct UARTTests {
    private let scheduler = Scheduler()
    private let uart: ConsoleUART
    private let probe: RegisterProbe
    private let terminal: Terminal
    /// Start bit, eight data bits, stop bit, at 16 UART clocks of 10 cycles each.
    private let byteTime: Cycle = 1600

    init() {
        uart = ConsoleUART(on: scheduler)
        probe = RegisterProbe(target: uart, map: UART.map, scheduler: scheduler)
        terminal = Terminal(scheduler)
        uart.console = terminal
        probe.write(UART.LCR, 3)
        probe.write(UART.IIR_FCR, 7)
    }

    @Test func bytesTakeTheirTimeOnTheLine() {
        for byte in "abc".utf8 { probe.write(UART.DATA, UInt64(byte)) }
        #expect(probe.read(UART.LSR) == 0)
        scheduler.advance(to: 10_000)
        #expect(terminal.text == "abc")
        #expect(terminal.output.map(\.cycle) == [byteTime, 2 * byteTime, 3 * byteTime])
        #expect(probe.read(UART.LSR) == 0x60)
    }

    @Test func theDivisorAndTheFrameSetTheTime() {
        probe.write(UART.LCR, 0x83)
        probe.write(UART.DATA, 3)
        probe.write(UART.IER, 1)
        #expect(probe.read(UART.DATA) == 3)
        #expect(probe.read(UART.IER) == 1)
        #expect(probe.read(UART.DLL) == 3 && probe.read(UART.DLM) == 1)
        // 7 data bits, parity, two stop bits.
        probe.write(UART.LCR, 0x0e)
        #expect(probe.read(UART.IER) == 0)
        probe.write(UART.DATA, 0x41)
        scheduler.advance(to: 10_000_000)
        let frame: Cycle = 1 + 7 + 1 + 2
        #expect(terminal.output.map(\.cycle) == [frame * 160 * 0x103])
    }

    @Test func aFullTransmitterLosesBytes() {
        // One is in the shift register, sixteen in the FIFO.
        for byte in 0..<20 as Range<UInt64> { probe.write(UART.DATA, 65 + byte) }
        scheduler.advance(to: 100_000)
        #expect(terminal.text == "ABCDEFGHIJKLMNOPQ")
    }

    @Test func theTransmitterInterruptsWhenItIsEmptyAndReadingAcknowledges() {
        probe.write(UART.IER, 2)
        #expect(uart.interrupt.level)
        #expect(probe.read(UART.IIR_FCR) == 0xc2)
        #expect(!uart.interrupt.level)
        #expect(probe.read(UART.IIR_FCR) == 0xc1)
        probe.write(UART.DATA, 65)
        #expect(uart.interrupt.level)
        probe.write(UART.DATA, 66)
        #expect(!uart.interrupt.level)
        scheduler.advance(to: byteTime)
        #expect(uart.interrupt.level)
    }

    @Test func inputInterruptsAtTheTriggerLevelAndAfterTheTimeOut() {
        probe.write(UART.IIR_FCR, 0x47)
        probe.write(UART.IER, 1)
        #expect(uart.receive([1, 2, 3]) == 3)
        scheduler.advance(to: 3 * byteTime)
        #expect(!uart.interrupt.level)
        #expect(probe.read(UART.LSR.data_ready, UART.LSR) == 1)
        scheduler.advance(to: 7 * byteTime)
        #expect(uart.interrupt.level)
        #expect(probe.read(UART.IIR_FCR) == 0xcc)
        #expect(probe.read(UART.DATA) == 1)
        #expect(!uart.interrupt.level)
        uart.receive([4, 5])
        scheduler.advance(to: 9 * byteTime)
        #expect(probe.read(UART.IIR_FCR) == 0xc4)
        #expect((0..<4).map { _ in probe.read(UART.DATA) } == [2, 3, 4, 5])
        #expect(!uart.interrupt.level && probe.read(UART.LSR) == 0x60)
    }

    @Test func inputWaitsWhileTheReceiverIsFull() {
        let sent = (0..<100).map { UInt8($0) }
        #expect(uart.receive(sent) == 100)
        var received: [UInt8] = []
        for _ in 0..<200 {
            scheduler.advance(to: scheduler.now + 20 * byteTime)
            while probe.read(UART.LSR) & 1 != 0 { received.append(UInt8(probe.read(UART.DATA))) }
        }
        #expect(received == sent)
        #expect(uart.receive(Array(repeating: 0, count: 5000)) == 4096)
    }

    @Test func loopBackReceivesWhatIsSentAndOverrunsAreReported() {
        probe.write(UART.MCR, 0x1f)
        #expect(probe.read(UART.MSR) >> 4 == 0xf)
        probe.write(UART.IER, 4)
        for byte in 0..<17 as Range<UInt64> { probe.write(UART.DATA, byte) }
        #expect(uart.interrupt.level && probe.read(UART.IIR_FCR) == 0xc6)
        #expect(probe.read(UART.LSR.overrun, UART.LSR) == 1)
        #expect(probe.read(UART.LSR.overrun, UART.LSR) == 0)
        #expect(!uart.interrupt.level)
        #expect((0..<16).map { _ in probe.read(UART.DATA) } == Array(0..<16))
        #expect(terminal.output.isEmpty)
    }

    @Test func aResetPrintsWhatWasOnItsWay() {
        for byte in "last words".utf8 { probe.write(UART.DATA, UInt64(byte)) }
        uart.reset()
        #expect(terminal.text == "last words")
        scheduler.advance(to: 100_000)
        #expect(terminal.text == "last words")
        #expect(probe.read(UART.LCR) == 0)
    }
}
