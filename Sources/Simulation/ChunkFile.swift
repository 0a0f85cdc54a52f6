/// A stored file: a magic number and a version, then chunks, each of a kind, a length, a checksum and bytes that a ``StateArchive`` writes.
///
/// All numbers are little endian. The checksum, a ``CRC32C``, is of the kind, the length and the bytes, so no part of a chunk is taken
/// for what it isn't.
public struct ChunkWriter {
    public private(set) var bytes: [UInt8]

    /// - Parameter magic: the first eight bytes.
    public init(magic: StaticString, version: UInt32) {
        precondition(magic.utf8CodeUnitCount == 8, "a magic number has eight bytes")
        bytes = Array(UnsafeBufferPointer(start: magic.utf8Start, count: 8))
        append(version)
    }

    public mutating func chunk(_ kind: UInt32, _ body: (inout StateArchive) throws(SnapshotError) -> Void) throws(SnapshotError) {
        var archive = StateArchive()
        try body(&archive)
        let payload = archive.bytes
        let start = bytes.count
        bytes.reserveCapacity(start + ChunkReader.headerBytes + payload.count)
        append(kind)
        append(UInt64(payload.count))
        var sum = CRC32C()
        bytes.withUnsafeBytes { sum.update(UnsafeRawBufferPointer(rebasing: $0[start...])) }
        payload.withUnsafeBytes { sum.update($0) }
        append(sum.value)
        bytes.append(contentsOf: payload)
    }

    private mutating func append<Value: FixedWidthInteger>(_ value: Value) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }
}

/// Reads what a ``ChunkWriter`` has written, or what anybody made up.
public struct ChunkReader {
    static let headerBytes = 16

    private let bytes: [UInt8]
    private var position = 12

    /// - Parameters:
    ///   - what: such a file, for messages: `snapshot`.
    ///   - version: the latest that can be read.
    public init(_ bytes: [UInt8], magic: StaticString, version: UInt32, what: String) throws(SnapshotError) {
        self.bytes = bytes
        guard bytes.count >= position, bytes.prefix(8).elementsEqual(UnsafeBufferPointer(start: magic.utf8Start, count: 8)) else {
            throw SnapshotError("expected a \(what), found a file that doesn't begin with '\(magic)'")
        }
        let found = number(at: 8, as: UInt32.self)
        guard found > 0, found <= version else { throw SnapshotError("\(what): expected format version 1 to \(version), found \(found)") }
    }

    /// The next chunk: its kind and its bytes, whose checksum is right.
    public mutating func next() throws(SnapshotError) -> (kind: UInt32, archive: StateArchive) {
        let start = position + Self.headerBytes
        guard start <= bytes.count else { throw SnapshotError("byte \(position): expected a chunk, found \(bytes.count - position) bytes") }
        let (kind, length) = (number(at: position, as: UInt32.self), number(at: position + 4, as: UInt64.self))
        guard length <= UInt64(bytes.count - start) else {
            throw SnapshotError("byte \(position): expected a chunk of \(length) bytes, found \(bytes.count - start)")
        }
        let end = start + Int(length)
        var sum = CRC32C()
        bytes.withUnsafeBytes {
            sum.update(UnsafeRawBufferPointer(rebasing: $0[position..<position + 12]))
            sum.update(UnsafeRawBufferPointer(rebasing: $0[start..<end]))
        }
        let stored = number(at: position + 12, as: UInt32.self)
        guard sum.value == stored else {
            let (stored, found) = (String(stored, radix: 16), String(sum.value, radix: 16))
            throw SnapshotError("byte \(position): expected a chunk with checksum 0x\(stored), found 0x\(found)")
        }
        position = end
        return (kind, StateArchive(loading: Array(bytes[start..<end])))
    }

    /// The next chunk's bytes, which must be of a kind.
    public mutating func next(_ kind: UInt32) throws(SnapshotError) -> StateArchive {
        let place = position
        let (found, archive) = try next()
        guard found == kind else { throw SnapshotError("byte \(place): expected a chunk of kind \(kind), found one of kind \(found)") }
        return archive
    }

    /// Ends reading: everything must have been read.
    public func finish() throws(SnapshotError) {
        guard position == bytes.count else { throw SnapshotError("byte \(position): expected the end, found more") }
    }

    private func number<Value: FixedWidthInteger & BitwiseCopyable>(at place: Int, as type: Value.Type) -> Value {
        Value(littleEndian: bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: type) })
    }
}
