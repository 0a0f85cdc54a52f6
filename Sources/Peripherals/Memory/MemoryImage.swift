import CLinux
import Glibc

/// The contents of a memory at one moment. Images of one memory share the pages that didn't change between them, and pages of zeroes take
/// no room.
public struct MemoryImage: Sendable {
    public static let pageSize = 4096
    /// Pages that are shared or not as one: so an image of a large memory in which little changes is small, too.
    static let groupPages = 128

    /// A page's bytes, which never change once others can see them.
    final class Page: @unchecked Sendable {
        // Sendable: written by its maker alone, before it is anybody else's.
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: pageSize, alignment: 64)

        init(copying source: UnsafeRawPointer) { bytes.copyMemory(from: source, byteCount: pageSize) }
        deinit { bytes.deallocate() }
    }

    final class Group: Sendable {
        /// nil: zeroes.
        let pages: [Page?]
        init(_ pages: [Page?]) { self.pages = pages }
    }

    /// Bytes, a multiple of the page's.
    public let size: Int
    /// nil: zeroes.
    private(set) var groups: [Group?]

    /// Nothing but zeroes.
    /// - Parameter size: bytes, a multiple of the page's.
    public init(size: Int) {
        precondition(size % Self.pageSize == 0, "an image of whole pages")
        self.size = size
        groups = Array(repeating: nil, count: (size / Self.pageSize + Self.groupPages - 1) / Self.groupPages)
    }

    public var pageCount: Int { size / Self.pageSize }

    /// Pages that aren't all zeroes.
    public var storedPages: Int { groups.reduce(0) { $0 + ($1?.pages.count { $0 != nil } ?? 0) } }

    /// Pages that this image has and doesn't share with another one of the same memory.
    public func storedPages(notIn other: MemoryImage) -> Int {
        zip(groups, other.groups).reduce(0) { count, pair in
            guard let mine = pair.0, mine !== pair.1 else { return count }
            return count + mine.pages.indices.count { mine.pages[$0] != nil && mine.pages[$0] !== pair.1?.pages[$0] }
        }
    }

    /// Calls `body` for each run of neighbouring pages that aren't zero, at most `longest` of them at a time.
    public func forEachRun<Failure: Error>(
        longest: Int, _ body: (_ first: Int, _ pages: [UnsafeRawPointer]) throws(Failure) -> Void
    ) throws(Failure) {
        var run: [UnsafeRawPointer] = []
        var next = 0
        for (number, group) in groups.enumerated() {
            guard let group else { continue }
            for (place, page) in group.pages.enumerated() {
                guard let page else { continue }
                let index = number * Self.groupPages + place
                if !run.isEmpty, index != next || run.count == longest {
                    try body(next - run.count, run)
                    run.removeAll(keepingCapacity: true)
                }
                run.append(UnsafeRawPointer(page.bytes))
                next = index + 1
            }
        }
        if !run.isEmpty { try body(next - run.count, run) }
    }

    /// Replaces the pages from `first` on, which the memory has, by whole pages of bytes.
    public mutating func replace(_ first: Int, with bytes: [UInt8]) {
        bytes.withUnsafeBytes { bytes in
            for number in 0..<bytes.count / Self.pageSize {
                let source = bytes.baseAddress! + number * Self.pageSize
                let (group, place) = (first + number).quotientAndRemainder(dividingBy: Self.groupPages)
                var pages = groups[group]?.pages ?? Array(repeating: nil, count: Self.groupPages)
                pages[place] = source.isZeroPage ? nil : Page(copying: source)
                groups[group] = Group(pages)
            }
        }
    }

    /// Takes the group from memory, where it differs.
    /// - Parameters:
    ///   - memory: the memory's first byte.
    ///   - data: the pages that have any data; all others are zero, and not looked at.
    fileprivate mutating func update(group number: Int, from memory: UnsafeRawPointer, data: [Range<Int>]) {
        let old = groups[number]
        guard old != nil || !data.isEmpty else { return }
        let first = number * Self.groupPages
        var new: [Page?]?
        func set(_ place: Int, _ page: Page?) {
            if new == nil { new = old?.pages ?? Array(repeating: nil, count: Self.groupPages) }
            new![place] = page
        }
        var place = 0
        func clear(upTo end: Int) {
            while place < end {
                if old?.pages[place] != nil { set(place, nil) }
                place += 1
            }
        }
        for range in data {
            clear(upTo: range.lowerBound - first)
            while place < range.upperBound - first {
                let now = memory + (first + place) * Self.pageSize
                if let page = old?.pages[place] {
                    if memcmp(page.bytes, now, Self.pageSize) != 0 { set(place, now.isZeroPage ? nil : Page(copying: now)) }
                } else if !now.isZeroPage {
                    set(place, Page(copying: now))
                }
                place += 1
            }
        }
        clear(upTo: old == nil ? place : Self.groupPages)
        if let new { groups[number] = new.contains { $0 != nil } ? Group(new) : nil }
    }
}

extension UnsafeRawPointer {
    /// Whether the page that begins here is all zeroes.
    fileprivate var isZeroPage: Bool {
        loadUnaligned(as: UInt64.self) == 0 && memcmp(self, self + 8, MemoryImage.pageSize - 8) == 0
    }
}

extension MemoryPages {
    /// The memory's present contents.
    ///
    /// Harts, DMA and programs that have mapped the memory write it directly, so what changed is found by comparing. Pages that nobody
    /// has touched since the memory was made are known to the kernel and are not looked at.
    /// - Parameter previous: an image of this memory, whose pages the new one shares where they are the same.
    public func capture(after previous: MemoryImage? = nil) -> MemoryImage {
        var image = previous ?? MemoryImage(size: size)
        precondition(image.size == size, "an image of another memory")
        forEachGroup { image.update(group: $0, from: UnsafeRawPointer(bytes.baseAddress!), data: $1) }
        return image
    }

    /// Puts an image's contents into the memory, in place: who has mapped it sees them.
    /// - Parameters:
    ///   - image: of a memory of this size.
    ///   - changed: is given each run of pages that were not the same already, as offset and count of bytes.
    public func restore(_ image: MemoryImage, changed: (_ offset: Int, _ count: Int) -> Void = { _, _ in }) {
        precondition(image.size == size, "an image of another memory")
        let memory = bytes.baseAddress!
        var run = 0..<0
        forEachGroup { number, data in
            let group = image.groups[number]
            let first = number * MemoryImage.groupPages
            var data = data[...]
            for place in 0..<min(MemoryImage.groupPages, image.pageCount - first) {
                let page = first + place
                while let range = data.first, range.upperBound <= page { data.removeFirst() }
                let hasData = data.first?.contains(page) ?? false
                let now = memory + page * MemoryImage.pageSize
                if let stored = group?.pages[place] {
                    if hasData, memcmp(now, stored.bytes, MemoryImage.pageSize) == 0 { continue }
                    now.copyMemory(from: stored.bytes, byteCount: MemoryImage.pageSize)
                } else {
                    guard hasData, !UnsafeRawPointer(now).isZeroPage else { continue }
                    memset(now, 0, MemoryImage.pageSize)
                }
                if run.upperBound == page {
                    run = run.lowerBound..<page + 1
                } else {
                    if !run.isEmpty { changed(run.lowerBound * MemoryImage.pageSize, run.count * MemoryImage.pageSize) }
                    run = page..<page + 1
                }
            }
        }
        if !run.isEmpty { changed(run.lowerBound * MemoryImage.pageSize, run.count * MemoryImage.pageSize) }
    }

    /// Calls `body` for every group of pages, with those of its pages that have data.
    private func forEachGroup(_ body: (_ group: Int, _ data: [Range<Int>]) -> Void) {
        let pages = size / MemoryImage.pageSize
        var extent = nextData(from: 0)
        for group in 0..<(pages + MemoryImage.groupPages - 1) / MemoryImage.groupPages {
            let all = group * MemoryImage.groupPages..<min((group + 1) * MemoryImage.groupPages, pages)
            var data: [Range<Int>] = []
            while let range = extent, range.lowerBound < all.upperBound {
                data.append(range.clamped(to: all))
                guard range.upperBound <= all.upperBound else { break }
                extent = nextData(from: range.upperBound)
            }
            body(group, data)
        }
    }

    /// The first run of pages from `page` on that the kernel has data for; nil if there is none. A file system that doesn't tell has data
    /// everywhere.
    private func nextData(from page: Int) -> Range<Int>? {
        guard page * MemoryImage.pageSize < size else { return nil }
        let start = lseek(fileDescriptor, off_t(page * MemoryImage.pageSize), Int32(outrigger_seek_data))
        guard start >= 0 else { return errno == ENXIO ? nil : page..<size / MemoryImage.pageSize }
        guard start < off_t(size) else { return nil }
        let end = lseek(fileDescriptor, start, Int32(outrigger_seek_hole))
        let first = Int(start) / MemoryImage.pageSize
        let last = end < 0 ? size : min(Int(end), size)
        return first..<max((last + MemoryImage.pageSize - 1) / MemoryImage.pageSize, first + 1)
    }
}
