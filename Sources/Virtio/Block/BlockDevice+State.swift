import Interconnect
import Simulation

extension BlockDevice {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try state.requests.archive(&archive) { request, segments in isPossible(request, segments) }
        try state.space.archive(&archive)
        try archive.raw(&state.features)
        try archive.state(&state.mediumFree)
        try archive.integer(&state.stalled, in: 0...UInt64.max >> UInt64(64 - queueCount))
        try archive.state(&state.counters)
        if archive.isLoading { lastBackendError = nil }
    }

    /// Whether a request is as ``examine(_:sector:_:_:)`` leaves one.
    private func isPossible(_ request: BlockRequest, _ segments: ArraySlice<Segment>) -> Bool {
        guard request.queue >= 0, request.queue < queueCount else { return false }
        var chain = DescriptorChain(head: request.chain.head, descriptors: request.chain.descriptors, place: request.chain.place)
        for segment in segments {
            guard segment.length > 0, !segment.address.addingReportingOverflow(UInt64(segment.length)).overflow else { return false }
            chain.segments &+= 1
            if segment.isWritable {
                chain.writableBytes &+= UInt64(segment.length)
            } else {
                guard chain.writableBytes == 0 else { return false }
                chain.readableSegments &+= 1
                chain.readableBytes &+= UInt64(segment.length)
            }
        }
        guard chain == request.chain, chain.readableBytes >= Self.headerBytes, chain.writableBytes >= 1 else { return false }
        // Nothing is done for a request that has failed already.
        guard request.status == .ok else { return true }
        let sent = chain.readableBytes &- Self.headerBytes
        let room = chain.writableBytes &- 1
        switch request.type {
        case BlockType.read: return request.bytes == room && isOnMedium(request)
        case BlockType.write: return request.bytes == sent && isOnMedium(request)
        case BlockType.flush: return true
        case BlockType.getID: return request.bytes == min(room, 20)
        case BlockType.discard, BlockType.writeZeroes: return isRangeList(sent)
        default: return false
        }
    }
}

extension BlockDevice.Counters: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&ok)
        try archive.integer(&ioErrors)
        try archive.integer(&unsupported)
        try archive.integer(&bytesRead)
        try archive.integer(&bytesWritten)
        try archive.integer(&backendErrors)
    }
}
