import Glibc
import Interconnect
import Simulation

/// A journal on disk: its header, and where its chunks are. All checksums are right.
final class JournalFile {
    struct Chunk {
        var base: JournalBase
        var payload: Range<Int>
        var sum: UInt32
    }

    let path: String
    let header: RecordingHeader
    let chunks: [Chunk]
    /// What is wrong with the end; nil if the file ends with a chunk.
    let cut: String?
    /// Of the header and all whole chunks.
    let byteCount: Int
    private let file: JournalDescriptor

    init(path: String) throws(RecordingError) {
        self.path = path
        let file = try JournalDescriptor(path: path)
        self.file = file
        let prefix = JournalLayout.prefixBytes
        var decoder = JournalDecoder(try file.read(0..<prefix), source: path)
        for byte in JournalLayout.magic where try decoder.byte() != byte {
            throw RecordingError("\(path): expected a journal, found another file")
        }
        let version = try decoder.fixed(UInt32.self)
        guard version == JournalLayout.version else {
            throw RecordingError("\(path): expected a journal of version \(JournalLayout.version), found version \(version)")
        }
        let count = Int(try decoder.fixed(UInt32.self))
        guard count <= JournalLayout.longestHeader else {
            throw RecordingError("\(path): expected a header of \(JournalLayout.longestHeader) bytes at most, found \(count)")
        }
        let end = prefix + count + 4
        let head = try file.read(0..<end)
        decoder = JournalDecoder(head, source: path, at: end - 4)
        try Self.check(head[..<(end - 4)], try decoder.fixed(UInt32.self), "header", path)
        header = try RecordingHeader(archived: Array(head[prefix..<(prefix + count)]), path: path)
        (chunks, cut) = try Self.readChunks(file, from: end)
        byteCount = chunks.last?.payload.upperBound ?? end
    }

    /// The entries of a chunk.
    func payload(_ index: Int) throws(RecordingError) -> [UInt8] {
        let bytes = try file.read(chunks[index].payload)
        try Self.check(bytes[...], chunks[index].sum, "chunk \(index)", path)
        return bytes
    }

    private static func readChunks(_ file: JournalDescriptor, from start: Int) throws(RecordingError) -> ([Chunk], cut: String?) {
        typealias Layout = JournalLayout.Chunk
        var chunks: [Chunk] = [], place = start
        while place < file.count {
            let left = file.count - place
            guard left >= Layout.bytes else { return (chunks, "\(file.path): cut off: \(left) bytes of a chunk at byte \(place)") }
            let head = try file.read(place..<(place + Layout.bytes))
            let name = "chunk \(chunks.count) at byte \(place)"
            var decoder = JournalDecoder(head, source: "\(file.path): \(name)")
            guard try decoder.fixed(UInt32.self) == Layout.magic else { throw decoder.error("expected a chunk, found something else") }
            let count = Int(try decoder.fixed(UInt32.self)), sequence = try decoder.fixed(UInt64.self)
            let (round, cycle) = (try decoder.fixed(UInt64.self), try decoder.fixed(UInt64.self))
            let (inputs, operations) = (try decoder.fixed(UInt64.self), try decoder.fixed(UInt64.self))
            let sum = try decoder.fixed(UInt32.self)
            try check(head[..<Layout.sum], try decoder.fixed(UInt32.self), name, file.path)
            guard sequence == UInt64(chunks.count), count <= Layout.longestPayload else {
                throw decoder.error(
                    "expected chunk \(chunks.count) of at most \(Layout.longestPayload) bytes, found \(sequence) of \(count)")
            }
            let payload = place + Layout.bytes..<place + Layout.bytes + count
            guard payload.upperBound <= file.count else { return (chunks, "\(file.path): cut off: a piece of \(name)") }
            try check(try file.read(payload)[...], sum, name, file.path)
            let position = Position(round: round, hart: Position.between, time: 0, cycle: cycle, inputs: inputs)
            chunks.append(Chunk(base: JournalBase(position: position, operations: operations), payload: payload, sum: sum))
            place = payload.upperBound
        }
        return (chunks, nil)
    }

    private static func check(_ bytes: ArraySlice<UInt8>, _ expected: UInt32, _ what: String, _ path: String) throws(RecordingError) {
        let found = bytes.withUnsafeBytes { CRC32C.of($0) }
        guard found == expected else {
            throw RecordingError("\(path): \(what): damaged: expected checksum \(expected), found \(found)")
        }
    }
}

/// A file that is read at any place.
final class JournalDescriptor {
    let path: String
    let count: Int
    private let descriptor: Int32

    init(path: String) throws(RecordingError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw RecordingError("\(path): \(String(cString: strerror(errno)))") }
        var status = stat()
        // Before `count` is set, deinit doesn't run.
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw RecordingError("\(path): expected a file, found something else")
        }
        count = Int(status.st_size)
    }

    deinit { close(descriptor) }

    func read(_ range: Range<Int>) throws(RecordingError) -> [UInt8] {
        guard range.upperBound <= count else {
            throw RecordingError("\(path): expected at least \(range.upperBound) bytes, found \(count)")
        }
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: range.count) { buffer, done in
            while done < range.count, code == 0 {
                let read = pread(descriptor, buffer.baseAddress! + done, range.count - done, off_t(range.lowerBound + done))
                if read > 0 { done += read } else if read == 0 { code = EIO } else if errno != EINTR { code = errno }
            }
        }
        guard code == 0 else { throw RecordingError("\(path): read: \(String(cString: strerror(code)))") }
        return bytes
    }
}

/// The firmware images of a recording.
final class RecordedFirmware {
    private let folder: String
    private let substitute: [UInt8]?
    private var images: [Int: [UInt8]] = [:]

    init(folder: String, substitute: [UInt8]?) {
        self.folder = folder
        self.substitute = substitute
    }

    /// - Parameters:
    ///   - count: bytes of the image that was loaded.
    ///   - sum: its checksum.
    func image(_ number: Int, count: Int, sum: UInt32) throws(RecordingError) -> [UInt8] {
        if let substitute { return substitute }
        if let known = images[number] { return known }
        let path = "\(folder)/\(JournalLayout.firmwareName(number))"
        let file = try JournalDescriptor(path: path)
        let bytes = try file.read(0..<file.count)
        guard bytes.count == count, CRC32C.of(bytes) == sum else {
            throw RecordingError("\(path): expected the \(count) bytes that were loaded, with checksum \(sum), found others")
        }
        images[number] = bytes
        return bytes
    }
}
