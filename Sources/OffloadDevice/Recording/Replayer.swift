import Interconnect
import PCIExpress
import Simulation
import Tracing

/// Where a replay has parted from its recording.
public struct Divergence: Error, Hashable, Sendable, CustomStringConvertible {
    /// Where it was noticed.
    public var position: Position
    /// What was expected, what was found.
    public var what: String

    public var description: String { "\(position): \(what)" }
}

/// Carries a device through a recording, without the host's programs.
///
/// Each outcome of an input, each read of outside memory that found something new, and each digest is compared with the recorded one.
public final class Replayer: ExternalChangeSource {
    public private(set) var recording: Recording
    /// The device. It takes no inputs but the recorded ones.
    public let device: Device
    /// The first difference that was noticed.
    public private(set) var divergence: Divergence?
    /// Whether a replay that has parted from its recording goes on: its inputs then come wherever the device is.
    public var goesOnAfterDivergence = false

    /// All that goes back with the device.
    fileprivate struct State {
        /// The input or digest that comes next, and where reading goes on after it.
        var next: JournalEntry?
        var entries: JournalCursor
        /// Where the next change is looked for.
        var changes: JournalCursor

        mutating func follow(_ recording: Recording) throws(RecordingError) {
            entries.follow(recording.entries())
            changes.follow(recording.entries())
            while next?.position == nil, let entry = try entries.next() { next = entry }
        }
    }

    private var state: State
    private var external: ExternalMemory!
    /// The trace has begun with the recording.
    private var tracesAll = false
    /// A journal that can't be read any more.
    private var failure: RecordingError?

    /// Makes a device at the beginning of a recording.
    public init(_ recording: Recording) throws(RecordingError) {
        self.recording = recording
        do throws(MachineError) {
            device = try Device(recording.machine, recordedDisks: recording.externalDisks)
        } catch {
            throw RecordingError("\(recording.folder): \(error)")
        }
        state = State(entries: recording.entries(), changes: recording.entries())
        external = ExternalMemory(replaying: self)
        external.add(.hostMemory, device.hostMemory.bytes, image: nil)
        try device.connect(external)
        if let origin = recording.origin {
            do throws(SnapshotError) {
                try device.restore(origin.of(recording.machine))
            } catch {
                throw RecordingError("\(recording.folder): \(error)")
            }
        }
        guard isAtBeginning else {
            throw RecordingError("\(recording.folder): expected an origin at \(recording.start.position), found one at \(device.position)")
        }
        try advance()
    }

    // MARK: Where it is

    /// The place of the next input; nil if none is left.
    public var nextInput: Position? {
        get throws(RecordingError) {
            var ahead = state
            while true {
                if case .input(_, let position)? = ahead.next { return position }
                guard ahead.next != nil else { return nil }
                ahead.next = try ahead.entries.next()
            }
        }
    }

    /// The hash over all events since ``startTrace(folder:records:)``, which goes on; nil without.
    public var traceHash: UInt64? { device.recorder.writer?.totals.hash }

    /// A place to go back to, together with a snapshot of the device.
    public struct Bookmark {
        fileprivate var state: State
        fileprivate var external: ExternalMemory.State
        fileprivate var divergence: Divergence?

        /// See ``Replayer/follow(_:)``.
        public mutating func follow(_ recording: Recording) throws(RecordingError) { try state.follow(recording) }
    }

    /// The present place. Setting it goes back to a place at which the device is, restored from a snapshot.
    public var bookmark: Bookmark {
        get { Bookmark(state: state, external: external.state, divergence: divergence) }
        set {
            state = newValue.state
            external.state = newValue.external
            // A trace goes forwards only.
            stopTrace()
            divergence = newValue.divergence
        }
    }

    /// The recording has grown since it was opened: goes on with what is new. Bookmarks have to follow too.
    public func follow(_ recording: Recording) throws(RecordingError) {
        self.recording = recording
        try state.follow(recording)
    }

    // MARK: Going on

    /// Carries the device on to a position, the recording's end at most, with all inputs before it.
    ///
    /// It stops earlier where a debugger holds the harts, and where the replay parts from the recording.
    public func run(to target: Position) throws(RecordingError) {
        let target = min(target, recording.end)
        guard device.position < target || state.next?.position == target else { return }
        while let entry = state.next, let position = entry.position {
            if case .input = entry { guard position < target else { break } } else { guard position <= target else { break } }
            guard arrive(at: position) else { return }
            try pass(entry)
            if divergence != nil, !goesOnAfterDivergence { return }
        }
        device.run(to: target)
        if let failure { throw failure }
    }

    /// Carries the device on to the end of the round in which it reaches `cycle`.
    public func run(untilCycle cycle: Cycle) throws(RecordingError) {
        while device.scheduler.now < cycle, device.position < recording.end {
            let next = state.next?.position
            if let next, next.cycle <= cycle {
                guard try step() else { return }
            } else if let next, next.round <= device.position.round &+ 1 {
                return try run(to: next)
            } else {
                device.runRound(until: min(cycle, recording.end.cycle))
            }
            if divergence != nil, !goesOnAfterDivergence { return }
        }
    }

    /// Carries the device on to the next input or digest, and past it.
    /// - Returns: false if there is none, or the replay has ended.
    func step() throws(RecordingError) -> Bool {
        guard let entry = state.next, let position = entry.position else {
            let before = device.position
            // A device that has parted from the recording may never come to its end.
            return before < recording.end && arrive(at: recording.end) && device.position != before
        }
        guard arrive(at: position) else { return false }
        try pass(entry)
        if let failure { throw failure }
        return divergence == nil || goesOnAfterDivergence
    }

    // MARK: Observing

    /// Records all events from here on. From the beginning on, the hash over them is compared with the recorded one.
    /// - Parameters:
    ///   - folder: see ``TraceWriter``; nil for the hash alone.
    ///   - records: the names of the firmware's kinds of records, by number.
    public func startTrace(folder: String?, records: [String] = []) throws(TraceError) {
        var names = TraceNames.device
        names.records = records
        let writer = try TraceWriter(folder: folder, names: names, frequency: recording.machine.clockHertz)
        stopTrace()
        device.recorder.writer = writer
        tracesAll = isAtBeginning
    }

    /// Ends the trace.
    /// - Returns: what it came to; nil if there was none.
    @discardableResult
    public func stopTrace() -> TraceWriter.Totals? {
        defer { (device.recorder.writer, tracesAll) = (nil, false) }
        return device.recorder.writer?.finish()
    }

    private var isAtBeginning: Bool {
        let (start, position) = (recording.start.position, device.position)
        return (start.round, start.cycle, start.inputs) == (position.round, position.cycle, position.inputs)
    }

    /// Applies the input at this position, if there is one.
    /// - Returns: false if none is due here.
    @discardableResult
    public func apply() throws(RecordingError) -> Bool {
        while let entry = state.next, entry.position == device.position {
            try pass(entry)
            if case .input = entry { return true }
        }
        return false
    }

    /// Carries the device on to a position. False if it doesn't get there.
    private func arrive(at position: Position) -> Bool {
        device.run(to: position)
        if device.debugStop != nil { return false }
        if device.position == position { return true }
        diverge("expected the device to come to \(position), found it at \(device.position)")
        return goesOnAfterDivergence
    }

    private func pass(_ entry: JournalEntry) throws(RecordingError) {
        switch entry {
        case .input(let input, _): try apply(input)
        case .digest(let digest), .end(let digest): compare(digest)
        case .outcome, .change: break
        }
        try advance()
    }

    private func apply(_ input: HostInput) throws(RecordingError) {
        let position = device.position
        let outcome = RecordedOutcome(device.apply(input), of: input, at: position.cycle)
        // What the input made the device read stands before its outcome.
        while let entry = try state.entries.next() {
            guard case .outcome(let recorded) = entry else { continue }
            if recorded != outcome { diverge("\(input): expected \(recorded), found \(outcome)", at: position) }
            return
        }
    }

    private func compare(_ digest: RecordedDigest) {
        let found = device.recordedDigest
        if found.operations != digest.operations {
            diverge("expected \(digest.operations) reads of host memory and disk operations, found \(found.operations)")
        } else if found.state != digest.state {
            diverge("expected harts and device time with hash 0x\(hex(digest.state)), found 0x\(hex(found.state))")
        } else if let trace = digest.trace, tracesAll, let hash = traceHash, hash != trace {
            diverge("expected a trace with hash 0x\(hex(trace)), found one with hash 0x\(hex(hash))")
        }
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }

    /// Finds the next entry with a position.
    private func advance() throws(RecordingError) {
        repeat { state.next = try state.entries.next() } while state.next != nil && state.next?.position == nil
    }

    private func diverge(_ what: String, at position: Position? = nil) {
        if divergence == nil { divergence = Divergence(position: position ?? device.position, what: what) }
    }

    // MARK: Memory of others

    public func nextChange() -> ExternalChange? {
        do throws(RecordingError) {
            while let entry = try state.changes.next() {
                if case .change(let change) = entry { return change }
            }
        } catch {
            failure = error
        }
        return nil
    }

    public func missed(_ change: ExternalChange, operation: UInt64, region: ExternalMemory.Region, offset: UInt64, count: Int) {
        let recorded = "operation \(change.operation), which finds \(change.bytes.count) new bytes at \(change.region) + \(change.offset)"
        diverge("expected \(recorded), found operation \(operation) with \(count) bytes at \(region) + \(offset)")
    }
}

extension JournalEntry {
    /// Where it happened; nil if it belongs to another entry, or to a read.
    fileprivate var position: Position? {
        switch self {
        case .input(_, let position): position
        case .digest(let digest), .end(let digest): digest.position
        case .outcome, .change: nil
        }
    }
}
