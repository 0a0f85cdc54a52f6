import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

/// A component that does what it is told.
private final class Component: VirtualComponent {
    var requestsInFlight = 0
    var isServing = false
    func serve(queue: Int, at cycle: Cycle) {}

    var context = ComponentContext()
    var queue = QueueContext()
    var interrupts: [Int] = []
    /// What ``recallRequests()`` ends with.
    var onRecall: () -> Void = {}
    func context(ofQueue number: Int) -> QueueContext? { number == 0 ? queue : nil }
    func usedIndex(ofQueue number: Int) -> UInt16? { number == 0 ? 77 : nil }
    func configurationWord(_ index: Int) -> UInt32 { UInt32(index) &* 3 }
    func recallRequests() { onRecall() }
    func load(queue number: Int, taken: UInt16, used: UInt16) { (queue.taken, queue.used, queue.heads) = (taken, used, []) }
    func addHead(_ head: UInt16, queue number: Int) { queue.heads.append(head) }
    func interruptDriver(queue number: Int) { interrupts.append(number) }
}

/// The controller with a block component in entry 3.
private struct Bench {
    let scheduler = Scheduler()
    let controller: VirtualIOController
    let component = Component()
    let probe: RegisterProbe

    init() {
        controller = VirtualIOController(on: scheduler)
        probe = RegisterProbe(target: controller, map: VIC.map, scheduler: scheduler)
        controller.connect(component, entry: 3, kind: 2, queues: 4)
    }

    func ask(_ state: VIC.State, _ location: VIC.Place = .device) {
        probe.write(VIC.COMPONENT_TRANSITION, 3, state.rawValue | location.rawValue << 4)
    }

    func state(_ component: Int = 3) -> VIC.State? { VIC.State(rawValue: probe.read(VIC.COMPONENT_STATE, component) & 0xf) }
    func location(_ component: Int = 3) -> VIC.Place? { VIC.Place(rawValue: probe.read(VIC.COMPONENT_STATE, component) >> 4 & 1) }

    /// Takes all events out of the queue.
    func events() -> [String] {
        var events: [String] = []
        while true {
            let value = probe.read(VIC.EVENT)
            guard let kind = VIC.Event(rawValue: value & 0xff), kind != .none else { return events }
            events.append("\(kind) \(value >> 8 & 0xff) \(value >> 16)")
        }
    }

    /// A request is taken, or answered.
    func request(arrives: Bool) {
        component.requestsInFlight += arrives ? 1 : -1
        if component.requestsInFlight == 0 { controller.componentDrained(3, at: scheduler.now) }
    }

    /// Brings component 3 into a state, from running, with nothing in flight.
    func reach(_ state: VIC.State) {
        switch state {
        case .running: break
        case .absent: for next in [VIC.State.quiescing, .absent] { ask(next) }
        default: for next in [VIC.State.quiescing, .serialising, .inTransit, .restoring].prefix(Int(state.rawValue) - 1) { ask(next) }
        }
        _ = events()
    }
}

@Suite struct ComponentTransitions {
    private static let legal: [VIC.State: [VIC.State]] = [
        .absent: [.running], .running: [.quiescing], .quiescing: [.running, .absent, .serialising], .serialising: [.running, .inTransit],
        .inTransit: [.running, .restoring], .restoring: [.running],
    ]

    /// All 6 x 16 pairs of a state and what a register can ask for: legal ones happen, others change nothing and are reported.
    @Test(arguments: VIC.State.allCases) func exactlyTheLegalTransitionsHappen(from: VIC.State) {
        for wanted in 0..<16 as Range<UInt64> {
            let bench = Bench()
            bench.reach(from)
            #expect(bench.state() == from)
            bench.probe.write(VIC.INTR_STATE, 7)
            bench.probe.write(VIC.COMPONENT_TRANSITION, 3, wanted)
            if let next = VIC.State(rawValue: wanted), Self.legal[from]!.contains(next) {
                #expect(bench.state() == next, "\(from) to \(next)")
                #expect(bench.probe.read(VIC.INTR_STATE) == 1)
                #expect(bench.events().first == "transition 3 \(wanted)")
            } else {
                #expect(bench.state() == from, "\(from) to \(wanted)")
                #expect(bench.probe.read(VIC.INTR_STATE) == 3)
                #expect(bench.events() == ["refused 3 \(wanted)"])
            }
        }
    }

    @Test func requestsInFlightHoldAMoveUp() {
        let bench = Bench()
        bench.request(arrives: true)
        bench.request(arrives: true)
        bench.ask(.quiescing)
        _ = bench.events()
        bench.ask(.serialising)
        bench.ask(.absent)
        #expect(bench.state() == .quiescing)
        #expect(bench.events() == ["refused 3 3", "refused 3 0"])
        bench.request(arrives: false)
        #expect(bench.events() == [] && bench.probe.read(VIC.COMPONENT_IN_FLIGHT, 3) == 1)
        #expect(!VIC.COMPONENT_STATE.drained.isSet(in: bench.probe.read(VIC.COMPONENT_STATE, 3)))
        bench.request(arrives: false)
        #expect(bench.events() == ["drained 3 0"])
        bench.ask(.serialising)
        #expect(bench.state() == .serialising)
    }

    @Test func anIdleComponentIsDrainedAtOnce() {
        let bench = Bench()
        bench.ask(.quiescing)
        #expect(bench.events() == ["transition 3 2", "drained 3 0"])
    }

    @Test func aMoveEndsAtTheNewPlaceOrIsGivenUpAtTheOld() {
        for (destination, moves) in [(VIC.Place.host, 1), (.device, 0)] as [(VIC.Place, UInt64)] {
            let bench = Bench()
            bench.reach(.restoring)
            #expect(bench.location() == .device, "where it came from")
            bench.ask(.running, destination)
            #expect(bench.location() == destination && bench.probe.read(VIC.COMPONENT_MOVES, 3) == moves)
        }
        for state in [VIC.State.quiescing, .serialising, .inTransit] {
            let bench = Bench()
            bench.reach(state)
            bench.ask(.running, .host)
            #expect(bench.state() == .running && bench.location() == .device, "giving up from \(state) can't change the place")
        }
    }

    @Test func identityIsFixedWhileTheComponentExists() {
        let bench = Bench()
        bench.probe.write(VIC.COMPONENT_IDENTITY, 3, 1 | 9 << 8)
        #expect(bench.probe.read(VIC.COMPONENT_IDENTITY, 3) == 2 | 3 << 8 | 4 << 16)
        bench.ask(.quiescing)
        bench.ask(.absent)
        bench.probe.write(VIC.COMPONENT_IDENTITY, 3, 0)
        bench.ask(.running)
        #expect(bench.state() == .absent, "no type, no component")
    }
}

@Suite struct Doorbells {
    @Test func theyGoWhereTheComponentRuns() {
        let bench = Bench()
        #expect(bench.controller.doorbellRang(component: 3, queue: 0, at: 1))
        #expect(bench.probe.read(VIC.COMPONENT_WAITING, 3) == 0)

        bench.ask(.quiescing)
        _ = bench.events()
        for queue in [0, 5, 5] { #expect(!bench.controller.doorbellRang(component: 3, queue: queue, at: 2)) }
        #expect(bench.events() == ["doorbellHeld 3 0", "doorbellHeld 3 5"], "a bell that waits already isn't told twice")
        #expect(bench.probe.read(VIC.COMPONENT_WAITING, 3) == 1 | 1 << 5)
        for state in [VIC.State.serialising, .inTransit, .restoring] { bench.ask(state) }
        _ = bench.events()
        bench.ask(.running, .host)
        #expect(bench.events() == ["transition 3 1", "doorbellHost 3 0", "doorbellHost 3 5"])
        #expect(!bench.controller.doorbellRang(component: 3, queue: 7, at: 3))
        #expect(bench.events() == ["doorbellHost 3 7"])
        bench.probe.write(VIC.COMPONENT_TAKE, 3, 1 | 1 << 7)
        #expect(bench.probe.read(VIC.COMPONENT_WAITING, 3) == 1 << 5)

        for state in [VIC.State.quiescing, .serialising, .inTransit, .restoring] { bench.ask(state) }
        bench.ask(.running, .device)
        #expect(bench.probe.read(VIC.COMPONENT_WAITING, 3) == 0)
        #expect(bench.probe.read(VIC.COMPONENT_DOORBELLS, 3) == 5)
        #expect(bench.probe.read(VIC.COMPONENT_MOVES, 3) == 2)
    }

    @Test func theComponentServesExactlyWhileItRunsOnTheDevice() {
        let bench = Bench()
        #expect(bench.component.isServing && bench.state() == .running, "it runs on the device after reset")
        for state in [VIC.State.quiescing, .serialising, .inTransit, .restoring] {
            bench.ask(state)
            #expect(!bench.component.isServing, "\(state)")
        }
        bench.ask(.running, .host)
        #expect(!bench.component.isServing)
        for state in [VIC.State.quiescing, .serialising, .running] { bench.ask(state) }
        #expect(!bench.component.isServing, "given up: it runs on the host still")
        for state in [VIC.State.quiescing, .serialising, .inTransit, .restoring] { bench.ask(state) }
        bench.ask(.running, .device)
        #expect(bench.component.isServing)
        bench.ask(.quiescing)
        bench.ask(.absent)
        #expect(!bench.component.isServing && !bench.controller.doorbellRang(component: 3, queue: 0, at: 1))
    }

    @Test func nonsenseIsNotServed() {
        let bench = Bench()
        for (component, queue) in [(65, 0), (-1, 0), (3, 32), (3, -1), (4, 0)] {
            #expect(!bench.controller.doorbellRang(component: component, queue: queue, at: 1))
        }
        bench.controller.componentDrained(65, at: 1)
        bench.controller.componentDrained(4, at: 1)
        #expect(bench.events() == ["doorbellHeld 4 0"])
    }
}

@Suite struct ComponentEvents {
    @Test func aFullQueueLosesTheNewestAndSaysSo() {
        let bench = Bench()
        for _ in 0..<70 { bench.ask(.inTransit) }
        #expect(bench.probe.read(VIC.EVENT_LEVEL) == 64 | 6 << 16)
        #expect(bench.probe.read(VIC.INTR_STATE) == 7)
        #expect(bench.events().count == 64)
        #expect(bench.probe.read(VIC.EVENT_LEVEL) == 6 << 16)
    }

    @Test func peekingTakesNothing() {
        let bench = Bench()
        bench.ask(.quiescing)
        let address = bench.probe.address(VIC.EVENT)
        #expect(bench.controller.peek(address, size: 4) == bench.controller.peek(address, size: 4))
        #expect(bench.events() == ["transition 3 2", "drained 3 0"])
    }

    @Test func theInterruptFollowsItsEnable() {
        let bench = Bench()
        bench.ask(.quiescing)
        #expect(!bench.controller.interrupt.level)
        bench.probe.write(VIC.INTR_ENABLE, 1)
        #expect(bench.controller.interrupt.level)
        bench.probe.write(VIC.INTR_STATE, 1)
        #expect(!bench.controller.interrupt.level)
        bench.controller.reset(.hard)
        #expect(bench.state() == .running && bench.component.isServing && bench.events() == [])
    }
}

@Suite struct ComponentContexts {
    @Test func showsOneQueueOfOneComponent() {
        let bench = Bench()
        bench.component.context.features = 0x1_2345_6789
        bench.component.context.status = 15
        bench.component.context.isLive = true
        bench.component.queue.size = 64
        bench.component.queue.isEnabled = true
        (bench.component.queue.taken, bench.component.queue.used, bench.component.queue.heads) = (9, 7, [30, 3])
        bench.component.queue.deviceArea = 0x1_0000_2000
        bench.probe.write(VIC.CONTEXT_SELECT, 3)
        #expect(bench.probe.read(VIC.CONTEXT_DEVICE) == 15 | 1 << 8)
        #expect(bench.probe.read(VIC.CONTEXT_FEATURES) == 0x1_2345_6789)
        #expect(bench.probe.read(VIC.CONTEXT_QUEUE) == 64 | 1 << 16 | 2 << 20)
        #expect(bench.probe.read(VIC.CONTEXT_POSITION) == 9 | 7 << 16)
        #expect(bench.probe.read(VIC.CONTEXT_HEAD) == 30)
        #expect(bench.probe.read(VIC.CONTEXT_HEAD) == 3)
        #expect(bench.probe.read(VIC.CONTEXT_HEAD) == 0, "no more")
        bench.probe.write(VIC.CONTEXT_SELECT, 3)
        #expect(bench.probe.read(VIC.CONTEXT_HEAD) == 30, "again from the first")
        #expect(bench.probe.read(VIC.CONTEXT_USED) == 77 | 1 << 16)
        #expect(bench.probe.read(VIC.CONTEXT_USED_AREA) == 0x1_0000_2000)
        #expect(bench.probe.read(VIC.CONTEXT_CONFIG, 5) == 15)
        for other in [3 | 1 << 8, 4, 65, 255] as [UInt64] {
            bench.probe.write(VIC.CONTEXT_SELECT, other)
            #expect(bench.probe.read(VIC.CONTEXT_QUEUE) == 0 && bench.probe.read(VIC.CONTEXT_USED) == 0)
        }
    }

    @Test(arguments: VIC.State.allCases) func isSetWhileRestoringAlone(state: VIC.State) {
        let bench = Bench()
        bench.reach(state)
        bench.probe.write(VIC.CONTEXT_SELECT, 3)
        bench.probe.write(VIC.CONTEXT_POSITION, 5 | 4 << 16)
        bench.probe.write(VIC.CONTEXT_HEAD, 8)
        let queue = bench.component.queue
        #expect((queue.taken == 5 && queue.used == 4 && queue.heads == [8]) == (state == .restoring))
        #expect((queue.taken == 0 && queue.heads.isEmpty) == (state != .restoring))
    }

    @Test func quiescingRecallsRequestsIfAsked() {
        let bench = Bench()
        bench.request(arrives: true)
        bench.component.onRecall = { bench.request(arrives: false) }
        bench.probe.write(VIC.COMPONENT_TRANSITION, 3, VIC.State.quiescing.rawValue | VIC.COMPONENT_TRANSITION.recall.mask)
        #expect(bench.events() == ["transition 3 2", "drained 3 0"])
        bench.ask(.serialising)
        #expect(bench.state() == .serialising)
    }

    @Test func theDriversChangesWaitForTheDevice() {
        let bench = Bench()
        #expect(!bench.controller.recall(component: 3), "it is on the device")
        bench.ask(.quiescing)
        _ = bench.events()
        #expect(bench.controller.recall(component: 3))
        #expect(bench.events() == ["recall 3 0"])
        #expect(!bench.controller.recall(component: 4), "there is none")
    }

    @Test(arguments: VIC.State.allCases.filter { $0 != .absent }) func aFunctionsResetEndsWhateverWasGoingOn(state: VIC.State) {
        let bench = Bench()
        bench.reach(state)
        bench.controller.componentReset(3)
        #expect(bench.state() == .running && bench.location() == .device && bench.component.isServing)
        #expect(bench.events().contains("reset 3 0") == (state != .running))
    }

    @Test func everyStartHasANumberAndEveryPauseALength() {
        let bench = Bench()
        let first = bench.probe.read(VIC.COMPONENT_GENERATION, 3)
        bench.ask(.quiescing)
        bench.scheduler.advance(to: bench.scheduler.now + 1234)
        bench.ask(.running)
        #expect(bench.probe.read(VIC.COMPONENT_GENERATION, 3) == first + 1)
        #expect((1234...1300).contains(bench.probe.read(VIC.COMPONENT_BLACKOUT, 3)))
    }
}
