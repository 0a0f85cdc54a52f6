import Glibc

/// What a hart remembers of each 4 KiB page of its address space, one set for each privilege: where the page's memory is if
/// loads or stores may go straight to it, and what the PMP says about the whole page.
///
/// Flat tables, indexed by page number: looking a page up is one load. They are allocated zeroed, so the system backs only
/// the parts that are used.
struct PageTables {
    /// One entry per page: the host's address of the page's memory less the page's own address, 0 to go the long way.
    typealias Entries = UnsafeMutablePointer<UInt>

    /// Permission bits of a page as in a PMP configuration byte, with `isKnown` once looked up.
    typealias Attributes = UnsafeMutablePointer<UInt8>
    static let isKnown: UInt8 = 0x80
    /// The permissions are not the same for all of the page: each access has to be looked up.
    static let isMixed: UInt8 = 0x40
    /// There is no plain memory: all accesses go to the port.
    static let isOutsideMemory: UInt8 = 0x20

    private static let pageCount = 1 << 20

    let userReads, userWrites, machineReads, machineWrites: Entries
    let userAttributes, machineAttributes: Attributes

    /// The pages that have anything but zeroes, so that emptying the tables costs as much as filling them did.
    private let filled: UnsafeMutablePointer<UInt32>
    private var filledCount = 0
    private static let filledLimit = 8192

    init() {
        userReads = Self.zeroed(Self.pageCount)
        userWrites = Self.zeroed(Self.pageCount)
        machineReads = Self.zeroed(Self.pageCount)
        machineWrites = Self.zeroed(Self.pageCount)
        userAttributes = Self.zeroed(Self.pageCount)
        machineAttributes = Self.zeroed(Self.pageCount)
        filled = .allocate(capacity: Self.filledLimit)
    }

    func deallocate() {
        for entries in [userReads, userWrites, machineReads, machineWrites] { free(entries) }
        free(userAttributes)
        free(machineAttributes)
        filled.deallocate()
    }

    private static func zeroed<T>(_ count: Int) -> UnsafeMutablePointer<T> {
        calloc(count, MemoryLayout<T>.stride)!.bindMemory(to: T.self, capacity: count)
    }

    @inline(__always)
    func reads(_ privilege: Privilege) -> Entries { privilege == .machine ? machineReads : userReads }

    @inline(__always)
    func writes(_ privilege: Privilege) -> Entries { privilege == .machine ? machineWrites : userWrites }

    @inline(__always)
    func attributes(_ privilege: Privilege) -> Attributes { privilege == .machine ? machineAttributes : userAttributes }

    /// Notes that a page is about to get its first content since the last ``removeAll()``.
    mutating func willFill(_ page: UInt32) {
        if userAttributes[Int(page)] | machineAttributes[Int(page)] != 0 { return }
        if filledCount == Self.filledLimit { removeAll() }
        filled[filledCount] = page
        filledCount += 1
    }

    mutating func removeAll() {
        for index in 0..<filledCount {
            let page = Int(filled[index])
            userReads[page] = 0
            userWrites[page] = 0
            machineReads[page] = 0
            machineWrites[page] = 0
            userAttributes[page] = 0
            machineAttributes[page] = 0
        }
        filledCount = 0
    }

    /// Makes accesses to these pages go the long way again.
    func drop(page: UInt32, count: Int, writesOnly: Bool) {
        for page in Int(page)..<(Int(page) + count) {
            userWrites[page] = 0
            machineWrites[page] = 0
            guard !writesOnly else { continue }
            userReads[page] = 0
            machineReads[page] = 0
        }
    }
}

extension PageTables.Entries {
    /// Where the bytes at a naturally aligned address are; nil if the access has to go the long way.
    ///
    /// An entry is only there while the page's memory is, which the owner of a region keeps in place.
    @inline(__always)
    func place(_ address: UInt32, alignedTo size: UInt32 = 1) -> UnsafeMutableRawPointer? {
        let entry = self[Int(address &>> 12)]
        guard entry != 0, address & (size &- 1) == 0 else { return nil }
        return UnsafeMutableRawPointer(bitPattern: entry &+ UInt(address)).unsafelyUnwrapped
    }
}
