import OffloadDevice

/// The harts of a recording, or of a machine that is being recorded, as the target of a debugger: it can go back.
///
/// The present of a machine is never changed by looking at its past. While the debugger is in the past the machine is held; what goes on
/// there does so on the timeline's own device, up to where the machine is, and from there the machine itself goes on.
public final class HistoryTarget: DeviceTarget {
    /// nil: a recording that has ended.
    private let present: MachineTarget?
    private let folder: String
    /// Made when it is needed first.
    private var stepper: Stepper?
    private let makeStepper: (Timeline) -> Stepper
    /// What is looked at is the timeline's device.
    private var isPast: Bool
    /// Why that is held.
    private var pastStop: DebugStop?
    private var onStop: @Sendable () -> Void = {}
    private var breakpoints: Set<UInt32> = []
    private var watchpoints: [Watchpoint] = []
    /// Why the last movement failed.
    private var failure: (any Error)?

    public private(set) var edge: HistoryEdge?
    public var mayGoOn: () -> Bool = { true }
    public let hartCount: Int
    public var hasHistory: Bool { true }

    /// A recording that has ended.
    /// - Parameter makeStepper: makes what carries out `monitor` commands.
    public init(_ timeline: Timeline, makeStepper: @escaping (Timeline) -> Stepper) {
        present = nil
        folder = timeline.recording.folder
        self.makeStepper = makeStepper
        stepper = makeStepper(timeline)
        hartCount = timeline.recording.machine.harts
        isPast = true
        timeline.mayGoOn = { [unowned self] in mayGoOn() }
    }

    /// A machine that has been recorded from power-on.
    /// - Parameter folder: where its recording is.
    public init(_ machine: Machine, recordedIn folder: String, makeStepper: @escaping (Timeline) -> Stepper) {
        present = MachineTarget(machine)
        self.folder = folder
        self.makeStepper = makeStepper
        hartCount = machine.description.harts
        isPast = false
    }

    public func attach(onStop: @escaping @Sendable () -> Void) {
        self.onStop = onStop
        present?.attach(onStop: onStop)
        isPast = present == nil
        if let stepper, isPast { stopped(hart: stepper.hart, .request) }
    }

    public func detach() {
        present?.detach()
        (breakpoints, watchpoints, edge) = ([], [], nil)
        isPast = present == nil
    }

    // MARK: Looking and writing

    func look<Result>(_ body: (Device) -> Result) -> Result {
        if isPast, let stepper { return body(stepper.timeline.device) }
        guard let present else { preconditionFailure("a recording without a timeline") }
        return present.look(body)
    }

    public func writeRegister(_ register: HartRegister, hart: Int, _ value: UInt32) -> Bool {
        !isPast && present?.writeRegister(register, hart: hart, value) == true
    }

    public func writeMemory(_ address: UInt32, _ bytes: [UInt8]) -> String? {
        isPast ? "the past can't be changed" : present?.writeMemory(address, bytes)
    }

    // MARK: Going on

    public var stop: DebugStop? { isPast ? pastStop : present?.stop }
    public func hold() { if !isPast { present?.hold() } }

    public func resume(_ actions: [HartAction]) {
        edge = nil
        guard isPast, let timeline = stepper?.timeline else {
            present?.resume(actions)
            return
        }
        // What the harts did then can't be undone: one that is to be held goes on with the others.
        let hart = actions.firstIndex { $0 != .run && $0 != .hold } ?? 0
        moving { () throws(TimelineError) in
            // What it has stopped at, it passes; what it came to otherwise is still to be met.
            let hasMet = switch pastStop?.reason {
            case .breakpoint, .watchpoint: true
            default: false
            }
            let stop = try timeline.proceed(actions.map { $0 == .hold ? .run : $0 }, search, isContinued: !hasMet)
            return (stop?.hart ?? hart, stop?.reason ?? .request, stop == nil ? .end : nil)
        }
        if edge == .end, present != nil { isPast = false }
        onStop()
    }

    public func goBack(_ way: BackwardWay) {
        edge = nil
        moving { () throws(TimelineError) in
            let timeline = try enterPast().timeline
            switch way {
            case .step(let hart):
                return (hart, .step, try timeline.stepBack(hart: hart) ? nil : .begin)
            case .run:
                guard case .stop(let stop)? = try timeline.findPrevious(search, landing: .before)?.cause else {
                    return (0, .request, .begin)
                }
                // A hart of RISC-V stops before an access, and GDB goes on by one instruction to see what that has changed; on the way
                // back that is the instruction with the access.
                if case .watchpoint = stop.reason { try timeline.stepInto(hart: stop.hart) }
                return (stop.hart, stop.reason, nil)
            }
        }
        onStop()
    }

    /// Moves in the past and notes where that led.
    private func moving(_ body: () throws(TimelineError) -> (hart: Int, reason: DebugStop.Reason, edge: HistoryEdge?)) {
        do throws(TimelineError) {
            let (hart, reason, edge) = try body()
            self.edge = edge
            failure = nil
            stopped(hart: hart, reason)
        } catch {
            failure = error
            stopped(hart: 0, .request)
        }
    }

    private func stopped(hart: Int, _ reason: DebugStop.Reason) {
        guard let timeline = stepper?.timeline else { return }
        pastStop = DebugStop(hart: hart, reason: reason, position: timeline.position)
    }

    /// From the present, where the machine is held, goes to the end of what has been recorded.
    private func enterPast() throws(TimelineError) -> Stepper {
        if isPast, let stepper { return stepper }
        let stepper = try catchUp()
        isPast = true
        return stepper
    }

    /// The timeline follows the machine while that is held, so that going back begins at once.
    public func prepare() {
        // What fails now will fail again when it matters, and be told then.
        if !isPast, present?.stop != nil { _ = try? catchUp() }
    }

    /// Brings the timeline to where the machine is held.
    private func catchUp() throws(TimelineError) -> Stepper {
        // Nothing has happened since it was there last.
        if let stepper, let present, stepper.timeline.position == present.look({ $0.position }) { return stepper }
        if let failure = present?.machine.bringRecordingUpToDate() { throw .recording(failure) }
        let recording: Recording
        do throws(RecordingError) {
            recording = try Recording(folder: folder)
        } catch {
            throw .recording(error)
        }
        if self.stepper == nil {
            let timeline = try Timeline(recording)
            timeline.mayGoOn = { [unowned self] in mayGoOn() }
            self.stepper = makeStepper(timeline)
            if let present {
                self.stepper?.goOn = { [unowned self] (cycles) throws(StepError) in try goOn(present, cycles) }
            }
        }
        guard let stepper else { preconditionFailure("just made") }
        try stepper.timeline.follow(recording)
        try stepper.timeline.go(to: stepper.timeline.end)
        return stepper
    }

    private var search: TimelineSearch { TimelineSearch(breakpoints: breakpoints, watchpoints: watchpoints) }

    // MARK: Breakpoints and watchpoints

    public func insertBreakpoint(_ address: UInt32) {
        breakpoints.insert(address)
        present?.insertBreakpoint(address)
    }

    public func removeBreakpoint(_ address: UInt32) {
        breakpoints.remove(address)
        present?.removeBreakpoint(address)
    }

    public func insertWatchpoint(_ watchpoint: Watchpoint) {
        watchpoints.append(watchpoint)
        present?.insertWatchpoint(watchpoint)
    }

    public func removeWatchpoint(_ watchpoint: Watchpoint) {
        if let index = watchpoints.firstIndex(of: watchpoint) { watchpoints.remove(at: index) }
        present?.removeWatchpoint(watchpoint)
    }

    // MARK: The stepper

    public var stepping: (any StepperFront)? { Front(target: self) }

    /// The stepper, in the past when a command comes, however the last stop was.
    private struct Front: StepperFront {
        let target: HistoryTarget

        func perform(_ line: String) throws(StepError) -> [String]? {
            try target.stepped { (stepper) throws(StepError) in try stepper.perform(line) }
        }

        func screen(width: Int, height: Int, answer: [String]) -> [String] {
            do throws(StepError) {
                return try target.stepped { $0.screen(width: width, height: height, answer: answer) }
            } catch {
                return [error.description]
            }
        }
    }

    /// Does something with the stepper, which may go to another place.
    private func stepped<Result>(_ body: (Stepper) throws(StepError) -> Result) throws(StepError) -> Result {
        let stepper: Stepper
        do throws(TimelineError) {
            stepper = try enterPast()
        } catch {
            throw StepError("\(error)")
        }
        edge = nil
        defer {
            stopped(hart: stepper.hart, .request)
            if stepper.timeline.position == stepper.timeline.end, present != nil { isPast = false }
        }
        return try body(stepper)
    }

    /// Lets the machine go on for so many cycles, from the present, and goes there.
    private func goOn(_ present: MachineTarget, _ cycles: UInt64) throws(StepError) {
        present.resume(Array(repeating: .run, count: hartCount))
        present.machine.advance(by: cycles)
        present.hold()
        isPast = false
        do throws(TimelineError) {
            _ = try enterPast()
        } catch {
            throw StepError("\(error)")
        }
    }

    // MARK: Monitor commands

    /// The commands of any target, and those of the stepper, which go to other places.
    public func monitor(_ command: String) -> String {
        let common = MonitorCommands(target: self) { [self] in isPast ? "the past can't be changed\n" : present?.restart() ?? "" }
        if command.split(separator: " ").first ?? "help" == "help" {
            return MonitorHelp.common + "\nWhat goes to another place is followed by: maintenance flush register-cache\n\n"
                + StepCommand.helpText
        }
        if let text = common.run(command) { return text }
        do throws(StepError) {
            return try stepped { (stepper) throws(StepError) in try stepper.perform(command) ?? [] }.map { $0 + "\n" }.joined()
        } catch {
            return "\(error)\n"
        }
    }
}
