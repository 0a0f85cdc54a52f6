import Simulation
import Tracing

/// Finds where a run of another firmware, or another emulator, parts from a recording: the first event that differs.
///
/// A reference device and the other one go through the recording side by side, and all that they do is compared.
public struct DivergenceSearch {
    private let recording: Recording
    private let reference: EventSource
    private let other: EventSource

    /// - Parameter firmware: what the other device runs; nil: what was recorded.
    public init(recordingIn folder: String, firmware: [UInt8]?) throws(RecordingError) {
        recording = try Recording(folder: folder)
        reference = EventSource(try Replayer(recording))
        other = EventSource(try Replayer(Recording(folder: folder, firmware: firmware)))
    }

    /// What a search has found.
    public enum Outcome {
        /// The first difference; `first` is the reference's, `second` the other's.
        case divergence(TraceDivergence)
        /// Both did so many events, and nothing else.
        case same(events: UInt64)
        /// The reference doesn't do what was recorded: this emulator isn't the one that made the recording. What the difference is then
        /// can be told from a recorded trace alone.
        case strangeEmulator(Divergence, fromTrace: TraceDivergence?)
    }

    /// - Parameters:
    ///   - context: events to keep before and from the difference on.
    ///   - trace: what was recorded with the journal, if anything.
    public func run(context: Int, trace: String?) throws -> Outcome {
        let diff = TraceDiff(Self.decoder, Self.decoder, comparesProcesses: true)
        let (difference, common) = try diff.compare(reference.next, other.next, context: context)
        if let failure = reference.failure ?? other.failure { throw failure }
        if let strange = reference.replayer.divergence {
            return .strangeEmulator(strange, fromTrace: try trace.flatMap { try compare(with: $0, context: context) })
        }
        return difference.map { .divergence($0) } ?? .same(events: common)
    }

    /// Compares another run with a recorded trace.
    private func compare(with folder: String, context: Int) throws -> TraceDivergence? {
        var reader = try TraceReader(folder: folder)
        let decoder = TraceDecoder(reader.names, catalogue: .device, maps: DeviceBus.allCases.map(\.map))
        let again = EventSource(try Replayer(recording))
        return try TraceDiff(decoder, Self.decoder, comparesProcesses: true).compare(
            { () throws(TraceError) in try reader.next() }, again.next, context: context
        ).divergence
    }

    private static var decoder: TraceDecoder { TraceDecoder(.device, catalogue: .device, maps: DeviceBus.allCases.map(\.map)) }
}

/// The events of a replay, one after the other.
private final class EventSource {
    let replayer: Replayer
    private(set) var failure: RecordingError?
    private var events: [TraceEvent] = []
    private var place = 0

    init(_ replayer: Replayer) {
        self.replayer = replayer
        replayer.goesOnAfterDivergence = true
        replayer.device.recorder.listener = { [unowned self] in events.append($0) }
    }

    func next() throws(TraceError) -> TraceEvent? {
        while place == events.count {
            events.removeAll(keepingCapacity: true)
            place = 0
            do throws(RecordingError) {
                guard try replayer.step() else { return nil }
            } catch {
                failure = error
                return nil
            }
        }
        defer { place += 1 }
        return events[place]
    }
}
