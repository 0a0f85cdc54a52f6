import Interconnect
import Peripherals
import Registers
import RISCV
import Simulation

/// The harts, and device time as they carry it on: Rounds.swift.
///
/// A hart runs ahead of the scheduler; each of its accesses to the bus first brings the scheduler to the access's cycle.
final class ManagementCore: ResetController, WireSink {
    struct State {
        /// By hart: it exists and HART.CTRL.run is set.
        var running: [Bool]
        /// Asked for by SYSCTL or the host, done before the next round.
        var firmwareReset: FirmwareResetCause?
        var hartResets: [UInt32?]
        /// By hart: it may have something to execute. False from its wfi until one of its pins rises.
        var awake: [Bool]
        /// By hart: a debugger keeps it from executing; its turns pass. An input.
        var isKept: [Bool]
        /// Rounds that have begun since power-on.
        var rounds: UInt64 = 0
        /// The hart whose turn it is, the number of harts after all turns; nil between rounds.
        var turn: Int?
        /// Where the round ends; a request brings that forward.
        var end: Cycle = 0
        /// The host, or a program of its, looks at the device at this cycle: a round that begins before ends there at the latest. An input.
        var appointment: Cycle = 0
        /// Inputs since power-on (``inputPerformed()``).
        var inputs: UInt64 = 0
    }

    let memory: MemoryMap
    let harts: [Hart]
    var state: State
    private let ports: [Port]
    let scheduler: Scheduler
    let recorder: TraceRecorder
    /// While a debugger is attached: no part of the machine's own state.
    var debug: DebugControl?
    /// While somebody asks where the harts spend their time. What a debugger makes them execute is not part of it.
    var profile: ExecutionProfile?
    let quantum: Cycle
    /// Device time when the last turn of a round was over, for those who observe what happens on the way to the round's end.
    var turnsOver: Cycle = 0
    /// Performs a firmware reset; set by the device.
    var onFirmwareReset: ((FirmwareResetCause) -> Void)?

    init(harts count: Int, quantum: Cycle, memory: MemoryMap, crossbar: Crossbar, recorder: TraceRecorder, on scheduler: Scheduler) {
        self.memory = memory
        self.scheduler = scheduler
        self.recorder = recorder
        self.quantum = quantum
        let ports = (0..<count).map { Port($0, scheduler, crossbar, recorder) }
        self.ports = ports
        harts = (0..<count).map { Hart(id: $0, resetVector: 0x8000_0000, memory: memory, port: ports[$0]) }
        state = State(
            running: Array(repeating: false, count: count), hartResets: Array(repeating: nil, count: count),
            awake: Array(repeating: false, count: count), isKept: Array(repeating: false, count: count))
        for hart in harts { hart.isHalted = true }
        for port in ports { port.core = self }
    }

    /// A hart's way to the bus.
    private final class Port: HartPort {
        private let hart: Int
        private let scheduler: Scheduler
        private let crossbar: Crossbar
        private let recorder: TraceRecorder
        /// The end of the present turn; in raw memory, because it is read after every access.
        let limit: UnsafeMutablePointer<Cycle>
        /// Is asked before accesses while a debugger watches addresses.
        weak var core: ManagementCore?

        init(_ hart: Int, _ scheduler: Scheduler, _ crossbar: Crossbar, _ recorder: TraceRecorder) {
            self.hart = hart
            self.scheduler = scheduler
            self.crossbar = crossbar
            self.recorder = recorder
            limit = .allocate(capacity: 1)
            limit.initialize(to: 0)
        }

        deinit { limit.deallocate() }

        func access(_ access: inout BusAccess) -> BusStatus {
            scheduler.advance(to: access.time)
            guard recorder.isRecording else { return crossbar.access(&access, in: .firmware) }
            let address = access.address
            recorder.begin(at: access.time)
            let status = crossbar.access(&access, in: .firmware)
            recorder.finish(&access, address: address, bus: .firmware, status: status)
            return status
        }

        func permits(_ access: BusAccess) -> Bool { core?.permits(access) ?? true }

        var horizon: Cycle { min(limit.pointee, scheduler.nextDue) }

        func trapEntered(_ trap: Trap) {
            if recorder.isRecording { recorder.trapEntered(trap, hart: hart) }
        }
    }

    // MARK: Running

    /// No hart has anything to execute before something else happens.
    var isIdle: Bool { !state.awake.contains(true) && state.firmwareReset == nil && state.turn == nil }

    /// An input has been applied.
    func inputPerformed() { state.inputs &+= 1 }

    func setLimit(_ limit: Cycle, hart: Int) { ports[hart].limit.pointee = limit }

    private var hasRequests: Bool { state.firmwareReset != nil || state.hartResets.contains { $0 != nil } }

    func performRequests() {
        guard hasRequests else { return }
        if let cause = state.firmwareReset {
            state.firmwareReset = nil
            for hart in harts.indices { state.hartResets[hart] = nil }
            onFirmwareReset?(cause)
        }
        for (number, address) in state.hartResets.enumerated() {
            guard let address else { continue }
            state.hartResets[number] = nil
            harts[number].resetVector = address
            harts[number].reset()
            harts[number].idle(until: scheduler.now)
            state.awake[number] = state.running[number]
        }
    }

    /// The hart whose turn it is stops before its next instruction.
    func interruptTurn() {
        for port in ports { port.limit.pointee = 0 }
    }

    // MARK: Requests

    func setRunning(_ isRunning: Bool, hart: Int) {
        guard harts.indices.contains(hart) else { return }
        state.running[hart] = isRunning
        harts[hart].isHalted = !isRunning
        if isRunning { wake(hart) } else { state.awake[hart] = false }
    }

    func resetHart(_ hart: Int, bootAddress: UInt32) {
        guard harts.indices.contains(hart) else { return }
        state.hartResets[hart] = bootAddress
        endRoundForRequest()
    }

    func requestFirmwareReset(_ cause: FirmwareResetCause) {
        state.firmwareReset = cause
        endRoundForRequest()
    }

    /// Requests are performed between rounds: the present one ends in the next cycle.
    private func endRoundForRequest() {
        guard state.turn != nil else { return }
        state.end = min(state.end, scheduler.now &+ 1)
        for port in ports { port.limit.pointee = min(port.limit.pointee, state.end) }
    }

    /// The hart has something to execute. It has executed nothing until now.
    private func wake(_ hart: Int) {
        guard !state.awake[hart] else { return }
        state.awake[hart] = true
        harts[hart].idle(until: scheduler.now)
    }

    func hartStatus(_ hart: Int) -> (isPresent: Bool, isRunning: Bool, isWaiting: Bool) {
        guard harts.indices.contains(hart) else { return (false, false, false) }
        return (true, state.running[hart], state.running[hart] && !state.awake[hart])
    }

    /// Input number of a hart's interrupt pin.
    static func input(_ pin: InterruptPin, hart: Int) -> Int { hart << 8 | Int(pin.rawValue) }

    func wireChanged(_ input: Int, level: Bool) {
        let hart = input >> 8
        guard harts.indices.contains(hart), let pin = InterruptPin(rawValue: UInt8(truncatingIfNeeded: input)) else { return }
        if recorder.isRecording { recorder.pinChanged(pin, hart: hart, level: level) }
        harts[hart].setPin(pin, level)
        if level, state.running[hart] { wake(hart) }
    }
}

extension ManagementCore: ArchivedModel {
    /// The harts' own states come with the harts.
    func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("management core") { (archive, _) throws(SnapshotError) in
            let count = harts.count
            try archive.elements(&state.running) { (archive, value) throws(SnapshotError) in try archive.flag(&value) }
            try archive.optional(&state.firmwareReset, blank: .host) { (archive, value) throws(SnapshotError) in try archive.raw(&value) }
            try archive.elements(&state.hartResets) { (archive, value) throws(SnapshotError) in
                try archive.optional(&value, blank: 0) { (archive, value) throws(SnapshotError) in try archive.integer(&value) }
            }
            try archive.elements(&state.awake) { (archive, value) throws(SnapshotError) in try archive.flag(&value) }
            try archive.elements(&state.isKept) { (archive, value) throws(SnapshotError) in try archive.flag(&value) }
            try archive.integer(&state.rounds)
            try archive.optional(&state.turn, blank: 0) { (archive, value) throws(SnapshotError) in
                try archive.integer(&value, in: 0...count)
            }
            try archive.integer(&state.end)
            try archive.require(
                state.turn == nil || state.end >= scheduler.now,
                "expected a round that ends at \(scheduler.now) or later, found \(state.end)")
            try archive.integer(&state.appointment)
            try archive.integer(&state.inputs)
        }
    }
}
