import Registers

/// Turns events into a value change dump (IEEE 1364-2005, section 18), as GTKWave and other waveform viewers read it.
///
/// - Each register that is accessed is a scope within its block's, with the register as a vector and its fields beside it. A signal is
///   `x` until the first access; then it has the register's value before an access when that is issued, and the value after it when
///   the access has come back. What hardware changes in between shows when the next access sees it.
/// - Each interrupt line that changes is a signal, each MSI-X vector that is sent an event, and each hart that takes a trap has its
///   `mcause` and `mepc` as vectors.
/// - Each virtqueue has its depth as a vector.
///
/// Two passes over the events: ``declare(_:)`` all of them, then ``begin()``, ``add(_:)`` all of them, ``finish()``.
public struct VCDExport {
    private struct Pending {
        let time: UInt64
        let group: Int
        let value: UInt64
    }

    private let decoder: TraceDecoder
    private var signals: VCDSignals
    /// What is declared, each with the value that it had before it first changed, if that is known.
    private var declared: [VCDSource: UInt64?] = [:]
    /// The groups of signals.
    private var places: [VCDSource: Int] = [:]
    private var start: UInt64?
    /// Values that take effect when their accesses come back, in the order of their times.
    private var pending: [Pending] = []

    /// - Parameter frequency: fabric cycles per second.
    public init(_ decoder: TraceDecoder, frequency: UInt64) {
        self.decoder = decoder
        signals = VCDSignals(frequency: frequency)
    }

    /// Says that an event is going to come, so that what it changes gets signals.
    public mutating func declare(_ event: TraceEvent) {
        if start == nil { start = event.time }
        for (source, value) in changes(event) where declared[source] == nil {
            // A line that changes had the other level.
            declared[source] = .some(source.isLine ? value ^ 1 : nil)
        }
    }

    /// Writes the declarations (section 18.2.1) and the first values.
    public mutating func begin() {
        for source in declared.keys.sorted() {
            let (path, variables) = layout(source)
            places[source] = signals.declare(path, variables, initial: declared[source] ?? nil)
        }
        signals.endDeclarations(at: start ?? 0)
    }

    /// Writes what an event changes. Events come in the order of time.
    public mutating func add(_ event: TraceEvent) {
        settle(upTo: event.time)
        for (source, value) in changes(event) {
            guard let group = places[source] else { continue }
            signals.change(group, to: value, at: event.time)
        }
        guard case .access(let access) = event, access.old != access.new, case .register(let number, let element, _) = access.target,
            let group = places[.register(number, element)]
        else { return }
        let change = Pending(time: access.time &+ max(access.wait, 1), group: group, value: access.new)
        pending.insert(change, at: (pending.lastIndex { $0.time <= change.time } ?? -1) + 1)
    }

    /// Hands over what has been written since the last time.
    public mutating func takeOutput() -> [UInt8] { signals.takeOutput() }

    /// Writes what is still to take effect.
    public mutating func finish() { settle(upTo: .max) }

    private mutating func settle(upTo limit: UInt64) {
        let due = pending.prefix { $0.time <= limit }
        for next in due { signals.change(next.group, to: next.value, at: next.time) }
        pending.removeFirst(due.count)
    }

    /// What an event shows at its own time.
    private func changes(_ event: TraceEvent) -> [(VCDSource, UInt64)] {
        switch event {
        case .access(let event):
            guard case .register(let number, let element, _) = event.target else { return [] }
            return [(.register(number, element), event.old)]
        case .interrupt(let event):
            switch event.step {
            case .line(let wire, let level): return [(.wire(wire), level ? 1 : 0)]
            case .message(let function, nil, let level): return [(.intx(function), level ? 1 : 0)]
            case .message(let function, let vector?, _): return [(.vector(function, vector), 1)]
            case .trap(let hart, let cause, let pc, _): return [(.cause(hart), UInt64(cause)), (.pc(hart), UInt64(pc))]
            }
        case .queue(let event): return [(.depth(event.function, event.queue), UInt64(event.depth))]
        case .dma, .fault, .log: return []
        }
    }

    /// Where a source is found and what signals it has, those of a register with their places in its value.
    private func layout(_ source: VCDSource) -> (path: [String], [VCDSignals.Variable]) {
        switch source {
        case .register(let number, let element):
            let register = decoder.known[Int(number)]
            let name = VCDSignals.identifier(decoder.registerName(number, element).dropFirst(register.block.utf8.count + 1))
            // One name, one signal: a field called like its register gives way.
            let fields = (register.description?.fields ?? []).map { (VCDSignals.identifier($0.name), $0.lsb, $0.width) }
                .filter { $0.0 != name }
            let variables = ([(name, 0, register.description?.width ?? 64)] + fields).map(VCDSignals.Variable.init)
            return ([VCDSignals.identifier(register.block), name], variables)
        case .wire(let wire):
            let parts = decoder.wireName(wire).split(separator: ".").map { VCDSignals.identifier($0) }
            return (["interrupts"] + parts.dropLast(), [.init(name: parts.last ?? "wire\(wire)", lsb: 0, width: 1)])
        case .intx(let function): return (["interrupts", "fn\(function)"], [.init(name: "INTx", lsb: 0, width: 1)])
        case .vector(let function, let vector):
            return (["interrupts", "fn\(function)"], [.init(name: "vector\(vector)", lsb: 0, width: 1, isEvent: true)])
        case .cause(let hart): return (["hart\(hart)"], [.init(name: "mcause", lsb: 0, width: 32)])
        case .pc(let hart): return (["hart\(hart)"], [.init(name: "mepc", lsb: 0, width: 32)])
        case .depth(let function, let queue): return (["queues", "fn\(function)"], [.init(name: "queue\(queue)_depth", lsb: 0, width: 16)])
        }
    }
}

/// What has a signal, or several.
enum VCDSource: Hashable, Comparable {
    case register(UInt16, UInt16)
    case wire(UInt16)
    case intx(UInt8)
    case vector(UInt8, UInt16)
    case cause(UInt8), pc(UInt8)
    case depth(UInt8, UInt16)

    var isLine: Bool {
        switch self {
        case .wire, .intx: true
        case .register, .vector, .cause, .pc, .depth: false
        }
    }

    /// In the order of declaration: those of one scope are together.
    private var place: (part: Int, UInt16, UInt32) {
        switch self {
        case .register(let number, let element): (0, number, UInt32(element))
        case .wire(let wire): (1, wire, 0)
        case .intx(let function): (2, UInt16(function), 0)
        case .vector(let function, let vector): (2, UInt16(function), 1 + UInt32(vector))
        case .cause(let hart): (3, UInt16(hart), 0)
        case .pc(let hart): (3, UInt16(hart), 1)
        case .depth(let function, let queue): (4, UInt16(function), UInt32(queue))
        }
    }

    static func < (a: VCDSource, b: VCDSource) -> Bool { a.place < b.place }
}
