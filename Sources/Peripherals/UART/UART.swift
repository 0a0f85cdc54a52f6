import Interconnect
import Registers
import RegisterMaps
import Simulation

/// Takes what the firmware prints.
public protocol ConsoleSink: AnyObject {
    func consoleOutput(_ byte: UInt8)
}

/// The console: a 16550A with registers four bytes apart. Sections are those of the PC16550D data sheet.
public final class ConsoleUART: BusTarget, RegisterModel, DeadlineTarget, ArchivedModel {
    static let fifoDepth = 16
    /// Fabric cycles of one UART clock.
    static let cyclesPerClock: Cycle = 10
    /// Bytes of input that may wait outside; more is dropped, as a terminal that nobody reads does.
    static let inputLimit = 4096
    /// A printed line that is longer is told in parts.
    static let lineLimit = 240

    public struct State: Sendable {
        /// Outside, waiting for its time on the line.
        var input: [UInt8] = []
        /// When the next byte of input is complete.
        var inputDue = Cycle.max
        var received: [UInt8] = []
        var toSend: [UInt8] = []
        /// In the transmitter's shift register, and when its last bit has gone.
        var shifting: UInt8 = 0
        var shiftDue = Cycle.max
        var fifosEnabled = false
        var trigger = 1
        /// "Transmitter holding register empty" has come up and has not been acknowledged by a read of IIR (8.6, table V).
        var emptyPending = false
        /// Last read of a byte or arrival of one: the start of the character time-out (8.5, FIFO interrupt mode).
        var lastActivity: Cycle = 0
        var timedOut = false
        /// IER, while a read of it shows the divisor latch.
        var hiddenIER: UInt64 = 0
        /// What was printed since the last end of a line. Kept whether somebody records or not, so that a snapshot has it.
        var line: [UInt8] = []
    }

    public let registers: RegisterBlock
    public var state = State()
    public let interrupt = Wire("uart.irq")
    public weak var console: (any ConsoleSink)?
    /// While somebody records.
    public unowned(unsafe) var trace: (any TraceSink)?
    private let scheduler: Scheduler
    private var deadline: Deadline!

    public init(on scheduler: Scheduler, number: Int = 0) {
        registers = RegisterBlock(UART.map, number: number)
        self.scheduler = scheduler
        deadline = Deadline("uart", on: scheduler, target: self)
    }

    /// A byte is on one of the lines.
    public var isBusy: Bool { state.shiftDue != .max || state.inputDue != .max }

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }
    public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

    /// A firmware reset. What was sent before it still reaches the console; input keeps waiting.
    public func reset() {
        if state.shiftDue != .max { print(state.shifting) }
        for byte in state.toSend { print(byte) }
        state = State(input: state.input, line: state.line)
        registers.reset(.hard)
        update(at: scheduler.now)
    }

    /// Somebody types.
    /// - Returns: how many of the bytes were taken.
    @discardableResult
    public func receive(_ bytes: some Collection<UInt8>) -> Int {
        let count = min(bytes.count, Self.inputLimit - state.input.count)
        state.input.append(contentsOf: bytes.prefix(count))
        update(at: scheduler.now)
        return count
    }

    // MARK: Registers

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        switch register {
        case UART.DATA:
            registers[UART.DATA] = hidesData ? registers[UART.DLL] : UInt64(state.received.first ?? 0)
        case UART.IER where hidesData:
            // Shown for this read alone: didRead puts the enables back.
            state.hiddenIER = registers[UART.IER]
            registers[UART.IER] = registers[UART.DLM] & 0xf
        default:
            break
        }
    }

    public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        switch register {
        case UART.DATA where !hidesData:
            if !state.received.isEmpty { state.received.removeFirst() }
            state.lastActivity = access.time
            state.timedOut = false
        case UART.IER where hidesData:
            registers[UART.IER] = state.hiddenIER
        case UART.IIR_FCR:
            if UART.IIR_FCR.id.value(in: value) == Identification.empty { state.emptyPending = false }
        default:
            break
        }
        update(at: scheduler.now)
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case UART.DATA:
            if hidesData { registers[UART.DLL] = new } else { send(UInt8(truncatingIfNeeded: new)) }
        case UART.IER:
            if hidesData {
                registers[UART.DLM] = access.value & 0xff
                registers[UART.IER] = old
            } else if UART.IER.tx_empty.isSet(in: new & ~old), state.toSend.isEmpty {
                state.emptyPending = true
            }
        case UART.IIR_FCR:
            control(new)
        default:
            break
        }
        update(at: scheduler.now)
    }

    private var hidesData: Bool { registers[UART.LCR.dlab] != 0 }

    /// FCR (8.5).
    private func control(_ value: UInt64) {
        let enable = value & 1 != 0
        if enable != state.fifosEnabled || value & 2 != 0 { state.received.removeAll() }
        if enable != state.fifosEnabled || value & 4 != 0 { state.toSend.removeAll() }
        state.fifosEnabled = enable
        state.trigger = enable ? [1, 4, 8, 14][Int(value >> 6 & 3)] : 1
        state.timedOut = false
    }

    private func send(_ byte: UInt8) {
        state.emptyPending = false
        if registers[UART.MCR.loopback] != 0 {
            arrive(byte)
            state.emptyPending = true
        } else if state.toSend.count < (state.fifosEnabled ? Self.fifoDepth : 1) {
            state.toSend.append(byte)
        }
    }

    private func arrive(_ byte: UInt8) {
        guard state.received.count < (state.fifosEnabled ? Self.fifoDepth : 1) else {
            registers[UART.LSR.overrun] = 1
            return
        }
        state.received.append(byte)
        state.lastActivity = scheduler.now
        state.timedOut = false
    }

    // MARK: Time

    public func deadlineReached(_ tag: Int, at cycle: Cycle) { update(at: cycle) }

    /// Cycles that a byte takes on the line: start bit, word, parity, stop bits (8.1, 8.3).
    private var byteTime: Cycle {
        let control = registers[UART.LCR]
        let word = 5 + UART.LCR.word_length.value(in: control) + UART.LCR.parity.value(in: control)
        let bits = 1 + word + 1 + UART.LCR.stop.value(in: control)
        return bits * 16 * max(registers[UART.DLM] << 8 | registers[UART.DLL], 1) * Self.cyclesPerClock
    }

    /// Moves bytes on the line as far as the time has come, then shows the state in the registers and waits for the next change.
    private func update(at cycle: Cycle) {
        moveOutput(at: cycle)
        moveInput(at: cycle)
        let timeOut = state.lastActivity &+ 4 &* byteTime
        let mayTimeOut = state.fifosEnabled && !state.received.isEmpty && !state.timedOut
        if mayTimeOut, cycle >= timeOut { state.timedOut = true }
        show()
        var next = min(state.shiftDue, state.inputDue)
        if mayTimeOut, !state.timedOut { next = min(next, timeOut) }
        if next == .max { deadline.cancel() } else { deadline.arm(at: next) }
    }

    private func moveOutput(at cycle: Cycle) {
        while true {
            if state.shiftDue <= cycle {
                print(state.shifting)
                let ended = state.shiftDue
                state.shiftDue = .max
                startShift(at: ended)
            } else if state.shiftDue == .max, !state.toSend.isEmpty {
                startShift(at: cycle)
            } else {
                return
            }
        }
    }

    /// A byte has left the line.
    private func print(_ byte: UInt8) {
        console?.consoleOutput(byte)
        let isEnd = byte == UInt8(ascii: "\n")
        if !isEnd, byte != UInt8(ascii: "\r") { state.line.append(byte) }
        guard isEnd || state.line.count == Self.lineLimit else { return }
        trace?.linePrinted(state.line)
        state.line.removeAll(keepingCapacity: true)
    }

    private func startShift(at cycle: Cycle) {
        guard !state.toSend.isEmpty else { return }
        state.shifting = state.toSend.removeFirst()
        state.shiftDue = cycle &+ byteTime
        if state.toSend.isEmpty { state.emptyPending = true }
    }

    private func moveInput(at cycle: Cycle) {
        let depth = state.fifosEnabled ? Self.fifoDepth : 1
        if state.inputDue <= cycle {
            state.inputDue = .max
            if state.received.count < depth, !state.input.isEmpty { arrive(state.input.removeFirst()) }
        }
        if state.inputDue == .max, !state.input.isEmpty, state.received.count < depth { state.inputDue = cycle &+ byteTime }
    }

    // MARK: Status

    /// Interrupt identification codes (8.6, table V), highest priority first.
    private enum Identification {
        static let lineStatus: UInt64 = 3
        static let available: UInt64 = 2
        static let timeOut: UInt64 = 6
        static let empty: UInt64 = 1
    }

    private func show() {
        let isIdle = state.toSend.isEmpty && state.shiftDue == .max
        registers[UART.LSR.data_ready] = state.received.isEmpty ? 0 : 1
        registers[UART.LSR.tx_holding_empty] = state.toSend.isEmpty ? 1 : 0
        registers[UART.LSR.tx_empty] = isIdle ? 1 : 0
        showModem()
        let enabled = registers[UART.IER]
        var identification: UInt64?
        if UART.IER.line_status.isSet(in: enabled), registers[UART.LSR.overrun] != 0 {
            identification = Identification.lineStatus
        } else if UART.IER.rx_available.isSet(in: enabled), state.received.count >= state.trigger {
            identification = Identification.available
        } else if UART.IER.rx_available.isSet(in: enabled), state.timedOut {
            identification = Identification.timeOut
        } else if UART.IER.tx_empty.isSet(in: enabled), state.emptyPending {
            identification = Identification.empty
        } else if UART.IER.modem_status.isSet(in: enabled), registers[UART.MSR] & 0xf != 0 {
            identification = 0
        }
        registers[UART.IIR_FCR] = (identification.map { $0 << 1 } ?? 1) | (state.fifosEnabled ? 0xc0 : 0)
        interrupt.drive(identification != nil)
    }

    /// In loop-back the modem outputs are the modem inputs (8.8); otherwise the other side is always ready.
    private func showModem() {
        let control = registers[UART.MCR]
        var inputs: UInt64 = 0xb0
        if UART.MCR.loopback.isSet(in: control) {
            inputs = UART.MCR.rts.value(in: control) << 4 | UART.MCR.dtr.value(in: control) << 5
                | UART.MCR.out1.value(in: control) << 6 | UART.MCR.out2.value(in: control) << 7
        }
        let old = registers[UART.MSR]
        let changed = (old ^ inputs) >> 4 & 0xf
        // The ring indicator counts only when it goes away (8.9, trailing edge).
        let deltas = changed & 0b1011 | (changed & 0b100 & (old >> 4))
        registers[UART.MSR] = inputs | (old & 0xf) | deltas
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("uart") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try archive.bytes(&state.input, limit: Self.inputLimit)
            try archive.cycle(&state.inputDue)
            try archive.bytes(&state.received, limit: Self.fifoDepth)
            try archive.bytes(&state.toSend, limit: Self.fifoDepth)
            try archive.integer(&state.shifting)
            try archive.cycle(&state.shiftDue)
            try archive.flag(&state.fifosEnabled)
            try archive.integer(&state.trigger, in: 1...Self.fifoDepth)
            try archive.flag(&state.emptyPending)
            try archive.cycle(&state.lastActivity)
            try archive.flag(&state.timedOut)
            try archive.integer(&state.hiddenIER, in: 0...0xff)
            // The limit itself would have ended the line.
            try archive.bytes(&state.line, limit: Self.lineLimit - 1)
            try deadline.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
