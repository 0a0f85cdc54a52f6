/// A virtual machine's key: data of ``AdminOpcode/setKey``. Who sends it must have the key that the owner has now.
public struct OwnerKey: WireLayout {
    public static let byteCount = 8

    /// 0: the owner has no key any more.
    public var key: UInt64 = 0

    public init() {}
    public init(key: UInt64) { self.key = key }

    public init(decoding bytes: UnsafeRawPointer) { key = bytes.number(0) }

    public func encode(to bytes: UnsafeMutableRawPointer) { bytes.put(key, 0) }
}

/// The beginning of the audit page; entries follow, one per owner in order.
public struct AuditHeader: WireLayout {
    public static let byteCount = 32

    public var firstOwner: UInt16 = 0
    public var entries: UInt16 = 0
    /// Records that were read, and that became events, since the firmware started.
    public var records: UInt32 = 0
    /// Records for which there was no room, saturating at 65535. The counts have them.
    public var lost: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        firstOwner = bytes.number(0)
        entries = bytes.number(2)
        records = bytes.number(4)
        lost = bytes.number(8)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(firstOwner, 0)
        bytes.put(entries, 2)
        bytes.put(records, 4)
        bytes.put(lost, 8)
        bytes.zero(12, count: 20)
    }
}

/// What one owner was refused, since power-on.
public struct AuditEntry: WireLayout {
    public static let byteCount = 64

    public var owner: UInt8 = 0
    /// Bit 0, ``keyed``.
    public var flags: UInt8 = 0
    /// Of the latest record since the firmware started: ``Kind``, 0 if there was none; whose it was, 255: nobody's.
    public var kind: UInt8 = 0
    public var holder: UInt8 = 0
    /// By ``Kind`` less one, saturating.
    public var counts = InlineArray<9, UInt32>(repeating: 0)
    /// Device cycle and address of the latest record.
    public var cycle: UInt64 = 0
    public var address: UInt64 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        owner = bytes.number(0)
        flags = bytes.number(1)
        kind = bytes.number(2)
        holder = bytes.number(3)
        for index in 0..<9 { counts[index] = bytes.number(8 + 4 * index) }
        cycle = bytes.number(48)
        address = bytes.number(56)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(owner, 0)
        bytes.put(flags, 1)
        bytes.put(kind, 2)
        bytes.put(holder, 3)
        bytes.zero(4, count: 4)
        for index in 0..<9 { bytes.put(counts[index], 8 + 4 * index) }
        bytes.zero(44, count: 4)
        bytes.put(cycle, 48)
        bytes.put(address, 56)
    }

    public static func == (a: Self, b: Self) -> Bool {
        for kind in 0..<9 where a.counts[kind] != b.counts[kind] { return false }
        return (a.owner, a.flags, a.kind, a.holder) == (b.owner, b.flags, b.kind, b.holder) && (a.cycle, a.address) == (b.cycle, b.address)
    }

    /// In ``flags``: the owner has a key.
    public static let keyed: UInt8 = 1

    /// What was refused; the meanings are in regmaps/audit/README.md.
    public enum Kind: UInt8, Sendable, CaseIterable {
        case dma = 1, access, doorbell, queue, memory, interrupt, key, configuration, image
    }
}
