import Simulation

// Snapshots of a running machine: docs/snapshots.md.

extension Machine {
    /// The device's state now, at the present time of the pace.
    public func capture() -> Snapshot {
        lock.lock()
        defer { lock.unlock() }
        catchUp()
        return device.capture()
    }

    /// Puts the device into the state of a snapshot and goes on from there, at the machine's own pace. A vhost-user front-end that had a
    /// function, and whose memory this process doesn't have, has lost it; when it connects again it goes on.
    /// - Throws: why the snapshot can't be taken; the device is as it was before.
    public func restore(_ snapshot: Snapshot) throws(SnapshotError) {
        lock.lock()
        defer { lock.unlock() }
        if let journal {
            throw SnapshotError("snapshot: expected a machine that isn't being recorded, found a recording in \(journal.folder)")
        }
        try device.restore(snapshot)
        for function in device.functions where function.device.state.hasFrontEnd && !function.frontEnd.isConnected {
            _ = enter(.frontEnd(function: function.index, .detach))
        }
        if clock.followsWallClock { clock.anchor(at: device.scheduler.now) }
        settle()
    }
}
