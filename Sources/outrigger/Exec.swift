import ArgumentParser
import Glibc

struct Exec: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run a program where the mounted device stands in the place of real hardware.",
        discussion: """
            The program sees the device below /sys/bus/pci, /sys/class/uio and /dev/uioN, in a mount namespace of its own. What it maps \
            of a BAR is the BAR's memory if that can be mapped; else the trap library, which is preloaded, makes each load and store a \
            register access, and likewise each port instruction. The exit code is the program's.

            Examples: outrigger exec --mount /mnt/device -- lspci -nn
                      outrigger exec --mount /mnt/device --probe
            """)

    @Option(help: ArgumentHelp("Where 'outrigger run' mounted the device.", valueName: "folder"), completion: .directory)
    var mount: String

    @Flag(help: "Don't run anything; say how each BAR can be accessed here, and why.")
    var probe = false

    @Flag(name: .customLong("no-trap"), help: "Leave out the trap library: registers then can't be mapped, and there are no ports.")
    var withoutTraps = false

    @Argument(parsing: .captureForPassthrough, help: "The program and its arguments, after '--'.")
    var command: [String] = []

    func run() throws {
        let words = command.first == "--" ? Array(command.dropFirst()) : command
        let world = try DeviceWorld(mountPoint: mount)
        if probe {
            guard words.isEmpty else { throw UsageError("--probe runs no program, '\(words[0])' found") }
            return AccessProbe(world: world, library: withoutTraps ? nil : TrapLibrary.find()).report()
        }
        guard let program = words.first else { throw UsageError("a program expected after '--'") }
        if !withoutTraps {
            if let library = TrapLibrary.find() {
                library.preload()
            } else {
                complain("registers can't be mapped: there is no \(TrapLibrary.name) beside outrigger")
            }
        }
        try world.enter()
        var arguments = words.map { strdup($0) } + [nil]
        execvp(program, &arguments)
        throw UsageError("\(program): \(String(cString: strerror(errno)))")
    }
}

/// The library that makes accesses of mapped registers, and port instructions, reads and writes of the BARs' files.
struct TrapLibrary {
    static let name = "liboutrigger-trap.so"
    let path: String

    /// The library beside this program; nil if there is none.
    static func find() -> TrapLibrary? {
        guard let program = realpath("/proc/self/exe", nil) else { return nil }
        defer { free(program) }
        let folder = String(cString: program).split(separator: "/", omittingEmptySubsequences: false).dropLast().joined(separator: "/")
        let path = folder + "/" + name
        return access(path, R_OK) == 0 ? TrapLibrary(path: path) : nil
    }

    /// Has the dynamic linker load it first into this process's future programs.
    func preload() {
        let others = getenv("LD_PRELOAD").map { ":" + String(cString: $0) } ?? ""
        setenv("LD_PRELOAD", path + others, 1)
    }
}
