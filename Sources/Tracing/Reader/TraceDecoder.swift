import Registers

/// A trace's registers, wires and record kinds matched with what this program knows of them.
public struct TraceDecoder: Sendable {
    /// A register of the trace.
    struct Known: Sendable {
        let name: String
        /// nil when this program's maps don't have the register.
        let entry: RegisterCatalogue.Entry?

        var description: RegisterDescription? { entry?.register }
        /// The block's instance name.
        var block: Substring { name.prefix { $0 != "." } }
    }

    let known: [Known]
    let buses: [String]
    let wires: [String]
    let records: [String]
    let maps: [BusMap]
    /// Of the firmware, if its image is at hand.
    public let symbols: (any TraceSymbols)?

    /// - Parameters:
    ///   - names: of a recorded trace, those of its own metadata.
    ///   - catalogue, maps: what this program knows.
    public init(_ names: TraceNames, catalogue: RegisterCatalogue, maps: [BusMap], symbols: (any TraceSymbols)? = nil) {
        known = names.registers.map { Known(name: printable($0), entry: catalogue.entry(named: $0)) }
        buses = names.buses.map(printable)
        wires = names.wires.map(printable)
        // The trace's own names are right whatever image is given.
        records = (names.records.isEmpty ? symbols?.recordKinds ?? [] : names.records).map(printable)
        self.maps = maps
        self.symbols = symbols
    }

    /// `WA.VM[3].READS`, with `+4` when the access begins inside of it; `firmware:0x10090000` where there is no register.
    func name(_ event: AccessEvent) -> String {
        switch event.target {
        case .address(let address, let bus): "\(busName(bus)):0x\(hex(address))"
        case .register(let number, let element, let byte): registerName(number, element) + (byte == 0 ? "" : "+\(byte)")
        }
    }

    /// `WA.VM[3].READS`.
    func registerName(_ number: UInt16, _ element: UInt16) -> String {
        let register = known[Int(number)]
        guard let description = register.description, Int(element) < description.count else { return register.name }
        return "\(register.block).\(description.name(ofElement: Int(element)))"
    }

    func busName(_ bus: UInt8) -> String {
        Int(bus) < buses.count ? buses[Int(bus)] : "bus\(bus)"
    }

    /// `PLIC.WA`, `hart0.timer`.
    func wireName(_ wire: UInt16) -> String {
        Int(wire) < wires.count ? wires[Int(wire)] : "wire\(wire)"
    }

    func recordName(_ kind: UInt16) -> String {
        Int(kind) < records.count ? records[Int(kind)] : "kind\(kind)"
    }

    /// The payload of a record: the members' names and values, or words.
    func members(ofRecord kind: UInt16, _ arguments: [UInt32]) -> [(name: String, value: String)] {
        symbols?.members(ofRecord: kind, arguments) ?? arguments.enumerated().map { ("word\($0)", "0x\(hex($1))") }
    }

    /// The access's address on its bus; nil for a register that this program doesn't know.
    func address(_ event: AccessEvent) -> UInt64? {
        switch event.target {
        case .address(let address, _): return address
        case .register(let number, let element, let byte):
            guard let entry = known[Int(number)].entry, Int(element) < entry.register.count else { return nil }
            return entry.address &+ (entry.register.offset(ofElement: Int(element)) &- entry.register.offset) &+ UInt64(byte)
        }
    }

    /// The block, or the memory or reserved range, around an address without a register; nil where the map has nothing.
    func surroundings(_ address: UInt64, bus: UInt8) -> (name: String, isReserved: Bool)? {
        guard let map = maps.first(where: { $0.name == busName(bus) }) else { return nil }
        if let block = map.block(at: address) {
            let window = block.map.window(at: address - block.base)
            return (window.map { "\(block.name).\($0.name)" } ?? block.name, window.map { $0.software == .na } ?? true)
        }
        return map.memories.first { address >= $0.offset && address - $0.offset < $0.size }.map { ($0.name, $0.software == .na) }
    }
}
