import Debugging
import OffloadDevice
import RISCV

extension DeviceTree {
    /// `memory` and `harts`: what tools that know the firmware's image need to look into it. Reading them has no side effects, and works
    /// when the firmware doesn't.
    func addFirmwareFiles(to folder: Directory) {
        let machine = machine
        // Sparse: bytes are where the firmware's bus has plain memory, EIO anywhere else. One read is of one moment.
        folder.add("memory", AccessFile(
            size: 1 << 32, permissions: 0o400,
            read: { (offset, buffer, _) throws(Errno) in
                let count = machine.inspect { device in
                    let memory = device.memory(at: UInt32(truncatingIfNeeded: offset), count: buffer.count)
                    if !memory.isEmpty { buffer.copyMemory(from: memory) }
                    return memory.count
                }
                guard count > 0 else { throw .inputOutput }
                return count
            },
            write: { (_, _, _) throws(Errno) in throw .accessDenied }))
        folder.add("harts", AttributeFile(permissions: 0o400, show: { () throws(Errno) in
            machine.inspect { device in device.harts.map { Self.describe($0, device) }.joined() }
        }))
        addProfile(to: folder)
    }

    /// `profile`: where the harts spend their cycles, while somebody has asked for it.
    private func addProfile(to folder: Directory) {
        let machine = machine, firmware = firmware
        folder.add("profile", AttributeFile(
            permissions: 0o600,
            show: { () throws(Errno) in machine.inspect { device in device.profile.map(Self.describe) ?? "" } },
            store: { (text, _) throws(Errno) in
                let words = trimmed(text).split(separator: " ").map(String.init)
                if words == ["stop"] { return machine.inspect { $0.stopProfile() } }
                guard words.count == 2, words[0] == "start" else { throw .invalidArgument }
                let interval = UInt64(try parseNumber(words[1]))
                guard interval > 0 else { throw .invalidArgument }
                let information = firmware()
                machine.inspect { $0.startProfile(interval: interval, by: information) }
            }))
    }

    /// A line `hartN CYCLES waiting`, and a line `hartN CYCLES PC CALLER...` for each place; by hart and address.
    private static func describe(_ profile: ExecutionProfile) -> String {
        var text = ""
        for (hart, cycles) in profile.waiting.enumerated() { text += "hart\(hart) \(cycles) waiting\n" }
        let places = profile.cycles.sorted { $0.key < $1.key }
        for (place, cycles) in places {
            text += "hart\(place.hart) \(cycles)" + place.stack.map { " 0x\(hex($0, 8))" }.joined() + "\n"
        }
        return text
    }

    /// Bytes of the stack that are shown with the registers, so that both are of one moment.
    private static let stackBytes = 4096

    /// A line `hartN.NAME VALUE` for each register, then the memory from the stack pointer on.
    private static func describe(_ hart: Hart, _ device: Device) -> String {
        let name = "hart\(hart.id)"
        let control: [(String, CSR)] = [
            ("mstatus", .mstatus), ("mie", .mie), ("mip", .mip), ("mepc", .mepc), ("mcause", .mcause), ("mtval", .mtval),
        ]
        var text = "\(name).activity \(device.activity(ofHart: hart.id))\n\(name).pc 0x\(hex(hart.pc, 8))\n"
        for number in 0..<32 { text += "\(name).x\(number) 0x\(hex(hart[register: number], 8))\n" }
        for (register, csr) in control { text += "\(name).\(register) 0x\(hex(hart.readCSR(csr) ?? 0, 8))\n" }
        let stack = device.memory(at: hart[register: 2], count: Self.stackBytes)
        return text + "\(name).stack \(stack.map { hex($0, 2) }.joined())\n"
    }
}
