import Peripherals
import RISCV
import Simulation

/// Follows the ring of records that the firmware writes about itself: firmware/OffloadManager/Trace.swift, symbol `offload_trace`.
///
/// How far it was read is kept whether somebody records or not, so that a recording that goes on from a snapshot has the same records.
/// Nothing that is in the ring is trusted: the firmware may be any, or have gone wild.
struct FirmwareTrace {
    /// Words before the first record: magic, version, records that fit, records that were written; and words of a record: cycle, kind,
    /// payload.
    private static let headWords = 4, recordWords = 4
    private static let magic: UInt32 = 0x6f74_7263, version: UInt32 = 2

    struct State: Equatable {
        /// Of the ring in the memory; no bytes: the firmware has none.
        var offset: UInt32 = 0, size: UInt32 = 0
        /// Records that were written when it was last looked at.
        var seen: UInt32 = 0
    }

    private(set) var state = State()
    private let memory: MemoryPages

    /// - Parameter memory: where the ring is, if there is one.
    init(in memory: MemoryPages) { self.memory = memory }

    /// Follows the ring of this image from now on; none, if it has none in the memory.
    /// - Parameter base: the memory's address on the bus.
    mutating func follow(_ image: ELFImage, base: UInt64) {
        state = State()
        guard let symbol = image.symbol("offload_trace"), UInt64(symbol.address) >= base else { return }
        let offset = UInt64(symbol.address) - base
        guard Self.fits(offset, UInt64(symbol.size), memory) else { return }
        state = State(offset: UInt32(offset), size: symbol.size)
        skip()
    }

    private static func fits(_ offset: UInt64, _ size: UInt64, _ memory: MemoryPages) -> Bool {
        offset % 4 == 0 && size >= UInt64(4 * headWords) && offset + size <= UInt64(memory.size)
    }

    private func word(_ index: Int) -> UInt32 { memory.bytes.load(fromByteOffset: Int(state.offset) + 4 * index, as: UInt32.self) }
    private var written: UInt32 { word(3) }

    /// Whether records came since the last look.
    var hasNews: Bool { state.size != 0 && written != state.seen }

    /// Forgets what is there.
    mutating func skip() { state.seen = written }

    /// Every record since the last look that is still there.
    mutating func take() -> [(kind: UInt16, arguments: [UInt32])] {
        let written = written, capacity = word(2)
        defer { state.seen = written }
        guard word(0) == Self.magic, word(1) == Self.version, capacity.nonzeroBitCount == 1,
            Int(capacity) <= (Int(state.size) / 4 - Self.headWords) / Self.recordWords
        else { return [] }
        let count = min(written &- state.seen, capacity)
        return (0..<count).map { number in
            let place = Self.headWords + Int((written &- count &+ number) & (capacity - 1)) * Self.recordWords
            return (UInt16(truncatingIfNeeded: word(place + 1)), [word(place + 2), word(place + 3)])
        }
    }
}

extension FirmwareTrace: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&state.offset)
        try archive.integer(&state.size)
        try archive.integer(&state.seen)
        let fits = state.size == 0 || Self.fits(UInt64(state.offset), UInt64(state.size), memory)
        try archive.require(fits, "the firmware's trace: \(state.size) bytes within \(memory.size) expected, found them at \(state.offset)")
    }
}
