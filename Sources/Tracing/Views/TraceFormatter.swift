import Registers

/// Shows accesses to people and to programs.
public struct TraceFormatter {
    private let decoder: TraceDecoder
    private let usesColour: Bool

    public init(_ decoder: TraceDecoder, usesColour: Bool) {
        self.decoder = decoder
        self.usesColour = usesColour
    }

    /// One line: cycle, initiator, program counter or process, access, name, old and new value, fields that changed.
    public func line(_ event: AccessEvent) -> String {
        var line = padded(String(event.time), 14, right: true) + "  " + padded("\(event.initiator)", 6) + "  "
        line += padded(origin(event), 13) + "  "
        line += padded((event.isWrite ? "write" : "read") + String(Int(event.size) * 8), 7) + "  "
        let name = padded(decoder.name(event), 30)
        line += usesColour ? "\u{1b}[36m\(name)\u{1b}[0m" : name
        switch event.target {
        case .address:
            line += "  0x\(hex(event.new))"
        case .register(let number, _, _):
            line += "  " + (event.old == event.new ? "0x\(hex(event.new))" : "0x\(hex(event.old)) -> 0x\(hex(event.new))")
            if let register = decoder.known[Int(number)].description {
                let changes = register.changes(from: event.old, to: event.new)
                if changes.isEmpty {
                    if !event.isWrite, register.fields.count > 1 { line += "  " + register.describe(event.new) }
                } else {
                    line += "  " + changes.map { "\($0.old.description)->\(Self.value($0.new))" }.joined(separator: " ")
                }
            }
        }
        if event.status != .ok { line += usesColour ? "  \u{1b}[31m\(event.status)\u{1b}[0m" : "  \(event.status)" }
        return line
    }

    /// One JSON object, without line end.
    public func json(_ event: AccessEvent) -> String {
        let origin = event.initiator.kind == .hart ? "\"pc\":\"0x\(hex(event.origin))\"" : "\"pid\":\(event.origin)"
        var members = [
            "\"cycle\":\(event.time)", "\"wait\":\(event.wait)", "\"initiator\":\"\(event.initiator)\"",
            origin,
            "\"access\":\"\(event.isWrite ? "write" : "read")\"", "\"size\":\(event.size)", "\"status\":\"\(event.status)\"",
        ]
        switch event.target {
        case .address(let address, let bus):
            members += ["\"bus\":\"\(decoder.busName(bus))\"", "\"address\":\"0x\(hex(address))\"", "\"value\":\"0x\(hex(event.new))\""]
        case .register(let number, let element, let byte):
            members.append("\"register\":\"\(decoder.registerName(number, element))\"")
            members += ["\"old\":\"0x\(hex(event.old))\"", "\"new\":\"0x\(hex(event.new))\""]
            if byte != 0 { members.append("\"byte\":\(byte)") }
            if let register = decoder.known[Int(number)].description {
                let changes = register.changes(from: event.old, to: event.new).map {
                    "\"\($0.old.name)\":[\"\(Self.value($0.old))\",\"\(Self.value($0.new))\"]"
                }
                members.append("\"changed\":{\(changes.joined(separator: ","))}")
            }
        }
        return "{" + members.joined(separator: ",") + "}"
    }

    private func origin(_ event: AccessEvent) -> String {
        switch event.initiator.kind {
        case .hart: "pc=\(hex(event.origin))"
        case .host: event.origin == 0 ? "" : "pid=\(event.origin)"
        case .dma, .debugger, .device: ""
        }
    }

    /// A field's value as lines show it.
    static func value(_ field: DecodedField) -> String {
        field.encoding ?? (field.value < 10 ? "\(field.value)" : "0x\(hex(field.value))")
    }
}

/// The text, filled up with spaces to a width; to the left of it if `right`.
func padded(_ text: String, _ width: Int, right: Bool = false) -> String {
    let missing = String(repeating: " ", count: max(0, width - text.utf8.count))
    return right ? missing + text : text + missing
}
