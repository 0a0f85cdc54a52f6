import ArgumentParser
import Glibc
import Tracing

struct TraceExport: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Convert a trace for a waveform viewer or for Perfetto.",
        discussion: """
            vcd: registers, fields, interrupt lines and depths of virtqueues as signals (GTKWave and others). perfetto: tracks of harts, \
            host programs, blocks, interrupts, virtqueues, and with --firmware of the functions that harts execute (ui.perfetto.dev). The \
            filter chooses the events that are converted, and so the signals and tracks.
            Example: outrigger trace export run.ctf WDT --format vcd --output wdt.vcd
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case vcd, perfetto
    }

    @Argument(help: "The trace's folder.", completion: .directory)
    var folder: String

    @OptionGroup var options: TraceFilterOptions

    @Option(help: "What to make.")
    var format: Format

    @Option(name: .shortAndLong, help: "The file to write.", completion: .file())
    var output: String

    func run() throws {
        var trace = try OpenTrace(folder, options)
        let file = try OutputFile(output)
        let frequency = trace.reader.frequency
        switch format {
        case .vcd:
            var export = VCDExport(trace.decoder, frequency: frequency)
            var declaring = trace
            while let event = try declaring.next() { export.declare(event) }
            export.begin()
            while let event = try trace.next() {
                export.add(event)
                try file.write(export.takeOutput())
            }
            export.finish()
            try file.write(export.takeOutput())
        case .perfetto:
            var export = PerfettoExport(trace.decoder, frequency: frequency)
            while let event = try trace.next() {
                export.add(event)
                try file.write(export.takeOutput())
            }
            export.finish()
            try file.write(export.takeOutput())
        }
        try file.finish()
    }
}

/// A file that is written from start to end.
private final class OutputFile {
    private let path: String
    private let stream: UnsafeMutablePointer<FILE>
    private var isOpen = true

    init(_ path: String) throws {
        guard let stream = fopen(path, "we") else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        self.path = path
        self.stream = stream
    }

    deinit {
        if isOpen { fclose(stream) }
    }

    func write(_ bytes: [UInt8]) throws {
        guard fwrite(bytes, 1, bytes.count, stream) == bytes.count else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
    }

    /// Closes the file; only then is it certain that all was written.
    func finish() throws {
        isOpen = false
        guard fclose(stream) == 0 else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
    }
}
