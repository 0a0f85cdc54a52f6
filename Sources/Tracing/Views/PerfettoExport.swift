import Registers

/// Turns accesses into a Perfetto trace (perfetto.dev, "Synthetic track events"): a row of `TracePacket` with track events.
///
/// Each initiator is a track with a slice for each access, from its issue to when it came back; each block is a track with an
/// instant for each access to it. The slices carry the values, the fields that changed, program counter or process, and the status.
public struct PerfettoExport {
    // Field numbers of perfetto/protos: trace.proto, trace_packet.proto, track_descriptor.proto, track_event.proto, debug_annotation.proto.
    private enum Trace { static let packet = 1 }
    private enum Packet { static let timestamp = 8, sequence = 10, event = 11, track = 60 }
    private enum Track { static let uuid = 1, name = 2, parent = 5 }
    private enum Event { static let annotation = 4, type = 9, track = 11, category = 22, name = 23 }
    private enum EventType { static let begin: UInt64 = 1, end: UInt64 = 2, instant: UInt64 = 3 }
    private enum Annotation { static let unsigned = 3, string = 6, pointer = 7, name = 10 }

    /// Numbers of the tracks: the two groups, then initiators by their raw value, then blocks as they come.
    private enum TrackNumber {
        static let initiators: UInt64 = 1, blocks: UInt64 = 2, firstInitiator: UInt64 = 0x1000, firstBlock: UInt64 = 0x2000
    }

    private var output: [UInt8] = []

    private let decoder: TraceDecoder
    private let frequency: UInt64
    /// By the initiator's raw value: whether its track is described, and when its open slice ends.
    private var isDescribed = [Bool](repeating: false, count: 0x400)
    private var openUntil = [UInt64?](repeating: nil, count: 0x400)
    private var blocks: [Substring: UInt64] = [:]

    /// - Parameter frequency: fabric cycles per second.
    public init(_ decoder: TraceDecoder, frequency: UInt64) {
        self.decoder = decoder
        self.frequency = frequency
        describe(TrackNumber.initiators, "initiators", parent: nil)
        describe(TrackNumber.blocks, "blocks", parent: nil)
    }

    /// Adds one access. Accesses come in the order of time.
    public mutating func add(_ event: AccessEvent) {
        let initiator = Int(event.initiator.rawValue) & 0x3ff
        let track = TrackNumber.firstInitiator + UInt64(initiator)
        if !isDescribed[initiator] {
            isDescribed[initiator] = true
            describe(track, "\(event.initiator)", parent: TrackNumber.initiators)
        }
        close(initiator, at: event.time)
        let annotations = annotations(event)
        let verb = event.isWrite ? "write" : "read"
        let name = decoder.name(event)
        emit(event.time, track, EventType.begin, name: name, category: verb, annotations)
        openUntil[initiator] = event.time &+ event.wait
        guard case .register(let number, _, _) = event.target else { return }
        let block = decoder.known[Int(number)].block
        let register = name.dropFirst(block.utf8.count + 1)
        emit(event.time, blockTrack(block), EventType.instant, name: "\(verb) \(register)", category: verb, annotations)
    }

    /// Ends the slices that are open.
    public mutating func finish() {
        for initiator in openUntil.indices { close(initiator, at: .max) }
    }

    /// Hands over what has been written since the last time.
    public mutating func takeOutput() -> [UInt8] {
        defer { output.removeAll(keepingCapacity: true) }
        return output
    }

    /// Ends an initiator's slice. Slices of a track must not overlap in part: one that is still open when the next begins ends there,
    /// as happens when programs access one function at the same time.
    private mutating func close(_ initiator: Int, at time: UInt64) {
        guard let end = openUntil[initiator] else { return }
        openUntil[initiator] = nil
        emit(min(end, time), TrackNumber.firstInitiator + UInt64(initiator), EventType.end)
    }

    private mutating func blockTrack(_ block: Substring) -> UInt64 {
        if let track = blocks[block] { return track }
        let track = TrackNumber.firstBlock + UInt64(blocks.count)
        blocks[block] = track
        describe(track, String(block), parent: TrackNumber.blocks)
        return track
    }

    private func annotations(_ event: AccessEvent) -> [ProtobufWriter] {
        func make(_ name: String, _ set: (inout ProtobufWriter) -> Void) -> ProtobufWriter {
            var annotation = ProtobufWriter()
            annotation.string(Annotation.name, name)
            set(&annotation)
            return annotation
        }
        var annotations: [ProtobufWriter] = []
        if case .register(let number, _, _) = event.target {
            annotations.append(make("old") { $0.varint(Annotation.pointer, event.old) })
            let changes = decoder.known[Int(number)].description?.changes(from: event.old, to: event.new) ?? []
            for (old, new) in changes {
                let change = "\(TraceFormatter.value(old)) -> \(TraceFormatter.value(new))"
                annotations.append(make(old.name) { $0.string(Annotation.string, change) })
            }
        }
        annotations.append(make("new") { $0.varint(Annotation.pointer, event.new) })
        annotations.append(make("status") { $0.string(Annotation.string, "\(event.status)") })
        annotations.append(make("initiator") { $0.string(Annotation.string, "\(event.initiator)") })
        if event.initiator.kind == .hart { annotations.append(make("pc") { $0.varint(Annotation.pointer, UInt64(event.origin)) }) }
        if event.initiator.kind == .host { annotations.append(make("pid") { $0.varint(Annotation.unsigned, UInt64(event.origin)) }) }
        return annotations
    }

    private mutating func describe(_ number: UInt64, _ name: String, parent: UInt64?) {
        var track = ProtobufWriter()
        track.varint(Track.uuid, number)
        track.string(Track.name, name)
        if let parent { track.varint(Track.parent, parent) }
        var packet = ProtobufWriter()
        packet.varint(Packet.sequence, 1)
        packet.message(Packet.track, track)
        append(packet)
    }

    private mutating func emit(
        _ time: UInt64, _ track: UInt64, _ type: UInt64, name: String? = nil, category: String? = nil, _ annotations: [ProtobufWriter] = []
    ) {
        var event = ProtobufWriter()
        event.varint(Event.type, type)
        event.varint(Event.track, track)
        if let category { event.string(Event.category, category) }
        if let name { event.string(Event.name, name) }
        for annotation in annotations { event.message(Event.annotation, annotation) }
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

/// One message in the wire format of Protocol Buffers (protobuf.dev, "Encoding"): a row of tagged fields.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    /// A field of wire type 0.
    mutating func varint(_ field: Int, _ value: UInt64) {
        raw(UInt64(field) << 3)
        raw(value)
    }

    mutating func string(_ field: Int, _ text: String) {
        raw(UInt64(field) << 3 | 2)
        raw(UInt64(text.utf8.count))
        bytes += text.utf8
    }

    mutating func message(_ field: Int, _ message: ProtobufWriter) {
        raw(UInt64(field) << 3 | 2)
        raw(UInt64(message.bytes.count))
        bytes += message.bytes
    }

    /// Seven bits a byte, the least significant first; all but the last byte have their top bit set.
    private mutating func raw(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
