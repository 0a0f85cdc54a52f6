import Registers

/// An event on its way from the machine to the writer's thread: 48 bytes without pointers, which are also what the trace hash is over.
///
/// Text and arguments that don't fit follow in slots of their own, zero-padded.
///
/// An access is stored as it is, a word at a time; the writer's thread makes of it what a trace has. Several fields in a word are put
/// together in registers and stored whole, because a load of eight bytes that were just stored in parts waits until they are in the cache.
@frozen public struct RawEvent: Sendable {
    /// Register or descriptor or kind of record; element or wire or vector or queue, or bus of an access without a register; in bits 32 to
    /// 39 the status or step; in bits 40 to 47 the ``Kind``. Before: value, address of an access without a register, of a transfer, of a
    /// fault, cause of a trap. After: value, bytes of a transfer or a request, handler of a trap.
    @usableFromInline var tap: RegisterTap
    /// Cycle at which it happened; at which an access was issued.
    public var time: UInt64
    /// Cycle at which an access came back; requests in flight; bytes that follow.
    @usableFromInline var end: UInt64
    /// ``BusAccess/tag``: origin is the program counter, the process, the queue of a fault; `isWrite` the level of a line, too.
    @usableFromInline var tag: UInt64

    /// What it is; the number is part of the hash.
    @usableFromInline enum Kind: UInt8 {
        case register = 0, elsewhere, line, message, lineMessage, trap, dma, queue, fault, text, record
    }

    @usableFromInline static var statusShift: UInt64 { @inlinable get { 32 } }
    @usableFromInline static var kindShift: UInt64 { @inlinable get { 40 } }

    init(
        _ kind: Kind, time: UInt64, initiator: Initiator, status: UInt8 = 0, isSet: Bool = false, old: UInt64 = 0, new: UInt64 = 0,
        origin: UInt32 = 0, amount: UInt32 = 0, register: UInt16 = 0, element: UInt16 = 0
    ) {
        tap = RegisterTap(register: register, element: element, byte: 0, old: old, new: new)
        tap.place |= UInt64(status) << Self.statusShift | UInt64(kind.rawValue) << Self.kindShift
        self.time = time
        end = UInt64(amount)
        tag = (isSet ? BusAccess(write: 0, to: 0, size: 0, initiator: initiator, origin: origin)
            : BusAccess(read: 0, size: 0, initiator: initiator, origin: origin)).tag
    }

    /// Forty-eight zero bytes.
    public static let zero = RawEvent(.register, time: 0, initiator: .hart(0))

    // MARK: Accesses

    /// Becomes an access that is issued now: blocks leave in ``tap`` what it does.
    @inlinable @inline(__always)
    public mutating func begin(at issued: UInt64) {
        tap.place = RegisterTap.none
        time = issued
    }

    /// The access has come back; it met the register that ``tap`` tells of, or none: then `address` says where on the bus it was.
    ///
    /// - Parameter access: as it came back, unchanged: `inout` saves copying it.
    @inlinable @inline(__always)
    public mutating func finish(_ access: inout BusAccess, address: UInt64, bus: Int, status: BusStatus) {
        end = access.time
        tag = access.tag
        if tap.place == RegisterTap.none { met(access.value, at: address, bus) }
        if status != .ok { tap.place |= UInt64(status.rawValue) &<< Self.statusShift }
    }

    /// The access met no register.
    @usableFromInline @inline(never)
    mutating func met(_ value: UInt64, at address: UInt64, _ bus: Int) {
        tap.place = RegisterTap.none | UInt64(truncatingIfNeeded: bus & 0xff) &<< 16 | UInt64(Kind.elsewhere.rawValue) &<< Self.kindShift
        tap.old = address
        tap.new = value
    }

    // MARK: Fields

    var register: UInt16 { tap.register }
    var element: UInt16 { tap.element }
    var byte: UInt8 { tap.byte }
    var old: UInt64 { tap.old }
    var new: UInt64 { tap.new }
    var status: UInt8 { UInt8(truncatingIfNeeded: tap.place >> Self.statusShift) }
    /// Cycles that an access took.
    var wait: UInt64 { end &- time }
    var amount: UInt32 { UInt32(truncatingIfNeeded: end) }
    /// The rest is in the tag, of which this has the names.
    private var access: BusAccess { BusAccess(tag: tag) }
    var initiator: Initiator { access.initiator }
    var origin: UInt32 { access.origin }
    var isSet: Bool { access.isWrite }
    /// Bytes of an access: 1, 2, 4 or 8.
    var size: UInt8 { access.size }

    var kind: Kind? { Kind(rawValue: UInt8(truncatingIfNeeded: tap.place >> Self.kindShift)) }
    /// As a trace numbers operations: log2 of the size, and 4 for a write.
    var operation: UInt8 { UInt8(size.trailingZeroBitCount & 3) | (isSet ? 4 : 0) }

    static let stride = 48
    /// Bytes that follow in further slots.
    var tailBytes: Int { kind == .fault || kind == .text || kind == .record ? Int(amount) : 0 }
    /// Slots that it takes.
    var slots: Int { 1 + (tailBytes + Self.stride - 1) / Self.stride }
}

extension RawEvent {
    /// The event, and the bytes that follow it.
    init(_ event: TraceEvent, tail: inout [UInt8]) {
        let time = event.time, initiator = event.initiator
        tail.removeAll(keepingCapacity: true)
        switch event {
        case .access(let access):
            self = .zero
            begin(at: access.time)
            var done = access.isWrite
                ? BusAccess(write: access.new, to: 0, size: Int(access.size), initiator: initiator, origin: access.origin)
                : BusAccess(read: 0, size: Int(access.size), initiator: initiator, origin: access.origin)
            (done.value, done.time) = (access.new, access.time &+ access.wait)
            switch access.target {
            case .register(let register, let element, let byte):
                tap = RegisterTap(register: register, element: element, byte: byte, old: access.old, new: access.new)
                finish(&done, address: 0, bus: 0, status: access.status)
            case .address(let address, let bus):
                finish(&done, address: address, bus: Int(bus), status: access.status)
            }
        case .interrupt(let interrupt):
            switch interrupt.step {
            case .line(let wire, let level):
                self.init(.line, time: time, initiator: initiator, isSet: level, element: wire)
            case .message(_, let vector?, let level):
                self.init(.message, time: time, initiator: initiator, isSet: level, element: vector)
            case .message(_, nil, let level):
                self.init(.lineMessage, time: time, initiator: initiator, isSet: level)
            case .trap(_, let cause, let pc, let handler):
                self.init(.trap, time: time, initiator: initiator, old: UInt64(cause), new: UInt64(handler), origin: pc)
            }
        case .dma(let dma): self.init(dma)
        case .queue(let queue): self.init(queue)
        case .fault(let fault):
            tail += Self.text(fault.name, longest: FaultEvent.longestName)
            self.init(
                .fault, time: time, initiator: initiator, status: fault.kind.rawValue, old: fault.address, origin: fault.origin,
                amount: UInt32(tail.count))
        case .log(let log):
            switch log.content {
            case .line(let line):
                tail += Self.text(line, longest: LogEvent.longestLine)
                self.init(.text, time: time, initiator: initiator, amount: UInt32(tail.count))
            case .record(let kind, let arguments):
                for argument in arguments.prefix(LogEvent.mostArguments) {
                    withUnsafeBytes(of: argument.littleEndian) { tail += $0 }
                }
                self.init(.record, time: time, initiator: initiator, amount: UInt32(tail.count), register: kind)
            }
        }
    }

    init(_ dma: DMAEvent) {
        self.init(
            .dma, time: dma.time, initiator: dma.initiator, status: dma.status.rawValue, isSet: dma.isWrite, old: dma.address,
            new: UInt64(dma.bytes))
    }

    init(_ queue: QueueEvent) {
        self.init(
            .queue, time: queue.time, initiator: queue.initiator, status: queue.step.rawValue, new: UInt64(queue.bytes),
            amount: UInt32(queue.depth), register: queue.head, element: queue.queue)
    }

    /// Text as a trace keeps it. A string of CTF ends at its first zero byte; babeltrace2 2.0 shows an earlier one in place of an empty
    /// one.
    private static func text(_ text: String, longest: Int) -> [UInt8] {
        text.isEmpty ? [UInt8(ascii: " ")] : text.utf8.prefix(longest).map { $0 == 0 ? UInt8(ascii: " ") : $0 }
    }

    /// The event that was made into this; nil for what no event makes.
    ///
    /// - Parameter tail: what follows, ``tailBytes`` long.
    public func event(tail: UnsafeRawBufferPointer = UnsafeRawBufferPointer(start: nil, count: 0)) -> TraceEvent? {
        let number = UInt8(truncatingIfNeeded: initiator.number)
        switch kind {
        case .register, .elsewhere:
            guard let status = BusStatus(rawValue: status) else { return nil }
            let isRegister = kind == .register
            return .access(AccessEvent(
                time: time, wait: wait, initiator: initiator, origin: origin, isWrite: isSet, size: size, status: status,
                target: isRegister
                    ? .register(register, element: element, byte: byte) : .address(old, bus: UInt8(truncatingIfNeeded: element)),
                old: isRegister ? old : 0, new: new))
        case .line: return .interrupt(InterruptEvent(time: time, step: .line(element, level: isSet)))
        case .message: return .interrupt(InterruptEvent(time: time, step: .message(function: number, vector: element, level: isSet)))
        case .lineMessage: return .interrupt(InterruptEvent(time: time, step: .message(function: number, vector: nil, level: isSet)))
        case .trap:
            return .interrupt(InterruptEvent(time: time, step: .trap(
                hart: number, cause: UInt32(truncatingIfNeeded: old), pc: origin, handler: UInt32(truncatingIfNeeded: new))))
        case .dma:
            guard let status = BusStatus(rawValue: status) else { return nil }
            return .dma(DMAEvent(
                time: time, function: number, isWrite: isSet, address: old, bytes: UInt32(truncatingIfNeeded: new), status: status))
        case .queue:
            guard let step = QueueEvent.Step(rawValue: status) else { return nil }
            return .queue(QueueEvent(
                time: time, function: number, queue: element, step: step, head: register, bytes: UInt32(truncatingIfNeeded: new),
                depth: UInt16(truncatingIfNeeded: amount)))
        case .fault:
            guard let kind = FaultEvent.Kind(rawValue: status) else { return nil }
            return .fault(FaultEvent(
                time: time, kind: kind, initiator: initiator, address: old, origin: origin, name: String(decoding: tail, as: UTF8.self)))
        case .text:
            return .log(LogEvent(time: time, content: .line(String(decoding: tail, as: UTF8.self))))
        case .record:
            let arguments = (0..<tail.count / 4).map {
                UInt32(littleEndian: tail.loadUnaligned(fromByteOffset: 4 * $0, as: UInt32.self))
            }
            return .log(LogEvent(time: time, content: .record(kind: register, arguments: arguments)))
        case nil: return nil
        }
    }
}
