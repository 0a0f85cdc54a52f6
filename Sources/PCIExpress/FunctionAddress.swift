/// Where a function sits in the PCI hierarchy: its routing id (PCI Express Base 5.0, 2.2.4.2) in segment 0.
///
/// With ARI the device and function numbers together are one 8-bit function number; people still write it as `device.function`.
public struct FunctionAddress: Hashable, Comparable, Sendable {
    /// Bus number in bits 15:8, device in 7:3, function in 2:0.
    public var routingID: UInt16

    public init(routingID: UInt16) {
        self.routingID = routingID
    }

    /// The function with the 8-bit ARI number `number` on `bus`.
    public init(bus: UInt8, number: UInt8) {
        routingID = UInt16(bus) << 8 | UInt16(number)
    }

    public var bus: UInt8 { UInt8(truncatingIfNeeded: routingID >> 8) }
    public var device: UInt8 { UInt8(truncatingIfNeeded: routingID >> 3) & 0x1f }
    public var function: UInt8 { UInt8(truncatingIfNeeded: routingID) & 7 }

    public static func < (a: FunctionAddress, b: FunctionAddress) -> Bool { a.routingID < b.routingID }
}

extension FunctionAddress: CustomStringConvertible {
    /// `0000:01:00.0`, as Linux names it.
    public var description: String { "0000:\(hex(bus, 2)):\(hex(device, 2)).\(function)" }
}

/// `value` in lower-case hexadecimal with at least `digits` digits.
func hex(_ value: some BinaryInteger, _ digits: Int) -> String {
    let text = String(value, radix: 16)
    return String(repeating: "0", count: max(0, digits - text.count)) + text
}
