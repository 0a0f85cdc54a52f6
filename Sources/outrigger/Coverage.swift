import ArgumentParser
import Debugging
import Glibc
import OffloadDevice
import Presentation

struct Coverage: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Merge and report what runs have exercised of firmware and registers.",
        discussion: "Made by 'outrigger run --coverage FILE'. Example: outrigger coverage report all.coverage --format lcov",
        subcommands: [CoverageMerge.self, CoverageShow.self])

    static func read(_ path: String) throws -> CoverageData {
        let bytes = try Run.contents(of: path)
        do {
            return try CoverageData(bytes: bytes)
        } catch {
            throw UsageError("\(path): \(error)")
        }
    }

    static func write(_ data: CoverageData, to path: String) throws {
        let bytes = data.bytes
        guard let stream = fopen(path, "we") else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        let written = fwrite(bytes, 1, bytes.count, stream)
        guard fclose(stream) == 0, written == bytes.count else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
    }
}

struct CoverageMerge: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "merge", abstract: "One file out of those of many runs.",
        discussion: "Example: outrigger coverage merge a.coverage b.coverage --output all.coverage")

    @Argument(help: "Files of 'outrigger run --coverage', or merged ones.", completion: .file())
    var files: [String]

    @Option(name: .shortAndLong, help: "The file to write.", completion: .file())
    var output: String

    func run() throws {
        var sum = CoverageData()
        for file in files {
            let data = try Coverage.read(file)
            do {
                try sum.merge(data)
            } catch {
                throw UsageError("\(file): \(error)")
            }
        }
        try Coverage.write(sum, to: output)
    }
}

struct CoverageShow: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report", abstract: "Lines, functions, registers and fields that were exercised, and those that weren't.",
        discussion: """
            lcov is for genhtml and editors; its paths are relative to the root of the sources. Example: outrigger coverage report \
            all.coverage --format lcov > firmware.info
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case text, summary, json, lcov
    }

    @Argument(help: "A coverage file.", completion: .file())
    var file: String

    @Option(help: "'text': all; 'summary': one line; 'json'; 'lcov': the firmware's sources.")
    var format = Format.text

    @Option(help: ArgumentHelp("The firmware's image (ELF); what tools/firmware built without one.", valueName: "elf"), completion: .file())
    var firmware: String?

    func run() throws {
        let report = CoverageReport(try Coverage.read(file), try FirmwareFile.information(firmware))
        switch format {
        case .text: printText(report)
        case .summary:
            print("lines \(report.lines); functions \(report.functions); registers \(report.accessed); fields read \(report.read), "
                + "written \(report.written); bits toggled \(report.toggled)")
        case .json: print(json(report).text)
        case .lcov: print(report.lcov, terminator: "")
        }
    }

    private func printText(_ report: CoverageReport) {
        print("firmware: lines \(report.lines); functions \(report.functions)")
        for file in report.files {
            let hit = file.lines.values.filter { $0 }.count
            print("  \(rightColumn(hit, 5)) of \(rightColumn(file.lines.count, 5)) lines  \(file.path)")
            for function in file.functions where !function.isHit { print("         not called: \(function.name), line \(function.line)") }
        }
        print("registers: accessed \(report.accessed); fields read \(report.read), written \(report.written); "
            + "bits toggled \(report.toggled)")
        for register in report.registers {
            guard register.use.reads > 0 || register.use.writes > 0 else {
                print("  \(register.name): never accessed")
                continue
            }
            print("  \(register.name): \(register.use.reads) reads, \(register.use.writes) writes")
            for field in register.fields {
                var missing: [String] = []
                if field.isRead == false { missing.append("never read") }
                if field.isWritten == false { missing.append("never written") }
                if field.rose < field.width { missing.append("\(field.width - field.rose) of \(field.width) bits never became 1") }
                if field.fell < field.width { missing.append("\(field.width - field.fell) of \(field.width) bits never became 0") }
                if !missing.isEmpty { print("      \(field.name): \(missing.joined(separator: ", "))") }
            }
        }
    }

    private func json(_ report: CoverageReport) -> JSON {
        func share(_ share: CoverageReport.Share) -> JSON {
            .object([("hit", .number(UInt64(share.hit))), ("of", .number(UInt64(share.of)))])
        }
        func flag(_ value: Bool?) -> JSON { value.map { .number($0 ? 1 : 0) } ?? .string("no access") }
        let totals: [(String, JSON)] = [
            ("lines", share(report.lines)), ("functions", share(report.functions)), ("registers", share(report.accessed)),
            ("fields_read", share(report.read)), ("fields_written", share(report.written)), ("bits_toggled", share(report.toggled)),
        ]
        let files = report.files.map { file in
            let lines = file.lines.sorted { $0.key < $1.key }
            return JSON.object([
                ("path", .string(file.path)), ("hit", .array(lines.filter(\.value).map { .number(UInt64($0.key)) })),
                ("missed", .array(lines.filter { !$0.value }.map { .number(UInt64($0.key)) })),
            ])
        }
        let registers = report.registers.map { register in
            JSON.object([
                ("name", .string(register.name)), ("reads", .number(register.use.reads)), ("writes", .number(register.use.writes)),
                ("fields", .array(register.fields.map { field in
                    .object([
                        ("name", .string(field.name)), ("read", flag(field.isRead)), ("written", flag(field.isWritten)),
                        ("rose", .number(UInt64(field.rose))), ("fell", .number(UInt64(field.fell))),
                        ("width", .number(UInt64(field.width))),
                    ])
                })),
            ])
        }
        return .object([("totals", .object(totals)), ("files", .array(files)), ("registers", .array(registers))])
    }
}
