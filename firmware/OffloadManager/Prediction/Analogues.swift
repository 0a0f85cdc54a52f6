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
    private static let farthest = UInt32(16 &* mostDifference) &<< 16

    /// Signals in octaves/256, the newest at `head`, stored twice `places` apart, so that every span of `places` is in one piece.
    private let signals: Table<Int16>
    /// Of each lag: the distance in the upper half, the lag in the lower, so that they can be put in order as they are.
    private let distances: Table<UInt32>

    init(owners: Int, in arena: inout Arena) {
        signals = arena.table(of: owners &* 2 &* Self.places, repeating: 0)
        distances = arena.table(of: owners &* Self.places, repeating: 0)
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
        if count < Self.places { distance[known] = Self.farthest | UInt32(truncatingIfNeeded: known) }
        guard known >= Self.choices else { return }

        var best = InlineArray<9, UInt32>(repeating: .max)
        var worst = UInt32.max
        let past = signals + head
        for lag in 1...known {
            let difference = signal &- Int32(past[lag])
            let gain = UInt32(bitPattern: min(max(difference, 0 &- difference), Self.mostDifference))
            let entry = distance[lag] &+ (gain &- (distance[lag] &>> 20)) &<< 16
            distance[lag] = entry
            if entry < worst { worst = Self.insert(entry, into: &best) }
        }
        // What is more than twice as far as the nearest is no analogue: the nearest stands in for it.
        let reach = (best[0] &>> 16) &* 2
        for place in 0..<Self.choices { lags[place] = best[best[place] &>> 16 <= reach ? place : 0] & 0xffff }
    }

    /// Puts an entry in its place and drops the last one.
    /// - Returns: the new last one.
    @inline(__always) private static func insert(_ entry: UInt32, into best: inout InlineArray<9, UInt32>) -> UInt32 {
        var place = choices &- 1
        while place > 0, best[unchecked: place &- 1] > entry {
            best[unchecked: place] = best[unchecked: place &- 1]
            place &-= 1
        }
        best[unchecked: place] = entry
        return best[unchecked: choices &- 1]
    }
}
