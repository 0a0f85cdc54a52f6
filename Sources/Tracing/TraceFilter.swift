import Registers

/// Which accesses of a trace a person wants to see. What is empty or nil allows everything; everything that is set must hold.
public struct TraceFilter: Sendable {
    /// Names of blocks, `WA`.
    public var blocks: [String] = []
    /// Registers, `WA.CTRL`, `WA.VM.READS` or one element of an array, `WA.VM[3].READS`.
    public var registers: [String] = []
    /// Fields, `WA.CTRL.enable`: accesses that change one of them.
    public var fields: [String] = []
    /// Initiators, `hart0`, `host1`, or all of a kind, `hart`.
    public var initiators: [String] = []
    /// Device cycles.
    public var since: UInt64 = 0
    public var until: UInt64 = .max
    /// Only what did not end well.
    public var onlyFaults = false
    /// nil: both.
    public var isWrite: Bool?

    public init() {}
}

/// A trace's register names matched with what this program knows of them, and a filter made ready for use.
public struct TraceDecoder: Sendable {
    /// A register of the trace.
    struct Known: Sendable {
        let name: String
        /// nil when this program's maps don't have the register.
        let description: RegisterDescription?
        /// By the filter; the elements and the bits that it asks for, nil for all.
        var isWanted: Bool
        var elements: Set<Int>?
        var bits: UInt64?
    }

    let known: [Known]
    let buses: [String]
    private let filter: TraceFilter
    private let initiators: Set<UInt16>?

    /// For events as they happen: all of them, by the catalogue's own numbers.
    public init(_ catalogue: RegisterCatalogue, buses: [BusMap]) {
        known = catalogue.entries.map { Known(name: $0.name, description: $0.register, isWanted: true) }
        self.buses = buses.map(\.name)
        filter = TraceFilter()
        initiators = nil
    }

    /// - Throws: ``TraceError`` for a name in the filter that means nothing, with the nearest that do.
    public init(_ reader: TraceReader, catalogue: RegisterCatalogue, maps: [BusMap], filter: TraceFilter = .init()) throws(TraceError) {
        var known = reader.registers.map { name in
            Known(name: name, description: catalogue.entry(named: name)?.register, isWanted: true)
        }
        let isRestricted = !(filter.blocks.isEmpty && filter.registers.isEmpty && filter.fields.isEmpty)
        if isRestricted {
            for index in known.indices { known[index].isWanted = false }
        }
        for block in filter.blocks {
            let places = known.indices.filter { known[$0].name.prefix { $0 != "." }.lowercased() == block.lowercased() }
            guard !places.isEmpty else { throw TraceError("no block '\(block)' in this trace") }
            for place in places { known[place].isWanted = true }
        }
        for (names, isField) in [(filter.registers, false), (filter.fields, true)] {
            for name in names {
                let location = try Self.locate(name, maps)
                guard (location.field != nil) == isField else {
                    throw TraceError("'\(name)': a \(isField ? "field, BLOCK.REGISTER.FIELD" : "register, BLOCK.REGISTER") expected")
                }
                let registerName = "\(location.block.name).\(location.register.name)"
                guard let place = known.firstIndex(where: { $0.name == registerName }) else {
                    throw TraceError("no register '\(name)' in this trace")
                }
                known[place].isWanted = true
                if name.contains("[") { known[place].elements = (known[place].elements ?? []).union([location.element]) }
                if let field = location.field { known[place].bits = (known[place].bits ?? 0) | field.mask }
            }
        }
        self.known = known
        self.filter = filter
        buses = reader.buses
        var numbers: Set<UInt16> = []
        for word in filter.initiators { numbers.formUnion(try Self.numbers(word)) }
        initiators = numbers.isEmpty ? nil : numbers
    }

    /// Whether the filter lets an access through.
    public func wants(_ event: AccessEvent) -> Bool {
        guard event.time >= filter.since, event.time <= filter.until else { return false }
        if filter.onlyFaults && event.status == .ok { return false }
        if let isWrite = filter.isWrite, isWrite != event.isWrite { return false }
        if let initiators, !initiators.contains(event.initiator.rawValue) { return false }
        guard case .register(let number, let element, _) = event.target else {
            return filter.blocks.isEmpty && filter.registers.isEmpty && filter.fields.isEmpty
        }
        let register = known[Int(number)]
        guard register.isWanted else { return false }
        if let elements = register.elements, !elements.contains(Int(element)) { return false }
        if let bits = register.bits, (event.old ^ event.new) & bits == 0 { return false }
        return true
    }

    private static func locate(_ name: String, _ maps: [BusMap]) throws(TraceError) -> RegisterLocation {
        var complaint = TraceError("'\(name)': no such register")
        for (index, map) in maps.enumerated() {
            do {
                return try map.location(named: name)
            } catch {
                // The first bus is the one with most blocks: its nearest names help most.
                if index == 0 || map.blocks.contains(where: { $0.name.lowercased() == name.prefix { $0 != "." }.lowercased() }) {
                    complaint = TraceError(error.description)
                }
            }
        }
        throw complaint
    }

    /// The initiators that a word means.
    private static func numbers(_ word: String) throws(TraceError) -> [UInt16] {
        let all = (0..<0x301).map { Initiator(rawValue: UInt16($0)) }
        let matching = all.filter { $0.description == word || "\($0.kind)" == word }
        guard !matching.isEmpty else {
            throw TraceError("'\(word)': an initiator (hart0, host0, host1, dma1, debugger) or a kind of them expected")
        }
        return matching.map(\.rawValue)
    }
}
