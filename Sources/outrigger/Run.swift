import ArgumentParser
import Debugging
import Glibc
import HostFilesystem
import Logging
import OffloadDevice
import Scratch
import VhostUser

struct Run: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Boot the device's firmware and mount the device.",
        discussion: """
            Serves until it is interrupted (Ctrl-C) or somebody unmounts it; the device ends with it. Example: \
            outrigger run --mount /mnt/device --vfs 4 --trace boot.ctf
            """)

    @Option(help: ArgumentHelp("Where to mount the device: an empty folder.", valueName: "folder"), completion: .directory)
    var mount: String

    @Option(help: ArgumentHelp("The machine description (YAML); the default device without one.", valueName: "file"), completion: .file())
    var machine: String?

    @Option(help: ArgumentHelp("The firmware (ELF); what tools/firmware built without one.", valueName: "file"), completion: .file())
    var firmware: String?

    @Option(
        help: ArgumentHelp(
            "Go on from a snapshot, with the machine and the firmware that are in it: docs/snapshots.md.", valueName: "file"),
        completion: .file())
    var restore: String?

    @Option(help: "What device time follows: 'realtime' the wall clock, 'max' nothing, 'lockstep' host accesses only.")
    var pace = PaceName.realtime

    @Option(help: "Seconds of device time in a second, with --pace realtime.")
    var ratio = 1.0

    @Option(help: "Virtual functions that exist from the start, instead of the machine description's.")
    var vfs: Int?

    @OptionGroup var trace: TraceOptions

    @Option(help: ArgumentHelp("Record all that comes from outside into this folder, for 'outrigger replay'.", valueName: "folder"),
        completion: .directory)
    var record: String?

    @Option(help: ArgumentHelp("Write what was exercised of firmware and registers to this file in the end.", valueName: "file"))
    var coverage: String?

    @Option(help: ArgumentHelp(
        "Serve GDB's remote protocol on a port of 127.0.0.1, or on a Unix socket that is made here.", valueName: "port-or-path"))
    var gdb: String?

    @Option(
        help: ArgumentHelp(
            "Give a virtio function (vf1, pf1, ...) to guests of a virtual machine monitor, on a Unix socket that is made here; can be "
                + "repeated. See docs/vhost-user.md.", valueName: "function=path"))
    var vhostUser: [GuestSocket] = []

    @Flag(help: "Keep what has happened since the start, so that GDB can go back; with --record the recording is what is kept.")
    var history = false

    @OptionGroup var image: SteppedFirmware

    @Option(help: "Microseconds to poll for the next request after each; 0 sleeps at once and leaves the processor to others.")
    var polling: UInt64 = 100

    @Flag(help: "Unmount what a killed device left at the mount point first.")
    var forceUnmount = false

    @Option(help: ArgumentHelp("Write a byte to this file or pipe when the device can be used.", valueName: "file"), completion: .file())
    var ready: String?

    enum PaceName: String, CaseIterable, ExpressibleByArgument { case realtime, max, lockstep }

    func validate() throws {
        guard ratio > 0, ratio <= 1000 else { throw ValidationError("--ratio: a number above 0, at most 1000, expected, \(ratio) found") }
        if let vfs, !(0...64).contains(vfs) { throw ValidationError("--vfs: 0...64 expected, \(vfs) found") }
        if restore != nil, coverage != nil {
            throw ValidationError("--coverage: not expected beside --restore; code is covered from its loading on")
        }
        if restore != nil, firmware != nil || machine != nil || vfs != nil {
            throw ValidationError("--restore: no --firmware, --machine or --vfs expected beside it; the snapshot has them all")
        }
        if history, gdb == nil { throw ValidationError("--history: --gdb expected beside it") }
        for (place, socket) in vhostUser.enumerated() {
            if let other = vhostUser[..<place].first(where: { $0.function == socket.function || $0.path == socket.path }) {
                throw ValidationError(
                    "--vhost-user: a socket of its own for each function expected, '\(other.name)=\(other.path)' and "
                        + "'\(socket.name)=\(socket.path)' found")
            }
        }
        guard polling <= 1_000_000 else { throw ValidationError("--polling: at most 1000000 microseconds expected, \(polling) found") }
    }

    func run() throws {
        LoggingSystem.bootstrap(StreamLogHandler.standardError)
        let temporary = try record == nil && history ? TemporaryFolder() : nil
        defer { withExtendedLifetime(temporary) {} }
        let recording = record ?? temporary?.path
        let device = try restore.map { try restored($0, recordedIn: recording) } ?? booting(recordedIn: recording)
        let tree = try DeviceTree(
            device, mountPoint: MountedTree.absolutePath(of: mount), firmware: { [firmware] in try? FirmwareFile.information(firmware) })
        // It plays the kernel's part, and looks after clients' memory, as long as there is a mount.
        defer { withExtendedLifetime(tree) {} }
        let debugServer = try debugServer(of: device, recordedIn: recording)
        var options = MountedTree.Options()
        options.polling = polling * 1000
        options.forceUnmount = forceUnmount
        let mounted = try MountedTree(tree.nodes, at: MountedTree.absolutePath(of: mount), options: options)
        // A doorbell's work is begun by the thread that served it: waking the machine's own thread takes longer than most requests.
        mounted.afterAccess = { device.lendThread(for: 50_000) }
        let guests = try vhostUser.map { socket in
            try VhostUserServer(device, function: socket.function, path: socket.path, polling: polling * 1000) { complain($0) }
        }
        device.start()
        defer { device.stop() }
        for server in guests { server.start() }
        defer { for server in guests { server.stop() } }
        try debugServer?.start()
        defer { debugServer?.stop() }
        // Requests wait in the kernel until they are served: the device can be used from here on.
        print("the device is mounted at \(mounted.mountPoint); Ctrl-C ends it")
        fflush(nil)
        if let ready { try Self.announce(ready) }
        try mounted.serve()
        // Recording and trace end at the same place: nobody carries the device on any more.
        debugServer?.stop()
        for server in guests { server.stop() }
        device.stop()
        if let failure = device.stopRecording() { complain("the recording is incomplete: \(failure)") }
        if let coverage, let data = device.inspect({ $0.coverage }) { try Coverage.write(data, to: coverage) }
        if let totals = device.stopTrace() {
            if let failure = totals.failure { complain("the trace is incomplete: \(failure)") }
            print("the trace has \(totals)")
        }
    }

    /// A machine at the firmware's first instruction.
    private func booting(recordedIn recording: String?) throws -> Machine {
        let image = try Self.contents(of: firmwarePath())
        let device = try Machine(description(), pace: machinePace)
        if coverage != nil { device.inspect { $0.startCoverage() } }
        try observe(device, recordedIn: recording)
        do {
            try device.loadFirmware(image)
        } catch {
            throw UsageError("\(try firmwarePath()): \(error)")
        }
        return device
    }

    /// The machine of a snapshot, where it was.
    private func restored(_ path: String, recordedIn recording: String?) throws -> Machine {
        let snapshot = try Snapshot(contentsOf: path)
        let device = try Machine(snapshot.description, pace: machinePace)
        do {
            try device.restore(snapshot)
        } catch {
            throw UsageError("\(path): \(error)")
        }
        try observe(device, recordedIn: recording)
        return device
    }

    /// Begins trace and recording. The trace's folder may be in the recording's, and its hash is part of the recording.
    private func observe(_ device: Machine, recordedIn recording: String?) throws {
        if let record { mkdir(record, 0o777) }
        try trace.start(on: device, firmware: restore == nil ? firmwarePath() : nil)
        if let recording { try device.startRecording(folder: recording) }
    }

    private func debugServer(of device: Machine, recordedIn recording: String?) throws -> DebugServer? {
        guard let gdb else { return nil }
        let mountPoint = try MountedTree.absolutePath(of: mount)
        let endpoint = DebugServer.Endpoint(gdb)
        // A socket in the mounted tree could only be made by the process that serves the tree.
        if case .unixSocket(let path) = endpoint, try MountedTree.absolutePath(of: path).hasPrefix(mountPoint + "/") {
            throw UsageError("--gdb: a path outside the mounted tree expected, '\(path)' found")
        }
        guard history, let recording else { return try DebugServer(MachineTarget(device), at: endpoint) }
        return try DebugServer(
            HistoryTarget(device, recordedIn: recording, makeStepper: try image.makeStepper(imageOf: recording)), at: endpoint)
    }

    private var machinePace: Machine.Pace {
        switch pace {
        case .realtime: .realtime(ratio: ratio)
        case .max: .max
        case .lockstep: .lockstep
        }
    }

    private func description() throws -> MachineDescription {
        var description = MachineDescription()
        if let machine {
            description = try MachineDescription(yaml: String(decoding: Self.contents(of: machine), as: UTF8.self), file: machine)
        }
        if let vfs {
            description.virtualFunctions.enabled = vfs
            description.virtualFunctions.total = Swift.max(description.virtualFunctions.total, vfs)
        }
        return description
    }

    private func firmwarePath() throws -> String { try firmware ?? FirmwareFile.built() }

    private static func announce(_ path: String) throws {
        let file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        write(file, "\n", 1)
        close(file)
    }

    static func contents(of path: String) throws -> [UInt8] {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var bytes: [UInt8] = [], chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(file, &chunk, chunk.count)
            guard count >= 0 else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
    }
}
