import Registers
import Simulation

/// One RV32IMAC_Zicsr_Zifencei_Zba_Zbb_Zbs hart with M and U mode and 16 PMP entries.
///
/// It executes plain memory directly and sends every other access to its port. It belongs to one thread at a time.
public final class Hart: ArchivedModel {
    /// `mhartid`.
    public let id: Int
    public let memory: MemoryMap
    let port: PortReference

    let core: UnsafeMutablePointer<Core>
    /// Set once, in init.
    private(set) var engine: (any ExecutionEngine)!
    private var breakpoints: Set<UInt32> = []
    /// During a step that takes no interrupts.
    private var masksInterrupts = false

    /// A hart just out of reset.
    ///
    /// - Parameters:
    ///   - id: `mhartid`, and the number in its accesses' initiator.
    ///   - port: serves all accesses outside plain memory. The caller keeps it alive as long as the hart.
    public init<Port: HartPort>(id: Int, resetVector: UInt32, memory: MemoryMap, port: Port) {
        self.id = id
        self.memory = memory
        self.port = PortReferenceTo(port)
        let pages = PageTables()
        core = .allocate(capacity: 1)
        core.initialize(to: Core(
            state: HartState(pc: resetVector), pages: pages, reads: pages.machineReads, writes: pages.machineWrites))
        engine = Interpreter(Unmanaged.passUnretained(self), core)
        memory.attach(self)
    }

    deinit {
        memory.detach(self)
        engine.deallocate()
        core.pointee.pages.deallocate()
        core.deallocate()
    }

    // MARK: State

    /// Everything that instructions, interrupts and time can change. Not to be set from inside an access of this hart.
    public var state: HartState {
        get { core.pointee.state }
        set {
            core.pointee.state = newValue
            core.pointee.state.x[0] = 0
            protectionChanged()
        }
    }

    /// Saves or replaces the state. Decoded code and the memory of pages are no part of it: whoever changes memory says so
    /// (``MemoryMap/wasWritten(_:bytes:)``).
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("hart\(id)") { (archive, _) throws(SnapshotError) in
            var state = core.pointee.state
            try archive.state(&state)
            guard archive.isLoading else { return }
            let isProtectionNew = state.pmp != core.pointee.state.pmp
            core.pointee.state = state
            if isProtectionNew { protectionChanged() } else { dataPrivilegeChanged() }
        }
    }

    /// Puts the hart into its reset state. Time goes on, the pins keep their levels, and it stays halted if it was. Not to be
    /// called from inside an access of this hart.
    public func reset() {
        let before = core.pointee.state
        var state = HartState(pc: before.resetVector)
        state.isHalted = before.isHalted
        state.pins = before.pins
        state.time = before.time
        state.retired = before.retired
        state.csr.cycleBase = before.time
        state.csr.retiredBase = before.retired
        self.state = state
    }

    /// Where ``reset()`` puts the program counter.
    public var resetVector: UInt32 {
        get { core.pointee.state.resetVector }
        set { core.pointee.state.resetVector = newValue }
    }

    /// An integer register, `x0`...`x31`, for a debugger: unlike setting ``state``, writing it costs nothing else.
    public subscript(register number: Int) -> UInt32 {
        get { core.pointee.state.x[number & 31] }
        set { if number & 31 != 0 { core.pointee.state.x[number & 31] = newValue } }
    }

    /// The address of the next instruction; the lowest bit is 0.
    public var pc: UInt32 {
        get { core.pointee.state.pc }
        set { core.pointee.state.pc = newValue & ~1 }
    }

    /// The cycle in which the next instruction begins.
    public var time: Cycle { core.pointee.state.time }

    /// Instructions retired since the hart was made.
    public var retired: UInt64 { core.pointee.state.retired }

    /// While set, the hart executes nothing and ``run(until:)`` returns at once.
    public var isHalted: Bool {
        get { core.pointee.state.isHalted }
        set {
            core.pointee.state.isHalted = newValue
            core.pointee.limit = 0
        }
    }

    /// Lets time pass in which the hart executes nothing, because it waits or is halted. A cycle that has passed is ignored.
    public func idle(until cycle: Cycle) {
        if cycle > core.pointee.state.time { core.pointee.state.time = cycle }
    }

    // MARK: Interrupts

    /// Sets the level of an interrupt pin. Allowed at any time, also from inside an access of this hart: an interrupt that it
    /// makes takeable is taken before the next instruction.
    public func setPin(_ pin: InterruptPin, _ level: Bool) {
        if level {
            core.pointee.state.pins |= pin.mask
        } else {
            core.pointee.state.pins &= ~pin.mask
        }
        lookForInterrupt()
    }

    /// The interrupt that is taken instead of the next instruction, if the hart doesn't wait and isn't halted.
    public var pendingInterrupt: InterruptPin? { core.pointee.state.takeableInterrupt }

    /// Ends the present run before the next instruction if an interrupt has to be taken.
    func lookForInterrupt() {
        if core.pointee.state.takeableInterrupt != nil { core.pointee.limit = 0 }
    }

    // MARK: Running

    /// Executes instructions: one begins if and only if the hart's time is before `cycle` and before the port's horizon.
    public func run(until cycle: Cycle) -> StopReason {
        core.pointee.passesBreakpoint = hasBreakpoint(core.pointee.state.pc)
        while true {
            if isHalted { return .halted }
            if core.pointee.state.isWaiting {
                guard core.pointee.state.pins & core.pointee.state.csr.mie != 0 else { return .waiting }
                core.pointee.state.isWaiting = false
            }
            let limit = min(cycle, port.horizon)
            guard core.pointee.state.time < limit else { return .horizon }
            if !masksInterrupts, let pin = core.pointee.state.takeableInterrupt {
                core.pointee.passesBreakpoint = false
                interrupt(pin)
                continue
            }
            core.pointee.limit = limit
            core.pointee.stop = .horizon
            engine.execute()
            if core.pointee.stop == .breakpoint { return .breakpoint }
        }
    }

    /// Executes one instruction, even if it has a breakpoint, or enters the handler of a pending interrupt. Returns `horizon`
    /// if it did or if the port's horizon has been reached, otherwise why it could not.
    /// - Parameter takingInterrupts: if false, pending interrupts stay pending, as with `stepie` of `dcsr` clear (RISC-V
    ///   Debug Specification, chapter 4).
    public func step(takingInterrupts: Bool = true) -> StopReason {
        masksInterrupts = !takingInterrupts
        defer { masksInterrupts = false }
        return run(until: core.pointee.state.time &+ 1)
    }

    /// After an access: the port may have brought its horizon forward.
    func horizonMayHaveChanged() {
        let horizon = port.horizon
        if horizon < core.pointee.limit { core.pointee.limit = horizon }
    }

    // MARK: Breakpoints

    /// Stops ``run(until:)`` before the instruction at this address. Code without breakpoints runs as fast as ever.
    public func insertBreakpoint(_ pc: UInt32) {
        if breakpoints.insert(pc).inserted { engine.discardCode() }
    }

    public func removeBreakpoint(_ pc: UInt32) {
        if breakpoints.remove(pc) != nil { engine.discardCode() }
    }

    public func hasBreakpoint(_ pc: UInt32) -> Bool {
        !breakpoints.isEmpty && breakpoints.contains(pc)
    }

    // MARK: Coverage

    /// Notes which instructions are executed from now on; nil ends that. The loop that executes them does nothing for it.
    public func setCoverage(_ coverage: CodeCoverage?) { engine.setCoverage(coverage) }

    /// Brings the coverage up to the present.
    public func collectCoverage() { engine.collectCoverage() }

    /// While set, the port is asked before the hart's accesses to registers and to watched memory (``HartPort/permits(_:)``).
    public var isWatched: Bool {
        get { core.pointee.isWatched }
        set { core.pointee.isWatched = newValue }
    }

    // MARK: Caches

    /// The privilege of loads and stores has changed.
    func dataPrivilegeChanged() {
        let privilege = core.pointee.state.dataPrivilege
        core.pointee.reads = core.pointee.pages.reads(privilege)
        core.pointee.writes = core.pointee.pages.writes(privilege)
    }

    /// What the PMP permits, or the privilege, or all of the state has changed.
    func protectionChanged() {
        core.pointee.pages.removeAll()
        engine.discardCode()
        dataPrivilegeChanged()
    }

    func memoryMapChanged() {
        protectionChanged()
    }
}

extension UnsafeMutablePointer<Core> {
    /// The integer registers. The core never moves, so the pointer stays good.
    var registers: UnsafeMutablePointer<UInt32> {
        let offset = MemoryLayout<Core>.offset(of: \.state.x)!
        return (UnsafeMutableRawPointer(self) + offset).assumingMemoryBound(to: UInt32.self)
    }
}
