import ArgumentParser
import Glibc
import HostAgent

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
            Identify.self, Stats.self, Watch.self, Analysis.self, PolicyCommand.self, Set.self, ReplayCommand.self, BaselineCommand.self,
            Log.self, Fault.self, Component.self, Serve.self,
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

    func open() throws -> PCIDevice {
        guard let path else { throw ValidationError("--device: the physical function's folder expected, none given") }
        return try PCIDevice(path)
    }
    func client() throws -> AdminClient { try AdminClient(open()) }
}

/// A mistake of the person who called: one line on standard error, exit code 1.
struct UsageError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

extension String {
    /// Padded to a column's width.
    func column(_ width: Int, right: Bool = false) -> String {
        let missing = String(repeating: " ", count: max(0, width - count))
        return right ? missing + self : self + missing
    }
}

/// A count of bytes with its binary prefix: `1.4 GiB`.
func bytes(_ count: some BinaryInteger) -> String {
    var value = Double(count), unit = 0
    while value >= 1024, unit < 4 {
        value /= 1024
        unit += 1
    }
    return (unit == 0 ? "\(Int(value))" : decimal(value, 1)) + " " + ["B", "KiB", "MiB", "GiB", "TiB"][unit]
}

/// A number with so many digits after the point.
func decimal(_ value: Double, _ digits: Int) -> String {
    var scale = 1.0
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((value * scale).rounded()), whole = scaled / Int(scale), rest = abs(scaled % Int(scale))
    guard digits > 0 else { return "\(whole)" }
    return "\(whole)." + String(repeating: "0", count: digits - "\(rest)".count) + "\(rest)"
}

/// The span of a latency bucket, log2 of cycles, at a clock in Hz: `8.2 us`. Its upper end: no request in it took longer.
func bucket(_ log2: UInt8, clock: UInt32) -> String {
    guard log2 > 0 else { return "-" }
    return duration(Double(UInt64(1) << UInt64(min(log2, 62))) / Double(max(clock, 1)) * 1e9)
}

/// Nanoseconds in the unit that suits them.
func duration(_ nanoseconds: Double) -> String {
    switch nanoseconds {
    case ..<1000: decimal(nanoseconds, 0) + " ns"
    case ..<1e6: decimal(nanoseconds / 1e3, 1) + " us"
    case ..<1e9: decimal(nanoseconds / 1e6, 1) + " ms"
    default: decimal(nanoseconds / 1e9, 2) + " s"
    }
}
