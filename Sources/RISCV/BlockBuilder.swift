import Simulation

/// Decodes a block and adds up its cycles.
struct BlockBuilder {
    /// Instructions in a block, unless the last of them is a load, which goes with what may wait for it.
    static let instructionLimit = 64
    private static let slotCapacity = instructionLimit + 2
    /// The memory that the largest block takes: two exits for each slot.
    static let largestBlock = MemoryLayout<Block>.stride
        + slotCapacity * (MemoryLayout<Instruction>.stride + 2 * MemoryLayout<Exit>.stride + MemoryLayout<Mark>.stride)

    private let slots = UnsafeMutablePointer<Instruction>.allocate(capacity: slotCapacity)
    private let marks = UnsafeMutablePointer<Mark>.allocate(capacity: slotCapacity)
    private let exits = UnsafeMutablePointer<Exit>.allocate(capacity: 2 * slotCapacity)
    /// The slot to which an exit belongs.
    private let exitSlots = UnsafeMutablePointer<Int>.allocate(capacity: 2 * slotCapacity)
    private var count = 0, exitCount = 0, cycles = 0

    func deallocate() {
        slots.deallocate()
        marks.deallocate()
        exits.deallocate()
        exitSlots.deallocate()
    }

    /// Builds the block at `pc` in the cache's memory. It has one slot with a `fetchFault` if there is nothing to execute at
    /// `pc`, and a `breakpoint` if there is one, unless `ignoresBreakpoint`: then it has just the one instruction.
    mutating func build(_ pc: UInt32, _ hart: Hart, _ cache: inout BlockCache, ignoresBreakpoint: Bool) -> Block.Pointer {
        count = 0
        exitCount = 0
        cycles = 0
        var span = 0, landing = 0
        let limit = ignoresBreakpoint ? 1 : Self.instructionLimit
        var at = pc
        var previous = Instruction(operation: .nop)
        building: while true {
            let fetched: FetchedInstruction
            switch hart.fetch(at) {
            case .instruction(let instruction):
                fetched = instruction
            case .fault(let address):
                if count == 0 {
                    append(Instruction(operation: .fetchFault, immediate: Int32(bitPattern: address)), at)
                } else {
                    appendSequentialExit(at)
                }
                break building
            }
            if count == 0 {
                landing = Timing.landing(pc, length: fetched.length)
            } else {
                cycles += Timing.stall(previous, fetched.instruction)
            }
            let isFull = count >= limit && !(previous.operation.isLoad && count == limit) || count >= Self.slotCapacity - 1
            if isFull || count > 0 && hart.hasBreakpoint(at) {
                appendSequentialExit(at)
                break
            }
            if count == 0 && !ignoresBreakpoint && hart.hasBreakpoint(at) {
                append(Instruction(operation: .breakpoint), at)
                break
            }
            hart.markCode(at, bytes: fetched.length)
            span = cycles
            previous = fetched.instruction
            let ends = append(fetched, at, hart)
            at &+= fetched.length
            switch ends {
            case .jump: break building
            case .statement: break
            case .serialising:
                appendSequentialExit(at)
                break building
            }
        }
        return finish(pc, span: span, landing: landing, &cache)
    }

    private enum Ending {
        /// The next instruction may follow.
        case statement
        /// Control always leaves here.
        case jump
        /// It may change what the next instruction is or what it may do.
        case serialising
    }

    private mutating func append(_ instruction: Instruction, _ pc: UInt32) {
        slots[count] = instruction
        marks[count] = Mark(pc: pc, cycles: UInt16(cycles))
        count += 1
    }

    private mutating func append(_ fetched: FetchedInstruction, _ pc: UInt32, _ hart: Hart) -> Ending {
        var instruction = fetched.instruction
        let next = pc &+ fetched.length
        switch instruction.operation {
        case _ where instruction.operation.isBranch:
            let target = pc &+ UInt32(bitPattern: instruction.immediate)
            if instruction.immediate < 0 {
                instruction.operation = instruction.operation.backward
                append(instruction, pc)
                let predicted = cycles + 1 + fetchShortage(target, branch: pc, end: next, hart)
                addExit(.backward, to: target, source: pc, cycles: predicted, misprediction: cycles + Timing.jump)
                addExit(.backward, to: next, source: pc, cycles: cycles + 1, misprediction: cycles + Timing.jump)
                return .jump
            }
            append(instruction, pc)
            addExit(.jump, to: target, cycles: cycles + Timing.jump)
            cycles += 1
            return .statement
        case .jal:
            let target = pc &+ UInt32(bitPattern: instruction.immediate)
            if instruction.rd == 0 { instruction.operation = .jump }
            append(instruction, pc)
            addExit(.jump, to: target, source: next, cycles: cycles + Timing.jump)
            return .jump
        case .jalr:
            let offset = instruction.immediate
            if instruction.rd == 0 { instruction.operation = .jumpRegister }
            append(instruction, pc)
            let cost = cycles + Timing.jump
            addExit(.register, to: BranchPredictor.none, source: next, cycles: cost, misprediction: cost, immediate: offset)
            return .jump
        case .ecall, .ebreak, .mret, .wfi, .illegal, .fenceI:
            append(instruction, pc)
            return .serialising
        default:
            if fetched.isRelativeToPC && instruction.operation == .li { instruction.immediate &+= Int32(bitPattern: pc) }
            append(instruction, pc)
            cycles += Timing.cost(instruction.operation)
            return instruction.operation.isCSR && !instruction.isCSRRead ? .serialising : .statement
        }
    }

    private mutating func addExit(
        _ kind: Exit.Kind, to target: UInt32, source: UInt32 = 0, cycles: Int, misprediction: Int = 0, immediate: Int32 = 0,
        instructions: Int? = nil
    ) {
        exitSlots[exitCount] = count - 1
        exits[exitCount] = Exit(
            next: nil, target: target, source: source, cycles: UInt16(cycles), misprediction: UInt16(misprediction),
            count: UInt16(instructions ?? count), kind: kind, immediate: immediate)
        exitCount += 1
    }

    /// Ends a block that is followed by more instructions.
    private mutating func appendSequentialExit(_ pc: UInt32) {
        let instructions = count
        append(Instruction(operation: .goto), pc)
        addExit(.sequential, to: pc, cycles: cycles, instructions: instructions)
    }

    /// The cycles that a predicted loop waits for its instructions in each iteration. Only one that begins with an unaligned
    /// 32-bit instruction can: otherwise it has no more fetch words than instructions.
    private func fetchShortage(_ target: UInt32, branch: UInt32, end: UInt32, _ hart: Hart) -> Int {
        guard case .instruction(let first) = hart.fetch(target), Timing.landing(target, length: first.length) == 1 else { return 0 }
        var at = target, cycles = 0
        var previous = Instruction(operation: .nop)
        for _ in 0..<Self.instructionLimit {
            guard case .instruction(let fetched) = hart.fetch(at) else { return 0 }
            hart.markCode(at, bytes: fetched.length)
            cycles += Timing.stall(previous, fetched.instruction) + Timing.cost(fetched.instruction.operation)
            if at == branch {
                return Timing.fetchShortage(words: Int((end &- 1) &>> 2) - Int(target &>> 2) + 1, cycles: cycles)
            }
            previous = fetched.instruction
            at &+= fetched.length
        }
        return 0
    }

    private func finish(_ pc: UInt32, span: Int, landing: Int, _ cache: inout BlockCache) -> Block.Pointer {
        let slotsOffset = MemoryLayout<Block>.stride
        let exitsOffset = slotsOffset + count * MemoryLayout<Instruction>.stride
        let marksOffset = exitsOffset + exitCount * MemoryLayout<Exit>.stride
        let memory = cache.allocate(marksOffset + count * MemoryLayout<Mark>.stride)

        let block = memory.bindMemory(to: Block.self, capacity: 1)
        let marks = (memory + marksOffset).bindMemory(to: Mark.self, capacity: count)
        marks.initialize(from: self.marks, count: count)
        block.initialize(to: Block(
            pc: pc, count: UInt16(count), landing: UInt16(landing), span: Cycle(span), marks: marks, successor: nil))
        (memory + exitsOffset).bindMemory(to: Exit.self, capacity: exitCount).initialize(from: exits, count: exitCount)
        let slots = (memory + slotsOffset).bindMemory(to: Instruction.self, capacity: count)
        slots.initialize(from: self.slots, count: count)
        for exit in stride(from: exitCount - 1, through: 0, by: -1) {
            // Of a backward branch's two exits the slot keeps the first: the other one follows it.
            let offset = exitsOffset + exit * MemoryLayout<Exit>.stride - slotsOffset - exitSlots[exit] * MemoryLayout<Instruction>.stride
            slots[exitSlots[exit]].immediate = Int32(offset)
        }
        return block
    }
}
