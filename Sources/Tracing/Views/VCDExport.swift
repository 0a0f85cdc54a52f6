import Registers

/// Turns accesses into a value change dump (IEEE 1364-2005, section 18), as GTKWave and other waveform viewers read it.
///
/// Each register that is accessed is a scope within its block's, with the register as a vector and its fields beside it. A signal is
/// `x` until the first access; then it has the register's value before an access when that is issued, and the value after it when
/// the access has come back. What hardware changes in between shows when the next access sees it.
///
/// Two passes over the accesses: ``declare(_:)`` all of them, then ``begin()``, ``add(_:)`` all of them, ``finish()``.
public struct VCDExport {
    private struct Signal {
        let lsb: Int
        let width: Int
        let code: String
        /// nil: `x`.
        var value: UInt64?
    }

    private struct Key: Hashable, Comparable {
        let number: UInt16
        let element: UInt16

        static func < (a: Key, b: Key) -> Bool { (a.number, a.element) < (b.number, b.element) }
    }

    private struct Pending {
        let time: UInt64
        let register: Int
        let value: UInt64
    }

    private var output: [UInt8] = []
    private let decoder: TraceDecoder
    private let timescale: (unit: String, multiplier: UInt64)
    private var declared: Set<Key> = []
    /// Where a register's signals are in `signals`: the register itself first, then its fields.
    private var places: [Key: Int] = [:]
    private var signals: [[Signal]] = []
    private var start: UInt64?
    private var time: UInt64?
    /// Values that take effect when their accesses come back, in the order of their times.
    private var pending: [Pending] = []

    /// - Parameter frequency: fabric cycles per second.
    public init(_ decoder: TraceDecoder, frequency: UInt64) {
        self.decoder = decoder
        timescale = Self.timescale(frequency)
    }

    /// Says that an access is going to come, so that its register gets signals.
    public mutating func declare(_ event: AccessEvent) {
        if start == nil { start = event.time }
        if case .register(let number, let element, _) = event.target { declared.insert(Key(number: number, element: element)) }
    }

    /// Writes the declarations (section 18.2.1) and the first values.
    public mutating func begin() {
        write("$version outrigger $end\n$timescale \(timescale.unit) $end\n$scope module device $end\n")
        var block: Substring = "", codes = 0
        for key in declared.sorted() {
            let register = decoder.known[Int(key.number)]
            if register.block != block {
                if !block.isEmpty { write("$upscope $end\n") }
                block = register.block
                write("$scope module \(Self.identifier(block)) $end\n")
            }
            let name = Self.identifier(decoder.registerName(key.number, key.element).dropFirst(block.utf8.count + 1))
            // One name, one signal: a field called like its register gives way.
            let fields = (register.description?.fields ?? []).map { (Self.identifier($0.name), $0.lsb, $0.width) }.filter { $0.0 != name }
            write("$scope module \(name) $end\n")
            var group: [Signal] = []
            for (name, lsb, width) in [(name, 0, register.description?.width ?? 64)] + fields {
                let signal = Signal(lsb: lsb, width: width, code: Self.code(codes))
                codes += 1
                group.append(signal)
                write("$var reg \(width) \(signal.code) \(name)\(width == 1 ? "" : " [\(width - 1):0]") $end\n")
            }
            write("$upscope $end\n")
            places[key] = signals.count
            signals.append(group)
        }
        if !block.isEmpty { write("$upscope $end\n") }
        write("$upscope $end\n$enddefinitions $end\n")
        moveTo(start ?? 0)
        write("$dumpvars\n")
        for signal in signals.joined() { write(signal.width == 1 ? "x\(signal.code)\n" : "bx \(signal.code)\n") }
        write("$end\n")
    }

    /// Writes what an access changes. Accesses come in the order of time.
    public mutating func add(_ event: AccessEvent) {
        settle(upTo: event.time)
        guard case .register(let number, let element, _) = event.target,
            let register = places[Key(number: number, element: element)]
        else { return }
        change(register, to: event.old, at: event.time)
        guard event.old != event.new else { return }
        let change = Pending(time: event.time &+ max(event.wait, 1), register: register, value: event.new)
        pending.insert(change, at: (pending.lastIndex { $0.time <= change.time } ?? -1) + 1)
    }

    /// Hands over what has been written since the last time.
    public mutating func takeOutput() -> [UInt8] {
        defer { output.removeAll(keepingCapacity: true) }
        return output
    }

    /// Writes what is still to take effect.
    public mutating func finish() { settle(upTo: .max) }

    private mutating func settle(upTo limit: UInt64) {
        let due = pending.prefix { $0.time <= limit }
        for next in due { change(next.register, to: next.value, at: next.time) }
        pending.removeFirst(due.count)
    }

    /// Writes value changes (section 18.2.2) of those of a register's signals that differ.
    private mutating func change(_ register: Int, to value: UInt64, at time: UInt64) {
        for index in signals[register].indices {
            let signal = signals[register][index]
            let mask: UInt64 = signal.width >= 64 ? .max : 1 << UInt64(signal.width) - 1
            let new = value >> UInt64(signal.lsb) & mask
            guard signal.value != new else { continue }
            signals[register][index].value = new
            moveTo(time)
            write(signal.width == 1 ? "\(new)\(signal.code)\n" : "b\(String(new, radix: 2)) \(signal.code)\n")
        }
    }

    private mutating func moveTo(_ time: UInt64) {
        guard self.time != time else { return }
        self.time = time
        write("#\(time &* timescale.multiplier)\n")
    }

    private mutating func write(_ text: String) { output += text.utf8 }

    /// The identifier code of the n-th signal: printable ASCII characters, 33 to 126 (section 18.2.1).
    private static func code(_ number: Int) -> String {
        var code: [UInt8] = [], rest = number
        repeat {
            code.append(UInt8(33 + rest % 94))
            rest /= 94
        } while rest > 0
        return String(decoding: code, as: UTF8.self)
    }

    /// `VM[3].READS` as a simple identifier of Verilog (section 3.7): `VM_3_READS`.
    private static func identifier(_ name: some StringProtocol) -> String {
        var text = ""
        for character in name where character != "]" {
            text.append(character.isASCII && (character.isLetter || character.isNumber) || character == "_" ? character : "_")
        }
        return text
    }

    /// The coarsest unit of 1, 10 or 100 s, ms, us, ns, ps or fs (section 18.2.3.7) of which a cycle is a whole number.
    ///
    /// A cycle that is no whole number of femtoseconds is the unit itself, called 1 ns: the viewer then counts cycles.
    static func timescale(_ frequency: UInt64) -> (unit: String, multiplier: UInt64) {
        let second: UInt64 = 1_000_000_000_000_000
        guard frequency > 0, frequency <= second, second % frequency == 0 else { return ("1 ns", 1) }
        var multiplier = second / frequency, power = 0
        while multiplier % 10 == 0, power < 15 {
            multiplier /= 10
            power += 1
        }
        return ("\([1, 10, 100][power % 3]) \(["fs", "ps", "ns", "us", "ms", "s"][power / 3])", multiplier)
    }
}
