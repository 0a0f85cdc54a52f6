import Registers

/// The names of all that events tell by number. A trace's metadata has them, so that later versions read it.
public struct TraceNames: Sendable, Equatable {
    /// Registers, `WA.VM.READS`: the block's instance name and the register's, without indices.
    public var registers: [String]
    public var buses: [String]
    /// Wires of interrupts, `PLIC.WA` or `hart0.external`.
    public var wires: [String]
    /// Kinds of the firmware's trace records.
    public var records: [String]

    public init(registers: [String], buses: [String], wires: [String] = [], records: [String] = []) {
        self.registers = registers; self.buses = buses; self.wires = wires; self.records = records
    }

    public init(_ catalogue: RegisterCatalogue, buses: [BusMap], wires: [String] = [], records: [String] = []) {
        self.init(registers: catalogue.entries.map(\.name), buses: buses.map(\.name), wires: wires, records: records)
    }
}

/// Something wrong with a trace, or with writing one.
public struct TraceError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}
