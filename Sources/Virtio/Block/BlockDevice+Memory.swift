import Interconnect

/// What passes between a request's buffers, in its driver's memory, and the device.
extension BlockDevice {
    /// Copies readable bytes of a request, from byte `offset` of its readable buffers on; the fault if that can't be read.
    func gather(
        _ requests: BlockRequestTable, _ slot: Int, from offset: UInt64, into bytes: UnsafeMutableRawBufferPointer
    ) -> QueueFault? {
        move(requests, slot, in: 0..<Int(requests[slot].chain.readableSegments), from: offset, bytes, isWrite: false)
    }

    /// Copies into the writable buffers of a request, from byte `offset` of them on; the fault if that can't be written.
    func scatter(_ requests: BlockRequestTable, _ slot: Int, at offset: UInt64, _ bytes: UnsafeMutableRawBufferPointer) -> QueueFault? {
        let chain = requests[slot].chain
        return move(requests, slot, in: Int(chain.readableSegments)..<Int(chain.segments), from: offset, bytes, isWrite: true)
    }

    private func move(
        _ requests: BlockRequestTable, _ slot: Int, in segments: Range<Int>, from offset: UInt64, _ bytes: UnsafeMutableRawBufferPointer,
        isWrite: Bool
    ) -> QueueFault? {
        var skip = offset
        var done = 0
        for index in segments where done < bytes.count {
            let segment = requests.segment(slot, index)
            guard skip < UInt64(segment.length) else {
                skip &-= UInt64(segment.length)
                continue
            }
            let count = min(Int(UInt64(segment.length) &- skip), bytes.count - done)
            let piece = UnsafeMutableRawBufferPointer(rebasing: bytes[done..<done + count])
            let address = segment.address &+ skip
            let status = isWrite ? memory.write(address, from: UnsafeRawBufferPointer(piece)) : memory.read(address, into: piece)
            guard status == .ok else {
                return .bufferUnreachable(
                    descriptor: requests[slot].chain.head, address: address, length: UInt32(truncatingIfNeeded: count), isWrite: isWrite)
            }
            done += count
            skip = 0
        }
        return nil
    }

    /// Whether every buffer of a request can still be reached: nothing of it moves otherwise.
    func recheck(_ requests: BlockRequestTable, _ slot: Int) -> QueueFault? {
        let chain = requests[slot].chain
        for index in 0..<Int(chain.segments) {
            let segment = requests.segment(slot, index)
            guard memory.check(segment.address, bytes: Int(segment.length), isWrite: segment.isWritable) == .ok else {
                return .bufferUnreachable(
                    descriptor: chain.head, address: segment.address, length: segment.length, isWrite: segment.isWritable)
            }
        }
        return nil
    }
}
