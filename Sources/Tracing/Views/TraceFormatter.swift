import Registers

/// Shows events to people and to programs.
public struct TraceFormatter {
    private let decoder: TraceDecoder
    private let usesColour: Bool

    public init(_ decoder: TraceDecoder, usesColour: Bool) {
        self.decoder = decoder
        self.usesColour = usesColour
    }

    // MARK: Text

    /// One line: cycle, initiator, program counter or process, what happened, to what, and how.
    public func line(_ event: TraceEvent) -> String {
        let (verb, name, details) = columns(event)
        var line = padded(String(event.time), 14, right: true) + "  " + padded("\(event.initiator)", 6) + "  "
        line += padded(origin(event), 13) + "  " + padded(verb, 9) + "  "
        if details.isEmpty, event.status ?? .ok == .ok { return line + coloured(name, Colour.name) }
        line += coloured(padded(name, 30), Colour.name)
        if !details.isEmpty { line += "  " + details }
        if let status = event.status, status != .ok { line += "  " + coloured("\(status)", Colour.wrong) }
        return line
    }

    private enum Colour { static let name = "36", wrong = "31" }

    private func coloured(_ text: String, _ colour: String) -> String { usesColour ? "\u{1b}[\(colour)m\(text)\u{1b}[0m" : text }

    private func origin(_ event: TraceEvent) -> String {
        if let pc = event.pc { return "pc=\(hex(pc))" }
        if let pid = event.pid, pid != 0 { return "pid=\(pid)" }
        return ""
    }

    private func columns(_ event: TraceEvent) -> (verb: String, name: String, details: String) {
        switch event {
        case .access(let event):
            return ((event.isWrite ? "write" : "read") + String(Int(event.size) * 8), decoder.name(event), details(event))
        case .interrupt(let event):
            switch event.step {
            case .line(let wire, let level): return ("line", decoder.wireName(wire), Self.change(level))
            case .message(_, let vector?, _): return ("message", "vector \(vector)", "")
            case .message(_, nil, let level): return ("line", "INTx", Self.change(level))
            case .trap(_, let cause, _, let handler): return ("trap", TrapCause.name(cause), "handler=\(hex(handler))")
            }
        case .dma(let event):
            return (event.isWrite ? "dma-write" : "dma-read", "0x\(hex(event.address))", "\(event.bytes) bytes")
        case .queue(let event):
            let isRequest = event.step == .taken || event.step == .completed
            let request = isRequest ? "head=\(event.head) bytes=\(event.bytes) " : ""
            return ("\(event.step)", "queue \(event.queue)", request + "depth=\(event.depth)")
        case .fault(let event):
            let queue = event.kind == .queue ? ["queue=\(event.origin)"] : []
            let address = event.address == 0 ? [] : ["address=0x\(hex(event.address))"]
            return ("fault", "\(event.kind)", (queue + address + [printable(event.name)]).joined(separator: " "))
        case .log(let event):
            switch event.content {
            case .line(let text): return ("log", printable(text), "")
            case .record(let kind, let arguments):
                let members = decoder.members(ofRecord: kind, arguments)
                return ("log", decoder.recordName(kind), members.map { "\($0.name)=\(printable($0.value))" }.joined(separator: " "))
            }
        }
    }

    private static func change(_ level: Bool) -> String { level ? "0 -> 1" : "1 -> 0" }

    /// Old and new value and the fields that changed.
    private func details(_ event: AccessEvent) -> String {
        guard case .register(let number, _, _) = event.target else { return "0x\(hex(event.new))" }
        let values = event.old == event.new ? "0x\(hex(event.new))" : "0x\(hex(event.old)) -> 0x\(hex(event.new))"
        guard let register = decoder.known[Int(number)].description else { return values }
        let changes = register.changes(from: event.old, to: event.new)
        if !changes.isEmpty { return values + "  " + changes.map { "\($0.old.description)->\(Self.value($0.new))" }.joined(separator: " ") }
        return !event.isWrite && register.fields.count > 1 ? values + "  " + register.describe(event.new) : values
    }

    /// A field's value as lines show it.
    static func value(_ field: DecodedField) -> String {
        field.encoding ?? (field.value < 10 ? "\(field.value)" : "0x\(hex(field.value))")
    }

    // MARK: JSON

    /// One JSON object, without line end.
    public func json(_ event: TraceEvent) -> String {
        var members = ["\"event\":\"\(event.kind)\"", "\"cycle\":\(event.time)", "\"initiator\":\"\(event.initiator)\""]
        if let pc = event.pc { members.append("\"pc\":\"0x\(hex(pc))\"") }
        if let pid = event.pid { members.append("\"pid\":\(pid)") }
        switch event {
        case .access(let event): members += self.members(event)
        case .interrupt(let event): members += self.members(event)
        case .dma(let event):
            members += ["\"function\":\(event.function)", "\"direction\":\"\(event.isWrite ? "write" : "read")\""]
            members += ["\"address\":\"0x\(hex(event.address))\"", "\"bytes\":\(event.bytes)"]
        case .queue(let event):
            members += ["\"function\":\(event.function)", "\"queue\":\(event.queue)"]
            members += ["\"step\":\"\(event.step)\"", "\"depth\":\(event.depth)"]
            if event.step == .taken || event.step == .completed { members += ["\"head\":\(event.head)", "\"bytes\":\(event.bytes)"] }
        case .fault(let event):
            members += ["\"kind\":\"\(event.kind)\"", "\"name\":\(quoted(event.name))", "\"address\":\"0x\(hex(event.address))\""]
            if event.kind == .queue { members.append("\"queue\":\(event.origin)") }
        case .log(let event):
            switch event.content {
            case .line(let text): members.append("\"text\":\(quoted(text))")
            case .record(let kind, let arguments):
                members.append("\"record\":\(quoted(decoder.recordName(kind)))")
                let payload = decoder.members(ofRecord: kind, arguments).map { "\(quoted($0.name)):\(quoted($0.value))" }
                members.append("\"payload\":{\(payload.joined(separator: ","))}")
            }
        }
        if let status = event.status { members.append("\"status\":\"\(status)\"") }
        return "{" + members.joined(separator: ",") + "}"
    }

    private func members(_ event: AccessEvent) -> [String] {
        var members = ["\"wait\":\(event.wait)", "\"access\":\"\(event.isWrite ? "write" : "read")\"", "\"size\":\(event.size)"]
        guard case .register(let number, let element, let byte) = event.target else {
            guard case .address(let address, let bus) = event.target else { return members }
            return members + [
                "\"bus\":\(quoted(decoder.busName(bus)))", "\"address\":\"0x\(hex(address))\"", "\"value\":\"0x\(hex(event.new))\"",
            ]
        }
        members.append("\"register\":\(quoted(decoder.registerName(number, element)))")
        members += ["\"old\":\"0x\(hex(event.old))\"", "\"new\":\"0x\(hex(event.new))\""]
        if byte != 0 { members.append("\"byte\":\(byte)") }
        if let register = decoder.known[Int(number)].description {
            let changes = register.changes(from: event.old, to: event.new).map {
                "\"\($0.old.name)\":[\"\(Self.value($0.old))\",\"\(Self.value($0.new))\"]"
            }
            members.append("\"changed\":{\(changes.joined(separator: ","))}")
        }
        return members
    }

    private func members(_ event: InterruptEvent) -> [String] {
        switch event.step {
        case .line(let wire, let level): ["\"line\":\(quoted(decoder.wireName(wire)))", "\"level\":\(level ? 1 : 0)"]
        case .message(let function, let vector?, _): ["\"function\":\(function)", "\"vector\":\(vector)"]
        case .message(let function, nil, let level): ["\"function\":\(function)", "\"line\":\"INTx\"", "\"level\":\(level ? 1 : 0)"]
        case .trap(_, let cause, _, let handler):
            ["\"cause\":\"0x\(hex(cause))\"", "\"name\":\"\(TrapCause.name(cause))\"", "\"handler\":\"0x\(hex(handler))\""]
        }
    }
}
