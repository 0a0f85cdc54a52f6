/// A value that is printed as JSON (RFC 8259), members in their order.
public indirect enum JSON: Sendable {
    case string(String), number(UInt64), array([JSON]), object([(String, JSON)]), flag(Bool)
    /// Three digits after the point.
    case real(Double)

    public var text: String {
        switch self {
        case .number(let number): String(number)
        case .real(let value): value.isFinite ? decimal(value, 3) : "null"
        case .flag(let value): value ? "true" : "false"
        case .array(let items): "[" + items.map(\.text).joined(separator: ",") + "]"
        case .object(let members): "{" + members.map { "\(JSON.string($0).text):\($1.text)" }.joined(separator: ",") + "}"
        case .string(let string):
            "\"" + string.unicodeScalars.map { scalar in
                switch scalar {
                case "\"": "\\\""
                case "\\": "\\\\"
                case "\n": "\\n"
                case _ where scalar.value < 0x20:
                    "\\u00" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
                default: String(scalar)
                }
            }.joined() + "\""
        }
    }
}
