import Glibc
import OffloadDevice
import Scratch
import Simulation
import Testing

/// Snapshots as they are stored, whole and damaged.
@Suite struct SnapshotFileTests {
    /// As small as a machine can be.
    private static func machine(harts: Int = 2) throws -> Machine {
        var description = MachineDescription.small
        description.harts = harts
        description.virtualFunctions.total = 1
        description.virtualFunctions.enabled = 1
        return try Machine(description, pace: .lockstep)
    }

    /// A machine at work.
    private static func busy() throws -> (Machine, HostLoad) {
        let machine = try machine()
        try machine.loadFirmware(try TestProgram.bothHarts().elf)
        var load = HostLoad(machine, functions: 1...1, seed: 12)
        for _ in 0..<100 { try load.step(machine) }
        return (machine, load)
    }

    @Test func aFileHasEverything() throws {
        var (machine, load) = try Self.busy()
        let folder = try TemporaryFolder(), path = folder.path("snapshot")
        let snapshot = machine.capture()
        try snapshot.write(to: path)
        let read = try Snapshot(contentsOf: path)
        #expect(read.cycle == snapshot.cycle && read.digest == snapshot.digest && read.bytes == snapshot.bytes)
        let other = try Self.machine()
        var elsewhere = load.moved(to: other)
        try other.restore(read)
        #expect(try Course(of: other, &elsewhere, steps: 50) == Course(of: machine, &load, steps: 50))
    }

    @Test func aWrittenFileReplacesTheOldOne() throws {
        let machine = try Self.machine()
        let folder = try TemporaryFolder(), path = folder.path("snapshot")
        try machine.capture().write(to: path)
        machine.advance(by: 1000)
        try machine.capture().write(to: path)
        #expect(try Snapshot(contentsOf: path).cycle == 1000)
        #expect(throws: SnapshotError("/nowhere/at/all.\(getpid()).tmp: open failed: No such file or directory")) {
            try machine.capture().write(to: "/nowhere/at/all")
        }
    }

    @Test func anotherMachinesSnapshotIsRefused() throws {
        let machine = try Self.machine(), other = try Self.machine(harts: 1)
        #expect(throws: SnapshotError("snapshot: expected one of this machine with 'harts: 2', found 'harts: 1'")) {
            try machine.restore(other.capture())
        }
    }

    // MARK: Damage

    /// The places of a file's chunks: where the payload begins and ends.
    private static func chunks(_ bytes: [UInt8]) -> [Range<Int>] {
        var chunks: [Range<Int>] = []
        var place = 12
        while place < bytes.count {
            let length = (0..<8).reduce(0) { $0 | Int(bytes[place + 4 + $1]) << (8 * $1) }
            chunks.append(place + 16..<place + 16 + length)
            place += 16 + length
        }
        return chunks
    }

    private static func correctChecksum(of chunk: Range<Int>, in bytes: inout [UInt8]) {
        let sum = CRC32C.of(Array(bytes[chunk.lowerBound - 16..<chunk.lowerBound - 4]) + Array(bytes[chunk]))
        for byte in 0..<4 { bytes[chunk.lowerBound - 4 + byte] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * byte)) }
    }

    @Test func everyDamagedFileIsRefused() throws {
        let (machine, _) = try Self.busy()
        let bytes = machine.capture().bytes
        var random = SplitMix64(seed: 21)
        for number in 0..<1000 {
            var damaged = bytes
            if number % 4 == 0 {
                damaged.removeLast(Int.random(in: 1...bytes.count, using: &random))
            } else {
                damaged[Int.random(in: 0..<bytes.count, using: &random)] ^= 1 << UInt8.random(in: 0...7, using: &random)
            }
            #expect(throws: SnapshotError.self, "number \(number)") { try Snapshot(bytes: damaged) }
        }
    }

    /// With checksums that are right, it is for the models to refuse what they can't have. What they take, they must get on with.
    @Test func everyHostileFileIsRefusedOrHarmless() throws {
        let (machine, load) = try Self.busy()
        let snapshot = machine.capture()
        let bytes = snapshot.bytes, chunks = Self.chunks(bytes)
        let victim = try Self.machine()
        try victim.restore(snapshot)
        var random = SplitMix64(seed: 22)
        var refused = 0
        for number in 0..<1000 {
            var hostile = bytes
            // Half of them in the models: that is the second chunk.
            let chunk = Bool.random(using: &random) ? chunks[1] : chunks.filter { !$0.isEmpty }.randomElement(using: &random)!
            for _ in 0..<Int.random(in: 1...4, using: &random) {
                let place = Int.random(in: chunk, using: &random)
                hostile[place] = Bool.random(using: &random) ? UInt8.random(in: 0...255, using: &random) : hostile[place] ^ 0x80
            }
            Self.correctChecksum(of: chunk, in: &hostile)
            do {
                try victim.restore(Snapshot(bytes: hostile))
                var load = load.moved(to: victim)
                for _ in 0..<5 { try load.step(victim) }
                victim.advance(by: 20_000)
                try victim.restore(snapshot)
            } catch is SnapshotError {
                refused += 1
                #expect(victim.capture().bytes == bytes, "number \(number): the machine is as before")
            }
        }
        #expect(refused > 100 && refused < 1000, "\(refused) refused")
    }

    // MARK: Formats

    /// What a machine comes to that goes on from a stored snapshot.
    private static func outcome(of snapshot: Snapshot) throws -> String {
        let machine = try Machine(snapshot.description, pace: .lockstep)
        try machine.restore(snapshot)
        machine.advance(by: 100_000)
        return machine.inspect { device in
            let harts = device.harts.map { hart in
                let registers = (0..<32).map { String(hart[register: $0], radix: 16) }.joined(separator: " ")
                return "hart\(hart.id): pc \(String(hart.pc, radix: 16)), retired \(hart.state.retired): \(registers)\n"
            }
            return "cycle \(snapshot.cycle) to \(device.scheduler.now)\n" + harts.joined()
        }
    }

    /// Every version of the format that was ever written can be read. `OUTRIGGER_REFRESH=1` writes the present version's file anew.
    @Test(arguments: 1...Snapshot.formatVersion)
    func storedVersionsCanBeRead(_ version: UInt32) throws {
        let folder = String(#filePath.prefix(upTo: #filePath.range(of: "/SnapshotFileTests")!.lowerBound)) + "/Golden"
        let path = "\(folder)/snapshot-v\(version)"
        if version == Snapshot.formatVersion, getenv("OUTRIGGER_REFRESH") != nil {
            let (machine, _) = try Self.busy()
            mkdir(folder, 0o755)
            try machine.capture().write(to: path + ".snap")
            let file = try #require(fopen(path + ".txt", "w"))
            fputs(try Self.outcome(of: machine.capture()), file)
            fclose(file)
        }
        let expected = String(decoding: try readFile(path + ".txt"), as: UTF8.self)
        #expect(try Self.outcome(of: Snapshot(contentsOf: path + ".snap")) == expected)
    }
}
