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

/// Which register the last access met, and what it did to it. All blocks leave it in one piece of memory, where who made the access
/// finds it: three stores in place of a call, for every access of a device that is traced.
@frozen public struct RegisterTap: Sendable {
    /// The register in bits 0 to 15, ``RegisterBlock/number`` and on from there; the element in bits 16 to 31; the first byte of the
    /// register that was accessed in bits 61 to 63; the others are 0. ``none`` until an access meets a register.
    public var place: UInt64
    /// The register's value before and after; the same where the access was refused.
    public var old: UInt64
    public var new: UInt64

    /// No register: an unmapped address, or a memory window.
    @inlinable public static var none: UInt64 { 0xffff }
    @inlinable public static var byteShift: UInt64 { 61 }

    @inlinable public var register: UInt16 { UInt16(truncatingIfNeeded: place) }
    @inlinable public var element: UInt16 { UInt16(truncatingIfNeeded: place >> 16) }
    @inlinable public var byte: UInt8 { UInt8(truncatingIfNeeded: place >> Self.byteShift) }

    @inlinable public init() {
        place = Self.none; old = 0; new = 0
    }

    @inlinable public init(register: UInt16, element: UInt16, byte: UInt8, old: UInt64, new: UInt64) {
        place = UInt64(register) | UInt64(element) << 16 | UInt64(byte & 7) << Self.byteShift
        self.old = old; self.new = new
    }
}
