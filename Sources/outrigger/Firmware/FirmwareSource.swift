import ArgumentParser
import Debugging
import FirmwareInfo
import Glibc
import OffloadDevice

/// Whose firmware is looked at: a running device's, a snapshot's, or a recording's at some place.
struct FirmwareSource: ParsableArguments {
    @Argument(help: "Where a running device is mounted, a snapshot, or a recording's folder.", completion: .file())
    var source: String

    @Option(
        help: ArgumentHelp(
            "The firmware's image (ELF); without one, what was recorded, or what tools/firmware built.", valueName: "elf"),
        completion: .file())
    var firmware: String?

    @Option(
        help: ArgumentHelp(
            "The place in a recording, as 'goto' of 'outrigger step' takes it: start, end, a cycle, or a time with a unit (3ms).",
            valueName: "place"))
    var at: String?

    /// What the argument names.
    enum Opened {
        case live(LiveFirmware)
        /// A device that never runs.
        case snapshot(Device)
        case recording(Timeline)

        var memory: any FirmwareMemory {
            switch self {
            case .live(let firmware): firmware
            case .snapshot(let device): device
            case .recording(let timeline): timeline.device
            }
        }
    }

    /// - Parameter place: where in a recording to go without `--at`.
    func open(orAt place: StepCommand.Place = .end) throws -> Opened {
        var status = stat()
        let isFile = stat(source, &status) == 0 && status.st_mode & S_IFMT == S_IFREG
        if !isFile, Recording.isRecording(source) { return .recording(try timeline(place)) }
        guard at == nil else { throw UsageError("--at: expected with a recording, found with \(source)") }
        return isFile ? .snapshot(try device()) : .live(try LiveFirmware(mountPoint: source))
    }

    /// The image, which must be the one that is loaded there.
    func information(of opened: Opened) throws -> DebugInformation {
        if firmware == nil, case .recording(let timeline) = opened {
            for path in timeline.recording.firmwarePaths {
                if let recorded = try? FirmwareFile.information(path), try recorded.isLoaded(in: opened.memory) { return recorded }
            }
        }
        let information = try FirmwareFile.information(firmware)
        guard try information.isLoaded(in: opened.memory) else {
            throw UsageError("\(source): another firmware is loaded there; name its image by --firmware")
        }
        return information
    }

    private func device() throws -> Device {
        let snapshot = try Snapshot(contentsOf: source)
        let device = try Device(snapshot.description)
        do {
            try device.restore(snapshot)
        } catch {
            throw UsageError("\(source): \(error)")
        }
        return device
    }

    private func timeline(_ otherwise: StepCommand.Place) throws -> Timeline {
        let recording = try Recording(folder: source)
        if let cut = recording.cut { complain("\(cut); it goes up to \(recording.end)") }
        let timeline = try Timeline(recording)
        let place = try at.map { try Self.place($0, recording.machine.clockHertz) } ?? otherwise
        // So that what is so many cycles back, is so from the end.
        if case .back = place { try timeline.go(to: .end) }
        try timeline.go(to: place)
        return timeline
    }

    private static func place(_ text: String, _ frequency: UInt64) throws -> StepCommand.Place {
        do throws(StepError) {
            return try StepCommand.Place(text, frequency: frequency)
        } catch {
            throw UsageError("--at: \(error)")
        }
    }
}
