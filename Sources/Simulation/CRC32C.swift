/// The Castagnoli CRC (RFC 3720, appendix B.4): the checksum of the files that the emulator stores.
public struct CRC32C: Sendable {
    private var state: UInt32 = .max

    public init() {}

    /// The checksum of the bytes so far.
    public var value: UInt32 { ~state }

    /// Goes on with more bytes, eight at a time (Kounavis, Berry: A systematic approach to building high performance software-based
    /// CRC generators, ISCC 2005).
    public mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var crc = state
        var place = 0
        Self.tables.withUnsafeBufferPointer { tables in
            while place &+ 8 <= bytes.count {
                let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)) ^ UInt64(crc)
                crc = 0
                for byte in 0..<8 {
                    crc ^= tables[(7 &- byte) &* 256 &+ Int(truncatingIfNeeded: word &>> UInt64(truncatingIfNeeded: 8 &* byte)) & 0xff]
                }
                place &+= 8
            }
            while place < bytes.count {
                crc = crc &>> 8 ^ tables[Int(truncatingIfNeeded: crc) & 0xff ^ Int(bytes[place])]
                place &+= 1
            }
        }
        state = crc
    }

    /// The checksum of some bytes.
    public static func of(_ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var sum = CRC32C()
        sum.update(bytes)
        return sum.value
    }

    public static func of(_ bytes: [UInt8]) -> UInt32 { bytes.withUnsafeBytes { of($0) } }

    /// Table n: what a byte does to the checksum when n more bytes follow it.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var crc = UInt32(byte)
            for _ in 0..<8 { crc = crc &>> 1 ^ (crc & 1 == 1 ? 0x82f6_3b78 : 0) }
            tables[byte] = crc
        }
        for place in 256..<8 * 256 {
            let before = tables[place - 256]
            tables[place] = before &>> 8 ^ tables[Int(before & 0xff)]
        }
        return tables
    }()
}
