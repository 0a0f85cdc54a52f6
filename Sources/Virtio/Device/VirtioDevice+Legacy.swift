import Simulation

/// What drivers from before virtio 1.0 do differently (virtio 1.2 sections 2.7.2, 3.1.2 and 7.4): a device serves them in the same way once
/// their features and queues are known.
extension VirtioDevice {
    /// A queue's address is a number of pages, and its used ring is at a multiple of them.
    static let legacyPageShift: UInt64 = 12

    /// What the device offers to a legacy driver.
    public var legacyFeatures: Features {
        Features(rawValue: offeredFeatures.rawValue & 0xffff_ffff).union(.anyLayout)
    }

    /// The driver writes the features that it accepts. They are fixed as soon as something depends on them.
    func writeLegacyFeatures(_ bits: UInt32) {
        guard !state.status.contains(.featuresOK) else { return }
        state.driverFeatures = Features(rawValue: UInt64(bits))
    }

    /// The driver writes status bits other than 0: there is no step of agreeing on features.
    func writeLegacyStatus(_ value: UInt8) {
        let added = DeviceStatus(rawValue: value).intersection([.acknowledge, .driver, .driverOK, .failed]).subtracting(state.status)
        if added.contains(.driverOK) { acceptLegacyFeatures() }
        state.status.formUnion(added)
        transport?.stateChanged()
        if added.contains(.driverOK) { serveAll(at: scheduler.now) }
    }

    /// The driver writes a queue's page; 0 takes it out of use.
    func setLegacyQueue(_ queue: Int, page: UInt32) {
        guard state.queues.entries.indices.contains(queue), !state.status.contains(.needsReset) else { return }
        acceptLegacyFeatures()
        // A modern driver has agreed to features already: its queues are none of this interface's business.
        guard state.isLegacy else { return }
        if state.queues.entries[queue].isEnabled {
            type.drop(queue: queue)
            state.queues.reset(queue)
        }
        if page != 0 {
            configure(queue: queue) { $0 = Self.legacyLayout(page: page, size: $0.size) }
            enable(queue: queue)
        } else {
            settle()
        }
    }

    /// Section 2.7.2: descriptors, the available ring behind them, the used ring at the next page.
    static func legacyLayout(page: UInt32, size: UInt16) -> QueueLayout {
        let start = UInt64(page) << legacyPageShift
        let driver = start + UInt64(SplitQueue.bytes(of: .descriptors, size: size))
        let mask: UInt64 = 1 << legacyPageShift - 1
        let device = (driver + UInt64(SplitQueue.bytes(of: .driver, size: size)) + mask) & ~mask
        return QueueLayout(size: size, descriptorArea: start, driverArea: driver, deviceArea: device)
    }

    private func acceptLegacyFeatures() {
        guard !state.status.contains(.featuresOK) else { return }
        state.driverFeatures = state.driverFeatures.intersection(legacyFeatures)
        state.isLegacy = true
        state.status.insert(.featuresOK)
        type.featuresAccepted(state.driverFeatures)
    }
}
