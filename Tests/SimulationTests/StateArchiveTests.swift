import Simulation
import Testing

@Suite("State archive")
struct StateArchiveTests {
    /// One field of each kind.
    struct Sample: ArchivedState, Equatable {
        enum Colour: UInt8 { case red = 1, green = 2 }
        var small: UInt8 = 7
        var signed: Int64 = -5
        var flag = true
        var colour = Colour.green
        var name = "naïve"
        var optional: UInt16? = 9
        var list: [UInt32] = [1, 2, 3]
        var fixed: [UInt64] = [10, .max]

        mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
            try archive.section("sample", version: 3) { (archive, _) throws(SnapshotError) in
                try archive.integer(&small, in: 0...100)
                try archive.integer(&signed)
                try archive.flag(&flag)
                try archive.raw(&colour)
                try archive.string(&name, limit: 16)
                try archive.optional(&optional, blank: 0) { (archive, value) throws(SnapshotError) in try archive.integer(&value) }
                try archive.array(&list, limit: 8, blank: 0) { (archive, value) throws(SnapshotError) in try archive.integer(&value) }
                try archive.integers(&fixed)
            }
        }
    }

    static func save(_ sample: Sample) throws -> [UInt8] {
        var sample = sample
        var archive = StateArchive()
        try archive.state(&sample)
        return archive.bytes
    }

    @Test func whatIsSavedIsLoaded() throws {
        let sample = Sample(small: 99, signed: .min, flag: false, colour: .red, name: "", optional: nil, list: [], fixed: [0, 1])
        for sample in [Sample(), sample] {
            var archive = StateArchive(loading: try Self.save(sample))
            var loaded = Sample()
            try archive.state(&loaded)
            try archive.finish()
            #expect(loaded == sample)
        }
    }

    @Test func everyTruncationIsRefused() throws {
        let bytes = try Self.save(Sample())
        for count in 0..<bytes.count {
            var archive = StateArchive(loading: Array(bytes.prefix(count)))
            var loaded = Sample()
            #expect(throws: SnapshotError.self, "\(count) bytes") { try archive.state(&loaded) }
        }
    }

    @Test func aMistakeIsReportedAtItsPlace() throws {
        var bytes = try Self.save(Sample())
        bytes[8 + 6 + 2 + 8] = 101
        var archive = StateArchive(loading: bytes)
        var loaded = Sample()
        #expect(throws: SnapshotError("snapshot: sample: expected 0 to 100, found 101 (byte 25)")) { try archive.state(&loaded) }
    }

    @Test func aLaterVersionIsRefused() throws {
        var bytes = try Self.save(Sample())
        bytes[14] = 4
        var archive = StateArchive(loading: bytes)
        var loaded = Sample()
        #expect(throws: SnapshotError("snapshot: sample: expected version 1 to 3, found 4 (byte 16)")) { try archive.state(&loaded) }
    }

    // MARK: Device time

    private final class Target: DeadlineTarget {
        var fired: [(tag: Int, cycle: Cycle)] = []
        func deadlineReached(_ tag: Int, at cycle: Cycle) { fired.append((tag, cycle)) }
    }

    @Test func deadlinesFireInTheSameOrderAfterLoading() throws {
        let (target, scheduler) = (Target(), Scheduler())
        let deadlines = (0..<8).map { Deadline("d\($0)", on: scheduler, target: target, tag: $0) }
        for index in [3, 1, 7, 0, 5] { deadlines[index].arm(at: index.isMultiple(of: 2) ? 50 : 40) }
        scheduler.advance(to: 10)
        func archive(_ archive: inout StateArchive) throws(SnapshotError) {
            try scheduler.archive(&archive)
            for deadline in deadlines { try deadline.archive(&archive) }
        }
        var saved = StateArchive()
        try archive(&saved)
        scheduler.advance(to: 100)
        let first = target.fired.map { [$0.tag, Int($0.cycle)] }
        #expect(first == [[3, 40], [1, 40], [7, 40], [5, 40], [0, 50]])
        target.fired = []
        deadlines[6].arm(at: 200)
        var loading = StateArchive(loading: saved.bytes)
        try archive(&loading)
        try loading.finish()
        #expect(scheduler.now == 10)
        #expect(deadlines[6].due == nil)
        // A deadline is armed as long as somebody has it.
        withExtendedLifetime(deadlines) { scheduler.advance(to: 100) }
        #expect(target.fired.map { [$0.tag, Int($0.cycle)] } == first)
    }

    @Test func aDeadlineInThePastIsRefused() throws {
        let (target, scheduler) = (Target(), Scheduler())
        let deadline = Deadline("late", on: scheduler, target: target)
        deadline.arm(at: 5)
        var saved = StateArchive()
        try scheduler.archive(&saved)
        try deadline.archive(&saved)
        var bytes = saved.bytes
        bytes[8 + 9 + 2 + 8] = 6
        var loading = StateArchive(loading: bytes)
        try scheduler.archive(&loading)
        #expect(throws: SnapshotError.self) { try deadline.archive(&loading) }
    }

    @Test func ofSparseMemoryOnlyWhatIsNotZeroIsStored() throws {
        var words = [UInt64](repeating: 0, count: 1000)
        (words[0], words[399], words[999]) = (1, 2, 3)
        var saving = StateArchive()
        let saved = words
        words.withUnsafeMutableBytes { buffer in #expect(throws: Never.self) { try saving.sparseMemory(buffer, block: 64 * 8) } }
        // A count, 16 flags, two whole blocks and the last one.
        #expect(saving.bytes.count == 8 + 16 + 2 * 512 + 40 * 8)
        var loading = StateArchive(loading: saving.bytes)
        words = [UInt64](repeating: .max, count: 1000)
        words.withUnsafeMutableBytes { buffer in #expect(throws: Never.self) { try loading.sparseMemory(buffer, block: 64 * 8) } }
        #expect(words == saved)
    }

    @Test func cyclesThatNoDeviceReachesAreRefused() throws {
        for (cycle, isGood) in [(0, true), (StateArchive.lastCycle, true), (StateArchive.lastCycle + 1, false), (Cycle.max, true)] {
            var saving = StateArchive()
            var value = cycle
            try saving.integer(&value)
            let bytes = saving.bytes
            let load = { () throws in
                var loading = StateArchive(loading: bytes)
                var value: Cycle = 0
                try loading.cycle(&value)
            }
            if isGood { try load() } else { #expect(throws: SnapshotError.self) { try load() } }
        }
    }
}
