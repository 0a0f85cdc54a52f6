import Hardware
import PolicyEngine

/// Measures what owners use of service cores and accelerator slots, from one of a resource's turns to the next.
///
/// By Little's law the cycles that an owner's requests were at a resource, over the time, are how many of them were there on average: those
/// that were served and those that waited. With so many units nobody would have waited.
struct UseMeter {
    /// An owner's total at its last measurement, and the number of that.
    private struct Mark: BitwiseCopyable {
        var total: UInt64 = 0
        var number: UInt32 = 0
    }

    /// A resource's latest measurement: its number, from 1, and the cycle.
    private struct Series: BitwiseCopyable {
        var number: UInt32 = 0
        var end: UInt64 = 0
    }

    private let marks: Table<Mark>
    private let series: Table<Series>
    private var turn = Resource.memory
    private var number: UInt32 = 0
    /// Cycles since the last measurement in units that let them have 16 bits, and log2 of such a unit.
    private var elapsed: UInt32 = 0
    private var shift: UInt64 = 0

    init(in arena: inout Arena) {
        marks = arena.table(of: PolicyEngine.owners * Resource.count, repeating: Mark())
        series = arena.table(of: Resource.count, repeating: Series())
    }

    /// Begins a measurement of what a turn is about.
    /// - Parameters:
    ///   - end: of the latest window, which is as far as the Workload Analyzer has counted.
    ///   - now: as far as the Resource Manager has.
    mutating func begin(_ turn: Resource, upTo end: UInt64, _ now: UInt64) {
        self.turn = turn
        let place = turn == .cores ? end : now
        let cycles = place &- series[turn.rawValue].end
        series[turn.rawValue].end = place
        series[turn.rawValue].number &+= 1
        number = series[turn.rawValue].number
        shift = UInt64(truncatingIfNeeded: max(48 &- cycles.leadingZeroBitCount, 0))
        elapsed = UInt32(truncatingIfNeeded: cycles &>> shift)
    }

    /// How many units the owner's requests kept busy or waited for, on average, in 1/256; nil if that isn't known.
    func measure(_ owner: Int, _ analyzer: WA, _ manager: RM) -> UInt32? {
        let total: UInt64
        switch turn {
        case .cores:
            analyzer.select = .init(owner: UInt32(truncatingIfNeeded: owner), queue: 255, age: 0)
            total = analyzer.detail.stage[0].cycles
        case .gpu: total = manager.use[owner].gpu.requestCycles
        case .fpga: total = manager.use[owner].fpga.requestCycles
        case .bandwidth, .memory: return nil
        }
        let place = owner &* Resource.count &+ turn.rawValue, mark = marks[place]
        marks[place] = Mark(total: total, number: number)
        guard mark.number == number &- 1, elapsed != 0 else { return nil }
        let cycles = (total &- mark.total) &>> shift
        return cycles >= 1 &<< 24 ? .max : (UInt32(truncatingIfNeeded: cycles) &<< 8) / elapsed
    }
}
