import CClientMemory
import Glibc
import PCIExpress

/// A part of a client's shared memory, mapped here for as long as this lives.
final class MappedPiece: ClientPiece {
    let memory: UnsafeMutableRawPointer
    private let count: Int
    private let keeper: Int32

    /// Largest piece that is mapped at once, and what its place in the file is a multiple of.
    static let limit: UInt64 = 1 << 30

    /// Maps a range of an area.
    /// - Parameter event: is raised when the file turns out to have become shorter.
    /// - Returns: nil if it is no file of memory, or this process may not map it.
    init?(_ process: ClientProcess, _ area: ClientArea, _ range: Range<UInt64>, event: Int32) {
        let file = process.file(of: area)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var status = stat(), page = 0
        // What isn't memory alone could make an access wait for another process: for a FUSE server, or for this one.
        guard fstat(file, &status) == 0, UInt64(status.st_ino) == area.inode, cclient_is_memory(file, &page) else { return nil }
        count = Int(range.upperBound - range.lowerBound)
        let protection = PROT_READ | (area.isWritable ? PROT_WRITE : 0)
        let offset = off_t(truncatingIfNeeded: area.offset &+ (range.lowerBound - area.start))
        guard let memory = mmap(nil, count, protection, MAP_SHARED, file, offset), memory != MAP_FAILED else { return nil }
        keeper = cclient_guard(memory, count, page, event)
        guard keeper >= 0 else {
            munmap(memory, count)
            return nil
        }
        self.memory = memory
    }

    deinit {
        cclient_unguard(keeper)
        munmap(memory, count)
    }

    /// Part of the file is gone.
    var isLost: Bool { cclient_is_lost(keeper) }

    // The domain has the memory itself.
    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool { false }
    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> Bool { false }
}

/// Memory that a client has for itself (heap, stack, private mappings): nobody else can map it, so each transfer is a system call.
final class RemotePiece: ClientPiece {
    private let process: ClientProcess
    /// What an I/O address and its virtual address differ by.
    private let difference: UInt64

    init(_ process: ClientProcess, ioAddress: UInt64, address: UInt64) {
        self.process = process
        difference = address &- ioAddress
    }

    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool { process.read(address &+ difference, into: bytes) }
    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> Bool { process.write(address &+ difference, from: bytes) }
}
