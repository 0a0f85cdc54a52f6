/// The packets of a Perfetto trace: tracks, and what is on them. Field numbers are those of perfetto/protos (trace.proto,
/// trace_packet.proto, track_descriptor.proto, counter_descriptor.proto, track_event.proto, debug_annotation.proto).
struct PerfettoTracks {
    private enum Trace { static let packet = 1 }
    private enum Packet { static let timestamp = 8, sequence = 10, event = 11, track = 60 }
    private enum Track { static let uuid = 1, name = 2, parent = 5, counter = 8 }
    private enum Event { static let annotation = 4, type = 9, track = 11, category = 22, name = 23, counter = 30 }
    private enum EventType { static let begin: UInt64 = 1, end: UInt64 = 2, instant: UInt64 = 3, counter: UInt64 = 4 }
    private enum Annotation { static let unsigned = 3, string = 6, pointer = 7, name = 10 }

    /// An argument of an event, as the viewer shows it.
    enum Value {
        case number(UInt64), text(String), hexadecimal(UInt64)
    }

    private var output: [UInt8] = []
    private var tracks: [String: UInt64] = [:]
    private let frequency: UInt64

    /// - Parameter frequency: fabric cycles per second.
    init(frequency: UInt64) { self.frequency = frequency }

    /// The number of a track, which is described when it is first asked for.
    ///
    /// - Parameters:
    ///   - path: the names of the track's groups and its own, from the outermost. Tracks of one parent and name are shown as one.
    ///   - lane: tells apart tracks of one path.
    mutating func track(_ path: String..., lane: Int = 0, isCounter: Bool = false) -> UInt64 {
        var parent: UInt64?
        for depth in path.indices {
            let isLast = depth == path.count - 1
            // A name may contain anything but a line's end.
            let key = path[...depth].joined(separator: "\n") + (isLast ? "\n\(lane)" : "\n0")
            if let known = tracks[key] {
                parent = known
                continue
            }
            let uuid = UInt64(tracks.count + 1)
            tracks[key] = uuid
            describe(uuid, path[depth], parent: parent, isCounter: isCounter && isLast)
            parent = uuid
        }
        // A path has a name at least.
        return parent ?? 0
    }

    mutating func begin(_ time: UInt64, _ track: UInt64, _ name: String, category: String, _ arguments: [(String, Value)] = []) {
        emit(time, track, EventType.begin, name: name, category: category, arguments)
    }

    mutating func end(_ time: UInt64, _ track: UInt64) { emit(time, track, EventType.end) }

    mutating func instant(_ time: UInt64, _ track: UInt64, _ name: String, category: String, _ arguments: [(String, Value)] = []) {
        emit(time, track, EventType.instant, name: name, category: category, arguments)
    }

    mutating func count(_ time: UInt64, _ track: UInt64, _ value: UInt64) { emit(time, track, EventType.counter, value: value) }

    /// Hands over what has been written since the last time.
    mutating func takeOutput() -> [UInt8] {
        defer { output.removeAll(keepingCapacity: true) }
        return output
    }

    private mutating func describe(_ uuid: UInt64, _ name: String, parent: UInt64?, isCounter: Bool) {
        var track = ProtobufWriter()
        track.varint(Track.uuid, uuid)
        track.string(Track.name, name)
        if let parent { track.varint(Track.parent, parent) }
        if isCounter { track.message(Track.counter, ProtobufWriter()) }
        var packet = ProtobufWriter()
        packet.varint(Packet.sequence, 1)
        packet.message(Packet.track, track)
        append(packet)
    }

    private mutating func emit(
        _ time: UInt64, _ track: UInt64, _ type: UInt64, name: String? = nil, category: String? = nil,
        _ arguments: [(String, Value)] = [], value: UInt64? = nil
    ) {
        var event = ProtobufWriter()
        event.varint(Event.type, type)
        event.varint(Event.track, track)
        if let category { event.string(Event.category, category) }
        if let name { event.string(Event.name, name) }
        for (name, value) in arguments {
            var annotation = ProtobufWriter()
            annotation.string(Annotation.name, name)
            switch value {
            case .number(let value): annotation.varint(Annotation.unsigned, value)
            case .text(let text): annotation.string(Annotation.string, text)
            case .hexadecimal(let value): annotation.varint(Annotation.pointer, value)
            }
            event.message(Event.annotation, annotation)
        }
        if let value { event.varint(Event.counter, value) }
        var packet = ProtobufWriter()
        packet.varint(Packet.timestamp, nanoseconds(time))
        packet.varint(Packet.sequence, 1)
        packet.message(Packet.event, event)
        append(packet)
    }

    private mutating func append(_ packet: ProtobufWriter) {
        var trace = ProtobufWriter()
        trace.message(Trace.packet, packet)
        output += trace.bytes
    }

    /// Perfetto's timestamps are in nanoseconds.
    private func nanoseconds(_ cycles: UInt64) -> UInt64 {
        let (high, low) = cycles.multipliedFullWidth(by: 1_000_000_000)
        return high >= frequency ? .max : frequency.dividingFullWidth((high, low)).quotient
    }
}
