/// The value of one register as generated code types it: `UART.LSR`.
public protocol RegisterValue: Equatable {
    associatedtype Bits: RegisterBits
    var rawValue: Bits { get set }
    init(rawValue: Bits)
}

/// The widths a register can have.
public protocol RegisterBits: FixedWidthInteger & UnsignedInteger {
    static func load(_ address: UInt) -> Self
    func store(_ address: UInt)
}

extension UInt8: RegisterBits {
    @inline(__always) public static func load(_ address: UInt) -> UInt8 { Volatile.load8(address) }
    @inline(__always) public func store(_ address: UInt) { Volatile.store8(self, address) }
}

extension UInt16: RegisterBits {
    @inline(__always) public static func load(_ address: UInt) -> UInt16 { Volatile.load16(address) }
    @inline(__always) public func store(_ address: UInt) { Volatile.store16(self, address) }
}

extension UInt32: RegisterBits {
    @inline(__always) public static func load(_ address: UInt) -> UInt32 { Volatile.load32(address) }
    @inline(__always) public func store(_ address: UInt) { Volatile.store32(self, address) }
}

/// Two accesses of 32 bits, the low word first: reading it latches the other one, and the write of the high word lets both take
/// effect, in every register that has `buffer_reads` or `buffer_writes`.
extension UInt64: RegisterBits {
    @inline(__always) public static func load(_ address: UInt) -> UInt64 {
        let low = Volatile.load32(address)
        return UInt64(Volatile.load32(address &+ 4)) &<< 32 | UInt64(low)
    }
    @inline(__always) public func store(_ address: UInt) {
        Volatile.store32(UInt32(truncatingIfNeeded: self), address)
        Volatile.store32(UInt32(truncatingIfNeeded: self &>> 32), address &+ 4)
    }
}

extension RegisterBits {
    @inline(__always) func field(_ lsb: Int, _ width: Int) -> Self { (self &>> Self(truncatingIfNeeded: lsb)) & Self.ones(width) }

    @inline(__always) mutating func setField(_ lsb: Int, _ width: Int, _ value: Self) {
        let mask = Self.ones(width) &<< Self(truncatingIfNeeded: lsb)
        self = (self & ~mask) | ((value &<< Self(truncatingIfNeeded: lsb)) & mask)
    }

    @inline(__always) private static func ones(_ width: Int) -> Self { .max &>> Self(truncatingIfNeeded: Self.bitWidth &- width) }
}

/// An array of registers. The index is checked.
public struct RegisterArray<Value: RegisterValue> {
    let address: UInt
    let stride: UInt
    public let count: Int

    @inline(__always) public subscript(_ index: Int) -> Value {
        get { .init(rawValue: .load(place(index))) }
        nonmutating set { newValue.rawValue.store(place(index)) }
    }

    @inline(__always) private func place(_ index: Int) -> UInt {
        precondition(index >= 0 && index < count)
        return address &+ UInt(bitPattern: index) &* stride
    }
}

/// An array of registers that can only be read, or that a read-modify-write would change.
public struct ReadOnlyRegisterArray<Value: RegisterValue> {
    let address: UInt
    let stride: UInt
    public let count: Int

    @inline(__always) public subscript(_ index: Int) -> Value {
        precondition(index >= 0 && index < count)
        return .init(rawValue: .load(address &+ UInt(bitPattern: index) &* stride))
    }
}

/// A group of registers (a SystemRDL register file) at some address.
public protocol RegisterGroup {
    init(at address: UInt)
}

/// An array of groups of registers. The index is checked.
public struct RegisterGroupArray<Group: RegisterGroup> {
    let address: UInt
    let stride: UInt
    public let count: Int

    @inline(__always) public subscript(_ index: Int) -> Group {
        precondition(index >= 0 && index < count)
        return Group(at: address &+ UInt(bitPattern: index) &* stride)
    }
}

/// A range of memory inside a block or on the bus.
public struct MemoryRange: Equatable {
    public let address: UInt
    /// Bytes.
    public let size: UInt

    @inline(__always) public init(address: UInt, size: UInt) {
        self.address = address; self.size = size
    }

    /// The 32-bit words of the range. The index is checked.
    @inline(__always) public subscript(word index: Int) -> UInt32 {
        get { Volatile.load32(place(index)) }
        nonmutating set { Volatile.store32(newValue, place(index)) }
    }

    @inline(__always) private func place(_ index: Int) -> UInt {
        precondition(index >= 0 && UInt(bitPattern: index) < size / 4)
        return address &+ UInt(bitPattern: index) &* 4
    }
}
