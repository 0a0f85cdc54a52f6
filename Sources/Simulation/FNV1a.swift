/// FNV-1a (Fowler, Noll, Vo) over 64-bit words: hashes of states and of events, which tell two runs apart. No change of a single word
/// leaves it as it was; it is no protection against an enemy.
public struct FNV1a: Sendable {
    /// The hash of the words so far.
    @inlinable public var value: UInt64 { state }
    @usableFromInline var state: UInt64

    /// Begins with the offset basis, or goes on from a hash.
    @inlinable @inline(__always) public init(_ value: UInt64 = 0xcbf2_9ce4_8422_2325) { state = value }

    @inlinable @inline(__always) public mutating func add(_ word: UInt64) { state = (state ^ word) &* 0x100_0000_01b3 }

    /// Each byte as a word.
    public mutating func add(_ text: String) {
        for byte in text.utf8 { add(UInt64(byte)) }
    }

    /// Bytes in words of eight, little endian; what is left at the end is a word of its own.
    @inlinable public mutating func add(_ bytes: UnsafeRawBufferPointer) {
        var place = 0
        while place &+ 8 <= bytes.count {
            add(UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: place, as: UInt64.self)))
            place &+= 8
        }
        guard place < bytes.count else { return }
        var rest: UInt64 = 0
        for index in place..<bytes.count { rest |= UInt64(bytes[index]) &<< UInt64(8 &* (index &- place)) }
        add(rest)
    }
}
