import Registers

/// Makes packets of one initiator's events.
///
/// It lives behind a pointer, with the packet in raw memory: encoding copies and counts nothing.
struct StreamEncoder {
    let initiator: Initiator
    let packet: UnsafeMutableRawPointer
    /// Bytes of the packet in use.
    private(set) var used = TraceLayout.Packet.headerBytes
    /// Times of the packet's first and last event; of the last packet's, while this one is empty.
    private(set) var begin: UInt64 = 0, end: UInt64 = 0
    /// Packets of the stream before this one.
    private(set) var sequence: UInt64 = 0
    private var originBase: UInt32 = 0

    init(_ initiator: Initiator, identity: [UInt8]) {
        typealias Packet = TraceLayout.Packet
        self.initiator = initiator
        packet = .allocate(byteCount: Packet.capacity + TraceLayout.Event.longest, alignment: 64)
        packet.initializeMemory(as: UInt8.self, repeating: 0, count: Packet.headerBytes)
        packet.storeBytes(of: TraceLayout.magic.littleEndian, as: UInt32.self)
        (packet + Packet.identity).copyMemory(from: identity, byteCount: identity.count)
        packet.storeBytes(of: UInt32(initiator.rawValue).littleEndian, toByteOffset: Packet.streamInstance, as: UInt32.self)
        let name = Array(initiator.description.utf8.prefix(Packet.initiatorBytes))
        (packet + Packet.initiator).copyMemory(from: name, byteCount: name.count)
    }

    /// Ends the encoder's life.
    func deallocate() { packet.deallocate() }

    var isEmpty: Bool { used == TraceLayout.Packet.headerBytes }

    /// Whether a packet has to be written before an event at this cycle is added.
    @inline(__always) func isFull(for time: UInt64) -> Bool {
        used + TraceLayout.Event.longest > TraceLayout.Packet.capacity
            || !isEmpty && time > end && time - end >= TraceLayout.Header.span
    }

    /// Adds an event, for which the packet has room. A time before that of the event before counts as that: a stream's time only goes on.
    ///
    /// - Parameter event: in its slots; `tail` is what follows the first of them.
    mutating func add(_ event: UnsafePointer<RawEvent>, tail: UnsafeRawBufferPointer) {
        begin(at: event.pointee.time, origin: event.pointee.origin)
        switch event.pointee.kind {
        case .register: addAccess(event)
        case .elsewhere: addElsewhere(event)
        case let kind?: addOther(kind, event, tail)
        case nil: break
        }
    }

    /// Adds the event that ends a trace: how many events there were, and the hash of all of them.
    mutating func addEnd(at time: UInt64, events: UInt64, hash: UInt64) {
        begin(at: time, origin: 0)
        header(TraceLayout.Event.end, time)
        put(events)
        put(hash)
    }

    /// Completes the packet's header and begins the next one.
    ///
    /// - Parameter whole: with what it occupies in the file, in bytes: at least its content.
    /// - Returns: the content's bytes, which stay in `packet` until the next event is added.
    mutating func finish(occupying whole: (Int) -> Int) -> Int {
        typealias Packet = TraceLayout.Packet
        let bytes = used
        func store(_ value: UInt64, at place: Int) { packet.storeBytes(of: value.littleEndian, toByteOffset: place, as: UInt64.self) }
        packet.storeBytes(of: originBase.littleEndian, toByteOffset: Packet.originBase, as: UInt32.self)
        store(begin, at: Packet.begin)
        store(end, at: Packet.end)
        store(UInt64(bytes) * 8, at: Packet.contentBits)
        store(sequence, at: Packet.sequence)
        store(UInt64(whole(bytes)) * 8, at: Packet.packetBits)
        store(Packet.checksum(packet, bytes: bytes), at: Packet.checksum)
        sequence += 1
        used = Packet.headerBytes
        return bytes
    }

    // MARK: Fields

    private mutating func begin(at time: UInt64, origin: UInt32) {
        guard isEmpty else { return }
        begin = max(time, end)
        end = begin
        originBase = origin & ~(1 << TraceLayout.originBits - 1)
    }

    @inline(__always)
    private mutating func put<Value: FixedWidthInteger>(_ value: Value) {
        packet.storeBytes(of: value.littleEndian, toByteOffset: used, as: Value.self)
        used += MemoryLayout<Value>.size
    }

    /// The header of an event, whose time it makes the stream's.
    @inline(__always)
    private mutating func header(_ number: UInt8, _ cycle: UInt64) {
        let time = max(cycle, end)
        typealias Header = TraceLayout.Header
        if time &- end < 1 << Header.timeBits {
            put(UInt16(truncatingIfNeeded: time << Header.identifierBits) | UInt16(number))
        } else if time &- end < 1 << Header.mediumTimeBits {
            put(UInt32(truncatingIfNeeded: time << (2 * Header.identifierBits)) | UInt32(number) << 6 | UInt32(Header.medium))
        } else {
            put(Header.extended)
            put(number)
            put(UInt32(truncatingIfNeeded: time))
        }
        end = time
    }

    @inline(__always)
    private mutating func addAccess(_ event: UnsafePointer<RawEvent>) {
        typealias Event = TraceLayout.Event
        let raw = event.pointee
        let operation = raw.operation
        guard raw.status == 0, raw.byte & 3 == 0, raw.element < 256, raw.wait < 1 << 16, raw.register < TraceLayout.shortRegisters,
            raw.origin &- originBase < 1 << TraceLayout.originBits
        else {
            header(Event.access, raw.time)
            put(operation | raw.byte << 3)
            put(raw.status)
            put(raw.register)
            put(UInt32(clamping: raw.wait))
            put(raw.origin)
            put(raw.element)
            put(raw.old)
            put(raw.new)
            return
        }
        let significant = 64 - (raw.old | raw.new).leadingZeroBitCount
        let width: UInt8 = significant <= 8 ? 0 : significant <= 16 ? 1 : significant <= 32 ? 2 : 3
        let isChanged = raw.old != raw.new
        var number = width
        if isChanged { number |= Event.changed }
        if raw.element != 0 { number |= Event.element }
        if raw.wait >= 256 { number |= Event.longWait }
        header(number, raw.time)
        put(UInt16(operation) | UInt16(raw.byte) << 1 | raw.register << 4)
        // What a store writes beyond its field, the next one overwrites: the packet has room for the last.
        put(UInt16(truncatingIfNeeded: raw.wait))
        if raw.wait < 256 { used -= 1 }
        put(raw.origin)
        used -= 1
        if raw.element != 0 { put(UInt8(truncatingIfNeeded: raw.element)) }
        let bytes = 1 << Int(width)
        if isChanged {
            put(raw.old)
            used += bytes - 8
        }
        put(raw.new)
        used += bytes - 8
    }

    private mutating func addElsewhere(_ event: UnsafePointer<RawEvent>) {
        let raw = event.pointee
        header(TraceLayout.Event.elsewhere, raw.time)
        put(raw.operation)
        put(raw.status)
        put(UInt8(truncatingIfNeeded: raw.element))
        put(UInt32(clamping: raw.wait))
        put(raw.origin)
        put(raw.old)
        put(raw.new)
    }

    private mutating func addOther(_ kind: RawEvent.Kind, _ event: UnsafePointer<RawEvent>, _ tail: UnsafeRawBufferPointer) {
        typealias Event = TraceLayout.Event
        let raw = event.pointee, number = UInt8(truncatingIfNeeded: raw.initiator.number)
        let level: UInt8 = raw.isSet ? 1 : 0
        switch kind {
        case .register, .elsewhere: break
        case .line:
            header(Event.line, raw.time)
            put(raw.element)
            put(level)
        case .message:
            header(Event.message, raw.time)
            put(number)
            put(raw.element)
            put(level)
        case .lineMessage:
            header(Event.lineMessage, raw.time)
            put(number)
            put(level)
        case .trap:
            header(Event.trap, raw.time)
            put(number)
            put(UInt32(truncatingIfNeeded: raw.old))
            put(raw.origin)
            put(UInt32(truncatingIfNeeded: raw.new))
        case .dma:
            header(Event.dma, raw.time)
            put(number)
            put(level)
            put(raw.status)
            put(raw.old)
            put(UInt32(truncatingIfNeeded: raw.new))
        case .queue:
            header(Event.queue, raw.time)
            put(number)
            put(raw.element)
            put(raw.status)
            put(raw.register)
            put(UInt32(truncatingIfNeeded: raw.new))
            put(UInt16(truncatingIfNeeded: raw.amount))
        case .fault:
            header(Event.fault, raw.time)
            put(raw.status)
            put(raw.old)
            put(raw.origin)
            put(tail)
            put(UInt8(0))
        case .text:
            header(Event.log, raw.time)
            put(tail)
            put(UInt8(0))
        case .record:
            header(Event.record, raw.time)
            put(raw.register)
            put(UInt8(truncatingIfNeeded: tail.count / 4))
            put(tail)
        }
    }

    private mutating func put(_ bytes: UnsafeRawBufferPointer) {
        guard let base = bytes.baseAddress else { return }
        (packet + used).copyMemory(from: base, byteCount: bytes.count)
        used += bytes.count
    }
}
