import AdminProtocol

/// A refusal in words: the instruction, what was expected of it, and what was found.
extension PolicyRefusal: CustomStringConvertible {
    public var description: String { description(of: []) }

    /// - Parameter code: the program's instructions, so that the one that is refused can be shown.
    public func description(of code: [UInt8]) -> String {
        guard let reason = Reason(rawValue: reason) else {
            return "the program is refused for a reason that this agent doesn't know, \(self.reason)"
        }
        switch reason {
        case .length: return "a program of \(expected) instructions expected, \(found) found"
        case .checksum:
            let sums = (expected: hex(UInt32(truncatingIfNeeded: expectedLow)), found: hex(UInt32(truncatingIfNeeded: foundLow)))
            return "the program arrived damaged: checksum 0x\(sums.expected) expected, 0x\(sums.found) found"
        case .incomplete: return "a program of \(expected) bytes expected, \(found) have arrived"
        default: break
        }
        return "instruction \(instruction)\(text(in: code)): \(explanation(reason))"
    }

    private func explanation(_ reason: Reason) -> String {
        switch reason {
        case .length, .checksum, .incomplete: ""
        case .truncated: expectedLow == 8
            ? "an instruction of 8 bytes expected, the program ends after \(found) of them"
            : "both halves of a wide instruction expected, the program ends after the first"
        case .opcode:
            "an instruction of the groups base32, base64, divmul32 or divmul64 expected, opcode 0x\(opcode) found"
        case .field: "\(expected) expected in a field, \(found) found"
        case .register: "a register of \(expected) expected, \(found) found"
        case .frame: "a register that can be written expected, r10 found"
        case .target: "a jump to an instruction of \(expected) expected, one to \(found) found"
        case .backwards: "a jump forwards expected, to an instruction of \(expected), one back to \(found) found: programs don't loop"
        case .middle: "the first half of a wide instruction expected where a jump goes to, the second found"
        case .end: "'exit' as the last instruction expected, opcode 0x\(opcode) found"
        case .unreachable: "an instruction that some way leads to expected, none leads here"
        case .unset: "a value on every way here expected, r\(foundLow) has none, or what it points at"
        case .address: "an address expected in r\(foundLow), a number found"
        case .number: "a number expected in r\(foundLow), an address found"
        case .bounds: "an access at an offset of \(expected) expected, \(found) found"
        case .distance: "an address expected within \(expectedHigh) bytes of where it began, \(found) found"
        case .stackOffset: "one offset in the stack expected, \(found) found"
        case .call: "no calls expected, function \(found) found"
        case .tooMany: "jumps to at most \(expectedHigh) places ahead expected, one more found"
        }
    }

    private var opcode: String { hex(UInt8(truncatingIfNeeded: foundLow)) }
    private var expected: String { Self.range(expectedLow, expectedHigh) }
    private var found: String { Self.range(foundLow, foundHigh) }
    private static func range(_ low: Int64, _ high: Int64) -> String { low == high ? "\(low)" : "\(low)...\(high)" }

    private func text(in code: [UInt8]) -> String {
        let start = Int(instruction) * 8
        guard start + 8 <= code.count else { return "" }
        return " (" + Disassembly.text(Array(code[start..<start + 8])) + ")"
    }
}

/// One BPF instruction as Clang and the kernel's tools write it.
enum Disassembly {
    static func text(_ bytes: [UInt8]) -> String {
        let opcode = bytes[0], destination = "r\(bytes[1] & 15)", source = "r\(bytes[1] >> 4)"
        let offset = bytes.number(at: 2, Int16.self) ?? 0, immediate = bytes.number(at: 4, Int32.self) ?? 0
        let operand = opcode & 8 != 0 ? source : "\(immediate)"
        let signed = offset < 0 ? "- \(-Int(offset))" : "+ \(offset)"
        switch opcode & 7 {
        case 4, 7:
            let left = opcode & 7 == 4 ? "w" + destination.dropFirst() : destination
            let right = opcode & 7 == 4 && opcode & 8 != 0 ? "w" + operand.dropFirst() : operand
            switch opcode & 0xf0 {
            case 0x80: return "\(left) = -\(left)"
            case 0xd0: return "\(left) = bswap\(immediate) \(left)"
            default:
                let names = ["+=", "-=", "*=", "/=", "|=", "&=", "<<=", ">>=", "", "%=", "^=", "=", "s>>="]
                let place = Int(opcode >> 4)
                return place < names.count ? "\(left) \(names[place]) \(right)" : "opcode 0x\(hex(opcode))"
            }
        case 5, 6:
            switch opcode & 0xf0 {
            case 0x00: return "goto \(opcode & 7 == 6 ? "\(immediate)" : signed)"
            case 0x80: return "call \(immediate)"
            case 0x90: return "exit"
            default:
                let names = ["", "==", ">", ">=", "&", "!=", "s>", "s>=", "", "", "<", "<=", "s<", "s<="]
                let place = Int(opcode >> 4)
                return place < names.count ? "if \(destination) \(names[place]) \(operand) goto \(signed)" : "opcode 0x\(hex(opcode))"
            }
        case 1: return "\(destination) = *(\(type(opcode)) *)(\(source) \(signed))"
        case 2: return "*(\(type(opcode)) *)(\(destination) \(signed)) = \(immediate)"
        case 3: return "*(\(type(opcode)) *)(\(destination) \(signed)) = \(source)"
        default: return opcode == 0x18 ? "\(destination) = \(immediate) ll" : "opcode 0x\(hex(opcode))"
        }
    }

    private static func type(_ opcode: UInt8) -> String {
        (opcode & 0xe0 == 0x80 ? "s" : "u") + ["32", "16", "8", "64"][Int(opcode >> 3 & 3)]
    }
}
