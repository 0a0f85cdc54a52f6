import Simulation
import Tracing

/// What has been exercised in one run or in many: instructions of firmware images, and registers. docs/visibility.md, "Coverage".
public struct CoverageData: Equatable, Sendable {
    /// The code of one image.
    public struct Code: Equatable, Sendable {
        /// CRC-32C of the code, by which it is recognised.
        public var checksum: UInt32
        /// The code's first address.
        public var base: UInt32
        /// Bit n: the instruction at `base` + 2n has been executed.
        public var bits: [UInt64]

        public init(checksum: UInt32, base: UInt32, bits: [UInt64]) {
            self.checksum = checksum
            self.base = base
            self.bits = bits
        }

        /// Whether the instruction at an address has been executed.
        public func hasExecuted(_ pc: UInt32) -> Bool {
            guard pc >= base else { return false }
            let place = Int(pc - base) / 2
            return place / 64 < bits.count && bits[place / 64] >> UInt64(place % 64) & 1 != 0
        }
    }

    /// What software did with a register. Masks have a bit for each bit of the register.
    public struct RegisterUse: Equatable, Sendable {
        public var reads: UInt64 = 0, writes: UInt64 = 0
        /// Bits that were read and written.
        public var read: UInt64 = 0, written: UInt64 = 0
        /// Bits that software made 1, or has seen become 1; and 0.
        public var rose: UInt64 = 0, fell: UInt64 = 0

        public init() {}
    }

    /// By checksum and base.
    public var code: [Code] = []
    /// By the name that ``RegisterCatalogue`` has.
    public var registers: [String: RegisterUse] = [:]

    public init() {}

    /// The checksum by which code is recognised.
    public static func checksum(of code: [UInt8]) -> UInt32 { CRC32C.of(code) }

    /// Adds what another run has exercised.
    /// - Throws: if one image's code has two sizes.
    public mutating func merge(_ other: CoverageData) throws(SnapshotError) {
        for part in other.code {
            guard let index = code.firstIndex(where: { $0.checksum == part.checksum && $0.base == part.base }) else {
                code.append(part)
                continue
            }
            guard code[index].bits.count == part.bits.count else {
                throw SnapshotError("coverage: expected \(code[index].bits.count) words of one code in both, found \(part.bits.count)")
            }
            for word in part.bits.indices { code[index].bits[word] |= part.bits[word] }
        }
        code.sort { ($0.checksum, $0.base) < ($1.checksum, $1.base) }
        for (name, use) in other.registers {
            var sum = registers[name] ?? RegisterUse()
            sum.reads = sum.reads.addingReportingOverflow(use.reads).overflow ? .max : sum.reads &+ use.reads
            sum.writes = sum.writes.addingReportingOverflow(use.writes).overflow ? .max : sum.writes &+ use.writes
            sum.read |= use.read
            sum.written |= use.written
            sum.rose |= use.rose
            sum.fell |= use.fell
            registers[name] = sum
        }
    }
}

// MARK: The file

extension CoverageData {
    private static let magic: StaticString = "ORCOVER\n"
    private static let formatVersion: UInt32 = 1
    private enum Chunk: UInt32 { case code = 1, registers, end }
    private static let mostWords = 1 << 20, mostRegisters = 1 << 16, longestName = 256

    /// As it is stored.
    public var bytes: [UInt8] {
        var writer = ChunkWriter(magic: Self.magic, version: Self.formatVersion)
        do throws(SnapshotError) {
            for var part in code {
                try writer.chunk(Chunk.code.rawValue) { (archive) throws(SnapshotError) in try Self.archive(&part, &archive) }
            }
            try writer.chunk(Chunk.registers.rawValue) { (archive) throws(SnapshotError) in
                var uses = registers.sorted { $0.key < $1.key }.map { ($0.key, $0.value) }
                try Self.archive(&uses, &archive)
            }
            try writer.chunk(Chunk.end.rawValue) { (_) throws(SnapshotError) in }
        } catch {
            preconditionFailure("saving refuses nothing: \(error)")
        }
        return writer.bytes
    }

    /// Reads what ``bytes`` has made; the file isn't trusted.
    public init(bytes: [UInt8]) throws(SnapshotError) {
        var reader = try ChunkReader(bytes, magic: Self.magic, version: Self.formatVersion, what: "coverage file")
        reading: while true {
            var (kind, archive) = try reader.next()
            switch Chunk(rawValue: kind) {
            case .code:
                var part = Code(checksum: 0, base: 0, bits: [])
                try Self.archive(&part, &archive)
                var one = CoverageData()
                one.code = [part]
                try merge(one)
            case .registers:
                var uses: [(String, RegisterUse)] = []
                try Self.archive(&uses, &archive)
                for (name, use) in uses { registers[name] = use }
            case .end: break reading
            case nil: throw SnapshotError("coverage: expected a chunk of a known kind, found kind \(kind)")
            }
            try archive.finish()
        }
        try reader.finish()
    }

    private static func archive(_ part: inout Code, _ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&part.checksum)
        try archive.integer(&part.base)
        try archive.array(&part.bits, limit: mostWords, blank: 0) { (archive, word) throws(SnapshotError) in try archive.integer(&word) }
    }

    private static func archive(_ uses: inout [(String, RegisterUse)], _ archive: inout StateArchive) throws(SnapshotError) {
        try archive.array(&uses, limit: mostRegisters, blank: ("", RegisterUse())) { (archive, use) throws(SnapshotError) in
            try archive.string(&use.0, limit: longestName)
            try archive.integer(&use.1.reads)
            try archive.integer(&use.1.writes)
            try archive.integer(&use.1.read)
            try archive.integer(&use.1.written)
            try archive.integer(&use.1.rose)
            try archive.integer(&use.1.fell)
        }
    }
}
