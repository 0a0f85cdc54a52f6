import AdminProtocol
import Hardware
import PolicyEngine

/// Moves virtual I/O components between device and host while they run, one at a time (docs/component-migration.md).
///
/// A state machine over the registers of VIC: ``poll(_:)`` looks at what the present phase waits for, and goes on as far as it can. So a
/// lost event costs time and nothing else, and a firmware that starts in the middle of a move finds its way by the registers alone.
public struct ComponentMover {
    /// What the move waits for.
    enum Phase: UInt8 {
        case idle
        /// To the host: the image of the running component moves, then the agent checks it.
        case sendingDraft, draftReply
        /// The last request in flight.
        case draining
        /// The image moves, then the agent takes it in.
        case sending, activationReply
        /// To the device: the agent stops and writes the image, then it moves.
        case stopReply, fetching
    }

    static let entries = 65
    /// How long a phase may take, in microseconds: what the agent does before the component stops, and all that it does after that.
    static let preparationMicroseconds: UInt64 = 1_000_000
    static let stoppedMicroseconds: UInt64 = 250_000

    let vic: VIC
    let memory: SharedMemory
    let partitions: Partitions
    let cyclesPerMicrosecond: UInt32
    var phase = Phase.idle
    /// The component on the move.
    var entry = 0
    var ticket: UInt32 = 0
    private var deadline: UInt64 = 0
    /// The transfer: bytes of the image, and how many had moved when it was last cut.
    private var imageBytes: UInt32 = 0
    private var moved: UInt32 = 0
    private var isCut = false
    /// Components that are to go back to the device as soon as nothing else moves.
    var homesick = OwnerSet()
    /// By component: how the last move ended, and why; bytes of the last image.
    let outcomes: Table<UInt8>
    let reasons: Table<UInt16>
    let images: Table<UInt16>
    public private(set) var begun: UInt32 = 0
    public private(set) var abandoned: UInt32 = 0
    /// The component of which the host is to be told.
    private(set) var news: Int?

    public init(_ vic: VIC, memory: SharedMemory, partitions: Partitions, cyclesPerMicrosecond: UInt32, in arena: inout Arena) {
        self.vic = vic
        self.memory = memory
        self.partitions = partitions
        self.cyclesPerMicrosecond = cyclesPerMicrosecond
        outcomes = arena.table(of: Self.entries, repeating: 0)
        reasons = arena.table(of: Self.entries, repeating: 0)
        images = arena.table(of: Self.entries, repeating: 0)
        vic.write(VIC.INTR_STATE(event: true, refused: true, overflow: true))
        vic.intrEnable = .init(event: true, refused: false, overflow: true)
        settle()
    }

    /// Puts right what a firmware before this one has left: a component that didn't run goes on where it came from, and one whose host is
    /// gone comes back.
    private mutating func settle() {
        vic.write(VIC.TRANSFER_CONTROL(cancel: true))
        for entry in 0..<Self.entries {
            let component = vic.component[entry]
            guard component.state.present else { continue }
            if component.state.state != .running { ask(entry, .running, component.state.location) }
            if component.request.what != .none { request(.none, entry) }
        }
        if !vic.agent.attached { takeAllHome() }
    }

    // MARK: Commands

    /// Begins a move.
    mutating func begin(_ entry: Int, to destination: ComponentPlace, stopAndCopy: Bool, at now: UInt64) -> Answer {
        guard phase == .idle else { return Answer(.busy, .tryAgain) }
        let component = vic.component[entry]
        guard component.state.present else { return Answer(.invalid, .member) }
        guard component.state.state == .running else { return Answer(.busy, .tryAgain) }
        guard (component.state.location == .host) != (destination == .host) else { return Answer(.ok) }
        self.entry = entry
        vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry))
        switch destination {
        case .host:
            guard vic.agent.attached else { return Answer(.again, .tryAgain) }
            let context = vic.contextDevice
            guard context.portable else { return Answer(.invalid, .member) }
            guard context.live, !context.recalled else { return Answer(.again, .tryAgain) }
            start(at: now)
            if stopAndCopy { fence(recall: false) } else { send(draft: true) }
        case .device:
            guard regrant() else {
                outcomes[entry] = ComponentStatus.Outcome.noResource.rawValue
                return Answer(.noSpace, .noResource)
            }
            start(at: now)
            fetch()
        }
        poll(now)
        return Answer(.ok)
    }

    /// Whether a move of the component to the host could begin now.
    func canLeave(_ entry: Int) -> Bool {
        guard phase == .idle, vic.agent.attached, vic.component[entry].state.state == .running else { return false }
        vic.contextSelect = .init(entry: UInt32(truncatingIfNeeded: entry))
        let context = vic.contextDevice
        return context.portable && context.live && !context.recalled
    }

    private mutating func start(at now: UInt64) {
        begun &+= 1
        outcomes[entry] = ComponentStatus.Outcome.moving.rawValue
        reasons[entry] = 0
        deadline = now &+ Self.preparationMicroseconds &* UInt64(cyclesPerMicrosecond)
    }

    // MARK: Events

    /// Takes what VIC has queued, and goes on with the move.
    mutating func service(at now: UInt64) {
        let causes = vic.intrState
        vic.write(causes)
        while true {
            let event = vic.event
            let place = Int(event.entry)
            switch event.kind {
            case .none:
                poll(now)
                return
            case .recall: recalled(place)
            case .reset where phase != .idle && entry == place: finish(.driver)
            case .agent where event.detail == 0: agentLeft()
            case .reply where vic.component[place].reply.verdict == .release: homesick.insert(place)
            default: break
            }
        }
    }

    /// Every ten milliseconds: goes on after a cut, gives up what takes too long, and finds what a lost event would have told.
    mutating func tick(at now: UInt64) {
        if phase != .idle, !vic.agent.attached { agentLeft() }
        if isCut, phase == .sendingDraft || phase == .sending || phase == .fetching {
            isCut = false
            transfer()
        }
        poll(now)
        if phase != .idle, now &- deadline < UInt64.max / 2 { abandon(.timeout) }
    }

    /// The driver waits for what only the device can do.
    private mutating func recalled(_ place: Int) {
        if phase != .idle, entry == place, vic.component[place].state.location == .device { return abandon(.driver) }
        homesick.insert(place)
    }

    /// Goes on as far as possible.
    mutating func poll(_ now: UInt64) {
        while proceed(now) {}
        guard phase == .idle, let next = homesick.popFirst() else { return }
        let state = vic.component[next].state
        guard state.present, state.location == .host else { return }
        // Without its grant rather than not at all: its driver waits.
        if begin(next, to: .device, stopAndCopy: false, at: now).status != .ok { takeHome(next) }
    }

    /// One step of the move.
    /// - Returns: whether there may be another.
    private mutating func proceed(_ now: UInt64) -> Bool {
        switch phase {
        case .idle: return false
        case .sendingDraft, .sending, .fetching: return transferEnded(now)
        case .draining:
            guard vic.component[entry].state.drained else { return false }
            ask(entry, .serialising)
            send(draft: false)
            return true
        case .draftReply, .activationReply, .stopReply:
            let reply = vic.component[entry].reply
            guard reply.ticket == ticket else { return false }
            guard reply.verdict == .done else {
                reasons[entry] = UInt16(truncatingIfNeeded: reply.bytes)
                abandon(.refused)
                return false
            }
            replied(bytes: reply.bytes, now)
            return true
        }
    }

    private mutating func replied(bytes: UInt32, _ now: UInt64) {
        switch phase {
        case .draftReply:
            deadline = now &+ Self.stoppedMicroseconds &* UInt64(cyclesPerMicrosecond)
            fence(recall: true)
        case .activationReply:
            // From here on the host owns the component.
            ask(entry, .running, .host)
            release()
            finish(.done)
        default:
            guard bytes >= UInt32(ComponentImage.headerBytes), bytes <= Self.imageLimit(memory) else { return abandon(.refused) }
            deadline = now &+ Self.stoppedMicroseconds &* UInt64(cyclesPerMicrosecond)
            ask(entry, .serialising)
            ask(entry, .inTransit)
            (imageBytes, moved, phase) = (bytes, 0, .fetching)
            transfer()
        }
    }

    // MARK: Steps

    /// Nobody takes requests of the component from here on.
    private mutating func fence(recall: Bool) {
        let recall = recall && vic.contextDevice.recallable
        vic.component[entry].write(VIC.COMPONENT.TRANSITION(state: .quiescing, location: .device, recall: recall))
        phase = .draining
    }

    /// Writes the component's image and sends it to the agent.
    private mutating func send(draft: Bool) {
        imageBytes = writeImage(of: entry)
        images[entry] = UInt16(truncatingIfNeeded: imageBytes)
        guard imageBytes != 0 else { return abandon(.refused) }
        if !draft { ask(entry, .inTransit) }
        (moved, phase) = (0, draft ? .sendingDraft : .sending)
        transfer()
    }

    private mutating func fetch() {
        ask(entry, .quiescing)
        phase = .stopReply
        request(.stop, entry)
    }

    /// Moves what has not moved yet.
    private func transfer() {
        vic.transferLocal = .init(address: (phase == .fetching ? stagingPlace : imagePlace(of: entry)) &+ moved)
        vic.transferOffset = .init(bytes: moved)
        vic.write(VIC.TRANSFER_CONTROL(bytes: imageBytes &- moved, fromHost: phase == .fetching, start: true))
    }

    private mutating func transferEnded(_ now: UInt64) -> Bool {
        let status = vic.transferStatus
        guard !status.busy, !isCut else { return false }
        moved &+= status.moved
        guard !status.failed else {
            // The link has been cut: on with it at the next tick, from where it was.
            isCut = true
            return false
        }
        switch phase {
        case .sendingDraft:
            phase = .draftReply
            request(.prepare, entry, bytes: imageBytes)
        case .sending:
            ask(entry, .restoring)
            phase = .activationReply
            request(.activate, entry, bytes: imageBytes)
        default:
            images[entry] = UInt16(truncatingIfNeeded: imageBytes)
            ask(entry, .restoring)
            if let defect = takeIn(entry) {
                reasons[entry] = defect.rawValue
                abandon(.refused)
            } else {
                ask(entry, .running, .device)
                request(.none, entry)
                finish(.done)
            }
        }
        return true
    }

    /// Gives the move up: the component goes on where it came from.
    private mutating func abandon(_ outcome: ComponentStatus.Outcome) {
        vic.write(VIC.TRANSFER_CONTROL(cancel: true))
        let origin = vic.component[entry].state.location
        request(.none, entry)
        if vic.component[entry].state.state != .running { ask(entry, .running, origin) }
        if origin == .host { release() }
        finish(outcome)
    }

    private mutating func finish(_ outcome: ComponentStatus.Outcome) {
        outcomes[entry] = outcome.rawValue
        if outcome != .done { abandoned &+= 1 }
        (phase, isCut, news) = (.idle, false, entry)
    }

    /// The component of which the host is to be told since the last call.
    mutating func takeNews() -> Int? {
        defer { news = nil }
        return news
    }

    // MARK: The host agent is gone

    private mutating func agentLeft() {
        if phase != .idle {
            if vic.component[entry].state.location == .device { abandon(.agentLost) } else { finish(.agentLost) }
        }
        takeAllHome()
    }

    private mutating func takeAllHome() {
        for entry in 0..<Self.entries where vic.component[entry].state.location == .host { takeHome(entry) }
    }

    /// Brings a component back without the agent's help: the used rings say what it has done.
    private mutating func takeHome(_ entry: Int) {
        if vic.component[entry].state.state == .running { ask(entry, .quiescing) }
        ask(entry, .serialising)
        ask(entry, .inTransit)
        ask(entry, .restoring)
        _ = regrant(entry)
        recover(entry)
        ask(entry, .running, .device)
        request(.none, entry)
        news = entry
    }
}
