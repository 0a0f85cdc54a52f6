import Interconnect
import RegisterMaps
import Registers
import Simulation

/// VIC, the controller of the virtual I/O components: what each one is, where it runs, what state it is in and who gets its doorbells.
/// Theory of operation, with the table of legal transitions, and programmer's guide: regmaps/vic/README.md.
public final class VirtualIOController: BusTarget, RegisterModel, DoorbellRouter, ArchivedModel {
    public static let entries = 65
    /// Events that wait at most.
    static let eventCapacity = 64

    /// All that changes, beside the register values, which hold the components.
    public struct State: Sendable {
        /// Values of EVENT, oldest first.
        var events: [UInt64] = []
        var lost: UInt16 = 0
        /// When each component stopped running.
        var stopped = [Cycle](repeating: 0, count: entries)
        /// The next head that CONTEXT_HEAD gives.
        var headCursor = 0
        var transfer = Transfer()
        /// The keys that the agent has handed over, by entry.
        var keys = [UInt64](repeating: 0, count: entries)
    }

    public let registers: RegisterBlock
    /// The block's interrupt.
    public let interrupt = Wire("vic")
    /// VIC_HOST, the host agent's side.
    public let host: HostSide
    public internal(set) var state = State()
    let scheduler: Scheduler
    /// What the device runs, by entry.
    private(set) var components: [Component?] = .init(repeating: nil, count: entries)
    /// Takes the messages for the host agent: the physical function.
    public weak var messages: (any InterruptMessageSink)?
    /// Compares what the agent has handed over, and hears of what it was refused.
    public weak var keys: (any KeyGuard)?
    public weak var violations: (any IsolationObserver)?
    /// The ways of a transfer.
    var paths: TransferPaths?
    var (toHostPort, fromHostPort) = (SubmitterPort(rawValue: 0), SubmitterPort(rawValue: 0))

    struct Component {
        var device: any VirtualComponent
        var identity: UInt64
    }

    /// - Parameters:
    ///   - number: the number of the first register, for traces.
    ///   - hostNumber: the same for the host agent's side.
    public init(on scheduler: Scheduler, number: Int = 0, hostNumber: Int = 1) {
        self.scheduler = scheduler
        registers = RegisterBlock(VIC.map, number: number)
        host = HostSide(number: hostNumber)
        host.controller = self
        registers[VIC.COUNT] = UInt64(Self.entries)
        state.events.reserveCapacity(Self.eventCapacity)
    }

    /// Adds the component that the device has for an entry. It runs on the device now, and after every reset.
    /// - Parameters:
    ///   - entry: the index of its PCI function, 0...64, which is also its owner's number.
    ///   - kind: its virtio device type.
    ///   - queues: its virtqueues.
    public func connect(_ component: any VirtualComponent, entry: Int, kind: UInt8, queues: Int) {
        precondition((0..<Self.entries).contains(entry), "expected a component's entry of 0...64, found \(entry)")
        let identity = VIC.COMPONENT_IDENTITY
        components[entry] = Component(
            device: component,
            identity: identity.kind.inserting(UInt64(kind), in: 0) | identity.owner.inserting(UInt64(entry), in: 0)
                | identity.queues.inserting(UInt64(queues), in: 0))
        install(entry)
    }

    private func install(_ entry: Int) {
        guard let component = components[entry] else { return }
        registers[VIC.COMPONENT_IDENTITY, entry] = component.identity
        registers[VIC.COMPONENT_STATE, entry] = VIC.COMPONENT_STATE.present.mask | VIC.State.running.rawValue
        component.device.isServing = true
    }

    /// A reset of the device: every component that the device has runs on it again, and takes up what waited.
    public func reset(_ kind: ResetKind) {
        registers.reset(kind)
        registers[VIC.COUNT] = UInt64(Self.entries)
        host.registers.reset(kind)
        cancelTransfer()
        state = State()
        for entry in 0..<Self.entries { install(entry) }
        settle()
    }

    /// A reset of the physical function: the host agent is gone.
    public func resetHost() {
        detachAgent()
        host.registers.reset(.functionLevel)
        settle()
    }

    // MARK: The firmware's side

    public func access(_ access: inout BusAccess) -> BusStatus {
        let status = registers.access(&access, model: self)
        if access.isWrite { settle() }
        return status
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        for entry in 0..<Self.entries { showInFlight(entry) }
        return registers.peek(address, size: size)
    }

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        switch register {
        case VIC.COMPONENT_STATE, VIC.COMPONENT_IN_FLIGHT: showInFlight(element)
        default: showContext(register, element)
        }
    }

    private func requestsInFlight(_ entry: Int) -> Int { components[entry]?.device.requestsInFlight ?? 0 }

    private func showInFlight(_ entry: Int) {
        let count = requestsInFlight(entry)
        registers[VIC.COMPONENT_IN_FLIGHT, entry] = UInt64(min(count, 0xffff_ffff))
        registers[VIC.COMPONENT_STATE.drained, entry] = count == 0 ? 1 : 0
    }

    public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        switch register {
        case VIC.EVENT where !state.events.isEmpty:
            state.events.removeFirst()
            showEvents()
        case VIC.CONTEXT_HEAD: state.headCursor += 1
        default: break
        }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case VIC.INTR_TEST: registers[VIC.INTR_STATE] |= new
        case VIC.COMPONENT_TRANSITION:
            let wanted = VIC.COMPONENT_TRANSITION.state.value(in: new)
            let destination = place(VIC.COMPONENT_TRANSITION.location.value(in: new))
            let isRecall = VIC.COMPONENT_TRANSITION.recall.isSet(in: new)
            guard let next = VIC.State(rawValue: wanted), move(element, to: next, destination, recallingRequests: isRecall) else {
                return refuse(element, wanted)
            }
        case VIC.COMPONENT_TAKE: registers[VIC.COMPONENT_WAITING, element] &= ~new
        case VIC.COMPONENT_REQUEST: tellAgent(of: element)
        case VIC.TRANSFER_CONTROL: controlTransfer(new)
        default: changeContext(register, new)
        }
    }

    // MARK: Transitions

    func place(_ value: UInt64) -> VIC.Place { value == 0 ? .device : .host }

    func phase(of component: Int) -> VIC.State { VIC.State(rawValue: registers[VIC.COMPONENT_STATE.state, component]) ?? .absent }

    /// Where the component runs or, while it moves, came from.
    func location(of component: Int) -> VIC.Place { place(registers[VIC.COMPONENT_STATE.location, component]) }

    /// Makes a legal transition.
    /// - Returns: false, with nothing changed, if it isn't legal.
    private func move(
        _ component: Int, to next: VIC.State, _ destination: VIC.Place, recallingRequests isRecall: Bool
    ) -> Bool {
        let isDrained = requestsInFlight(component) == 0
        let origin = location(of: component)
        switch (phase(of: component), next) {
        case (.absent, .running):
            guard registers[VIC.COMPONENT_IDENTITY.kind, component] != 0 else { return false }
            enter(component, .running)
            run(component, at: destination)
        case (.running, .quiescing):
            enter(component, .quiescing)
            // The last one to go back posts the event itself.
            if isRecall, !isDrained { components[component]?.device.recallRequests() } else if isDrained { post(.drained, component) }
        case (.quiescing, .running), (.serialising, .running), (.inTransit, .running):
            enter(component, .running)
            run(component, at: origin)
        case (.restoring, .running):
            if destination != origin { countUp(VIC.COMPONENT_MOVES, component) }
            enter(component, .running)
            run(component, at: destination)
        case (.quiescing, .absent):
            guard isDrained else { return false }
            registers[VIC.COMPONENT_WAITING, component] = 0
            enter(component, .absent)
        case (.quiescing, .serialising):
            guard isDrained else { return false }
            enter(component, .serialising)
        case (.serialising, .inTransit), (.inTransit, .restoring):
            enter(component, next)
        default:
            return false
        }
        return true
    }

    private func enter(_ component: Int, _ next: VIC.State) {
        let before = phase(of: component)
        registers[VIC.COMPONENT_STATE.state, component] = next.rawValue
        registers[VIC.COMPONENT_STATE.present, component] = next == .absent ? 0 : 1
        registers[VIC.COMPONENT_STATE.held, component] = next == .running ? 0 : 1
        if next == .running {
            let generation = VIC.COMPONENT_GENERATION.count
            registers[generation, component] = (registers[generation, component] &+ 1) & 0xffff
            let blackout = before == .absent ? 0 : scheduler.now - state.stopped[component]
            registers[VIC.COMPONENT_BLACKOUT, component] = min(blackout, 0xffff_ffff)
        } else if before == .running {
            state.stopped[component] = scheduler.now
            components[component]?.device.isServing = false
        }
        post(.transition, component, detail: next.rawValue)
    }

    /// The component runs at `place` from now on: what waited in its queues is served there.
    private func run(_ component: Int, at place: VIC.Place) {
        registers[VIC.COMPONENT_STATE.location, component] = place.rawValue
        registers[VIC.COMPONENT_STATE.route, component] = place.rawValue
        switch place {
        case .device:
            registers[VIC.COMPONENT_WAITING, component] = 0
            components[component]?.device.isServing = true
        case .host:
            let waiting = registers[VIC.COMPONENT_WAITING, component]
            for queue in 0..<32 where waiting >> UInt64(queue) & 1 != 0 { post(.doorbellHost, component, detail: UInt64(queue)) }
        }
        tellAgent(of: component)
    }

    /// What a reset of the function does to a component that doesn't run on the device.
    private func takeHome(_ component: Int) {
        if location(of: component) == .host { countUp(VIC.COMPONENT_MOVES, component) }
        enter(component, .running)
        post(.reset, component)
        run(component, at: .device)
        settle()
    }

    private func refuse(_ component: Int, _ wanted: UInt64) {
        registers.raise(VIC.INTR_STATE.refused)
        post(.refused, component, detail: wanted)
    }

    // MARK: The components' side

    public func doorbellRang(component: Int, queue: Int, at cycle: Cycle) -> Bool {
        guard (0..<Self.entries).contains(component), (0..<32).contains(queue) else { return false }
        countUp(VIC.COMPONENT_DOORBELLS, component)
        let isRunning = phase(of: component) == .running
        if isRunning && location(of: component) == .device { return true }
        let bit: UInt64 = 1 << UInt64(queue)
        if registers[VIC.COMPONENT_WAITING, component] & bit == 0 {
            registers[VIC.COMPONENT_WAITING, component] |= bit
            post(isRunning ? .doorbellHost : .doorbellHeld, component, detail: UInt64(queue))
            if isRunning { tellAgent(of: component) }
            settle()
        }
        return false
    }

    public func componentDrained(_ component: Int, at cycle: Cycle) {
        guard (0..<Self.entries).contains(component), phase(of: component) == .quiescing else { return }
        post(.drained, component)
        settle()
    }

    public func recall(component: Int) -> Bool {
        guard (0..<Self.entries).contains(component) else { return false }
        let phase = phase(of: component)
        guard phase != .absent, phase != .running || location(of: component) == .host else { return false }
        post(.recall, component)
        settle()
        return true
    }

    public func componentReset(_ component: Int) {
        guard (0..<Self.entries).contains(component) else { return }
        let phase = phase(of: component)
        guard phase != .absent, phase != .running || location(of: component) == .host else { return }
        takeHome(component)
    }

    // MARK: Events

    func post(_ kind: VIC.Event, _ component: Int, detail: UInt64 = 0) {
        guard state.events.count < Self.eventCapacity else {
            if state.lost < .max { state.lost += 1 }
            registers.raise(VIC.INTR_STATE.overflow)
            return showEvents()
        }
        state.events.append(VIC.EVENT.detail.inserting(detail, in: VIC.EVENT.entry.inserting(UInt64(component), in: kind.rawValue)))
        registers.raise(VIC.INTR_STATE.event)
        showEvents()
    }

    private func showEvents() {
        registers[VIC.EVENT] = state.events.first ?? 0
        registers[VIC.EVENT_LEVEL.count] = UInt64(state.events.count)
        registers[VIC.EVENT_LEVEL.lost] = UInt64(state.lost)
    }

    private func countUp(_ register: some RegisterArrayKey, _ component: Int) {
        registers[register, component] = (registers[register, component] &+ 1) & 0xffff_ffff
    }

    func settle() { interrupt.drive(registers.interrupt) }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        if !archive.isLoading { for entry in 0..<Self.entries { showInFlight(entry) } }
        try archive.section("vic", version: 3) { (archive, version) throws(SnapshotError) in
            try archive.require(version == 3, "expected version 3, found \(version)")
            try registers.archive(&archive)
            let fields = VIC.EVENT.kind.mask | VIC.EVENT.entry.mask | VIC.EVENT.detail.mask
            try archive.array(&state.events, limit: Self.eventCapacity, blank: 0) { (archive, event) throws(SnapshotError) in
                try archive.integer(&event)
                try archive.require(event & ~fields == 0, "expected an event, found 0x\(String(event, radix: 16))")
            }
            try archive.integer(&state.lost)
            try archive.elements(&state.stopped) { (archive, cycle) throws(SnapshotError) in
                try archive.cycle(&cycle)
            }
            try archive.integer(&state.headCursor, in: 0...1 << 16)
            try archive.state(&state.transfer)
            try archive.integers(&state.keys)
            try host.registers.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
