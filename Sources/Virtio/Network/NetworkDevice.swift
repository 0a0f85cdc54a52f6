import Glibc
import Interconnect
import Registers
import Simulation

/// A virtio network device (virtio 1.2 section 5.1) in front of a backend.
///
/// Frames go through the stages of docs/architecture.md, "The data path", in bursts: what a queue has when a core becomes free for it is
/// served together, moves over the link together, and ends with one look at whether the driver wants an interrupt. One burst of a queue is
/// with a core at a time, so that frames of a queue stay in their order.
public final class NetworkDevice: DeviceType, NetworkPort {
    public struct State: @unchecked Sendable {
        // Sendable: used by whoever has the device.

        /// By pair.
        let transmit: UnsafeMutablePointer<TransmitQueue>
        let receive: UnsafeMutablePointer<ReceiveQueue>
        var space: NetworkConfigurationSpace
        var features: Features = []
        var filter = ReceiveFilter()
        /// Queue pairs in use.
        public internal(set) var activePairs = 1
        /// By the low bits of a flow's number: the transmit queue on which it was last seen, which is where its answers go.
        var flows = [UInt8](repeating: 0, count: 256)
        /// The wire from the backend is taken up to here.
        var wireFree = FineCycle.zero
        /// When the device went live; backends count from here.
        var liveSince: Cycle?
        var transmitCoalescing = Coalescing()
        var receiveCoalescing = Coalescing()
        /// By queue.
        var held: [HeldNotification]
        /// Bytes of frames that the observers were told of, by direction: where the next one is in the stream.
        var sent: UInt64 = 0
        var received: UInt64 = 0
        /// Frames in the device of which the driver's memory knows.
        var inFlight = 0
        /// Since power-on.
        public internal(set) var counters = Counters()
    }

    public struct Counters: Equatable, Sendable {
        public var transmitted: UInt64 = 0
        public var transmittedBytes: UInt64 = 0
        /// Frames that the driver sent and that are none: too short, too long, or asking for what was not negotiated.
        public var transmitErrors: UInt64 = 0
        public var received: UInt64 = 0
        public var receivedBytes: UInt64 = 0
        /// Of `received`.
        public var multicast: UInt64 = 0
        /// Frames that came for the driver and that its filter did not let pass.
        public var filtered: UInt64 = 0
        /// Frames that were lost as the driver had no buffers in time, or too small ones.
        public var dropped: UInt64 = 0
        public var controlCommands: UInt64 = 0
        public var controlErrors: UInt64 = 0
    }

    public let id: UInt16 = 1
    public let name = "net"
    public let configuration: NetworkConfiguration
    public let backend: any NetworkBackend
    /// In raw memory, as the device's own.
    public var state: State {
        @inline(__always) _read { yield storage.pointee }
        @inline(__always) _modify { yield &storage.pointee }
    }
    private let storage: UnsafeMutablePointer<State>

    let path: DataPath
    /// Where a frame passes on its way from the driver, its header in front.
    let bounce: UnsafeMutableRawBufferPointer
    /// The frames of all receive queues, each in its slot.
    let frameMemory: UnsafeMutableRawPointer
    let slotBytes: Int
    var memory: GuestMemory!
    private unowned(unsafe) var device: VirtioDevice!
    var scheduler: Scheduler!
    private(set) var owner = Owner.device
    var port = 0
    /// The device has lent its queues: it looks at ``nextDue`` when it has them back.
    private var isAtWork = false
    private(set) var corePort = SubmitterPort(rawValue: 0)
    private(set) var fetchPort = SubmitterPort(rawValue: 0)
    private(set) var deliverPort = SubmitterPort(rawValue: 0)

    /// Frames of a burst at most.
    static let burst = 32
    static let descriptorBytes: UInt64 = 16
    /// Bytes of a used element.
    static let usedBytes: UInt64 = 8

    public init(_ configuration: NetworkConfiguration, backend: any NetworkBackend, path: DataPath) {
        precondition((1...8).contains(configuration.queuePairs), "a network device has 1 to 8 pairs of queues")
        precondition(configuration.receiveSlots.nonzeroBitCount == 1, "the number of receive slots is a power of two")
        self.configuration = configuration
        self.backend = backend
        self.path = path
        let pairs = configuration.queuePairs
        slotBytes = (configuration.frameBytes + 63) & ~63
        bounce = .allocate(byteCount: NetworkHeader.maximumBytes + configuration.frameBytes, alignment: 64)
        // Pages that no frame has been in cost nothing.
        frameMemory = Self.zeroedMemory(slotBytes * configuration.receiveSlots * pairs)
        let transmit = UnsafeMutablePointer<TransmitQueue>.allocate(capacity: pairs)
        let receive = UnsafeMutablePointer<ReceiveQueue>.allocate(capacity: pairs)
        for pair in 0..<pairs {
            (transmit + pair).initialize(to: TransmitQueue())
            (receive + pair).initialize(to: ReceiveQueue(slots: configuration.receiveSlots))
        }
        storage = .allocate(capacity: 1)
        storage.initialize(to: State(
            transmit: transmit, receive: receive,
            space: NetworkConfigurationSpace(configuration),
            held: Array(repeating: HeldNotification(), count: 2 * pairs + 1)))
    }

    private static func zeroedMemory(_ bytes: Int) -> UnsafeMutableRawPointer {
        guard let memory = calloc(bytes, 1) else { fatalError("no memory for \(bytes) bytes of frames") }
        return memory
    }

    deinit {
        bounce.deallocate()
        free(frameMemory)
        for pair in 0..<configuration.queuePairs {
            state.transmit[pair].deallocate()
            state.receive[pair].deallocate()
        }
        state.transmit.deallocate()
        state.receive.deallocate()
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    // MARK: DeviceType

    public var queueCount: Int { 2 * configuration.queuePairs + 1 }

    public var features: Features {
        var features: Features = [
            .networkChecksum, .networkGuestChecksum, .networkMTU, .networkMAC, .networkMergeableBuffers, .networkStatus,
            .networkControlQueue, .networkControlReceive, .networkControlVLAN, .networkControlReceiveExtra, .networkAnnounce,
            .networkControlMAC, .networkCoalescing, .networkSpeed,
        ]
        if configuration.queuePairs > 1 { features.insert(.networkMultiQueue) }
        return features
    }

    public let featureNames: [(bit: Int, name: String)] = [
        (0, "NET_CSUM"), (1, "NET_GUEST_CSUM"), (3, "NET_MTU"), (5, "NET_MAC"), (15, "NET_MRG_RXBUF"), (16, "NET_STATUS"),
        (17, "NET_CTRL_VQ"), (18, "NET_CTRL_RX"), (19, "NET_CTRL_VLAN"), (20, "NET_CTRL_RX_EXTRA"), (21, "NET_GUEST_ANNOUNCE"),
        (22, "NET_MQ"), (23, "NET_CTRL_MAC_ADDR"), (53, "NET_NOTF_COAL"), (63, "NET_SPEED_DUPLEX"),
    ]

    public func readConfiguration(_ offset: Int, size: Int) -> UInt64 {
        state.space.read(offset, size: size, configuration)
    }

    public func writeConfiguration(_ offset: Int, size: Int, _ value: UInt64) {
        // Section 5.1.4.2: read-only but for legacy drivers, and for those where the control queue doesn't set the address.
        guard !state.features.contains(.version1), !state.features.contains(.networkControlMAC) else { return }
        state.space.write(offset, size: size, value)
    }

    public func attach(to device: VirtioDevice) {
        self.device = device
        memory = device.memory
        scheduler = device.scheduler
        owner = device.configuration.owner
        corePort = path.cores.attach(device)
        fetchPort = path.fromHost.attach(device)
        deliverPort = path.toHost.attach(device)
        port = backend.connect(self)
    }

    public func featuresAccepted(_ features: Features) {
        state.features = features
        state.filter.filtersVLANs = features.contains(.networkControlVLAN)
    }

    public func serve(queue: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        isAtWork = true
        defer { isAtWork = false }
        if state.liveSince == nil { state.liveSince = cycle }
        if queue == controlQueue {
            serveControl(&queues)
        } else if queue < 2 * configuration.queuePairs {
            if queue % 2 == 0 {
                deliver(queue / 2, &queues, at: cycle)
                serveReceive(queue / 2, at: cycle)
            } else {
                take(queue / 2, &queues, at: cycle)
            }
        }
    }

    /// Section 5.1.2: the last queue of those that the driver knows of.
    private var controlQueue: Int? {
        guard state.features.contains(.networkControlQueue) else { return nil }
        return state.features.contains(.networkMultiQueue) ? 2 * configuration.queuePairs : 2
    }

    public func completed(_ id: UInt64, _ queues: inout QueueSet, at cycle: Cycle) {
        isAtWork = true
        defer { isAtWork = false }
        // What cores and links were given before a reset, or out of a stored snapshot, may fit no more.
        guard let burst = Burst(id: id), burst.pair < configuration.queuePairs else { return }
        switch burst.stage {
        case .transmitService where burst.generation == state.transmit[burst.pair].generation
            && burst.count == state.transmit[burst.pair].inService:
            transmitServed(burst, &queues, at: cycle)
        case .transmitLink where burst.generation == state.transmit[burst.pair].generation
            && burst.count <= state.transmit[burst.pair].onLink:
            transmitFetched(burst, &queues, at: cycle)
        case .receiveService where burst.generation == state.receive[burst.pair].generation
            && burst.count == state.receive[burst.pair].inService:
            receiveServed(burst, at: cycle)
        case .receiveLink where burst.generation == state.receive[burst.pair].generation
            && burst.count <= state.receive[burst.pair].onLink:
            state.receive[burst.pair].onLink -= burst.count
            for number in 0..<burst.count {
                let place = state.receive[burst.pair].place(state.receive[burst.pair].ready + number)
                state.receive[burst.pair].frames[place].delivered = cycle
            }
            state.receive[burst.pair].ready += burst.count
            state.inFlight -= burst.count
            deliver(burst.pair, &queues, at: cycle)
        default: break
        }
    }

    public func advance(_ queues: inout QueueSet, at cycle: Cycle) {
        isAtWork = true
        defer { isAtWork = false }
        if let start = state.liveSince, backend.nextArrival(at: port) <= cycle &- start {
            backend.deliverArrivals(to: port, by: cycle &- start)
        }
        for pair in 0..<configuration.queuePairs { serveReceive(pair, at: cycle) }
        for queue in state.held.indices where state.held[queue].due <= cycle { release(queue, &queues) }
    }

    public var nextDue: Cycle {
        var due = Cycle.max
        for pair in 0..<configuration.queuePairs { due = min(due, state.receive[pair].nextDue) }
        if state.receiveCoalescing.microseconds != 0 || state.transmitCoalescing.microseconds != 0 {
            for queue in state.held.indices { due = min(due, state.held[queue].due) }
        }
        if let start = state.liveSince {
            let (arrival, isNever) = start.addingReportingOverflow(backend.nextArrival(at: port))
            if !isNever { due = min(due, arrival) }
        }
        return due
    }

    public var requestsInFlight: Int { state.inFlight }

    public func requestsInFlight(queue: Int) -> Int {
        guard queue < 2 * configuration.queuePairs else { return 0 }
        return queue % 2 == 0 ? state.receive[queue / 2].count : state.transmit[queue / 2].count
    }

    public func drop(queue: Int) {
        guard queue < 2 * configuration.queuePairs else { return }
        withdraw(queue)
        if queue % 2 == 0 {
            state.inFlight -= state.receive[queue / 2].count - state.receive[queue / 2].ready
            state.receive[queue / 2].forget()
        } else {
            state.inFlight -= state.transmit[queue / 2].count
            state.transmit[queue / 2].forget()
        }
        state.held[queue] = HeldNotification()
    }

    /// Tells the observer of a queue's frames that nobody will get.
    private func withdraw(_ queue: Int) {
        guard let observer = path.observer else { return }
        let pair = queue / 2
        if queue % 2 == 0 {
            let frames = state.receive[pair]
            for number in 0..<frames.count { observer.requestWithdrawn(report(frames.frames[frames.place(number)], pair)) }
        } else {
            let chains = state.transmit[pair], headerBytes = UInt64(NetworkHeader.bytes(state.features))
            for number in 0..<chains.count { observer.requestWithdrawn(report(chains.chains[chains.place(number)], pair, headerBytes)) }
        }
    }

    public func reset() {
        path.cores.abandon(owner: owner, port: corePort)
        path.fromHost.abandon(owner: owner, port: fetchPort)
        path.toHost.abandon(owner: owner, port: deliverPort)
        for queue in 0..<2 * configuration.queuePairs { withdraw(queue) }
        for pair in 0..<configuration.queuePairs {
            state.transmit[pair].forget()
            state.receive[pair].forget()
        }
        state.features = []
        state.filter = ReceiveFilter()
        state.activePairs = 1
        for flow in state.flows.indices { state.flows[flow] = 0 }
        state.liveSince = nil
        (state.transmitCoalescing, state.receiveCoalescing) = (Coalescing(), Coalescing())
        for queue in state.held.indices { state.held[queue] = HeldNotification() }
        state.inFlight = 0
        state.space.announces = false
        state.space.mac = configuration.mac
    }

    // MARK: The outside

    /// The wire is plugged in or pulled out: nothing comes or goes without (VIRTIO_NET_S_LINK_UP).
    public func setLink(isUp: Bool) {
        guard state.space.isLinkUp != isUp else { return }
        state.space.isLinkUp = isUp
        // The network may have learnt something else meanwhile (section 5.1.6.5.4).
        if isUp, state.features.contains(.networkAnnounce) { state.space.announces = true }
        device.configurationChanged()
    }

    public func receive(_ frame: NetworkFrame) {
        enqueue(frame, at: scheduler.now)
        if !isAtWork { device.settle() }
    }

    /// For people: one `key: value` a line.
    public var summary: String {
        let counters = state.counters
        let rows: [(String, String)] = [
            ("address", "\(state.space.mac)"), ("link", state.space.isLinkUp ? "up" : "down"), ("queue pairs", "\(state.activePairs)"),
            ("promiscuous", state.filter.isPromiscuous ? "yes" : "no"),
            ("transmitted", "\(counters.transmitted)"), ("transmitted bytes", "\(counters.transmittedBytes)"),
            ("transmit errors", "\(counters.transmitErrors)"), ("received", "\(counters.received)"),
            ("received bytes", "\(counters.receivedBytes)"), ("multicast", "\(counters.multicast)"),
            ("filtered", "\(counters.filtered)"), ("dropped", "\(counters.dropped)"),
            ("control commands", "\(counters.controlCommands)"), ("control errors", "\(counters.controlErrors)"),
        ]
        return rows.map { "\($0.0): \($0.1)\n" }.joined()
    }

    // MARK: Coalescing

    /// So many frames of a queue were put: the driver is told now, or later.
    func putFrames(_ count: Int, queue: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        let rule = queue % 2 == 0 ? state.receiveCoalescing : state.transmitCoalescing
        guard rule.microseconds != 0, count > 0 else { return }
        state.held[queue].packets &+= UInt32(truncatingIfNeeded: count)
        if rule.packets != 0, state.held[queue].packets >= rule.packets {
            release(queue, &queues)
        } else {
            queues.holdInterrupt(queue)
            let wait = UInt64(rule.microseconds) &* UInt64(configuration.wire.rate.cyclesPerMicrosecond)
            state.held[queue].due = min(state.held[queue].due, cycle &+ wait)
        }
    }

    func release(_ queue: Int, _ queues: inout QueueSet) {
        state.held[queue] = HeldNotification()
        queues.releaseInterrupt(queue)
    }
}

/// What is submitted to cores and links: so many frames of one queue pair.
struct Burst {
    enum Stage: UInt8 {
        case transmitService, transmitLink, receiveService, receiveLink
    }
    var stage: Stage
    var pair: Int
    var generation: UInt16
    var count: Int

    init(_ stage: Stage, _ pair: Int, _ generation: UInt16, _ count: Int) {
        self.stage = stage; self.pair = pair; self.generation = generation; self.count = count
    }

    init?(id: UInt64) {
        guard let stage = Stage(rawValue: UInt8(truncatingIfNeeded: id >> 40)) else { return nil }
        self.init(stage, Int(id >> 32 & 0xff), UInt16(truncatingIfNeeded: id >> 16), Int(id & 0xffff))
    }

    var id: UInt64 { UInt64(stage.rawValue) << 40 | UInt64(pair) << 32 | UInt64(generation) << 16 | UInt64(count) }
}
