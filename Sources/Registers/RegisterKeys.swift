/// A register as generated code names it: `WDT.CTRL`. An empty value whose type carries the constants, so that a use of it
/// compiles to a load or store at a fixed place.
public protocol RegisterKey: Sendable {
    /// Place in ``RegisterMap/registers``.
    static var index: Int { get }
    /// Place of the first element among the values of the block.
    static var slot: Int { get }
}

/// A register that there is one of.
public protocol SingleRegisterKey: RegisterKey {}

/// An array of registers, addressed by one element number.
public protocol RegisterArrayKey: RegisterKey {
    /// Elements over all dimensions.
    static var count: Int { get }
}

/// An array of arrays of registers, addressed by two numbers.
public protocol RegisterTableKey: RegisterArrayKey {
    /// Elements of the inner dimension.
    static var innerCount: Int { get }
}

extension RegisterKey {
    @inlinable public var index: RegisterIndex { .init(rawValue: Self.index) }

    /// `switch register { case WDT.CTRL: … }` in a model's hooks.
    @inlinable public static func ~= (pattern: Self, index: RegisterIndex) -> Bool { index.rawValue == Self.index }
}

/// A field as generated code names it: `WDT.CTRL.enable`.
public struct FieldKey<Register: RegisterKey>: Sendable {
    /// Place among all fields of the block, counted over its registers.
    public let number: Int
    public let lsb: Int
    public let width: Int

    @inlinable public init(number: Int, lsb: Int, width: Int) {
        self.number = number; self.lsb = lsb; self.width = width
    }

    /// The field's bits in place.
    @inlinable public var mask: UInt64 { ones(width) &<< UInt64(truncatingIfNeeded: lsb) }

    /// The field's value in a value of its register.
    @inlinable public func value(in register: UInt64) -> UInt64 {
        (register &>> UInt64(truncatingIfNeeded: lsb)) & ones(width)
    }

    /// Whether any of the field's bits is set in a value of its register.
    @inlinable public func isSet(in register: UInt64) -> Bool { register & mask != 0 }

    /// A value of its register with this field replaced by the lowest bits of `value`.
    @inlinable public func inserting(_ value: UInt64, in register: UInt64) -> UInt64 {
        (register & ~mask) | ((value &<< UInt64(truncatingIfNeeded: lsb)) & mask)
    }
}

/// A memory window of a block as generated code names it.
public struct WindowKey: Sendable {
    public let index: Int
    @inlinable public init(index: Int) { self.index = index }

    /// `switch window { case LOG.BITMAP: … }` in a model's hooks.
    @inlinable public static func ~= (pattern: WindowKey, index: WindowIndex) -> Bool { index.rawValue == pattern.index }
}
