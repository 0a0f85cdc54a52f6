import ArgumentParser
import Debugging
import FirmwareInfo
import Glibc
import OffloadDevice
import Presentation

struct Step: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Step through a recorded run, or a live device, forwards and backwards.",
        discussion: """
            A recording is made by 'outrigger run --record'; a live device is run with --history and named by its --gdb. On a terminal \
            the commands are typed below panes with registers, source and \
            events; elsewhere, and with --script, each command's answer is printed. 'help' lists the commands; docs/stepping.md has \
            examples. Example: outrigger step run.rec
            """)

    @Argument(help: "The recording's folder, or the port or the socket of a live device.", completion: .directory)
    var source: String

    @Option(help: ArgumentHelp("Carry out the commands in this file; '-' is standard input.", valueName: "file"), completion: .file())
    var script: String?

    @OptionGroup var image: SteppedFirmware

    func run() throws {
        let stepper = try front()
        if script == nil, let terminal = Terminal() {
            StepScreen(stepper, terminal).run()
            return terminal.leave()
        }
        let path = script ?? "-"
        let text = path == "-" ? nil : String(decoding: try Run.contents(of: path), as: UTF8.self)
        var lines = text.map { $0.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)[...] }
        var number = 0
        while let line = lines == nil ? readLine() : lines?.popFirst() {
            number += 1
            do {
                if !line.allSatisfy(\.isWhitespace) { print("> \(line)") }
                guard let answer = try stepper.perform(line) else { return }
                for line in answer { print(line) }
            } catch {
                fflush(nil)
                throw UsageError("\(path == "-" ? "line \(number)" : "\(path):\(number)"): \(error)")
            }
            fflush(nil)
        }
    }
}

extension Step {
    /// What carries the commands out.
    private func front() throws -> any StepperFront {
        var status = stat()
        // What isn't a folder, nor a socket, was meant as a folder.
        let isFolder = stat(source, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
        if !isFolder, UInt16(source) != nil || status.st_mode & S_IFMT == S_IFSOCK {
            do throws(StepError) {
                return try RemoteStepper(DebugServer.Endpoint(source))
            } catch {
                throw UsageError(error.description)
            }
        }
        let recording = try Recording(folder: source)
        if let cut = recording.cut { complain("\(cut); stepping up to \(recording.end)") }
        return try image.makeStepper(imageOf: source)(try Timeline(recording))
    }
}

/// The image that a stepper takes functions, lines and sources from.
struct SteppedFirmware: ParsableArguments {
    @Option(
        help: ArgumentHelp("The firmware's image (ELF) with debug information; the recorded one without one.", valueName: "elf"),
        completion: .file())
    var symbols: String?

    @Option(help: ArgumentHelp("Where the firmware's sources are.", valueName: "folder"), completion: .directory)
    var sources: String = "."

    /// What makes steppers.
    /// - Parameter folder: the recording's.
    func makeStepper(imageOf folder: String) throws -> (Timeline) -> Stepper {
        // An image without debug information can be stepped through too; one that was asked for has to be there.
        let asked = try symbols.map { try FirmwareFile.information($0) }
        return { [sources] timeline in
            let information = asked ?? (try? FirmwareFile.information("\(folder)/firmware.elf"))
            return Stepper(timeline, firmware: information, symbols: information.map { FirmwareSymbols($0) }) {
                guard let bytes = (try? Run.contents(of: $0)) ?? (try? Run.contents(of: "\(sources)/\($0)")) else { return nil }
                return String(decoding: bytes, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            }
        }
    }
}

/// The stepper on a terminal: panes, and below them the line with the command.
struct StepScreen {
    private let stepper: any StepperFront
    private let terminal: Terminal
    private var input = ""
    private var answer: [String] = ["'help' lists the commands; an empty line repeats the last one"]
    private var history: [String] = []

    init(_ stepper: any StepperFront, _ terminal: Terminal) {
        self.stepper = stepper
        self.terminal = terminal
    }

    consuming func run() {
        var place: Int?
        while true {
            let (width, height) = terminal.size
            terminal.draw(stepper.screen(width: width, height: height, answer: answer) + ["> \(input)"])
            switch terminal.read() {
            case .character(let character): input.append(character)
            case .backspace: if !input.isEmpty { input.removeLast() }
            case .clear: input = ""
            case .up:
                place = max((place ?? history.count) - 1, 0)
                if let place, place < history.count { input = history[place] }
            case .down:
                place = min((place ?? history.count) + 1, history.count)
                input = place.map { $0 < history.count ? history[$0] : "" } ?? ""
            case .resize, .timeout: break
            case .end: return
            case .enter:
                let line = input.allSatisfy(\.isWhitespace) ? history.last ?? "" : input
                (input, place) = ("", nil)
                if history.last != line, !line.isEmpty { history.append(line) }
                do {
                    guard let lines = try stepper.perform(line) else { return }
                    answer = lines
                } catch {
                    answer = [error.description]
                }
            }
        }
    }
}
