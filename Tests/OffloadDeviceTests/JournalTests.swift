import Glibc
import OffloadDevice
import Scratch
import Simulation
import Testing
import Virtio

/// The file `journal`, as a hostile one may be.
@Suite struct JournalTests {
    /// A recording of a little of everything, and its file.
    private func recording(cycles: Cycle = 3_000_000) throws -> (TemporaryFolder, [UInt8]) {
        let folder = try TemporaryFolder()
        let machine = try Machine(.small, pace: .lockstep)
        machine.startDigest()
        try machine.startRecording(folder: folder.path)
        try machine.loadFirmware(try TestProgram.restless().elf)
        for (number, input) in Self.inputs.enumerated() {
            machine.perform(input)
            // Chunks that a killed writer would have left.
            if number % 4 == 3 { #expect(machine.bringRecordingUpToDate() == nil) }
        }
        var driver = BlockDriver(machine, function: 2, offset: 0)
        driver.data[3] = 9
        #expect(driver.request(type: 1, sector: 3, count: 512) == 0)
        machine.advance(by: cycles)
        #expect(machine.stopRecording() == nil)
        return (folder, try folder.read("journal"))
    }

    /// One of each kind, as far as they make sense in any order.
    private static let inputs: [HostInput] = [
        .access(HostAccess(function: 0, bar: 2, offset: 0x10, size: 8, value: .max, origin: 1 << 40)),
        .access(HostAccess(function: 64, bar: -3, offset: .max, size: 3, value: nil, origin: 0)),
        .readConfiguration(function: 1, offset: 0, count: 64), .readConfiguration(function: 200, offset: -1, count: -1),
        .writeConfiguration(function: 1, offset: 4, bytes: [6, 0]), .writeConfiguration(function: 0, offset: 4090, bytes: [1, 2, 3]),
        .resetFunction(2), .resetFunction(-5), .enableFunction(1, true), .enableFunction(1, false), .setVirtualFunctions(2),
        .setVirtualFunctions(1000), .setCard(isPresent: false), .restartFirmware, .configureFunction(0), .setCard(isPresent: true),
        .configureFunction(0), .configureFunction(64), .setVirtualFunctions(2), .maskInterruptLines,
        .typeAtConsole([]), .typeAtConsole([65, 10, 255]), .restartFirmware,
        .memoryError(address: 0x8000_8000, isCorrectable: true), .memoryError(address: 0, isCorrectable: false),
        .uncorrectableError(.poisonedTLP, function: 0), .correctableError(.badTLP, function: 1), .interrupt(vector: 3, function: 0),
        .appointment(at: 10), .keepHarts(0), .debuggerWrite(address: 0x8000_8000, size: 4, value: 77),
        .typeAtVirtioConsole(function: 1, [1, 2]), .receiveFrame(function: 2, [UInt8](repeating: 1, count: 60)),
        .setLink(function: 1, isUp: false), .setRegister(.integer(28), hart: 0, value: .max), .setRegister(.csr(0x340), hart: 0, value: 4),
        .setRegister(.privilege, hart: 0, value: 3), .setRegister(.pc, hart: 9, value: 4), .restartFirmware,
    ] + frontEnd.map { .frontEnd(function: 1, $0) } + [.frontEnd(function: 70, .attach)]

    private static let frontEnd: [FrontEndInput] = [
        .kick(queue: 0), .attach, .attach, .map([FrontEndMemory(slot: 3, address: 0x1000, count: 0x8000, pages: nil)]),
        .accept(.packedRing), .accept([.version1, .eventIndex]),
        .start(
            queue: 0, QueueLayout(size: 8, descriptorArea: 0x1000, driverArea: 0x2000, deviceArea: 0x3000),
            QueueStart(taken: 3, used: 1, unfinished: [5, 2])),
        .kick(queue: 0), .kick(queue: -4), .pause(queue: 0), .stop(queue: 0), .stop(queue: 0), .writeConfiguration(offset: 32, [1]),
        .reset, .detach,
    ]

    /// Opens a journal with these bytes.
    private func open(_ bytes: [UInt8], in folder: TemporaryFolder) throws -> Result<Recording, RecordingError> {
        try folder.write(bytes, to: "journal")
        return Result { () throws(RecordingError) in try Recording(folder: folder.path) }
    }

    /// Goes through all of a recording.
    private func replay(_ recording: Recording) throws -> Replayer {
        let replayer = try Replayer(recording)
        try replayer.startTrace(folder: nil)
        try replayer.run(to: recording.end)
        return replayer
    }

    @Test func everyInputIsReplayed() throws {
        let (folder, bytes) = try recording()
        let whole = try replay(open(bytes, in: folder).get())
        #expect(whole.recording.cut == nil)
        #expect(whole.divergence == nil)
        var replayer = try Replayer(Recording(folder: folder.path))
        var count = 0
        while let next = try replayer.nextInput {
            try replayer.run(to: next)
            try replayer.apply()
            count += 1
        }
        #expect(count > Self.inputs.count)
        // From a bookmark in the middle it ends as it did before.
        replayer = try Replayer(Recording(folder: folder.path))
        for _ in 0..<count / 2 {
            try replayer.run(to: try #require(try replayer.nextInput))
            try replayer.apply()
        }
        let (snapshot, bookmark, hash) = (replayer.device.capture(), replayer.bookmark, try stateAtEnd(of: replayer))
        try replayer.device.restore(snapshot)
        replayer.bookmark = bookmark
        #expect(try stateAtEnd(of: replayer) == hash)
        #expect(replayer.divergence == nil)
    }

    private func stateAtEnd(of replayer: Replayer) throws -> UInt32 {
        try replayer.run(to: replayer.recording.end)
        return replayer.device.capture().digest
    }

    @Test func aKilledWriterLeavesARecordingUpToItsLastChunk() throws {
        let (folder, bytes) = try recording()
        let whole = try replay(open(bytes, in: folder).get())
        var random = SplitMix64(seed: 5)
        var lengths = Set((0..<60).map { _ in Int.random(in: 0..<bytes.count, using: &random) })
        lengths.formUnion([0, 1, 15, bytes.count - 1])
        var cuts = 0
        for length in lengths.sorted() {
            switch try open(Array(bytes[..<length]), in: folder) {
            case .success(let recording):
                let part = try replay(recording)
                #expect(recording.cut != nil && part.divergence == nil, "\(length) bytes")
                #expect(part.traceHash != whole.traceHash)
                cuts += 1
            case .failure(let error):
                // Not even the header is there.
                #expect(error.description.contains(folder.path))
                #expect(length < 1200)
            }
        }
        #expect(cuts > 30)
    }

    /// All is told, or what stands before the damage is taken for a recording that was cut there; never anything else.
    @Test func damagedJournalsAreRefusedOrCut() throws {
        let (folder, bytes) = try recording()
        let whole = try replay(open(bytes, in: folder).get())
        var random = SplitMix64(seed: 6)
        var cuts: Set<Int> = []
        for round in 0..<1000 {
            var damaged = bytes
            switch round % 5 {
            case 0: damaged[.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
            case 1:
                let place = Int.random(in: 0..<bytes.count, using: &random)
                for index in place..<min(place + 16, bytes.count) { damaged[index] = .random(in: 0...255, using: &random) }
            case 2: damaged.remove(at: .random(in: 0..<bytes.count, using: &random))
            case 3: damaged.removeLast(.random(in: 1...bytes.count, using: &random))
            default: damaged.insert(.random(in: 0...255, using: &random), at: .random(in: 0..<bytes.count, using: &random))
            }
            guard damaged != bytes else { continue }
            switch try open(damaged, in: folder) {
            case .success(let recording):
                #expect(recording.cut?.hasPrefix(folder.path) == true, "seed 6, round \(round): accepted")
                let isPart = damaged[..<recording.byteCount] == bytes[..<recording.byteCount]
                #expect(isPart && recording.byteCount < bytes.count, "seed 6, round \(round): \(recording.byteCount) bytes")
                cuts.insert(recording.byteCount)
            case .failure(let error): #expect(error.description.hasPrefix(folder.path), "seed 6, round \(round): \(error)")
            }
        }
        // What is left is whole chunks: so many ways there are to replay it. Each ends within the whole one.
        for count in cuts.sorted() {
            let part = try replay(open(Array(bytes[..<count]), in: folder).get())
            #expect(part.divergence == nil, "\(count) bytes")
            let end = part.recording.end
            #expect(part.device.position == end && end <= whole.recording.end, "\(count) bytes")
        }
        #expect(cuts.count > 5)
    }

    /// Entries that no writer makes, with checksums that are right: a device takes whatever they say, and a replay tells that this isn't
    /// what was recorded.
    @Test func hostileEntriesAreRefusedOrDiverge() throws {
        let (folder, bytes) = try recording(cycles: 20_000)
        let whole = try replay(open(bytes, in: folder).get())
        let hash = try #require(whole.traceHash)
        var random = SplitMix64(seed: 7)
        var refused = 0, diverged = 0
        for round in 0..<1000 {
            var hostile = JournalBytes(bytes)
            hostile.change(using: &random)
            switch try open(hostile.bytes, in: folder) {
            case .success(let recording):
                let replayer = try replay(recording)
                if replayer.divergence != nil { diverged += 1 }
                #expect(replayer.divergence != nil || replayer.traceHash == hash, "seed 7, round \(round): accepted")
            case .failure(let error):
                #expect(error.description.hasPrefix(folder.path), "seed 7, round \(round): \(error)")
                refused += 1
            }
        }
        #expect(refused > 100 && diverged > 100, "\(refused) refused, \(diverged) diverged")
    }

    @Test func anotherFirmwareFileIsRefused() throws {
        let (folder, _) = try recording()
        try folder.write([1, 2, 3], to: "firmware.elf")
        #expect(throws: RecordingError.self) { try Recording(folder: folder.path) }
        unlink(folder.path + "/firmware.elf")
        #expect(throws: RecordingError.self) { try Recording(folder: folder.path) }
        #expect(throws: RecordingError.self) { try Recording(folder: "/nonexistent") }
    }
}

/// A journal whose chunks can be changed: docs/replay.md, "Files".
private struct JournalBytes {
    private(set) var bytes: [UInt8]
    private static let headBytes = 56

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    private func number(at place: Int) -> Int { (0..<4).reduce(0) { $0 | Int(bytes[place + $1]) << (8 * $1) } }

    private mutating func seal(_ place: Int, _ count: Int) {
        func put(_ sum: UInt32, at place: Int) {
            for byte in 0..<4 { bytes[place + byte] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * byte)) }
        }
        put(CRC32C.of(Array(bytes[(place + Self.headBytes)..<(place + Self.headBytes + count)])), at: place + 48)
        put(CRC32C.of(Array(bytes[place..<(place + 52)])), at: place + 52)
    }

    /// Changes a byte or more of one chunk's entries and makes the checksums right.
    mutating func change(using random: inout SplitMix64) {
        var chunks: [(place: Int, count: Int)] = [], place = 16 + number(at: 12) + 4
        while place < bytes.count {
            chunks.append((place, number(at: place + 4)))
            place += Self.headBytes + number(at: place + 4)
        }
        guard let chunk = chunks.randomElement(using: &random) else { return }
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            bytes[chunk.place + Self.headBytes + .random(in: 0..<chunk.count, using: &random)] = .random(in: 0...255, using: &random)
        }
        seal(chunk.place, chunk.count)
    }
}
