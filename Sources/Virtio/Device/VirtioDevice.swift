import Interconnect
import Simulation

/// What brings a device's notifications to its driver. Calls come when the device is at rest: the transport may look at it.
public protocol VirtioTransport: AnyObject {
    /// The driver wants to know of used chains in this queue (section 2.3).
    func notifyUsed(queue: Int)
    /// The device configuration or the status has changed by itself (section 2.3).
    func notifyConfigurationChange()
    /// The device changed something that registers show.
    func stateChanged()
    /// A reset that the driver asked for, of the device or of a queue, has come about only now.
    func wasReset()
    func wasReset(queue: Int)
}

extension VirtioTransport {
    // For transports whose drivers don't have to wait for a reset: their devices stay where they are.
    public func wasReset() {}
    public func wasReset(queue: Int) {}
}

/// A virtio device (virtio 1.2 chapters 2 and 3) of any type, behind any transport: status, features, queues, reset.
///
/// Everything that the driver may do in a wrong order or with wrong values is refused here, once, for all types and transports.
public final class VirtioDevice: DeadlineTarget, CompletionSink {
    public struct Configuration: Sendable {
        /// PCI function index; the component's number at the VIC controller.
        public var component: Int
        public var owner: Owner
        /// Entries of each queue at most; a power of two up to 32768.
        public var maximumQueueSize: UInt16
        /// Reserved feature bits to offer besides VIRTIO_F_VERSION_1.
        public var features: Features
        /// What the device does about an empty queue of a type that polls.
        public var polling: Polling

        public init(
            component: Int, owner: Owner, maximumQueueSize: UInt16 = 256, features: Features = VirtioDevice.defaultFeatures,
            polling: Polling = Polling()
        ) {
            self.component = component; self.owner = owner; self.maximumQueueSize = maximumQueueSize; self.features = features
            self.polling = polling
        }
    }

    /// Looking at an empty queue from time to time, so that its driver need not ring the doorbell.
    public struct Polling: Hashable, Sendable {
        /// Cycles between two looks, at least 1.
        public var interval: Cycle
        /// After so many cycles without a chain the driver is asked to ring; 0: at once.
        public var patience: Cycle

        public init(interval: Cycle = 1000, patience: Cycle = 0) {
            self.interval = max(interval, 1); self.patience = patience
        }
    }

    public struct State: Sendable {
        public internal(set) var status: DeviceStatus = []
        /// As the driver wrote them; in force once `status` has FEATURES_OK.
        public internal(set) var driverFeatures: Features = []
        /// They were agreed on by the legacy interface.
        var isLegacy = false
        /// The driver is behind a front-end that isn't the device's transport: ``VirtioDevice/frontEnd``.
        public internal(set) var hasFrontEnd = false
        public internal(set) var configurationGeneration: UInt8 = 0
        public internal(set) var queues: QueueSet
        /// The last fault, kept over resets for people.
        public internal(set) var lastFailure: QueueSet.Failure?
        /// Requests were in flight when the router was last told.
        var isBusy = false
        /// When polled queues are looked at; `Cycle.max` if there are none.
        var nextPoll = Cycle.max
        /// What the driver has asked for while another served the component: done when it is back.
        var awaited = Awaited()
    }

    /// Changes that only the device can make, and that wait until it serves the component again; bit q is queue q.
    struct Awaited: Equatable, Sendable {
        var reset = false
        var queueResets: UInt64 = 0
        var enables: UInt64 = 0
    }

    public static let defaultFeatures: Features = [
        .indirectDescriptors, .eventIndex, .accessPlatform, .packedRing, .inOrder, .orderPlatform, .notificationData, .ringReset,
    ]

    public let configuration: Configuration
    public let type: any DeviceType
    /// All that the device offers.
    public let offeredFeatures: Features
    /// In raw memory: entering the device costs no exclusivity check, and nothing enters it while it is at work.
    public var state: State {
        _read { yield storage.pointee }
        _modify { yield &storage.pointee }
    }
    private let storage: UnsafeMutablePointer<State>
    public weak var transport: (any VirtioTransport)?
    /// Takes the notifications while a front-end has the device; nobody does in a replay.
    public weak var frontEnd: (any VirtioTransport)?
    public weak var router: (any DoorbellRouter)?
    /// Hears of what a driver did that was refused.
    public weak var violations: (any IsolationObserver)?
    /// While somebody records.
    public var trace: (any TraceSink)? {
        get { state.queues.tap.sink }
        set { state.queues.tap = QueueTap(sink: newValue, function: configuration.component) }
    }
    private let dma: any DMAPort
    let memory: GuestMemory
    let scheduler: Scheduler
    private(set) var deadline: Deadline!

    /// - Parameter dma: the function's way into its driver's memory.
    public init(_ configuration: Configuration, type: any DeviceType, dma: any DMAPort, on scheduler: Scheduler) {
        self.configuration = configuration
        self.type = type
        self.scheduler = scheduler
        self.dma = dma
        memory = GuestMemory(dma)
        offeredFeatures = type.features.union(configuration.features).union(.version1)
        storage = .allocate(capacity: 1)
        storage.initialize(to: State(queues: QueueSet(count: type.queueCount, maximumSize: configuration.maximumQueueSize)))
        setPatience()
        deadline = Deadline("fn\(configuration.component).\(type.name)", on: scheduler, target: self)
        type.attach(to: self)
    }

    deinit {
        storage.deinitialize(count: 1)
        storage.deallocate()
    }

    // MARK: Status and features (sections 2.1, 2.2 and 3.1.1)

    /// The driver writes the device status: 0 resets, ones set bits.
    public func writeStatus(_ value: UInt8) {
        guard value != 0 else {
            guard !mustWait else { return state.awaited.reset = true }
            return reset()
        }
        let added = DeviceStatus(rawValue: value).intersection(.writable).subtracting(state.status)
        if added.contains(.featuresOK), areAcceptable(state.driverFeatures) {
            state.status.insert(.featuresOK)
            type.featuresAccepted(state.driverFeatures)
        }
        // A device that has not agreed to the features must not go live (3.1.1 step 6).
        if added.contains(.driverOK), state.status.contains(.featuresOK) { state.status.insert(.driverOK) }
        state.status.formUnion(added.subtracting([.featuresOK, .driverOK]))
        transport?.stateChanged()
        // Chains that were made available before DRIVER_OK are looked at without a notification.
        if added.contains(.driverOK) { serveAll(at: scheduler.now) }
    }

    /// The driver writes 32 feature bits, `word` 0 or 1. After FEATURES_OK they are fixed (3.1.1 step 5).
    public func writeDriverFeatures(word: UInt32, _ bits: UInt32) {
        guard word < 2, !state.status.contains(.featuresOK) else { return }
        let shift = UInt64(word) * 32
        let kept = state.driverFeatures.rawValue & ~(0xffff_ffff << shift)
        state.driverFeatures = Features(rawValue: kept | UInt64(bits) << shift)
    }

    /// The 32 bits of an offered or accepted set; zero beyond the second word.
    public static func word(_ word: UInt32, of features: Features) -> UInt32 {
        word < 2 ? UInt32(truncatingIfNeeded: features.rawValue >> (UInt64(word) * 32)) : 0
    }

    /// Section 2.2.1: only what was offered; section 6.2: a device without a legacy interface needs VERSION_1.
    func areAcceptable(_ features: Features) -> Bool {
        features.isSubset(of: offeredFeatures) && features.contains(.version1)
    }

    /// Features in force.
    public var features: Features { state.status.contains(.featuresOK) ? state.driverFeatures : [] }

    /// The driver may expect the device to serve its queues.
    /// Section 3.1.2: legacy drivers use queues before DRIVER_OK.
    public var isLive: Bool {
        guard state.status.contains(.featuresOK), !state.status.contains(.needsReset) else { return false }
        return state.isLegacy || state.status.contains(.driverOK)
    }

    /// The device's own configuration has changed: a resized medium (section 2.5).
    public func configurationChanged() {
        state.configurationGeneration &+= 1
        transport?.stateChanged()
        if state.status.contains(.driverOK) { notified?.notifyConfigurationChange() }
    }

    // MARK: Queues (section 4.1.4.3; the transport only carries it)

    public var queueCount: Int { state.queues.entries.count }

    /// Changes settings of a queue that isn't enabled; a size beyond the largest, or none of a split queue's, a power of two, is refused.
    public func configure(queue: Int, _ change: (inout QueueLayout) -> Void) {
        guard state.queues.entries.indices.contains(queue), !state.queues.entries[queue].isEnabled else { return }
        var layout = state.queues.entries[queue].layout
        let size = layout.size
        change(&layout)
        let isPossible = layout.size.nonzeroBitCount == 1 || (layout.size != 0 && features.contains(.packedRing))
        if !isPossible || layout.size > configuration.maximumQueueSize { layout.size = size }
        state.queues.entries[queue].layout = layout
    }

    /// Starts a queue, once features are agreed on.
    public func enable(queue: Int) {
        guard state.queues.entries.indices.contains(queue), !state.queues.entries[queue].isEnabled,
            state.status.contains(.featuresOK), !state.status.contains(.needsReset)
        else { return }
        guard !mustWait else { return state.awaited.enables |= 1 &<< UInt64(queue) }
        state.queues.enable(queue, features: state.driverFeatures)
        settle()
    }

    /// Stops a queue and forgets its settings and requests, if VIRTIO_F_RING_RESET was negotiated (section 2.6.1).
    public func reset(queue: Int) {
        guard features.contains(.ringReset), state.queues.entries.indices.contains(queue), state.queues.entries[queue].isEnabled else {
            return
        }
        guard !mustWait else { return state.awaited.queueResets |= 1 &<< UInt64(queue) }
        type.drop(queue: queue)
        state.queues.reset(queue)
        settle()
    }

    /// Whether a queue's reset has yet to come about.
    func isResetting(queue: Int) -> Bool { queue < 64 && state.awaited.queueResets >> UInt64(queue) & 1 != 0 }

    /// The driver rings a queue's doorbell: the router first, then the device.
    public func doorbell(queue: Int, at cycle: Cycle) {
        guard isLive, state.queues.entries.indices.contains(queue), state.queues.entries[queue].isEnabled else {
            // A driver may not have noticed yet that the device needs a reset.
            if !state.status.contains(.needsReset) { refused(.doorbell, queue: queue, at: cycle) }
            return
        }
        state.queues.tell(queue, .doorbell)
        if let router, !router.doorbellRang(component: configuration.component, queue: queue, at: cycle) { return }
        serve(queue: queue, at: cycle)
    }

    /// The driver did to a queue what isolation forbids, or what no device can serve.
    func refused(_ violation: Violation, queue: Int, at cycle: Cycle) {
        violations?.refused(violation, to: configuration.owner, holder: .device, address: UInt64(queue), at: cycle)
    }

    public func serve(queue: Int, at cycle: Cycle) {
        guard isLive, isServing, state.queues.entries.indices.contains(queue), state.queues.entries[queue].isEnabled else { return }
        type.serve(queue: queue, &state.queues, at: cycle)
        settle()
    }

    func serveAll(at cycle: Cycle) {
        for queue in state.queues.entries.indices { serve(queue: queue, at: cycle) }
    }

    // MARK: What the type waits for

    public func completed(_ id: UInt64, at cycle: Cycle) {
        type.completed(id, &state.queues, at: cycle)
        settle()
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        if cycle >= state.nextPoll { poll(at: cycle) }
        type.advance(&state.queues, at: cycle)
        settle()
    }

    private func poll(at cycle: Cycle) {
        state.nextPoll = .max
        var ready = state.queues.poll(at: cycle, in: memory)
        while ready != 0 {
            type.serve(queue: ready.trailingZeroBitCount, &state.queues, at: cycle)
            ready &= ready &- 1
        }
    }

    /// The device looks at a queue from time to time.
    public var isPolling: Bool { state.queues.polled != 0 }

    /// A front-end is told of kicks by others, who wait for them and not for device time.
    func setPatience() { state.queues.patience = state.hasFrontEnd ? 0 : configuration.polling.patience }

    /// After every step of the type, and after what came to it from elsewhere: interrupts, faults, what is due next.
    func settle() {
        var interrupts = state.queues.takeInterrupts(in: memory)
        if let failure = state.queues.failure, !state.status.contains(.needsReset) {
            needReset(failure)
            return
        }
        if state.queues.polled == 0 {
            state.nextPoll = .max
        } else if state.nextPoll == .max {
            state.nextPoll = scheduler.now &+ configuration.polling.interval
        }
        let due = min(type.nextDue, state.nextPoll)
        if due == .max {
            deadline.cancel()
        } else if deadline.due != due {
            deadline.arm(at: due)
        }
        reportDrained()
        while interrupts != 0 {
            let queue = interrupts.trailingZeroBitCount
            state.queues.tell(queue, .notified)
            notified?.notifyUsed(queue: queue)
            interrupts &= interrupts &- 1
        }
    }

    /// Who brings notifications to the driver.
    private var notified: (any VirtioTransport)? { state.hasFrontEnd ? frontEnd : transport }

    private func reportDrained() {
        let isBusy = type.requestsInFlight != 0
        guard isBusy != state.isBusy else { return }
        state.isBusy = isBusy
        if !isBusy { router?.componentDrained(configuration.component, at: scheduler.now) }
    }

    // MARK: Reset

    /// Section 2.1.2: nothing goes on until the driver resets the device.
    private func needReset(_ failure: QueueSet.Failure) {
        state.lastFailure = failure
        refused(.queue, queue: failure.queue, at: scheduler.now)
        trace?.faultMet(.queue(function: configuration.component, queue: failure.queue, reason: "\(failure.fault)"))
        state.status.insert(.needsReset)
        type.reset()
        state.nextPoll = .max
        deadline.cancel()
        reportDrained()
        transport?.stateChanged()
        if state.status.contains(.driverOK) { notified?.notifyConfigurationChange() }
    }

    /// Section 2.4: by the driver, or by the function's reset. Requests in flight vanish; nothing moves or completes afterwards.
    public func reset() {
        type.reset()
        deadline.cancel()
        state.queues.reset()
        state.nextPoll = .max
        state.status = []
        state.driverFeatures = []
        state.isLegacy = false
        dma.released()
        state.awaited = Awaited()
        reportDrained()
        router?.componentReset(configuration.component)
        transport?.stateChanged()
    }
}
