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

    /// - Parameters:
    ///   - names: of a recorded trace, those of its own metadata.
    ///   - catalogue, maps: what this program knows.
    public init(_ names: TraceNames, catalogue: RegisterCatalogue, maps: [BusMap]) {
        known = names.registers.map { Known(name: printable($0), entry: catalogue.entry(named: $0)) }
        buses = names.buses.map(printable)
        wires = names.wires.map(printable)
        records = names.records.map(printable)
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

    /// `PLIC.WA`, `hart0.timer`.
    func wireName(_ wire: UInt16) -> String {
        Int(wire) < wires.count ? wires[Int(wire)] : "wire\(wire)"
    }

    func recordName(_ kind: UInt16) -> String {
        Int(kind) < records.count && !records[Int(kind)].isEmpty ? records[Int(kind)] : "kind\(kind)"
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

/// The classes of events, by their names in views and filters.
public enum TraceClass: String, Sendable, CaseIterable {
    case access, interrupt, dma, queue, fault, log
}

extension TraceEvent {
    public var kind: TraceClass {
        switch self {
        case .access: .access
        case .interrupt: .interrupt
        case .dma: .dma
        case .queue: .queue
        case .fault: .fault
        case .log: .log
        }
    }

    /// The program counter of the hart whose event it is: of an access, of a trap the instruction that didn't execute, of a fault.
    public var pc: UInt32? {
        switch self {
        case .access(let event): event.initiator.kind == .hart ? event.origin : nil
        case .interrupt(let event): if case .trap(_, _, let pc, _) = event.step { pc } else { nil }
        case .fault(let event): event.initiator.kind == .hart ? event.origin : nil
        case .dma, .queue, .log: nil
        }
    }

    /// The host program whose event it is.
    public var pid: UInt32? {
        switch self {
        case .access(let event): event.initiator.kind == .host ? event.origin : nil
        case .fault(let event): event.initiator.kind == .host ? event.origin : nil
        case .interrupt, .dma, .queue, .log: nil
        }
    }

    /// How it went, of what has a status.
    public var status: BusStatus? {
        switch self {
        case .access(let event): event.status
        case .dma(let event): event.status
        case .interrupt, .queue, .fault, .log: nil
        }
    }

    /// Something went wrong: a fault, or an access or a transfer that wasn't `ok`.
    public var isFault: Bool {
        if case .fault = self { return true }
        return status.map { $0 != .ok } ?? false
    }
}

/// What a cause of a trap is called (RISC-V Privileged Architecture, table 14).
func trapName(_ cause: UInt32) -> String {
    let names: [UInt32: String] = cause >> 31 == 1
        ? [3: "software interrupt", 7: "timer interrupt", 11: "external interrupt"]
        : [
            0: "instruction address misaligned", 1: "instruction access fault", 2: "illegal instruction", 3: "breakpoint",
            4: "load address misaligned", 5: "load access fault", 6: "store address misaligned", 7: "store access fault",
            8: "environment call from U-mode", 11: "environment call from M-mode",
        ]
    let code = cause & 0x7fff_ffff
    return names[code] ?? "\(cause >> 31 == 1 ? "interrupt" : "exception") \(code)"
}
