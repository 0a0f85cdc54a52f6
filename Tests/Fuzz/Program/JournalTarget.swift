import OffloadDevice
import Scratch
import Simulation

/// A recording's journal. Checksums of header and chunks are made right. What is accepted is replayed, as far as that is not long.
struct JournalTarget: FuzzTarget {
    private static let longestRun: Cycle = 50_000
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write(readFile("Tests/OffloadDeviceTests/Golden/recording-1/firmware.elf"), to: "firmware.elf")
    }

    mutating func take(_ input: [UInt8]) throws {
        try folder.write(Self.mended(input), to: "journal")
        do throws(RecordingError) {
            let recording = try Recording(folder: folder.path)
            // The host's memory is as large as the description says.
            guard recording.machine.memory.host <= 1 << 24 else { return }
            let replayer = try Replayer(recording)
            replayer.goesOnAfterDivergence = true
            while let next = try replayer.nextInput {
                guard next.cycle < Self.longestRun else { return }
                try replayer.run(to: next)
                guard try replayer.apply() else { return }
            }
            if recording.end.cycle < Self.longestRun { try replayer.run(to: recording.end) }
        } catch {
            require(error.description.hasPrefix(folder.path), "an error without its file: \(error)")
        }
    }

    /// Checksums as docs/replay.md, "Files", has them.
    private static func mended(_ input: [UInt8]) -> [UInt8] {
        var file = input
        func number(at place: Int) -> Int { (0..<4).reduce(0) { $0 | Int(file[place + $1]) << (8 * $1) } }
        func seal(_ range: Range<Int>, at place: Int) {
            let sum = file.withUnsafeBytes { CRC32C.of(UnsafeRawBufferPointer(rebasing: $0[range])) }
            for byte in 0..<4 { file[place + byte] = UInt8(truncatingIfNeeded: sum >> UInt32(8 * byte)) }
        }
        guard file.count >= 20, number(at: 12) <= file.count - 20 else { return file }
        var place = 16 + number(at: 12) + 4
        seal(0..<place - 4, at: place - 4)
        while file.count - place >= 56 {
            let end = place + 56 + number(at: place + 4)
            if end <= file.count { seal(place + 56..<end, at: place + 48) }
            seal(place..<place + 52, at: place + 52)
            guard end <= file.count else { break }
            place = end
        }
        return file
    }
}
