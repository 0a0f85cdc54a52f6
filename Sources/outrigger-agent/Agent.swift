import ArgumentParser
import HostAgent
import Presentation

@main
struct Agent: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outrigger-agent",
        abstract: "The host's agent of an Outrigger device.",
        discussion: """
            Talks to the device only through the files that Linux shows for PCI hardware: it works with a real card's folder below \
            /sys/bus/pci/devices and with that of a mounted device alike.
            """,
        version: "0.1.0",
        subcommands: [
            Identify.self, Stats.self, Watch.self, Analysis.self, Metrics.self, PolicyCommand.self, Set.self, ReplayCommand.self,
            BaselineCommand.self, Log.self, Fault.self, Component.self, Serve.self, Audit.self, Key.self,
        ])

    /// Here, too, so that the option may stand before the command.
    @OptionGroup var device: DeviceOption
}

/// What every command needs.
struct DeviceOption: ParsableArguments {
    @Option(
        name: .customLong("device"),
        help: ArgumentHelp("The physical function's folder, such as MNT/sys/bus/pci/devices/0000:01:00.0.", valueName: "folder"),
        completion: .directory)
    var path: String?

    @Option(
        name: .customLong("keys"),
        help: ArgumentHelp("Keys of virtual machines: lines of a number and a key in hexadecimal.", valueName: "file"), completion: .file())
    var keysPath: String?

    func keys() throws -> OwnerKeys {
        guard let keysPath else { return OwnerKeys() }
        return try OwnerKeys(path: keysPath)
    }

    func open() throws -> PCIDevice {
        guard let path else { throw ValidationError("--device: the physical function's folder expected, none given") }
        return try PCIDevice(path)
    }
    func client() throws -> AdminClient {
        var client = try AdminClient(open())
        client.keys = try keys()
        return client
    }
}

/// A mistake of the person who called: one line on standard error, exit code 1.
struct UsageError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// The span of a latency bucket, log2 of cycles, at a clock in Hz: `8.2 us`. Its upper end: no request in it took longer.
func bucket(_ log2: UInt8, clock: UInt32) -> String {
    guard log2 > 0 else { return "-" }
    return duration(Double(UInt64(1) << UInt64(min(log2, 62))) / Double(max(clock, 1)) * 1e9)
}
