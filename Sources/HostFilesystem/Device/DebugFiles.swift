import OffloadDevice
import PCIExpress
import Registers
import Tracing

extension DeviceTree {
    /// `sys/kernel/debug/outrigger/<bdf>`: what people and tests see of the inside, and do to it.
    func addDebugFiles() {
        let machine = machine, folder = debugFolder
        folder.add("regs", AttributeFile(show: { () throws(Errno) in
            machine.inspect { device in
                Self.registers(of: .firmware, device) + Self.registers(of: .physicalFunction, device)
            }
        }))
        folder.add("time", AttributeFile(
            show: { () throws(Errno) in "cycle: \(machine.now)\nclock: \(machine.description.clockHertz)\npace: \(machine.pace)\n" },
            store: { (text, _) throws(Errno) in
                let words = trimmed(text).split(separator: " ")
                guard words.count == 2, words[0] == "advance" else { throw .invalidArgument }
                machine.advance(by: UInt64(try parseNumber(String(words[1]))))
            }))
        addConsole(to: folder)
        addTrace(to: folder)
        addFirmware(to: folder)
        addFirmwareFiles(to: folder)
        folder.add("inject", AttributeFile(
            show: { () throws(Errno) in Injection.usage },
            store: { [unowned self] (text, _) throws(Errno) in
                let injection = try Injection(text)
                try injection.perform(on: machine)
                injected(injection)
            }))
        folder.add("snapshot", AttributeFile(permissions: 0o400, bytes: { () throws(Errno) in machine.capture().bytes }))
        folder.add("metrics", AttributeFile(show: { () throws(Errno) in Metrics(machine).text }))
    }

    /// A line `BLOCK.REGISTER 0xVALUE FIELD=VALUE ...` for every register of a bus that answers, read without side effects.
    static func registers(of bus: DeviceBus, _ device: Device, function: Int = 1) -> String {
        var lines = ""
        for block in bus.map.blocks {
            for register in block.map.registers {
                for element in 0..<register.count {
                    let address = block.base + register.offset(ofElement: element)
                    guard let value = device.peek(bus, address, size: register.width / 8, function: function) else { continue }
                    let name = "\(block.name).\(register.name(ofElement: element))"
                    lines += "\(name) 0x\(hex(value, register.width / 4)) \(register.describe(value))\n"
                }
            }
        }
        return lines
    }

    private func addConsole(to folder: Directory) {
        let machine = machine
        let console = FeedFile<UInt8>(
            limit: 1 << 16, reading: .untilNow,
            input: { (text) throws(Errno) in
                // The UART takes what a terminal can send; the rest would be lost on a real line, too.
                guard machine.typeAtConsole(Array(text.utf8)) == text.utf8.count else { throw .tryAgain }
            },
            render: { $1.append($0) })
        folder.add("console", console)
        machine.onConsoleOutput { console.append($0) }
    }

    private func addTrace(to folder: Directory) {
        let machine = machine
        let formatter = TraceFormatter(TraceDecoder(.device, catalogue: .device, maps: DeviceBus.allCases.map(\.map)), usesColour: false)
        let trace = FeedFile<TraceEvent>(limit: 1 << 16, reading: .fromNow) { $1 += Array((formatter.line($0) + "\n").utf8) }
        // Weak: the machine must not keep the tree.
        trace.onUse = { [weak trace] isOpen in
            guard isOpen, let trace else { return machine.onEvent(nil) }
            machine.onEvent { trace.append($0) }
        }
        folder.add("trace", trace)
    }

    private func addFirmware(to folder: Directory) {
        let machine = machine, log = log
        folder.add("firmware", UploadFile(
            limit: 64 << 20,
            show: { () throws(Errno) in
                machine.inspect { device in
                    Self.registers(of: .physicalFunction, device).split(separator: "\n").filter {
                        $0.hasPrefix("HOSTIF.FIRMWARE") || $0.hasPrefix("HOSTIF.HEARTBEAT") || $0.hasPrefix("HOSTIF.FAULT")
                    }.map { $0 + "\n" }.joined()
                }
            },
            accept: { (bytes) throws(Errno) in
                do throws(MachineError) {
                    if trimmed(String(decoding: bytes.prefix(16), as: UTF8.self)) == "restart" {
                        try machine.restartFirmware()
                    } else {
                        try machine.loadFirmware(bytes)
                    }
                } catch {
                    log.error("firmware: \(error)")
                    throw .invalidArgument
                }
            }))
    }
}
