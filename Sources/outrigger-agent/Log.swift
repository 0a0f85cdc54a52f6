import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

struct Log: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "The log of what the device's DMA writes to a virtual machine's memory.",
        subcommands: [Start.self, Stop.self, Harvest.self])

    struct Target: ParsableArguments {
        @OptionGroup var device: DeviceOption
        @OptionGroup var owner: VirtualMachineOption
    }

    struct Start: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Start logging. Records go to the ring dev/outrigger/.../log/vmN/fast.")
        @OptionGroup var target: Target

        @Option(help: "0 (coarsest) ... 100 (every extent).")
        var granularity: UInt8 = 100

        @Option(help: "Room in the ring, in records; 0: the firmware's choice.")
        var records: UInt32 = 0

        func run() throws {
            var request = LogRequest()
            request.granularity = granularity
            request.ringRecords = records
            try Log.show(target.device.client().startLog(request, member: target.owner.number))
        }
    }

    struct Stop: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Stop logging.")
        @OptionGroup var target: Target

        func run() throws { try Log.show(target.device.client().stopLog(member: target.owner.number)) }
    }

    struct Harvest: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Complete the open extents and show how far the log is.")
        @OptionGroup var target: Target

        func run() throws { try Log.show(target.device.client().harvestLog(member: target.owner.number)) }
    }

    private static func show(_ status: LogStatus) {
        guard status.ringRecords != 0 else { return print("never started") }
        print("""
            \(status.active != 0 ? "active" : "stopped"), granularity \(status.granularity), ring of \(status.ringRecords) records \
            at BAR2 offset 0x\(String(status.ringOffset, radix: 16)): \(status.head &- status.tail) waiting, \(status.head) in all, \
            \(status.lost) lost; \(bytes(status.bytesWritten)) written, \(status.dirtyPages) dirty pages
            """)
    }
}
