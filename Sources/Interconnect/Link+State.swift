import Simulation

extension Link: ArchivedModel {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section(configuration.name) { (archive, _) throws(SnapshotError) in
            try archive.elements(&state.flows) { (archive, flow) throws(SnapshotError) in try archive.state(&flow) }
            try state.queues.archive(&archive, blank: .blank) { (archive, transfer) throws(SnapshotError) in
                try self.archive(&transfer, &archive)
            }
            try archive.integer(&state.virtualTime)
            try archive.state(&state.free)
            try archiveDeliveries(&archive)
            try archive.integer(&state.bytes)
            try archive.state(&state.busy)
            try deadline.archive(&archive)
        }
    }

    private func archive(_ transfer: inout Transfer, _ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&transfer.id)
        try archive.integer(&transfer.rest)
        try sinks.archive(&transfer.port, &archive)
    }

    /// Those that have been delivered and wait for removal are left out.
    private func archiveDeliveries(_ archive: inout StateArchive) throws(SnapshotError) {
        var deliveries = Array(state.deliveries[state.delivered...])
        var last: Cycle = 0
        try archive.array(
            &deliveries, limit: 1 << 20, blank: Delivery(cycle: 0, flow: 0, transfer: .blank)
        ) { (archive, delivery) throws(SnapshotError) in
            try archive.integer(&delivery.cycle)
            try archive.require(delivery.cycle >= last, "expected an arrival at cycle \(last) or later, found \(delivery.cycle)")
            last = delivery.cycle
            try archive.integer(&delivery.flow, in: 0...FlowQueues<Transfer>.flows - 1)
            try self.archive(&delivery.transfer, &archive)
            try archive.flag(&delivery.transfer.isAbandoned)
        }
        guard archive.isLoading else { return }
        state.deliveries = deliveries
        state.delivered = 0
    }
}

extension Link.Transfer {
    fileprivate static let blank = Self(id: 0, rest: 0, port: SubmitterPort(rawValue: 0))
}

extension Link.Flow: ArchivedState {
    /// The clock of the guarantee is the configuration's.
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&weight, in: 1...Partition.greatestWeight)
        try archive.integer(&guarantee.bytesPerMicrosecond)
        try archive.state(&limit)
        try archive.state(&due)
        try archive.integer(&start)
        try archive.integer(&bytes)
    }
}
