import Interconnect
import Registers
import Simulation

/// The shared hardware that requests pass through on their way; docs/architecture.md, "The data path".
public struct DataPath {
    public var cores: ServicePool
    public var fromHost: Link
    public var toHost: Link
    public var observer: (any DataPathObserver)?
    public var buffers: BufferMemory
    /// Accelerator slots of the two types, where there are some.
    public var gpu: ServicePool?
    public var fpga: ServicePool?

    public init(
        cores: ServicePool, fromHost: Link, toHost: Link, observer: (any DataPathObserver)? = nil, buffers: BufferMemory = BufferMemory(),
        gpu: ServicePool? = nil, fpga: ServicePool? = nil
    ) {
        self.cores = cores; self.fromHost = fromHost; self.toHost = toHost; self.observer = observer
        self.buffers = buffers; self.gpu = gpu; self.fpga = fpga
    }

    func slots(_ type: AcceleratorType) -> ServicePool? { type == .gpu ? gpu : fpga }
}

/// A virtio block device (virtio 1.2 section 5.2) on a backend.
///
/// A request goes through the stages of ``BlockRequest/Stage``, each of which ends in its own time. All its bytes move at one moment, the
/// end of the last stage, together with its status and its used element: a reset before that leaves no trace.
public final class BlockDevice: DeviceType {
    public struct State: Sendable {
        var requests: BlockRequestTable
        var space: BlockConfigurationSpace
        var features: Features = []
        /// The medium's bandwidth is taken up to here.
        var mediumFree = FineCycle.zero
        /// Bit q: queue q has chains that wait for a request slot.
        var stalled: UInt64 = 0
        /// Requests finished with each status, and bytes moved, since power-on.
        public internal(set) var counters = Counters()
    }

    public struct Counters: Equatable, Sendable {
        public var ok: UInt64 = 0
        public var ioErrors: UInt64 = 0
        public var unsupported: UInt64 = 0
        public var bytesRead: UInt64 = 0
        public var bytesWritten: UInt64 = 0
        /// Operations that the backend failed.
        public var backendErrors: UInt64 = 0
    }

    public let id: UInt16 = 2
    public let name = "blk"
    public let configuration: BlockConfiguration
    public let backend: any BlockBackend
    /// In raw memory, as the device's own.
    public var state: State {
        _read { yield storage.pointee }
        _modify { yield &storage.pointee }
    }
    private let storage: UnsafeMutablePointer<State>
    /// The last operation that the backend failed, for people.
    public internal(set) var lastBackendError: BackendError?

    let serial: [UInt8]
    let path: DataPath
    /// Where payload passes between backend and driver.
    let bounce: UnsafeMutableRawBufferPointer
    var memory: GuestMemory!
    private var scheduler: Scheduler!
    var now: Cycle { scheduler.now }
    var owner = Owner.device
    private var corePort = SubmitterPort(rawValue: 0)
    /// The slots through which data passes, if it does.
    private var slots: ServicePool?
    private var slotPort = SubmitterPort(rawValue: 0)
    var fetchPort = SubmitterPort(rawValue: 0)
    var deliverPort = SubmitterPort(rawValue: 0)

    static let headerBytes: UInt64 = 16
    /// Bytes of the status, and of the used element and index.
    private static let answerBytes: UInt64 = 1 + 10
    private static let descriptorBytes: UInt64 = 16

    public init(_ configuration: BlockConfiguration, backend: any BlockBackend, path: DataPath) {
        self.configuration = configuration
        self.backend = backend
        self.path = path
        serial = Array(configuration.serial.utf8.prefix(20))
        bounce = .allocate(byteCount: 1 << 17, alignment: 4096)
        storage = .allocate(capacity: 1)
        storage.initialize(to: State(
            // Two more than the data buffers: header and status.
            requests: BlockRequestTable(slots: max(configuration.requestSlots, 1), segmentsPerSlot: Int(configuration.maximumSegments) + 2),
            space: BlockConfigurationSpace(configuration, byteCount: backend.byteCount)))
    }

    deinit {
        bounce.deallocate()
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    // MARK: DeviceType

    public var queueCount: Int { configuration.queues }

    public var features: Features {
        var features: Features = [
            .blockSegmentMax, .blockBlockSize, .blockFlush, .blockTopology, .blockConfigWriteback, .blockDiscard, .blockWriteZeroes,
        ]
        if configuration.maximumSegmentBytes != 0 { features.insert(.blockSizeMax) }
        if configuration.queues > 1 { features.insert(.blockMultiQueue) }
        if !configuration.discards { features.remove(.blockDiscard) }
        if backend.isReadOnly {
            features.insert(.blockReadOnly)
            features.subtract([.blockDiscard, .blockWriteZeroes])
        }
        return features
    }

    public let featureNames: [(bit: Int, name: String)] = [
        (1, "BLK_SIZE_MAX"), (2, "BLK_SEG_MAX"), (5, "BLK_RO"), (6, "BLK_BLK_SIZE"), (9, "BLK_FLUSH"), (10, "BLK_TOPOLOGY"),
        (11, "BLK_CONFIG_WCE"), (12, "BLK_MQ"), (13, "BLK_DISCARD"), (14, "BLK_WRITE_ZEROES"),
    ]

    public func readConfiguration(_ offset: Int, size: Int) -> UInt64 {
        state.space.read(offset, size: size)
    }

    public func writeConfiguration(_ offset: Int, size: Int, _ value: UInt64) {
        guard state.features.contains(.blockConfigWriteback),
            let writeback = BlockConfigurationSpace.writebackValue(offset, size: size, value)
        else { return }
        state.space.isWriteback = writeback
    }

    public func attach(to device: VirtioDevice) {
        memory = device.memory
        scheduler = device.scheduler
        owner = device.configuration.owner
        corePort = path.cores.attach(device)
        slots = configuration.transform.flatMap { path.slots($0.type) }
        if let slots { slotPort = slots.attach(device) }
        fetchPort = path.fromHost.attach(device)
        deliverPort = path.toHost.attach(device)
    }

    public func featuresAccepted(_ features: Features) {
        state.features = features
    }

    public func serve(queue: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        scan(&state, queue, &queues, at: cycle)
    }

    public func completed(_ id: UInt64, _ queues: inout QueueSet, at cycle: Cycle) {
        step(&state, id, &queues, at: cycle)
    }

    public func advance(_ queues: inout QueueSet, at cycle: Cycle) {
        deliverDue(&state, &queues, at: cycle)
    }

    public var nextDue: Cycle { state.requests.nextDue }

    public var requestsInFlight: Int { state.requests.inFlight }

    public func requestsInFlight(queue: Int) -> Int {
        state.requests.slots.reduce(0) { $0 + ($1.stage != .free && !$1.isDropped && $1.queue == queue ? 1 : 0) }
    }

    public func drop(queue: Int) {
        withdraw { $0.queue == queue }
        for slot in state.requests.slots.indices where state.requests[slot].stage != .free && state.requests[slot].queue == queue {
            // Nothing but another request's end would find one that waits for room, and other queues wait behind it.
            if state.requests[slot].stage == .room { state.requests.release(slot) } else { state.requests[slot].isDropped = true }
        }
        state.stalled &= ~(1 << UInt64(queue))
    }

    /// All bytes of a request move at its end: one that is in flight has left no trace.
    public var isRecallable: Bool { true }

    public func recall(_ queues: inout QueueSet, at cycle: Cycle) {
        // In the order in which they came, as far as the cycle tells.
        let slots = state.requests.slots.indices.filter { state.requests[$0].stage != .free && !state.requests[$0].isDropped }
        for slot in slots.sorted(by: { (state.requests[$0].arrival, $0) < (state.requests[$1].arrival, $1) }) {
            let request = state.requests[slot]
            path.observer?.requestWithdrawn(report(request))
            queues.recall(request.queue, request.chain)
        }
        forget()
    }

    public func reset() {
        withdraw { _ in true }
        forget()
        state.features = []
        // Section 5.2.5: after a reset the cache is in writeback mode.
        state.space.isWriteback = true
    }

    /// Tells the observer of requests that nobody will answer.
    private func withdraw(_ isMeant: (BlockRequest) -> Bool) {
        guard let observer = path.observer else { return }
        for request in state.requests.slots where request.stage != .free && !request.isDropped && isMeant(request) {
            observer.requestWithdrawn(report(request))
        }
    }

    /// Drops all requests, wherever they wait.
    private func forget() {
        path.cores.abandon(owner: owner, port: corePort)
        slots?.abandon(owner: owner, port: slotPort)
        path.fromHost.abandon(owner: owner, port: fetchPort)
        path.toHost.abandon(owner: owner, port: deliverPort)
        for request in state.requests.slots where request.stage != .free && request.stage != .room {
            path.buffers.giveBack(request.payloadBytes, of: owner)
        }
        state.requests.releaseAll()
        state.stalled = 0
    }

    // MARK: From the queue into the device

    /// Takes what the queue has, as far as slots last.
    private func scan(_ state: inout State, _ queue: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        repeat {
            while true {
                guard hasRoom(state), let slot = state.requests.allocate() else {
                    // The queue is looked at again when a slot comes free; doorbells until then tell nothing new.
                    state.stalled |= 1 &<< UInt64(queue)
                    queues.disableNotifications(queue, in: memory)
                    return
                }
                let chain = state.requests.withSegments(slot) { queues.take(queue, from: memory, into: $0) }
                guard let chain, accept(&state, slot, chain, queue, &queues, at: cycle) else {
                    state.requests.release(slot)
                    break
                }
            }
        } while queues.enableNotifications(queue, in: memory)
    }

    /// Whether another request may be taken from a queue.
    @inline(__always) private func hasRoom(_ state: borrowing State) -> Bool {
        state.requests.parked == nil && (path.buffers.hasRoom(owner) || state.requests.inFlight == 0)
    }

    /// Whether a request fits into the owner's memory. One that is alone in its function always does: nothing else would end its wait.
    @inline(__always) private func fits(_ state: borrowing State, _ bytes: UInt64) -> Bool {
        path.buffers.hasRoom(owner, for: bytes) || state.requests.inFlight == 1
    }

    /// Reads the header and starts the request; false if there is no room for header and status.
    private func accept(
        _ state: inout State, _ slot: Int, _ chain: DescriptorChain, _ queue: Int, _ queues: inout QueueSet, at cycle: Cycle
    ) -> Bool {
        var request = BlockRequest(
            stage: .service, generation: state.requests[slot].generation, queue: queue, chain: chain, arrival: cycle,
            depth: UInt32(truncatingIfNeeded: state.requests.inFlight))
        guard chain.readableBytes >= Self.headerBytes, chain.writableBytes >= 1 else {
            queues.fail(queue, .requestTooShort(head: chain.head, readable: chain.readableBytes, writable: chain.writableBytes))
            return false
        }
        var header: (UInt64, UInt64) = (0, 0)
        state.requests[slot] = request
        if let fault = withUnsafeMutableBytes(of: &header, { gather(state.requests, slot, from: 0, into: $0) }) {
            queues.fail(queue, fault)
            return false
        }
        // struct virtio_blk_req: type, reserved, sector (section 5.2.6).
        request.type = UInt32(truncatingIfNeeded: UInt64(littleEndian: header.0))
        examine(&request, sector: UInt64(littleEndian: header.1), slot, &state)
        state.requests[slot] = request
        path.observer?.requestArrived(report(request))
        if fits(state, request.payloadBytes) { begin(&state, slot) } else { state.requests.park(slot) }
        return true
    }

    private func begin(_ state: inout State, _ slot: Int) {
        path.buffers.take(state.requests[slot].payloadBytes, of: owner)
        path.cores.submit(
            cost: configuration.requestCost &+ configuration.segmentCost &* UInt64(state.requests[slot].chain.segments), owner: owner,
            id: state.requests.id(of: slot), port: corePort)
    }

    func report(_ request: BlockRequest, completion: Cycle = 0) -> IORequest {
        let kind: IORequest.Kind =
            switch request.type {
            case BlockType.read: .read
            case BlockType.write: .write
            case BlockType.flush: .flush
            case BlockType.discard: .discard
            default: .other
            }
        var stages = StageTimes()
        if completion != 0 {
            stages = StageTimes(
                from: request.arrival, served: request.served, fetched: request.fetched, mediumDone: request.due, completion: completion)
        }
        return IORequest(
            owner: owner, queue: UInt16(truncatingIfNeeded: request.queue), kind: kind, position: request.position, bytes: request.bytes,
            arrival: request.arrival, completion: completion, depth: request.depth, stages: stages)
    }

    // MARK: From stage to stage

    /// The service core, or a link, is done with a request.
    private func step(_ state: inout State, _ id: UInt64, _ queues: inout QueueSet, at cycle: Cycle) {
        guard let slot = state.requests.slot(of: id) else { return }
        let request = state.requests[slot]
        // These don't wait for a completion.
        guard request.stage != .free, request.stage != .medium, request.stage != .room else { return }
        guard !request.isDropped else { return end(&state, slot, &queues, at: cycle) }
        switch request.stage {
        case .service:
            state.requests[slot].stage = .fetch
            state.requests[slot].served = cycle
            let data = request.type == BlockType.read ? 0 : request.chain.readableBytes &- Self.headerBytes
            let bytes = Self.descriptorBytes &* UInt64(request.chain.segments) &+ Self.headerBytes &+ data
            path.fromHost.submit(bytes: bytes, owner: owner, id: id, port: fetchPort)
        case .fetch:
            state.requests[slot].fetched = cycle
            if request.type == BlockType.write, transform(&state, slot) { return }
            state.requests[slot].stage = .medium
            state.requests.insert(slot, due: mediumEnd(&state, request, at: cycle))
        case .transform where request.type == BlockType.write:
            state.requests[slot].stage = .medium
            state.requests.insert(slot, due: mediumEnd(&state, request, at: cycle))
        case .transform:
            // To the observers it is part of the medium's stage.
            state.requests[slot].due = cycle
            submitDelivery(&state, slot)
        case .deliver:
            finish(&state, slot, &queues, at: cycle)
            if queues.failure == nil { end(&state, slot, &queues, at: cycle) }
        case .free, .medium, .room: break
        }
    }

    /// Reserves the medium's bandwidth for the request; the latency comes on top and overlaps with others'.
    private func mediumEnd(_ state: inout State, _ request: BlockRequest, at cycle: Cycle) -> Cycle {
        guard request.status == .ok else { return cycle }
        let medium = configuration.medium
        switch request.type {
        case BlockType.read, BlockType.write:
            state.mediumFree = max(state.mediumFree, FineCycle(cycle)) + medium.rate.duration(of: request.bytes)
            let latency = request.type == BlockType.read ? medium.readLatency : medium.writeLatency
            return state.mediumFree.roundedUp &+ latency &+ (isWriteThrough(state, request) ? medium.flushLatency : 0)
        case BlockType.flush: return cycle &+ medium.flushLatency
        case BlockType.discard, BlockType.writeZeroes: return cycle &+ medium.writeLatency
        default: return cycle
        }
    }

    /// The medium is done with some requests.
    private func deliverDue(_ state: inout State, _ queues: inout QueueSet, at cycle: Cycle) {
        while let slot = state.requests.popDue(by: cycle) {
            let request = state.requests[slot]
            guard !request.isDropped else {
                end(&state, slot, &queues, at: cycle)
                continue
            }
            if request.type == BlockType.read, transform(&state, slot) { continue }
            submitDelivery(&state, slot)
        }
    }

    private func submitDelivery(_ state: inout State, _ slot: Int) {
        let request = state.requests[slot]
        state.requests[slot].stage = .deliver
        let data = request.type == BlockType.read && request.status == .ok ? request.bytes : 0
        path.toHost.submit(bytes: data &+ Self.answerBytes, owner: owner, id: state.requests.id(of: slot), port: deliverPort)
    }

    /// Sends a request's data through an accelerator, on its way to the medium or back.
    /// - Returns: false, with nothing done, if it doesn't pass any.
    private func transform(_ state: inout State, _ slot: Int) -> Bool {
        let request = state.requests[slot]
        guard let slots, let transform = configuration.transform, request.status == .ok, request.bytes != 0 else { return false }
        state.requests[slot].stage = .transform
        slots.submit(
            cost: transform.cost &* ((request.bytes &+ 4095) &>> 12), owner: owner, id: state.requests.id(of: slot), port: slotPort)
        return true
    }

    /// Frees the slot and lets what waited for it go on: a request that needs room, then queues, those after the one that was served first.
    private func end(_ state: inout State, _ slot: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        let served = state.requests[slot].queue
        path.buffers.giveBack(state.requests[slot].payloadBytes, of: owner)
        state.requests.release(slot)
        if let parked = state.requests.parked, fits(state, state.requests[parked].payloadBytes) {
            state.requests.unpark(parked)
            begin(&state, parked)
        }
        while state.stalled != 0, !state.requests.isFull, hasRoom(state) {
            let later = state.stalled & ~((2 &<< UInt64(served)) &- 1)
            let queue = (later != 0 ? later : state.stalled).trailingZeroBitCount
            state.stalled &= ~(1 &<< UInt64(queue))
            scan(&state, queue, &queues, at: cycle)
        }
    }

    private func finish(_ state: inout State, _ slot: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        let request = state.requests[slot]
        let outcome = answer(&state, slot)
        if let fault = outcome.fault {
            queues.fail(request.queue, fault)
            return
        }
        guard queues.put(request.queue, request.chain, written: outcome.written, in: memory) else { return }
        path.observer?.requestCompleted(report(request, completion: cycle))
    }
}
