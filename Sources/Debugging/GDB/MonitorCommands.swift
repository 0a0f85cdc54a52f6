import OffloadDevice
import Registers

/// What `monitor` in GDB understands: the names and the grammar of the command `outrigger`.
struct MonitorCommands<Target: DeviceTarget> {
    let target: Target
    /// Restarts the firmware; what the user is told.
    let reset: () -> String

    /// - Returns: what the command prints, in whole lines; nil if it is none of these.
    func run(_ command: String) -> String? {
        let words = command.split { $0 == " " || $0 == "\t" }.map(String.init)
        switch (words.first ?? "help", words.count) {
        case ("help", ...1): return MonitorHelp.common
        case ("regs", 1): return listBlocks()
        case ("regs", 2): return registers(words[1])
        case ("time", 1): return time()
        case ("reset", 1): return reset()
        default: return nil
        }
    }

    private func listBlocks() -> String {
        DeviceBus.allCases.map { bus in
            bus.map.blocks.map { "\($0.name)  \(bus.map.name)  \(hex($0.base))\n" }.joined()
        }.joined()
    }

    private func registers(_ name: String) -> String {
        if let (bus, block) = DeviceBus.block(named: name) {
            return block.map.registers.map { register in
                let value = peek(bus, block.base + register.offset, register)
                let decoded = value.map { "\(hex($0))  \(register.describe($0))" } ?? "can't be read"
                return "\(block.name).\(register.name(ofElement: 0))  \(decoded)\n"
            }.joined()
        }
        do {
            let (bus, location) = try DeviceBus.location(named: name)
            guard let value = peek(bus, location.address, location.register) else { return "\(location.name)  can't be read\n" }
            let fields = location.field.map { [$0] } ?? location.register.fields
            return "\(location.name)  \(hex(value))  \(fields.map { $0.decode(value).description }.joined(separator: " "))\n"
        } catch {
            return "\(error.description)\n"
        }
    }

    private func peek(_ bus: DeviceBus, _ address: UInt64, _ register: RegisterDescription) -> UInt64? {
        target.look { $0.peek(bus, address, size: register.width / 8) }
    }

    private func time() -> String {
        let (cycle, hertz) = target.look { ($0.scheduler.now, $0.description.clockHertz) }
        let microseconds = cycle.multipliedFullWidth(by: 1_000_000)
        // A cycle count whose microseconds don't fit in 64 bits is half a million years at 1 GHz.
        let quotient = microseconds.high < hertz ? hertz.dividingFullWidth(microseconds).quotient : .max
        return "cycle \(cycle), \(quotient) us since power-on\n"
    }

    private func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
}

/// What `help` prints of the commands that every target has.
enum MonitorHelp {
    static let common = """
        help        this list
        regs        the blocks with registers
        regs NAME   the present value of BLOCK, BLOCK.REGISTER, BLOCK.REGISTER[INDEX] or BLOCK.REGISTER.FIELD, decoded
        time        the present device cycle
        reset       restart the firmware; then: maintenance flush register-cache

        """
}
