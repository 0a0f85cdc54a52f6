/// The text of a value change dump (IEEE 1364-2005, section 18): scopes and variables, then values.
struct VCDSignals {
    /// A variable: some bits of a value.
    struct Variable {
        let name: String
        let lsb: Int
        let width: Int
        /// It has no value but moments.
        var isEvent = false

        init(name: String, lsb: Int, width: Int, isEvent: Bool = false) {
            self.name = name; self.lsb = lsb; self.width = width; self.isEvent = isEvent
        }

        init(_ field: (name: String, lsb: Int, width: Int)) { self.init(name: field.name, lsb: field.lsb, width: field.width) }
    }

    private struct Signal {
        let variable: Variable
        let code: String
        /// nil: `x`.
        var value: UInt64?
    }

    private var output: [UInt8] = []
    private var groups: [[Signal]] = []
    private var codes = 0
    /// The scope that is open.
    private var scope: [String] = []
    private var time: UInt64?
    private let timescale: (unit: String, multiplier: UInt64)

    /// - Parameter frequency: fabric cycles per second.
    init(frequency: UInt64) {
        timescale = Self.timescale(frequency)
        write("$version outrigger $end\n$timescale \(timescale.unit) $end\n$scope module device $end\n")
    }

    /// Declares variables that show parts of one value.
    /// - Returns: the number of the group.
    mutating func declare(_ path: [String], _ variables: [Variable], initial: UInt64?) -> Int {
        open(path)
        groups.append(variables.map { variable in
            defer { codes += 1 }
            return Signal(variable: variable, code: Self.code(codes), value: initial.map { Self.bits(of: $0, variable) })
        })
        for signal in groups.last ?? [] {
            let variable = signal.variable
            let range = variable.width == 1 ? "" : " [\(variable.width - 1):0]"
            write("$var \(variable.isEvent ? "event" : "reg") \(variable.width) \(signal.code) \(variable.name)\(range) $end\n")
        }
        return groups.count - 1
    }

    /// Closes and opens scopes up to a path.
    private mutating func open(_ path: [String]) {
        let common = zip(scope, path).prefix { $0 == $1 }.count
        for _ in common..<scope.count { write("$upscope $end\n") }
        for name in path[common...] { write("$scope module \(name) $end\n") }
        scope = path
    }

    mutating func endDeclarations(at start: UInt64) {
        open([])
        write("$upscope $end\n$enddefinitions $end\n")
        move(to: start)
        write("$dumpvars\n")
        for signal in groups.joined() where !signal.variable.isEvent { write(signal) }
        write("$end\n")
    }

    /// Writes value changes (section 18.2.2) of those of a group's signals that differ.
    mutating func change(_ group: Int, to value: UInt64, at time: UInt64) {
        for index in groups[group].indices {
            let variable = groups[group][index].variable, new = Self.bits(of: value, variable)
            guard variable.isEvent || groups[group][index].value != new else { continue }
            groups[group][index].value = new
            move(to: time)
            write(groups[group][index])
        }
    }

    /// Hands over what has been written since the last time.
    mutating func takeOutput() -> [UInt8] {
        defer { output.removeAll(keepingCapacity: true) }
        return output
    }

    private static func bits(of value: UInt64, _ variable: Variable) -> UInt64 {
        let mask: UInt64 = variable.width >= 64 ? .max : 1 << UInt64(variable.width) - 1
        return value >> UInt64(variable.lsb) & mask
    }

    private mutating func write(_ signal: Signal) {
        let digits = signal.value.map { String($0, radix: 2) } ?? "x"
        write(signal.variable.width == 1 ? "\(digits)\(signal.code)\n" : "b\(digits) \(signal.code)\n")
    }

    private mutating func move(to time: UInt64) {
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
    static func identifier(_ name: some StringProtocol) -> String {
        var text = ""
        for character in name where character != "]" {
            text.append(character.isASCII && (character.isLetter || character.isNumber) || character == "_" ? character : "_")
        }
        return text.first.map { $0.isNumber ? "_" + text : text } ?? "_"
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
