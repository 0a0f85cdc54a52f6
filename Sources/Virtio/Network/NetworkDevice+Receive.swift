import Interconnect
import Registers
import Simulation

/// Frames for the driver: over the wire into a slot, served by a core, over the link, and into the driver's buffers.
extension NetworkDevice {
    /// Takes a frame off the wire, if the driver wants it and there is a slot.
    func enqueue(_ frame: NetworkFrame, at cycle: Cycle) {
        // Nobody listens before the driver has started, and nothing comes without a link.
        guard state.liveSince != nil, state.space.isLinkUp else { return }
        let bytes = frame.bytes
        guard bytes.count >= NetworkFrame.minimumBytes, bytes.count <= slotBytes, bytes.count <= configuration.frameBytes else {
            state.counters.dropped &+= 1
            return
        }
        guard state.filter.passes(bytes, mac: state.space.mac) else {
            state.counters.filtered &+= 1
            return
        }
        let pair = state.activePairs > 1 ? Int(state.flows[Int(PacketHeaders.flow(bytes) & 0xff)]) % state.activePairs : 0
        guard !state.receive[pair].isFull else {
            state.counters.dropped &+= 1
            return
        }
        let wire = configuration.wire
        state.wireFree = max(state.wireFree, FineCycle(cycle)) + wire.rate.duration(of: UInt64(bytes.count))
        let due = state.wireFree.roundedUp &+ wire.latency
        state.inFlight += 1
        let entry = ReceiveQueue.Slot(
            length: bytes.count, arrival: cycle, due: due, depth: UInt32(truncatingIfNeeded: state.inFlight), position: state.received,
            isChecksumValid: frame.isChecksumValid)
        state.received &+= UInt64(bytes.count)
        let place = state.receive[pair].append(entry)
        slot(pair, place).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
        path.observer?.requestArrived(report(entry, pair))
    }

    func report(_ frame: ReceiveQueue.Slot, _ pair: Int, completion: Cycle = 0) -> IORequest {
        var stages = StageTimes()
        if completion != 0 {
            (stages.medium, stages.cores) = (frame.due &- frame.arrival, frame.served &- frame.due)
            stages.linkToHost = frame.delivered &- frame.served
        }
        return IORequest(
            owner: owner, queue: UInt16(truncatingIfNeeded: 2 * pair), kind: .read, position: frame.position,
            bytes: UInt64(frame.length), arrival: frame.arrival, completion: completion, depth: frame.depth, stages: stages)
    }

    /// Where a frame's bytes are.
    func slot(_ pair: Int, _ place: Int) -> UnsafeMutableRawPointer {
        frameMemory + (pair &* configuration.receiveSlots &+ place) &* slotBytes
    }

    /// Gives a core what has come over the wire, unless one is at work on the queue.
    func serveReceive(_ pair: Int, at cycle: Cycle) {
        guard state.receive[pair].inService == 0 else { return }
        let start = state.receive[pair].count - state.receive[pair].waiting
        var count = 0
        while count < min(state.receive[pair].waiting, Self.burst) {
            guard state.receive[pair].frames[state.receive[pair].place(start + count)].due <= cycle else { break }
            count += 1
        }
        guard count > 0 else { return }
        state.receive[pair].inService = count
        path.cores.submit(
            cost: configuration.packetCost &* UInt64(count), owner: owner,
            id: Burst(.receiveService, pair, state.receive[pair].generation, count).id, port: corePort)
    }

    /// The core is done with a burst: headers and frames move over the link.
    func receiveServed(_ burst: Burst, at cycle: Cycle) {
        let pair = burst.pair
        var bytes: UInt64 = 0
        let start = state.receive[pair].ready + state.receive[pair].onLink
        for number in 0..<burst.count {
            let place = state.receive[pair].place(start + number)
            state.receive[pair].frames[place].served = cycle
            bytes &+= UInt64(state.receive[pair].frames[place].length)
        }
        bytes &+= (UInt64(NetworkHeader.bytes(state.features)) &+ Self.usedBytes) &* UInt64(burst.count)
        state.receive[pair].inService = 0
        state.receive[pair].onLink += burst.count
        path.toHost.submit(
            bytes: bytes, owner: owner, id: Burst(.receiveLink, pair, burst.generation, burst.count).id, port: deliverPort)
        serveReceive(pair, at: cycle)
    }

    // MARK: Into the driver's buffers

    /// Puts frames that are ready into the driver's buffers, as far as these last.
    func deliver(_ pair: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        let queue = 2 * pair
        let headerBytes = NetworkHeader.bytes(state.features)
        var delivered = 0
        defer {
            queues.publish(queue, in: memory)
            putFrames(delivered, queue: queue, &queues, at: cycle)
        }
        while state.receive[pair].ready > 0 {
            let frame = state.receive[pair].frames[state.receive[pair].place(0)]
            switch gatherBuffers(pair, UInt64(headerBytes + frame.length), headerBytes, &queues, at: cycle) {
            case .enough:
                guard write(pair, frame, headerBytes, &queues) else { return }
                delivered += 1
                count(frame, pair)
                path.observer?.requestCompleted(report(frame, pair, completion: cycle))
            case .tooSmall:
                // Section 5.1.6.4: buffers of a driver without mergeable ones must hold any frame. The buffer serves the next one.
                state.counters.dropped &+= 1
                path.observer?.requestWithdrawn(report(frame, pair))
            case .missing: return
            }
            state.receive[pair].removeFirst()
        }
    }

    private func count(_ frame: ReceiveQueue.Slot, _ pair: Int) {
        state.counters.received &+= 1
        state.counters.receivedBytes &+= UInt64(frame.length)
        let first = slot(pair, state.receive[pair].place(0)).load(as: UInt8.self)
        if first & 1 != 0 { state.counters.multicast &+= 1 }
    }

    private enum Buffers {
        case enough, tooSmall, missing
    }

    /// Takes chains until they hold `bytes`, more than one only if buffers may be merged.
    private func gatherBuffers(
        _ pair: Int, _ bytes: UInt64, _ headerBytes: Int, _ queues: inout QueueSet, at cycle: Cycle
    ) -> Buffers {
        let isMergeable = state.features.contains(.networkMergeableBuffers)
        while state.receive[pair].room < bytes {
            let chains = state.receive[pair].chainCount, segments = state.receive[pair].segmentCount
            if chains > 0, !isMergeable { return .tooSmall }
            guard chains < ReceiveQueue.chainLimit, segments < ReceiveQueue.segmentLimit else { return .tooSmall }
            guard let chain = takeBuffers(pair, from: segments, &queues, at: cycle) else { return .missing }
            // Section 5.1.6.3.1: the first buffer holds the header.
            guard chain.readableBytes == 0, chain.writableBytes >= UInt64(chains == 0 ? headerBytes : 1) else {
                queues.fail(2 * pair, .requestTooShort(
                    head: chain.head, readable: chain.readableBytes, writable: chain.writableBytes))
                return .missing
            }
            state.receive[pair].chains[chains] = chain
            state.receive[pair].chainCount += 1
            state.receive[pair].segmentCount += Int(chain.segments)
            state.receive[pair].room &+= chain.writableBytes
        }
        return .enough
    }

    /// The next chain; nil, and the queue is waited for, if there is none.
    private func takeBuffers(_ pair: Int, from segment: Int, _ queues: inout QueueSet, at cycle: Cycle) -> DescriptorChain? {
        let queue = 2 * pair
        repeat {
            let room = UnsafeMutableBufferPointer(rebasing: state.receive[pair].allSegments[segment...])
            if let chain = queues.take(queue, from: memory, into: room) {
                // Whoever has buffers lying ready need not tell of new ones.
                queues.disableNotifications(queue, in: memory)
                return chain
            }
        } while queues.awaitChains(queue, at: cycle, in: memory)
        return nil
    }

    /// Writes the oldest frame into the chains that were gathered and gives these back; false if that failed.
    private func write(_ pair: Int, _ frame: ReceiveQueue.Slot, _ headerBytes: Int, _ queues: inout QueueSet) -> Bool {
        let queue = 2 * pair
        var header = NetworkHeader()
        // Section 5.1.6.4.1: DATA_VALID says that the device has checked.
        if frame.isChecksumValid, state.features.contains(.networkGuestChecksum) { header.flags = NetworkHeader.dataValid }
        header.buffers = UInt16(truncatingIfNeeded: state.receive[pair].chainCount)
        let source = slot(pair, state.receive[pair].place(0))
        let total = headerBytes + frame.length
        // Most frames go into one buffer, which can be reached in place.
        let first = state.receive[pair].allSegments[0]
        if state.receive[pair].segmentCount == 1, Int(first.length) >= total, let target = memory.place(first.address, bytes: total) {
            header.store(to: UnsafeMutableRawBufferPointer(start: target, count: headerBytes))
            (target + headerBytes).copyMemory(from: source, byteCount: frame.length)
            memory.wrote(first.address, bytes: total)
            let chain = state.receive[pair].chains[0]
            state.receive[pair].forgetChains()
            return queues.stage(queue, chain, written: UInt32(truncatingIfNeeded: total), in: memory)
        }
        header.store(to: UnsafeMutableRawBufferPointer(rebasing: bounce[..<headerBytes]))
        var done = 0
        var segment = 0
        for number in 0..<state.receive[pair].chainCount {
            let chain = state.receive[pair].chains[number]
            let start = done
            for index in segment..<segment + Int(chain.segments) where done < total {
                let buffer = state.receive[pair].allSegments[index]
                var offset: UInt64 = 0
                while offset < UInt64(buffer.length), done < total {
                    // The header is in one place, the frame in another.
                    let end = done < headerBytes ? headerBytes : total
                    let count = min(end - done, Int(UInt64(buffer.length) &- offset))
                    let piece = done < headerBytes
                        ? UnsafeRawBufferPointer(rebasing: bounce[done..<done + count])
                        : UnsafeRawBufferPointer(start: source + (done - headerBytes), count: count)
                    guard memory.write(buffer.address &+ offset, from: piece) == .ok else {
                        queues.fail(queue, .bufferUnreachable(
                            descriptor: chain.head, address: buffer.address &+ offset, length: UInt32(truncatingIfNeeded: count),
                            isWrite: true))
                        return false
                    }
                    done += count
                    offset &+= UInt64(count)
                }
            }
            segment += Int(chain.segments)
            guard queues.stage(queue, chain, written: UInt32(truncatingIfNeeded: done - start), in: memory) else { return false }
        }
        state.receive[pair].forgetChains()
        return true
    }
}
