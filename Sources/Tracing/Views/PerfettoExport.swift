import Registers

/// Turns events into a Perfetto trace (perfetto.dev, "Synthetic track events").
///
/// - Each initiator is a track with a slice for each access, from its issue to when it came back, and an instant for each trap; each
///   block is a track with an instant for each access to it. They carry values, fields that changed, who it was, and the status.
/// - Each interrupt line is a track with a slice while it is high; each function's messages and transfers are tracks with instants.
/// - Each virtqueue is a track with a slice for each request, from taken to completed, and a counter of its depth.
/// - Faults and the firmware's log are tracks. With symbols, each hart has one of the functions that it was seen in.
public struct PerfettoExport {
    private var tracks: PerfettoTracks
    private let decoder: TraceDecoder
    /// By the initiator: when its open slice ends.
    private var openUntil: [Initiator: UInt64] = [:]
    /// By track: a line that is high.
    private var high: Set<UInt64> = []
    private var requests: [Queue: Requests] = [:]
    private var executing: [Int: Execution] = [:]
    private var last: UInt64 = 0

    private struct Queue: Hashable {
        let function: UInt8, queue: UInt16
    }

    /// What a queue's device has. Requests overlap, slices of a track must not: each request takes the first track that is free.
    private struct Requests {
        /// By head.
        var lanes: [UInt16: Int] = [:]
        var isBusy: [Bool] = []
    }

    /// A hart was seen in one function and not in another since.
    private struct Execution {
        let function: String
        let track: UInt64
    }

    /// - Parameters:
    ///   - decoder: with symbols of a firmware image there are tracks of what the harts executed.
    ///   - frequency: fabric cycles per second.
    public init(_ decoder: TraceDecoder, frequency: UInt64) {
        tracks = PerfettoTracks(frequency: frequency)
        self.decoder = decoder
    }

    /// Adds one event. Events come in the order of time.
    public mutating func add(_ event: TraceEvent) {
        last = max(last, event.time)
        sample(event)
        switch event {
        case .access(let event): add(event)
        case .interrupt(let event): add(event)
        case .dma(let event):
            tracks.instant(
                event.time, tracks.track("DMA", "dma\(event.function)"), event.isWrite ? "write" : "read", category: "dma",
                [("address", .hexadecimal(event.address)), ("bytes", .number(UInt64(event.bytes))), ("status", .text("\(event.status)"))])
        case .queue(let event): add(event)
        case .fault(let event):
            let origin: [(String, PerfettoTracks.Value)] = event.kind == .queue ? [("queue", .number(UInt64(event.origin)))] : []
            tracks.instant(
                event.time, tracks.track("faults", "\(event.initiator)"), "\(event.kind)", category: "fault",
                [("name", .text(event.name)), ("address", .hexadecimal(event.address))] + origin + originArgument(.fault(event)))
        case .log(let event):
            switch event.content {
            case .line(let text): tracks.instant(event.time, tracks.track("firmware", "console"), text, category: "log")
            case .record(let kind, let arguments):
                tracks.instant(
                    event.time, tracks.track("firmware", "records"), decoder.recordName(kind), category: "log",
                    decoder.members(ofRecord: kind, arguments).map { ($0.name, .text($0.value)) })
            }
        }
    }

    /// Ends the slices that are open: accesses when they came back, the others with the trace.
    public mutating func finish() {
        for initiator in openUntil.keys.sorted(by: { $0.rawValue < $1.rawValue }) { close(initiator, at: .max) }
        for track in high.sorted() { tracks.end(last, track) }
        high.removeAll()
        for queue in requests.keys.sorted(by: { ($0.function, $0.queue) < ($1.function, $1.queue) }) {
            for lane in (requests[queue]?.lanes.values ?? [:].values).sorted() { tracks.end(last, track(of: queue, lane: lane)) }
        }
        requests.removeAll()
        for hart in executing.keys.sorted() { executing[hart].map { tracks.end(last, $0.track) } }
        executing.removeAll()
    }

    /// Hands over what has been written since the last time.
    public mutating func takeOutput() -> [UInt8] { tracks.takeOutput() }

    // MARK: Accesses

    private mutating func add(_ event: AccessEvent) {
        close(event.initiator, at: event.time)
        let arguments = arguments(event)
        let verb = event.isWrite ? "write" : "read"
        let name = decoder.name(event)
        tracks.begin(event.time, tracks.track("initiators", "\(event.initiator)"), name, category: verb, arguments)
        openUntil[event.initiator] = event.time &+ event.wait
        guard case .register(let number, _, _) = event.target else { return }
        let block = decoder.known[Int(number)].block
        let register = name.dropFirst(block.utf8.count + 1)
        tracks.instant(event.time, tracks.track("blocks", String(block)), "\(verb) \(register)", category: verb, arguments)
    }

    /// Ends an initiator's slice. Slices of a track must not overlap in part: one that is still open when the next begins ends there,
    /// as happens when programs access one function at the same time.
    private mutating func close(_ initiator: Initiator, at time: UInt64) {
        guard let end = openUntil.removeValue(forKey: initiator) else { return }
        tracks.end(min(end, time), tracks.track("initiators", "\(initiator)"))
    }

    private func arguments(_ event: AccessEvent) -> [(String, PerfettoTracks.Value)] {
        var arguments: [(String, PerfettoTracks.Value)] = []
        if case .register(let number, _, _) = event.target {
            arguments.append(("old", .hexadecimal(event.old)))
            for (old, new) in decoder.known[Int(number)].description?.changes(from: event.old, to: event.new) ?? [] {
                arguments.append((old.name, .text("\(TraceFormatter.value(old)) -> \(TraceFormatter.value(new))")))
            }
        }
        arguments += [
            ("new", .hexadecimal(event.new)), ("status", .text("\(event.status)")), ("initiator", .text("\(event.initiator)")),
        ]
        return arguments + originArgument(.access(event))
    }

    private func originArgument(_ event: TraceEvent) -> [(String, PerfettoTracks.Value)] {
        if let pc = event.pc { return [("pc", .hexadecimal(UInt64(pc)))] }
        if let pid = event.pid { return [("pid", .number(UInt64(pid)))] }
        return []
    }

    // MARK: Interrupts

    private mutating func add(_ event: InterruptEvent) {
        switch event.step {
        case .line(let wire, let level):
            let name = decoder.wireName(wire)
            set(tracks.track("interrupts", name), name, level, at: event.time)
        case .message(let function, nil, let level): set(tracks.track("interrupts", "fn\(function).INTx"), "INTx", level, at: event.time)
        case .message(let function, let vector?, _):
            tracks.instant(event.time, tracks.track("interrupts", "fn\(function).messages"), "vector \(vector)", category: "interrupt")
        case .trap(let hart, let cause, let pc, let handler):
            tracks.instant(
                event.time, tracks.track("initiators", "hart\(hart)"), TrapCause.name(cause), category: "trap",
                [("pc", .hexadecimal(UInt64(pc))), ("handler", .hexadecimal(UInt64(handler)))])
        }
    }

    private mutating func set(_ track: UInt64, _ name: String, _ level: Bool, at time: UInt64) {
        if level {
            if high.insert(track).inserted { tracks.begin(time, track, name, category: "interrupt") }
        } else if high.remove(track) != nil {
            tracks.end(time, track)
        }
    }

    // MARK: Virtqueues

    private mutating func track(of queue: Queue, lane: Int) -> UInt64 {
        tracks.track("queues", "fn\(queue.function) queue \(queue.queue)", "requests", lane: lane)
    }

    private mutating func add(_ event: QueueEvent) {
        let queue = Queue(function: event.function, queue: event.queue), name = "fn\(event.function) queue \(event.queue)"
        tracks.count(event.time, tracks.track("queues", name, "depth", isCounter: true), UInt64(event.depth))
        switch event.step {
        case .doorbell, .notified: tracks.instant(event.time, tracks.track("queues", name), "\(event.step)", category: "queue")
        case .taken:
            // A head that is taken again: its request vanished with a reset.
            end(event.head, of: queue, at: event.time)
            var requests = requests[queue] ?? Requests()
            let lane = requests.isBusy.firstIndex(of: false) ?? requests.isBusy.count
            if lane == requests.isBusy.count { requests.isBusy.append(true) } else { requests.isBusy[lane] = true }
            requests.lanes[event.head] = lane
            self.requests[queue] = requests
            tracks.begin(
                event.time, track(of: queue, lane: lane), "request \(event.head)", category: "queue",
                [("head", .number(UInt64(event.head))), ("bytes", .number(UInt64(event.bytes)))])
        case .completed: end(event.head, of: queue, at: event.time)
        }
    }

    private mutating func end(_ head: UInt16, of queue: Queue, at time: UInt64) {
        guard let lane = requests[queue]?.lanes.removeValue(forKey: head) else { return }
        requests[queue]?.isBusy[lane] = false
        tracks.end(time, track(of: queue, lane: lane))
    }

    // MARK: Functions

    /// Whatever a hart did, it did it in a function: that lasts until the hart is seen in another.
    private mutating func sample(_ event: TraceEvent) {
        guard let symbols = decoder.symbols, event.initiator.kind == .hart, let pc = event.pc else { return }
        let hart = event.initiator.number
        let function = symbols.function(at: pc) ?? "0x\(hex(pc))"
        if let execution = executing[hart] {
            if execution.function == function { return }
            tracks.end(event.time, execution.track)
        }
        let track = tracks.track("firmware", "hart\(hart) functions")
        tracks.begin(event.time, track, function, category: "function")
        executing[hart] = Execution(function: function, track: track)
    }
}
