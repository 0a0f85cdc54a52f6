import FirmwareInfo
import Tracing

/// A firmware image's debug information, as traces use it.
struct FirmwareSymbols: TraceSymbols {
    private let information: DebugInformation
    /// nil if the image has no records.
    private let records: RecordKinds?

    init(_ information: DebugInformation) {
        self.information = information
        records = try? RecordKinds(information)
    }

    var functionNames: [String] { information.functions.map(\.name) }

    func ranges(ofFunction name: String) -> [Range<UInt32>] { information.functions(named: name).flatMap(\.ranges) }

    func function(at pc: UInt32) -> String? { information.function(containing: pc)?.name }

    var recordKinds: [String] { records?.names ?? [] }

    func members(ofRecord kind: UInt16, _ arguments: [UInt32]) -> [(name: String, value: String)]? {
        guard let records, Int(kind) < records.names.count, arguments.count == 2 else { return nil }
        let payload = arguments.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
        return records.fields(of: UInt32(kind), payload, information).map { ($0.name, $0.text) }
    }
}
