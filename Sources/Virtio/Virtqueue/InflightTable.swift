import Glibc
import Synchronization

/// The table in shared memory in which a device notes the chains of one split queue that it has taken and not given back:
/// `QueueRegionSplit` of the vhost-user specification ("Inflight I/O tracking"). Whoever comes after a device that was killed
/// finishes them.
///
/// The device only writes here; who starts a queue reads, and tells the device what to take up again. So the table is no input of a replay.
public struct InflightTable: @unchecked Sendable {
    // Sendable: a place in memory that its owner keeps, used by whoever has the device.

    private let base: UnsafeMutableRawPointer
    private let size: UInt16
    private var counter: UInt64

    private enum Offset {
        static let version = 8, size = 10, lastBatchHead = 12, usedIndex = 14, descriptors = 16
        /// Within a descriptor's entry: the flag; the chain before it in its batch; the number by which chains are ordered.
        static let inflight = 0, next = 6, counter = 8
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
        let entry = entry(head)
        entry.storeBytes(of: counter, toByteOffset: Offset.counter, as: UInt64.self)
        counter &+= 1
        atomicMemoryFence(ordering: .releasing)
        entry.storeBytes(of: 1, toByteOffset: Offset.inflight, as: UInt8.self)
    }

    /// A chain is about to be given back, with others or alone: until ``gave(used:)`` the used index tells whether they were.
    func willGive(back head: UInt16) {
        guard head < size else { return }
        let before = base.load(fromByteOffset: Offset.lastBatchHead, as: UInt16.self)
        entry(head).storeBytes(of: before, toByteOffset: Offset.next, as: UInt16.self)
        atomicMemoryFence(ordering: .releasing)
        base.storeBytes(of: head, toByteOffset: Offset.lastBatchHead, as: UInt16.self)
        atomicMemoryFence(ordering: .releasing)
    }

    /// - Parameter used: the used index that the driver now sees.
    func gave(used: UInt16) {
        let count = used &- base.load(fromByteOffset: Offset.usedIndex, as: UInt16.self)
        guard count > 0 else { return }
        atomicMemoryFence(ordering: .releasing)
        var head = base.load(fromByteOffset: Offset.lastBatchHead, as: UInt16.self)
        // The table may be a hostile front-end's.
        for _ in 0..<min(count, size) where head < size {
            entry(head).storeBytes(of: 0, toByteOffset: Offset.inflight, as: UInt8.self)
            head = entry(head).load(fromByteOffset: Offset.next, as: UInt16.self)
        }
        atomicMemoryFence(ordering: .releasing)
        base.storeBytes(of: used, toByteOffset: Offset.usedIndex, as: UInt16.self)
    }

    private func entry(_ head: UInt16) -> UnsafeMutableRawPointer { base + Offset.descriptors + Self.entryBytes * Int(head) }

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
        // Killed between the used index and the flags: those chains were given back.
        gave(used: used)
        var chains: [(head: UInt16, counter: UInt64)] = []
        for head in 0..<size {
            let entry = entry(head)
            guard entry.load(fromByteOffset: Offset.inflight, as: UInt8.self) == 1 else { continue }
            chains.append((head, entry.load(fromByteOffset: Offset.counter, as: UInt64.self)))
        }
        chains.sort { $0.counter < $1.counter }
        counter = (chains.last?.counter ?? 0) &+ 1
        return chains.map(\.head)
    }
}
