import Registers
import Simulation

extension Crossbar: ArchivedModel {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("crossbar") { (archive, _) throws(SnapshotError) in
            for lane in 0..<Lane.count { try archive.state(&storage.pointee.lanes[lane]) }
            var count = UInt64(targets.count)
            try archive.integer(&count, in: UInt64(targets.count)...UInt64(targets.count))
            for target in targets.indices { try archive.state(&storage.pointee.targets[target]) }
            try archive.state(&storage.pointee.errorLog)
        }
    }
}

extension CrossbarState.LaneState: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&weight, in: 1...255)
        try archive.state(&limit)
        try archive.integer(&accesses)
        try archive.integer(&waited)
        try archive.integer(&errors)
    }
}

extension CrossbarState.TargetState: ArchivedState {
    /// Occupancy, latency and base are the configuration's.
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        for lane in finish.indices { try archive.state(&finish[lane]) }
        try archive.integer(&accesses)
        try archive.integer(&busy)
    }
}

extension ErrorLog: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        let blank = Entry(
            address: 0, time: 0, origin: 0, initiator: Initiator(rawValue: 0), isWrite: false, size: 0, status: .ok)
        try archive.optional(&first, blank: blank) { (archive, entry) throws(SnapshotError) in
            try archive.integer(&entry.address)
            try archive.integer(&entry.time)
            try archive.integer(&entry.origin)
            try archive.integer(&entry.initiator.rawValue)
            try archive.flag(&entry.isWrite)
            try archive.integer(&entry.size, in: 0...8)
            try archive.raw(&entry.status)
        }
        try archive.integer(&count)
    }
}
