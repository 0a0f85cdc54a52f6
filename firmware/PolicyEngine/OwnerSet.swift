/// A set of owners 0...64, as the Workload Analyzer's three ACTIVE words have it. Walking it costs nothing for those that aren't in it.
public struct OwnerSet: Equatable, Sendable {
    private var low: UInt32
    private var high: UInt32
    private var last: UInt32

    /// Bit b of word n is owner 32n + b; words as in a register file, bits of owners above 64 are dropped.
    public init(_ word0: UInt32 = 0, _ word1: UInt32 = 0, _ word2: UInt32 = 0) { low = word0; high = word1; last = word2 & 1 }

    /// As three words of a register file.
    public var words: (UInt32, UInt32, UInt32) { (low, high, last) }

    public var isEmpty: Bool { low | high | last == 0 }
    public var count: UInt32 { UInt32(truncatingIfNeeded: low.nonzeroBitCount &+ high.nonzeroBitCount) &+ last }

    public func contains(_ owner: Int) -> Bool { word(owner) & Self.bit(owner) != 0 }

    public mutating func insert(_ owner: Int) {
        switch owner >> 5 {
        case 0: low |= Self.bit(owner)
        case 1: high |= Self.bit(owner)
        case 2: last |= Self.bit(owner) & 1
        default: break
        }
    }

    public mutating func remove(_ owner: Int) {
        switch owner >> 5 {
        case 0: low &= ~Self.bit(owner)
        case 1: high &= ~Self.bit(owner)
        case 2: last &= ~Self.bit(owner)
        default: break
        }
    }

    public func union(_ other: OwnerSet) -> OwnerSet { OwnerSet(low | other.low, high | other.high, last | other.last) }
    public func subtracting(_ other: OwnerSet) -> OwnerSet { OwnerSet(low & ~other.low, high & ~other.high, last & ~other.last) }

    /// Takes out the owner of the smallest number; nil when the set is empty.
    public mutating func popFirst() -> Int? {
        if low != 0 {
            let owner = low.trailingZeroBitCount
            low &= low &- 1
            return owner
        }
        if high != 0 {
            let owner = high.trailingZeroBitCount
            high &= high &- 1
            return 32 &+ owner
        }
        if last != 0 { last = 0; return 64 }
        return nil
    }

    private func word(_ owner: Int) -> UInt32 { owner >> 5 == 0 ? low : owner >> 5 == 1 ? high : owner >> 5 == 2 ? last : 0 }
    private static func bit(_ owner: Int) -> UInt32 { 1 &<< UInt32(truncatingIfNeeded: owner & 31) }
}
