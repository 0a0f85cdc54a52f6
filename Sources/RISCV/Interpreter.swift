import Simulation

/// Runs decoded blocks: one loop around one switch.
///
/// While it is in a block, only registers are up to date. Time, retired instructions and the program counter follow from the
/// block's start, and are written back when an instruction needs them (`perform`) or the block is left for good.
final class Interpreter: ExecutionEngine {
    private let hart: Unmanaged<Hart>
    private let core: UnsafeMutablePointer<Core>
    private var cache = BlockCache()
    private var builder = BlockBuilder()
    /// The slot that holds a `stop` because the run ends there, with the instruction that belongs there.
    private var cut: (slot: UnsafeMutablePointer<Instruction>, instruction: Instruction)?

    /// While somebody asks which instructions are executed. A block that was left by an exit has connected it: that is noted later, by
    /// looking at the exits. Where a block is left in another way it is noted at once.
    private var coverage: CodeCoverage?

    init(_ hart: Unmanaged<Hart>, _ core: UnsafeMutablePointer<Core>) {
        self.hart = hart
        self.core = core
    }

    func deallocate() {
        cache.deallocate()
        builder.deallocate()
    }

    func discardCode() {
        // What is cut is not looked up again; if it is running, it still has to end there.
        cut = nil
        collectCoverage()
        cache.discardAll()
        core.pointee.generation &+= 1
    }

    func setCoverage(_ coverage: CodeCoverage?) {
        // Exits that were connected before say nothing of what happens from now on.
        self.coverage = nil
        discardCode()
        cache.forgetDiscarded()
        self.coverage = coverage
    }

    func collectCoverage() {
        guard let coverage else { return }
        cache.forEachExecuted { coverage.executed($0, count: $1) }
    }

    func execute() {
        Self.run(core, self)
        mend()
    }

    /// The block at the program counter, cut so that it ends where the run does.
    @inline(never)
    func enter() -> Block.Pointer {
        mend()
        let pc = core.pointee.state.pc, privilege = core.pointee.state.privilege
        let block: Block.Pointer
        if core.pointee.passesBreakpoint {
            core.pointee.passesBreakpoint = false
            block = build(pc, ignoresBreakpoint: true)
        } else {
            block = find(pc, privilege)
        }
        let left = core.pointee.limit &- core.pointee.state.time
        guard block.pointee.span >= left else { return block }
        var end = 1
        while Cycle(block.pointee.marks[end].cycles) < left { end += 1 }
        let slot = block.slots + end
        cut = (slot, slot.pointee)
        slot.pointee.operation = .stop
        return block
    }

    /// Undoes what ``enter()`` has cut.
    private func mend() {
        guard let cut else { return }
        cut.slot.pointee = cut.instruction
        self.cut = nil
    }

    private func find(_ pc: UInt32, _ privilege: Privilege) -> Block.Pointer {
        if let block = cache.find(pc, privilege) { return block }
        let block = build(pc, ignoresBreakpoint: false)
        cache.insert(block, privilege)
        return block
    }

    private func build(_ pc: UInt32, ignoresBreakpoint: Bool) -> Block.Pointer {
        if cache.isFull { discardCode() }
        return hart._withUnsafeGuaranteedRef { builder.build(pc, $0, &cache, ignoresBreakpoint: ignoresBreakpoint) }
    }

    /// Finds out where an exit leads.
    @inline(never)
    func connect(_ exit: Exit.Pointer) -> Block.Pointer {
        let block = find(exit.pointee.target, core.pointee.state.privilege)
        exit.pointee.connect(block)
        return block
    }

    /// Executes an instruction that needs more than registers and plain memory. Returns true if the block goes on after it,
    /// and false if the state is complete and execution has to begin anew.
    @inline(never)
    func perform(_ slot: UnsafeMutablePointer<Instruction>, _ block: Block.Pointer, _ time: Cycle, _ retired: UInt64) -> Bool {
        let index = slot - block.slots
        let mark = block.pointee.marks[index]
        let issue = time &+ Cycle(mark.cycles)
        core.pointee.state.pc = mark.pc
        core.pointee.state.time = issue
        core.pointee.state.retired = retired &+ UInt64(index)
        switch slot.pointee.operation {
        case .stop:
            coverage?.executed(block.pointee.marks, count: index)
            return false
        case .breakpoint:
            coverage?.executed(block.pointee.marks, count: index)
            core.pointee.stop = .breakpoint
            return false
        default:
            break
        }
        let next = block.pointee.marks + (index + 1)
        let generation = core.pointee.generation
        let goesOn = hart._withUnsafeGuaranteedRef { $0.execute(slot.pointee, next: next) }
        guard goesOn else {
            // There was none to execute where fetching it failed.
            if slot.pointee.operation != .fetchFault { coverage?.executed(block.pointee.marks, count: index + 1) }
            return false
        }

        let start = time &+ (core.pointee.state.time &- issue)
        if start &+ block.pointee.span < core.pointee.limit && generation == core.pointee.generation {
            core.pointee.blockTime = start
            return true
        }
        coverage?.executed(block.pointee.marks, count: index + 1)
        core.pointee.state.pc = next.pointee.pc
        core.pointee.state.time = start &+ Cycle(next.pointee.cycles)
        core.pointee.state.retired &+= 1
        return false
    }
}
