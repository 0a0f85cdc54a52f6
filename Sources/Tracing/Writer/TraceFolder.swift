import Glibc
import Registers

/// The files of a trace that is being recorded.
///
/// They are as CTF has them at any moment, so that a killed emulator leaves a trace that every reader takes: a file appears with its first
/// packet, and its last packet is always declared to reach to the file's end, which lies beyond (in a hole). A packet that is added is
/// written into that rest and counts once the packet before it is declared to end where it ends.
///
/// A trace is in pieces of time, each with a file for each stream; those of the past are dropped as a whole.
final class TraceFolder {
    let path: String
    /// From the oldest to the one that is being written.
    private var pieces: [Piece] = []
    /// Pieces begun so far.
    private var pieceCount = 0

    /// Small enough that a reader's map of a file is no burden.
    static let longestPiece = 64 << 20
    /// A bounded trace is in so many pieces: it has between that many less one and that many eighths of what it may.
    static let piecesOfBudget = 8

    /// The streams of a span of time.
    private struct Piece {
        let number: Int
        /// It is closed before it has more.
        let capacity: Int
        /// It stays whatever the budget for history says.
        var isKept: Bool
        var isOpen = true
        /// Of all files, without the rests.
        var bytes = 0
        var files: [StreamFile] = []
    }

    private struct StreamFile {
        let initiator: Initiator
        let descriptor: Int32
        /// Where the file ends, rest included.
        let end: Int
        var packets: [Packet] = []
        /// Where the rest begins.
        var used: Int { packets.last.map { $0.offset + $0.bytes } ?? 0 }
    }

    /// A packet as the index tells of it.
    private struct Packet {
        var offset: Int, bytes: Int, begin: UInt64, end: UInt64, sequence: UInt64
    }

    /// Makes the folder, or empties the one of an earlier trace.
    ///
    /// - Throws: ``TraceError`` also where there is something else in the folder, which nobody may want to lose.
    init(_ path: String, _ metadata: TraceMetadata) throws(TraceError) {
        self.path = path
        guard mkdir(path, 0o777) == 0 || errno == EEXIST else { throw Self.system("mkdir", path) }
        try Self.empty(path)
        guard mkdir(path + "/index", 0o777) == 0 || errno == EEXIST else { throw Self.system("mkdir", path + "/index") }
        try Self.replace("metadata", in: path, with: Array(metadata.text.utf8))
    }

    deinit {
        for piece in pieces where piece.isOpen {
            for file in piece.files { Glibc.close(file.descriptor) }
        }
    }

    // MARK: Packets

    /// Writes the packet that a stream's encoder has.
    ///
    /// - Parameters:
    ///   - budget: the most bytes that all pieces together may have, nil for as many as there are: old pieces make room.
    ///   - isHistory: the budget is that of pieces which may be dropped until ``keep()``; others stay.
    func write(_ stream: UnsafeMutablePointer<StreamEncoder>, budget: Int?, isHistory: Bool) throws(TraceError) {
        let bytes = stream.pointee.used
        if let last = pieces.last, last.isOpen, last.bytes + bytes > last.capacity { try closePiece() }
        if let budget { drop(downTo: budget - bytes, onlyHistory: isHistory) }
        if pieces.last?.isOpen != true {
            let capacity = min(Self.longestPiece, max((budget ?? .max) / Self.piecesOfBudget, TraceLayout.Packet.capacity))
            pieces.append(Piece(number: pieceCount, capacity: capacity, isKept: !isHistory))
            pieceCount += 1
        }
        let last = pieces.count - 1, initiator = stream.pointee.initiator
        if let file = pieces[last].files.firstIndex(where: { $0.initiator == initiator }) {
            try append(stream, to: &pieces[last].files[file])
        } else {
            pieces[last].files.append(try create(stream, in: pieces[last]))
        }
        pieces[last].bytes += bytes
    }

    /// All that there is stays from now on.
    func keep() {
        for piece in pieces.indices { pieces[piece].isKept = true }
    }

    /// Removes what ``keep()`` was not said of.
    func dropHistory() throws(TraceError) {
        if pieces.last?.isKept == false { try closePiece() }
        drop(downTo: 0, onlyHistory: true)
    }

    /// Ends the files that are being written, and writes their indexes.
    func closePiece() throws(TraceError) {
        guard let piece = pieces.last, piece.isOpen else { return }
        pieces[pieces.count - 1].isOpen = false
        pieces[pieces.count - 1].files = piece.files.map { StreamFile(initiator: $0.initiator, descriptor: -1, end: $0.used) }
        defer {
            for file in piece.files { Glibc.close(file.descriptor) }
        }
        for file in piece.files {
            let name = TraceLayout.fileName(file.initiator, piece: piece.number)
            try declareEnd(of: file, at: file.used)
            guard ftruncate(file.descriptor, off_t(file.used)) == 0 else { throw Self.system("ftruncate", "\(path)/\(name)") }
            try Self.replace("\(name).idx", in: path + "/index", with: Self.index(file))
        }
    }

    /// A stream's file of a piece, with its first packet.
    private func create(_ stream: UnsafeMutablePointer<StreamEncoder>, in piece: Piece) throws(TraceError) -> StreamFile {
        let initiator = stream.pointee.initiator
        let name = TraceLayout.fileName(initiator, piece: piece.number)
        let hidden = "\(path)/.\(name)"
        let descriptor = open(hidden, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw Self.system("open", hidden) }
        // A packet may be longer than the whole of a small piece.
        var file = StreamFile(
            initiator: initiator, descriptor: descriptor, end: piece.capacity + TraceLayout.Packet.capacity + TraceLayout.Event.longest)
        do throws(TraceError) {
            guard ftruncate(descriptor, off_t(file.end)) == 0 else { throw Self.system("ftruncate", hidden) }
            try append(stream, to: &file)
            guard rename(hidden, "\(path)/\(name)") == 0 else { throw Self.system("rename", hidden) }
        } catch {
            Glibc.close(descriptor)
            throw error
        }
        return file
    }

    private func append(_ stream: UnsafeMutablePointer<StreamEncoder>, to file: inout StreamFile) throws(TraceError) {
        let offset = file.used, end = file.end
        let (begin, last, sequence) = (stream.pointee.begin, stream.pointee.end, stream.pointee.sequence)
        let bytes = stream.pointee.finish { _ in end - offset }
        try write(UnsafeRawBufferPointer(start: stream.pointee.packet, count: bytes), at: offset, of: file)
        try declareEnd(of: file, at: offset)
        file.packets.append(Packet(offset: offset, bytes: bytes, begin: begin, end: last, sequence: sequence))
    }

    /// Declares that the last packet ends here, if there is one. Eight bytes: they are written or not, never half.
    private func declareEnd(of file: StreamFile, at place: Int) throws(TraceError) {
        guard let packet = file.packets.last else { return }
        let bits = (UInt64(place - packet.offset) * 8).littleEndian
        try withUnsafeBytes(of: bits) { (bytes) throws(TraceError) in
            try write(bytes, at: packet.offset + TraceLayout.Packet.packetBits, of: file)
        }
    }

    private func write(_ bytes: UnsafeRawBufferPointer, at place: Int, of file: StreamFile) throws(TraceError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(file.descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(place + done))
            if count > 0 {
                done += count
            } else if errno != EINTR {
                throw Self.system("write", "\(path)/\(file.initiator)")
            }
        }
    }

    // MARK: Pieces

    /// Removes the oldest pieces until the others have no more than `bytes`; never the one that is being written.
    private func drop(downTo bytes: Int, onlyHistory: Bool) {
        func isCounted(_ piece: Piece) -> Bool { !onlyHistory || !piece.isKept }
        var total = pieces.filter(isCounted).map(\.bytes).reduce(0, +)
        while total > bytes, let oldest = pieces.firstIndex(where: isCounted), !pieces[oldest].isOpen {
            let piece = pieces.remove(at: oldest)
            total -= piece.bytes
            for file in piece.files {
                let name = TraceLayout.fileName(file.initiator, piece: piece.number)
                unlink("\(path)/index/\(name).idx")
                unlink("\(path)/\(name)")
            }
        }
    }

    /// A file's index, as LTTng has it: big endian.
    private static func index(_ file: StreamFile) -> [UInt8] {
        typealias Index = TraceLayout.Index
        var bytes: [UInt8] = []
        for word in [Index.magic, 1, 1, UInt32(Index.entryBytes)] { withUnsafeBytes(of: word.bigEndian) { bytes += $0 } }
        for packet in file.packets {
            let bits = UInt64(packet.bytes) * 8
            for word in [
                UInt64(packet.offset), bits, bits, packet.begin, packet.end, 0, 0, UInt64(file.initiator.rawValue), packet.sequence,
            ] { withUnsafeBytes(of: word.bigEndian) { bytes += $0 } }
        }
        return bytes
    }

    // MARK: The file system

    /// Writes a file as a whole: nobody sees a part of it.
    private static func replace(_ name: String, in folder: String, with bytes: [UInt8]) throws(TraceError) {
        let hidden = "\(folder)/.\(name)"
        let descriptor = open(hidden, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw system("open", hidden) }
        let written = Glibc.write(descriptor, bytes, bytes.count)
        Glibc.close(descriptor)
        guard written == bytes.count else { throw system("write", hidden) }
        guard rename(hidden, "\(folder)/\(name)") == 0 else { throw system("rename", hidden) }
    }

    /// Removes an earlier trace; anything else is left as it is, and an error.
    private static func empty(_ folder: String) throws(TraceError) {
        let streams = try TraceFile.names(in: folder), indexes = try TraceFile.names(in: folder + "/index")
        func isOurs(_ name: String, _ suffix: String) -> Bool {
            let name = name.hasPrefix(".") ? name.dropFirst() : name[...]
            return name.hasSuffix(suffix) && TraceLayout.stream(named: String(name.dropLast(suffix.count))) != nil
        }
        let other = streams.first { !isOurs($0, "") && !["metadata", ".metadata", "index"].contains($0) }
            ?? indexes.first { !isOurs($0, ".idx") }
        if let other {
            throw TraceError("\(folder): a new or empty folder, or that of an earlier trace, expected, one with '\(other)' found")
        }
        if streams.contains("metadata"), try !isMetadata(TraceFile(folder + "/metadata").bytes(at: 0, count: 1024)) {
            throw TraceError("\(folder): a new or empty folder, or that of an earlier trace, expected, a trace of another program found")
        }
        // The metadata last: until then it is known what this is.
        for name in indexes { unlink("\(folder)/index/\(name)") }
        for name in streams where name != "metadata" && name != "index" { unlink("\(folder)/\(name)") }
        unlink(folder + "/metadata")
    }

    private static func isMetadata(_ start: [UInt8]) -> Bool {
        String(decoding: start, as: UTF8.self).contains("domain = \"outrigger\"")
    }

    private static func system(_ call: String, _ path: String) -> TraceError {
        TraceError("\(path): \(call): \(String(cString: strerror(errno)))")
    }
}
