import FirmwareInfo
import OffloadDevice
import Simulation

/// Goes to any place of a recording, forwards and backwards: docs/stepping.md.
///
/// It has a device of its own, which it carries through the recording, and which is to be looked at only. To go back it starts again from
/// the last checkpoint before; it makes checkpoints on its way.
public final class Timeline {
    /// The recorded run. A live one grows: ``follow(_:)``.
    public private(set) var recording: Recording
    private let replayer: Replayer
    private var checkpoints: Checkpoints
    /// The work at the last checkpoint that was passed or made.
    private var lastWork: UInt64 = 0
    /// The instructions that led here, by hart, as far as they have been looked up.
    var trails: [InstructionTrail]

    /// Is asked again and again on a long way; false ends it there.
    public var mayGoOn: () -> Bool = { true }

    /// Checkpoints that are kept; their pages are shared where memory didn't change between them.
    static let capacity = 96, byteCapacity = 1 << 29
    /// Checkpoints are no closer than this amount of work, which takes a fraction of a millisecond.
    static let closest: UInt64 = 1 << 18
    /// A way is interrupted after so many cycles to ask whether to go on. Through new land there is a checkpoint after this amount of work,
    /// or after a part of all that has been done.
    private static let spacing: UInt64 = 1 << 24

    public init(_ recording: Recording) throws(TimelineError) {
        self.recording = recording
        replayer = try Self.replayer(recording)
        checkpoints = Checkpoints(capacity: Self.capacity, byteCapacity: Self.byteCapacity)
        trails = Array(repeating: InstructionTrail(), count: recording.machine.harts)
        makeCheckpoint()
    }

    private static func replayer(_ recording: Recording) throws(TimelineError) -> Replayer {
        do throws(RecordingError) {
            let replayer = try Replayer(recording)
            replayer.device.attachDebugger()
            return replayer
        } catch {
            throw .recording(error)
        }
    }

    // MARK: Where it is

    /// The device at the present position. To be looked at, not to be changed.
    public var device: Device { replayer.device }
    public var position: Position { device.position }
    public var start: Position { checkpoints.all[0].position }
    public var end: Position { recording.end }

    /// Where there are checkpoints now, in order.
    public var checkpointPlaces: [Position] { checkpoints.all.map(\.position) }

    /// What it takes to come to the present position from power-on: instructions, and a little for time in which none was executed.
    var work: UInt64 { device.harts.reduce(device.scheduler.now >> 6) { $0 &+ $1.retired } }

    /// The recording has gone on: what is new follows what is known.
    public func follow(_ recording: Recording) throws(TimelineError) {
        do throws(RecordingError) {
            try replayer.follow(recording)
            try checkpoints.follow(recording)
        } catch {
            throw .recording(error)
        }
        self.recording = recording
    }

    // MARK: Going

    /// Goes to a position, the recording's end at most.
    public func go(to target: Position) throws(TimelineError) {
        let target = min(max(target, start), end)
        if target < position { forgetTrails() }
        try approach(target)
        // So that going back from there takes little: ever closer ones, the closer the place.
        while position < target {
            let cycles = target.cycle &- min(target.cycle, position.cycle)
            guard cycles > Self.closest else { break }
            try run(to: target, until: latest &+ cycles / 2)
            if position < target { makeCheckpoint() }
        }
        try run(to: target)
    }

    /// Goes to a place as people name it; what is so many cycles away, is so from the present.
    public func go(to place: StepCommand.Place) throws(TimelineError) {
        let now = position.present
        switch place {
        case .start: try go(to: start)
        case .end: try go(to: end)
        case .cycle(let cycle): try go(toCycle: cycle)
        case .on(let cycles): try go(toCycle: cycles > .max - now ? .max : now + cycles)
        case .back(let cycles): try go(toCycle: now - min(now, cycles))
        }
    }

    /// Goes to where device time comes to a cycle: before any instruction that begins then or later.
    public func go(toCycle cycle: Cycle) throws(TimelineError) {
        let checkpoint = checkpoints.last(upToCycle: cycle)
        if latest > cycle || position < checkpoint.position {
            forgetTrails()
            try restore(checkpoint)
        }
        while position < end {
            let left = cycle &- min(cycle, latest), isLast = left <= Self.closest
            try run(to: end, until: isLast ? cycle : latest &+ left / 2)
            if isLast || device.debugStop?.reason != .cycle { return }
            makeCheckpoint()
        }
    }

    /// Goes on for so many cycles, the recording's end at most, and notes where the harts spend them.
    public func profile(for cycles: Cycle, interval: Cycle, by information: DebugInformation) throws(TimelineError) -> ExecutionProfile {
        device.startProfile(interval: interval, by: information)
        defer { device.stopProfile() }
        try go(to: .on(cycles))
        guard let profile = device.profile else { preconditionFailure("just begun") }
        return profile
    }

    /// No hart has executed an instruction that begins in this cycle or later.
    private var latest: Cycle { device.harts.reduce(device.scheduler.now) { max($0, $1.time) } }

    /// Restores the last checkpoint before the target, unless going on from here is nearer.
    private func approach(_ target: Position) throws(TimelineError) {
        guard let checkpoint = checkpoints.last(upTo: target) else { return }
        if position > target || position < checkpoint.position { try restore(checkpoint) }
    }

    /// Goes back, or forward, to a checkpoint.
    func restore(_ checkpoint: Checkpoint) throws(TimelineError) {
        do throws(SnapshotError) {
            try device.restore(checkpoint.snapshot)
        } catch {
            throw .snapshot(error)
        }
        replayer.bookmark = checkpoint.bookmark
        lastWork = checkpoint.work
    }

    /// The checkpoint from which to search what was before a position.
    func checkpoint(before position: Position) -> Checkpoint? { checkpoints.last(before: position) }

    /// Carries the device on to a position, or until something stops it: a cycle, breakpoints and watchpoints, who observes.
    /// - Parameter isContinued: a breakpoint where the hart is that was stopped has not been seen yet.
    /// - Throws: where the replay parts from the recording, or ``mayGoOn`` ends it.
    func run(
        to target: Position, until cycle: Cycle = .max, _ actions: [HartAction] = [], isContinued: Bool = false
    ) throws(TimelineError) {
        var isContinued = isContinued
        // An action that was begun isn't begun again.
        let isDivisible = actions.allSatisfy { $0 == .run }
        while true {
            let pause = isDivisible ? min(cycle, latest &+ Self.spacing) : cycle
            device.resume(actions, until: pause, passingBreakpoints: !isContinued)
            do throws(RecordingError) {
                try replayer.run(to: target)
            } catch {
                throw .recording(error)
            }
            if let divergence = replayer.divergence { throw .divergence(divergence) }
            guard pause < cycle, device.debugStop?.reason == .cycle else { return }
            guard mayGoOn() else { throw .interrupted }
            isContinued = true
        }
    }

    /// Carries the device on like that, with checkpoints on the way.
    func travel(to target: Position) throws(TimelineError) {
        var isContinued = false
        while position < target {
            try run(to: target, until: latest &+ Self.spacing, isContinued: isContinued)
            guard device.debugStop?.reason == .cycle else { return }
            isContinued = true
            if work &- lastWork >= max(Self.spacing, work / UInt64(Self.capacity)) { makeCheckpoint() }
        }
    }

    func makeCheckpoint() {
        lastWork = work
        checkpoints.insert(
            Checkpoint(position: position, latest: latest, work: lastWork, snapshot: device.capture(), bookmark: replayer.bookmark),
            focus: lastWork)
    }

    func forgetTrails() { for hart in trails.indices { trails[hart] = InstructionTrail() } }
}

/// A place can't be reached.
public enum TimelineError: Error, CustomStringConvertible {
    case recording(RecordingError)
    case snapshot(SnapshotError)
    /// By ``Timeline/mayGoOn``; the timeline is somewhere on the way.
    case interrupted
    /// Firmware or machine aren't those of the recording.
    case divergence(Divergence)

    public var description: String {
        switch self {
        case .recording(let error): "\(error)"
        case .snapshot(let error): "\(error)"
        case .interrupted: "interrupted"
        case .divergence(let divergence): "the replay parts from the recording at \(divergence)"
        }
    }
}
