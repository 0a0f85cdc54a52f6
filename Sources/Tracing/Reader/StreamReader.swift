import Glibc
import Registers

/// One initiator's stream, file by file and packet by packet.
struct StreamReader {
    let initiator: Initiator
    /// The event that ``advance()`` has reached, and its time.
    private(set) var current: TraceEvent
    private(set) var time: UInt64 = 0
    /// What the event that ends a trace tells.
    private(set) var totals: TraceWriter.Totals?

    private let folder: String
    private let identity: [UInt8]
    private let registers: Int
    /// The files that are still to come.
    private var pieces: ArraySlice<Int>
    private var file: PieceReader?
    private var packet = PacketDecoder()
    /// The sequence number that the next packet is to have; nil before the first.
    private var sequence: UInt64?
    /// What was left out, for people.
    private(set) var notes: [String] = []

    init(_ folder: String, _ initiator: Initiator, pieces: [Int], identity: [UInt8], registers: Int) {
        self.folder = folder
        self.initiator = initiator
        self.pieces = pieces[...]
        self.identity = identity
        self.registers = registers
        current = .log(LogEvent(time: 0, content: .line("")))
    }

    /// Goes to the next event; false at the end.
    mutating func advance() throws(TraceError) -> Bool {
        while true {
            while packet.isAtEnd {
                guard try nextPacket() else { return false }
            }
            let place = packet.position
            do throws(PacketDecoder.Failure) {
                let event = try packet.next(initiator, registers: registers)
                time = packet.time
                switch event {
                case .event(let event):
                    current = event
                    return true
                case .end(let events, let hash): totals = TraceWriter.Totals(events: events, hash: hash)
                }
            } catch {
                throw damage("byte \(packet.offset + place)", error.description)
            }
        }
    }

    /// Goes to the next packet, which may be in the next file; false where there is none.
    private mutating func nextPacket() throws(TraceError) -> Bool {
        while true {
            if var piece = file {
                let found = try piece.next(after: sequence)
                file = piece
                if found == nil, let note = piece.note {
                    guard pieces.isEmpty else { throw TraceError("\(note), yet the stream goes on in another file") }
                    notes.append(note)
                }
                if let found {
                    guard found.begin >= time else {
                        throw damage("byte \(found.offset)", "a time of \(time) or later expected, \(found.begin) found")
                    }
                    packet = found
                    sequence = found.sequence + 1
                    return true
                }
            }
            guard let number = pieces.popFirst() else { return false }
            file = try PieceReader(folder, initiator, piece: number, identity: identity)
        }
    }

    private func damage(_ place: String, _ what: String) -> TraceError {
        TraceError("\(file?.path ?? folder): packet \(packet.sequence): \(place): \(what)")
    }
}

/// One file of a stream: finds and checks packets.
struct PieceReader {
    private let file: TraceFile
    private let initiator: Initiator
    private let identity: [UInt8]
    /// Where packets are to be, from `index/`; nil where the recording was killed before it wrote that.
    private let index: PieceIndex?
    private var offset = 0
    private var packets = 0
    private var isDone = false
    var note: String?

    var path: String { file.path }

    init(_ folder: String, _ initiator: Initiator, piece: Int, identity: [UInt8]) throws(TraceError) {
        let name = TraceLayout.fileName(initiator, piece: piece)
        file = try TraceFile("\(folder)/\(name)")
        self.initiator = initiator
        self.identity = identity
        index = try PieceIndex("\(folder)/index", name)
    }

    /// The next packet; nil at the end.
    mutating func next(after sequence: UInt64?) throws(TraceError) -> PacketDecoder? {
        typealias Packet = TraceLayout.Packet
        guard !isDone else { return nil }
        if offset == file.size, packets > 0 { return try end() }
        let bytes = try file.bytes(at: offset, count: min(Packet.capacity, file.size - offset))
        var packet: PacketDecoder
        do throws(PacketDecoder.Failure) {
            packet = try PacketDecoder(bytes, at: offset, of: initiator, identity: identity)
        } catch {
            // Behind the last packet of a file that was not finished there is a rest, in which a packet may have been begun. A file
            // has its name only from its first packet on: that one may be cut off, and nothing else.
            guard index == nil, error.cause == .cutOff || error.cause == .unfinished && packets > 0 else {
                throw damage(sequence, error.description)
            }
            if packets == 0 {
                note = "\(path): byte 0: the file's only packet is left out, it is cut off: \(error.description)"
            } else if try !isRestEmpty() {
                note = "\(path): byte \(offset): the packet that was being written when the recording ended is left out"
            }
            return try end()
        }
        if let sequence, packet.sequence != sequence {
            throw damage(sequence, "packet \(sequence) expected, packet \(packet.sequence) found")
        }
        // Until a packet follows, the last one reaches to the end of the file, which may have been cut off since.
        let rest = file.size - offset
        guard packet.bytes == packet.occupied || index == nil && packet.occupied >= max(packet.bytes, rest) else {
            throw damage(packet.sequence, "\(packet.bytes) bytes expected, \(packet.occupied) found")
        }
        if packet.bytes < packet.occupied, packet.occupied > rest {
            note = "\(path): byte \(file.size): the file is cut off, \(packet.occupied - rest) bytes behind its last packet are missing"
        }
        if let index {
            guard packets < index.packets.count, index.packets[packets] == packet.indexed else {
                throw TraceError("\(index.path): entry \(packets): packet \(packet.sequence) of \(path) expected, something else found")
            }
        }
        packets += 1
        offset += packet.bytes
        return packet
    }

    private mutating func end() throws(TraceError) -> PacketDecoder? {
        isDone = true
        if let index, index.packets.count != packets {
            throw TraceError("\(index.path): \(packets) entries expected, \(index.packets.count) found")
        }
        return nil
    }

    /// Whether nothing was written from here on.
    private func isRestEmpty() throws(TraceError) -> Bool {
        var place = offset
        while place < file.size {
            let bytes = try file.bytes(at: place, count: min(1 << 20, file.size - place))
            // All bytes are the first one, and that is 0.
            guard let first = bytes.first else { return true }
            let isUniform = bytes.withUnsafeBytes { memcmp($0.baseAddress!, $0.baseAddress! + 1, $0.count - 1) == 0 }
            guard first == 0, isUniform else { return false }
            place += bytes.count
        }
        return true
    }

    private func damage(_ packet: UInt64?, _ what: String) -> TraceError {
        TraceError("\(path): packet \(packet ?? 0): byte \(offset): \(what)")
    }
}

/// The index of a file, in LTTng's format.
struct PieceIndex {
    let path: String
    let packets: [Entry]

    struct Entry: Equatable {
        var offset: UInt64, bits: UInt64, contentBits: UInt64, begin: UInt64, end: UInt64, discarded: UInt64 = 0, stream: UInt64 = 0
        var instance: UInt64, sequence: UInt64
    }

    /// nil where there is none.
    init?(_ folder: String, _ name: String) throws(TraceError) {
        typealias Index = TraceLayout.Index
        path = "\(folder)/\(name).idx"
        guard try TraceFile.names(in: folder).contains("\(name).idx") else { return nil }
        let bytes = try TraceFile(path).contents()
        func word(_ place: Int) -> UInt64 { UInt64(bytes[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }) }
        let count = (bytes.count - Index.headerBytes) / Index.entryBytes
        guard bytes.count >= Index.headerBytes, bytes.count == Index.headerBytes + count * Index.entryBytes,
            word(0) == UInt64(Index.magic) << 32 | 1, word(8) == 1 << 32 | UInt64(Index.entryBytes)
        else {
            throw TraceError("\(path): an index of version 1.1 expected, something else of \(bytes.count) bytes found")
        }
        packets = (0..<count).map { number in
            let words = (0..<9).map { word(Index.headerBytes + number * Index.entryBytes + $0 * 8) }
            return Entry(
                offset: words[0], bits: words[1], contentBits: words[2], begin: words[3], end: words[4], discarded: words[5],
                stream: words[6], instance: words[7], sequence: words[8])
        }
    }
}
