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
}

/// The controller with a block component in entry 3.
private struct Bench {
    let scheduler = Scheduler()
    let controller = VirtualIOController()
    let component = Component()
    let probe: RegisterProbe

    init() {
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
