import Glibc
import Synchronization

/// The table in shared memory in which a device notes the chains of one split queue that it has taken and not given back: `QueueRegionSplit`
/// of the vhost-user specification ("Inflight I/O tracking"). Whoever comes after a device that was killed finishes them.
///
/// The device only writes here; who starts a queue reads, and tells the device what to take up again. So the table is no input of a replay.
public struct InflightTable: @unchecked Sendable {
    // Sendable: a place in memory that its owner keeps, used by whoever has the device.

    private let base: UnsafeMutableRawPointer
    private let size: UInt16
    private var counter: UInt64

    private enum Offset {
        static let version = 8, size = 10, lastBatchHead = 12, usedIndex = 14, descriptors = 16
        /// Within a descriptor's entry: the flag; the number by which chains are ordered.
        static let inflight = 0, counter = 8
    }
    private static let entryBytes = 16
    private static let version: UInt16 = 1

    /// Bytes of the table of a queue, a multiple of a cache line.
    public static func bytes(size: UInt16) -> Int { (Offset.descriptors + entryBytes * Int(size) + 63) & ~63 }

    /// - Parameters:
    ///   - base: ``bytes(size:)`` bytes, aligned to 8, which stay while the table is used.
    ///   - size: entries of the queue.
    public init(_ base: UnsafeMutableRawPointer, size: UInt16) {
        self.base = base
        self.size = size
        counter = 1
    }

    // MARK: The device's side

    /// A chain was taken.
    mutating func took(_ head: UInt16) {
        guard head < size else { return }
        let entry = base + Offset.descriptors + Self.entryBytes * Int(head)
        entry.storeBytes(of: counter, toByteOffset: Offset.counter, as: UInt64.self)
        counter &+= 1
        atomicMemoryFence(ordering: .releasing)
        entry.storeBytes(of: 1, toByteOffset: Offset.inflight, as: UInt8.self)
    }

    /// A chain is about to be given back: between this and ``gave(back:used:)`` the used index tells whether it was.
    func willGive(back head: UInt16) {
        base.storeBytes(of: head, toByteOffset: Offset.lastBatchHead, as: UInt16.self)
        atomicMemoryFence(ordering: .releasing)
    }

    /// - Parameter used: the used index that the driver now sees.
    func gave(back head: UInt16, used: UInt16) {
        guard head < size else { return }
        atomicMemoryFence(ordering: .releasing)
        (base + Offset.descriptors + Self.entryBytes * Int(head)).storeBytes(of: 0, toByteOffset: Offset.inflight, as: UInt8.self)
        atomicMemoryFence(ordering: .releasing)
        base.storeBytes(of: used, toByteOffset: Offset.usedIndex, as: UInt16.self)
    }

    // MARK: Who starts the queue

    /// Brings the table into order and finds the chains that an earlier device took and didn't give back, oldest first.
    /// - Parameter used: the queue's used index in the driver's memory.
    public mutating func recover(used: UInt16) -> [UInt16] {
        if base.load(fromByteOffset: Offset.version, as: UInt16.self) == 0 {
            memset(base, 0, Self.bytes(size: size))
            base.storeBytes(of: Self.version, toByteOffset: Offset.version, as: UInt16.self)
            base.storeBytes(of: size, toByteOffset: Offset.size, as: UInt16.self)
            base.storeBytes(of: used, toByteOffset: Offset.usedIndex, as: UInt16.self)
            return []
        }
        // Killed between the used index and the flag: that chain was given back.
        if base.load(fromByteOffset: Offset.usedIndex, as: UInt16.self) != used {
            gave(back: base.load(fromByteOffset: Offset.lastBatchHead, as: UInt16.self), used: used)
        }
        var chains: [(head: UInt16, counter: UInt64)] = []
        for head in 0..<size {
            let entry = base + Offset.descriptors + Self.entryBytes * Int(head)
            guard entry.load(fromByteOffset: Offset.inflight, as: UInt8.self) == 1 else { continue }
            chains.append((head, entry.load(fromByteOffset: Offset.counter, as: UInt64.self)))
        }
        chains.sort { $0.counter < $1.counter }
        counter = (chains.last?.counter ?? 0) &+ 1
        return chains.map(\.head)
    }
}
