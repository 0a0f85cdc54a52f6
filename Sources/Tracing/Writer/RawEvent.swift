import Registers

/// An event on its way from the machine to the writer's thread: 40 bytes without pointers, which are also what the trace hash is over.
///
/// Text and arguments that don't fit follow in slots of their own, zero-padded.
///
/// Five words, of which the last two have several fields each: put together in registers and stored whole, because a load of eight bytes
/// that were just stored in parts waits until they are in the cache.
@frozen public struct RawEvent: Sendable {
    @usableFromInline var time: UInt64
    /// Value before; address of an access without a register, a transfer, a fault; cause of a trap.
    @usableFromInline var old: UInt64
    /// Value after; bytes of a transfer or a request; handler of a trap.
    @usableFromInline var new: UInt64
    /// ``origin`` and ``wait``.
    @usableFromInline var source: UInt64
    /// ``register``, ``element``, ``initiator`` and ``bits``.
    @usableFromInline var place: UInt64

    /// Program counter, process, queue of a fault.
    var origin: UInt32 { UInt32(truncatingIfNeeded: source) }
    /// Cycles waited; requests in flight; bytes that follow.
    var wait: UInt32 { UInt32(truncatingIfNeeded: source >> 32) }
    /// Register; descriptor; kind of record.
    var register: UInt16 { UInt16(truncatingIfNeeded: place) }
    /// Element; bus of an access without a register; wire, vector, queue.
    var element: UInt16 { UInt16(truncatingIfNeeded: place >> 16) }
    var initiator: UInt16 { UInt16(truncatingIfNeeded: place >> 32) }
    /// From bit 0: kind (4), write or level (1), size (4), status or step (4), first byte in the register (3).
    var bits: UInt16 { UInt16(truncatingIfNeeded: place >> 48) }

    /// What it is; the number is part of the hash.
    @usableFromInline enum Kind: UInt16 {
        case register = 0, elsewhere, line, message, lineMessage, trap, dma, queue, fault, text, record
    }

    @usableFromInline static let writeBit: UInt16 = 1 << 4, sizeShift: UInt16 = 5, statusShift: UInt16 = 9, byteShift: UInt16 = 13

    @inlinable @inline(__always)
    init(
        _ kind: Kind, time: UInt64, initiator: UInt16, bits: UInt16 = 0, old: UInt64 = 0, new: UInt64 = 0, origin: UInt32 = 0,
        wait: UInt32 = 0, register: UInt16 = 0, element: UInt16 = 0
    ) {
        self.time = time; self.old = old; self.new = new
        source = UInt64(origin) | UInt64(wait) &<< 32
        place = UInt64(register) | UInt64(element) &<< 16 | UInt64(initiator) &<< 32 | UInt64(kind.rawValue | bits) &<< 48
    }

    /// An access that met the register that `tap` tells of, or none: then `address` says where on the bus it was.
    ///
    /// - Parameter access: as it came back, unchanged: `inout` saves copying it. `issued` is the cycle at which it had been issued.
    @inlinable @inline(__always)
    public init(
        _ access: inout BusAccess, address: UInt64, bus: Int, issued: UInt64, status: BusStatus, tap: UnsafePointer<RegisterTap>
    ) {
        let waited = access.time &- issued
        var bits = (access.isWrite ? Self.writeBit : 0) | UInt16(access.size & 0xf) &<< Self.sizeShift
            | UInt16(status.rawValue) &<< Self.statusShift
        time = issued
        // The tap has register, element and byte where they are here.
        var place = tap.pointee.place
        if place != RegisterTap.none {
            old = tap.pointee.old
            new = tap.pointee.new
            bits |= Kind.register.rawValue
        } else {
            old = address
            new = access.value
            bits |= Kind.elsewhere.rawValue
            place |= UInt64(truncatingIfNeeded: bus & 0xff) &<< 16
        }
        source = access.origin & 0xffff_ffff | (waited >> 32 == 0 ? waited : 0xffff_ffff) &<< 32
        self.place = place | UInt64(access.initiator.rawValue) &<< 32 | UInt64(bits) &<< 48
    }

    /// Forty zero bytes.
    static let zero = RawEvent(.register, time: 0, initiator: 0)

    var kind: Kind? { Kind(rawValue: bits & 0xf) }
    var isSet: Bool { bits & Self.writeBit != 0 }
    /// Bytes of an access: 1, 2, 4 or 8.
    var size: UInt8 { UInt8((bits >> Self.sizeShift) & 0xf) }
    /// As a trace numbers operations: log2 of the size, and 4 for a write.
    var operation: UInt8 { UInt8(size.trailingZeroBitCount & 3) | (isSet ? 4 : 0) }
    var status: UInt8 { UInt8((bits >> Self.statusShift) & 0xf) }
    var byte: UInt8 { UInt8((bits >> Self.byteShift) & 7) }

    static let stride = 40
    /// Bytes that follow in further slots.
    var tailBytes: Int { kind == .fault || kind == .text || kind == .record ? Int(wait) : 0 }
    /// Slots that it takes.
    var slots: Int { 1 + (tailBytes + Self.stride - 1) / Self.stride }
}

extension RawEvent {
    /// The event, and the bytes that follow it.
    init(_ event: TraceEvent, tail: inout [UInt8]) {
        let time = event.time, initiator = event.initiator.rawValue
        tail.removeAll(keepingCapacity: true)
        switch event {
        case .access(let access):
            var tap = RegisterTap(), bus = 0, address: UInt64 = 0
            switch access.target {
            case .register(let register, let element, let byte):
                tap = RegisterTap(register: register, element: element, byte: byte, old: access.old, new: access.new)
            case .address(let place, let number): (address, bus) = (place, Int(number))
            }
            var done = access.isWrite
                ? BusAccess(write: access.new, to: 0, size: Int(access.size), initiator: access.initiator)
                : BusAccess(read: 0, size: Int(access.size), initiator: access.initiator)
            (done.value, done.origin, done.time) = (access.new, UInt64(access.origin), access.time &+ access.wait)
            self.init(&done, address: address, bus: bus, issued: access.time, status: access.status, tap: &tap)
        case .interrupt(let interrupt):
            switch interrupt.step {
            case .line(let wire, let level):
                self.init(.line, time: time, initiator: initiator, bits: level ? Self.writeBit : 0, element: wire)
            case .message(_, let vector?, let level):
                self.init(.message, time: time, initiator: initiator, bits: level ? Self.writeBit : 0, element: vector)
            case .message(_, nil, let level):
                self.init(.lineMessage, time: time, initiator: initiator, bits: level ? Self.writeBit : 0)
            case .trap(_, let cause, let pc, let handler):
                self.init(.trap, time: time, initiator: initiator, old: UInt64(cause), new: UInt64(handler), origin: pc)
            }
        case .dma(let dma):
            self.init(
                .dma, time: time, initiator: initiator,
                bits: (dma.isWrite ? Self.writeBit : 0) | UInt16(dma.status.rawValue) << Self.statusShift, old: dma.address,
                new: UInt64(dma.bytes))
        case .queue(let queue):
            self.init(
                .queue, time: time, initiator: initiator, bits: UInt16(queue.step.rawValue) << Self.statusShift, new: UInt64(queue.bytes),
                wait: UInt32(queue.depth), register: queue.head, element: queue.queue)
        case .fault(let fault):
            tail += Self.text(fault.name, longest: FaultEvent.longestName)
            self.init(
                .fault, time: time, initiator: initiator, bits: UInt16(fault.kind.rawValue) << Self.statusShift, old: fault.address,
                origin: fault.origin, wait: UInt32(tail.count))
        case .log(let log):
            switch log.content {
            case .line(let line):
                tail += Self.text(line, longest: LogEvent.longestLine)
                self.init(.text, time: time, initiator: initiator, wait: UInt32(tail.count))
            case .record(let kind, let arguments):
                for argument in arguments.prefix(LogEvent.mostArguments) {
                    withUnsafeBytes(of: argument.littleEndian) { tail += $0 }
                }
                self.init(.record, time: time, initiator: initiator, wait: UInt32(tail.count), register: kind)
            }
        }
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
        let who = Initiator(rawValue: initiator), number = UInt8(truncatingIfNeeded: who.number)
        switch kind {
        case .register, .elsewhere:
            guard let status = BusStatus(rawValue: status) else { return nil }
            let isRegister = kind == .register
            return .access(AccessEvent(
                time: time, wait: UInt64(wait), initiator: who, origin: origin, isWrite: isSet, size: size, status: status,
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
                depth: UInt16(truncatingIfNeeded: wait)))
        case .fault:
            guard let kind = FaultEvent.Kind(rawValue: status) else { return nil }
            return .fault(FaultEvent(
                time: time, kind: kind, initiator: who, address: old, origin: origin, name: String(decoding: tail, as: UTF8.self)))
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
