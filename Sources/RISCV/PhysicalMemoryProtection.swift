import Simulation

/// What an access does, as PMP entries permit it. The raw value is the bit in an entry's configuration byte.
public enum AccessKind: UInt8, Sendable {
    case read = 1
    case write = 2
    case execute = 4
}

/// The 16 PMP entries, as the CSRs hold them (Privileged Architecture, section 3.7), with a granularity of 4 bytes.
public struct PhysicalMemoryProtection: Sendable {
    public static let entryCount = 16

    /// Configuration bytes: R, W, X in bits 0...2, the address matching mode in 3...4, the lock in 7.
    public private(set) var configuration = InlineArray<16, UInt8>(repeating: 0)
    /// `pmpaddr0`...`pmpaddr15`: bits 33...2 of an address.
    public private(set) var address = InlineArray<16, UInt32>(repeating: 0)

    public init() {}

    private static let lock: UInt8 = 0x80

    /// An entry's address matching mode.
    enum Matching: UInt8 {
        case off = 0, topOfRange = 1, naturallyAligned4 = 2, naturallyAlignedPowerOfTwo = 3
    }

    func matching(_ entry: Int) -> Matching {
        Matching(rawValue: configuration[entry] &>> 3 & 3)!
    }

    func isLocked(_ entry: Int) -> Bool {
        configuration[entry] & Self.lock != 0
    }

    /// Writes one configuration byte, unless the entry is locked. Bits 5 and 6 read as 0; writing without reading is reserved,
    /// and such an entry permits neither.
    public mutating func setConfiguration(_ entry: Int, _ value: UInt8) {
        guard !isLocked(entry) else { return }
        configuration[entry] = Self.legal(value)
    }

    private static func legal(_ value: UInt8) -> UInt8 {
        let existing = value & 0x9f
        return existing & 3 == AccessKind.write.rawValue ? existing & ~AccessKind.write.rawValue : existing
    }

    /// Writes one address register, unless its entry is locked or is the bottom of a locked top-of-range entry.
    public mutating func setAddress(_ entry: Int, _ value: UInt32) {
        if isLocked(entry) { return }
        if entry + 1 < Self.entryCount, isLocked(entry + 1), matching(entry + 1) == .topOfRange { return }
        address[entry] = value
    }

    /// The bytes that an entry matches: from the first up to, not including, the second; nil if it matches none.
    public func range(_ entry: Int) -> (low: UInt64, high: UInt64)? {
        let top = UInt64(address[entry]) &<< 2
        switch matching(entry) {
        case .off:
            return nil
        case .topOfRange:
            let bottom = entry == 0 ? 0 : UInt64(address[entry - 1]) &<< 2
            return bottom < top ? (bottom, top) : nil
        case .naturallyAligned4:
            return (top, top + 4)
        case .naturallyAlignedPowerOfTwo:
            let size = UInt64(8) &<< UInt64((~address[entry]).trailingZeroBitCount)
            let low = top & ~(size &- 1)
            return (low, low + size)
        }
    }

    /// Whether an access of `size` bytes is permitted: the lowest-numbered entry that matches any of its bytes decides, and
    /// must match all of them (section 3.7.1).
    public func permits(_ kind: AccessKind, address: UInt32, size: Int, privilege: Privilege) -> Bool {
        permits(kind, low: UInt64(address), high: UInt64(address) + UInt64(size), privilege: privilege) ?? false
    }

    /// As above for any range of bytes; nil if they are not all subject to the same entry.
    func permits(_ kind: AccessKind, low: UInt64, high: UInt64, privilege: Privilege) -> Bool? {
        for entry in 0..<Self.entryCount {
            guard let range = range(entry), range.low < high, low < range.high else { continue }
            guard range.low <= low, high <= range.high else { return nil }
            if privilege == .machine && !isLocked(entry) { return true }
            return configuration[entry] & kind.rawValue != 0
        }
        return privilege == .machine
    }
}

extension PhysicalMemoryProtection: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        for entry in 0..<Self.entryCount {
            try archive.integer(&configuration[entry])
            let found = configuration[entry]
            try archive.require(found == Self.legal(found), "expected a configuration of PMP entry \(entry), found \(found)")
            try archive.integer(&address[entry])
        }
    }
}

extension PhysicalMemoryProtection: Equatable {
    public static func == (a: Self, b: Self) -> Bool {
        for entry in 0..<entryCount where a.configuration[entry] != b.configuration[entry] || a.address[entry] != b.address[entry] {
            return false
        }
        return true
    }
}
