import Registers

/// A trace's registers matched with what this program knows of them.
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
    let maps: [BusMap]

    /// For events as they happen: by the catalogue's own numbers.
    public init(_ catalogue: RegisterCatalogue, buses maps: [BusMap]) {
        known = catalogue.entries.map { Known(name: $0.name, entry: $0) }
        buses = maps.map(\.name)
        self.maps = maps
    }

    /// For a recorded trace, by the numbers and names in its own metadata.
    public init(_ reader: TraceReader, catalogue: RegisterCatalogue, maps: [BusMap]) {
        known = reader.names.registers.map { Known(name: $0, entry: catalogue.entry(named: $0)) }
        buses = reader.names.buses
        self.maps = maps
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
