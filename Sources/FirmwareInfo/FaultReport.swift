/// A crash of the firmware, by the fault record that the hardware keeps (regmaps/hostif) and what the firmware left in memory.
public struct FaultReport {
    /// `HOSTIF.FAULT`, which says of what kind it was.
    public let record: UInt64
    public let hart: UInt32
    /// The device cycle of the record.
    public let cycle: UInt64
    /// Crashes since power-on, this one included.
    public let count: UInt32
    /// `mcause` and `mtval`.
    public let cause: UInt32
    public let address: UInt32
    public let registers: HartRegisters
    /// Innermost first.
    public let backtrace: [Frame]
    /// The stack is that of this crash. Otherwise it has been used since, and only the first frame is certain.
    public let hasStack: Bool

    /// Where the trap handler keeps the last crash: x0...x31, mcause, mepc, mtval, mstatus, and the stack's address with its words
    /// (firmware/Runtime/include/Runtime.h).
    private static let frameSymbol = "offload_fault_frame", stackSymbol = "offload_fault_stack"

    /// - Returns: nil if no crash is on record.
    public init?(_ information: DebugInformation, _ memory: any FirmwareMemory) throws {
        func register(_ name: String) throws -> UInt64 {
            guard let value = try memory.register("HOSTIF.\(name)") else {
                throw DebugInformationError.unexpected("HOSTIF.\(name): the device doesn't show this register's value")
            }
            return value
        }
        record = try register("FAULT")
        guard record & 1 != 0 else { return nil }
        hart = UInt32(truncatingIfNeeded: record >> 8 & 0xff)
        cycle = try register("FAULT_CYCLE")
        count = UInt32(truncatingIfNeeded: try register("FAULT_COUNT"))
        cause = UInt32(truncatingIfNeeded: try register("FAULT_CAUSE"))
        address = UInt32(truncatingIfNeeded: try register("FAULT_ADDRESS"))
        let pc = UInt32(truncatingIfNeeded: try register("FAULT_PC"))
        let registers = HartRegisters(x: try (0..<32).map { UInt32(truncatingIfNeeded: try register("FAULT_X[\($0)]")) }, pc: pc)
        self.registers = registers

        let frame = try? memory.contents(of: Self.frameSymbol, of: information).bytes
        let kept = try? memory.contents(of: Self.stackSymbol, of: information).bytes
        let start = kept.flatMap { word(of: $0, at: 0) }
        // Another crash may have come since: the record is that of the first one.
        let values = registers.x + [cause, pc, address]
        let isLast = frame.map { frame in
            values.enumerated().allSatisfy { word(of: frame, at: UInt32(4 * $0)) == $1 }
        }
        hasStack = isLast == true && start == registers.x[2] & ~3
        let stack = hasStack ? kept : nil
        backtrace = information.backtrace(of: registers) { address in
            guard let stack, let start else { return nil }
            // The words follow the address of the first one.
            let (offset, isBefore) = address.subtractingReportingOverflow(start)
            return isBefore || offset >= UInt32(stack.count) ? nil : word(of: stack, at: offset + 4)
        }
    }
}
