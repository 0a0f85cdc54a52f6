/// The behaviour that a block adds to its registers. Every hook has a default that does nothing.
///
/// Inside a hook a model switches over the register with the generated names, whose constants fold:
/// `switch register { case WDT.KICK: restart(at: access.time) … default: break }`.
/// `element` is the place in an array of registers, 0 for a single one.
public protocol RegisterModel: AnyObject {
    /// Software is about to read: the moment to bring lazily kept values up to date.
    func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess)

    /// Software has read `value`, and the read's side effects (`rclr`, `rset`) are done.
    func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess)

    /// Software is about to write: the moment to bring lazily kept values up to date.
    /// - Returns: hardware events in the very cycle of the write; each field's `precedence` decides who wins.
    func willWrite(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) -> CoincidentEvents

    /// Software has written, also when no bit changed. `new` has single-pulse bits still set; they are gone afterwards.
    func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess)

    /// Serves an access to a memory window; `access.address` is relative to the window.
    func access(_ access: inout BusAccess, window: WindowIndex) -> BusStatus

    /// What a read of a window would return, without side effects.
    func peek(_ offset: UInt64, size: Int, window: WindowIndex) -> UInt64?
}

extension RegisterModel {
    @inlinable public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {}
    @inlinable public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {}
    @inlinable public func willWrite(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) -> CoincidentEvents { .none }
    @inlinable public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {}
    @inlinable public func access(_ access: inout BusAccess, window: WindowIndex) -> BusStatus { .unmapped }
    @inlinable public func peek(_ offset: UInt64, size: Int, window: WindowIndex) -> UInt64? { nil }
}

/// Bits that hardware sets and clears in the cycle of a software write (SystemRDL `hwset`, `hwclr`).
public struct CoincidentEvents: Sendable {
    public var set: UInt64
    public var clear: UInt64

    @inlinable public init(set: UInt64 = 0, clear: UInt64 = 0) {
        self.set = set; self.clear = clear
    }

    public static var none: CoincidentEvents { @inlinable get { .init() } }
}

/// One access to a register block, as it went: what traces record.
public struct RegisterEvent: Sendable {
    /// ``RegisterBlock/number`` of the block.
    public var block: Int
    /// nil where no register answered: an unmapped address, or a memory window.
    public var register: RegisterIndex?
    public var element: Int
    /// The register's value before and after.
    public var old: UInt64
    public var new: UInt64
    /// The bits of a write that were set where the register has no field.
    public var reservedBits: UInt64
    public var status: BusStatus
    /// With the address relative to the block, the data written or read, the time at its end.
    public var access: BusAccess

    @inlinable public init(
        block: Int, register: RegisterIndex?, element: Int, old: UInt64, new: UInt64, reservedBits: UInt64, status: BusStatus,
        access: BusAccess
    ) {
        self.block = block; self.register = register; self.element = element; self.old = old; self.new = new
        self.reservedBits = reservedBits; self.status = status; self.access = access
    }
}

/// Is told of register accesses.
public protocol RegisterObserver: AnyObject {
    func registerAccessed(_ event: borrowing RegisterEvent)
}
