import Interconnect

/// A block function and its driver.
package final class BlockFixture: FunctionFixture {
    package let block: BlockDevice
    private let bufferBytes: UInt64

    package init(
        _ configuration: BlockConfiguration = BlockConfiguration(), backend: any BlockBackend, observer: (any DataPathObserver)? = nil,
        queueSize: UInt16 = 64, bufferBytes: Int = 1 << 14
    ) {
        let hardware = FixtureHardware()
        self.bufferBytes = UInt64(bufferBytes)
        block = BlockDevice(configuration, backend: backend, path: hardware.path(observer))
        super.init(
            block, number: 1, queueSize: queueSize, queueBytes: 0x10000 + (UInt64(bufferBytes) + 4096) * UInt64(queueSize), on: hardware)
    }

    /// Models at power-on in the place of another fixture's, with its driver, that driver's memory, and its medium.
    package init(replacing other: BlockFixture) {
        let hardware = FixtureHardware()
        bufferBytes = other.bufferBytes
        block = BlockDevice(other.block.configuration, backend: other.block.backend, path: hardware.path(nil))
        super.init(block, replacing: other, on: hardware)
    }

    // MARK: Requests

    /// Where the buffers of request `tag` lie: a page for header and status, then its data.
    package func buffer(_ tag: Int, queue: Int = 0) -> UInt64 {
        queues[queue].buffers + UInt64(tag) * (bufferBytes + 4096)
    }

    package func data(_ tag: Int, queue: Int = 0) -> UInt64 { buffer(tag, queue: queue) + 4096 }

    package func statusByte(_ tag: Int, queue: Int = 0) -> UInt8 { memory.load(buffer(tag, queue: queue) + 16, as: UInt8.self) }

    /// Makes a request available in the buffers of `tag`, its data in `pieces` equal buffers; the head, or nil if the queue is full.
    @discardableResult
    package func submit(
        type: UInt32, sector: UInt64 = 0, bytes: Int = 0, tag: Int = 0, queue: Int = 0, pieces: Int = 1, isIndirect: Bool = false
    ) -> UInt16? {
        let header = buffer(tag, queue: queue)
        memory.store(type, at: header)
        memory.store(UInt32(0), at: header + 4)
        memory.store(sector, at: header + 8)
        memory.store(UInt8(0xff), at: header + 16)
        var segments = [Segment(address: header, length: 16, isWritable: false)]
        for piece in 0..<pieces where bytes > 0 {
            let address = data(tag, queue: queue) + UInt64(bytes / pieces * piece)
            segments.append(Segment(address: address, length: UInt32(bytes / pieces), isWritable: type == 0 || type == 8))
        }
        segments.append(Segment(address: header + 16, length: 1, isWritable: true))
        return isIndirect ? queues[queue].submitIndirect(segments, table: header + 64) : queues[queue].submit(segments)
    }

    /// Submits, notifies, runs to the end: the status byte and what the used element says; nil if no answer came.
    package func perform(
        type: UInt32, sector: UInt64 = 0, bytes: Int = 0, tag: Int = 0, queue: Int = 0, pieces: Int = 1, isIndirect: Bool = false
    ) -> (status: UInt8, written: UInt32)? {
        let head = submit(type: type, sector: sector, bytes: bytes, tag: tag, queue: queue, pieces: pieces, isIndirect: isIndirect)
        notify(queue: queue)
        run()
        guard let used = queues[queue].reap(), used.head == head else { return nil }
        return (statusByte(tag, queue: queue), used.written)
    }
}
