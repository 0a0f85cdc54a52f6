import OffloadDevice
import Tracing

/// What a timeline is searched for.
public struct TimelineSearch {
    /// Events.
    public var event: ((TraceEvent) -> Bool)?
    /// Instructions, by their addresses, of whatever hart.
    public var breakpoints: Set<UInt32> = []
    /// Accesses of the harts.
    public var watchpoints: [Watchpoint] = []

    public init(event: ((TraceEvent) -> Bool)? = nil, breakpoints: Set<UInt32> = [], watchpoints: [Watchpoint] = []) {
        self.event = event
        self.breakpoints = breakpoints
        self.watchpoints = watchpoints
    }
}

/// What a search has found.
public struct TimelineFinding {
    public enum Cause {
        case event(TraceEvent)
        case stop(DebugStop)
    }

    public var cause: Cause
    /// A position from which the device comes to it at once.
    public var before: Position
}

extension Timeline {
    /// Goes on to what is searched for: behind an event or an access, before an instruction.
    /// - Returns: nil if there is no more of it; the timeline is at its end then.
    public func findNext(_ search: TimelineSearch) throws(TimelineError) -> TimelineFinding? {
        try observing(search) { (first) throws(TimelineError) in
            try travel(to: end)
            return first()
        }
    }

    /// Where a search backwards comes to a halt.
    public enum Landing: Sendable {
        /// Where a search forwards would: behind an event or an access.
        case behind
        /// Before the instruction, so that it is undone.
        case before
    }

    /// Goes back to the last before the present position of what is searched for.
    /// - Parameter includesPresent: what has led just here counts too.
    /// - Returns: nil if there is none; the timeline is at its start then.
    public func findPrevious(
        _ search: TimelineSearch, landing: Landing = .behind, includesPresent: Bool = false
    ) throws(TimelineError) -> TimelineFinding? {
        let origin = position
        var upper = origin
        forgetTrails()
        while let checkpoint = checkpoint(before: upper) {
            try restore(checkpoint)
            // Where the last one is made need not be where it lands before the origin: then it is one of those before.
            for before in try places(search, upTo: upper).reversed() where before < origin {
                try restore(checkpoint)
                try run(to: before)
                let found = landing == .behind
                    ? try last(search, upTo: origin, includesPresent) : try next(search, before: origin).map { ($0, before) }
                guard let (finding, place) = found else { continue }
                try go(to: place)
                return finding
            }
            upper = checkpoint.position
        }
        try go(to: start)
        return nil
    }

    // MARK: Events around

    /// The last events before a position for which something holds, at most so many, oldest first. The timeline is at the position
    /// afterwards.
    public func events(
        before target: Position, count: Int, where isWanted: @escaping (TraceEvent) -> Bool = { _ in true }
    ) throws(TimelineError) -> [TraceEvent] {
        var events: [TraceEvent] = []
        var upper = target
        while events.count < count, let checkpoint = checkpoint(before: upper) {
            try restore(checkpoint)
            var found: [TraceEvent] = []
            device.onEvent = {
                guard isWanted($0) else { return }
                if found.count == 2 * count { found.removeFirst(count) }
                found.append($0)
            }
            defer { device.onEvent = nil }
            try run(to: upper)
            events = (found + events).suffix(count)
            upper = checkpoint.position
        }
        try go(to: target)
        return events
    }

    /// The events that come after a position, at most so many and for at most a millisecond's worth of cycles. The timeline is at the
    /// position afterwards.
    public func events(after place: Position, count: Int) throws(TimelineError) -> [TraceEvent] {
        try go(to: place)
        var events: [TraceEvent] = []
        device.onEvent = { [device] in
            if events.count < count { events.append($0) }
            if events.count == count { device.hold(.event) }
        }
        defer { device.onEvent = nil }
        try run(to: end, until: device.scheduler.now &+ 1_000_000)
        device.onEvent = nil
        try go(to: place)
        return events
    }

    /// Goes on to the first of what is searched for, also where the device is, but no further than a position.
    private func next(_ search: TimelineSearch, before limit: Position) throws(TimelineError) -> TimelineFinding? {
        try observing(search) { (first) throws(TimelineError) in
            try run(to: limit, isContinued: true)
            return first()
        }
    }

    /// Goes on to the last that lands before a position, or also at it.
    private func last(
        _ search: TimelineSearch, upTo limit: Position, _ includesLimit: Bool
    ) throws(TimelineError) -> (TimelineFinding, Position)? {
        try observing(search) { (first) throws(TimelineError) in
            var found: (TimelineFinding, Position)?
            var isContinued = true
            while true {
                try run(to: limit, isContinued: isContinued)
                guard let finding = first(), position < limit || includesLimit else { return found }
                found = (finding, position)
                if position == limit { return found }
                isContinued = false
            }
        }
    }

    /// Carries the device on to a position and notes from where it came to what is searched for, the last few times.
    private func places(_ search: TimelineSearch, upTo target: Position) throws(TimelineError) -> [Position] {
        var places: [Position] = []
        func note(_ place: Position) {
            guard places.last != place else { return }
            if places.count == 4 { places.removeFirst() }
            places.append(place)
        }
        var stops = search
        if let event = search.event {
            stops.event = { [device] in
                if event($0) { note(device.momentBefore) }
                return false
            }
        }
        try observing(stops) { (first) throws(TimelineError) in
            var isContinued = true
            while position < target {
                try run(to: target, isContinued: isContinued)
                guard case .stop(let stop)? = first()?.cause else { return }
                note(stop.position)
                isContinued = false
            }
        }
        return places
    }

    /// Lets the device stop at what is searched for.
    /// - Parameter body: is given what tells the first that was found since it was asked last.
    func observing<Result>(
        _ search: TimelineSearch, _ body: (_ first: () -> TimelineFinding?) throws(TimelineError) -> Result
    ) throws(TimelineError) -> Result {
        var found: TraceEvent?
        for address in search.breakpoints { device.insertBreakpoint(address) }
        for watchpoint in search.watchpoints { device.insertWatchpoint(watchpoint) }
        if let event = search.event {
            device.onEvent = { [device] in
                guard found == nil, event($0) else { return }
                found = $0
                device.hold(.event, hart: $0.initiator.kind == .hart ? $0.initiator.number : 0)
            }
        }
        defer {
            device.onEvent = nil
            for address in search.breakpoints { device.removeBreakpoint(address) }
            for watchpoint in search.watchpoints { device.removeWatchpoint(watchpoint) }
        }
        return try body {
            guard let stop = device.debugStop else { return nil }
            switch stop.reason {
            case .event:
                defer { found = nil }
                return found.map { TimelineFinding(cause: .event($0), before: stop.position) }
            case .breakpoint, .watchpoint: return TimelineFinding(cause: .stop(stop), before: stop.position)
            case .request, .step, .cycle: return nil
            }
        }
    }
}
