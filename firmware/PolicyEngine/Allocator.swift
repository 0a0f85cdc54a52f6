/// Divides one resource between owners in whole units.
///
/// Of all divisions that give every owner its least and nobody more than its claim, it finds the one with the greatest sum of
/// weight x (1 + 1/2 + ... + 1/units): each further unit is worth less to an owner than the one before (proportional fairness in whole
/// units; Jefferson's method). A unit that an owner doesn't have yet is worth less by ``Resource/movingCost``, so that nothing moves for
/// little. Since a unit's worth depends on nothing but its number, the best division is that in which everybody has its units above one
/// price; the price is found by bisection. With equal weights that is max-min fair.
public struct Allocator {
    /// One owner's part in a division.
    struct Part: BitwiseCopyable {
        var least: UInt32 = 0
        var most: UInt32 = 0
        var now: UInt32 = 0
        /// Weight of units that it has, and of those that it doesn't have, in 1/32.
        var keeps: UInt32 = 0
        var takes: UInt32 = 0

        /// Units that are worth it at a level, which is 1 / price: with weight 1, level / 2^scale units.
        @inline(__always) func units(at level: UInt32, _ scale: UInt32) -> UInt32 {
            var units = Self.shifted(takes, level, scale)
            if takes != keeps { units = max(units, min(now, Self.shifted(keeps, level, scale))) }
            return max(least, min(most, units))
        }

        @inline(__always) private static func shifted(_ weight: UInt32, _ level: UInt32, _ scale: UInt32) -> UInt32 {
            let (product, overflow) = weight.multipliedReportingOverflow(by: level)
            return overflow ? .max : product &>> (scale &+ 5)
        }
    }

    private let parts: Table<Part>
    private var count = 0
    /// Greatest weight that was added.
    private var heaviest: UInt32 = 1
    /// Whether moving costs anything.
    private var isMoving = false

    public init(in arena: inout Arena) { parts = arena.table(of: PolicyContexts.owners, repeating: Part()) }

    /// Forgets those that were added.
    public mutating func begin() { (count, heaviest, isMoving) = (0, 1, false) }

    /// - Parameters:
    ///   - claim: what the owner should have; `least` goes before it.
    ///   - now: what it has.
    ///   - weight: 1...255.
    ///   - movingCost: what a unit that it doesn't have is worth less, in 1/32, at most 16.
    public mutating func add(least: UInt32, claim: UInt32, now: UInt32, weight: UInt32, movingCost: UInt32) {
        parts[count] = Part(least: least, most: max(claim, least), now: now, keeps: weight &* 32, takes: weight &* (32 &- movingCost))
        heaviest = max(heaviest, weight)
        if movingCost != 0 { isMoving = true }
        count &+= 1
    }

    /// Divides among those that were added. If not even the leasts can be had, all get equally less of them.
    /// - Parameter capacity: units that there are, at most 65,535.
    /// - Returns: units that are left.
    public mutating func divide(_ capacity: UInt32) -> UInt32 {
        var claimed: UInt32 = 0, least: UInt32 = 0
        for place in 0..<count {
            claimed = saturated(claimed, parts[place].most)
            least = saturated(least, parts[place].least)
        }
        if claimed <= capacity {
            for place in 0..<count { parts[place].least = parts[place].most }
            return capacity &- claimed
        }
        if least > capacity {
            let each = capacity / UInt32(truncatingIfNeeded: count)
            for place in 0..<count { parts[place].least = min(parts[place].least, each) }
        }
        // As fine as the greatest weight needs, so that from one level to the next nobody gets more than one unit more; finer where
        // there are few units, or units that move are to be told from units that stay. At the top even weight 1 has all there is, or
        // what it claims.
        let fine = 32 &- (heaviest &- 1).leadingZeroBitCount &+ (isMoving || capacity < 256 ? 10 : 0)
        let scale = UInt32(truncatingIfNeeded: min(fine, capacity.leadingZeroBitCount &- 5))
        var level: UInt32 = 0, top = (isMoving ? capacity &* 2 : capacity) &<< scale | (1 &<< scale &- 1)
        while level < top {
            let middle = (level &+ top &+ 1) >> 1
            if sum(at: middle, scale) <= capacity { level = middle } else { top = middle &- 1 }
        }
        // At the next level there would be too many: some of those who would have one more get it.
        var rest = capacity &- min(sum(at: level, scale), capacity)
        for place in 0..<count {
            let units = parts[place].units(at: level, scale)
            let more = min(parts[place].units(at: level &+ 1, scale) &- units, rest)
            parts[place].least = units &+ more
            rest &-= more
        }
        return rest
    }

    /// Units of the owner that was added at a place, after `divide`.
    public func units(_ place: Int) -> UInt32 { parts[place].least }

    private func sum(at level: UInt32, _ scale: UInt32) -> UInt32 {
        let parts = parts.part(0, of: count)
        // Nobody has more than 65,535 units, and there are 65 owners.
        var sum: UInt32 = 0
        for place in 0..<count { sum &+= parts[place].units(at: level, scale) }
        return sum
    }

    @inline(__always) private func saturated(_ left: UInt32, _ right: UInt32) -> UInt32 {
        let (sum, overflow) = left.addingReportingOverflow(right)
        return overflow ? .max : sum
    }
}
