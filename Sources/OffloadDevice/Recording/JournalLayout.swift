import Simulation

/// A recording that can't be made, or read: what was expected, what was found, where.
public struct RecordingError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// The layout of the file `journal`: docs/replay.md, "Files". All integers are little endian, nothing is aligned.
enum JournalLayout {
    static let magic: [UInt8] = Array("OTRJRNL\n".utf8)
    static let version: UInt32 = 1
    /// Magic, version, bytes of the header that follow, and after these a checksum over all of it.
    static let prefixBytes = 16
    /// More is no header.
    static let longestHeader = 1 << 20

    /// What stands before the entries of a chunk.
    enum Chunk {
        static let magic: UInt32 = 0x4b_4e48_43
        /// The places of its fields.
        static let payloadBytes = 4, sequence = 8, round = 16, cycle = 24, inputs = 32, operations = 40, payloadSum = 48, sum = 52
        static let bytes = 56
        /// A chunk is written when its entries reach this size.
        static let capacity = 1 << 16
        /// More is no chunk: the longest entry may come on top.
        static let longestPayload = 1 << 28
    }

    /// What an entry is: the lower half of its first byte. The upper half is the entry's own.
    enum Tag: UInt8 {
        case input = 1
        case outcome
        case change
        case digest
        case end
    }

    static let journalName = "journal"
    static let originName = "origin"

    /// Capture files from which network functions receive.
    static func captureName(_ number: Int) -> String { "capture-\(number)" }

    /// Firmware images are files of their own, by the order in which they were loaded.
    static func firmwareName(_ number: Int) -> String { number == 0 ? "firmware.elf" : "firmware-\(number).elf" }
}

/// Where in a journal positions and operations are counted from.
struct JournalBase: Hashable {
    var position = Position.start
    /// Of the ``ExternalMemory``.
    var operations: UInt64 = 0
}

/// Bytes of a journal's entries, being made.
struct JournalEncoder {
    private(set) var bytes: [UInt8] = []

    mutating func removeAll() { bytes.removeAll(keepingCapacity: true) }

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    /// Seven bits a byte, the lowest first (LEB128).
    mutating func number(_ value: UInt64) {
        var rest = value
        while rest > 0x7f {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest &>>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: rest))
    }

    mutating func integer(_ value: Int) { number(UInt64(bitPattern: Int64(value))) }

    mutating func fixed<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func data(_ data: some Collection<UInt8>) {
        integer(data.count)
        bytes.append(contentsOf: data)
    }
}

/// Bytes of a journal's entries, being read.
struct JournalDecoder {
    private let bytes: [UInt8]
    private(set) var place = 0
    /// For messages.
    let source: String

    init(_ bytes: [UInt8], source: String, at place: Int = 0) {
        self.bytes = bytes
        self.source = source
        self.place = place
    }

    var isAtEnd: Bool { place == bytes.count }

    func error(_ message: String) -> RecordingError { RecordingError("\(source): byte \(place): \(message)") }

    mutating func byte() throws(RecordingError) -> UInt8 {
        guard place < bytes.count else { throw error("expected more, found the end of the chunk") }
        defer { place += 1 }
        return bytes[place]
    }

    mutating func number() throws(RecordingError) -> UInt64 {
        var value: UInt64 = 0, shift: UInt64 = 0
        while true {
            let next = try byte()
            guard shift < 63 || next <= 1 else { throw error("expected a number below 2^64, found a larger one") }
            value |= UInt64(next & 0x7f) &<< shift
            if next & 0x80 == 0 { return value }
            shift &+= 7
        }
    }

    mutating func integer() throws(RecordingError) -> Int { Int(truncatingIfNeeded: Int64(bitPattern: try number())) }

    mutating func integer(in range: ClosedRange<Int>, _ what: String) throws(RecordingError) -> Int {
        let value = try integer()
        guard range.contains(value) else {
            throw error("\(what): expected \(range.lowerBound) to \(range.upperBound), found \(value)")
        }
        return value
    }

    mutating func fixed<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type) throws(RecordingError) -> Value {
        let count = MemoryLayout<Value>.size
        guard bytes.count - place >= count else { throw error("expected \(count) bytes, found \(bytes.count - place)") }
        defer { place += count }
        return bytes.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Value.self)) }
    }

    mutating func data() throws(RecordingError) -> [UInt8] {
        let count = try number()
        guard count <= UInt64(bytes.count - place) else { throw error("expected \(count) bytes, found \(bytes.count - place)") }
        defer { place += Int(count) }
        return Array(bytes[place..<place + Int(count)])
    }

    /// A count that grows by what is stored.
    mutating func grown(_ value: UInt64, _ what: String) throws(RecordingError) -> UInt64 {
        let (sum, overflow) = value.addingReportingOverflow(try number())
        guard !overflow else { throw error("\(what): expected one below 2^64, found a larger one") }
        return sum
    }
}
