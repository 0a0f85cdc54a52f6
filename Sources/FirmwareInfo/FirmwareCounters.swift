/// The firmware's counters, as they stand in memory (firmware/OffloadManager/Counters.swift), by the names that the image has.
public struct FirmwareCounters {
    /// In the order of declaration.
    public let values: [(name: String, value: UInt32)]

    private static let symbol = "offload_counters"

    /// - Throws: ``DebugInformationError`` if there are none, or if they aren't as the image says.
    public init(_ information: DebugInformation, _ memory: any FirmwareMemory) throws {
        guard let counters = information.types.type(endingIn: "Counters.Counter"), !counters.cases.isEmpty else {
            throw DebugInformationError.unexpected("the image's debug information has no Counters.Counter")
        }
        let (_, bytes) = try memory.contents(of: Self.symbol, of: information)
        guard counters.cases.count * 4 <= bytes.count else {
            throw DebugInformationError.unexpected("\(Self.symbol): \(counters.cases.count) words expected, \(bytes.count / 4) found")
        }
        values = counters.cases.enumerated().map { ($1, word(of: bytes, at: UInt32(4 * $0)) ?? 0) }
    }
}
