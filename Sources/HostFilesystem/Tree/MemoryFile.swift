import CFUSESession
import Glibc

/// Memory that the emulator and, through a mapped file, host programs share.
public final class MemoryFile {
    /// What the emulator sees: the whole memory, all zero at first. Valid as long as this object.
    public let bytes: UnsafeMutableRawBufferPointer
    /// What a ``Mapping`` names.
    public let fileDescriptor: Int32

    /// - Parameter name: for people who look at the process's mappings.
    public init(_ name: String, size: Int) throws(Errno) {
        fileDescriptor = cfuse_memory_file(name, size)
        guard fileDescriptor >= 0 else { throw Errno(rawValue: errno) }
        guard let start = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, fileDescriptor, 0), start != MAP_FAILED else {
            let error = errno
            Glibc.close(fileDescriptor)
            throw Errno(rawValue: error)
        }
        bytes = UnsafeMutableRawBufferPointer(start: start, count: size)
    }

    deinit {
        munmap(bytes.baseAddress, bytes.count)
        Glibc.close(fileDescriptor)
    }
}
