import Hardware
import PolicyEngine

/// Measures what owners use of service cores, from one of the resource's turns to the next.
struct UseMeter {
    /// An owner's total at its last measurement, and the number of that.
    private struct Mark: BitwiseCopyable {
        var total: UInt64 = 0
        var number: UInt32 = 0
    }

    private let marks: Table<Mark>
    /// Numbers of the measurements, from 1.
    private var number: UInt32 = 0
    private var end: UInt64 = 0
    private var isMeasuring = false
    /// Cycles since the last measurement in units that let them have 16 bits, and log2 of such a unit.
    private var elapsed: UInt32 = 0
    private var shift: UInt64 = 0

    init(in arena: inout Arena) { marks = arena.table(of: PolicyEngine.owners, repeating: Mark()) }

    /// Begins a measurement of what a turn is about, if it is about cores.
    /// - Parameter end: of the latest window.
    mutating func begin(_ turn: Resource, upTo end: UInt64) {
        isMeasuring = turn == .cores
        guard isMeasuring else { return }
        let cycles = end &- self.end
        self.end = end
        number &+= 1
        shift = UInt64(truncatingIfNeeded: max(48 &- cycles.leadingZeroBitCount, 0))
        elapsed = UInt32(truncatingIfNeeded: cycles &>> shift)
    }

    /// How many cores the owner's requests kept busy or waited for, on average, in 1/256; nil if that isn't known.
    ///
    /// By Little's law the cycles that its requests were at the cores, over the time, are how many of them were there: those that were
    /// served and those that waited. With so many cores nobody would have waited.
    func measure(_ owner: Int, _ analyzer: WA) -> UInt32? {
        guard isMeasuring else { return nil }
        analyzer.select = .init(owner: UInt32(truncatingIfNeeded: owner), queue: 255, age: 0)
        let mark = marks[owner], total = analyzer.detail.stage[0].cycles
        marks[owner] = Mark(total: total, number: number)
        guard mark.number == number &- 1, elapsed != 0 else { return nil }
        let cycles = (total &- mark.total) &>> shift
        return cycles >= 1 &<< 24 ? .max : (UInt32(truncatingIfNeeded: cycles) &<< 8) / elapsed
    }
}
