import Glibc
import HostFilesystem
import Peripherals
import Testing

private let caller = Caller(thread: 1)

/// Reads a file as a client's `pread` would.
private func read(_ node: Node, _ open: OpenFile?, at offset: Int = 0, count: Int = 100) throws(Errno) -> String {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
    defer { buffer.deallocate() }
    let read = try node.read(at: offset, into: buffer, open: open, by: caller)
    return String(decoding: UnsafeRawBufferPointer(rebasing: buffer[..<read]), as: UTF8.self)
}

private func write(_ node: Node, _ open: OpenFile?, _ text: String, at offset: Int = 0) throws(Errno) -> Int {
    let bytes = Array(text.utf8)
    let copy = UnsafeMutableRawBufferPointer.allocate(byteCount: max(bytes.count, 1), alignment: 8)
    defer { copy.deallocate() }
    copy.copyBytes(from: bytes)
    return try node.write(UnsafeRawBufferPointer(rebasing: copy[..<bytes.count]), at: offset, open: open, by: caller)
}

struct AttributeFileTests {
    @Test func eachOpeningHasATextOfOneMoment() throws {
        var moment = 0
        let file = AttributeFile(show: { () throws(Errno) in
            moment += 1
            return "moment \(moment)\n"
        })
        let open = try file.open(flags: O_RDONLY)
        #expect(try read(file, open) == "moment 1\n")
        #expect(try read(file, open, at: 7) == "1\n")
        #expect(try read(file, open, at: 100) == "")
        #expect(try read(file, open) == "moment 2\n")
        #expect(try read(file, open, at: 0, count: 3) == "mom")
        #expect(try read(file, open, at: 3) == "ent 3\n")
    }

    @Test func permissionsFollowWhatTheFileCanDo() {
        #expect(AttributeFile(show: { () throws(Errno) in "" }).permissions == 0o444)
        #expect(AttributeFile(store: { (_, _) throws(Errno) in }).permissions == 0o200)
        #expect(AttributeFile(show: { () throws(Errno) in "" }, store: { (_, _) throws(Errno) in }).permissions == 0o644)
    }

    @Test func openingAsksForNoMoreThanTheFileCan() {
        let shown = AttributeFile("x"), stored = AttributeFile(store: { (_, _) throws(Errno) in })
        #expect(throws: Errno.accessDenied) { try shown.open(flags: O_WRONLY) }
        #expect(throws: Errno.accessDenied) { try shown.open(flags: O_RDWR) }
        #expect(throws: Errno.accessDenied) { try stored.open(flags: O_RDONLY) }
        #expect(throws: Never.self) { try stored.open(flags: O_WRONLY | O_TRUNC) }
    }

    @Test func aWriteIsStoredWhole() throws {
        var stored: [String] = []
        let file = AttributeFile(store: { (text, _) throws(Errno) in
            if text == "no" { throw .busy }
            stored.append(text)
        })
        let open = try file.open(flags: O_WRONLY)
        #expect(try write(file, open, "12\n") == 3)
        #expect(try write(file, open, "again", at: 3) == 5)
        #expect(stored == ["12\n", "again"])
        #expect(throws: Errno.busy) { try write(file, open, "no") }
        #expect(throws: Errno.invalidArgument) { try write(file, open, String(repeating: "x", count: 4097)) }
    }
}

struct AccessFileTests {
    @Test func accessesEndAtTheFilesEnd() throws {
        var seen: [String] = []
        let file = AccessFile(
            size: 64, permissions: 0o600,
            read: { (offset, buffer, _) throws(Errno) in
                seen.append("read \(offset) \(buffer.count)")
                return buffer.count
            },
            write: { (offset, bytes, _) throws(Errno) in
                seen.append("write \(offset) \(bytes.count)")
                return bytes.count
            })
        #expect(try read(file, nil, at: 60, count: 4).utf8.count >= 0)
        #expect(try read(file, nil, at: 60, count: 100).utf8.count >= 0)
        #expect(try read(file, nil, at: 64) == "")
        #expect(try read(file, nil, at: -1) == "")
        #expect(try write(file, nil, "abcdef", at: 62) == 2)
        #expect(throws: Errno.invalidArgument) { try write(file, nil, "a", at: 64) }
        #expect(throws: Errno.invalidArgument) { try write(file, nil, "a", at: .min) }
        #expect(seen == ["read 60 4", "read 60 4", "write 62 2"])
    }

    @Test func aMemoryFileIsItsMemory() throws {
        let memory = try MemoryPages(name: "test", size: 8192)
        let file = AccessFile(memory: memory, permissions: 0o600)
        #expect(file.size == 8192 && file.mapping?.servesAccesses == true)
        #expect(try write(file, nil, "hello", at: 4094) == 5)
        #expect(memory.bytes[4094] == UInt8(ascii: "h"))
        memory.bytes[4094] = UInt8(ascii: "j")
        #expect(try read(file, nil, at: 4094, count: 5) == "jello")
    }
}

struct UploadFileTests {
    @Test func whatWasWrittenIsHandedOverOnClose() throws {
        var accepted: [String] = []
        let file = UploadFile(
            limit: 10, show: { () throws(Errno) in "shown\n" },
            accept: { (bytes) throws(Errno) in
                if bytes.first == UInt8(ascii: "!") { throw .invalidArgument }
                accepted.append(String(decoding: bytes, as: UTF8.self))
            })
        let open = try file.open(flags: O_RDWR)
        // A shell closes a duplicate before it writes.
        try file.flush(open)
        #expect(try write(file, open, "abc") == 3)
        #expect(try write(file, open, "def", at: 3) == 3)
        #expect(throws: Errno.invalidArgument) { try write(file, open, "x", at: 100) }
        #expect(throws: Errno(rawValue: EFBIG)) { try write(file, open, "too long", at: 6) }
        #expect(accepted.isEmpty)
        try file.flush(open)
        try file.flush(open)
        #expect(accepted == ["abcdef"])
        #expect(try write(file, open, "!") == 1)
        #expect(throws: Errno.invalidArgument) { try file.flush(open) }
        #expect(try read(file, open) == "shown\n")
    }
}

/// Collects what reads of a stream are answered with.
private final class Answers {
    var bytes: [[UInt8]] = []
    var errors: [Errno] = []

    var counts: [UInt32] { bytes.map { $0.withUnsafeBytes { $0.loadUnaligned(as: UInt32.self) } } }
    var texts: [String] { bytes.map { String(decoding: $0, as: UTF8.self) } }

    func waiter(_ identity: UInt, _ open: OpenFile?, count: Int = 4) -> StreamFile.Waiter {
        .init(identity: identity, open: open, count: count) { outcome in
            switch outcome {
            case .bytes(let bytes): self.bytes.append(bytes)
            case .failed(let error): self.errors.append(error)
            case .nothing: Issue.record("an answer must be bytes or a failure")
            }
        }
    }
}

struct EventFileTests {
    @Test func aReadWaitsForTheNextEvent() throws {
        let events = EventFile(), answers = Answers()
        events.raise()
        // What came before the opening is old.
        let open = try events.open(flags: O_RDONLY)
        events.read(answers.waiter(1, open))
        #expect(answers.counts.isEmpty && !events.isReadable(for: open))
        events.raise()
        #expect(answers.counts == [2])
        // Events that nobody waited for are found at once, as one count.
        events.raise()
        events.raise()
        events.read(answers.waiter(2, open))
        #expect(answers.counts == [2, 4])
    }

    @Test func everyOpeningCountsForItself() throws {
        let events = EventFile(), answers = Answers()
        let first = try events.open(flags: O_RDONLY), second = try events.open(flags: O_RDONLY)
        events.read(answers.waiter(1, first))
        events.raise()
        #expect(answers.counts == [1] && events.poll(first, nil) == 0 && events.poll(second, nil) & POLLIN != 0)
        events.read(answers.waiter(2, second))
        #expect(answers.counts == [1, 1])
    }

    @Test func readsThatCannotWaitFail() throws {
        let events = EventFile(), answers = Answers()
        let open = try events.open(flags: O_RDONLY | O_NONBLOCK)
        events.read(answers.waiter(1, open))
        events.read(answers.waiter(2, open, count: 8))
        let blocking = try events.open(flags: O_RDONLY)
        events.read(answers.waiter(3, blocking), isInterrupted: true)
        #expect(answers.errors == [.tryAgain, .invalidArgument, .interrupted])
    }

    @Test func anInterruptEndsThatReadOnly() throws {
        let events = EventFile(), answers = Answers()
        let open = try events.open(flags: O_RDONLY), other = try events.open(flags: O_RDONLY)
        events.read(answers.waiter(1, open))
        events.read(answers.waiter(2, other))
        events.interrupt(1)
        events.interrupt(1)
        #expect(answers.errors == [.interrupted])
        events.raise()
        #expect(answers.counts == [1])
        events.interrupt(2)
        #expect(answers.errors.count == 1)
    }

    @Test func pollersHearOnce() throws {
        let events = EventFile()
        var heard = 0
        let open = try events.open(flags: O_RDONLY)
        #expect(events.poll(open, .init(open: open) { heard += 1 }) == 0)
        // A second wish of the same opening takes the first one's place.
        #expect(events.poll(open, .init(open: open) { heard += 10 }) == 0)
        events.raise()
        events.raise()
        #expect(heard == 10)
        _ = events.poll(open, .init(open: open) { heard += 100 })
        events.close(open)
        events.raise()
        #expect(heard == 10)
    }

    @Test func vanishingFailsAllThatWaits() throws {
        let table = NodeTable(), answers = Answers()
        let events = table.root.directory("function").add("events", EventFile())
        let open = try events.open(flags: O_RDONLY)
        var heard = 0
        events.read(answers.waiter(1, open))
        _ = events.poll(open, .init(open: open) { heard += 1 })
        table.root.remove("function")
        #expect(answers.errors == [.noDevice] && heard == 1)
        events.read(answers.waiter(2, open))
        #expect(answers.errors == [.noDevice, .noDevice])
        #expect(events.poll(open, nil) & (POLLHUP | POLLERR) == POLLHUP | POLLERR)
    }
}

struct FeedFileTests {
    private typealias Text = FeedFile<UInt8>

    private func feed(_ text: String, to file: FeedFile<UInt8>) {
        for byte in text.utf8 { file.append(byte) }
    }

    @Test func aConsoleShowsAllSoFar() throws {
        let console = Text(limit: 100, reading: .untilNow) { $1.append($0) }, answers = Answers()
        feed("boot\n", to: console)
        let open = try console.open(flags: O_RDONLY)
        console.read(answers.waiter(1, open, count: 3))
        console.read(answers.waiter(2, open, count: 100))
        console.read(answers.waiter(3, open, count: 100))
        #expect(answers.texts == ["boo", "t\n", ""] && !console.isReadable(for: open))
        feed("more\n", to: console)
        #expect(console.isReadable(for: open))
        console.read(answers.waiter(4, open, count: 100))
        #expect(answers.texts.last == "more\n")
    }

    @Test func aTraceShowsWhatComes() throws {
        let trace = FeedFile<Int>(limit: 100, reading: .fromNow) { $1 += Array("event \($0)\n".utf8) }, answers = Answers()
        var uses: [Bool] = []
        trace.onUse = { uses.append($0) }
        trace.append(1)
        let open = try trace.open(flags: O_RDONLY), other = try trace.open(flags: O_RDONLY)
        trace.read(answers.waiter(1, open, count: 5))
        #expect(answers.texts.isEmpty)
        trace.append(2)
        // A piece of the line; the rest is not lost.
        #expect(answers.texts == ["event"])
        trace.read(answers.waiter(2, open, count: 100))
        trace.read(answers.waiter(3, other, count: 100))
        #expect(answers.texts == ["event", " 2\n", "event 2\n"])
        trace.close(open)
        trace.close(other)
        #expect(uses == [true, false])
    }

    @Test func whoFallsBehindIsTold() throws {
        let trace = Text(limit: 10, reading: .fromNow) { $1.append($0) }, answers = Answers()
        let open = try trace.open(flags: O_RDONLY | O_NONBLOCK)
        feed("abcdefghijklmnopqrstuvwxy", to: trace)
        trace.read(answers.waiter(1, open, count: 100))
        trace.read(answers.waiter(2, open, count: 100))
        // The 21st item was one too many: the last 10 until then were kept.
        #expect(answers.texts == ["[11 lost]\nlmnopqrstuvwxy"] && answers.errors == [.tryAgain])
    }

    @Test func inputGoesToWhoeverTakesIt() throws {
        var taken = ""
        let console = Text(limit: 10, reading: .untilNow, input: { (text) throws(Errno) in taken += text }) { $1.append($0) }
        #expect(try write(console, try console.open(flags: O_RDWR), "help\n") == 5)
        #expect(taken == "help\n" && console.permissions == 0o644)
        let output = Text(limit: 10, reading: .untilNow) { $1.append($0) }
        #expect(throws: Errno.accessDenied) { try output.open(flags: O_WRONLY) }
    }
}
