import ArgumentParser
import Glibc
import OffloadDevice
import Presentation
import Registers

struct Regs: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "List, look up and decode the device's registers.",
        discussion: """
            Without a name: all blocks. With BLOCK: its registers. With BLOCK.REGISTER or BLOCK.REGISTER.FIELD: all about it. A value \
            after the name is taken apart into fields. With --mount the present values of a running device are shown.
            Example: outrigger regs WDT.CTRL 0x11
            """)

    @Argument(help: "BLOCK, BLOCK.REGISTER, BLOCK.REGISTER[INDEX] or BLOCK.REGISTER.FIELD.")
    var name: String?

    @Argument(help: "A value to decode, decimal or 0x...")
    var value: String?

    @Option(help: ArgumentHelp("Show the values of the device mounted here.", valueName: "folder"), completion: .directory)
    var mount: String?

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let live = try mount.map { try LiveRegisters(mountPoint: $0) }
        guard let name else { return listBlocks() }
        if let block = DeviceBus.block(named: name)?.block { return listRegisters(of: block, live) }
        let location = try Self.locate(name)
        let value = try value.map { text in
            guard let value = Self.number(text) else { throw UsageError("'\(text)': a number expected, decimal or 0x...") }
            return value
        }
        show(location, value: try value ?? live?.value(of: location))
    }

    private static func locate(_ name: String) throws -> RegisterLocation {
        do {
            return try DeviceBus.location(named: name).location
        } catch {
            throw UsageError(error.description)
        }
    }

    private static func number(_ text: String) -> UInt64? {
        text.lowercased().hasPrefix("0x") ? UInt64(text.dropFirst(2), radix: 16) : UInt64(text)
    }

    // MARK: Output

    private func listBlocks() {
        let blocks = DeviceBus.allCases.flatMap { bus in bus.map.blocks.map { (bus.map.name, $0) } }
        if json {
            let items = blocks.map { bus, block in
                JSON.object([
                    ("name", .string(block.name)), ("bus", .string(bus)), ("base", .string(hex(block.base))),
                    ("size", .string(hex(block.map.size))),
                    ("registers", .number(UInt64(block.map.registers.count))), ("doc", .string(block.map.doc)),
                ])
            }
            return print(JSON.array(items).text)
        }
        for (bus, block) in blocks {
            print(column(block.name, 12) + column(bus, 14) + column(hex(block.base), 13) + firstLine(block.map.doc))
        }
    }

    private func listRegisters(of block: BusMap.Block, _ live: LiveRegisters?) {
        if json {
            let items = block.map.registers.map { register in
                describe(block, register, element: 0, value: live?.value(of: block, register, element: 0))
            }
            return print(JSON.array(items).text)
        }
        for register in block.map.registers {
            var line = column(hex(block.base + register.offset), 13) + column(arrayName(register), 28) + column("\(register.width)", 4)
            if let live {
                let value = live.value(of: block, register, element: 0)
                line += value.map { column(hex($0), 20) + register.describe($0) } ?? "-"
            } else {
                line += firstLine(register.doc)
            }
            print(line)
        }
    }

    private func show(_ location: RegisterLocation, value: UInt64?) {
        let register = location.register
        if json { return print(describe(location.block, register, element: location.element, value: value).text) }
        print("\(location.name)  at \(hex(location.address)), \(register.width) bits, reset \(hex(register.reset))")
        if !register.doc.isEmpty { print("  \(register.doc)") }
        if let value { print("  value \(hex(value))") }
        for field in location.field.map({ [$0] }) ?? register.fields.reversed() {
            let bits = field.width == 1 ? "[\(field.lsb)]" : "[\(field.lsb + field.width - 1):\(field.lsb)]"
            var line = "  " + column(bits, 9) + column(field.name, 18) + column("\(field.software)", 5)
            if let value { line += column(field.decode(value).description.drop { $0 != "=" }.dropFirst().description, 14) }
            print(line + firstLine(field.doc))
            if value == nil, location.field != nil {
                for encoding in field.encodings { print("           \(encoding.value)  \(encoding.name)  \(firstLine(encoding.doc))") }
            }
        }
    }

    private func describe(_ block: BusMap.Block, _ register: RegisterDescription, element: Int, value: UInt64?) -> JSON {
        var members: [(String, JSON)] = [
            ("name", .string("\(block.name).\(register.name(ofElement: element))")),
            ("address", .string(hex(block.base + register.offset(ofElement: element)))),
            ("width", .number(UInt64(register.width))), ("count", .number(UInt64(register.count))), ("reset", .string(hex(register.reset))),
            ("doc", .string(register.doc)),
        ]
        if let value { members.append(("value", .string(hex(value)))) }
        members.append(("fields", .array(register.fields.map { field in
            var members: [(String, JSON)] = [
                ("name", .string(field.name)), ("lsb", .number(UInt64(field.lsb))), ("width", .number(UInt64(field.width))),
                ("access", .string("\(field.software)")), ("doc", .string(field.doc)),
            ]
            if let value {
                let decoded = field.decode(value)
                members.append(("value", .string(hex(decoded.value))))
                if let name = decoded.encoding { members.append(("means", .string(name))) }
            }
            return .object(members)
        })))
        return .object(members)
    }

    private func arrayName(_ register: RegisterDescription) -> String {
        var dimensions = register.dimensions[...]
        return register.path.map { segment in
            (0..<segment.dimensions).reduce(segment.name) { text, _ in "\(text)[\(dimensions.popFirst()?.count ?? 0)]" }
        }.joined(separator: ".")
    }

    private func column(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(1, width - text.count))
    }

    private func firstLine(_ text: String) -> String { text.prefix { $0 != "\n" }.description }

    private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
}
