import FirmwareInfo
import OffloadDevice
import Registers
import Tracing

/// A register that is looked at, with its value.
struct ShownRegister {
    var bus: DeviceBus
    var block: String
    var register: RegisterDescription
    var element: Int
    /// PCI function index; nil for registers that are there once.
    var function: Int?
    var value: UInt64?

    var name: String { (function.map { "fn\($0) " } ?? "") + "\(block).\(register.name(ofElement: element))" }
}

// What people see of the present place.

extension Stepper {
    /// `cycle 1234567 (1.234 ms)  hart 0 in pass() at firmware/OffloadManager/OffloadManager.swift:88`
    public var place: String {
        let position = timeline.position, hart = timeline.device.harts[self.hart]
        let product = position.present.multipliedFullWidth(by: 1_000_000_000)
        let thousandths = product.high < frequency ? frequency.dividingFullWidth(product).quotient : .max
        var text = "cycle \(position.present) (\(thousandths / 1000).\(padded(thousandths % 1000)) us)  hart \(self.hart) "
        text += timeline.device.activity(ofHart: self.hart) == "off" ? "is off" : "at \(describe(hart.pc))"
        return text
    }

    private func padded(_ number: UInt64) -> String { String(repeating: "0", count: 3 - String(number).count) + String(number) }

    /// `pass() at OffloadManager.swift:88`, `0x80001234` where nothing is known.
    func describe(_ pc: UInt32) -> String {
        guard let firmware, let function = firmware.function(containing: pc) else { return "0x\(hex(UInt64(pc)))" }
        return "0x\(hex(UInt64(pc))) \(function.name)" + (firmware.source(of: pc).map { " at \($0)" } ?? "")
    }

    // MARK: Registers

    func location(_ name: String) throws(StepError) -> (bus: DeviceBus, location: RegisterLocation) {
        do throws(RegisterNameError) {
            return try DeviceBus.location(named: name)
        } catch {
            throw StepError(error.description)
        }
    }

    /// The registers of a block, or the one of that name, with their present values.
    func shownRegisters(_ name: String) throws(StepError) -> [ShownRegister] {
        if let (bus, block) = DeviceBus.block(named: name) {
            return block.map.registers.flatMap { register in
                // Of a large array the first elements tell what there is.
                (0..<min(register.count, 4)).flatMap { show(bus, block, register, $0) }
            }
        }
        let (bus, location) = try location(name)
        return show(bus, location.block, location.register, location.element)
    }

    private func show(_ bus: DeviceBus, _ block: BusMap.Block, _ register: RegisterDescription, _ element: Int) -> [ShownRegister] {
        let device = timeline.device, address = block.base + register.offset(ofElement: element)
        let functions: [Int?] = bus == .virtualFunction ? device.functions.filter { $0.function.isPresent }.map(\.index) : [nil]
        return functions.map { function in
            ShownRegister(
                bus: bus, block: block.name, register: register, element: element, function: function,
                value: device.peek(bus, address, size: register.width / 8, function: function ?? 1))
        }
    }

    func shownValues() throws(StepError) -> [ShownRegister] {
        var all: [ShownRegister] = []
        for name in shown { all += try shownRegisters(name) }
        return all
    }

    /// Registers decoded. Without names the shown ones, those that the last move changed with an asterisk.
    func registers(_ names: [String]) throws(StepError) -> [String] {
        guard !names.isEmpty else {
            guard !shown.isEmpty else { throw StepError("regs: a name expected, or blocks to be seen by 'show'") }
            let now = try shownValues()
            let isComparable = now.count == before.count
            return now.enumerated().map { index, register in
                line(register, before: isComparable ? before[index].value : register.value)
            }
        }
        var lines: [String] = []
        for name in names { lines += try shownRegisters(name).map { line($0, before: $0.value) } }
        return lines
    }

    private func line(_ shown: ShownRegister, before: UInt64?) -> String {
        guard let value = shown.value else { return "  \(shown.name)  can't be read" }
        guard let before, before != value else { return "  \(shown.name)  0x\(hex(value))  \(shown.register.describe(value))" }
        let changes = shown.register.changes(from: before, to: value).map {
            "\($0.old.description)->\($0.new.encoding ?? "0x\(hex($0.new.value))")"
        }
        return "* \(shown.name)  0x\(hex(before)) -> 0x\(hex(value))  \(changes.joined(separator: " "))"
    }

    // MARK: Firmware

    /// The calls that led to where the hart is, the innermost first.
    func backtrace() -> [String] {
        let device = timeline.device, hart = device.harts[self.hart]
        let registers = HartRegisters(x: (0..<32).map { hart[register: $0] }, pc: hart.pc)
        guard let firmware else { return ["#0  0x\(hex(UInt64(hart.pc)))"] }
        let isWaiting = device.activity(ofHart: self.hart).hasPrefix("waiting")
        let frames = firmware.backtrace(of: registers, isWaiting: isWaiting) { address in
            device.peek(.firmware, UInt64(address), size: 4).map { UInt32(truncatingIfNeeded: $0) }
        }
        return frames.enumerated().map { "#\($0)  \($1)" }
    }

    /// The source around the line where the hart is.
    func source(context: Int) -> [String] {
        let pc = timeline.device.harts[hart].pc
        guard let firmware, let source = firmware.source(of: pc) else { return ["no source is known at \(describe(pc))"] }
        guard source.line > 0, let lines = readSource(source.file), source.line <= lines.count else { return ["\(source)"] }
        let range = max(source.line - context, 1)...min(source.line + context, lines.count)
        return ["\(source)"] + range.map { "\($0 == source.line ? ">" : " ") \($0)  \(lines[$0 - 1])" }
    }

    // MARK: The rest

    func queues() -> [String] {
        let device = timeline.device
        var lines: [String] = []
        for function in device.functions where function.function.isPresent {
            for queue in 0..<function.device.queueCount {
                guard let state = function.device.inspect(queue: queue), state.isEnabled, let indices = state.indices else { continue }
                let index = { (value: UInt16) in state.format == "packed" ? "\(value & 0x7fff)/\(value >> 15)" : "\(value)" }
                lines.append(
                    "fn\(function.index) queue \(queue)  \(state.format ?? "-")  size \(state.layout.size)  "
                        + "available \(index(indices.available))  taken \(index(indices.taken))  used \(index(indices.used))  "
                        + "in flight \(state.requestsInFlight)"
                        + (state.lastFault.map { "  \($0)" } ?? ""))
            }
        }
        return lines.isEmpty ? ["no virtqueue is enabled"] : lines
    }

    func info() -> [String] {
        let device = timeline.device
        var lines = ["\(timeline.position)", "recording \(timeline.recording.folder), to \(timeline.end)"]
        if goOn == nil, let cut = timeline.recording.cut { lines.append(cut) }
        for number in device.harts.indices {
            let hart = device.harts[number]
            lines.append("\(number == self.hart ? "*" : " ") hart \(number): \(device.activity(ofHart: number)), "
                + "\(hart.retired) instructions, at \(describe(hart.pc))")
        }
        return lines
    }

    /// The last events before the present place that a filter lets through, oldest first.
    func lastEvents(_ count: Int, _ filter: TraceFilter? = nil) throws(StepError) -> [TraceEvent] {
        try attempt { () throws(TimelineError) in
            try timeline.events(before: timeline.position, count: count) { filter?.matches($0) ?? true }
        }
    }

    func hex(_ value: UInt64) -> String { String(value, radix: 16) }
}
