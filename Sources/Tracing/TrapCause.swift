import Registers

/// What causes of traps are called (RISC-V Privileged Architecture, table 14), in views and in filters.
enum TrapCause {
    static let interrupt: UInt32 = 1 << 31

    /// Names by the value of `mcause`.
    static let encodings: [FieldDescription.Encoding] = [
        (interrupt | 3, "software"), (interrupt | 7, "timer"), (interrupt | 11, "external"), (0, "instructionAddressMisaligned"),
        (1, "instructionAccessFault"), (2, "illegalInstruction"), (3, "breakpoint"), (4, "loadAddressMisaligned"), (5, "loadAccessFault"),
        (6, "storeAddressMisaligned"), (7, "storeAccessFault"), (8, "environmentCallFromUser"), (11, "environmentCallFromMachine"),
    ].map { FieldDescription.Encoding(name: $1, value: UInt64($0), doc: "") }

    static func name(_ cause: UInt32) -> String {
        encodings.first { $0.value == UInt64(cause) }?.name
            ?? (cause & interrupt != 0 ? "interrupt" : "exception") + String(cause & ~interrupt)
    }
}
