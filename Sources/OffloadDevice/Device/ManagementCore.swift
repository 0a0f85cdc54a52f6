import Interconnect
import Peripherals
import Registers
import RISCV
import Simulation

/// The harts, and device time as they carry it on.
///
/// A hart runs ahead of the scheduler up to the next deadline or the quantum, whichever comes first; each of its accesses to the bus first
/// brings the scheduler to the access's cycle. When all harts wait, time jumps to the next deadline.
final class ManagementCore: ResetController, WireSink {
    struct State {
        /// By hart: it exists and HART.CTRL.run is set.
        var running: [Bool]
        /// Asked for by SYSCTL or the host, done before the next instruction.
        var firmwareReset: FirmwareResetCause?
        var hartResets: [UInt32?]
        /// By hart: it may have something to execute. False from its wfi until one of its pins rises.
        var awake: [Bool]
    }

    let memory: MemoryMap
    let harts: [Hart]
    private(set) var state: State
    private let ports: [Port]
    private let scheduler: Scheduler
    /// While a debugger is attached: no part of the machine's own state.
    var debug: DebugControl?
    private let quantum: Cycle
    /// Performs a firmware reset; set by the device.
    var onFirmwareReset: ((FirmwareResetCause) -> Void)?

    init(harts count: Int, quantum: Cycle, memory: MemoryMap, crossbar: Crossbar, recorder: AccessRecorder, on scheduler: Scheduler) {
        self.memory = memory
        self.scheduler = scheduler
        self.quantum = quantum
        let ports = (0..<count).map { _ in Port(scheduler, crossbar, recorder) }
        self.ports = ports
        harts = (0..<count).map { Hart(id: $0, resetVector: 0x8000_0000, memory: memory, port: ports[$0]) }
        state = State(
            running: Array(repeating: false, count: count), hartResets: Array(repeating: nil, count: count),
            awake: Array(repeating: false, count: count))
        for hart in harts { hart.isHalted = true }
        for port in ports { port.core = self }
    }

    /// A hart's way to the bus.
    private final class Port: HartPort {
        private let scheduler: Scheduler
        private let crossbar: Crossbar
        private let recorder: AccessRecorder
        /// The end of the present run; in raw memory, because it is read after every access.
        let limit: UnsafeMutablePointer<Cycle>
        /// A debugger watches addresses; read with every access too.
        let isWatched: UnsafeMutablePointer<Bool>
        /// Is told of every access while `isWatched`.
        weak var core: ManagementCore?

        init(_ scheduler: Scheduler, _ crossbar: Crossbar, _ recorder: AccessRecorder) {
            self.scheduler = scheduler
            self.crossbar = crossbar
            self.recorder = recorder
            limit = .allocate(capacity: 1)
            limit.initialize(to: 0)
            isWatched = .allocate(capacity: 1)
            isWatched.initialize(to: false)
        }

        deinit {
            limit.deallocate()
            isWatched.deallocate()
        }

        func access(_ access: inout BusAccess) -> BusStatus {
            scheduler.advance(to: access.time)
            guard recorder.isRecording || isWatched.pointee else { return crossbar.access(&access, in: .firmware) }
            let (address, issued) = (access.address, access.time)
            recorder.begin()
            let status = crossbar.access(&access, in: .firmware)
            if recorder.isRecording { recorder.finish(access, address: address, bus: .firmware, issued: issued, status: status) }
            if isWatched.pointee, status == .ok { core?.accessDone(access, address: address) }
            return status
        }

        var horizon: Cycle { min(limit.pointee, scheduler.nextDue) }
    }

    // MARK: Running

    /// No hart has anything to execute before something else happens.
    var isIdle: Bool { !state.awake.contains(true) && state.firmwareReset == nil }

    /// Where a round that begins now ends at the latest: the next multiple of the quantum, whoever runs the device and how far at a time.
    var roundEnd: Cycle { scheduler.now &- scheduler.now % quantum &+ quantum }

    /// Carries device time on to `end`, unless a debugger holds it.
    func run(until end: Cycle) {
        repeat {
            if isHeld { return }
            performRequests()
            runHarts(until: state.awake.contains(true) ? min(end, roundEnd) : end)
        } while scheduler.now < end || hasRequests
    }

    /// Lets the harts execute until `end` at most, or until the next deadline, and brings the scheduler to where they are.
    private func runHarts(until end: Cycle) {
        let limit = min(end, scheduler.nextDue)
        for (number, hart) in harts.enumerated() where state.awake[number] {
            ports[number].limit.pointee = limit
            hart.idle(until: scheduler.now)
            switch debug == nil ? hart.run(until: limit) : runDebugged(number, until: limit) {
            case .waiting, .halted: state.awake[number] = false
            case .horizon, .breakpoint: break
            }
            if isHeld { return scheduler.advance(to: min(hart.time, limit, scheduler.nextDue)) }
        }
        // A request, or an access that armed something earlier, ended the run before the limit.
        if hasRequests { return }
        scheduler.advance(to: min(limit, scheduler.nextDue))
    }

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

    /// Whether ``accessDone(_:address:)`` is told of the harts' accesses.
    func setWatched(_ isWatched: Bool) {
        for port in ports { port.isWatched.pointee = isWatched }
    }

    /// Every hart stops before its next instruction, so that requests are performed.
    func interruptRun() {
        for port in ports { port.limit.pointee = 0 }
    }

    // MARK: Requests

    func setRunning(_ isRunning: Bool, hart: Int) {
        guard harts.indices.contains(hart) else { return }
        state.running[hart] = isRunning
        harts[hart].isHalted = !isRunning
        state.awake[hart] = isRunning
        interruptRun()
    }

    func resetHart(_ hart: Int, bootAddress: UInt32) {
        guard harts.indices.contains(hart) else { return }
        state.hartResets[hart] = bootAddress
        interruptRun()
    }

    func requestFirmwareReset(_ cause: FirmwareResetCause) {
        state.firmwareReset = cause
        interruptRun()
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
        harts[hart].setPin(pin, level)
        if level, state.running[hart] { state.awake[hart] = true }
    }
}
