import ArgumentParser
import Debugging
import FirmwareInfo
import Glibc
import OffloadDevice
import Presentation
import Registers

struct Firmware: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Look into the firmware without stopping it.",
        discussion: """
            Everything is found by the image's symbols and debug information, and read without the firmware's help: it may hang, or \
            have crashed. Of a recording any place can be looked at. Examples: outrigger firmware trace /mnt/device; \
            outrigger firmware backtrace run.rec --at 3ms
            """,
        subcommands: [
            FirmwareTraceCommand.self, FirmwareCountersCommand.self, FirmwareFaults.self, FirmwareBacktrace.self,
            FirmwareProfile.self,
        ])
}

/// Where to look, and by which image.
struct FirmwareOptions: ParsableArguments {
    @OptionGroup var place: FirmwareSource

    @Flag(help: "Print JSON.")
    var json = false

    func open() throws -> (information: DebugInformation, memory: any FirmwareMemory) {
        let source = try place.open()
        return (try place.information(of: source), source.memory)
    }
}

struct FirmwareTraceCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "trace",
        abstract: "The firmware's ring of trace records, oldest first.",
        discussion: """
            Kinds of records, members of their payloads and names of values are the image's own. What is repeated without change is \
            shown once, with how often. Example: outrigger firmware trace /mnt/device
            """)

    @OptionGroup var options: FirmwareOptions

    func run() throws {
        let (information, memory) = try options.open()
        let trace = try FirmwareTrace(information, memory)
        if options.json {
            for record in trace.records { print(Self.json(record).text) }
            return
        }
        print("     number      mcycle  record")
        for record in trace.records {
            let fields = record.fields.map { " \($0.name)=\($0.text)" }.joined()
            let repeats = record.repeats > 0 ? "  (\(record.repeats + 1) times, last at \(record.lastCycle))" : ""
            print("\(rightColumn(record.number, 11)) \(rightColumn(record.cycle, 11))  \(record.kind)\(fields)\(repeats)")
        }
    }

    private static func json(_ record: FirmwareTrace.Record) -> JSON {
        .object([
            ("number", .number(UInt64(record.number))), ("mcycle", .number(UInt64(record.cycle))), ("kind", .string(record.kind)),
            ("fields", .object(record.fields.map { field in
                (field.name, field.text == String(field.value) ? .number(field.value) : .string(field.text))
            })),
            ("times", .number(UInt64(record.repeats) + 1)), ("last_mcycle", .number(UInt64(record.lastCycle))),
        ])
    }
}

struct FirmwareCountersCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "counters", abstract: "What the firmware has counted since it started.",
        discussion: "The names are the image's own. Example: outrigger firmware counters /mnt/device")

    @OptionGroup var options: FirmwareOptions

    func run() throws {
        let (information, memory) = try options.open()
        let counters = try FirmwareCounters(information, memory)
        if options.json { return print(JSON.object(counters.values.map { ($0.name, .number(UInt64($0.value))) }).text) }
        for (name, value) in counters.values { print("\(rightColumn(value, 11))  \(name)") }
    }
}

struct FirmwareFaults: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "faults", abstract: "The firmware's crash on record, with the calls that led to it.",
        discussion: """
            The record is the one that 'outrigger-agent fault' shows raw, and clears. Example: outrigger firmware faults /mnt/device
            """)

    @OptionGroup var options: FirmwareOptions

    func run() throws {
        let (information, memory) = try options.open()
        guard let fault = try FaultReport(information, memory) else {
            return print(options.json ? "null" : "no fault recorded")
        }
        let kind = try Self.kind(of: fault)
        func hex(_ value: UInt32) -> String { "0x" + String(value, radix: 16) }
        if options.json {
            return print(JSON.object([
                ("kind", .string(kind)), ("hart", .number(UInt64(fault.hart))), ("cycle", .number(fault.cycle)),
                ("count", .number(UInt64(fault.count))), ("cause", .string(hex(fault.cause))), ("address", .string(hex(fault.address))),
                ("backtrace", fault.backtrace.json), ("complete", .string(fault.hasStack ? "yes" : "no")),
            ]).text)
        }
        print("fault: \(kind) on hart \(fault.hart) at cycle \(fault.cycle)")
        print("  cause \(hex(fault.cause))  pc \(hex(fault.registers.pc))  address \(hex(fault.address))")
        if fault.count > 1 { print("  the first of \(fault.count) since the record was cleared or power came on") }
        fault.backtrace.print()
        if !fault.hasStack { print("  callers are unknown: the stack that the firmware kept is of another crash") }
    }

    /// What the register map calls the kind.
    private static func kind(of fault: FaultReport) throws -> String {
        let location = try DeviceBus.location(named: "HOSTIF.FAULT.kind").location
        let decoded = location.register.decode(fault.record).first { $0.name == "kind" }
        return decoded?.encoding ?? "kind \(fault.record >> 16 & 0xff)"
    }
}

struct FirmwareBacktrace: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backtrace", abstract: "Where each hart is, and by which calls it got there.",
        discussion: "The harts are not stopped for it. Example: outrigger firmware backtrace /mnt/device")

    @OptionGroup var options: FirmwareOptions

    func run() throws {
        let (information, memory) = try options.open()
        let harts = try memory.harts()
        if options.json {
            return print(JSON.array(harts.enumerated().map { number, hart in
                .object([
                    ("hart", .number(UInt64(number))), ("activity", .string(hart.activity.rawValue)),
                    ("backtrace", information.backtrace(of: hart, in: memory).json),
                ])
            }).text)
        }
        for (number, hart) in harts.enumerated() {
            print("hart \(number): \(hart.activity.rawValue)")
            if hart.activity != .off { information.backtrace(of: hart, in: memory).print() }
        }
    }
}

extension [Frame] {
    /// Numbered, as debuggers do.
    fileprivate func print() {
        for (number, frame) in enumerated() { Swift.print("  #\(number)".padded(6) + frame.description) }
    }

    fileprivate var json: JSON {
        .array(map { frame in
            var members: [(String, JSON)] = [("pc", .string("0x" + String(frame.pc, radix: 16)))]
            if let function = frame.function { members.append(("function", .string(function))) }
            if let source = frame.source {
                members += [("file", .string(source.file)), ("line", .number(UInt64(source.line)))]
            }
            if frame.isInlined { members.append(("inlined", .number(1))) }
            return .object(members)
        })
    }
}

extension String {
    func padded(_ width: Int) -> String { self + String(repeating: " ", count: Swift.max(0, width - count)) }
}

/// A number at the right of its column.
func rightColumn(_ value: some BinaryInteger, _ width: Int) -> String {
    let text = String(value)
    return String(repeating: " ", count: max(0, width - text.count)) + text
}
