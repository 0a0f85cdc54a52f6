import Registers

/// Reads a trace back, all streams merged in the order of time.
///
/// Events at the same cycle come in the order of their initiators' numbers, those of one initiator as they were made. A stored trace may be
/// hostile: whatever differs from what ``TraceWriter`` writes is an error that names file, packet and byte.
public struct TraceReader {
    /// What the numbers in events mean, as the trace's own metadata gives it.
    public let names: TraceNames
    /// Fabric cycles per second.
    public let frequency: UInt64
    /// What a killed recording lacks, for people; complete once all events were read.
    public private(set) var notes: [String] = []
    /// What the whole run came to, known once all events were read; nil if the recording was killed.
    public private(set) var totals: TraceWriter.Totals?

    private let folder: String
    private var streams: [StreamReader] = []
    private var isAtEnd = false

    /// Opens the trace in a folder.
    ///
    /// - Throws: ``TraceError`` naming the file, and what was expected and found there.
    public init(folder: String) throws(TraceError) {
        self.folder = folder
        let path = folder + "/metadata"
        let metadata = try TraceMetadata(String(decoding: TraceFile(path).contents(), as: UTF8.self), path: path)
        names = metadata.names
        frequency = metadata.frequency
        let identity = metadata.identity, registers = metadata.names.registers.count
        // By initiator, then by piece.
        let files = try TraceFile.names(in: folder).compactMap { name in TraceLayout.stream(named: name) }.sorted {
            ($0.initiator.rawValue, $0.piece) < ($1.initiator.rawValue, $1.piece)
        }
        for name in try TraceFile.names(in: folder + "/index") where !name.hasPrefix(".") {
            guard let stream = TraceLayout.stream(named: String(name.dropLast(4))), name.hasSuffix(".idx"),
                files.contains(where: { $0 == stream })
            else { throw TraceError("\(folder)/index/\(name): the index of a file that is not there") }
        }
        var next = 0
        while next < files.count {
            let initiator = files[next].initiator
            let pieces = files[next...].prefix { $0.initiator == initiator }.map(\.piece)
            next += pieces.count
            var stream = StreamReader(folder, initiator, pieces: pieces, identity: identity, registers: registers)
            if try stream.advance() {
                streams.append(stream)
            } else {
                note(stream)
            }
        }
    }

    /// The next event, nil at the end.
    public mutating func next() throws(TraceError) -> TraceEvent? {
        guard var first = streams.indices.first else {
            if totals == nil, !isAtEnd { notes.append("\(folder): the recording has no end: it was killed, or goes on") }
            isAtEnd = true
            return nil
        }
        for index in streams.indices.dropFirst() where streams[index].time < streams[first].time { first = index }
        let event = streams[first].current
        if try !streams[first].advance() {
            note(streams.remove(at: first))
        }
        return event
    }

    /// Keeps what a stream that was read to its end has to tell.
    private mutating func note(_ stream: StreamReader) {
        notes += stream.notes
        if let totals = stream.totals { self.totals = totals }
    }
}
