import Glibc

/// A capture file of tcpdump and Wireshark: libpcap's format, version 2.4 (draft-ietf-opsawg-pcap), Ethernet frames.
struct CaptureFile: Sendable {
    struct Packet: Sendable {
        /// Nanoseconds since the capture's first packet.
        var time: UInt64
        /// Where its bytes are in the file.
        var range: Range<Int>
    }

    let bytes: [UInt8]
    let packets: [Packet]

    /// Frames are never longer than this: jumbo frames with tags.
    static let snapLength: UInt32 = 65_535
    /// Bytes of a file at most: it is kept in memory.
    static let sizeLimit = 256 << 20
    static let headerBytes = 24
    static let recordBytes = 16
    private static let ethernet: UInt32 = 1

    /// Checks all of a file, so that nothing of it can be wrong later.
    /// - Parameter path: its name in errors.
    init(_ bytes: [UInt8], path: String) throws(NetworkBackendError) {
        func fail(_ position: Int, _ expected: String, _ found: String) -> NetworkBackendError {
            .capture(path: path, position: position, expected: expected, found: found)
        }
        guard bytes.count >= Self.headerBytes else { throw fail(0, "a header of \(Self.headerBytes) bytes", "\(bytes.count) bytes") }
        func word(_ offset: Int, swapped: Bool) -> UInt32 {
            let value = bytes.withUnsafeBytes { UInt32(littleEndian: $0.loadUnaligned(fromByteOffset: offset, as: UInt32.self)) }
            return swapped ? value.byteSwapped : value
        }
        let (isSwapped, nanoseconds): (Bool, UInt64)
        switch word(0, swapped: false) {
        case 0xa1b2_c3d4: (isSwapped, nanoseconds) = (false, 1000)
        case 0xd4c3_b2a1: (isSwapped, nanoseconds) = (true, 1000)
        case 0xa1b2_3c4d: (isSwapped, nanoseconds) = (false, 1)
        case 0x4d3c_b2a1: (isSwapped, nanoseconds) = (true, 1)
        case let other: throw fail(0, "the magic number of a pcap file", "0x\(String(other, radix: 16))")
        }
        let version = word(4, swapped: isSwapped), link = word(20, swapped: isSwapped) & 0xffff
        // Two halves, major and minor, each in the file's order of bytes.
        guard version == (isSwapped ? 0x0002_0004 : 0x0004_0002) else { throw fail(4, "version 2.4", "0x\(String(version, radix: 16))") }
        guard link == Self.ethernet else { throw fail(20, "link type 1 (Ethernet)", "\(link)") }

        var packets: [Packet] = []
        var offset = Self.headerBytes
        var first: UInt64?
        while offset < bytes.count {
            guard bytes.count - offset >= Self.recordBytes else {
                throw fail(offset, "a record header of \(Self.recordBytes) bytes", "\(bytes.count - offset) bytes")
            }
            let (seconds, fraction) = (word(offset, swapped: isSwapped), word(offset + 4, swapped: isSwapped))
            let length = word(offset + 8, swapped: isSwapped)
            guard UInt64(fraction) * nanoseconds < 1_000_000_000 else { throw fail(offset + 4, "less than a second", "\(fraction)") }
            guard length <= Self.snapLength, Int(length) <= bytes.count - offset - Self.recordBytes else {
                throw fail(offset + 8, "a packet of at most \(bytes.count - offset - Self.recordBytes) bytes", "\(length)")
            }
            let time = UInt64(seconds) * 1_000_000_000 + UInt64(fraction) * nanoseconds
            let start = first ?? time
            first = start
            let begin = offset + Self.recordBytes
            // A capture can have a packet from before its first one: it comes with that.
            let since = max(time > start ? time - start : 0, packets.last?.time ?? 0)
            packets.append(Packet(time: since, range: begin..<begin + Int(length)))
            offset = begin + Int(length)
        }
        self.bytes = bytes
        self.packets = packets
    }

    /// Reads and checks a file.
    init(contentsOf path: String) throws(NetworkBackendError) {
        guard let file = fopen(path, "re") else { throw .system(call: "open", path: path, errno: errno) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&piece, 1, piece.count, file)
            guard count > 0 else { break }
            bytes += piece[..<count]
            guard bytes.count <= Self.sizeLimit else {
                throw .capture(path: path, position: bytes.count, expected: "at most \(Self.sizeLimit) bytes", found: "more")
            }
        }
        guard ferror(file) == 0 else { throw .system(call: "read", path: path, errno: errno) }
        try self.init(bytes, path: path)
    }

    // MARK: Writing

    /// The beginning of a file with times in nanoseconds.
    static var header: [UInt8] {
        words([0xa1b2_3c4d, 0x0004_0002, 0, 0, snapLength, ethernet])
    }

    /// What comes before a packet's bytes.
    static func record(time: UInt64, length: Int) -> [UInt8] {
        words([UInt32(truncatingIfNeeded: time / 1_000_000_000), UInt32(time % 1_000_000_000), UInt32(length), UInt32(length)])
    }

    private static func words(_ values: [UInt32]) -> [UInt8] {
        values.flatMap { value in (0..<4).map { UInt8(truncatingIfNeeded: value >> UInt32(8 * $0)) } }
    }
}

/// Why a network backend can't be made.
public enum NetworkBackendError: Error, Equatable, Sendable, CustomStringConvertible {
    /// A system call on a file failed.
    case system(call: String, path: String, errno: Int32)
    /// A capture file is not as it should be, at a byte.
    case capture(path: String, position: Int, expected: String, found: String)

    public var description: String {
        switch self {
        case .system(let call, let path, let errno): "\(path): \(call): error \(errno)"
        case .capture(let path, let position, let expected, let found): "\(path): byte \(position): expected \(expected), found \(found)"
        }
    }
}
