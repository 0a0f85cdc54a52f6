import Registers

/// What people see of a function's interrupts: the file `functions/fnN/interrupts` of the mounted tree.
public struct InterruptInspection: Sendable, CustomStringConvertible {
    public struct Vector: Sendable {
        public var message: InterruptMessage
        public var isMasked: Bool
        public var isPending: Bool
    }

    public var isMSIXEnabled: Bool
    public var isFunctionMasked: Bool
    /// What the device model drives; nil without an interrupt pin.
    public var line: Bool?
    /// The command register keeps the line from the host.
    public var isLineDisabled: Bool
    public var vectors: [Vector]

    /// `msix`, `intx`, then a line for each vector.
    public var description: String {
        let msix = isMSIXEnabled ? (isFunctionMasked ? "masked" : "on") : "off"
        let intx = line.map { ($0 ? "asserted" : "idle") + (isLineDisabled ? " disabled" : "") } ?? "none"
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        return "msix: \(msix)\nintx: \(intx)\n" + vectors.enumerated().map { number, vector in
            "vector \(number): address \(hex(vector.message.address)) data \(hex(UInt64(vector.message.data)))"
                + (vector.isMasked ? " masked" : "") + (vector.isPending ? " pending" : "") + "\n"
        }.joined()
    }
}

extension PCIFunction {
    /// The function's interrupts as they stand. Changes nothing.
    public var interrupts: InterruptInspection {
        let vectors = (0..<vectorCount).map { vector in
            InterruptInspection.Vector(
                message: state.msix!.message(vector), isMasked: state.msix!.isMasked(vector), isPending: state.msix!.isPending(vector))
        }
        return InterruptInspection(
            isMSIXEnabled: isMSIXEnabled, isFunctionMasked: msixControl & MSIXCapability.functionMask != 0,
            line: description?.interruptPin ?? 0 != 0 ? state.line : nil, isLineDisabled: command & Command.interruptDisable != 0,
            vectors: state.msix == nil ? [] : vectors)
    }
}
