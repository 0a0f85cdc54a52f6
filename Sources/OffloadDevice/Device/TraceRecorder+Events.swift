import Interconnect
import Registers
import RISCV
import Simulation
import Tracing

// What models tell of themselves, as events. Each happens at the device's present cycle, but for what a hart does: harts run ahead of it.

extension TraceRecorder: TraceSink {
    func interruptLineChanged(source: Int, level: Bool) { lineChanged(TraceWires.number(ofSource: source), level) }

    func memoryTransferred(function: Int, address: UInt64, bytes: Int, isWrite: Bool, status: BusStatus) {
        let event = DMAEvent(
            time: scheduler.now, function: UInt8(truncatingIfNeeded: function), isWrite: isWrite, address: address,
            bytes: UInt32(clamping: bytes), status: status)
        if let producer { producer.pointee.append(event) } else { record(.dma(event)) }
    }

    func queueStepped(function: Int, queue: Int, _ step: QueueStep, depth: Int) {
        var event = QueueEvent(
            time: scheduler.now, function: UInt8(truncatingIfNeeded: function), queue: UInt16(truncatingIfNeeded: queue), step: .doorbell,
            depth: UInt16(clamping: depth))
        switch step {
        case .doorbell: break
        case .taken(let head, let bytes): (event.step, event.head, event.bytes) = (.taken, head, UInt32(clamping: bytes))
        case .completed(let head, let written): (event.step, event.head, event.bytes) = (.completed, head, written)
        case .notified: event.step = .notified
        }
        if let producer { producer.pointee.append(event) } else { record(.queue(event)) }
    }

    func faultMet(_ fault: DeviceFault) {
        var event = FaultEvent(time: scheduler.now, kind: .watchdog, initiator: .device, name: "bite")
        switch fault {
        case .iommu(let function, let address, let cause):
            (event.kind, event.initiator, event.address, event.name) = (.iommu, .dma(function: function), address, cause)
        case .aer(let function, let error):
            (event.kind, event.initiator, event.name) = (.aer, .dma(function: function), error)
        case .ecc(let initiator, let address, let isCorrected):
            (event.kind, event.initiator, event.address) = (.ecc, initiator, address)
            event.name = isCorrected ? "corrected" : "uncorrectable"
            // It is met in the middle of an access, which will have the time of its issue.
            event.time = issued
        case .watchdog: break
        case .queue(let function, let queue, let reason):
            (event.kind, event.initiator, event.name) = (.queue, .dma(function: function), reason)
            event.origin = UInt32(truncatingIfNeeded: queue)
        }
        record(.fault(event))
    }

    func linePrinted(_ text: [UInt8]) {
        record(.log(LogEvent(time: scheduler.now, content: .line(String(decoding: text, as: UTF8.self)))))
    }

    // MARK: What the device tells

    /// A hart's interrupt pin, driven by ACLINT or PLIC.
    func pinChanged(_ pin: InterruptPin, hart: Int, level: Bool) { lineChanged(TraceWires.number(of: pin, hart: hart), level) }

    private func lineChanged(_ number: UInt16, _ level: Bool) {
        record(.interrupt(InterruptEvent(time: scheduler.now, step: .line(number, level: level))))
    }

    /// An MSI-X message has left a function.
    func messageSent(function: Int, vector: Int) {
        record(.interrupt(InterruptEvent(time: scheduler.now, step: .message(
            function: UInt8(truncatingIfNeeded: function), vector: UInt16(truncatingIfNeeded: vector), level: true))))
    }

    /// A function's INTx line has changed, as it leaves the function.
    func functionLineChanged(_ function: Int, level: Bool) {
        record(.interrupt(InterruptEvent(time: scheduler.now, step: .message(
            function: UInt8(truncatingIfNeeded: function), vector: nil, level: level))))
    }

    /// A hart has entered a handler. Access faults are bus errors of their own.
    func trapEntered(_ trap: Trap, hart: Int) {
        if let name = Self.busErrors[trap.cause] {
            record(.fault(FaultEvent(
                time: trap.time, kind: .bus, initiator: .hart(hart), address: UInt64(trap.value), origin: trap.pc, name: name)))
        }
        record(.interrupt(InterruptEvent(time: trap.time, step: .trap(
            hart: UInt8(truncatingIfNeeded: hart), cause: trap.cause, pc: trap.pc, handler: trap.handler))))
    }

    /// Exceptions of `mcause` that a bus, or physical memory protection, brings about (Privileged Architecture, table 14).
    private static let busErrors: [UInt32: String] = [1: "instruction access", 5: "load access", 7: "store access"]

    /// A round has ended: the moment to look what the firmware has recorded.
    func roundEnded() {
        guard firmwareTrace.hasNews else { return }
        guard isRecording else { return firmwareTrace.skip() }
        for (kind, arguments) in firmwareTrace.take() {
            record(.log(LogEvent(time: scheduler.now, content: .record(kind: kind, arguments: arguments))))
        }
    }
}

extension TraceRecorder: ArchivedModel {
    /// Whether somebody records is not the machine's state; how far the firmware's records were read is.
    func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("firmware trace") { (archive, _) throws(SnapshotError) in try archive.state(&firmwareTrace) }
    }
}

/// The wires on which interrupts travel inside the device, as traces number them: inputs of the PLIC, then the pins of each hart.
enum TraceWires {
    private static let sources = ["UART", "WDT", "FABRIC", "WA", "RM", "VIC", "MAILBOX", "LOG", "SYSCTL", "AUDIT"]
    private static let pins: [InterruptPin] = [.software, .timer, .external]
    private static let harts = 2

    /// By number.
    static let names: [String] = sources.map { "PLIC.\($0)" } + (0..<harts).flatMap { hart in pins.map { "hart\(hart).\($0)" } }

    /// - Parameter source: of the PLIC, from 1.
    static func number(ofSource source: Int) -> UInt16 { UInt16(truncatingIfNeeded: source - 1) }

    static func number(of pin: InterruptPin, hart: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: sources.count + hart * pins.count + (pins.firstIndex(of: pin) ?? 0))
    }
}
