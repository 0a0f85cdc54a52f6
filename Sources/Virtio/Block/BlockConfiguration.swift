import Interconnect
import Simulation

/// What a block device announces and how long it takes; from the machine description.
public struct BlockConfiguration: Sendable {
    /// Answer to GET_ID: at most 20 ASCII characters.
    public var serial = ""
    /// Virtqueues, 1...64.
    public var queues = 1
    /// Requests in the device at a time, over all queues.
    public var requestSlots = 256
    /// Data buffers of one request at most.
    public var maximumSegments: UInt32 = 126
    /// Bytes of one data buffer at most; 0: no bound, and VIRTIO_BLK_F_SIZE_MAX isn't offered.
    public var maximumSegmentBytes: UInt32 = 0
    /// Logical block in bytes, a power of two from 512; what file systems align to. Requests of single sectors are served all the same.
    public var blockBytes: UInt32 = 512
    /// Logical blocks in a physical one, as a power of two.
    public var physicalBlockExponent: UInt8 = 3
    /// Whether discard requests are offered, where the backend takes writes.
    public var discards = true
    /// Sectors, and ranges, of one discard or write-zeroes request at most.
    public var maximumDiscardSectors: UInt32 = 1 << 21
    public var maximumDiscardSegments: UInt32 = 16
    public var discardAlignmentSectors: UInt32 = 8
    /// Core cycles of a request, and what each of its buffers adds.
    public var requestCost: Cycle = 500
    public var segmentCost: Cycle = 20
    public var medium = Medium()
    /// What data passes through on its way to the medium and back, such as a cipher or compression; nil: nothing.
    public var transform: Transform?

    public init() {}
}

/// Work of an accelerator on the data of reads and writes. How long it takes is modelled; the data stays as it is.
public struct Transform: Hashable, Sendable {
    public var type: AcceleratorType
    /// Slot cycles for 4 KiB.
    public var cost: Cycle

    public init(type: AcceleratorType, cost: Cycle) { self.type = type; self.cost = cost }
}

/// How long the medium behind a backend takes: requests share its bandwidth one after the other, latencies overlap.
public struct Medium: Sendable {
    public var readLatency: Cycle = 60_000
    public var writeLatency: Cycle = 15_000
    public var flushLatency: Cycle = 100_000
    public var rate = Rate(bytesPerMicrosecond: 3000, cyclesPerMicrosecond: 1000)

    public init() {}
}

/// `struct virtio_blk_config`, section 5.2.4: the device configuration as bytes.
struct BlockConfigurationSpace: Sendable {
    static let length = 60
    /// Where the driver may write: the cache mode.
    private static let writebackOffset = 32

    private var bytes = [UInt8](repeating: 0, count: Self.length)

    init(_ configuration: BlockConfiguration, byteCount: UInt64) {
        let discardSectors = configuration.maximumDiscardSectors
        set(0, byteCount / 512, 8)
        set(8, UInt64(configuration.maximumSegmentBytes), 4)
        set(12, UInt64(configuration.maximumSegments), 4)
        set(20, UInt64(configuration.blockBytes), 4)
        // Topology: physical_block_exp, alignment_offset, min_io_size and opt_io_size in logical blocks.
        set(24, UInt64(configuration.physicalBlockExponent), 1)
        set(26, 1 << UInt64(min(configuration.physicalBlockExponent, 15)), 2)
        set(32, 1, 1)
        set(34, UInt64(configuration.queues), 2)
        set(36, UInt64(discardSectors), 4)
        set(40, UInt64(configuration.maximumDiscardSegments), 4)
        set(44, UInt64(configuration.discardAlignmentSectors), 4)
        set(48, UInt64(discardSectors), 4)
        set(52, UInt64(configuration.maximumDiscardSegments), 4)
        set(56, 1, 1)
    }

    private mutating func set(_ offset: Int, _ value: UInt64, _ size: Int) {
        for index in 0..<size { bytes[offset + index] = UInt8(truncatingIfNeeded: value >> UInt64(8 * index)) }
    }

    func read(_ offset: Int, size: Int) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(size, 8) where offset >= 0 && offset + index < Self.length {
            value |= UInt64(bytes[offset + index]) << UInt64(8 * index)
        }
        return value
    }

    /// Whether writes are held back until a flush: `writeback`.
    var isWriteback: Bool {
        get { bytes[Self.writebackOffset] != 0 }
        set { bytes[Self.writebackOffset] = newValue ? 1 : 0 }
    }

    /// The rest is the configuration's.
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) { try archive.flag(&isWriteback) }

    /// The value that a write puts into `writeback`; nil if it goes elsewhere.
    static func writebackValue(_ offset: Int, size: Int, _ value: UInt64) -> Bool? {
        offset == writebackOffset && size == 1 ? value & 0xff != 0 : nil
    }
}
