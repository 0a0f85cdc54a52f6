/// The firmware's ring of trace records, as it stands in memory (firmware/OffloadManager/Trace.swift).
///
/// The kinds and what their payloads mean are those of the image: the host has no table of them.
public struct FirmwareTrace {
    public struct Record: Equatable, Sendable {
        /// How many were written before this one, since power-on, wrapping.
        public let number: UInt32
        /// `mcycle`, low half.
        public let cycle: UInt32
        /// The name of the kind; `kind 17` if the image has none.
        public let kind: String
        /// The members of the payload: names, numbers, and the numbers as people read them.
        public let fields: [Field]
        /// How many more with the same kind and payload follow, and when the last of them was.
        public internal(set) var repeats: UInt32 = 0
        public internal(set) var lastCycle: UInt32

        public struct Field: Equatable, Sendable {
            public let name: String
            public let value: UInt64
            public let text: String
        }

        fileprivate func says(theSameAs other: Record) -> Bool { kind == other.kind && fields == other.fields }
    }

    /// Records since power-on, wrapping; the ring has the last of them.
    public let written: UInt32
    /// Oldest first. Repetitions are counted in the first record.
    public let records: [Record]

    private static let symbol = "offload_trace"
    /// The ring's head (Trace.swift): magic, layout version, capacity, records written.
    private static let magic: UInt32 = 0x6f74_7263, version: UInt32 = 2, headBytes = 16, recordBytes = 16, payloadOffset = 8

    /// Reads the ring.
    /// - Throws: ``DebugInformationError`` if there is none, or if it isn't as the image says.
    public init(_ information: DebugInformation, _ memory: any FirmwareMemory) throws {
        let (_, bytes) = try memory.contents(of: Self.symbol, of: information)
        guard bytes.count >= Self.headBytes + Self.recordBytes, let magic = word(of: bytes, at: 0), let version = word(of: bytes, at: 4),
            let capacity = word(of: bytes, at: 8), let written = word(of: bytes, at: 12)
        else { throw DebugInformationError.unexpected("\(Self.symbol): a ring expected, \(bytes.count) bytes found") }
        guard magic == Self.magic, version == Self.version else {
            throw DebugInformationError.unexpected(
                "\(Self.symbol): magic 0x\(String(Self.magic, radix: 16)) and version \(Self.version) expected, "
                    + "0x\(String(magic, radix: 16)) and \(version) found: the firmware has not made its ring, or isn't this image")
        }
        guard capacity.nonzeroBitCount == 1, Int(capacity) <= (bytes.count - Self.headBytes) / Self.recordBytes else {
            throw DebugInformationError.unexpected("\(Self.symbol): \(capacity) records don't fit into \(bytes.count) bytes")
        }
        let kinds = try RecordKinds(information)
        self.written = written
        var records: [Record] = []
        for number in (written &- min(written, capacity))..<written {
            let place = UInt32(Self.headBytes) + (number & (capacity - 1)) * UInt32(Self.recordBytes)
            let payload = Array(bytes[Int(place) + Self.payloadOffset..<Int(place) + Self.recordBytes])
            let cycle = word(of: bytes, at: place) ?? 0, kind = word(of: bytes, at: place + 4) ?? 0
            let record = Record(
                number: number, cycle: cycle, kind: kinds.name(of: kind), fields: kinds.fields(of: kind, payload, information),
                lastCycle: cycle)
            if let last = records.last, last.says(theSameAs: record) {
                records[records.count - 1].repeats += 1
                records[records.count - 1].lastCycle = cycle
            } else {
                records.append(record)
            }
        }
        self.records = records
    }
}

/// What the image says of the kinds of records.
public struct RecordKinds: Sendable {
    /// By number.
    public let names: [String]
    private let layouts: [StructureLayout?]

    /// - Throws: if the image has no records, or not such as are laid out in eight bytes.
    public init(_ information: DebugInformation) throws(DebugInformationError) {
        guard let kinds = information.types.type(endingIn: "TraceRing.Kind"), !kinds.cases.isEmpty else {
            throw .unexpected("the image's debug information has no TraceRing.Kind")
        }
        names = kinds.cases
        let prefix = kinds.name.dropLast("Kind".count)
        var layouts: [StructureLayout?] = []
        for name in names {
            // The structure of a case has its name, capitalised.
            let structure = information.types[prefix + name.prefix(1).uppercased() + name.dropFirst()]
            guard let structure else {
                layouts.append(nil)
                continue
            }
            layouts.append(try StructureLayout(structure, information.types))
        }
        self.layouts = layouts
    }

    func name(of kind: UInt32) -> String { kind < names.count ? names[Int(kind)] : "kind \(kind)" }

    /// The members of a record's payload, or its words where the image doesn't know the kind.
    /// - Parameter payload: eight bytes.
    public func fields(of kind: UInt32, _ payload: [UInt8], _ information: DebugInformation) -> [FirmwareTrace.Record.Field] {
        guard kind < names.count, let layout = layouts[Int(kind)], layout.size <= payload.count else {
            return ([0, 4] as [UInt32]).map { offset in
                let value = UInt64(word(of: payload, at: offset) ?? 0)
                return .init(name: "word\(offset / 4)", value: value, text: information.describe(value))
            }
        }
        return layout.members.map { member in
            let value = payload[member.offset..<member.offset + member.size].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
            let name = value < member.cases.count ? member.cases[Int(value)] : nil
            return .init(name: member.name, value: value, text: name ?? information.describe(value))
        }
    }
}
