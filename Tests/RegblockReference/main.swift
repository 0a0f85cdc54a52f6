// Makes a random sequence of software accesses and hardware events for one register map, performs it on a RegisterBlock, and prints
// each step with what it must show: the script that tools/regblock-check plays to the SystemVerilog of the same map.
//
//     regblock-reference MAP STIMULI STEPS SEED
//
// MAP is a register map's text. STIMULI has a line per hardware input, `ID KIND REGISTER FIELD`, and per interrupt line,
// `line intr|halt REGISTER`. The script, numbers in hexadecimal:
//
//     W address data lanes id element value lines    write; id 0 without an event in its cycle
//     R address expected lines                       read
//     H id element value lines                       hardware event
//     Z lines                                        reset
import Glibc
import Registers
import Scratch
import Simulation

func fail(_ message: String) -> Never {
    let text = "regblock-reference: \(message)\n"
    _ = text.withCString { write(2, $0, strlen($0)) }
    exit(2)
}

func read(_ path: String) -> String {
    do throws(FileError) {
        return String(decoding: try readFile(path), as: UTF8.self)
    } catch {
        fail(error.description)
    }
}

struct Stimulus {
    enum Kind: String { case level, wire, store, set, clear, increment, decrement }
    var id: Int
    var kind: Kind
    var register: RegisterIndex
    var field: Int
}

final class Reference: RegisterModel {
    let map: RegisterMap
    let block: RegisterBlock
    var stimuli: [Stimulus] = []
    var lines: [(register: RegisterIndex, isHalt: Bool)] = []
    var random: SplitMix64
    var coincident = CoincidentEvents.none
    /// Levels that are not zero, to be let go before a reset: the edge detectors of the SystemVerilog forget them there.
    var held: [(stimulus: Int, element: Int)] = []

    init(map: RegisterMap, stimuli text: String, seed: UInt64) {
        self.map = map
        block = RegisterBlock(map)
        random = SplitMix64(seed: seed)
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ").map(String.init)
            guard let place = map.registers.firstIndex(where: { $0.name == words[2] }) else { fail("no register in '\(line)'") }
            let register = RegisterIndex(rawValue: place)
            if words[0] == "line" {
                lines.append((register, words[1] == "halt"))
            } else if let id = Int(words[0]), let kind = Stimulus.Kind(rawValue: words[1]),
                      let field = map[register].fields.firstIndex(where: { $0.name == words[3] }) {
                stimuli.append(Stimulus(id: id, kind: kind, register: register, field: field))
            } else {
                fail("malformed stimulus '\(line)'")
            }
        }
    }

    func willWrite(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) -> CoincidentEvents { coincident }

    func below(_ bound: Int) -> Int { Int(truncatingIfNeeded: random.next() % UInt64(bound)) }

    /// Mostly random bits, often the patterns that tell write semantics apart.
    func pattern() -> UInt64 {
        switch below(6) {
        case 0: 0
        case 1: .max
        case 2: 1 << UInt64(below(64))
        default: random.next()
        }
    }

    func element(of register: RegisterIndex) -> Int {
        let count = map[register].count
        return below(3) == 0 ? below(count) : [0, count - 1][below(2)]
    }

    /// The state of all interrupt lines, element after element.
    func lineBits() -> String {
        var bits: UInt64 = 0
        var place = 0
        for line in lines {
            for element in 0..<map[line.register].count {
                if block.line(line.register, element, isHalt: line.isHalt) { bits |= 1 << UInt64(place) }
                place += 1
            }
        }
        return hex(bits)
    }

    func hex(_ value: UInt64) -> String { String(value, radix: 16) }

    func step() -> String {
        switch below(100) {
        case 0: return reset()
        case 1..<30 where !stimuli.isEmpty: return hardwareEvent()
        case ..<65: return softwareWrite()
        default: return softwareRead()
        }
    }

    /// A random access word of a random register.
    func place() -> (register: RegisterIndex, element: Int, address: UInt64, size: Int, shift: UInt64) {
        let register = RegisterIndex(rawValue: below(map.registers.count))
        let description = map[register]
        let element = element(of: register)
        let word = below(description.width / description.accessWidth)
        let size = description.accessWidth / 8
        return (register, element, description.offset(ofElement: element) + UInt64(word * size), size, UInt64(word * size * 8))
    }

    func softwareRead() -> String {
        let (register, _, address, size, _) = place()
        var access = BusAccess(read: address, size: size, initiator: .debugger)
        let status = block.access(&access, model: self)
        guard status == .ok || status == .writeOnly else { fail("read of \(map[register].name): \(status)") }
        return "R \(hex(address)) \(hex(status == .ok ? access.value : 0)) \(lineBits())"
    }

    func softwareWrite() -> String {
        let (register, element, address, size, shift) = place()
        let data = pattern() & (UInt64.max >> UInt64(64 - size * 8))
        var event = "0 0 0"
        coincident = .none
        let pulses = stimuli.filter { $0.register == register && [.store, .set, .clear].contains($0.kind) }
        if !pulses.isEmpty && below(3) == 0 {
            let pulse = pulses[below(pulses.count)]
            let value = pattern()
            coincident = events(pulse, value)
            event = "\(hex(UInt64(pulse.id))) \(hex(UInt64(element))) \(hex(value))"
        }
        var lanes = UInt64.max >> UInt64(64 - size * 8)
        if below(4) == 0 {
            let mask = random.next()
            lanes = (0..<UInt64(size)).reduce(0) { $0 | (mask >> $1 & 1 == 1 ? 0xff << ($1 * 8) : 0) }
            if lanes == 0 { lanes = 0xff }
            block.write(register, element, data: data << shift, lanes: lanes << shift, events: coincident)
        } else {
            var access = BusAccess(write: data, to: address, size: size, initiator: .debugger)
            let status = block.access(&access, model: self)
            guard status == .ok || status == .readOnly else { fail("write of \(map[register].name): \(status)") }
            // Nothing of a refused write happens, but what hardware did in that cycle does.
            if status == .readOnly { block.setValue(applied(coincident, block.value(of: register, element)), of: register, element) }
        }
        coincident = .none
        return "W \(hex(address)) \(hex(data)) \(hex(lanes)) \(event) \(lineBits())"
    }

    func applied(_ events: CoincidentEvents, _ value: UInt64) -> UInt64 { (value & ~events.clear) | events.set }

    func events(_ stimulus: Stimulus, _ value: UInt64) -> CoincidentEvents {
        let field = map[stimulus.register].fields[stimulus.field]
        let bits = value << UInt64(field.lsb) & field.mask
        switch stimulus.kind {
        case .store, .wire: return CoincidentEvents(set: bits, clear: field.mask & ~bits)
        case .set: return CoincidentEvents(set: field.mask)
        case .clear: return CoincidentEvents(clear: field.mask)
        default: return .none
        }
    }

    func hardwareEvent() -> String {
        let place = below(stimuli.count)
        let element = element(of: stimuli[place].register)
        return perform(place, element, pattern())
    }

    func perform(_ place: Int, _ element: Int, _ value: UInt64) -> String {
        let stimulus = stimuli[place]
        let register = stimulus.register
        switch stimulus.kind {
        case .level:
            block.drive(register, field: stimulus.field, element, value)
            held.removeAll { $0 == (place, element) }
            if value != 0 { held.append((place, element)) }
        case .wire, .store, .set, .clear:
            let events = events(stimulus, value)
            block.setValue(applied(events, block.value(of: register, element)), of: register, element)
        case .increment: block.increment(register, field: stimulus.field, element)
        case .decrement: block.decrement(register, field: stimulus.field, element)
        }
        return "H \(hex(UInt64(stimulus.id))) \(hex(UInt64(element))) \(hex(value)) \(lineBits())"
    }

    func reset() -> String {
        let released = held.map { perform($0.stimulus, $0.element, 0) }
        block.reset(.powerOn)
        return (released + ["Z \(lineBits())"]).joined(separator: "\n")
    }
}

let arguments = CommandLine.arguments
guard arguments.count == 5, let steps = Int(arguments[3]), let seed = UInt64(arguments[4]) else {
    fail("expected MAP STIMULI STEPS SEED")
}
do {
    let map = try RegisterMap(text: read(arguments[1]))
    let reference = Reference(map: map, stimuli: read(arguments[2]), seed: seed)
    for _ in 0..<steps { print(reference.step()) }
} catch {
    fail("\(arguments[1]): \(error)")
}
