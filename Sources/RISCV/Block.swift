import Simulation

/// Decoded instructions that run one after the other, up to the last in which control must leave, with what that costs.
///
/// A block begins where a jump lands and goes on across forward branches that aren't taken. In memory it is followed by its
/// slots (the instructions), its exits and its marks, in one piece. A block without a jump at its end has one more slot, a
/// `jump` to what follows.
struct Block {
    typealias Pointer = UnsafeMutablePointer<Block>

    /// Address of the first instruction.
    let pc: UInt32
    /// Instructions: slot n is instruction n.
    let count: UInt16
    /// See ``Timing/landing(_:length:)``.
    let landing: UInt16
    /// Cycles from the start of the first to the start of the last instruction, if no memory access takes longer.
    let span: Cycle
    let marks: UnsafeMutablePointer<Mark>
    /// The next in the same bucket of the table.
    var successor: Pointer?
}

extension UnsafeMutablePointer<Block> {
    @inline(__always)
    var slots: UnsafeMutablePointer<Instruction> {
        UnsafeMutableRawPointer(self + 1).assumingMemoryBound(to: Instruction.self)
    }
}

/// What belongs to a slot of a block and isn't needed to run it.
struct Mark {
    /// The instruction's address.
    let pc: UInt32
    /// Cycles from the start of the block to the start of this instruction.
    let cycles: UInt16
}

/// One way out of a block.
struct Exit {
    typealias Pointer = UnsafeMutablePointer<Exit>

    /// How the fetch unit gets to the target.
    enum Kind: UInt8 {
        /// It was fetching there anyway.
        case sequential
        /// It begins anew at the target: a jump, a taken branch.
        case jump
        /// The same, if the branch was predicted otherwise.
        case backward
        /// The target is in a register.
        case register
    }

    /// The block at `target`, once somebody went there.
    var next: Block.Pointer?
    var target: UInt32
    /// The address that a jump writes to its link register; the program counter of a backward branch.
    let source: UInt32
    /// Cycles from the start of the block through this exit.
    var cycles: UInt16
    /// The same for a backward branch that was predicted wrongly; for `register`, without the landing.
    var misprediction: UInt16
    /// Instructions retired from the start of the block.
    let count: UInt16
    let kind: Kind
    /// Of a register jump.
    let immediate: Int32

    /// Connects the exit to the block to which it leads.
    mutating func connect(_ block: Block.Pointer) {
        next = block
        let landing = block.pointee.landing
        switch kind {
        case .sequential: break
        case .jump: cycles &+= landing
        case .backward: misprediction &+= landing
        case .register:
            target = block.pointee.pc
            cycles = misprediction &+ landing
        }
    }
}

extension UnsafeMutablePointer<Instruction> {
    /// The exit of a branch or a jump.
    @inline(__always)
    var exit: Exit.Pointer {
        (UnsafeMutableRawPointer(self) + Int(pointee.immediate)).assumingMemoryBound(to: Exit.self)
    }
}

/// The blocks of a hart: their memory, and a table of them by privilege and address.
struct BlockCache {
    /// Two halves, used in turn: what was discarded stays readable until the next time, so that whoever is in the middle of a
    /// block can still leave it.
    private let memory: UnsafeMutableRawPointer
    private static let halfSize = 8 << 20
    private var half = 0
    private var used = 0
    /// Bytes of blocks in the other half, which were discarded.
    private var discarded = 0

    private static let bucketBits: UInt32 = 14
    private let buckets: UnsafeMutablePointer<Block.Pointer?>
    private var isEmpty = true

    init() {
        memory = .allocate(byteCount: 2 * Self.halfSize, alignment: 64)
        buckets = .allocate(capacity: 2 << Int(Self.bucketBits))
        buckets.initialize(repeating: nil, count: 2 << Int(Self.bucketBits))
    }

    func deallocate() {
        memory.deallocate()
        buckets.deallocate()
    }

    @inline(__always)
    private func bucket(_ pc: UInt32, _ privilege: Privilege) -> Int {
        let index = (pc &>> 1 ^ pc &>> (Self.bucketBits + 1)) & ((1 &<< Self.bucketBits) &- 1)
        return Int(index &<< 1 | (privilege == .machine ? 1 : 0))
    }

    func find(_ pc: UInt32, _ privilege: Privilege) -> Block.Pointer? {
        var block = buckets[bucket(pc, privilege)]
        while let found = block {
            if found.pointee.pc == pc { return found }
            block = found.pointee.successor
        }
        return nil
    }

    mutating func insert(_ block: Block.Pointer, _ privilege: Privilege) {
        let bucket = bucket(block.pointee.pc, privilege)
        block.pointee.successor = buckets[bucket]
        buckets[bucket] = block
        isEmpty = false
    }

    /// There may be no room for another block.
    var isFull: Bool { used > Self.halfSize - BlockBuilder.largestBlock }

    /// Memory for a block of `size` bytes.
    mutating func allocate(_ size: Int) -> UnsafeMutableRawPointer {
        let place = memory + half * Self.halfSize + used
        used += (size + 15) & ~15
        return place
    }

    mutating func discardAll() {
        guard !isEmpty else { return }
        buckets.update(repeating: nil, count: 2 << Int(Self.bucketBits))
        isEmpty = true
        half ^= 1
        discarded = used
        used = 0
    }

    /// Leaves nothing of what was discarded for ``forEachExecuted(_:)``.
    mutating func forgetDiscarded() { discarded = 0 }

    /// For each block that was left by one of its exits: its instructions, and how many of them were executed at most. Blocks that have
    /// just been discarded are among them: whoever was in the middle of one may have left it after that.
    func forEachExecuted(_ body: (_ marks: UnsafeMutablePointer<Mark>, _ count: Int) -> Void) {
        for (half, bytes) in [(half, used), (half ^ 1, discarded)] {
            var place = 0
            while place < bytes {
                let start = memory + half * Self.halfSize + place
                let block = start.assumingMemoryBound(to: Block.self)
                let count = Int(block.pointee.count), marks = block.pointee.marks
                let exits = UnsafeMutableRawPointer(block.slots + count), end = UnsafeMutableRawPointer(marks)
                let exitCount = (end - exits) / MemoryLayout<Exit>.stride
                let taken = exits.assumingMemoryBound(to: Exit.self)
                var executed = 0
                for exit in 0..<exitCount where taken[exit].next != nil { executed = max(executed, Int(taken[exit].count)) }
                if executed > 0 { body(marks, executed) }
                place += (UnsafeMutableRawPointer(marks + count) - start + 15) & ~15
            }
        }
    }
}
