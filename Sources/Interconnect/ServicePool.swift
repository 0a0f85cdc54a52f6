import Simulation

/// The service cores that process requests: what their descriptors say, what they address, what goes back.
///
/// A core serves one request at a time, to its end. An owner with cores of its own is served by these alone; all others share the
/// cores that nobody has, by start-time fair queueing over the cycles they use, in proportion to their weights. Requests of one
/// owner start in their order. At least one core always stays shared, so that nobody starves; a reservation takes effect as cores
/// become free.
public final class ServicePool: DeadlineTarget, PartitionSink {
    /// What a pool has.
    public struct Configuration: Hashable, Sendable {
        public var name: String
        /// Cores, 1...255.
        public var cores: Int

        public init(name: String, cores: Int) {
            self.name = name
            self.cores = min(max(cores, 1), 255)
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
        serve()
    }

    /// Forgets the requests of an owner on one port: none of them completes. What runs keeps its core until it ends.
    public func abandon(owner: Owner, port: SubmitterPort) {
        state.queues.removeAll(of: owner.flow) { $0.port == port }
        for index in state.running.indices where state.running[index].flow == owner.flow && state.running[index].request.port == port {
            state.running[index].isAbandoned = true
        }
    }

    public func partitionsCommitted(_ table: [Partition], at cycle: Cycle) {
        var left = configuration.cores - 1
        for flow in state.flows.indices {
            let partition = flow < table.count ? table[flow] : Partition()
            state.flows[flow].weight = UInt64(max(partition.weight, 1))
            state.flows[flow].cores = min(Int(partition.serviceCores), left)
            left -= state.flows[flow].cores
        }
        state.sharedCores = left + 1
        serve()
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        while let done = state.running.first, done.end <= cycle {
            state.running.removeFirst()
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
    /// Requests that wait or run.
    public var requestsInFlight: Int { state.queues.count + state.running.count }

    // MARK: Service

    private func serve() {
        let now = scheduler.now
        while state.running.count < configuration.cores, let choice = state.choose() {
            state.start(choice.flow, isShared: choice.isShared, at: now)
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

    mutating func start(_ flow: Int, isShared: Bool, at now: Cycle) {
        let request = queues.removeFirst(flow)
        if isShared {
            sharedRunning += 1
            virtualTime = max(virtualTime, flows[flow].start)
            flows[flow].start &+= max(request.cost &<< 16 / flows[flow].weight, 1)
        } else {
            flows[flow].running += 1
        }
        flows[flow].busy &+= request.cost
        busy &+= request.cost
        let entry = ServicePool.Running(end: now &+ request.cost, request: request, flow: flow, isShared: isShared)
        let place = running.firstIndex { $0.end > entry.end } ?? running.count
        running.insert(entry, at: place)
    }
}
