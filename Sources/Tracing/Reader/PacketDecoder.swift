import Registers

/// Decodes the events of one packet.
struct PacketDecoder {
    /// Where the packet is in its file.
    let offset: Int
    /// Of its content; `occupied` is what it is declared to have in the file.
    let bytes: Int
    let occupied: Int
    let sequence: UInt64
    let begin: UInt64
    let end: UInt64
    /// Time of the event that was decoded last.
    private(set) var time: UInt64
    /// Where the next event begins.
    private(set) var position: Int

    private let content: [UInt8]
    private let originBase: UInt32
    private let initiator: Initiator

    /// What is wrong with a packet.
    struct Failure: Error {
        let description: String
        let cause: Cause

        enum Cause {
            case damage
            /// It may be a packet that was being written when a recording was killed.
            case unfinished
            /// The file ends within it.
            case cutOff
        }

        init(_ description: String, _ cause: Cause = .damage) {
            self.description = description
            self.cause = cause
        }
    }

    enum Item {
        case event(TraceEvent)
        /// The trace ends: so many events there were, with this hash.
        case end(UInt64, UInt64)
    }

    /// No packet: at its end.
    init() {
        (offset, bytes, occupied, sequence, begin, end, time, position) = (0, 0, 0, 0, 0, 0, 0, 0)
        (content, originBase, initiator) = ([], 0, .device)
    }

    /// - Parameter content: from the packet's first byte on, and at least to its end if it is whole.
    init(_ content: [UInt8], at offset: Int, of initiator: Initiator, identity: [UInt8]) throws(Failure) {
        typealias Packet = TraceLayout.Packet
        guard content.count >= Packet.headerBytes else {
            throw Failure("a packet's header of \(Packet.headerBytes) bytes expected, \(content.count) found", .cutOff)
        }
        func word(_ place: Int) -> UInt64 { Self.load(content, place, as: UInt64.self) }
        func half(_ place: Int) -> UInt32 { Self.load(content, place, as: UInt32.self) }
        guard half(Packet.magic) == TraceLayout.magic else {
            throw Failure("a packet's magic 0x\(hex(TraceLayout.magic)) expected, 0x\(hex(half(Packet.magic))) found", .unfinished)
        }
        guard content[Packet.identity..<Packet.streamClass].elementsEqual(identity) else {
            throw Failure("a packet of another trace: its identity is not that of the metadata")
        }
        guard half(Packet.streamClass) == 0, half(Packet.streamInstance) == UInt32(initiator.rawValue) else {
            throw Failure("a packet of \(initiator) expected, one of stream \(half(Packet.streamInstance)) found")
        }
        let bits = word(Packet.contentBits)
        guard bits % 8 == 0, bits / 8 >= UInt64(Packet.headerBytes), bits / 8 <= UInt64(Packet.capacity) else {
            throw Failure("a packet of at most \(Packet.capacity) bytes expected, one of \(bits) bits found")
        }
        bytes = Int(bits / 8)
        guard bytes <= content.count else {
            throw Failure("\(bytes) bytes of a packet expected, \(content.count) found", .cutOff)
        }
        let sum = content.withUnsafeBytes { Packet.checksum($0.baseAddress!, bytes: Int(bits / 8)) }
        guard word(Packet.checksum) == sum else {
            throw Failure("a packet's checksum 0x\(hex(sum)) expected, 0x\(hex(word(Packet.checksum))) found", .unfinished)
        }
        self.offset = offset
        self.content = content
        self.initiator = initiator
        occupied = Int(clamping: word(Packet.packetBits) / 8)
        sequence = word(Packet.sequence)
        begin = word(Packet.begin)
        end = word(Packet.end)
        originBase = half(Packet.originBase)
        time = begin
        position = Packet.headerBytes
    }

    /// As the packet has to be in an index.
    var indexed: PieceIndex.Entry {
        let bits = UInt64(bytes) * 8
        return PieceIndex.Entry(
            offset: UInt64(offset), bits: bits, contentBits: bits, begin: begin, end: end, instance: UInt64(initiator.rawValue),
            sequence: sequence)
    }

    var isAtEnd: Bool { position == bytes }

    // MARK: Events

    /// Decodes the next event.
    ///
    /// - Parameter registers: how many the trace has names of.
    mutating func next(_ initiator: Initiator, registers: Int) throws(Failure) -> Item {
        typealias Header = TraceLayout.Header
        let before = time
        let first = try take(UInt8.self)
        var number = first & 0x3f
        if number == Header.medium {
            let second = try take(UInt8.self)
            number = second << 2 & 0x3f | first >> 6
            let low = UInt64(second >> 4) | UInt64(try take(UInt16.self)) << 4
            time = Self.extended(time, with: low, bits: Header.mediumTimeBits)
        } else if number == Header.extended {
            number = try take(UInt8.self)
            time = Self.extended(time, with: UInt64(try take(UInt32.self)), bits: 32)
        } else {
            let low = UInt64(try take(UInt8.self)) << 2 | UInt64(first >> 6)
            time = Self.extended(time, with: low, bits: Header.timeBits)
        }
        guard before <= time, time <= end else { throw Failure("a time from \(before) to \(end) expected, \(time) found") }
        return try item(number, initiator, registers)
    }

    /// Time only goes forward in a stream: its low bits going back means that the high ones went on.
    private static func extended(_ time: UInt64, with low: UInt64, bits: UInt64) -> UInt64 {
        time &+ ((low &- time) & (1 << bits - 1))
    }

    private mutating func item(_ number: UInt8, _ initiator: Initiator, _ registers: Int) throws(Failure) -> Item {
        typealias Event = TraceLayout.Event
        switch number {
        case ..<Event.shortAccesses: return .event(try shortAccess(number, initiator, registers))
        case Event.access, Event.elsewhere: return .event(try access(number, initiator, registers))
        case Event.line:
            return .event(.interrupt(InterruptEvent(time: time, step: .line(try take(), level: try takeFlag()))))
        case Event.message:
            return .event(.interrupt(InterruptEvent(
                time: time, step: .message(function: try take(), vector: try take(UInt16.self), level: try takeFlag()))))
        case Event.lineMessage:
            return .event(.interrupt(InterruptEvent(
                time: time, step: .message(function: try take(), vector: nil, level: try takeFlag()))))
        case Event.trap:
            return .event(.interrupt(InterruptEvent(
                time: time, step: .trap(hart: try take(), cause: try take(), pc: try take(), handler: try take()))))
        case Event.dma:
            let (function, isWrite, status) = (try take(UInt8.self), try takeFlag(), try takeCase(BusStatus.self))
            return .event(.dma(DMAEvent(
                time: time, function: function, isWrite: isWrite, address: try take(), bytes: try take(), status: status)))
        case Event.queue:
            let (function, queue, step) = (try take(UInt8.self), try take(UInt16.self), try takeCase(QueueEvent.Step.self))
            return .event(.queue(QueueEvent(
                time: time, function: function, queue: queue, step: step, head: try take(), bytes: try take(), depth: try take())))
        case Event.fault:
            let kind = try takeCase(FaultEvent.Kind.self)
            return .event(.fault(FaultEvent(
                time: time, kind: kind, initiator: initiator, address: try take(), origin: try take(), name: try takeText())))
        case Event.log: return .event(.log(LogEvent(time: time, content: .line(try takeText()))))
        case Event.record:
            let kind = try take(UInt16.self)
            var arguments: [UInt32] = []
            for _ in 0..<(try take(UInt8.self)) { arguments.append(try take()) }
            return .event(.log(LogEvent(time: time, content: .record(kind: kind, arguments: arguments))))
        case Event.end: return .end(try take(), try take())
        default: throw Failure("an event with a number up to \(Event.end) expected, \(number) found")
        }
    }

    private mutating func shortAccess(_ number: UInt8, _ initiator: Initiator, _ registers: Int) throws(Failure) -> TraceEvent {
        typealias Event = TraceLayout.Event
        let key = try take(UInt16.self)
        let wait = number & Event.longWait != 0 ? UInt64(try take(UInt16.self)) : UInt64(try take(UInt8.self))
        let origin = UInt32(try take(UInt16.self)) | UInt32(try take(UInt8.self)) << 16
        let element = number & Event.element != 0 ? UInt16(try take(UInt8.self)) : 0
        let old = try takeValue(number & Event.widthMask)
        let new = number & Event.changed != 0 ? try takeValue(number & Event.widthMask) : old
        return .access(AccessEvent(
            time: time, wait: wait, initiator: initiator, origin: originBase | origin, isWrite: key & 4 != 0, size: 1 << UInt8(key & 3),
            status: .ok, target: .register(try known(key >> 4, registers), element: element, byte: key & 8 == 0 ? 0 : 4), old: old,
            new: new))
    }

    private mutating func access(_ number: UInt8, _ initiator: Initiator, _ registers: Int) throws(Failure) -> TraceEvent {
        let operation = try take(UInt8.self), status = try takeCase(BusStatus.self)
        let isRegister = number == TraceLayout.Event.access
        let place = isRegister ? try known(take(), registers) : UInt16(try take(UInt8.self))
        let wait = try take(UInt32.self), origin = try take(UInt32.self)
        let element = isRegister ? try take(UInt16.self) : 0
        let first = try take(UInt64.self), new = try take(UInt64.self)
        return .access(AccessEvent(
            time: time, wait: UInt64(wait), initiator: initiator, origin: origin, isWrite: operation & 4 != 0, size: 1 << (operation & 3),
            status: status,
            target: isRegister
                ? .register(place, element: element, byte: operation >> 3) : .address(first, bus: UInt8(truncatingIfNeeded: place)),
            old: isRegister ? first : 0, new: new))
    }

    // MARK: Fields

    private static func load<Value: FixedWidthInteger>(_ bytes: [UInt8], _ place: Int, as type: Value.Type) -> Value {
        bytes.withUnsafeBytes { Value(littleEndian: $0.loadUnaligned(fromByteOffset: place, as: Value.self)) }
    }

    private mutating func take<Value: FixedWidthInteger>(_ type: Value.Type = Value.self) throws(Failure) -> Value {
        guard bytes - position >= MemoryLayout<Value>.size else { throw Failure("more of the event expected, the packet's end found") }
        defer { position += MemoryLayout<Value>.size }
        return Self.load(content, position, as: Value.self)
    }

    private mutating func takeValue(_ width: UInt8) throws(Failure) -> UInt64 {
        switch width {
        case 0: UInt64(try take(UInt8.self))
        case 1: UInt64(try take(UInt16.self))
        case 2: UInt64(try take(UInt32.self))
        default: try take(UInt64.self)
        }
    }

    private mutating func takeFlag() throws(Failure) -> Bool {
        let value = try take(UInt8.self)
        guard value < 2 else { throw Failure("0 or 1 expected, \(value) found") }
        return value == 1
    }

    private mutating func takeCase<Value: RawRepresentable>(_ type: Value.Type) throws(Failure) -> Value where Value.RawValue == UInt8 {
        let raw = try take(UInt8.self)
        guard let value = Value(rawValue: raw) else { throw Failure("a number of a \(Value.self) expected, \(raw) found") }
        return value
    }

    private mutating func takeText() throws(Failure) -> String {
        guard let end = content[position..<bytes].firstIndex(of: 0) else {
            throw Failure("the end of a text expected, the packet's end found")
        }
        defer { position = end + 1 }
        return String(decoding: content[position..<end], as: UTF8.self)
    }

    private func known(_ register: UInt16, _ registers: Int) throws(Failure) -> UInt16 {
        guard register < registers else { throw Failure("a register number below \(registers) expected, \(register) found") }
        return register
    }
}

func hex(_ value: some BinaryInteger) -> String { String(value, radix: 16) }
