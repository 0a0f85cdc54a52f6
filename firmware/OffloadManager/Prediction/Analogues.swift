/// Finds when an owner's past was most like its present: forecasting by analogues (Lorenz: Atmospheric predictability as revealed by
/// naturally occurring analogues, 1969), by lags.
///
/// Every lag has a distance: the differences between the signal and what it was so long before, the latest first in weight. When a value
/// comes, each distance loses 1/16 and gains one difference, so that the search costs a dozen cycles for each lag however long the
/// remembered pattern is. The lags of least distance name the moments whose successors are the forecast. That needs no model of the
/// load: periods, bursts of a fixed shape and slow changes are all found alike.
struct Analogues {
    /// Lags 1...255.
    static let places = 256
    /// How many lags are chosen.
    static let choices = 9
    /// Differences count up to four octaves.
    static let mostDifference: Int32 = 4 &<< 8
    private static let farthest = UInt16(16 &* mostDifference)

    /// Signals in octaves/256, the newest at `head`, stored twice 256 apart, so that every span of 256 is in one piece.
    private let signals: Table<Int16>
    private let distances: Table<UInt16>

    init(owners: Int, in arena: inout Arena) {
        signals = arena.table(of: owners &* 2 &* Self.places, repeating: 0)
        distances = arena.table(of: owners &* Self.places, repeating: 0)
    }

    /// Forgets an owner's past.
    func clear(_ owner: Int) { distances.part(owner, of: Self.places).update(repeating: Self.farthest, count: Self.places) }

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
        guard known >= Self.choices else { return }

        // Distance in the upper half, lag in the lower, in order.
        var best = InlineArray<9, UInt32>(repeating: .max)
        var worst = UInt32.max
        let past = signals + head
        let distance = distances.part(owner, of: Self.places)
        var lag = 1
        while lag <= known {
            let difference = signal &- Int32(past[lag])
            let old = UInt32(distance[lag])
            let new = old &- (old &>> 4) &+ UInt32(bitPattern: min(max(difference, 0 &- difference), Self.mostDifference))
            distance[lag] = UInt16(truncatingIfNeeded: new)
            let entry = (new &<< 16) | UInt32(truncatingIfNeeded: lag)
            if entry < worst { worst = Self.insert(entry, into: &best) }
            lag &+= 1
        }
        // What is more than twice as far as the nearest is no analogue: the nearest stands in for it.
        let farthest = (best[0] &>> 16) &* 2
        for place in 0..<Self.choices { lags[place] = best[best[place] &>> 16 <= farthest ? place : 0] & 0xffff }
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
