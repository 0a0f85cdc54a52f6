import Tracing

/// A hash over events, for comparing runs: FNV-1a (Fowler, Noll, Vo) over 64-bit words.
struct TraceDigest {
    private(set) var value: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ event: TraceEvent) {
        switch event {
        case .access(let event): add(event)
        case .interrupt(let event): add(event)
        case .dma(let event):
            begin(1, event.time, event.initiator.rawValue)
            mix(event.address, UInt64(event.bytes) | UInt64(event.status.rawValue) << 32 | (event.isWrite ? 1 << 40 : 0))
        case .queue(let event):
            begin(2, event.time, event.initiator.rawValue)
            mix(UInt64(event.queue) | UInt64(event.step.rawValue) << 16 | UInt64(event.head) << 32 | UInt64(event.depth) << 48)
            mix(UInt64(event.bytes))
        case .fault(let event):
            begin(3, event.time, event.initiator.rawValue)
            mix(UInt64(event.kind.rawValue), event.address, UInt64(event.origin))
            mix(event.name)
        case .log(let event):
            begin(4, event.time, event.initiator.rawValue)
            switch event.content {
            case .line(let text): mix(text)
            case .record(let kind, let arguments):
                mix(UInt64(kind) << 32 | UInt64(arguments.count))
                for argument in arguments { mix(UInt64(argument)) }
            }
        }
    }

    private mutating func add(_ event: AccessEvent) {
        begin(0, event.time, event.initiator.rawValue)
        mix(event.wait, UInt64(event.origin) << 32 | (event.isWrite ? 1 << 16 : 0) | UInt64(event.size) << 8 | UInt64(event.status.rawValue))
        switch event.target {
        case .register(let register, let element, let byte): mix(UInt64(register) | UInt64(element) << 16 | UInt64(byte) << 32)
        case .address(let address, let bus): mix(address ^ UInt64(bus) << 56)
        }
        mix(event.old, event.new)
    }

    private mutating func add(_ event: InterruptEvent) {
        begin(5, event.time, event.initiator.rawValue)
        switch event.step {
        case .line(let wire, let level): mix(UInt64(wire) << 8 | (level ? 1 : 0))
        case .message(_, let vector, let level): mix(UInt64(vector ?? 0xffff) << 8 | (level ? 3 : 2))
        case .trap(_, let cause, let pc, let handler): mix(UInt64(cause) << 32 | UInt64(pc), UInt64(handler))
        }
    }

    /// The words that every event has.
    private mutating func begin(_ kind: UInt64, _ time: UInt64, _ initiator: UInt16) { mix(time, kind << 16 | UInt64(initiator)) }

    private mutating func mix(_ words: UInt64...) {
        for word in words { value = (value ^ word) &* 0x100_0000_01b3 }
    }

    private mutating func mix(_ text: String) {
        mix(UInt64(text.utf8.count))
        for byte in text.utf8 { mix(UInt64(byte)) }
    }
}
