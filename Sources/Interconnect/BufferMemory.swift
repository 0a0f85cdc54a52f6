import Simulation

/// The memory in which the payload of requests lies while they are in the device.
///
/// An owner with memory blocks of its own has its payload in these and nowhere else: a request begins when it fits. All others use the
/// device's common buffers, of which there are enough for all request slots.
public final class BufferMemory: PartitionSink, ArchivedModel {
    /// All that changes, by flow.
    public struct State: Sendable {
        /// Bytes that the owner has for itself; 0: the common buffers.
        var limits = [UInt64](repeating: 0, count: FlowQueues<UInt8>.flows)
        /// Bytes of its requests in flight.
        var used = [UInt64](repeating: 0, count: FlowQueues<UInt8>.flows)
    }

    public private(set) var state = State()

    public init() {}

    /// Whether there is any room for another request of the owner.
    @inline(__always) public func hasRoom(_ owner: Owner) -> Bool {
        let limit = state.limits[owner.flow]
        return limit == 0 || state.used[owner.flow] < limit
    }

    /// Whether so many bytes of the owner's fit.
    @inline(__always) public func hasRoom(_ owner: Owner, for bytes: UInt64) -> Bool {
        let limit = state.limits[owner.flow]
        return limit == 0 || bytes <= limit &- min(state.used[owner.flow], limit)
    }

    /// Sets bytes aside for an owner, whether or not they fit.
    public func take(_ bytes: UInt64, of owner: Owner) { state.used[owner.flow] &+= bytes }
    /// What has been taken comes back, at most once.
    public func giveBack(_ bytes: UInt64, of owner: Owner) { state.used[owner.flow] -= min(bytes, state.used[owner.flow]) }

    /// Bytes of an owner's requests in flight.
    public func used(by owner: Owner) -> UInt64 { state.used[owner.flow] }

    public func partitionsCommitted(_ table: [Partition], at cycle: Cycle) {
        for flow in state.limits.indices { state.limits[flow] = flow < table.count ? table[flow].memory : 0 }
    }

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("buffers") { (archive, _) throws(SnapshotError) in
            try archive.sparseIntegers(&state.limits, block: 1)
            try archive.sparseIntegers(&state.used, block: 1)
        }
    }
}
