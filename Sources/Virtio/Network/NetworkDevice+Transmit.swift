import Interconnect
import Registers
import Simulation

/// Frames from the driver: taken from the queue, served by a core, fetched over the link, and gone.
extension NetworkDevice {
    /// Takes what the driver has made available, as far as slots last.
    func take(_ pair: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        let queue = 2 * pair + 1
        let headerBytes = UInt64(NetworkHeader.bytes(state.features))
        repeat {
            while true {
                guard !state.transmit[pair].isFull else {
                    // Looked at again when slots come free.
                    state.transmit[pair].isStalled = true
                    queues.disableNotifications(queue, in: memory)
                    return serveTransmit(pair)
                }
                guard let chain = queues.take(queue, from: memory, into: state.transmit[pair].newSegments) else { break }
                guard chain.readableBytes >= headerBytes else {
                    queues.fail(queue, .requestTooShort(
                        head: chain.head, readable: chain.readableBytes, writable: chain.writableBytes))
                    return
                }
                state.inFlight += 1
                let slot = TransmitQueue.Slot(
                    chain: chain, arrival: cycle, depth: UInt32(truncatingIfNeeded: state.inFlight), position: state.sent)
                state.transmit[pair].append(slot)
                state.sent &+= chain.readableBytes &- headerBytes
                path.observer?.requestArrived(report(slot, pair, headerBytes))
            }
            state.transmit[pair].isStalled = false
            serveTransmit(pair)
            // While a core is at work on the queue the device looks by itself when that ends, and needs no notification.
            if state.transmit[pair].inService > 0 {
                queues.disableNotifications(queue, in: memory)
                return
            }
        } while queues.awaitChains(queue, at: cycle, in: memory)
    }

    func report(_ slot: TransmitQueue.Slot, _ pair: Int, _ headerBytes: UInt64, completion: Cycle = 0) -> IORequest {
        var stages = StageTimes()
        if completion != 0 { (stages.cores, stages.linkToDevice) = (slot.served &- slot.arrival, completion &- slot.served) }
        return IORequest(
            owner: owner, queue: UInt16(truncatingIfNeeded: 2 * pair + 1), kind: .write, position: slot.position,
            bytes: slot.chain.readableBytes &- headerBytes, arrival: slot.arrival, completion: completion, depth: slot.depth,
            stages: stages)
    }

    /// Gives a core what waits, unless one is at work on the queue.
    private func serveTransmit(_ pair: Int) {
        let waiting = state.transmit[pair].waiting
        guard state.transmit[pair].inService == 0, waiting > 0 else { return }
        let count = min(waiting, Self.burst)
        state.transmit[pair].inService = count
        path.cores.submit(
            cost: configuration.packetCost &* UInt64(count), owner: owner,
            id: Burst(.transmitService, pair, state.transmit[pair].generation, count).id, port: corePort)
    }

    /// The core is done with a burst: descriptors, headers and frames move over the link.
    func transmitServed(_ burst: Burst, _ queues: inout QueueSet, at cycle: Cycle) {
        let pair = burst.pair
        var bytes: UInt64 = 0
        for number in 0..<burst.count {
            state.transmit[pair].served(state.transmit[pair].onLink + number, at: cycle)
            let chain = state.transmit[pair].chains[state.transmit[pair].place(state.transmit[pair].onLink + number)].chain
            bytes &+= chain.readableBytes &+ Self.descriptorBytes &* UInt64(chain.segments)
        }
        state.transmit[pair].inService = 0
        state.transmit[pair].onLink += burst.count
        path.fromHost.submit(
            bytes: bytes, owner: owner, id: Burst(.transmitLink, pair, burst.generation, burst.count).id, port: fetchPort)
        take(pair, &queues, at: cycle)
    }

    /// A burst has come over the link: its frames leave, their chains go back.
    func transmitFetched(_ burst: Burst, _ queues: inout QueueSet, at cycle: Cycle) {
        let pair = burst.pair, queue = 2 * pair + 1
        let headerBytes = NetworkHeader.bytes(state.features)
        for _ in 0..<burst.count {
            let place = state.transmit[pair].place(0)
            let slot = state.transmit[pair].chains[place]
            if let fault = send(pair, place, slot.chain, headerBytes, at: cycle) {
                queues.publish(queue, in: memory)
                return queues.fail(queue, fault)
            }
            guard queues.stage(queue, slot.chain, written: 0, in: memory) else { return }
            state.transmit[pair].removeFirst()
            state.inFlight -= 1
            path.observer?.requestCompleted(report(slot, pair, UInt64(headerBytes), completion: cycle))
        }
        queues.publish(queue, in: memory)
        putFrames(burst.count, queue: queue, &queues, at: cycle)
        if state.transmit[pair].isStalled { take(pair, &queues, at: cycle) }
    }

    /// Reads a frame and hands it to the backend; the fault if it can't be read.
    private func send(_ pair: Int, _ place: Int, _ chain: DescriptorChain, _ headerBytes: Int, at cycle: Cycle) -> QueueFault? {
        let total = chain.readableBytes
        guard total >= UInt64(headerBytes + NetworkFrame.minimumBytes), total <= UInt64(headerBytes + configuration.frameBytes) else {
            state.counters.transmitErrors &+= 1
            return nil
        }
        var done = 0
        for index in 0..<Int(chain.readableSegments) {
            let segment = state.transmit[pair].segment(place, index)
            let piece = UnsafeMutableRawBufferPointer(rebasing: bounce[done..<done + Int(segment.length)])
            guard memory.read(segment.address, into: piece) == .ok else {
                return .bufferUnreachable(
                    descriptor: chain.head, address: segment.address, length: segment.length, isWrite: false)
            }
            done += piece.count
        }
        let header = NetworkHeader(UnsafeRawBufferPointer(bounce))
        let bytes = UnsafeMutableRawBufferPointer(rebasing: bounce[headerBytes..<done])
        var frame = NetworkFrame(UnsafeRawBufferPointer(bytes))
        // Section 5.1.6.2.1: nothing but what was negotiated; segmentation never is.
        var isAcceptable = header.gsoType == 0
        if header.flags & NetworkHeader.needsChecksum != 0 {
            frame.isChecksumValid = state.features.contains(.networkChecksum) && PacketHeaders.completeChecksum(
                bytes, start: Int(header.checksumStart), offset: Int(header.checksumOffset))
            isAcceptable = isAcceptable && frame.isChecksumValid
        }
        guard isAcceptable, state.space.isLinkUp else {
            if !isAcceptable { state.counters.transmitErrors &+= 1 }
            return nil
        }
        if state.activePairs > 1 { state.flows[Int(PacketHeaders.flow(frame.bytes) & 0xff)] = UInt8(pair) }
        state.counters.transmitted &+= 1
        state.counters.transmittedBytes &+= UInt64(bytes.count)
        backend.transmit(frame, from: port, at: cycle)
        return nil
    }
}
