import CLinux
import Glibc
import OffloadDevice
import Virtio

/// Queues as a front-end sets them up, starts and stops them, and the table of their chains in flight.
extension Session {
    // MARK: Chains in flight

    /// Makes the table in which chains in flight are noted.
    func makeInflight(_ reader: inout PayloadReader, _ payload: Int) throws(ProtocolError) -> Answer {
        let (_, _, count, size): (UInt64, UInt64, UInt16, UInt16) =
            (try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer())
        try checkInflight(count, size)
        let bytes = inflightBytes(size) * Int(count)
        let descriptor = memfd_create("outrigger-inflight", UInt32(outrigger_memfd_cloexec))
        guard descriptor >= 0, ftruncate(descriptor, off_t(bytes)) == 0 else {
            let code = errno
            if descriptor >= 0 { close(descriptor) }
            throw ProtocolError("memfd of \(bytes) bytes: \(String(cString: strerror(code)))")
        }
        var answer = Self.payload(UInt64(bytes)) + Self.payload(0)
        answer.append(integer: count)
        answer.append(integer: size)
        // As long as the request: some front-ends' structure ends with padding.
        answer += [UInt8](repeating: 0, count: max(payload - answer.count, 0))
        return .descriptor(answer, descriptor)
    }

    func setInflight(_ reader: inout PayloadReader, _ descriptors: [Int32]) throws(ProtocolError) {
        let (bytes, offset, count, size): (UInt64, UInt64, UInt16, UInt16) =
            (try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer())
        try checkInflight(count, size)
        guard descriptors.count == 1 else { throw ProtocolError("expected a descriptor, found \(descriptors.count)") }
        guard offset & 63 == 0, bytes >= UInt64(inflightBytes(size) * Int(count)) else {
            throw ProtocolError("expected \(inflightBytes(size) * Int(count)) bytes from a multiple of 64 on, "
                + "found \(bytes) from \(offset) on")
        }
        guard !queues.contains(where: \.isRunning) else { throw ProtocolError("expected no running queue, found one") }
        do {
            inflight = (try GuestPages(descriptor: descriptors[0], offset: offset, count: bytes), Int(count), size)
        } catch {
            throw ProtocolError("\(error)")
        }
    }

    /// Bytes of the table of one queue.
    private func inflightBytes(_ size: UInt16) -> Int {
        isPacked ? PackedInflightTable.bytes(size: size) : InflightTable.bytes(size: size)
    }

    private func checkInflight(_ count: UInt16, _ size: UInt16) throws(ProtocolError) {
        guard (1...queueCount).contains(Int(count)), (1...VirtioDevice.largestFrontEndQueue).contains(size) else {
            throw ProtocolError("expected 1 to \(queueCount) queues with up to \(VirtioDevice.largestFrontEndQueue) entries, "
                + "found \(count) with \(size)")
        }
    }

    // MARK: Queues

    /// The queue and the descriptor that a message names: bits 0 to 7, and bit 8 if there is none.
    func eventDescriptor(
        _ reader: inout PayloadReader, _ message: inout Message
    ) throws(ProtocolError) -> (queue: Int, EventDescriptor?) {
        let value: UInt64 = try reader.integer()
        let queue = try index(value & 0xff)
        guard value & 1 << 8 == 0 else { return (queue, nil) }
        guard message.descriptors.count == 1 else {
            throw ProtocolError("queue \(queue): expected a descriptor, found \(message.descriptors.count)")
        }
        let descriptor = try EventDescriptor(message.descriptors[0])
        message.descriptors[0] = -1
        return (queue, descriptor)
    }

    func setQueueAddresses(_ reader: inout PayloadReader) throws(ProtocolError) {
        let queue = try index(reader.integer(UInt32.self))
        let _: UInt32 = try reader.integer()
        let (descriptors, used, available): (UInt64, UInt64, UInt64) = (try reader.integer(), try reader.integer(), try reader.integer())
        try requireStopped(queue)
        queues[queue].layout = (
            queues[queue].size, try map.guestAddress(ofUser: descriptors), try map.guestAddress(ofUser: available),
            try map.guestAddress(ofUser: used))
    }

    func setQueueKick(_ reader: inout PayloadReader, _ message: inout Message) throws(ProtocolError) {
        let (queue, descriptor) = try eventDescriptor(&reader, &message)
        guard let descriptor else { throw ProtocolError("queue \(queue): expected a descriptor to wait for, found none") }
        queues[queue].kick?.closeDescriptor()
        queues[queue].kick = descriptor
        queues[queue].isStarted = true
        // Without protocol features there are no messages that enable queues.
        if !hasProtocolFeatures { queues[queue].isEnabled = true }
        try startIfReady(queue)
    }

    func startIfReady(_ queue: Int) throws(ProtocolError) {
        guard queues[queue].isStarted, queues[queue].isEnabled, !queues[queue].isRunning else { return }
        guard let known = queues[queue].layout else { throw ProtocolError("queue \(queue): expected its addresses first, found none") }
        let layout = QueueLayout(
            size: queues[queue].size, descriptorArea: known.descriptors, driverArea: known.driver, deviceArea: known.device)
        let (start, table) = try start(queue, layout)
        machine.inspect { _ in
            let port = device.takeUnretainedValue().frontEnd
            if port.inflightTables.isEmpty { port.inflightTables = Array(repeating: nil, count: queueCount) }
            port.inflightTables[queue] = table
            port.inflight = inflight?.pages
        }
        try perform(.start(queue: queue, layout, start))
        queues[queue].isRunning = true
    }

    /// Where a queue goes on: with a table of chains in flight, all that was not given back is taken up again.
    private func start(_ queue: Int, _ layout: QueueLayout) throws(ProtocolError) -> (QueueStart, InflightNotes?) {
        var place: UnsafeMutableRawPointer?
        if let inflight, queue < inflight.queues {
            guard layout.size <= inflight.size else {
                throw ProtocolError("queue \(queue): expected up to \(inflight.size) entries, for which chains in flight are noted, "
                    + "found \(layout.size)")
            }
            place = inflight.pages.bytes.baseAddress! + queue * inflightBytes(inflight.size)
        }
        let base = UInt16(truncatingIfNeeded: queues[queue].base)
        if isPacked { return try startPacked(queue, layout, from: base, notingAt: place) }
        let used = try map.word(at: layout.deviceArea &+ 2)
        guard let place else { return (QueueStart(taken: base, used: used), nil) }
        var table = InflightTable(place, size: layout.size)
        let unfinished = table.recover(used: used)
        return (QueueStart(taken: used &+ UInt16(truncatingIfNeeded: unfinished.count), used: used, unfinished: unfinished), .split(table))
    }

    /// Of a packed queue's base the lower half counts, where the device takes next: when a queue stopped, all was given back. Some
    /// front-ends leave the upper half zero.
    private func startPacked(
        _ queue: Int, _ layout: QueueLayout, from base: UInt16, notingAt place: UnsafeMutableRawPointer?
    ) throws(ProtocolError) -> (QueueStart, InflightNotes?) {
        let table = place.map { PackedInflightTable($0, size: layout.size) }
        let map = map
        let position = try table?.recover(from: base) { (position) throws(ProtocolError) in
            let flags = try map.word(at: layout.descriptorArea &+ 16 &* UInt64(position & 0x7fff) &+ 14)
            return PackedQueue.isAvailable(flags: flags, at: position)
        } ?? base
        guard position & 0x7fff < layout.size else {
            throw ProtocolError("queue \(queue): expected a position in a ring of \(layout.size), found \(position & 0x7fff)")
        }
        return (QueueStart(taken: position, used: position), table.map { .packed($0) })
    }

    /// Stops a queue when all that was taken from it has been given back.
    func stop(_ queue: Int) throws(ProtocolError) {
        guard queues[queue].isRunning else { return }
        try perform(.pause(queue: queue))
        while !machine.inspect({ _ in device.takeUnretainedValue().device.isDrained(queue: queue) }) {
            machine.lendThread(for: 200_000)
            var event = pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)
            // Device time may follow the wall clock, or stand still for a debugger; a stop of the server ends the wait.
            if poll(&event, 1, 1) > 0 { throw ProtocolError("queue \(queue): expected it to finish, found the device taken away") }
        }
        queues[queue].isRunning = false
        guard case .taken(let next) = machine.perform(.frontEnd(function: function, .stop(queue: queue))) else {
            // The device has failed, and forgotten it.
            return
        }
        let position = UInt32(truncatingIfNeeded: next) & 0xffff
        queues[queue].base = isPacked ? position | position << 16 : position
    }

    /// A stopped queue waits for another kick descriptor.
    func forget(_ queue: Int) {
        queues[queue].kick?.closeDescriptor()
        queues[queue].kick = nil
        queues[queue].isStarted = false
        queues[queue].isRunning = false
    }
}
