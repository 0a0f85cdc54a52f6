import Glibc
import Synchronization

/// What the table of chains in flight has of a packed queue: `QueueRegionPacked` of the vhost-user specification ("Inflight I/O tracking").
///
/// The device gives the chains of a front-end's packed queues back in order. So those in flight are all in the ring from the used position
/// on, none of their descriptors is overwritten, and this position is all that has to be noted. It is there twice, for a device that is
/// killed while it moves on.
public struct PackedInflightTable: @unchecked Sendable {
    // Sendable: a place in memory that its owner keeps, used by whoever has the device.

    private let base: UnsafeMutableRawPointer
    private let size: UInt16

    private enum Offset {
        static let version = 8, size = 10, freeHead = 12, oldFreeHead = 14, used = 16, oldUsed = 18, usedWrap = 20, oldUsedWrap = 21
        static let descriptors = 32
        /// Within a descriptor's entry: the next one of those that are free.
        static let next = 2
    }
    private static let entryBytes = 32
    private static let version: UInt16 = 1

    /// Bytes of the table of a queue, a multiple of a cache line.
    public static func bytes(size: UInt16) -> Int { (Offset.descriptors + entryBytes * Int(size) + 63) & ~63 }

    /// - Parameters:
    ///   - base: ``bytes(size:)`` bytes, aligned to 8, which stay while the table is used.
    ///   - size: entries of the queue.
    public init(_ base: UnsafeMutableRawPointer, size: UInt16) {
        self.base = base
        self.size = size
    }

    // MARK: The device's side

    /// A chain is about to be given back; between this and ``gave()`` the descriptor at the old position tells whether it was.
    /// - Parameter used: the used position after that, with the wrap counter in bit 15.
    func willGive(used: UInt16) {
        store(used, Offset.used, Offset.usedWrap)
        atomicMemoryFence(ordering: .releasing)
    }

    func gave() {
        atomicMemoryFence(ordering: .releasing)
        store(load(Offset.used, Offset.usedWrap), Offset.oldUsed, Offset.oldUsedWrap)
    }

    // MARK: Who starts the queue

    /// Brings the table into order.
    /// - Parameters:
    ///   - start: the used position of a queue that no device has had.
    ///   - isAvailable: whether the descriptor at a position is available, and so not used.
    /// - Returns: the position at which an earlier device has ended.
    public func recover<Failure: Error>(from start: UInt16, isAvailable: (UInt16) throws(Failure) -> Bool) throws(Failure) -> UInt16 {
        guard base.load(fromByteOffset: Offset.version, as: UInt16.self) != 0 else {
            memset(base, 0, Self.bytes(size: size))
            base.storeBytes(of: Self.version, toByteOffset: Offset.version, as: UInt16.self)
            base.storeBytes(of: size, toByteOffset: Offset.size, as: UInt16.self)
            // All entries are free, one after the other.
            for entry in 0..<size {
                let next = base + Offset.descriptors + Self.entryBytes * Int(entry) + Offset.next
                next.storeBytes(of: entry &+ 1 == size ? 0 : entry &+ 1, as: UInt16.self)
            }
            store(start, Offset.used, Offset.usedWrap)
            store(start, Offset.oldUsed, Offset.oldUsedWrap)
            return start
        }
        let old = load(Offset.oldUsed, Offset.oldUsedWrap), new = load(Offset.used, Offset.usedWrap)
        if old == new { return old }
        if try isAvailable(old) {
            store(old, Offset.used, Offset.usedWrap)
            return old
        }
        gave()
        return new
    }

    private func store(_ position: UInt16, _ offset: Int, _ wrap: Int) {
        base.storeBytes(of: position & 0x7fff, toByteOffset: offset, as: UInt16.self)
        base.storeBytes(of: UInt8(position >> 15), toByteOffset: wrap, as: UInt8.self)
    }

    private func load(_ offset: Int, _ wrap: Int) -> UInt16 {
        base.load(fromByteOffset: offset, as: UInt16.self) & 0x7fff | UInt16(base.load(fromByteOffset: wrap, as: UInt8.self) & 1) << 15
    }
}

/// Where the chains in flight of a queue are noted.
public enum InflightNotes: Sendable {
    case split(InflightTable)
    case packed(PackedInflightTable)
}
