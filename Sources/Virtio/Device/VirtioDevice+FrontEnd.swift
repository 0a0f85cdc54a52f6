import Simulation

/// A driver that comes by way of a vhost-user front-end: the front-end has the status and the device's own registers, and says what the
/// queues are. The queues, and all behind them, are the same as for a driver on the device's own transport.
extension VirtioDevice {
    /// Entries of a front-end's queues at most: what front-ends offer their drivers.
    public static let largestFrontEndQueue: UInt16 = 1024

    /// What is offered to a front-end.
    ///
    /// Left out is what is the front-end's own affair (control queue, addresses, where memory is, how doorbells look).
    public var frontEndFeatures: Features {
        var features = offeredFeatures.subtracting([
            .accessPlatform, .inOrder, .orderPlatform, .singleRootIOV, .notificationData, .ringReset,
        ])
        if type is NetworkDevice {
            features.subtract([
                .networkMTU, .networkMAC, .networkStatus, .networkControlQueue, .networkControlReceive, .networkControlVLAN,
                .networkControlReceiveExtra, .networkAnnounce, .networkControlMAC, .networkCoalescing, .networkSpeed,
            ])
        }
        return features
    }

    /// A front-end takes the device, or lets it go: either is a reset.
    public func setFrontEnd(_ isThere: Bool) {
        reset()
        state.hasFrontEnd = isThere
        setPatience()
        transport?.stateChanged()
    }

    /// The front-end says what its driver has accepted: the device begins anew.
    /// - Returns: false, and nothing has changed, if that isn't among ``frontEndFeatures``.
    public func acceptFrontEnd(_ features: Features) -> Bool {
        guard features.isSubset(of: frontEndFeatures), features.contains(.version1) || features.isSubset(of: legacyFeatures) else {
            return false
        }
        reset()
        // A packed ring has all chains in flight only if they come back in order (``PackedInflightTable``).
        state.driverFeatures = features.contains(.packedRing) ? features.union(.inOrder) : features
        state.isLegacy = !features.contains(.version1)
        state.status = [.acknowledge, .driver, .featuresOK]
        type.featuresAccepted(features)
        transport?.stateChanged()
        return true
    }

    /// Starts a queue where another device, or this one, has left it, and looks at it.
    /// - Parameter inflight: where its chains in flight are noted.
    /// - Returns: false if there is no such queue, it is enabled, or has an impossible layout.
    public func start(queue: Int, _ layout: QueueLayout, from start: QueueStart, notingIn inflight: InflightNotes?) -> Bool {
        guard state.queues.entries.indices.contains(queue), !state.queues.entries[queue].isEnabled,
            state.status.contains(.featuresOK), !state.status.contains(.needsReset),
            layout.size != 0, layout.size <= Self.largestFrontEndQueue,
            layout.size.nonzeroBitCount == 1 || state.driverFeatures.contains(.packedRing)
        else { return false }
        state.queues.entries[queue].layout = layout
        state.queues.enable(queue, features: state.driverFeatures, from: start, notingIn: inflight)
        state.status.insert(.driverOK)
        countPairs()
        transport?.stateChanged()
        settle()
        serve(queue: queue, at: scheduler.now)
        return true
    }

    /// Takes nothing more from a queue; what was taken is finished.
    public func pause(queue: Int) {
        guard state.queues.entries.indices.contains(queue) else { return }
        state.queues.pause(queue)
    }

    /// Whether nothing that was taken from a queue is left to be given back.
    public func isDrained(queue: Int) -> Bool {
        guard state.queues.entries.indices.contains(queue), !state.status.contains(.needsReset) else { return true }
        return state.queues.entries[queue].ring?.depth ?? 0 == 0
    }

    /// Stops a queue. What was taken from it and not given back is dropped.
    /// - Returns: the next entry of the available ring that would have been taken, or the position in a packed ring; nil if the queue
    ///   wasn't enabled.
    public func stop(queue: Int) -> UInt16? {
        guard state.queues.entries.indices.contains(queue), let ring = state.queues.entries[queue].ring else { return nil }
        type.drop(queue: queue)
        state.queues.reset(queue)
        countPairs()
        transport?.stateChanged()
        settle()
        return ring.indices.taken
    }

    /// A network device receives on the pairs whose queues the front-end has started: its driver's command for that never comes here.
    private func countPairs() {
        guard let network = type as? NetworkDevice else { return }
        var pairs = 0
        while 2 * pairs < state.queues.entries.count - 1, state.queues.entries[2 * pairs].isEnabled { pairs += 1 }
        network.state.activePairs = max(pairs, 1)
    }
}
