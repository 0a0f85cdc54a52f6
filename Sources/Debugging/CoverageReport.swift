import FirmwareInfo
import OffloadDevice
import Registers
import Tracing

/// Coverage in terms of sources and register maps.
public struct CoverageReport: Sendable {
    /// So many of so many.
    public struct Share: Equatable, Sendable {
        public var hit = 0
        public var of = 0

        mutating func add(_ isHit: Bool) {
            of += 1
            if isHit { hit += 1 }
        }
    }

    /// One source file of the firmware.
    public struct File: Sendable {
        public let path: String
        /// By line: whether code of it has been executed.
        public internal(set) var lines: [Int: Bool] = [:]
        /// By the line of their declaration, then by name.
        public internal(set) var functions: [(line: Int, name: String, isHit: Bool)] = []
    }

    /// One register, with its fields.
    public struct Register: Sendable {
        public let name: String
        public let use: CoverageData.RegisterUse
        public let fields: [Field]
    }

    public struct Field: Sendable {
        public let name: String
        /// nil: software can't.
        public let isRead: Bool?
        public let isWritten: Bool?
        /// Bits of the field that became 1, became 0, and all.
        public let rose: Int, fell: Int, width: Int
    }

    /// Of the firmware, by path.
    public let files: [File]
    /// In the order of the register maps.
    public let registers: [Register]
    public private(set) var lines = Share(), functions = Share()
    public private(set) var accessed = Share(), read = Share(), written = Share(), toggled = Share()

    /// - Parameter information: the image whose code is meant; what other images executed isn't in the report.
    public init(_ data: CoverageData, _ information: DebugInformation) {
        let segment = information.image.segments.first { $0.isExecutable && !$0.fileBytes.isEmpty }
        let checksum = segment.map { CoverageData.checksum(of: Array(information.image.contents(of: $0))) }
        let code = data.code.filter { $0.checksum == checksum && $0.base == segment?.address }
        func isHit(_ range: Range<UInt32>) -> Bool {
            stride(from: range.lowerBound, to: range.upperBound, by: 2).contains { pc in code.contains { $0.hasExecuted(pc) } }
        }
        var files: [String: File] = [:]
        for line in information.lines where line.source.line > 0 && !line.source.file.hasPrefix("<") {
            let hit = isHit(line.addresses)
            files[line.source.file, default: File(path: line.source.file)].lines[line.source.line, default: false] =
                hit || files[line.source.file]?.lines[line.source.line] ?? false
        }
        for function in information.functions {
            guard let place = function.declaration, !place.file.hasPrefix("<") else { continue }
            let hit = function.ranges.contains(where: isHit)
            var file = files[place.file] ?? File(path: place.file)
            // The compiler makes several functions of a generic one.
            if let copy = file.functions.firstIndex(where: { $0.line == place.line && $0.name == function.name }) {
                if hit { file.functions[copy].isHit = true }
            } else {
                file.functions.append((place.line, function.name, hit))
            }
            files[place.file] = file
        }
        self.files = files.values.sorted { $0.path < $1.path }.map { file in
            var file = file
            file.functions.sort { ($0.line, $0.name) < ($1.line, $1.name) }
            return file
        }
        registers = RegisterCatalogue.device.entries.map { entry in
            let use = data.registers[entry.name] ?? .init()
            return Register(name: entry.name, use: use, fields: entry.register.fields.map { Self.describe($0, use) })
        }
        for file in self.files {
            for hit in file.lines.values { lines.add(hit) }
            for function in file.functions { functions.add(function.isHit) }
        }
        for register in registers {
            accessed.add(register.use.reads > 0 || register.use.writes > 0)
            for field in register.fields {
                if let isRead = field.isRead { read.add(isRead) }
                if let isWritten = field.isWritten { written.add(isWritten) }
                toggled.hit += field.rose + field.fell
                toggled.of += 2 * field.width
            }
        }
    }

    private static func describe(_ field: FieldDescription, _ use: CoverageData.RegisterUse) -> Field {
        Field(
            name: field.name, isRead: field.software.canRead ? use.read & field.mask != 0 : nil,
            isWritten: field.software.canWrite ? use.written & field.mask != 0 : nil,
            rose: (use.rose & field.mask).nonzeroBitCount, fell: (use.fell & field.mask).nonzeroBitCount, width: field.width)
    }

    /// The format of lcov and genhtml (geninfo(1), "Tracefile format"); paths are relative to the root of the sources.
    public var lcov: String {
        var text = "TN:\n"
        for file in files {
            text += "SF:\(file.path)\n"
            for function in file.functions { text += "FN:\(function.line),\(function.name)\n" }
            for function in file.functions { text += "FNDA:\(function.isHit ? 1 : 0),\(function.name)\n" }
            text += "FNF:\(file.functions.count)\nFNH:\(file.functions.filter(\.isHit).count)\n"
            for (line, isHit) in file.lines.sorted(by: { $0.key < $1.key }) { text += "DA:\(line),\(isHit ? 1 : 0)\n" }
            text += "LF:\(file.lines.count)\nLH:\(file.lines.values.filter { $0 }.count)\nend_of_record\n"
        }
        return text
    }
}

extension CoverageReport.Share: CustomStringConvertible {
    /// `12 of 40, 30.0 %`
    public var description: String {
        let permille = of == 0 ? 0 : (hit * 1000 + of / 2) / of
        return "\(hit) of \(of), \(permille / 10).\(permille % 10) %"
    }
}
