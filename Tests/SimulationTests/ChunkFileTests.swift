import Simulation
import Testing

@Suite struct ChunkFileTests {
    private static let magic: StaticString = "TESTFILE"

    private static func file() throws -> [UInt8] {
        var writer = ChunkWriter(magic: magic, version: 2)
        for (kind, value) in [(1, 0x1234), (7, 0xffff_ffff)] as [(UInt32, UInt64)] {
            var value = value
            try writer.chunk(kind) { (archive) throws(SnapshotError) in try archive.integer(&value) }
        }
        return writer.bytes
    }

    private static func values(_ bytes: [UInt8], version: UInt32 = 2) throws(SnapshotError) -> [UInt64] {
        var reader = try ChunkReader(bytes, magic: magic, version: version, what: "test file")
        var values: [UInt64] = []
        for kind in [1, 7] as [UInt32] {
            var archive = try reader.next(kind)
            var value: UInt64 = 0
            try archive.integer(&value)
            try archive.finish()
            values.append(value)
        }
        try reader.finish()
        return values
    }

    @Test func whatIsWrittenIsRead() throws {
        #expect(try Self.values(Self.file()) == [0x1234, 0xffff_ffff])
    }

    @Test func everyFlippedBitAndEveryTruncationIsNoticed() throws {
        let bytes = try Self.file()
        for bit in 0..<bytes.count * 8 {
            var flipped = bytes
            flipped[bit / 8] ^= 1 << UInt8(bit % 8)
            // A version 3 made of 2 is refused by its number, version 0 too; all else by checksums.
            #expect(throws: SnapshotError.self, "bit \(bit)") { try Self.values(flipped) }
        }
        for count in 0..<bytes.count {
            #expect(throws: SnapshotError.self, "\(count) bytes") { try Self.values(Array(bytes.prefix(count))) }
        }
        #expect(throws: SnapshotError.self) { try Self.values(bytes + [0]) }
    }

    @Test func refusalsSayWhatIsWrong() throws {
        let bytes = try Self.file()
        #expect(throws: SnapshotError("expected a test file, found a file that doesn't begin with 'TESTFILE'")) {
            try Self.values(Array("something else".utf8))
        }
        #expect(throws: SnapshotError("test file: expected format version 1 to 1, found 2")) { try Self.values(bytes, version: 1) }
        var damaged = bytes
        damaged[12 + 16] ^= 1
        let message = "byte 12: expected a chunk with checksum 0x"
        do {
            _ = try Self.values(damaged)
            Issue.record("accepted")
        } catch {
            #expect("\(error)".hasPrefix(message), "\(error)")
        }
    }
}
