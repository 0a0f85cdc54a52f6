import Interconnect
import Simulation

// What the controller of the virtual I/O components does with a device: it stops it, reads out and sets what moves, and starts it.

extension VirtioDevice: VirtualComponent {
    public var requestsInFlight: Int { type.requestsInFlight }
    /// There are requests in flight.
    public var isBusy: Bool { state.isBusy }

    public var isServing: Bool {
        get { state.queues.isServing }
        set {
            // Whoever has the component meanwhile gets the doorbells.
            if !newValue { state.queues.endPolling(in: memory) }
            state.queues.isServing = newValue
            guard newValue else { return }
            makeAwaitedChanges()
            serveAll(at: scheduler.now)
        }
    }

    public var context: ComponentContext {
        var context = ComponentContext()
        context.status = state.status.rawValue
        context.features = features.rawValue
        context.isLive = isLive
        context.isRecalled = state.awaited != Awaited()
        // Packed rings have their positions in the descriptors, and no index that tells what was done if a host dies.
        // A front-end's guest has its rings in memory that a host agent doesn't share.
        context.isPortable = type.isRecallable && !features.contains(.packedRing) && !state.hasFrontEnd
        // Chains that are done and held back for their order would be done again.
        context.isRecallable = context.isPortable && !features.contains(.inOrder)
        return context
    }

    public func context(ofQueue queue: Int) -> QueueContext? {
        guard state.queues.entries.indices.contains(queue) else { return nil }
        let entry = state.queues.entries[queue]
        var context = QueueContext()
        context.size = entry.layout.size
        context.isEnabled = entry.isEnabled
        context.descriptorArea = entry.layout.descriptorArea
        context.driverArea = entry.layout.driverArea
        context.deviceArea = entry.layout.deviceArea
        guard let ring = entry.ring else { return context }
        context.taken = ring.indices.taken
        context.used = ring.indices.used
        context.heads = ring.recalled
        return context
    }

    public func usedIndex(ofQueue queue: Int) -> UInt16? {
        guard state.queues.entries.indices.contains(queue), case .split(let ring)? = state.queues.entries[queue].ring?.ring else {
            return nil
        }
        return ring.usedIndex(in: memory)
    }

    public func configurationWord(_ index: Int) -> UInt32 {
        UInt32(truncatingIfNeeded: type.readConfiguration(4 * index, size: 4))
    }

    public func recallRequests() {
        guard context.isRecallable else { return }
        type.recall(&state.queues, at: scheduler.now)
        settle()
    }

    public func load(queue: Int, taken: UInt16, used: UInt16) {
        guard state.queues.entries.indices.contains(queue) else { return }
        state.queues.resume(queue, taken: taken, used: used)
    }

    public func addHead(_ head: UInt16, queue: Int) {
        guard state.queues.entries.indices.contains(queue) else { return }
        state.queues.add(queue, recalled: head)
    }

    public func interruptDriver(queue: Int) {
        guard isLive, state.queues.entries.indices.contains(queue), state.queues.entries[queue].isEnabled else { return }
        state.queues.tell(queue, .notified)
        transport?.notifyUsed(queue: queue)
    }

    /// Whether a change that the driver asks for has to wait: another serves the component, or nobody does at the moment.
    var mustWait: Bool { !isServing && router?.recall(component: configuration.component) == true }

    private func makeAwaitedChanges() {
        let awaited = state.awaited
        guard awaited != Awaited() else { return }
        state.awaited = Awaited()
        guard !awaited.reset else {
            reset()
            transport?.wasReset()
            return
        }
        for queue in 0..<queueCount where awaited.queueResets >> UInt64(queue) & 1 != 0 {
            reset(queue: queue)
            transport?.wasReset(queue: queue)
        }
        for queue in 0..<queueCount where awaited.enables >> UInt64(queue) & 1 != 0 { enable(queue: queue) }
        transport?.stateChanged()
    }
}
