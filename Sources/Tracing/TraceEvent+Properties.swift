import Registers

/// The classes of events, by their names in views and filters.
public enum TraceClass: String, Sendable, CaseIterable {
    case access, interrupt, dma, queue, fault, log
}

extension TraceEvent {
    public var kind: TraceClass {
        switch self {
        case .access: .access
        case .interrupt: .interrupt
        case .dma: .dma
        case .queue: .queue
        case .fault: .fault
        case .log: .log
        }
    }

    /// The program counter of the hart whose event it is: of an access, of a trap the instruction that didn't execute, of a fault.
    public var pc: UInt32? {
        switch self {
        case .access(let event): event.initiator.kind == .hart ? event.origin : nil
        case .interrupt(let event): if case .trap(_, _, let pc, _) = event.step { pc } else { nil }
        case .fault(let event): event.initiator.kind == .hart ? event.origin : nil
        case .dma, .queue, .log: nil
        }
    }

    /// The host program whose event it is.
    public var pid: UInt32? {
        switch self {
        case .access(let event): event.initiator.kind == .host ? event.origin : nil
        case .fault(let event): event.initiator.kind == .host ? event.origin : nil
        case .interrupt, .dma, .queue, .log: nil
        }
    }

    /// How it went, of what has a status.
    public var status: BusStatus? {
        switch self {
        case .access(let event): event.status
        case .dma(let event): event.status
        case .interrupt, .queue, .fault, .log: nil
        }
    }

    /// The direction of an access or a transfer.
    public var isWrite: Bool? {
        switch self {
        case .access(let event): event.isWrite
        case .dma(let event): event.isWrite
        case .interrupt, .queue, .fault, .log: nil
        }
    }

    /// Something went wrong: a fault, or an access or a transfer that wasn't `ok`.
    public var isFault: Bool {
        if case .fault = self { return true }
        return status.map { $0 != .ok } ?? false
    }
}
