import Simulation

/// The service cores that process requests: what their descriptors say, what they address, what goes back.
///
/// A core serves one request at a time, to its end. An owner with cores of its own is served by these alone; all others share the
/// cores that nobody has, by start-time fair queueing over the cycles they use, in proportion to their weights. Requests of one
/// owner start in their order. At least one core always stays shared, so that nobody starves; a reservation takes effect as cores
/// become free.
///
/// Accelerator slots are served alike. A slot works for the owner that it is loaded for; serving another one takes the time to load
/// it first.
public final class ServicePool: DeadlineTarget, PartitionSink {
    /// What a pool has.
    public struct Configuration: Hashable, Sendable {
        public var name: String
        /// Cores, or slots, 1...255.
        public var cores: Int
        /// The type of the slots; nil: service cores.
        public var accelerator: AcceleratorType?
        /// Cycles that it takes to load a slot for another owner.
        public var loading: Cycle

        public init(name: String, cores: Int, accelerator: AcceleratorType? = nil, loading: Cycle = 0) {
            self.name = name
            self.cores = min(max(cores, 1), 255)
            self.accelerator = accelerator
            self.loading = loading
        }

        /// What a partition sets aside of it.
        func units(of partition: Partition) -> Int {
            switch accelerator {
            case nil: Int(partition.serviceCores)
            case .gpu: Int(partition.gpuSlots)
            case .fpga: Int(partition.fpgaSlots)
            }
        }
    }

    struct Request: Sendable {
        var id: UInt64
        var cost: Cycle
        var port: SubmitterPort
    }

    struct Running: Sendable {
        var end: Cycle
        var request: Request
        var flow: Int
        /// It runs on a shared core.
        var isShared: Bool
        var isAbandoned = false
        /// The slot; 0 with cores, which are all alike.
        var unit = 0
    }

    struct Flow: Sendable {
        var weight: UInt64 = 1
        /// Cores of its own.
        var cores = 0
        /// Its requests on its own cores.
        var running = 0
        /// Start tag of the next request: cycles over weight, in 1/65536.
        var start: UInt64 = 0
        var busy: Cycle = 0
        /// Of accelerators: requests that wait or run, their number integrated over time, and up to when.
        var present: UInt64 = 0
        var requestCycles: UInt64 = 0
        var counted: Cycle = 0

        mutating func count(_ change: Int, at now: Cycle) {
            requestCycles &+= present &* (now &- counted)
            counted = now
            present = UInt64(max(Int(present) + change, 0))
        }
    }

    /// All that changes.
    public struct State: Sendable {
        var flows = [Flow](repeating: Flow(), count: FlowQueues<Request>.flows)
        var queues = FlowQueues<Request>()
        /// In order of their end, those of one cycle in order of their start.
        var running: [Running] = []
        var sharedCores: Int
        var sharedRunning = 0
        var virtualTime: UInt64 = 0
        var busy: Cycle = 0
        /// Of accelerators: the flow that each slot is loaded for, -1: none; and how often one was loaded.
        var loaded: [Int] = []
        var loads: UInt64 = 0
    }

    public let configuration: Configuration
    /// In raw memory, so that no access to it is checked for exclusivity: every request passes here.
    public var state: State {
        @inline(__always) _read { yield storage.pointee }
        @inline(__always) _modify { yield &storage.pointee }
    }
    private let storage: UnsafeMutablePointer<State>
    private let scheduler: Scheduler
    private(set) var sinks = CompletionSinks()
    private(set) var deadline: Deadline!

    public init(_ configuration: Configuration, on scheduler: Scheduler) {
        self.configuration = configuration
        self.scheduler = scheduler
        storage = .allocate(capacity: 1)
        storage.initialize(to: State(sharedCores: configuration.cores))
        if configuration.accelerator != nil { state.loaded = Array(repeating: -1, count: configuration.cores) }
        deadline = Deadline(configuration.name, on: scheduler, target: self)
    }

    deinit {
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    /// A port for one submitter, whose completions go to `sink`.
    public func attach(_ sink: any CompletionSink) -> SubmitterPort { sinks.add(sink) }

    /// Queues a request that occupies a core for `cost` cycles; `sink` hears when it is done.
    public func submit(cost: Cycle, owner: Owner, id: UInt64, port: SubmitterPort) {
        let flow = owner.flow
        if state.queues.isEmpty(flow) { state.flows[flow].start = max(state.flows[flow].start, state.virtualTime) }
        state.queues.append(Request(id: id, cost: max(cost, 1), port: port), to: flow)
        if isAccelerator { state.flows[flow].count(1, at: scheduler.now) }
        serve()
    }

    /// Forgets the requests of an owner on one port: none of them completes. What runs keeps its core until it ends.
    public func abandon(owner: Owner, port: SubmitterPort) {
        let before = state.queues.count
        state.queues.removeAll(of: owner.flow) { $0.port == port }
        if isAccelerator { state.flows[owner.flow].count(state.queues.count - before, at: scheduler.now) }
        for index in state.running.indices where state.running[index].flow == owner.flow && state.running[index].request.port == port {
            state.running[index].isAbandoned = true
        }
    }

    public func partitionsCommitted(_ table: [Partition], at cycle: Cycle) {
        var left = configuration.cores - 1
        for flow in state.flows.indices {
            let partition = flow < table.count ? table[flow] : Partition()
            state.flows[flow].weight = partition.boostedWeight
            state.flows[flow].cores = min(configuration.units(of: partition), left)
            left -= state.flows[flow].cores
        }
        state.sharedCores = left + 1
        serve()
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        while let done = state.running.first, done.end <= cycle {
            state.running.removeFirst()
            if isAccelerator { state.flows[done.flow].count(-1, at: cycle) }
            if done.isShared { state.sharedRunning -= 1 } else { state.flows[done.flow].running -= 1 }
            if !done.isAbandoned { sinks[done.request.port]?.completed(done.request.id, at: cycle) }
        }
        serve()
    }

    // MARK: Counters

    /// Core cycles that one owner's requests have taken.
    public func busyCycles(of owner: Owner) -> Cycle { state.flows[owner.flow].busy }
    /// Core cycles that all requests have taken.
    public var busyCycles: Cycle { state.busy }
    /// Requests of one owner that wait or run, their number integrated over time; of accelerators only.
    public func requestCycles(of owner: Owner) -> UInt64 {
        let flow = state.flows[owner.flow]
        return flow.requestCycles &+ flow.present &* (scheduler.now &- flow.counted)
    }
    /// How often a slot was loaded for another owner.
    public var loads: UInt64 { state.loads }
    private var isAccelerator: Bool { configuration.accelerator != nil }

    /// Requests that wait or run.
    public var requestsInFlight: Int { state.queues.count + state.running.count }

    // MARK: Service

    private func serve() {
        let now = scheduler.now
        while state.running.count < configuration.cores, let choice = state.choose() {
            state.start(choice.flow, isShared: choice.isShared, loading: configuration.loading, at: now)
        }
        if let first = state.running.first { deadline.arm(at: first.end) } else { deadline.cancel() }
    }
}

extension ServicePool.State {
    /// The flow whose first request gets a core; nil if no core is free for any.
    func choose() -> (flow: Int, isShared: Bool)? {
        var best = -1
        for flow in queues.backlogged {
            if flows[flow].cores > 0 {
                if flows[flow].running < flows[flow].cores { return (flow, false) }
            } else if sharedRunning < sharedCores, best < 0 || flows[flow].start < flows[best].start {
                best = flow
            }
        }
        return best < 0 ? nil : (best, true)
    }

    mutating func start(_ flow: Int, isShared: Bool, loading: Cycle, at now: Cycle) {
        let request = queues.removeFirst(flow)
        var cost = request.cost, unit = 0
        if !loaded.isEmpty {
            unit = slot(for: flow)
            if loaded[unit] != flow {
                cost &+= loading
                loads &+= 1
                loaded[unit] = flow
            }
        }
        if isShared {
            sharedRunning += 1
            virtualTime = max(virtualTime, flows[flow].start)
            flows[flow].start &+= max(cost &<< 16 / flows[flow].weight, 1)
        } else {
            flows[flow].running += 1
        }
        flows[flow].busy &+= cost
        busy &+= cost
        let entry = ServicePool.Running(end: now &+ cost, request: request, flow: flow, isShared: isShared, unit: unit)
        let place = running.firstIndex { $0.end > entry.end } ?? running.count
        running.insert(entry, at: place)
    }

    /// A free slot for a flow: one that is loaded for it, else one for nobody, else one of a flow that has more than its own, so that
    /// nobody's own slots are loaded for others while they rest.
    private func slot(for flow: Int) -> Int {
        var isFree = [Bool](repeating: true, count: loaded.count)
        for request in running { isFree[request.unit] = false }
        var held = [Int](repeating: 0, count: flows.count)
        for owner in loaded where owner >= 0 { held[owner] += 1 }
        var best = (place: 0, rank: 4)
        for place in loaded.indices where isFree[place] {
            let owner = loaded[place]
            let rank = owner == flow ? 0 : owner < 0 ? 1 : held[owner] > flows[owner].cores ? 2 : 3
            if rank < best.rank { best = (place, rank) }
        }
        return best.place
    }
}
