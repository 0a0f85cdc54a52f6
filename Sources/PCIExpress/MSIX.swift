import Simulation

/// A message that an MSI-X vector sends: a memory write of `data` to `address`.
public struct InterruptMessage: Hashable, Sendable {
    public var address: UInt64
    public var data: UInt32

    public init(address: UInt64, data: UInt32) {
        self.address = address; self.data = data
    }
}

/// What became of a vector that was raised.
public enum InterruptDelivery: Sendable {
    /// The message went out.
    case delivered
    /// Masked: it goes out when that ends.
    case pending
    /// MSI-X is off, or the function has no such vector: nothing happened.
    case ignored
}

/// Hears a hierarchy's interrupts.
public protocol InterruptSink: AnyObject {
    /// Function `function` sent the message of `vector`.
    func messageSignaled(function: Int, vector: Int, message: InterruptMessage)
    /// Function `function` asserts or releases its INTx line.
    func lineChanged(function: Int, level: Bool)
}

/// A function's MSI-X table and pending bits (PCI Express Base 5.0, 6.1.4 and 7.7.2).
struct MSIXTable: Sendable {
    let description: MSIXDescription
    /// Four dwords per vector: address, upper address, data, vector control.
    private var entries: [UInt32]
    private var pending: [UInt64]

    private static let masked: UInt32 = 1

    init(_ description: MSIXDescription) {
        self.description = description
        entries = []
        pending = []
        reset()
    }

    mutating func reset() {
        entries = [UInt32](repeating: 0, count: 4 * description.vectors)
        for vector in 0..<description.vectors { entries[4 * vector + 3] = Self.masked }
        pending = [UInt64](repeating: 0, count: (description.vectors + 63) / 64)
    }

    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integers(&entries)
        for word in entries.indices {
            try archive.require(entries[word] & ~Self.implemented(word) == 0, "vector \(word / 4): expected zeroes in unimplemented bits")
        }
        try archive.integers(&pending)
        let beyond = description.vectors % 64 == 0 ? 0 : UInt64.max << UInt64(description.vectors % 64)
        try archive.require(pending[pending.count - 1] & beyond == 0, "expected pending bits of \(description.vectors) vectors")
    }

    var tableRange: Range<UInt64> { description.tableOffset..<description.tableOffset + UInt64(16 * description.vectors) }
    var pendingRange: Range<UInt64> { description.pendingOffset..<description.pendingOffset + UInt64(8 * pending.count) }

    func isMasked(_ vector: Int) -> Bool { entries[4 * vector + 3] & Self.masked != 0 }
    func isPending(_ vector: Int) -> Bool { pending[vector / 64] >> UInt64(vector % 64) & 1 != 0 }
    var hasPending: Bool { pending.contains { $0 != 0 } }

    func message(_ vector: Int) -> InterruptMessage {
        InterruptMessage(address: UInt64(entries[4 * vector + 1]) << 32 | UInt64(entries[4 * vector]), data: entries[4 * vector + 2])
    }

    mutating func setPending(_ vector: Int) {
        pending[vector / 64] |= 1 << UInt64(vector % 64)
    }

    /// Takes the lowest vector that is pending and not masked.
    mutating func takeDeliverable() -> Int? {
        for word in pending.indices where pending[word] != 0 {
            var bits = pending[word]
            while bits != 0 {
                let vector = 64 * word + bits.trailingZeroBitCount
                if !isMasked(vector) {
                    pending[word] &= ~(bits & (~bits &+ 1))
                    return vector
                }
                bits &= bits &- 1
            }
        }
        return nil
    }

    /// The value of an aligned dword or qword at `offset` of the BAR; nil outside table and pending bits, or for another size.
    func read(_ offset: UInt64, size: Int) -> UInt64? {
        guard size == 4 || size == 8 else { return nil }
        if tableRange.contains(offset) {
            let word = Int(offset - description.tableOffset) / 4
            return UInt64(entries[word]) | (size == 8 ? UInt64(entries[word + 1]) << 32 : 0)
        }
        if pendingRange.contains(offset) {
            let byte = Int(offset - description.pendingOffset)
            let value = pending[byte / 8] >> UInt64(8 * (byte % 8))
            return size == 8 ? value : value & 0xffff_ffff
        }
        return nil
    }

    /// Writes an aligned dword or qword of the table.
    mutating func write(_ offset: UInt64, size: Int, _ value: UInt64) {
        for i in 0..<size / 4 {
            let word = Int(offset - description.tableOffset) / 4 + i
            entries[word] = UInt32(truncatingIfNeeded: value >> UInt64(32 * i)) & Self.implemented(word)
        }
    }

    /// The bits of a table's dword that can be written.
    private static func implemented(_ word: Int) -> UInt32 {
        switch word % 4 {
        case 0: ~3
        case 3: masked
        default: ~0
        }
    }
}
