import Registers
import Simulation

/// The thread's side of a ``TraceWriter``: hashes events, decides which are kept, encodes and writes them.
final class TraceRecording {
    private(set) var totals = TraceWriter.Totals()
    /// nil for a hash alone, and after a failure.
    private var folder: TraceFolder?
    private var trigger: TraceTrigger
    private let identity: [UInt8]
    /// One for each possible initiator, allocated when it is first seen; `used` are those in the order of that.
    private let streams: UnsafeMutablePointer<UnsafeMutablePointer<Stream>?>
    private var used: [UnsafeMutablePointer<Stream>] = []
    private static let initiators = 2048
    /// The bytes that follow an event, in one piece.
    private var tail: [UInt8] = []

    private struct Stream {
        var encoder: StreamEncoder
        /// When the first event of its packet came, in ``WallClock``.
        var since: UInt64 = 0
    }

    init(_ folder: String?, _ metadata: TraceMetadata, _ selection: TraceSelection) throws(TraceError) {
        identity = metadata.identity
        trigger = TraceTrigger(selection)
        self.folder = nil
        streams = .allocate(capacity: Self.initiators)
        streams.initialize(repeating: nil, count: Self.initiators)
        if let folder { self.folder = try TraceFolder(folder, metadata) }
    }

    deinit {
        for stream in used {
            stream.pointee.encoder.deallocate()
            stream.deallocate()
        }
        streams.deallocate()
    }

    // MARK: Events

    /// Adds an event of one slot.
    func add(_ event: UnsafePointer<RawEvent>) {
        totals.events &+= 1
        addToHash(event)
        guard folder != nil else { return }
        if trigger.looksAtEvents {
            addIfKept(event, UnsafeRawBufferPointer(start: nil, count: 0))
        } else {
            encode(event, UnsafeRawBufferPointer(start: nil, count: 0))
        }
    }

    /// Adds an event of several slots.
    func add(_ slots: [UnsafePointer<RawEvent>]) {
        totals.events &+= 1
        for slot in slots { addToHash(slot) }
        guard folder != nil else { return }
        tail.removeAll(keepingCapacity: true)
        for slot in slots.dropFirst() { tail += UnsafeRawBufferPointer(start: slot, count: RawEvent.stride) }
        let count = slots[0].pointee.tailBytes
        tail.withUnsafeBytes { addIfKept(slots[0], UnsafeRawBufferPointer(rebasing: $0.prefix(count))) }
    }

    @inline(__always) private func addToHash(_ slot: UnsafePointer<RawEvent>) {
        var hash = FNV1a(totals.hash)
        hash.add(UnsafeRawBufferPointer(start: slot, count: RawEvent.stride))
        totals.hash = hash.value
    }

    private func addIfKept(_ event: UnsafePointer<RawEvent>, _ tail: UnsafeRawBufferPointer) {
        guard trigger.looksAtEvents, let seen = event.pointee.event(tail: tail) else { return encode(event, tail) }
        let decision = trigger.decide(seen)
        if decision.isStart { folder?.keep() }
        if decision.isKept { encode(event, tail) }
        if decision.isEnd {
            // The packets are the last of what is kept: later ones are history again.
            for stream in used where !stream.pointee.encoder.isEmpty { write(stream, isHistory: false) }
            attempt { (folder) throws(TraceError) in try folder.closePiece() }
        }
    }

    private func encode(_ event: UnsafePointer<RawEvent>, _ tail: UnsafeRawBufferPointer) {
        let initiator = Int(event.pointee.initiator.rawValue) & (Self.initiators - 1)
        let stream = streams[initiator] ?? open(initiator)
        if stream.pointee.encoder.isFull(for: event.pointee.time) { write(stream, isHistory: trigger.isHistory) }
        if stream.pointee.encoder.isEmpty { stream.pointee.since = WallClock.now }
        stream.pointee.encoder.add(event, tail: tail)
    }

    private func open(_ initiator: Int) -> UnsafeMutablePointer<Stream> {
        let stream = UnsafeMutablePointer<Stream>.allocate(capacity: 1)
        let encoder = StreamEncoder(Initiator(rawValue: UInt16(initiator)), identity: identity)
        stream.initialize(to: Stream(encoder: encoder))
        streams[initiator] = stream
        used.append(stream)
        return stream
    }

    // MARK: Packets

    /// Writes the packets whose first event came at this time of ``WallClock`` or before.
    func flush(olderThan time: UInt64) {
        for stream in used where !stream.pointee.encoder.isEmpty && stream.pointee.since <= time {
            write(stream, isHistory: trigger.isHistory)
        }
    }

    /// Writes all that there is, what the trace came to, and the files' ends.
    func finish() {
        flush(olderThan: .max)
        if trigger.isHistory { attempt { (folder) throws(TraceError) in try folder.dropHistory() } }
        let device = Int(Initiator.device.rawValue)
        let last = streams[device] ?? open(device)
        last.pointee.encoder.addEnd(
            at: used.map(\.pointee.encoder.end).max() ?? 0, events: totals.events, hash: totals.hash)
        write(last, isHistory: false)
        attempt { (folder) throws(TraceError) in try folder.closePiece() }
        folder = nil
    }

    private func write(_ stream: UnsafeMutablePointer<Stream>, isHistory: Bool) {
        let budget = trigger.budget(ofHistory: isHistory)
        attempt { (folder) throws(TraceError) in try folder.write(&stream.pointee.encoder, budget: budget, isHistory: isHistory) }
    }

    /// Does something with the folder; the first failure ends the trace.
    private func attempt(_ body: (TraceFolder) throws(TraceError) -> Void) {
        guard let folder else { return }
        do throws(TraceError) {
            try body(folder)
        } catch {
            totals.failure = error
            self.folder = nil
        }
    }
}
