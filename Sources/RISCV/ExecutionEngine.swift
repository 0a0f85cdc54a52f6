import Simulation

/// What carries out instructions. The hart owns the state, the memory system, traps and CSRs; an engine decides how code is
/// kept and run: interpreted from blocks here, or translated.
///
/// Every engine keeps to the instruction boundaries: an instruction begins if and only if its first cycle is before
/// `Core.limit`. How a run is cut into pieces then makes no difference to what it does.
protocol ExecutionEngine: AnyObject {
    /// Executes from the core's program counter until its time has reached its limit, or something asks the hart to look
    /// (a stop reason is set, or the limit has been lowered to 0).
    func execute()

    /// Forgets all code: memory that holds code has changed, or who may execute what.
    func discardCode()

    /// Begins to note which instructions are executed, or ends it. What was executed is in it after ``collectCoverage()``.
    func setCoverage(_ coverage: CodeCoverage?)
    func collectCoverage()

    func deallocate()
}

/// The hot state of a hart, in one place in memory that never moves.
struct Core {
    var state: HartState
    /// No instruction begins in this cycle or later.
    var limit: Cycle = 0
    /// Set when the engine has to return for another reason than the limit.
    var stop: StopReason = .horizon
    /// The next instruction is executed even if it has a breakpoint.
    var passesBreakpoint = false
    /// The port is asked before accesses.
    var isWatched = false
    var pages: PageTables
    /// How often the engine has discarded its code.
    var generation = 0
    /// The tables for loads and stores at the present privilege.
    var reads: PageTables.Entries
    var writes: PageTables.Entries
    /// When the current block began, moved on by what its memory accesses took longer than a cycle.
    var blockTime: Cycle = 0
}
