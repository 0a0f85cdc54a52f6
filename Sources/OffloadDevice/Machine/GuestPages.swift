import Glibc
import Synchronization

/// Memory of another process, mapped from a file that it has shared. It may be cut short at any moment: what is gone then reads as zero and
/// takes writes without effect, and ``isCut`` says so.
public final class GuestPages: @unchecked Sendable {
    // Sendable: the addresses never change; what is in the memory is its users' affair.

    public let bytes: UnsafeMutableRawBufferPointer
    /// All that was mapped: files can be mapped from page boundaries only, and large pages' from theirs.
    private let mapping: UnsafeMutableRawBufferPointer
    /// Its place among the guarded ranges; nil of memory that nobody else has.
    private let ticket: Int?

    /// Maps a part of a file. The descriptor may be closed afterwards.
    /// - Throws: what was expected, and what was found.
    public init(descriptor: Int32, offset: UInt64, count: UInt64) throws(GuestPagesError) {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .init("fstat: \(String(cString: strerror(errno)))") }
        guard status.st_mode & S_IFMT == S_IFREG else { throw .init("expected a file that can be mapped, found another kind of descriptor") }
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
        guard let ticket = FaultGuard.add(base, length, page: max(Int(status.st_blksize), 4096)) else {
            munmap(base, length)
            throw .init("expected less than \(FaultGuard.limit) mappings of others' memory, found them all taken")
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
        if let ticket { FaultGuard.remove(ticket) }
        munmap(mapping.baseAddress!, mapping.count)
    }

    /// The file has become shorter than what was mapped, and somebody has met that.
    public var isCut: Bool { ticket.map { FaultGuard.isHit($0) } ?? false }
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

/// Catches SIGBUS in guarded ranges, by putting empty memory where a file has ended. Everywhere else the signal is what it was.
private enum FaultGuard {
    /// Guarded ranges at a time.
    static let limit = 4096

    /// Read by the signal handler: plain memory that stays, in which the start is written last and taken away first.
    struct Entry {
        var start: UInt = 0
        var count: UInt = 0
        var page: UInt = 0
        var isHit: UInt = 0
    }

    nonisolated(unsafe) static let entries: UnsafeMutablePointer<Entry> = {
        let entries = UnsafeMutablePointer<Entry>.allocate(capacity: limit)
        entries.initialize(repeating: Entry(), count: limit)
        return entries
    }()
    /// What SIGBUS did before.
    nonisolated(unsafe) static var former = sigaction()
    nonisolated(unsafe) private static let lock: UnsafeMutablePointer<pthread_mutex_t> = {
        let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        pthread_mutex_init(lock, nil)
        return lock
    }()
    private static let isInstalled: Bool = {
        var action = sigaction()
        action.sa_flags = SA_SIGINFO
        action.__sigaction_handler.sa_sigaction = { signal, information, _ in FaultGuard.handle(signal, information) }
        return sigaction(SIGBUS, &action, &former) == 0
    }()

    /// - Returns: the range's place; nil if none is free.
    static func add(_ base: UnsafeMutableRawPointer, _ count: Int, page: Int) -> Int? {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        guard isInstalled, let place = (0..<limit).first(where: { entries[$0].count == 0 }) else { return nil }
        entries[place].count = UInt(count)
        entries[place].page = UInt(page)
        entries[place].isHit = 0
        atomicMemoryFence(ordering: .releasing)
        entries[place].start = UInt(bitPattern: base)
        return place
    }

    static func remove(_ place: Int) {
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        entries[place].start = 0
        atomicMemoryFence(ordering: .releasing)
        entries[place].count = 0
    }

    static func isHit(_ place: Int) -> Bool { entries[place].isHit != 0 }

    /// In a signal handler: plain memory and system calls only.
    static func handle(_ signal: Int32, _ information: UnsafeMutablePointer<siginfo_t>?) {
        let address = UInt(bitPattern: information?.pointee._sifields._sigfault.si_addr)
        for place in 0..<limit {
            let (start, count, page) = (entries[place].start, entries[place].count, entries[place].page)
            guard start != 0, address &- start < count else { continue }
            // In the middle of what follows nothing is mapped: another thread's fault there would be a SIGSEGV, so it is one call.
            let from = UnsafeMutableRawPointer(bitPattern: start &+ (address &- start) / page &* page)
            let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE
            guard mmap(from, Int(page), PROT_READ | PROT_WRITE, flags, -1, 0) == from else { break }
            entries[place].isHit = 1
            return
        }
        // Not ours: the access is made again, and has the consequence that it had before.
        sigaction(signal, &former, nil)
    }
}
