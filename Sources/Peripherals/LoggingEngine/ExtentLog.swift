import Simulation

/// A run of bytes that device DMA wrote, as it grows.
struct Extent: Sendable, Equatable {
    var start: UInt64
    /// One past its last byte.
    var end: UInt64
    /// When its first write came.
    var cycle: Cycle
    /// Saturates.
    var writes: UInt16
}

/// The log of one owner: its open extent, its ring's counters and its dirty bitmap. The ring's bytes are in shared memory.
struct ExtentLog: Sendable {
    static let recordBytes: UInt64 = 32
    static let mostRecords: UInt32 = 65536
    /// An extent that reaches this length is closed.
    static let longestExtent: UInt64 = 1 << 31

    var isActive = false
    /// log2 of the unit that extents are rounded to; nil: no records.
    var unitShift: UInt64? = 0
    /// Bus address and records of the ring.
    var ringBase: UInt64 = 0
    var ringRecords: UInt32 = 0
    /// Records stored and consumed since start, wrapping.
    var head: UInt32 = 0
    private(set) var tail: UInt32 = 0
    private(set) var lost: UInt32 = 0
    /// A record was lost since the last one that was stored.
    private var lostBefore = false
    private(set) var sequence: UInt64 = 0
    private(set) var written: UInt64 = 0
    private(set) var open: Extent?
    private(set) var bitmap = DirtyBitmap()

    /// The bytes that the ring takes, from its base.
    var ringBytes: UInt64 { UInt64(ringRecords) * Self.recordBytes }

    /// Begins with an empty ring and a clean bitmap.
    mutating func start(ringBase: UInt64, ringRecords: UInt32, unitShift: UInt64?, bitmap: DirtyBitmap) {
        self = ExtentLog()
        (isActive, self.ringBase, self.ringRecords, self.unitShift, self.bitmap) = (true, ringBase, ringRecords, unitShift, bitmap)
    }

    // MARK: Writes

    /// Notes a write.
    /// - Returns: the extent that it closed, for ``record(_:owner:)``.
    mutating func write(_ address: UInt64, bytes: UInt64, at cycle: Cycle) -> Extent? {
        written &+= bytes
        let (last, overflow) = address.addingReportingOverflow(bytes &- 1)
        let end = overflow ? .max : last
        bitmap.mark(address...end)
        guard let unitShift else { return nil }
        let unit: UInt64 = 1 << unitShift
        let first = address & ~(unit - 1)
        let past = (end | (unit - 1)) == .max ? .max : (end | (unit - 1)) + 1
        guard var extent = open else {
            open = Extent(start: first, end: past, cycle: cycle, writes: 1)
            return closeIfLong()
        }
        guard first <= extent.end && past >= extent.start else {
            open = Extent(start: first, end: past, cycle: cycle, writes: 1)
            return extent
        }
        extent.start = min(extent.start, first)
        extent.end = max(extent.end, past)
        if extent.writes < .max { extent.writes += 1 }
        open = extent
        return closeIfLong()
    }

    private mutating func closeIfLong() -> Extent? {
        guard let extent = open, extent.end - extent.start >= Self.longestExtent else { return nil }
        return close()
    }

    /// Closes the open extent.
    mutating func close() -> Extent? {
        defer { open = nil }
        return open
    }

    // MARK: Records

    /// Records that wait to be consumed.
    var waiting: UInt32 { head &- tail }

    /// The next record, as its four little-endian words, and where it goes. The record takes its sequence number; nil if the ring is full,
    /// and then it is lost. The ring has it only when the caller has stored it and counts `head` up.
    mutating func record(_ extent: Extent, owner: UInt8) -> (words: (UInt64, UInt64, UInt64, UInt64), address: UInt64)? {
        defer { sequence &+= 1 }
        guard waiting < ringRecords else {
            if lost < .max { lost += 1 }
            lostBefore = true
            return nil
        }
        let length = min(extent.end - extent.start, 0xffff_ffff)
        let flags: UInt64 = lostBefore ? 1 : 0
        lostBefore = false
        let last = length | UInt64(extent.writes) << 32 | UInt64(owner) << 48 | flags << 56
        return ((sequence, extent.cycle, extent.start, last), ringBase + UInt64(head & (ringRecords - 1)) * Self.recordBytes)
    }

    /// The reader has consumed up to `newTail`; one that more records lie behind than the ring has counts as the head.
    mutating func consume(to newTail: UInt32) {
        tail = head &- newTail <= ringRecords ? newTail : head
    }

    // MARK: Bitmap

    /// Takes a word of the bitmap: its bits are clear afterwards.
    mutating func takeDirty(_ word: Int) -> UInt32 { bitmap.take(word) }
}

extension ExtentLog: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.flag(&isActive)
        try archive.optional(&unitShift, blank: 0) { (archive, shift) throws(SnapshotError) in try archive.integer(&shift, in: 0...20) }
        try archive.integer(&ringBase)
        try archive.integer(&ringRecords, in: 0...Self.mostRecords)
        try archive.require(ringRecords & (ringRecords &- 1) == 0, "expected a power of two of records, found \(ringRecords)")
        try archive.integer(&head)
        try archive.integer(&tail)
        try archive.require(waiting <= ringRecords, "expected at most \(ringRecords) records that wait, found \(waiting)")
        try archive.integer(&lost)
        try archive.flag(&lostBefore)
        try archive.integer(&sequence)
        try archive.integer(&written)
        try archive.optional(&open, blank: Extent(start: 0, end: 0, cycle: 0, writes: 0)) { (archive, extent) throws(SnapshotError) in
            try archive.integer(&extent.start)
            try archive.integer(&extent.end)
            try archive.require(extent.start < extent.end, "expected an extent's end after \(extent.start), found \(extent.end)")
            try archive.cycle(&extent.cycle)
            try archive.integer(&extent.writes)
        }
        try archive.state(&bitmap)
    }
}

/// One bit per page of a region.
struct DirtyBitmap: Sendable {
    static let mostPages = 65536
    /// log2 of the bytes that a page can have.
    static let pageShifts: ClosedRange<UInt64> = 12...21

    private(set) var base: UInt64 = 0
    private(set) var pageShift: UInt64 = 12
    private(set) var pages = 0
    /// A write fell outside the region.
    private(set) var isOutside = false
    /// Bits that are set.
    private(set) var dirty = 0
    private var words: [UInt32] = []

    init() {}

    init(base: UInt64, pages: Int, pageShift: UInt64) {
        self.base = base
        self.pages = pages
        self.pageShift = pageShift
        words = .init(repeating: 0, count: (pages + 31) / 32)
    }

    /// Marks the pages of a run of bytes.
    mutating func mark(_ bytes: ClosedRange<UInt64>) {
        guard pages > 0 else { return }
        let last = base &+ (UInt64(pages) << pageShift) &- 1
        if bytes.lowerBound < base || bytes.upperBound > last { isOutside = true }
        let lower = max(bytes.lowerBound, base)
        let upper = min(bytes.upperBound, last)
        guard lower <= upper else { return }
        var page = Int((lower - base) >> pageShift)
        let end = Int((upper - base) >> pageShift)
        while page <= end {
            let bit = page & 31
            let count = min(32 - bit, end - page + 1)
            let mask = (count == 32 ? .max : (UInt32(1) << UInt32(count)) - 1) << UInt32(bit)
            dirty += (mask & ~words[page >> 5]).nonzeroBitCount
            words[page >> 5] |= mask
            page += count
        }
    }

    /// A word of the bitmap, 0 beyond its end.
    subscript(_ word: Int) -> UInt32 { word < words.count ? words[word] : 0 }

    /// Takes a word: its bits are clear afterwards. Taking the last one clears `isOutside`, too.
    mutating func take(_ word: Int) -> UInt32 {
        guard word < words.count else { return 0 }
        let bits = words[word]
        words[word] = 0
        dirty -= bits.nonzeroBitCount
        if word == words.count - 1 { isOutside = false }
        return bits
    }
}

extension DirtyBitmap: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&base)
        try archive.integer(&pageShift, in: Self.pageShifts)
        try archive.integer(&pages, in: 0...Self.mostPages)
        let bytes = UInt64(pages) << pageShift
        try archive.require(
            bytes == 0 || !base.addingReportingOverflow(bytes - 1).overflow, "expected \(bytes) bytes from the base on, found \(base)")
        try archive.flag(&isOutside)
        if archive.isLoading { words = Array(repeating: 0, count: (pages + 31) / 32) }
        try archive.integers(&words)
        let beyond = UInt32.max << UInt32((pages + 31) % 32 + 1)
        try archive.require((words.last ?? 0) & beyond == 0, "expected bits of \(pages) pages, found more")
        dirty = words.reduce(0) { $0 + $1.nonzeroBitCount }
    }
}
