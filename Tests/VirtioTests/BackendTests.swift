import Glibc
import Scratch
import Simulation
import Testing
import Virtio

/// The media behind block devices.
@Suite("Backends")
struct BackendTests {
    /// A file of its own that goes away with the value.
    private final class TemporaryFile {
        private let folder: TemporaryFolder
        let path: String

        init(bytes: Int) throws {
            folder = try TemporaryFolder()
            path = try folder.write([], to: "file")
            truncate(path, off_t(bytes))
        }

        /// 512-byte blocks that the file system holds for it.
        var allocatedBlocks: Int {
            var status = stat()
            stat(path, &status)
            return Int(status.st_blocks)
        }
    }

    private func read(_ backend: any BlockBackend, _ position: UInt64, _ count: Int) throws -> [UInt8] {
        try [UInt8](unsafeUninitializedCapacity: count) { bytes, initialized in
            try backend.read(position, into: UnsafeMutableRawBufferPointer(bytes))
            initialized = count
        }
    }

    private func write(_ backend: any BlockBackend, _ position: UInt64, _ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try backend.write(position, from: $0) }
    }

    /// Random writes, zeroes and discards against an array of bytes; discarded ranges are written again before they are compared.
    private func compare(_ backend: any BlockBackend, seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        var model = [UInt8](repeating: 0, count: Int(backend.byteCount))
        let sectors = backend.byteCount / 512
        for step in 0..<300 {
            let first = random.next() % sectors
            let count = min(1 + random.next() % 300, sectors - first)
            let range = Int(first * 512)..<Int((first + count) * 512)
            switch random.next() % 4 {
            case 0:
                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: random.next()), count: range.count)
                try write(backend, first * 512, bytes)
                model.replaceSubrange(range, with: bytes)
            case 1:
                try backend.writeZeroes(first * 512, count: count * 512, mayUnmap: random.next() % 2 == 0)
                model.replaceSubrange(range, with: repeatElement(0, count: range.count))
            case 2:
                try backend.discard(first * 512, count: count * 512)
                try write(backend, first * 512, Array(model[range]))
            default:
                let isEqual = try read(backend, first * 512, range.count) == Array(model[range])
                #expect(isEqual, "seed \(seed), step \(step)")
            }
        }
        try backend.flush()
        let isEqual = try read(backend, 0, model.count) == model
        #expect(isEqual, "seed \(seed)")
    }

    @Test("random operations", arguments: [31, 32, 33] as [UInt64])
    func random(seed: UInt64) throws {
        try compare(MemoryBackend(byteCount: 512 * 1001), seed: seed)
        let file = try TemporaryFile(bytes: 512 * 1001)
        try compare(FileBackend(path: file.path), seed: seed)
    }

    @Test("memory takes room only for what was written, and gives it back")
    func sparse() throws {
        let backend = try MemoryBackend(byteCount: 1 << 34)
        #expect(backend.residentBytes == 0)
        try write(backend, 1 << 33, [UInt8](repeating: 1, count: 512))
        let zeroes = [UInt8](repeating: 0, count: 512)
        let around = try read(backend, (1 << 33) - 512, 1536)
        #expect(around == zeroes + [UInt8](repeating: 1, count: 512) + zeroes)
        #expect(backend.residentBytes == 1 << 16)
        let snapshot = backend.state
        try backend.discard(0, count: 1 << 34)
        #expect(backend.residentBytes == 0)
        backend.state = snapshot
        #expect(try read(backend, 1 << 33, 1) == [1])
    }

    @Test("a file keeps what was written, and discards give space back")
    func file() throws {
        let file = try TemporaryFile(bytes: 1 << 22)
        do {
            let backend = try FileBackend(path: file.path)
            #expect(backend.byteCount == 1 << 22 && !backend.isReadOnly)
            try write(backend, 4096, [UInt8](repeating: 7, count: 1 << 20))
            try backend.flush()
        }
        let backend = try FileBackend(path: file.path)
        #expect(try read(backend, 4096, 512) == [UInt8](repeating: 7, count: 512))
        let full = file.allocatedBlocks
        try backend.discard(4096, count: 1 << 20)
        try backend.flush()
        // On a file system without holes the bytes stay, which a discard may do.
        if file.allocatedBlocks < full { #expect(try read(backend, 4096, 512) == [UInt8](repeating: 0, count: 512)) }
    }

    @Test("what can't be a medium is refused, with the reason")
    func refusals() throws {
        #expect(throws: BackendError.system(call: "open", path: "/nonexistent/disk", errno: ENOENT)) {
            try FileBackend(path: "/nonexistent/disk")
        }
        #expect(throws: BackendError.notAFile(path: "/dev/null")) { try FileBackend(path: "/dev/null") }
        let odd = try TemporaryFile(bytes: 1000), empty = try TemporaryFile(bytes: 0)
        #expect(throws: BackendError.size(path: odd.path, bytes: 1000)) { try FileBackend(path: odd.path) }
        #expect(throws: BackendError.size(path: empty.path, bytes: 0)) { try FileBackend(path: empty.path) }
        #expect(throws: BackendError.size(path: "memory", bytes: 513)) { try MemoryBackend(byteCount: 513) }
        let text = BackendError.size(path: odd.path, bytes: 1000).description
        #expect(text == "\(odd.path): expected a positive multiple of 512 bytes, found 1000")
    }

    @Test("a read-only file is opened read-only; a shortened one is an error")
    func readOnly() throws {
        let file = try TemporaryFile(bytes: 8192)
        chmod(file.path, 0o444)
        let backend = try FileBackend(path: file.path, isReadOnly: true)
        #expect(backend.isReadOnly)
        #expect(throws: BackendError.readOnly(path: file.path)) { try write(backend, 0, [1]) }
        #expect(throws: BackendError.readOnly(path: file.path)) { try backend.discard(0, count: 512) }
        #expect(throws: BackendError.readOnly(path: file.path)) { try backend.writeZeroes(0, count: 512, mayUnmap: true) }
        #expect(throws: BackendError.truncated(path: file.path, position: 4096)) {
            truncate(file.path, 4096)
            _ = try read(backend, 0, 8192)
        }
    }

    @Test("a block device on a file: what the driver wrote and flushed is in the file")
    func deviceOnFile() throws {
        let file = try TemporaryFile(bytes: 1 << 20)
        let payload = (0..<8192).map { UInt8(truncatingIfNeeded: $0 &* 13) }
        do {
            let fixture = BlockFixture(backend: try FileBackend(path: file.path))
            fixture.bringUp()
            fixture.memory[fixture.data(0), 8192] = payload
            #expect(fixture.perform(type: 1, sector: 100, bytes: 8192, pieces: 4)?.status == 0)
            #expect(fixture.perform(type: 4)?.status == 0)
            truncate(file.path, 512 * 108)
            #expect(fixture.perform(type: 0, sector: 200, bytes: 512)?.status == 1, "the file was shortened behind the device's back")
            #expect(fixture.block.lastBackendError == .truncated(path: file.path, position: 200 * 512))
        }
        let fixture = BlockFixture(backend: try FileBackend(path: file.path, isReadOnly: true))
        fixture.bringUp()
        #expect(fixture.read(0x2000, size: 8) == 108)
        #expect(fixture.perform(type: 0, sector: 100, bytes: 4096)?.status == 0)
        let isEqual = fixture.memory[fixture.data(0), 4096] == Array(payload.prefix(4096))
        #expect(isEqual)
    }
}
