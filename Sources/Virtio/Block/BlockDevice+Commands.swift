import Interconnect

/// `struct virtio_blk_discard_write_zeroes`, section 5.2.6.
private struct DiscardRange {
    let sector: UInt64
    let sectors: UInt32
    let flags: UInt32

    static let bytes = 16
    static let unmap: UInt32 = 1

    init(_ list: UnsafeMutableRawBufferPointer, at offset: Int) {
        sector = UInt64(littleEndian: list.loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        sectors = UInt32(littleEndian: list.loadUnaligned(fromByteOffset: offset + 8, as: UInt32.self))
        flags = UInt32(littleEndian: list.loadUnaligned(fromByteOffset: offset + 12, as: UInt32.self))
    }
}

/// The commands of section 5.2.6: what is wrong with them on arrival, and what they do in the end.
extension BlockDevice {
    // MARK: On arrival

    /// Finds position, bytes and whatever forbids the request.
    func examine(_ request: inout BlockRequest, sector: UInt64, _ slot: Int, _ state: inout State) {
        let sent = request.chain.readableBytes &- Self.headerBytes
        let room = request.chain.writableBytes &- 1
        switch request.type {
        case BlockType.read: examineData(&request, sector, room, slot, state)
        case BlockType.write:
            examineData(&request, sector, sent, slot, state)
            // Section 5.2.6.2: a read-only device fails writes and writes nothing.
            if backend.isReadOnly { request.status = .ioError }
        case BlockType.flush:
            if !state.features.contains(.blockFlush) { request.status = .unsupported }
        case BlockType.getID:
            request.bytes = min(room, 20)
        case BlockType.discard where state.features.contains(.blockDiscard),
            BlockType.writeZeroes where state.features.contains(.blockWriteZeroes):
            examineRanges(&request, sent, slot, &state)
        default:
            request.status = .unsupported
        }
    }

    private func examineData(_ request: inout BlockRequest, _ sector: UInt64, _ bytes: UInt64, _ slot: Int, _ state: State) {
        request.position = sector &* 512
        request.bytes = bytes
        guard bytes % 512 == 0, isOnMedium(sector, bytes / 512) else {
            request.status = .ioError
            return
        }
        guard configuration.maximumSegmentBytes != 0 else { return }
        for index in 0..<Int(request.chain.segments) where state.requests.segment(slot, index).length > configuration.maximumSegmentBytes {
            request.status = .ioError
        }
    }

    /// Whether the request's bytes are whole sectors of the medium.
    func isOnMedium(_ request: BlockRequest) -> Bool {
        request.position % 512 == 0 && request.bytes % 512 == 0 && isOnMedium(request.position / 512, request.bytes / 512)
    }

    private func isOnMedium(_ sector: UInt64, _ count: UInt64) -> Bool {
        let sectors = backend.byteCount / 512
        return sector <= sectors && count <= sectors &- sector
    }

    private func examineRanges(_ request: inout BlockRequest, _ bytes: UInt64, _ slot: Int, _ state: inout State) {
        guard isRangeList(bytes) else {
            request.status = .ioError
            return
        }
        // For the observers only: the driver could still change the ranges, so they are checked on the copy that is used.
        let list = UnsafeMutableRawBufferPointer(rebasing: bounce[..<Int(bytes)])
        guard gather(state.requests, slot, from: Self.headerBytes, into: list) == nil else { return }
        request.position = DiscardRange(list, at: 0).sector &* 512
        for offset in stride(from: 0, to: list.count, by: DiscardRange.bytes) {
            request.bytes &+= UInt64(DiscardRange(list, at: offset).sectors) &* 512
        }
    }

    /// Whether so many bytes are a list of ranges, and not too long a one.
    func isRangeList(_ bytes: UInt64) -> Bool {
        let limit = min(Int(configuration.maximumDiscardSegments) * DiscardRange.bytes, bounce.count)
        return bytes > 0 && bytes % UInt64(DiscardRange.bytes) == 0 && bytes <= UInt64(limit)
    }

    /// Section 5.2.5: without a negotiated cache, or with `writeback` 0, a write is durable when it completes.
    func isWriteThrough(_ state: State, _ request: BlockRequest) -> Bool {
        guard request.type == BlockType.write else { return false }
        if state.features.contains(.blockConfigWriteback) { return !state.space.isWriteback }
        return !state.features.contains(.blockFlush)
    }

    // MARK: In the end

    /// Moves the request's bytes and writes its status. `written` is what the used element says: the writable bytes, from the first
    /// on, that now hold what the device put there (section 2.7.8.1).
    func answer(_ state: inout State, _ slot: Int) -> (written: UInt32, fault: QueueFault?) {
        if let fault = recheck(state.requests, slot) { return (0, fault) }
        let request = state.requests[slot]
        var status = request.status
        var payload: UInt64 = 0
        if status == .ok {
            do throws(BackendError) {
                let outcome = try perform(&state, slot, request)
                if let fault = outcome.fault { return (0, fault) }
                (status, payload) = (outcome.status, outcome.payload)
            } catch {
                lastBackendError = error
                state.counters.backendErrors &+= 1
                status = .ioError
            }
        }
        count(status, &state.counters)
        let room = request.chain.writableBytes &- 1
        bounce[0] = status.rawValue
        let fault = scatter(state.requests, slot, at: room, UnsafeMutableRawBufferPointer(rebasing: bounce[..<1]))
        // The status byte counts only if there is no gap before it.
        return (UInt32(clamping: payload == room ? payload &+ 1 : payload), fault)
    }

    private func count(_ status: BlockStatus, _ counters: inout Counters) {
        switch status {
        case .ok: counters.ok &+= 1
        case .ioError: counters.ioErrors &+= 1
        case .unsupported: counters.unsupported &+= 1
        }
    }

    private typealias Outcome = (status: BlockStatus, payload: UInt64, fault: QueueFault?)

    private func perform(_ state: inout State, _ slot: Int, _ request: BlockRequest) throws(BackendError) -> Outcome {
        switch request.type {
        case BlockType.read: return try read(&state, slot, request)
        case BlockType.write: return try write(&state, slot, request)
        case BlockType.flush:
            try backend.flush()
            return (.ok, 0, nil)
        case BlockType.getID:
            bounce.copyBytes(from: serial)
            for index in serial.count..<20 { bounce[index] = 0 }
            let fault = scatter(state.requests, slot, at: 0, UnsafeMutableRawBufferPointer(rebasing: bounce[..<Int(request.bytes)]))
            return (.ok, request.bytes, fault)
        default:
            return try discard(&state, slot, request)
        }
    }

    private func read(_ state: inout State, _ slot: Int, _ request: BlockRequest) throws(BackendError) -> Outcome {
        var done: UInt64 = 0
        while done < request.bytes {
            let piece = UnsafeMutableRawBufferPointer(rebasing: bounce[..<Int(min(request.bytes &- done, UInt64(bounce.count)))])
            try backend.read(request.position &+ done, into: piece)
            if let fault = scatter(state.requests, slot, at: done, piece) { return (.ioError, 0, fault) }
            done &+= UInt64(piece.count)
        }
        state.counters.bytesRead &+= done
        return (.ok, done, nil)
    }

    private func write(_ state: inout State, _ slot: Int, _ request: BlockRequest) throws(BackendError) -> Outcome {
        var done: UInt64 = 0
        while done < request.bytes {
            let piece = UnsafeMutableRawBufferPointer(rebasing: bounce[..<Int(min(request.bytes &- done, UInt64(bounce.count)))])
            if let fault = gather(state.requests, slot, from: Self.headerBytes &+ done, into: piece) { return (.ioError, 0, fault) }
            try backend.write(request.position &+ done, from: UnsafeRawBufferPointer(piece))
            done &+= UInt64(piece.count)
        }
        if isWriteThrough(state, request) { try backend.flush() }
        state.counters.bytesWritten &+= done
        return (.ok, 0, nil)
    }

    /// Discard and write zeroes: all ranges are checked before the first takes effect, on one copy of them.
    private func discard(_ state: inout State, _ slot: Int, _ request: BlockRequest) throws(BackendError) -> Outcome {
        let list = UnsafeMutableRawBufferPointer(rebasing: bounce[..<Int(request.chain.readableBytes &- Self.headerBytes)])
        if let fault = gather(state.requests, slot, from: Self.headerBytes, into: list) { return (.ioError, 0, fault) }
        let isDiscard = request.type == BlockType.discard
        for offset in stride(from: 0, to: list.count, by: DiscardRange.bytes) {
            let range = DiscardRange(list, at: offset)
            // Section 5.2.6.2: unknown flags, and the unmap flag of a discard, are not supported.
            guard range.flags & ~DiscardRange.unmap == 0, !(isDiscard && range.flags != 0) else { return (.unsupported, 0, nil) }
            guard range.sectors <= configuration.maximumDiscardSectors, isOnMedium(range.sector, UInt64(range.sectors)) else {
                return (.ioError, 0, nil)
            }
        }
        for offset in stride(from: 0, to: list.count, by: DiscardRange.bytes) {
            let range = DiscardRange(list, at: offset)
            guard range.sectors > 0 else { continue }
            if isDiscard {
                try backend.discard(range.sector &* 512, count: UInt64(range.sectors) &* 512)
            } else {
                try backend.writeZeroes(
                    range.sector &* 512, count: UInt64(range.sectors) &* 512, mayUnmap: range.flags & DiscardRange.unmap != 0)
            }
        }
        return (.ok, 0, nil)
    }
}
