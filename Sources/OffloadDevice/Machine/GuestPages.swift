import CClientMemory
import Glibc

/// Memory of another process, mapped from a file that it has shared. It may be cut short at any moment: what is gone then reads as zero and
/// takes writes without effect, and ``isCut`` says so.
public final class GuestPages: @unchecked Sendable {
    // Sendable: the addresses never change; what is in the memory is its users' affair.

    public let bytes: UnsafeMutableRawBufferPointer
    /// All that was mapped: files can be mapped from page boundaries only, and large pages' from theirs.
    private let mapping: UnsafeMutableRawBufferPointer
    /// Its place among the guarded ranges; nil of memory that nobody else has.
    private let ticket: Int32?

    /// Maps a part of a file. The descriptor may be closed afterwards.
    /// - Throws: what was expected, and what was found.
    public init(descriptor: Int32, offset: UInt64, count: UInt64) throws(GuestPagesError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .init("fstat: \(String(cString: strerror(errno)))") }
        guard status.st_mode & S_IFMT == S_IFREG else {
            throw .init("expected a file that can be mapped, found another kind of descriptor")
        }
        let (end, isTooLarge) = offset.addingReportingOverflow(count)
        guard count > 0, !isTooLarge, end <= UInt64(max(status.st_size, 0)) else {
            throw .init("expected \(count) bytes from \(offset) on, found a file of \(status.st_size)")
        }
        let length = Int(end)
        guard let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, descriptor, 0), base != MAP_FAILED else {
            throw .init("mmap of \(length) bytes: \(String(cString: strerror(errno)))")
        }
        mapping = .init(start: base, count: length)
        bytes = .init(start: base + Int(offset), count: Int(count))
        // Of a file on hugetlbfs, the block is the page.
        let ticket = cclient_guard(base, length, max(Int(status.st_blksize), 4096), -1)
        guard ticket >= 0 else {
            munmap(base, length)
            throw .init("expected a free guard for a mapping of others' memory, found all of them taken")
        }
        self.ticket = ticket
    }

    /// Zeroed memory of this process.
    public init(count: UInt64) throws(GuestPagesError) {
        guard count > 0, count <= 1 << 46,
            let base = mmap(nil, Int(count), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0),
            base != MAP_FAILED
        else { throw .init("mmap of \(count) bytes: \(String(cString: strerror(errno)))") }
        mapping = .init(start: base, count: Int(count))
        bytes = mapping
        ticket = nil
    }

    deinit {
        if let ticket { cclient_unguard(ticket) }
        munmap(mapping.baseAddress!, mapping.count)
    }

    /// The file has become shorter than what was mapped, and somebody has met that.
    public var isCut: Bool { ticket.map { cclient_is_lost($0) } ?? false }
}

extension GuestPages: Hashable {
    public static func == (a: GuestPages, b: GuestPages) -> Bool { a === b }
    public func hash(into hasher: inout Hasher) { hasher.combine(ObjectIdentifier(self)) }
}

/// Why memory of another process can't be mapped.
public struct GuestPagesError: Error, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}
