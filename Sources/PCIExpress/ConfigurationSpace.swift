/// The 4096 bytes of a function's configuration space, with what software can do to each bit.
///
/// Every bit is read-only unless it is in `writable` (RW) or `clearable` (RW1C). Behaviour beyond that is ``PCIFunction``'s.
/// The whole is one plain value: a snapshot is a copy of it.
public struct ConfigurationSpace: Sendable {
    public static let size = 4096

    /// How far a reset reaches (PCI Express Base 5.0, 6.6).
    public enum Reset: Sendable {
        /// FLR: spares sticky bits and those the whole link shares (6.6.2).
        case functionLevel
        /// Hot reset through the bridge above: spares sticky bits.
        case conventional
    }

    /// Present values. Models change them through `set`.
    public private(set) var bytes: [UInt8]
    private var initial: [UInt8]
    /// Bits that software sets and clears.
    package private(set) var writable: [UInt8]
    /// Bits that software clears by writing one.
    package private(set) var clearable: [UInt8]
    private var sticky: [UInt8]
    private var retained: [UInt8]

    init() {
        let zeros = [UInt8](repeating: 0, count: Self.size)
        (bytes, initial, writable, clearable, sticky, retained) = (zeros, zeros, zeros, zeros, zeros, zeros)
    }

    /// Defines the register of `size` bytes (1, 2 or 4) at `offset`. Bits in none of the masks are read-only.
    /// - Parameters:
    ///   - sticky: bits that every reset but a power cycle spares.
    ///   - retained: bits that a function-level reset spares and a conventional reset does not.
    mutating func define(
        _ offset: Int, size: Int, value: UInt32 = 0, writable: UInt32 = 0, clearable: UInt32 = 0, sticky: UInt32 = 0, retained: UInt32 = 0
    ) {
        for i in 0..<size {
            let shift = UInt32(8 * i)
            bytes[offset + i] = UInt8(truncatingIfNeeded: value >> shift)
            initial[offset + i] = bytes[offset + i]
            self.writable[offset + i] = UInt8(truncatingIfNeeded: writable >> shift)
            self.clearable[offset + i] = UInt8(truncatingIfNeeded: clearable >> shift)
            self.sticky[offset + i] = UInt8(truncatingIfNeeded: sticky >> shift)
            self.retained[offset + i] = UInt8(truncatingIfNeeded: (retained | sticky) >> shift)
        }
    }

    /// Changes which bits of the dword at `offset` can be written; what can't be any more reads zero.
    mutating func setWritable(_ offset: Int, _ mask: UInt32, readOnly: UInt32) {
        for i in 0..<4 {
            let shift = UInt32(8 * i)
            writable[offset + i] = UInt8(truncatingIfNeeded: mask >> shift)
            bytes[offset + i] &= UInt8(truncatingIfNeeded: (mask | readOnly) >> shift)
        }
    }

    /// A byte as it stands, without the effects of a read by software.
    public func byte(_ offset: Int) -> UInt8 { bytes[offset] }
    /// Two bytes, little-endian.
    public func word(_ offset: Int) -> UInt16 { UInt16(bytes[offset]) | UInt16(bytes[offset + 1]) << 8 }
    /// Four bytes, little-endian.
    public func dword(_ offset: Int) -> UInt32 { UInt32(word(offset)) | UInt32(word(offset + 2)) << 16 }

    /// Sets a register from the hardware's side, whatever software may do to it.
    mutating func set(_ offset: Int, size: Int, _ value: UInt32) {
        for i in 0..<size { bytes[offset + i] = UInt8(truncatingIfNeeded: value >> UInt32(8 * i)) }
    }

    /// Sets or clears the bits of `mask` in the word at `offset` from the hardware's side.
    mutating func setBits(_ offset: Int, _ mask: UInt16, _ on: Bool = true) {
        set(offset, size: 2, UInt32(on ? word(offset) | mask : word(offset) & ~mask))
    }

    /// Sets the bits of `mask` in the dword at `offset` from the hardware's side.
    mutating func setBits32(_ offset: Int, _ mask: UInt32) {
        set(offset, size: 4, dword(offset) | mask)
    }

    /// A software write of `size` bytes: RW bits take the value, RW1C bits clear where it has ones.
    mutating func write(_ offset: Int, size: Int, _ value: UInt32) {
        for i in offset..<offset + size {
            let byte = UInt8(truncatingIfNeeded: value >> UInt32(8 * (i - offset)))
            bytes[i] = (bytes[i] & ~writable[i] | byte & writable[i]) & ~(byte & clearable[i])
        }
    }

    /// Replaces all values by stored ones.
    mutating func replace(_ stored: [UInt8]) {
        precondition(stored.count == Self.size, "the bytes of a whole configuration space")
        bytes = stored
    }

    /// The first dword in which a bit that software can't write differs from its value at power-on, other than those that `setByHardware`
    /// has for the dword.
    func firstMismatch(setByHardware: [Int: UInt32]) -> Int? {
        stride(from: 0, to: Self.size, by: 4).first { offset in
            (0..<4).contains { i in
                let place = offset + i
                let different = (bytes[place] ^ initial[place]) & ~(writable[place] | clearable[place])
                // Seldom anything: there is no need to look up the others.
                return different != 0 && different & ~UInt8(truncatingIfNeeded: (setByHardware[offset] ?? 0) >> UInt32(8 * i)) != 0
            }
        }
    }

    mutating func reset(_ reset: Reset) {
        let kept = reset == .functionLevel ? retained : sticky
        for i in 0..<Self.size { bytes[i] = bytes[i] & kept[i] | initial[i] & ~kept[i] }
    }
}
