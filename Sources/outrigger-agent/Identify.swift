import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

struct Identify: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "What the device and its firmware are.")

    @OptionGroup var device: DeviceOption

    func run() throws {
        let function = try device.open()
        let identity = try AdminClient(function).identify()
        let build = String(decoding: (0..<identity.buildByteCount).map(identity.buildByte), as: UTF8.self)
        let rows = [
            ("device", "\(function.address), \(try function.attribute("vendor")):\(try function.attribute("device"))"),
            ("firmware", "\(identity.firmwareMajor).\(identity.firmwareMinor).\(identity.firmwarePatch) \(build)"),
            ("protocol", "\(identity.protocolMajor).\(identity.protocolMinor)"),
            ("virtual functions", "\(identity.virtualFunctions)"),
            ("harts", "\(identity.harts) at \(identity.clockHertz / 1_000_000) MHz"),
            ("service cores", "\(identity.serviceCores)"),
            ("link", "\(identity.linkBandwidth) MB/s"),
            ("memory", "\(identity.memoryBlocks) blocks of \(bytes(UInt64(1) << UInt64(identity.memoryBlockShift)))"),
            ("accelerator slots", "\(identity.gpuSlots) GPU-like, \(identity.fpgaSlots) FPGA-like"),
        ]
        for (name, value) in rows { print(name.column(20) + value) }
    }
}

struct Fault: ParsableCommand {
    static let configuration = CommandConfiguration(abstract: "The record of the firmware's last crash.")

    @OptionGroup var device: DeviceOption

    @Flag(help: "Clear the record, so that the next crash is recorded.")
    var clear = false

    func run() throws {
        let interface = try HostInterface(device.open())
        guard let fault = try interface.fault() else { return print("no fault recorded") }
        func hex(_ value: some BinaryInteger) -> String { "0x" + String(value, radix: 16) }
        let kinds = ["none", "trap", "panic", "watchdog", "memory error"]
        let kind = Int(fault.kind) < kinds.count ? kinds[Int(fault.kind)] : "kind \(fault.kind)"
        print("fault: \(kind) on hart \(fault.hart) at cycle \(fault.cycle)")
        print("  cause \(hex(fault.cause))  pc \(hex(fault.programCounter))  address \(hex(fault.address))")
        for row in stride(from: 0, to: 32, by: 4) {
            print("  " + (row..<(row + 4)).map { "x\($0)".column(4) + hex(fault.registers[$0]).column(12) }.joined())
        }
        print("  'outrigger firmware faults' says in which function, and how it got there")
        if clear { try interface.clearFault() }
    }
}
