import Glibc
import OffloadDevice
import Scratch
import Simulation
import Testing
import Tracing

/// A run is recorded and replayed without whoever drove it.
@Suite(.serialized) struct RecordingTests {
    /// What a host does: accesses, requests to a disk, injected faults, resets, console input.
    private func play(seed: UInt64, on machine: Machine, steps: Int = 150) {
        var random = SplitMix64(seed: seed)
        var driver = BlockDriver(machine, function: 1, offset: 0)
        for _ in 0..<steps {
            switch Int.random(in: 0..<12, using: &random) {
            case 0: machine.advance(by: .random(in: 0...30_000, using: &random))
            case 1: machine.write(0, 2, 4 * .random(in: 0...7, using: &random), .random(in: 0...0xffff, using: &random))
            case 2: _ = machine.read(0, 2, 8)
            case 3: _ = machine.readBAR(function: 0, bar: 0, offset: 4 * .random(in: 0...2000, using: &random), size: 4, origin: 7)
            case 4: _ = machine.readBAR(function: .random(in: 1...3, using: &random), bar: 0, offset: 0x14, size: 1, origin: 7)
            case 5: _ = machine.typeAtConsole([.random(in: 32...126, using: &random)])
            case 6: machine.perform(.correctableError(.receiver, function: 0))
            case 7: machine.perform(.memoryError(address: 0x8010_0000 + .random(in: 0...4000, using: &random), isCorrectable: true))
            case 8: machine.perform(.readConfiguration(function: 0, offset: 0, count: 64))
            case 9: machine.perform(.interrupt(vector: .random(in: 0...70, using: &random), function: 1))
            default:
                let isWrite = Bool.random(using: &random), sector = UInt64.random(in: 0...200, using: &random)
                if isWrite { driver.data[.random(in: 0..<512, using: &random)] = .random(in: 0...255, using: &random) }
                driver.submit(type: isWrite ? 1 : 0, sector: sector, count: 512)
                machine.advance(by: 30_000)
            }
        }
    }

    /// Records a run; its trace's hash.
    private func record(
        _ folder: TemporaryFolder, seed: UInt64, pace: Machine.Pace = .lockstep, _ description: MachineDescription = .small
    ) throws -> UInt64 {
        let machine = try Machine(description, pace: pace)
        machine.startDigest()
        try machine.startRecording(folder: folder.path)
        try machine.loadFirmware(try TestProgram.restless().elf)
        machine.start()
        play(seed: seed, on: machine)
        machine.stop()
        #expect(machine.stopRecording() == nil)
        return try #require(machine.digest)
    }

    private func replay(_ folder: TemporaryFolder) throws -> Replayer {
        let replayer = try Replayer(Recording(folder: folder.path))
        try replayer.startTrace(folder: nil)
        try replayer.run(to: replayer.recording.end)
        return replayer
    }

    @Test(arguments: [1, 2] as [UInt64], [Machine.Pace.lockstep, .max, .realtime(ratio: 1)])
    func aReplayGivesTheSameTrace(seed: UInt64, pace: Machine.Pace) throws {
        let folder = try TemporaryFolder()
        let hash = try record(folder, seed: seed, pace: pace)
        for _ in 0..<2 {
            let replayer = try replay(folder)
            #expect(replayer.divergence == nil, "seed \(seed), pace \(pace)")
            #expect(replayer.recording.cut == nil)
            #expect(replayer.recording.traceHash == hash)
            #expect(replayer.traceHash == hash)
            #expect(replayer.device.position == replayer.recording.end)
        }
    }

    /// The device finds most frames by looking at the driver's memory, at cycles of its own.
    @Test(arguments: [Machine.Pace.lockstep, .max, .realtime(ratio: 1)])
    func polledQueuesAreReplayed(pace: Machine.Pace) throws {
        let folder = try TemporaryFolder()
        var description = MachineDescription.small
        description.virtualFunctions.kind = .net
        description.service.polling = 100_000
        let machine = try Machine(description, pace: pace)
        machine.startDigest()
        try machine.startRecording(folder: folder.path)
        machine.start()
        let driver = NetworkDriver(machine, function: 1, offset: 0)
        let begun = driver.doorbells
        for number in 0..<300 {
            let frame = [UInt8](repeating: 2, count: 12) + [0x88, 0xb5] + (0..<64).map { UInt8(truncatingIfNeeded: number &+ $0) }
            driver.send(frame)
            // Now and then for longer than a queue is polled.
            machine.advance(by: number % 100 == 99 ? 200_000 : 5000)
            #expect(driver.next() == frame, "frame \(number)")
        }
        machine.stop()
        #expect(machine.stopRecording() == nil)
        // In the other paces it depends on who is faster.
        if pace == .lockstep { #expect(driver.doorbells - begun == 2) }
        for _ in 0..<2 {
            let replayer = try replay(folder)
            #expect(replayer.divergence == nil, "pace \(pace)")
            #expect(replayer.traceHash == machine.digest)
        }
    }

    @Test func aDiskInAFileIsNotNeededAnyMore() throws {
        let folder = try TemporaryFolder(), media = try TemporaryFolder(), disk = media.path + "/disk"
        try media.write((0..<(1 << 18)).map { UInt8(truncatingIfNeeded: $0 >> 9 ^ $0) }, to: "disk")
        var description = MachineDescription.small
        description.virtualFunctions.disk.file = disk
        description.virtualFunctions.disk.size = nil
        let hash = try record(folder, seed: 4, description)
        unlink(disk)
        let replayer = try replay(folder)
        #expect(replayer.divergence == nil)
        #expect(replayer.traceHash == hash)
        #expect(replayer.recording.machine.virtualFunctions.disk.size == 1 << 18)
    }

    @Test func aReplayStopsAtEveryInputAndGoesOn() throws {
        let folder = try TemporaryFolder()
        let hash = try record(folder, seed: 5)
        let replayer = try Replayer(Recording(folder: folder.path))
        try replayer.startTrace(folder: nil)
        var inputs = 0
        while let next = try replayer.nextInput {
            try replayer.run(to: next)
            #expect(replayer.device.position == next)
            #expect(try replayer.apply())
            inputs += 1
        }
        #expect(inputs > 200)
        try replayer.run(to: replayer.recording.end)
        #expect(replayer.divergence == nil)
        #expect(replayer.traceHash == hash)
    }

    @Test func anotherFirmwareIsNoticed() throws {
        let folder = try TemporaryFolder()
        _ = try record(folder, seed: 6)
        var elf = try TestProgram.restless().elf
        // The lowest bit of the first instruction's immediate.
        elf[84 + 1] ^= 0x10
        let replayer = try Replayer(Recording(folder: folder.path, firmware: elf))
        try replayer.run(to: replayer.recording.end)
        #expect(replayer.divergence != nil)
    }

    @Test func aRecordingBeginsAnywhere() throws {
        let folder = try TemporaryFolder()
        let machine = try Machine(.small, pace: .lockstep)
        try machine.loadFirmware(try TestProgram.restless().elf)
        play(seed: 7, on: machine, steps: 30)
        machine.hostMemory.bytes[0x3000] = 77
        machine.startDigest()
        try machine.startRecording(folder: folder.path)
        #expect(throws: RecordingError.self) { try machine.startRecording(folder: folder.path) }
        #expect(throws: SnapshotError.self) { try machine.restore(machine.capture()) }
        play(seed: 8, on: machine, steps: 30)
        #expect(machine.stopRecording() == nil)
        let hash = machine.digest
        // What comes after the recording is none of its business.
        play(seed: 9, on: machine, steps: 5)
        let replayer = try replay(folder)
        #expect(replayer.divergence == nil)
        #expect(replayer.traceHash == hash)
    }

    @Test func theFirstDifferenceIsFound() throws {
        let folder = try TemporaryFolder()
        _ = try record(folder, seed: 10)
        let same = try DivergenceSearch(recordingIn: folder.path, firmware: nil).run(context: 2, trace: nil)
        guard case .same(let events) = same, events > 1000 else { return #expect(Bool(false), "found \(same)") }
        var elf = try TestProgram.restless().elf
        // The lowest bit of an immediate: the console's place in a2.
        elf[84 + 4 * 5 + 2] ^= 0x10
        let other = try DivergenceSearch(recordingIn: folder.path, firmware: elf).run(context: 2, trace: nil)
        guard case .divergence(let difference) = other else { return #expect(Bool(false), "found \(other)") }
        let (first, second) = (try #require(difference.first.first), try #require(difference.second.first))
        // The first access with the wrong address, and the one that should be in its place.
        #expect(first.initiator == .hart(0) && second.initiator == .hart(0) && first.time == second.time && first != second)
        #expect(first.pc == TestProgram.base + 4 * 7 && second.pc == first.pc)
        #expect(difference.before.count <= 2)
    }

    /// A recording of version 1, as it was made when that was new: host accesses, advances, faults and console input, in lockstep.
    @Test func theFirstVersionIsStillReplayed() throws {
        let path = String(#filePath.prefix(upTo: #filePath.lastIndex(of: "/")!)) + "/Golden/recording-1"
        let replayer = try Replayer(Recording(folder: path))
        try replayer.run(to: replayer.recording.end)
        #expect(replayer.recording.cut == nil)
        #expect(replayer.divergence == nil)
        #expect(replayer.device.position.inputs > 100)
    }
}
