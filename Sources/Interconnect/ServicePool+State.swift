import Simulation

extension ServicePool: ArchivedModel {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section(configuration.name) { (archive, _) throws(SnapshotError) in
            var reserved = 0
            try archive.elements(&state.flows) { (archive, flow) throws(SnapshotError) in
                try archive.integer(&flow.weight, in: 1...Partition.greatestWeight)
                // One core stays shared.
                try archive.integer(&flow.cores, in: 0...configuration.cores - 1 - reserved)
                reserved += flow.cores
                try archive.integer(&flow.start)
                try archive.integer(&flow.busy)
            }
            try state.queues.archive(&archive, blank: .blank) { (archive, request) throws(SnapshotError) in
                try self.archive(&request, &archive)
            }
            try archiveRunning(&archive)
            if configuration.accelerator != nil { try archiveSlots(&archive) }
            try archive.integer(&state.virtualTime)
            try archive.integer(&state.busy)
            try deadline.archive(&archive)
            if archive.isLoading { state.countCores(of: configuration.cores - reserved) }
        }
    }

    private func archiveSlots(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.elements(&state.flows) { (archive, flow) throws(SnapshotError) in
            try archive.integer(&flow.present)
            try archive.integer(&flow.requestCycles)
            try archive.integer(&flow.counted)
        }
        try archive.elements(&state.loaded) { (archive, flow) throws(SnapshotError) in
            try archive.integer(&flow, in: -1...FlowQueues<Request>.flows - 1)
        }
        try archive.integer(&state.loads)
    }

    private func archive(_ request: inout Request, _ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&request.id)
        try archive.integer(&request.cost, in: 1...Cycle.max)
        try sinks.archive(&request.port, &archive)
    }

    private func archiveRunning(_ archive: inout StateArchive) throws(SnapshotError) {
        var last: Cycle = 0
        let blank = Running(end: 0, request: .blank, flow: 0, isShared: true)
        try archive.array(&state.running, limit: configuration.cores, blank: blank) { (archive, running) throws(SnapshotError) in
            try archive.integer(&running.end)
            try archive.require(running.end >= last, "expected an end at cycle \(last) or later, found \(running.end)")
            last = running.end
            try self.archive(&running.request, &archive)
            try archive.integer(&running.flow, in: 0...FlowQueues<Request>.flows - 1)
            try archive.flag(&running.isShared)
            try archive.flag(&running.isAbandoned)
            if configuration.accelerator != nil { try archive.integer(&running.unit, in: 0...configuration.cores - 1) }
        }
    }
}

extension ServicePool.State {
    /// Counts anew what follows from reservations and running requests.
    fileprivate mutating func countCores(of shared: Int) {
        sharedCores = shared
        sharedRunning = 0
        for flow in flows.indices { flows[flow].running = 0 }
        for request in running {
            if request.isShared { sharedRunning += 1 } else { flows[request.flow].running += 1 }
        }
    }
}

extension ServicePool.Request {
    fileprivate static let blank = Self(id: 0, cost: 1, port: SubmitterPort(rawValue: 0))
}
