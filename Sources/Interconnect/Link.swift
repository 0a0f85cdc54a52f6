import Simulation

/// One direction of a connection that carries bytes: a PCIe link, the medium behind a backend.
///
/// Transfers of one owner keep their order. Between owners a transfer moves in pieces of at most `quantum` bytes, and whose piece is
/// next is decided as in mClock (Gulati, Merchant, Varman: mClock, OSDI 2010), with start-time fair queueing (Goyal, Vin, Cheng,
/// SIGCOMM 1996) for the shares:
/// 1. an owner that is behind its guarantee comes first, the one furthest behind before the others;
/// 2. what is left goes to the owners that want more, in proportion to their weights;
/// 3. an owner whose token bucket is empty waits, also for its guarantee.
///
/// Every owner with a transfer that its limit allows is served in bounded time: weights are at least 1, and guarantees above the link's
/// bandwidth are scaled down to it.
public final class Link: DeadlineTarget, PartitionSink {
    /// What a link can do.
    public struct Configuration: Hashable, Sendable {
        public var name: String
        /// At least 1 byte a microsecond.
        public var rate: Rate
        /// Cycles from the last byte's leaving one end to its arrival at the other.
        public var latency: Cycle
        /// Bytes an owner may move before another gets its turn.
        public var quantum: UInt32
        /// Depth of the token bucket of an owner with a limit, in bytes; at least a quantum.
        public var burst: UInt32

        public init(name: String, rate: Rate, latency: Cycle, quantum: UInt32 = 4096, burst: UInt32 = 16384) {
            self.name = name
            self.rate = rate
            self.rate.bytesPerMicrosecond = max(rate.bytesPerMicrosecond, 1)
            self.latency = latency
            self.quantum = max(quantum, 1)
            self.burst = max(burst, self.quantum)
        }
    }

    struct Transfer: Sendable {
        var id: UInt64
        /// Bytes that have not begun to move.
        var rest: UInt64
        var port: SubmitterPort
        /// Nobody waits for it any more.
        var isAbandoned = false
    }

    struct Flow: Sendable {
        var weight: UInt64 = 1
        var guarantee = Rate(bytesPerMicrosecond: 0, cyclesPerMicrosecond: 1)
        var limit: TokenBucket
        /// When the next piece under the guarantee is due.
        var due = FineCycle.zero
        /// Start tag of the next piece in start-time fair queueing: bytes over weight, in 1/65536.
        var start: UInt64 = 0
        var bytes: UInt64 = 0
    }

    struct Delivery: Sendable {
        var cycle: Cycle
        var flow: Int
        var transfer: Transfer
    }

    /// All that changes.
    public struct State: Sendable {
        var flows: [Flow]
        var queues = FlowQueues<Transfer>()
        /// Start tag of the piece served last by weight.
        var virtualTime: UInt64 = 0
        /// The link is free from here on.
        var free = FineCycle.zero
        /// On the way to the other end, in order of arrival.
        var deliveries: [Delivery] = []
        /// Of `deliveries`, how many have been delivered and wait for removal.
        var delivered = 0
        var bytes: UInt64 = 0
        var busy = FineCycle.zero
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
        let unlimited = Rate(bytesPerMicrosecond: 0, cyclesPerMicrosecond: configuration.rate.cyclesPerMicrosecond)
        let flow = Flow(guarantee: unlimited, limit: TokenBucket(rate: unlimited, depth: UInt64(configuration.burst)))
        storage = .allocate(capacity: 1)
        storage.initialize(to: State(flows: Array(repeating: flow, count: FlowQueues<Transfer>.flows)))
        deadline = Deadline(configuration.name, on: scheduler, target: self)
    }

    deinit {
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    /// A port for one submitter, whose completions go to `sink`.
    public func attach(_ sink: any CompletionSink) -> SubmitterPort { sinks.add(sink) }

    /// Queues a transfer of `bytes` at the present cycle; `sink` hears of its arrival at the other end. A transfer of no bytes takes the
    /// link's latency alone, in its turn.
    public func submit(bytes: UInt64, owner: Owner, id: UInt64, port: SubmitterPort) {
        let flow = owner.flow
        if state.queues.isEmpty(flow) {
            // No claim to bandwidth is saved up while there is nothing to move.
            state.flows[flow].due = max(state.flows[flow].due, FineCycle(scheduler.now))
            state.flows[flow].start = max(state.flows[flow].start, state.virtualTime)
        }
        state.queues.append(Transfer(id: id, rest: bytes, port: port), to: flow)
        serve(at: scheduler.now)
        arm()
    }

    /// Forgets the transfers of an owner on one port: none of them completes. What already moves still takes its time.
    public func abandon(owner: Owner, port: SubmitterPort) {
        state.queues.removeAll(of: owner.flow) { $0.port == port }
        for index in state.deliveries.indices where state.deliveries[index].flow == owner.flow {
            if state.deliveries[index].transfer.port == port { state.deliveries[index].transfer.isAbandoned = true }
        }
        arm()
    }

    public func partitionsCommitted(_ table: [Partition], at cycle: Cycle) {
        let capacity = UInt64(configuration.rate.bytesPerMicrosecond)
        let promised = max(table.prefix(FlowQueues<Transfer>.flows).reduce(0) { $0 + UInt64($1.guarantee) }, 1000)
        let now = FineCycle(scheduler.now)
        for flow in state.flows.indices {
            let partition = flow < table.count ? table[flow] : Partition()
            state.flows[flow].weight = partition.boostedWeight
            state.flows[flow].guarantee.bytesPerMicrosecond = UInt32(truncatingIfNeeded: capacity * UInt64(partition.guarantee) / promised)
            state.flows[flow].limit.rate.bytesPerMicrosecond = partition.limit
            state.flows[flow].due = max(state.flows[flow].due, now)
        }
        serve(at: scheduler.now)
        arm()
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        serve(at: cycle)
        while state.delivered < state.deliveries.count, state.deliveries[state.delivered].cycle <= cycle {
            let transfer = state.deliveries[state.delivered].transfer
            state.delivered += 1
            if !transfer.isAbandoned { sinks[transfer.port]?.completed(transfer.id, at: cycle) }
        }
        // Removing from the front costs as much as what stays: do it seldom.
        if state.delivered == state.deliveries.count || state.delivered >= 64 {
            state.deliveries.removeFirst(state.delivered)
            state.delivered = 0
        }
        arm()
    }

    // MARK: Counters

    /// Bytes that one owner has moved.
    public func bytes(of owner: Owner) -> UInt64 { state.flows[owner.flow].bytes }
    /// Bytes that all have moved.
    public var bytes: UInt64 { state.bytes }
    /// Cycles in which something moved.
    public var busyCycles: Cycle { state.busy.rawValue >> 8 }
    /// Transfers that wait, move or are on their way.
    public var transfersInFlight: Int { state.queues.count + state.deliveries.count - state.delivered }

    /// Forgets the counters.
    public func clearCounters() {
        state.bytes = 0
        state.busy = .zero
        for flow in state.flows.indices { state.flows[flow].bytes = 0 }
    }

    // MARK: Service

    /// Starts pieces until the link is busy beyond `cycle` or nobody may go.
    private func serve(at cycle: Cycle) {
        let now = FineCycle(cycle)
        while state.free <= now, state.queues.count > 0 {
            // Back to back a piece begins in the very fraction of a cycle in which the one before ended, unless a limit allows it only in
            // a later one of the same cycle.
            var time = state.free.roundedUp == cycle ? state.free : now
            var choice = state.choose(at: time, quantum: UInt64(configuration.quantum))
            if choice == nil, time != now {
                time = now
                choice = state.choose(at: time, quantum: UInt64(configuration.quantum))
            }
            guard let choice else { return }
            state.serve(
                choice, at: time, rate: configuration.rate, quantum: UInt64(configuration.quantum), latency: configuration.latency)
        }
    }

    private func arm() {
        var next = state.delivered < state.deliveries.count ? state.deliveries[state.delivered].cycle : Cycle.max
        if state.queues.count > 0 {
            let piece = max(state.free, state.earliestPermit(after: FineCycle(scheduler.now), quantum: UInt64(configuration.quantum)))
            next = min(next, piece.roundedUp)
        }
        if next == .max { deadline.cancel() } else { deadline.arm(at: next) }
    }
}
