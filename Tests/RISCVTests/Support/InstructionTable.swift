/// Every instruction that computes a register from registers, with what it computes, as plainly as it can be said.
enum InstructionTable {
    struct RegisterRegister: Sendable {
        let name: String
        let funct7: UInt32, funct3: UInt32
        let result: @Sendable (UInt32, UInt32) -> UInt32
    }

    struct RegisterImmediate: Sendable {
        let name: String
        let funct3: UInt32
        /// Of those with a shift amount; nil for those with a 12-bit immediate.
        let funct7: UInt32?
        let result: @Sendable (UInt32, Int32) -> UInt32
    }

    struct Unary: Sendable {
        let name: String
        let funct12: UInt32, funct3: UInt32, opcode: UInt32
        let result: @Sendable (UInt32) -> UInt32
    }

    private static func s(_ value: UInt32) -> Int64 { Int64(Int32(bitPattern: value)) }
    private static func low(_ value: Int64) -> UInt32 { UInt32(truncatingIfNeeded: value) }
    private static func bit(_ value: UInt32, _ number: UInt32) -> Bool { value / (UInt32(1) << (number % 32)) % 2 == 1 }
    private static func bits(_ isSet: (UInt32) -> Bool) -> UInt32 { (0..<32).reduce(0) { isSet($1) ? $0 + (1 << $1) : $0 } }
    /// Bit i of the result is bit i - amount of the value, or 0.
    private static func shift(_ value: UInt32, left amount: Int) -> UInt32 {
        bits { i in (0..<32).contains(Int(i) - amount) && bit(value, UInt32(Int(i) - amount)) }
    }
    private static func rotate(_ value: UInt32, left amount: Int) -> UInt32 {
        bits { i in bit(value, UInt32((Int(i) - amount + 64) % 32)) }
    }
    private static func arithmeticShift(_ value: UInt32, right amount: Int) -> UInt32 {
        bits { i in bit(value, min(31, i + UInt32(amount))) }
    }

    static let registerRegister: [RegisterRegister] = base + multiply + bitManipulation

    private static let base: [RegisterRegister] = [
        .init(name: "add", funct7: 0, funct3: 0) { low(s($0) + s($1)) },
        .init(name: "sub", funct7: 0x20, funct3: 0) { low(s($0) - s($1)) },
        .init(name: "sll", funct7: 0, funct3: 1) { shift($0, left: Int($1 % 32)) },
        .init(name: "slt", funct7: 0, funct3: 2) { s($0) < s($1) ? 1 : 0 },
        .init(name: "sltu", funct7: 0, funct3: 3) { $0 < $1 ? 1 : 0 },
        .init(name: "xor", funct7: 0, funct3: 4) { a, b in bits { bit(a, $0) != bit(b, $0) } },
        .init(name: "srl", funct7: 0, funct3: 5) { shift($0, left: -Int($1 % 32)) },
        .init(name: "sra", funct7: 0x20, funct3: 5) { arithmeticShift($0, right: Int($1 % 32)) },
        .init(name: "or", funct7: 0, funct3: 6) { a, b in bits { bit(a, $0) || bit(b, $0) } },
        .init(name: "and", funct7: 0, funct3: 7) { a, b in bits { bit(a, $0) && bit(b, $0) } },
    ]

    private static let multiply: [RegisterRegister] = [
        .init(name: "mul", funct7: 1, funct3: 0) { low(s($0).multipliedReportingOverflow(by: s($1)).partialValue) },
        .init(name: "mulh", funct7: 1, funct3: 1) { low((s($0) * s($1)) >> 32) },
        .init(name: "mulhsu", funct7: 1, funct3: 2) { low((s($0) * Int64($1)) >> 32) },
        .init(name: "mulhu", funct7: 1, funct3: 3) { UInt32((UInt64($0) * UInt64($1)) >> 32) },
        .init(name: "div", funct7: 1, funct3: 4) { $1 == 0 ? .max : low(s($0) / s($1)) },
        .init(name: "divu", funct7: 1, funct3: 5) { $1 == 0 ? .max : $0 / $1 },
        .init(name: "rem", funct7: 1, funct3: 6) { $1 == 0 ? $0 : low(s($0) % s($1)) },
        .init(name: "remu", funct7: 1, funct3: 7) { $1 == 0 ? $0 : $0 % $1 },
    ]

    private static let bitManipulation: [RegisterRegister] = [
        .init(name: "sh1add", funct7: 0x10, funct3: 2) { low(s($0) * 2 + s($1)) },
        .init(name: "sh2add", funct7: 0x10, funct3: 4) { low(s($0) * 4 + s($1)) },
        .init(name: "sh3add", funct7: 0x10, funct3: 6) { low(s($0) * 8 + s($1)) },
        .init(name: "andn", funct7: 0x20, funct3: 7) { a, b in bits { bit(a, $0) && !bit(b, $0) } },
        .init(name: "orn", funct7: 0x20, funct3: 6) { a, b in bits { bit(a, $0) || !bit(b, $0) } },
        .init(name: "xnor", funct7: 0x20, funct3: 4) { a, b in bits { bit(a, $0) == bit(b, $0) } },
        .init(name: "min", funct7: 5, funct3: 4) { s($0) < s($1) ? $0 : $1 },
        .init(name: "minu", funct7: 5, funct3: 5) { $0 < $1 ? $0 : $1 },
        .init(name: "max", funct7: 5, funct3: 6) { s($0) < s($1) ? $1 : $0 },
        .init(name: "maxu", funct7: 5, funct3: 7) { $0 < $1 ? $1 : $0 },
        .init(name: "rol", funct7: 0x30, funct3: 1) { rotate($0, left: Int($1 % 32)) },
        .init(name: "ror", funct7: 0x30, funct3: 5) { rotate($0, left: 32 - Int($1 % 32)) },
        .init(name: "bclr", funct7: 0x24, funct3: 1) { a, b in bits { bit(a, $0) && $0 != b % 32 } },
        .init(name: "bext", funct7: 0x24, funct3: 5) { bit($0, $1) ? 1 : 0 },
        .init(name: "binv", funct7: 0x34, funct3: 1) { a, b in bits { bit(a, $0) != ($0 == b % 32) } },
        .init(name: "bset", funct7: 0x14, funct3: 1) { a, b in bits { bit(a, $0) || $0 == b % 32 } },
    ]

    static let registerImmediate: [RegisterImmediate] = [
        .init(name: "addi", funct3: 0, funct7: nil) { low(s($0) + Int64($1)) },
        .init(name: "slti", funct3: 2, funct7: nil) { s($0) < Int64($1) ? 1 : 0 },
        .init(name: "sltiu", funct3: 3, funct7: nil) { $0 < UInt32(bitPattern: $1) ? 1 : 0 },
        .init(name: "xori", funct3: 4, funct7: nil) { a, b in bits { bit(a, $0) != bit(UInt32(bitPattern: b), $0) } },
        .init(name: "ori", funct3: 6, funct7: nil) { a, b in bits { bit(a, $0) || bit(UInt32(bitPattern: b), $0) } },
        .init(name: "andi", funct3: 7, funct7: nil) { a, b in bits { bit(a, $0) && bit(UInt32(bitPattern: b), $0) } },
        .init(name: "slli", funct3: 1, funct7: 0) { shift($0, left: Int($1)) },
        .init(name: "srli", funct3: 5, funct7: 0) { shift($0, left: -Int($1)) },
        .init(name: "srai", funct3: 5, funct7: 0x20) { arithmeticShift($0, right: Int($1)) },
        .init(name: "rori", funct3: 5, funct7: 0x30) { rotate($0, left: 32 - Int($1)) },
        .init(name: "bclri", funct3: 1, funct7: 0x24) { a, b in bits { bit(a, $0) && $0 != UInt32(b) } },
        .init(name: "bexti", funct3: 5, funct7: 0x24) { bit($0, UInt32($1)) ? 1 : 0 },
        .init(name: "binvi", funct3: 1, funct7: 0x34) { a, b in bits { bit(a, $0) != ($0 == UInt32(b)) } },
        .init(name: "bseti", funct3: 1, funct7: 0x14) { a, b in bits { bit(a, $0) || $0 == UInt32(b) } },
    ]

    static let unary: [Unary] = [
        .init(name: "clz", funct12: 0x600, funct3: 1, opcode: 0x13) { a in UInt32((0..<32).prefix { !bit(a, UInt32(31 - $0)) }.count) },
        .init(name: "ctz", funct12: 0x601, funct3: 1, opcode: 0x13) { a in UInt32((0..<32).prefix { !bit(a, UInt32($0)) }.count) },
        .init(name: "cpop", funct12: 0x602, funct3: 1, opcode: 0x13) { a in UInt32((0..<32).filter { bit(a, UInt32($0)) }.count) },
        .init(name: "sext.b", funct12: 0x604, funct3: 1, opcode: 0x13) { a in bits { bit(a, min($0, 7)) } },
        .init(name: "sext.h", funct12: 0x605, funct3: 1, opcode: 0x13) { a in bits { bit(a, min($0, 15)) } },
        .init(name: "zext.h", funct12: 0x080, funct3: 4, opcode: 0x33) { $0 % 65536 },
        .init(name: "orc.b", funct12: 0x287, funct3: 5, opcode: 0x13) { a in bits { a >> ($0 / 8 * 8) & 0xff != 0 } },
        .init(name: "rev8", funct12: 0x698, funct3: 5, opcode: 0x13) { a in bits { bit(a, (3 - $0 / 8) * 8 + $0 % 8) } },
    ]
}
