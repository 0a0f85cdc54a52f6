import ArgumentParser
import Glibc

struct Exec: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a program where the mounted device stands in the place of real hardware.",
        discussion: """
            The program sees the device below /sys/bus/pci, /sys/class/uio and /dev/uioN, in a mount namespace of its own. The exit \
            code is the program's. Example: outrigger exec --mount /mnt/device -- lspci -nn
            """)

    @Option(help: ArgumentHelp("Where 'outrigger run' mounted the device.", valueName: "folder"), completion: .directory)
    var mount: String

    @Argument(parsing: .captureForPassthrough, help: "The program and its arguments, after '--'.")
    var command: [String] = []

    func run() throws {
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        guard let program = words.first else { throw UsageError("a program expected after '--'") }
        try DeviceWorld(mountPoint: mount).enter()
        var arguments = words.map { strdup($0) } + [nil]
        execvp(program, &arguments)
        throw UsageError("\(program): \(String(cString: strerror(errno)))")
    }
}
