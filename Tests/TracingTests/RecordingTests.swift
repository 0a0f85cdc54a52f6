import Glibc
import Registers
import Scratch
import Testing
import Tracing

/// What becomes of a recording: while it goes on, when it ends, and which part of a run it keeps.
@Suite struct RecordingTests {
    @Test func whatWasFlushedIsReadWhileRecordingGoesOn() throws {
        let folder = try TemporaryFolder(), events = makeAllEvents(seed: 1, count: 6000)
        let writer = try makeWriter(folder.path)
        for (number, event) in events.enumerated() {
            writer.record(event)
            guard number % 1500 == 1499 else { continue }
            #expect(writer.flush().events == UInt64(number + 1))
            // As the folder is now, a killed process would leave it.
            var reader = try TraceReader(folder: folder.path), found: [TraceEvent] = []
            while let event = try reader.next() { found.append(event) }
            #expect(found == merged(Array(events[...number])))
            #expect(reader.totals == nil && reader.notes == ["\(folder.path): the recording has no end: it was killed, or goes on"])
            if number == 2999, run("command -v babeltrace2").status == 0 {
                let (status, output) = run("babeltrace2 --names=none \(folder.path)")
                #expect(status == 0 && output.utf8.count { $0 == UInt8(ascii: "\n") } >= 3000, "\(output.suffix(500))")
            }
        }
        writer.finish()
    }

    /// What an access brings about goes before it, and takes nothing of what the access has met so far, also where the ring begins anew.
    @Test func whatHappensInAnAccessGoesBeforeIt() throws {
        let told = try makeWriter(nil), put = try makeWriter(nil)
        for number in 0..<100_000 as Range<UInt64> {
            let line = TraceEvent.interrupt(InterruptEvent(time: number, step: .line(1, level: number & 1 == 0)))
            told.record(line)
            told.record(.access(AccessEvent(
                time: number, wait: 3, initiator: .hart(0), origin: 0x8000_0104, isWrite: true, size: 4, status: .readOnly,
                target: .register(1, element: 2, byte: 4), old: number, new: number + 1)))
            put.producer.pointee.slot.pointee.begin(at: number)
            let tap = put.producer.pointee.place.load(as: UnsafeMutablePointer<RegisterTap>.self)
            tap.pointee = RegisterTap(register: 1, element: 2, byte: 4, old: number, new: number + 1)
            put.record(line)
            var access = BusAccess(write: number + 1, to: 0, size: 4, initiator: .hart(0), origin: 0x8000_0104, time: number + 3)
            put.producer.pointee.finish(&access, address: 0, bus: 0, status: .readOnly)
        }
        #expect(put.finish() == told.finish())
    }

    @Test func theHashIsThatOfTheEvents() throws {
        let folder = try TemporaryFolder(), events = makeAllEvents(seed: 2, count: 1000)
        let totals = try write(events, to: folder.path)
        #expect(try write(events, to: nil) == totals)
        #expect(try write(events.reversed(), to: nil).hash != totals.hash)
        // It is part of what is promised between versions and machines.
        let known = try write(makeAllEvents(seed: 3, count: 100), to: nil)
        #expect("\(known)" == "100 events, hash 0x69d4ff5d0c893854")
        #expect(try write([], to: nil).hash == 0xcbf2_9ce4_8422_2325)
    }

    @Test func eventsOfMoreThanTheRingArriveInOrder() throws {
        let folder = try TemporaryFolder()
        var expected: [UInt64] = []
        let writer = try makeWriter(folder.path)
        for number in 0..<300_000 as Range<UInt64> {
            writer.record(.log(LogEvent(time: number * 3, content: .line("line number \(number)"))))
            expected.append(number * 3)
        }
        #expect(writer.finish().events == 300_000)
        #expect(try read(folder.path).map(\.time) == expected)
    }

    // MARK: Folders

    @Test func recordingAgainReplacesTheTrace() throws {
        let folder = try TemporaryFolder()
        try write(makeAllEvents(seed: 1, count: 5000), to: folder.path)
        try write([.log(LogEvent(time: 1, content: .line("again")))], to: folder.path)
        #expect(try read(folder.path) == [.log(LogEvent(time: 1, content: .line("again")))])
        #expect(run("ls \(folder.path)/hart0").status != 0)
    }

    @Test func anythingElseIsLeftAlone() throws {
        let folder = try TemporaryFolder()
        _ = run("echo mine >\(folder.path)/notes.txt")
        #expect(message { _ = try makeWriter(folder.path) }
            == "\(folder.path): a new or empty folder, or that of an earlier trace, expected, one with 'notes.txt' found")
        #expect(run("cat \(folder.path)/notes.txt").output == "mine\n")
        _ = run("rm \(folder.path)/notes.txt; echo '/* CTF 1.8 */' >\(folder.path)/metadata")
        #expect(message { _ = try makeWriter(folder.path) }.hasSuffix("a trace of another program found"))
        #expect(message { _ = try makeWriter("/nowhere/trace") } == "/nowhere/trace: mkdir: No such file or directory")
    }

    @Test func aTraceThatCannotBeWrittenEndsTheTraceOnly() throws {
        let folder = try TemporaryFolder(), events = makeAllEvents(seed: 1, count: 100)
        let writer = try makeWriter(folder.path)
        _ = run("rm -r \(folder.path)")
        for event in events { writer.record(event) }
        let totals = writer.finish()
        #expect(totals.failure?.description.hasSuffix("No such file or directory") == true)
        #expect(try totals.hash == write(events, to: nil).hash)
    }

    // MARK: Parts of a run

    private func filter(_ text: String) throws -> TraceFilter { try TraceFilter(text, makeDecoder(), frequency: 1_000_000_000) }

    /// Accesses that are told apart by their value, 10 cycles apart.
    private func numbered(_ numbers: Range<UInt64>) -> [TraceEvent] {
        numbers.map {
            .access(AccessEvent(
                time: $0 * 10, wait: 1, initiator: $0 % 3 == 0 ? .host(function: 0) : .hart(0), origin: 0x8000_0000, isWrite: true, size: 4,
                status: .ok, target: .register(0, element: 0, byte: 0), old: 0x1234_5678, new: $0))
        }
    }

    @Test func aFilterKeepsWhatItLetsThrough() throws {
        let folder = try TemporaryFolder(), events = numbered(1..<1000)
        var selection = TraceSelection()
        selection.filter = try filter("new in 100..199")
        let totals = try write(events, to: folder.path, selection)
        #expect(try read(folder.path) == Array(events[99..<199]))
        #expect(try totals == write(events, to: nil), "the hash is of the run, not of the part")
    }

    @Test func recordingStartsAndStopsWithEvents() throws {
        let folder = try TemporaryFolder(), events = numbered(1..<1000)
        var selection = TraceSelection()
        selection.start = try filter("new == 100 or new == 500")
        selection.stop = try filter("new == 120 or new == 510")
        try write(events, to: folder.path, selection)
        #expect(try read(folder.path) == Array(events[99..<120] + events[499..<510]))
        // Without a start, from the beginning; with a stop only, once.
        selection.start = nil
        try write(events, to: folder.path, selection)
        #expect(try read(folder.path) == Array(events[..<120]))
        // A filter does not hide what starts and stops.
        selection.start = try filter("new == 100")
        selection.filter = try filter("initiator == host0")
        try write(events, to: folder.path, selection)
        #expect(try read(folder.path) == events[99..<120].filter { $0.initiator == .host(function: 0) })
    }

    @Test func historyIsWhatWasBeforeTheStart() throws {
        let folder = try TemporaryFolder(), events = numbered(1..<500_000)
        var selection = TraceSelection()
        selection.start = try filter("new == 400000")
        selection.stop = try filter("new == 400100")
        selection.history = TraceSelection.smallestLimit
        try write(events, to: folder.path, selection)
        let found = try read(folder.path)
        #expect(found.last == events[400_099])
        let first = try #require(found.first.flatMap { event in events.firstIndex(of: event) })
        // Every stream has all of its events from some one on.
        for initiator in [Initiator.hart(0), .host(function: 0)] {
            let mine = found.filter { $0.initiator == initiator }
            #expect(mine == events[first..<400_100].filter { $0.initiator == initiator }.suffix(mine.count) && mine.count > 20_000)
        }
        let bytes = try size(of: folder.path)
        #expect(bytes > selection.history * 3 / 4 && bytes < selection.history * 5 / 4, "\(bytes)")
        // What was never started has only its end.
        selection.start = try filter("new == 1 and read")
        try write(Array(events[..<100_000]), to: folder.path, selection)
        #expect(try read(folder.path).isEmpty)
    }

    @Test func aLimitKeepsTheNewest() throws {
        let folder = try TemporaryFolder(), events = numbered(1..<600_000)
        var selection = TraceSelection()
        selection.limit = TraceSelection.smallestLimit
        let writer = try makeWriter(folder.path, selection)
        var largest = 0
        for (number, event) in events.enumerated() {
            writer.record(event)
            guard number % 50_000 == 49_999 else { continue }
            writer.flush()
            largest = max(largest, try size(of: folder.path))
            let found = try read(folder.path)
            #expect(found.last == event && found.count > min(number, 50_000))
            #expect(Set(found.map(\.initiator)).count == 2)
        }
        writer.finish()
        #expect(largest < TraceSelection.smallestLimit * 9 / 8, "\(largest)")
        #expect(largest > TraceSelection.smallestLimit * 3 / 4, "\(largest)")
        if run("command -v babeltrace2").status == 0 {
            let lines = run("babeltrace2 --clock-cycles \(folder.path)").output.split(separator: "\n")
            #expect(lines.count == (try read(folder.path).count) + 1)
        }
    }

    /// Bytes of the streams' files on the disk: those that are being written end in a hole.
    private func size(of folder: String) throws -> Int {
        let blocks = run("find \(folder) -maxdepth 1 -name 'h*' -printf '%b\\n'").output.split(separator: "\n")
        return blocks.compactMap { Int($0) }.reduce(0, +) * 512
    }
}
