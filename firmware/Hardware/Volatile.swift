// The one place where the firmware touches a device register. On the device every call is one load or store instruction that the
// compiler neither drops, repeats nor reorders; in a unit test it goes to a fake.

#if hasFeature(Embedded)
import _Volatile

public enum Volatile {
    @inline(__always) public static func load8(_ address: UInt) -> UInt8 {
        VolatileMappedRegister<UInt8>(unsafeBitPattern: address).load()
    }
    @inline(__always) public static func load16(_ address: UInt) -> UInt16 {
        VolatileMappedRegister<UInt16>(unsafeBitPattern: address).load()
    }
    @inline(__always) public static func load32(_ address: UInt) -> UInt32 {
        VolatileMappedRegister<UInt32>(unsafeBitPattern: address).load()
    }
    @inline(__always) public static func store8(_ value: UInt8, _ address: UInt) {
        VolatileMappedRegister<UInt8>(unsafeBitPattern: address).store(value)
    }
    @inline(__always) public static func store16(_ value: UInt16, _ address: UInt) {
        VolatileMappedRegister<UInt16>(unsafeBitPattern: address).store(value)
    }
    @inline(__always) public static func store32(_ value: UInt32, _ address: UInt) {
        VolatileMappedRegister<UInt32>(unsafeBitPattern: address).store(value)
    }
}
#else
/// What stands for the device in a unit test.
public protocol VolatileBus: AnyObject, Sendable {
    /// `size` is in bytes: 1, 2 or 4.
    func load(_ address: UInt, size: Int) -> UInt32
    func store(_ value: UInt32, _ address: UInt, size: Int)
}

public enum Volatile {
    /// The fake that loads and stores of the present task go to: `Volatile.$bus.withValue(fake) { … }`.
    @TaskLocal public static var bus: (any VolatileBus)?

    public static func load8(_ address: UInt) -> UInt8 { UInt8(truncatingIfNeeded: present(address).load(address, size: 1)) }
    public static func load16(_ address: UInt) -> UInt16 { UInt16(truncatingIfNeeded: present(address).load(address, size: 2)) }
    public static func load32(_ address: UInt) -> UInt32 { present(address).load(address, size: 4) }
    public static func store8(_ value: UInt8, _ address: UInt) { present(address).store(UInt32(value), address, size: 1) }
    public static func store16(_ value: UInt16, _ address: UInt) { present(address).store(UInt32(value), address, size: 2) }
    public static func store32(_ value: UInt32, _ address: UInt) { present(address).store(value, address, size: 4) }

    private static func present(_ address: UInt) -> any VolatileBus {
        guard let bus else { preconditionFailure("no Volatile.bus in this task, at address 0x\(String(address, radix: 16))") }
        return bus
    }
}
#endif
