import ArgumentParser
import Glibc

@main
struct Outrigger: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outrigger",
        abstract: "A PCIe I/O offload device, emulated at the level of its registers.",
        discussion: """
            'outrigger run' boots the device's firmware and mounts the device as Linux shows PCI hardware. Host programs then use \
            the files below the mount point, or run in the device's world by 'outrigger exec'.
            """,
        version: "0.1.0",
        subcommands: [Run.self, Exec.self, Regs.self, Trace.self, Replay.self, Step.self, Top.self, Firmware.self, Coverage.self])
}

/// A mistake of the person who called: one line on standard error, exit code 1.
struct UsageError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Whether standard output takes colours: a terminal, and nobody asked for none (no-color.org).
var outputTakesColour: Bool {
    isatty(STDOUT_FILENO) == 1 && getenv("NO_COLOR") == nil
}

/// One line on standard error.
func complain(_ message: String) {
    let line = "outrigger: \(message)\n"
    write(STDERR_FILENO, line, line.utf8.count)
}
