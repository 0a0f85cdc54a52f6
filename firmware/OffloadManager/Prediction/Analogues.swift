import PolicyEngine

/// Finds when an owner's past was most like its present: forecasting by analogues (Lorenz: Atmospheric predictability as revealed by
/// naturally occurring analogues, 1969), by lags.
///
/// Every lag has a distance: the differences between the signal and what it was so long before, the latest first in weight. When a value
/// comes, each distance loses 1/16 and gains one difference, so that the search costs a dozen cycles for each lag however long the
/// remembered pattern is. The lags of least distance name the moments whose successors are the forecast. That needs no model of the
/// load: periods, bursts of a fixed shape and slow changes are all found alike.
struct Analogues {
    /// Lags 1...127.
    static let places = 128
    /// How many lags are chosen.
    static let choices = 9
    /// Differences count up to four octaves.
    static let mostDifference: Int32 = 4 &<< 8
    private static let farthest = UInt16(16 &* mostDifference)

    /// Signals in octaves/256, the newest at `head`, stored twice `places` apart, so that every span of `places` is in one piece.
    private let signals: Table<Int16>
    /// Of each lag.
    private let distances: Table<UInt16>
    /// The lags of least distance at the latest value.
    private let chosen: Table<UInt8>

    init(owners: Int, in arena: inout Arena) {
        signals = arena.table(of: owners &* 2 &* Self.places, repeating: 0)
        distances = arena.table(of: owners &* Self.places, repeating: 0)
        chosen = arena.table(of: owners &* Self.choices, repeating: 0)
    }

    /// Takes in a value.
    /// - Parameters:
    ///   - head: the place of the value; the one before is at the next higher place, modulo `places`.
    ///   - count: the owner's values so far, without this one.
    ///   - lags: set to the lags of least distance, the least first; left alone while there are too few values.
    func push(_ signal: Int32, at head: Int, of owner: Int, count: UInt32, lags: inout InlineArray<9, UInt32>) {
        let signals = signals.part(owner, of: 2 &* Self.places)
        signals[head] = Int16(truncatingIfNeeded: signal)
        signals[head &+ Self.places] = Int16(truncatingIfNeeded: signal)
        let known = Int(min(count, UInt32(Self.places &- 1)))
        let distance = distances.part(owner, of: Self.places)
        // A lag that has become known with this value.
        if count < Self.places { distance[known] = Self.farthest }
        guard known >= Self.choices else { return }

        var past = UnsafePointer(signals + head), place = distance
        @inline(__always) func updated(_ lag: Int) -> UInt32 {
            let difference = signal &- Int32(past[lag])
            let gain = UInt32(bitPattern: min(max(difference, 0 &- difference), Self.mostDifference))
            let distance = UInt32(place[lag])
            return distance &- distance &>> 4 &+ gain
        }
        // Those that were nearest still are near: what is farther than all of them is none of the nearest now.
        let chosen = chosen.part(owner, of: Self.choices)
        if known == Self.choices {
            for place in 0..<Self.choices { chosen[place] = UInt8(truncatingIfNeeded: place &+ 1) }
        }
        var reach: UInt32 = 0
        for place in 0..<Self.choices { reach = max(reach, updated(Int(chosen[place]))) }

        var nearest = Nearest()
        var lag: UInt32 = 1
        @inline(__always) func update(_ next: Int) {
            let distance = updated(next)
            place[next] = UInt16(truncatingIfNeeded: distance)
            if _slowPath(distance <= reach) {
                reach = min(reach, nearest.insert(distance, lag &+ UInt32(truncatingIfNeeded: next &- 1)))
            }
        }
        // Two at a time: the loop itself would be a fifth of what this costs.
        if known & 1 != 0 {
            update(1)
            past += 1
            place += 1
            lag &+= 1
        }
        while lag < known {
            update(1)
            update(2)
            past += 2
            place += 2
            lag &+= 2
        }
        nearest.remember(in: chosen)
        nearest.choose(&lags)
    }

    /// The lags of least distance, so far.
    private struct Nearest {
        /// In order: the distance in the upper half, the lag in the lower.
        private(set) var entries = InlineArray<9, UInt32>(repeating: .max)
        private var count = 0

        func remember(in chosen: UnsafeMutablePointer<UInt8>) {
            for place in 0..<choices { chosen[place] = UInt8(truncatingIfNeeded: entries[unchecked: place]) }
        }

        /// What is more than twice as far as the nearest is no analogue: the nearest stands in for it.
        func choose(_ lags: inout InlineArray<9, UInt32>) {
            let first = entries[unchecked: 0], farthest = (first &>> 16) &* 2
            for place in 0..<choices {
                let entry = entries[unchecked: place]
                lags[unchecked: place] = (entry &>> 16 <= farthest ? entry : first) & 0xffff
            }
        }

        /// - Returns: what is farther than that is none of them.
        @inline(never) mutating func insert(_ distance: UInt32, _ lag: UInt32) -> UInt32 {
            let entry = distance &<< 16 | lag
            var place = choices &- 1
            if count < choices {
                place = count
                count &+= 1
            } else if entry > entries[unchecked: place] {
                return entries[unchecked: place] &>> 16
            }
            while place > 0, entries[unchecked: place &- 1] > entry {
                entries[unchecked: place] = entries[unchecked: place &- 1]
                place &-= 1
            }
            entries[unchecked: place] = entry
            return entries[unchecked: choices &- 1] &>> 16
        }
    }
}
