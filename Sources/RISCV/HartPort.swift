import Registers
import Simulation

/// The hart's way to everything that is not plain memory: the interconnect's side of its load/store unit.
///
/// The implementation may do anything in ``access(_:)``, also raise or clear the interrupt pins of the hart that issued the
/// access. It must not call ``Hart/run(until:)`` or ``Hart/step()`` of that hart.
public protocol HartPort: AnyObject {
    /// Serves a load or a store of 1, 2 or 4 bytes, naturally aligned.
    ///
    /// `access.address` is the hart's address, `time` the cycle in which the hart issues it, `origin` the program counter.
    /// The hart goes on at the cycle that comes back in `time`, and not before the cycle after it issued the access. Any
    /// status but `ok` is a load or store access fault with the address in `mtval`.
    func access(_ access: inout BusAccess) -> BusStatus

    /// The hart, which is watched (``Hart/isWatched``), is about to make this access, to a watched region or by this port.
    /// - Returns: false: it stops before the instruction, as at the port's horizon.
    func permits(_ access: BusAccess) -> Bool

    /// The hart does not begin an instruction in this cycle or later. Read at the start of a run and after each access.
    var horizon: Cycle { get }

    /// The hart has entered a handler.
    func trapEntered(_ trap: Trap)
}

extension HartPort {
    public func trapEntered(_ trap: Trap) {}
}

/// An exception or an interrupt, as a hart took it.
public struct Trap: Hashable, Sendable {
    /// As in `mcause`: the highest bit says that it is an interrupt.
    public var cause: UInt32
    /// As in `mtval`.
    public var value: UInt32
    /// As in `mepc`: the instruction that didn't execute.
    public var pc: UInt32
    /// The first instruction of the handler.
    public var handler: UInt32
    /// The cycle in which the instruction at `pc` would have begun.
    public var time: Cycle
}

/// A port as a hart holds it: not owned, and not retained and released for each access, which would cost more than the access.
class PortReference {
    func access(_ access: inout BusAccess) -> BusStatus { .unmapped }
    func permits(_ access: BusAccess) -> Bool { true }
    var horizon: Cycle { 0 }
    func trapEntered(_ trap: Trap) {}
}

final class PortReferenceTo<Port: HartPort>: PortReference {
    private let port: Unmanaged<Port>

    init(_ port: Port) {
        self.port = Unmanaged.passUnretained(port)
    }

    override func access(_ access: inout BusAccess) -> BusStatus {
        port._withUnsafeGuaranteedRef { $0.access(&access) }
    }

    override func permits(_ access: BusAccess) -> Bool {
        port._withUnsafeGuaranteedRef { $0.permits(access) }
    }

    override var horizon: Cycle {
        port._withUnsafeGuaranteedRef { $0.horizon }
    }

    override func trapEntered(_ trap: Trap) {
        port._withUnsafeGuaranteedRef { $0.trapEntered(trap) }
    }
}

/// Why ``Hart/run(until:)`` came back.
public enum StopReason: UInt8, Sendable {
    /// The hart's time has reached the end of the run or its port's horizon.
    case horizon
    /// The hart sits in `wfi` and no interrupt that `mie` enables is pending.
    case waiting
    /// The next instruction has a breakpoint; it has not been executed.
    case breakpoint
    /// ``Hart/isHalted`` is set.
    case halted
}
