/// Cycle costs of the pipeline: in order, three stages (fetch, execute, memory), zero-wait-state memory. They depend on
/// neighbouring instructions and on alignment, hardly on data, so the block builder adds them up once.
enum Timing {
    /// Cycles of the instruction itself in stage 2, without waiting for the one before it. Jumps and taken branches not
    /// counted: those belong to the way out of a block.
    static func cost(_ operation: Operation) -> Int {
        switch operation {
        // One cycle more for a negative dividend of the signed forms, see `negativeDividend`.
        case .div, .divu, .rem, .remu: 19
        case _ where operation.isAtomicReadModifyWrite: 4
        default: 1
        }
    }

    /// A signed division's dividend is negated first.
    static let negativeDividend = 1
    /// A taken branch or a jump: the fetch of the target takes the second cycle.
    static let jump = 2
    /// From the instruction that traps to the first of the handler, and `mret` to where it returns.
    static let trap = 3
    /// An interrupt goes between two instructions: it has no stage 2 of its own.
    static let interrupt = 2
    /// Refetches what follows.
    static let fenceI = 2

    /// The cycles for which `next` waits in stage 2 because of the instruction just before it.
    static func stall(_ previous: Instruction, _ next: Instruction) -> Int {
        let operation = previous.operation
        guard operation.isLoad || operation.isExclusive else { return 0 }
        // The bus takes no second exclusive access in the data phase of one.
        if operation.isExclusive && (next.operation.isExclusive || next.operation.isAtomicReadModifyWrite) { return 1 }
        // What a load brings is there one cycle later than other results. Store data is taken in stage 3 and needn't wait.
        guard previous.rd != 0 else { return 0 }
        if next.operation.readsRS1 && next.rs1 == previous.rd { return 1 }
        return next.operation.readsRS2 && next.rs2 == previous.rd && !next.operation.isStore ? 1 : 0
    }

    /// The cycles for which the first instruction after a jump waits: one of 32 bits that is not aligned is in two fetch words.
    static func landing(_ pc: UInt32, length: UInt32) -> Int {
        pc & 2 != 0 && length == 4 ? 1 : 0
    }

    /// One fetch word a cycle: the cycles that a predicted loop of `words` fetch words has to wait in each iteration if its
    /// instructions would take `cycles`.
    static func fetchShortage(words: Int, cycles: Int) -> Int {
        max(0, words - cycles)
    }
}
