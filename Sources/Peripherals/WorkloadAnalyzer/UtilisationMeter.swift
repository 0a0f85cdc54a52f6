import Simulation

/// What resources had done at the last latch, so that windows can tell what they did since.
struct UtilisationMeter: Sendable {
    /// Cores, link to the device, link to the host, fabric.
    static let resources = 4

    private var busy = [UInt64](repeating: 0, count: resources)
    private var used = [UInt64](repeating: 0, count: WorkloadCounters.owners * WorkloadRecord.usedResources)

    /// Notes a resource's busy cycles.
    /// - Returns: those since the last time. Somebody may have cleared the counter meanwhile.
    mutating func advance(_ resource: Int, to total: UInt64) -> UInt64 { Self.advance(&busy[resource], to: total) }

    /// The same for what an owner has used.
    mutating func advance(_ owner: Int, _ resource: Int, to total: UInt64) -> UInt64 {
        Self.advance(&used[owner * WorkloadRecord.usedResources + resource], to: total)
    }

    private static func advance(_ last: inout UInt64, to total: UInt64) -> UInt64 {
        defer { last = total }
        return total >= last ? total - last : total
    }
}

extension UtilisationMeter: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.sparseIntegers(&busy, block: busy.count)
        try archive.sparseIntegers(&used, block: WorkloadRecord.usedResources)
    }
}
