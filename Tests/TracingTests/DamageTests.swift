import Glibc
import Registers
import Scratch
import Simulation
import Testing
import Tracing

/// A stored trace may be damaged or hostile: that is told with file, packet and byte, and never passes for a whole one.
@Suite struct DamageTests {
    /// A trace with a few packets in every stream, and what its files hold.
    private struct Stored {
        let folder: TemporaryFolder
        let events: [TraceEvent]
        let files: [(path: String, bytes: [UInt8])]

        /// - Parameter isKilled: as a killed process leaves it.
        init(isKilled: Bool) throws {
            // With a limit, files and their rests are small.
            var selection = TraceSelection()
            selection.limit = TraceSelection.smallestLimit
            folder = try TemporaryFolder()
            let recorded = try TemporaryFolder(), made = makeAllEvents(seed: 99, count: 400)
            events = merged(made)
            let writer = try makeWriter(recorded.path, selection)
            for (number, event) in made.enumerated() {
                writer.record(event)
                if number % 80 == 79 { writer.flush() }
            }
            if !isKilled { writer.finish() }
            #expect(run("cp -r \(recorded.path)/. \(folder.path)").status == 0)
            writer.finish()
            let path = folder.path
            files = try run("find \(path) -type f | sort").output.split(separator: "\n").map { (String($0), try readFile(String($0))) }
        }

        /// What a reader says to it: the events, or what is wrong.
        func outcome() -> (events: [TraceEvent], complaint: String?) {
            var found: [TraceEvent] = []
            do {
                var reader = try TraceReader(folder: folder.path)
                while let event = try reader.next() { found.append(event) }
                return (found, reader.notes.isEmpty ? nil : reader.notes.joined(separator: "; "))
            } catch {
                return (found, "\(error)")
            }
        }

        func file(_ name: String) -> (path: String, bytes: [UInt8]) { files.first { $0.path.hasSuffix("/" + name) } ?? ("", []) }
    }

    private static let killed = ": the recording has no end: it was killed, or goes on"

    /// Changes of bytes, lost and added ends, lost files, exchanged files: 1,000 in all.
    @Test(arguments: [false, true]) func noDamagePassesUnseen(isKilled: Bool) throws {
        let stored = try Stored(isKilled: isKilled)
        let whole = stored.outcome()
        #expect(whole.events == stored.events)
        #expect(whole.complaint == (isKilled ? stored.folder.path + Self.killed : nil))
        for seed in 1...500 as ClosedRange<UInt64> {
            var random = Random(seed &* 0x9e37_79b9_7f4a_7c15)
            let file = random.pick(stored.files)
            var bytes = file.bytes
            let kind = random.below(10)
            switch kind {
            case 0: bytes.removeLast(Int(random.below(UInt64(bytes.count))) + 1)
            case 1: bytes += (0...random.below(200)).map { _ in UInt8(random.below(256)) }
            case 2: bytes = random.pick(stored.files).bytes
            case 3: bytes = []
            default:
                for _ in 0...random.below(3) { bytes[Int(random.below(UInt64(bytes.count)))] ^= UInt8(1 + random.below(255)) }
            }
            guard bytes != file.bytes else { continue }
            store(bytes, file.path)
            let (events, complaint) = stored.outcome()
            let isSeen = complaint != nil && complaint != whole.complaint
            #expect(isSeen, "seed \(seed): \(file.path), damage \(kind), \(complaint ?? "unseen")")
            // What was told before the damage was found is as it was.
            for initiator in Set(events.map(\.initiator)) {
                let told = events.filter { $0.initiator == initiator }
                #expect(told == Array(stored.events.filter { $0.initiator == initiator }.prefix(told.count)), "seed \(seed): \(file.path)")
            }
            store(file.bytes, file.path)
        }
    }

    @Test func aLostFileIsMissed() throws {
        let stored = try Stored(isKilled: false)
        unlink(stored.file("hart0").path)
        #expect(stored.outcome().complaint == "\(stored.folder.path)/index/hart0.idx: the index of a file that is not there")
        unlink(stored.file("metadata").path)
        #expect(stored.outcome().complaint == "\(stored.folder.path)/metadata: No such file or directory")
    }

    @Test func damageIsNamedWithFilePacketAndByte() throws {
        let stored = try Stored(isKilled: false), hart = stored.file("hart0")
        func complaint(at place: Int, _ value: UInt8, of file: (path: String, bytes: [UInt8])) -> String {
            var bytes = file.bytes
            bytes[place] = value
            store(bytes, file.path)
            defer { store(file.bytes, file.path) }
            return stored.outcome().complaint.map { $0.replacing(stored.folder.path + "/", with: "") } ?? "none"
        }
        #expect(complaint(at: 0, 0, of: hart) == "hart0: packet 0: byte 0: a packet's magic 0xc1fc1fc1 expected, 0xc1fc1f00 found")
        #expect(complaint(at: 5, 0, of: hart)
            == "hart0: packet 0: byte 0: a packet of another trace: its identity is not that of the metadata")
        #expect(complaint(at: 24, 1, of: hart) == "hart0: packet 0: byte 0: a packet of hart0 expected, one of stream 1 found")
        #expect(complaint(at: 55, 1, of: hart).hasPrefix("hart0: packet 0: byte 0: a packet of at most 65536 bytes expected, one of "))
        #expect(complaint(at: 100, 0x55, of: hart).hasPrefix("hart0: packet 0: byte 0: a packet's checksum 0x"))
        let size = Int(hart.bytes[72]) / 8 + Int(hart.bytes[73]) * 32
        #expect(complaint(at: 72, hart.bytes[72] ^ 8, of: hart).hasPrefix("hart0: packet 0: byte 0: \(size) bytes expected, "))
        #expect(complaint(at: size + 40, 0, of: hart).hasPrefix("hart0: packet 1: byte \(size): a packet's checksum 0x"))
        let index = stored.file("index/hart0.idx")
        #expect(complaint(at: 16 + 72 + 7, 0xff, of: index) == "index/hart0.idx: entry 1: packet 1 of hart0 expected, something else found")
        #expect(complaint(at: 3, 0, of: index).hasPrefix("index/hart0.idx: an index of version 1.1 expected"))
        let metadata = stored.file("metadata")
        #expect(complaint(at: 3, UInt8(ascii: "X"), of: metadata) == "metadata: metadata of CTF 1.8 expected, '/* XTF 1.8 */' found")
        #expect(complaint(at: metadata.bytes.count - 4, UInt8(ascii: "X"), of: metadata).hasPrefix("metadata: damaged: "))
    }

    /// Times that no writer makes, with a checksum that is right: views count on time that goes forward.
    @Test(arguments: [(0, .max - 1), (.max - 1, .max - 1), (0, 0), (.max - 1, .max)] as [(UInt64, UInt64)])
    func timeStaysWithinItsPacket(begin: UInt64, end: UInt64) throws {
        let stored = try Stored(isKilled: true), hart = stored.file("hart0")
        let size = Int(hart.bytes[48]) / 8 + Int(hart.bytes[49]) * 32
        // The last one of the file.
        var packet = Array(hart.bytes[..<size])
        func put(_ value: UInt64, at place: Int) {
            for byte in 0..<8 { packet[place + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
        }
        put(begin, at: 32)
        put(end, at: 40)
        var sum = FNV1a()
        packet.withUnsafeBytes {
            sum.add(UnsafeRawBufferPointer(rebasing: $0[..<72]))
            sum.add(UnsafeRawBufferPointer(rebasing: $0[88...]))
        }
        if size % 8 == 0 { sum.add(0) }
        put(sum.value, at: 80)
        store(packet, hart.path)
        let (events, complaint) = stored.outcome()
        let times = events.filter { $0.initiator == .hart(0) }.map(\.time)
        #expect(times == times.sorted() && times.allSatisfy { $0 <= end })
        if begin > 0 || end == 0 { #expect(complaint?.contains(" to \(end) expected, ") == true, "\(complaint ?? "none")") }
    }

    /// The packet that was being written when the process was killed.
    @Test func anUnfinishedPacketIsLeftOut() throws {
        let stored = try Stored(isKilled: true), hart = stored.file("hart0"), before = stored.outcome().events
        var rest = 0
        while hart.bytes[rest] == 0xc1 { rest += Int(hart.bytes[rest + 48]) / 8 + Int(hart.bytes[rest + 49]) * 32 }
        var bytes = hart.bytes
        bytes.replaceSubrange(rest..<rest + 60, with: hart.bytes[..<60])
        store(bytes, hart.path)
        let (events, complaint) = stored.outcome()
        #expect(events == before)
        #expect(complaint?.contains("/hart0: byte ") == true)
        #expect(complaint?.contains(": the packet that was being written when the recording ended is left out") == true)
    }

    /// Behind the last packet of a recording that was killed is a rest that was prepared for others: without it no event is missing.
    @Test func aRestThatIsCutOffIsTold() throws {
        let stored = try Stored(isKilled: true), hart = stored.file("hart0")
        // A packet's header has the bits of its content at byte 48, and those that it occupies at byte 72.
        func bytes(at place: Int) -> Int {
            Int(hart.bytes[place..<place + 8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) } / 8)
        }
        var last = 0
        while last + bytes(at: last + 72) < hart.bytes.count { last += bytes(at: last + 72) }
        let end = last + bytes(at: last + 48)
        for count in [end, end + 1, hart.bytes.count - 1] {
            store(Array(hart.bytes[..<count]), hart.path)
            let (events, complaint) = stored.outcome()
            #expect(events == stored.events, "\(count) bytes")
            #expect(complaint == "\(hart.path): byte \(count): the file is cut off, \(hart.bytes.count - count) bytes behind its last packet "
                + "are missing; \(stored.folder.path)" + Self.killed)
        }
    }

    /// A file that ends within its first packet is a stream without events, if the recording wasn't finished.
    @Test func aFirstPacketThatIsCutOffIsLeftOut() throws {
        let stored = try Stored(isKilled: true), hart = stored.file("hart0"), finished = try Stored(isKilled: false)
        let size = Int(hart.bytes[48]) / 8 + Int(hart.bytes[49]) * 32
        for (count, what) in [
            (0, "a packet's header of 88 bytes expected, 0 found"), (1, "a packet's header of 88 bytes expected, 1 found"),
            (87, "a packet's header of 88 bytes expected, 87 found"), (88, "\(size) bytes of a packet expected, 88 found"),
            (size - 1, "\(size) bytes of a packet expected, \(size - 1) found"),
        ] {
            store(Array(hart.bytes[..<count]), hart.path)
            let (events, complaint) = stored.outcome()
            #expect(events == stored.events.filter { $0.initiator != .hart(0) })
            #expect(complaint == "\(hart.path): byte 0: the file's only packet is left out, it is cut off: \(what); \(stored.folder.path)"
                + Self.killed)
            let whole = finished.file("hart0")
            store(Array(whole.bytes[..<count]), whole.path)
            let refused = finished.outcome()
            #expect(refused.events.isEmpty && refused.complaint?.hasPrefix("\(whole.path): packet 0: byte 0: ") == true)
        }
        // What isn't cut off is damaged.
        var bytes = hart.bytes
        bytes[size - 1] ^= 1
        store(bytes, hart.path)
        #expect(stored.outcome().complaint?.hasPrefix("\(hart.path): packet 0: byte 0: a packet's checksum 0x") == true)
        // Another file of the stream follows a finished one only.
        store(Array(hart.bytes[..<60]), hart.path)
        store(hart.bytes, hart.path + "_1")
        #expect(stored.outcome().complaint?.hasSuffix("88 bytes expected, 60 found, yet the stream goes on in another file") == true)
    }
}

private func store(_ bytes: [UInt8], _ path: String) {
    guard let file = fopen(path, "w") else { return }
    fwrite(bytes, 1, bytes.count, file)
    fclose(file)
}
