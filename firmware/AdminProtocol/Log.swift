/// How an owner's memory shall be logged: the data of ``AdminOpcode/startLog``.
public struct LogRequest: WireLayout {
    public static let byteCount = 32

    /// 0, the bitmap alone, to 100, every extent exactly.
    public var granularity: UInt8 = 100
    /// log2 of the bitmap's page size; 0: the firmware's choice.
    public var pageShift: UInt8 = 0
    /// A power of two; 0: the firmware's choice.
    public var ringRecords: UInt32 = 0
    /// First byte of the tracked region.
    public var regionAddress: UInt64 = 0
    /// 0: the firmware's choice, and so is the address.
    public var regionPages: UInt32 = 0
    /// Records waiting that post an event; 0: off.
    public var watermark: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        granularity = bytes.number(0)
        pageShift = bytes.number(1)
        ringRecords = bytes.number(4)
        regionAddress = bytes.number(8)
        regionPages = bytes.number(16)
        watermark = bytes.number(20)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(granularity, 0)
        bytes.put(pageShift, 1)
        bytes.put(ringRecords, 4)
        bytes.put(regionAddress, 8)
        bytes.put(regionPages, 16)
        bytes.put(watermark, 20)
        bytes.zero(2, count: 2)
        bytes.zero(24, count: 8)
    }
}

/// The state of an owner's log.
public struct LogStatus: WireLayout {
    public static let byteCount = 48

    /// 1 while the log runs.
    public var active: UInt8 = 0
    /// STATUS.error of the logging engine.
    public var error: UInt8 = 0
    public var granularity: UInt8 = 0
    public var pageShift: UInt8 = 0
    /// Byte offset of the ring in BAR2; 0 if there has never been one.
    public var ringOffset: UInt32 = 0
    /// 0 if the log has never been started.
    public var ringRecords: UInt32 = 0
    /// Records stored since start, wrapping.
    public var head: UInt32 = 0
    /// Records consumed since start, wrapping.
    public var tail: UInt32 = 0
    /// Records that found the ring full.
    public var lost: UInt32 = 0
    public var dirtyPages: UInt32 = 0
    public var regionPages: UInt32 = 0
    public var nextSequence: UInt64 = 0
    /// By device DMA since start.
    public var bytesWritten: UInt64 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        active = bytes.number(0)
        error = bytes.number(1)
        granularity = bytes.number(2)
        pageShift = bytes.number(3)
        ringOffset = bytes.number(4)
        ringRecords = bytes.number(8)
        head = bytes.number(12)
        tail = bytes.number(16)
        lost = bytes.number(20)
        dirtyPages = bytes.number(24)
        regionPages = bytes.number(28)
        nextSequence = bytes.number(32)
        bytesWritten = bytes.number(40)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(active, 0)
        bytes.put(error, 1)
        bytes.put(granularity, 2)
        bytes.put(pageShift, 3)
        bytes.put(ringOffset, 4)
        bytes.put(ringRecords, 8)
        bytes.put(head, 12)
        bytes.put(tail, 16)
        bytes.put(lost, 20)
        bytes.put(dirtyPages, 24)
        bytes.put(regionPages, 28)
        bytes.put(nextSequence, 32)
        bytes.put(bytesWritten, 40)
    }
}

/// One record in an owner's log ring, as the logging engine writes it (regmaps/log/README.md).
public struct LogRecord: WireLayout {
    public static let byteCount = 32

    /// 0 for the first record after start.
    public var sequence: UInt64 = 0
    /// Device cycle of the extent's first write.
    public var cycle: UInt64 = 0
    /// First byte of the extent.
    public var address: UInt64 = 0
    public var extentBytes: UInt32 = 0
    /// Writes that the extent is made of; 65535: that many or more.
    public var writes: UInt16 = 0
    public var owner: UInt8 = 0
    /// Bit 0, ``lostBefore``.
    public var flags: UInt8 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        sequence = bytes.number(0)
        cycle = bytes.number(8)
        address = bytes.number(16)
        extentBytes = bytes.number(24)
        writes = bytes.number(28)
        owner = bytes.number(30)
        flags = bytes.number(31)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(sequence, 0)
        bytes.put(cycle, 8)
        bytes.put(address, 16)
        bytes.put(extentBytes, 24)
        bytes.put(writes, 28)
        bytes.put(owner, 30)
        bytes.put(flags, 31)
    }

    /// In ``flags``: records before this one were lost.
    public static let lostBefore: UInt8 = 1
}
