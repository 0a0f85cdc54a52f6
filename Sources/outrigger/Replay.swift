import ArgumentParser
import Debugging
import Glibc
import OffloadDevice
import Tracing

struct Replay: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Repeat a recorded run, without the host's programs.",
        discussion: """
            A recording is made by 'outrigger run --record'. The replay does what the recorded device did, cycle by cycle, as fast as it \
            can, and compares what it does. It ends with exit code 1 and a report when it parts from the recording, as with another \
            firmware. docs/replay.md has the details. Example: outrigger replay run.rec --trace again.ctf
            """)

    @Argument(help: "The recording's folder.", completion: .directory)
    var folder: String

    @Option(help: ArgumentHelp("Load this firmware (ELF) instead of the recorded one.", valueName: "file"), completion: .file())
    var firmware: String?

    @Option(help: ArgumentHelp("Record all events into this folder.", valueName: "folder"), completion: .directory)
    var trace: String?

    @Option(help: ArgumentHelp("Write what was exercised of firmware and registers to this file in the end.", valueName: "file"))
    var coverage: String?

    @Option(help: ArgumentHelp("Stop at the end of the round that reaches this cycle.", valueName: "cycle"))
    var until: UInt64?

    @Option(help: ArgumentHelp(
        "Serve GDB's remote protocol, which can go back too, on a port of 127.0.0.1, or on a Unix socket that is made here.",
        valueName: "port-or-path"))
    var gdb: String?

    @OptionGroup var image: SteppedFirmware

    @Flag(help: "Print the hash over all events.")
    var digest = false

    func run() throws {
        let image = try firmware.map { try Run.contents(of: $0) }
        let recording = try Recording(folder: folder, firmware: image)
        if let cut = recording.cut { complain("\(cut); replaying up to \(recording.end)") }
        if recording.hasOtherRegisters { complain("\(folder): another version of the emulator, with other registers, has recorded this") }
        if let gdb { return try debug(recording, at: DebugServer.Endpoint(gdb)) }
        let replayer = try Replayer(recording)
        if coverage != nil {
            guard recording.beginsAtPowerOn else {
                throw UsageError("--coverage: expected a recording from power-on, found one that begins with a snapshot; "
                    + "code is covered from its loading on")
            }
            replayer.device.startCoverage()
        }
        if trace != nil || digest || recording.traceHash != nil {
            try replayer.startTrace(folder: trace, records: symbols?.recordKinds ?? [])
        }
        let clock = ContinuousClock(), start = clock.now
        if let until { try replayer.run(untilCycle: until) } else { try replayer.run(to: recording.end) }
        let seconds = (clock.now - start) / .seconds(1)
        let totals = replayer.stopTrace()
        if let coverage, let data = replayer.device.coverage { try Coverage.write(data, to: coverage) }
        let position = replayer.device.position
        let speed = Double(position.cycle) / max(seconds, 1e-9) / 1e6
        func rounded(_ value: Double) -> Double { (value * 1000).rounded() / 1000 }
        print("\(position.cycle) cycles, \(position.inputs) inputs, \(rounded(seconds)) s, \(rounded(speed)) million cycles/s")
        if let totals { print("trace: \(totals)") }
        guard let divergence = replayer.divergence else { return print("the same") }
        print("not the same: \(divergence)")
        try explain(image)
        throw ExitCode(1)
    }

    /// Serves a debugger until the program is interrupted.
    private func debug(_ recording: Recording, at endpoint: DebugServer.Endpoint) throws {
        let target = HistoryTarget(try Timeline(recording), makeStepper: try image.makeStepper(imageOf: folder))
        let server = try DebugServer(target, at: endpoint)
        try server.start()
        print("the recording can be debugged at \(gdb ?? ""); Ctrl-C ends that")
        fflush(nil)
        defer { server.stop() }
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_BLOCK, &signals, nil)
        var number: Int32 = 0
        sigwait(&signals, &number)
    }

    /// Names the first event that differs.
    private func explain(_ image: [UInt8]?) throws {
        let recorded = folder + "/trace"
        let search = try DivergenceSearch(recordingIn: folder, firmware: image)
        let outcome = try search.run(context: 5, trace: access(recorded + "/metadata", R_OK) == 0 ? recorded : nil)
        switch outcome {
        case .divergence(let difference): try show(difference)
        case .same(let events): print("all \(events) events are the same: the difference has shown in no event yet")
        case .strangeEmulator(let divergence, let difference):
            print("with its own firmware the recording diverges too: another version of the emulator made it (\(divergence))")
            if let difference { try show(difference) }
        }
    }

    /// An image without debug information has no names to show.
    private var symbols: FirmwareSymbols? {
        (try? FirmwareFile.information(firmware ?? folder + "/firmware.elf")).map { FirmwareSymbols($0) }
    }

    private func show(_ difference: TraceDivergence) throws {
        let decoder = TraceDecoder(.device, catalogue: .device, maps: DeviceBus.allCases.map(\.map), symbols: symbols)
        let formatter = TraceFormatter(decoder, usesColour: outputTakesColour)
        func line(_ mark: String, _ event: TraceEvent) -> String {
            "\(mark) \(formatter.line(event))" + (event.pc.flatMap { symbols?.function(at: $0) }.map { "  in \($0)" } ?? "")
        }
        print("the first event that differs, after \(difference.common) that are the same (- recording, + replay):")
        for event in difference.before { print(line(" ", event)) }
        if difference.first.isEmpty { print("- nothing more") }
        for event in difference.first { print(line("-", event)) }
        if difference.second.isEmpty { print("+ nothing more") }
        for event in difference.second { print(line("+", event)) }
    }
}
