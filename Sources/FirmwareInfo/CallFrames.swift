/// How to get from a function's registers to its caller's, for a range of its code (DWARF 5, section 6.4).
struct CallFrameRow: Sendable {
    let range: Range<UInt32>
    /// The canonical frame address is this register's value plus the offset.
    let base: UInt8
    let offset: Int32
    /// The register that holds the address of return.
    let returnRegister: UInt8
    /// Registers in memory, by their distance from the canonical frame address. The others keep their values.
    var saved: [(register: UInt8, offset: Int32)] = []
    /// Nobody has called this.
    var isOutermost = false
}

/// Rows by address.
struct CallFrameTable: Sendable {
    private let rows: [CallFrameRow]

    init(_ rows: [CallFrameRow]) { self.rows = rows.sorted { $0.range.lowerBound < $1.range.lowerBound } }

    func row(at pc: UInt32) -> CallFrameRow? {
        guard let row = rows.last(startingAtOrBefore: pc, by: \.range.lowerBound), row.range.contains(pc) else { return nil }
        return row
    }
}

/// The integer registers of a hart at one moment.
public struct HartRegisters: Equatable, Sendable {
    /// `x0`...`x31`.
    public var x: [UInt32]
    public var pc: UInt32

    /// - Parameter x: 32 values.
    public init(x: [UInt32], pc: UInt32) {
        precondition(x.count == 32, "a hart has 32 integer registers")
        self.x = x
        self.pc = pc
    }
}

extension DebugInformation {
    /// Reads a word of memory; nil where there is none.
    public typealias WordReader = (_ address: UInt32) -> UInt32?

    /// Deeper stacks are cut off: a broken one may never end.
    private static let deepestStack = 128
    /// Where traps leave the registers (firmware/Runtime/start.S): x0...x31, mcause, mepc.
    private static let trapEntry = "trap_entry", trapFrame = "offload_fault_frame", trapPC: UInt32 = 33

    /// Program counters of a call stack, innermost first: that of the hart, then addresses of return.
    ///
    /// It goes on across a trap: what was running when the trap came is the trap handler's caller.
    /// - Parameter isWaiting: the hart is in `wfi`: its program counter is behind that instruction.
    public func callStack(of registers: HartRegisters, isWaiting: Bool = false, _ word: WordReader) -> [UInt32] {
        stack(of: registers, isWaiting: isWaiting, word).map(\.pc)
    }

    private func stack(of registers: HartRegisters, isWaiting: Bool, _ word: WordReader) -> [(pc: UInt32, isCall: Bool)] {
        var registers = registers, isCall = isWaiting, hasTrapped = false
        var stack: [(pc: UInt32, isCall: Bool)] = []
        while stack.count < Self.deepestStack {
            stack.append((registers.pc, isCall))
            let lookup = isCall ? registers.pc &- 1 : registers.pc
            if let row = frames.row(at: lookup) {
                guard !row.isOutermost, let caller = caller(of: registers, row, word), caller != registers else { break }
                registers = caller
                isCall = true
            } else if !hasTrapped, let frame = trappedRegisters(at: lookup, word) {
                registers = frame
                isCall = false
                hasTrapped = true
            } else {
                break
            }
            guard image.isCode(isCall ? registers.pc &- 1 : registers.pc) else { break }
        }
        return stack
    }

    private func caller(of registers: HartRegisters, _ row: CallFrameRow, _ word: WordReader) -> HartRegisters? {
        let base = registers.x[Int(row.base)] &+ UInt32(bitPattern: row.offset)
        var result = registers
        for (register, offset) in row.saved {
            guard let value = word(base &+ UInt32(bitPattern: offset)) else { return nil }
            result.x[Int(register)] = value
        }
        // The frame address is the caller's stack pointer.
        result.x[2] = base
        result.pc = result.x[Int(row.returnRegister)] & ~1
        return result
    }

    /// The registers with which the trap handler at `pc` was entered; nil if this is none.
    private func trappedRegisters(at pc: UInt32, _ word: WordReader) -> HartRegisters? {
        guard let name = symbol(containing: pc)?.name, name == Self.trapEntry || name == "halt",
            let frame = image.symbol(Self.trapFrame)
        else { return nil }
        var registers: [UInt32] = []
        for number in 0..<32 as Range<UInt32> {
            guard let value = word(frame.address &+ 4 &* number) else { return nil }
            registers.append(value)
        }
        guard let pc = word(frame.address &+ 4 &* Self.trapPC) else { return nil }
        return HartRegisters(x: registers, pc: pc)
    }

    /// The calls that led to where a hart is, innermost first, with those that were inlined.
    /// - Parameter isWaiting: the hart is in `wfi`: its program counter is behind that instruction.
    public func backtrace(of registers: HartRegisters, isWaiting: Bool = false, _ word: WordReader) -> [Frame] {
        stack(of: registers, isWaiting: isWaiting, word).flatMap { frame in
            frames(at: frame.pc, lookup: frame.isCall ? frame.pc &- 1 : frame.pc)
        }
    }
}
