import Interconnect
import Simulation
import Testing

/// What is recorded of memory that others change, and what a replay makes of it.
@Suite struct ExternalMemoryTests {
    private final class Journal: ExternalChangeSink, ExternalChangeSource {
        var changes: [ExternalChange] = []
        var missed: [UInt64] = []
        private var next = 0

        func changed(_ change: ExternalChange) { changes.append(change) }
        func nextChange() -> ExternalChange? {
            defer { next += 1 }
            return next < changes.count ? changes[next] : nil
        }
        func missed(_ change: ExternalChange, operation: UInt64, region: ExternalMemory.Region, offset: UInt64, count: Int) {
            missed.append(change.operation)
        }
    }

    private static func memory(_ count: Int) -> UnsafeMutableRawBufferPointer {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
        memory.initializeMemory(as: UInt8.self, repeating: 0)
        return memory
    }

    private func read(_ external: ExternalMemory, _ memory: UnsafeMutableRawBufferPointer, _ place: Range<Int>) -> [UInt8] {
        var bytes = [UInt8](repeating: 0xee, count: place.count)
        #expect(bytes.withUnsafeMutableBytes { external.read(memory.baseAddress! + place.lowerBound, into: $0) })
        return bytes
    }

    private func write(_ external: ExternalMemory, _ memory: UnsafeMutableRawBufferPointer, _ place: Int, _ bytes: [UInt8]) {
        bytes.withUnsafeBytes {
            external.willWrite($0, to: memory.baseAddress! + place)
            UnsafeMutableRawBufferPointer(rebasing: memory[place..<place + bytes.count]).copyMemory(from: $0)
        }
    }

    /// A device that reads and writes at random, and a host that writes between its reads.
    private func play(_ external: ExternalMemory, _ memory: UnsafeMutableRawBufferPointer, seed: UInt64, hostWrites: Bool) -> [[UInt8]] {
        var device = SplitMix64(seed: seed), host = SplitMix64(seed: seed + 1)
        return (0..<2000).map { _ in
            if hostWrites, Bool.random(using: &host) {
                memory[.random(in: 0..<memory.count, using: &host)] = .random(in: 0...3, using: &host)
            }
            let place = Int.random(in: 0..<memory.count, using: &device), count = Int.random(in: 0...memory.count - place, using: &device)
            if Bool.random(using: &device) {
                write(external, memory, place, [UInt8](repeating: .random(in: 0...3, using: &device), count: count))
            }
            return read(external, memory, place..<place + count)
        }
    }

    @Test(arguments: 1...20 as ClosedRange<UInt64>) func aReplayReadsWhatTheRecordedDeviceRead(seed: UInt64) {
        let journal = Journal(), memory = Self.memory(100), image = Self.memory(100), replayed = Self.memory(100)
        defer { for buffer in [memory, image, replayed] { buffer.deallocate() } }
        let recording = ExternalMemory(recordingTo: journal)
        recording.add(.hostMemory, memory, image: image.baseAddress!)
        let reads = play(recording, memory, seed: seed, hostWrites: true)
        #expect(!journal.changes.isEmpty)
        let replay = ExternalMemory(replaying: journal)
        replay.add(.hostMemory, replayed, image: nil)
        #expect(play(replay, replayed, seed: seed, hostWrites: false) == reads, "seed \(seed)")
        #expect(journal.missed.isEmpty)
        #expect(replay.operations == recording.operations)
        #expect(Array(replayed) == Array(image))
    }

    @Test func pollsAndKnownBytesCostNothing() {
        let journal = Journal(), memory = Self.memory(64), image = Self.memory(64)
        defer { for buffer in [memory, image] { buffer.deallocate() } }
        let recording = ExternalMemory(recordingTo: journal)
        recording.add(.hostMemory, memory, image: image.baseAddress!)
        memory[40] = 7
        for _ in 0..<3 { #expect(read(recording, memory, 32..<48)[8] == 7) }
        write(recording, memory, 0, [1, 2, 3])
        #expect(read(recording, memory, 0..<4) == [1, 2, 3, 0])
        #expect(journal.changes == [ExternalChange(operation: 1, region: .hostMemory, offset: 40, bytes: [7])])
        #expect(recording.operations == 4)
    }

    @Test func memoryOfNobodyElseIsNoInput() {
        let journal = Journal(), memory = Self.memory(8), other = Self.memory(8)
        defer { for buffer in [memory, other] { buffer.deallocate() } }
        let recording = ExternalMemory(recordingTo: journal)
        recording.add(.hostMemory, memory, image: memory.baseAddress!)
        var bytes: [UInt8] = [9, 9]
        #expect(bytes.withUnsafeMutableBytes { !recording.read(other.baseAddress!, into: $0) })
        #expect(bytes.withUnsafeMutableBytes { !recording.read(memory.baseAddress! + 7, into: $0) })
        #expect(bytes == [9, 9] && recording.operations == 0)
    }

    @Test func anotherReadThanTheRecordedOneIsReported() {
        let journal = Journal(), memory = Self.memory(16)
        defer { memory.deallocate() }
        journal.changes = [
            ExternalChange(operation: 1, region: .hostMemory, offset: 12, bytes: [1, 2]),
            ExternalChange(operation: 2, region: .disk(function: 1), offset: 0, bytes: [1]),
            ExternalChange(operation: 3, region: .hostMemory, offset: 2, bytes: [5]),
            ExternalChange(operation: 4, region: .hostMemory, offset: .max, bytes: [5, 6]),
        ]
        let replay = ExternalMemory(replaying: journal)
        replay.add(.hostMemory, memory, image: nil)
        #expect(read(replay, memory, 0..<13) == [UInt8](repeating: 0, count: 13))
        #expect(read(replay, memory, 0..<4) == [0, 0, 0, 0])
        #expect(read(replay, memory, 0..<4) == [0, 0, 5, 0])
        #expect(read(replay, memory, 0..<4) == [0, 0, 5, 0])
        #expect(journal.missed == [1, 2, 4])
    }
}
