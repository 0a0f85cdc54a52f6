import Peripherals
import RISCV

/// Follows the ring of records that the firmware writes about itself: firmware/OffloadManager/Trace.swift, symbol `offload_trace`.
///
/// Nothing that is in the ring is trusted: the firmware may be any, or have gone wild.
struct FirmwareTrace {
    /// Words before the first record: magic, version, records that fit, records that were written; and words of a record: cycle, kind,
    /// two arguments.
    private static let headWords = 4, recordWords = 4
    private static let magic: UInt32 = 0x6f74_7263, version: UInt32 = 1

    /// Names of the kinds of records, by number.
    static let kinds = [
        "", "boot", "stage", "command", "queueBroken", "window", "windowsMissed", "committed", "rejected", "fault", "eventDropped",
    ]

    private let words: UnsafeMutableBufferPointer<UInt32>
    /// Records that were written when it was last looked at.
    private var seen: UInt32 = 0

    /// Nil if the image has no ring, or none in this memory.
    /// - Parameters:
    ///   - memory: lives as long as the device.
    ///   - base: the memory's address on the bus.
    init?(of image: ELFImage, in memory: MemoryPages, at base: UInt64) {
        guard let symbol = image.symbol("offload_trace"), symbol.address % 4 == 0, UInt64(symbol.address) >= base,
            symbol.size >= 4 * UInt32(Self.headWords + Self.recordWords)
        else { return nil }
        let offset = Int(UInt64(symbol.address) - base), size = Int(symbol.size)
        guard offset + size <= memory.size else { return nil }
        words = UnsafeMutableRawBufferPointer(rebasing: memory.bytes[offset..<offset + size]).assumingMemoryBound(to: UInt32.self)
        skip()
    }

    private var written: UInt32 { words[3] }

    /// Whether records came since the last look.
    var hasNews: Bool { written != seen }

    /// Forgets what is there.
    mutating func skip() { seen = written }

    /// Gives every record since the last look that is still there.
    mutating func read(_ body: (_ kind: UInt16, _ arguments: [UInt32]) -> Void) {
        let written = written, capacity = words[2]
        defer { seen = written }
        guard words[0] == Self.magic, words[1] == Self.version, capacity > 0, capacity & (capacity - 1) == 0,
            Int(capacity) <= (words.count - Self.headWords) / Self.recordWords
        else { return }
        let count = min(written &- seen, capacity)
        for number in 0..<count {
            let place = Self.headWords + Int((written &- count &+ number) & (capacity - 1)) * Self.recordWords
            body(UInt16(truncatingIfNeeded: words[place + 1]), [words[place + 2], words[place + 3]])
        }
    }
}
