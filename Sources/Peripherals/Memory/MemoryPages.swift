import CLinux
import Glibc

/// Page-aligned memory that other programs can map: an anonymous file in memory (memfd), or a file.
///
/// Pages that nobody has touched take no memory.
public final class MemoryPages: @unchecked Sendable {
    // Sendable: descriptor and address never change; what is in the memory is its users' affair.

    public let name: String
    /// For mmap by other programs; closed with the object.
    public let fileDescriptor: Int32
    public let bytes: UnsafeMutableRawBufferPointer

    public var size: Int { bytes.count }

    /// Zeroed anonymous memory.
    /// - Parameter size: bytes, rounded up to whole pages.
    public init(name: String, size: Int) throws(MemoryPagesError) {
        let fileDescriptor = memfd_create(name, UInt32(outrigger_memfd_cloexec))
        guard fileDescriptor >= 0 else { throw .init(name: name, operation: "memfd_create", code: errno) }
        let size = Self.wholePages(size)
        guard ftruncate(fileDescriptor, off_t(size)) == 0 else {
            let code = errno
            close(fileDescriptor)
            throw .init(name: name, operation: "ftruncate to \(size) bytes", code: code)
        }
        self.name = name
        self.fileDescriptor = fileDescriptor
        bytes = try Self.map(fileDescriptor, size, name)
    }

    /// The contents of a file, which is made, or made longer, if it has to be.
    /// - Parameter size: bytes, rounded up to whole pages.
    public init(path: String, size: Int) throws(MemoryPagesError) {
        let fileDescriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard fileDescriptor >= 0 else { throw .init(name: path, operation: "open", code: errno) }
        let size = Self.wholePages(size)
        var status = stat()
        guard fstat(fileDescriptor, &status) == 0, Int(status.st_size) >= size || ftruncate(fileDescriptor, off_t(size)) == 0 else {
            let code = errno
            close(fileDescriptor)
            throw .init(name: path, operation: "make \(size) bytes long", code: code)
        }
        name = path
        self.fileDescriptor = fileDescriptor
        bytes = try Self.map(fileDescriptor, size, path)
    }

    deinit {
        munmap(bytes.baseAddress!, bytes.count)
        close(fileDescriptor)
    }

    private static func wholePages(_ size: Int) -> Int { (max(size, 1) + 4095) & ~4095 }

    private static func map(
        _ fileDescriptor: Int32, _ size: Int, _ name: String
    ) throws(MemoryPagesError) -> UnsafeMutableRawBufferPointer {
        let address = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, fileDescriptor, 0)
        guard let address, address != MAP_FAILED else {
            let code = errno
            close(fileDescriptor)
            throw MemoryPagesError(name: name, operation: "mmap of \(size) bytes", code: code)
        }
        return UnsafeMutableRawBufferPointer(start: address, count: size)
    }
}

/// The kernel refused memory.
public struct MemoryPagesError: Error, Hashable, CustomStringConvertible {
    /// The memory's name or the file's path.
    public var name: String
    public var operation: String
    /// `errno`.
    public var code: Int32

    public var description: String { "memory '\(name)': \(operation) failed: \(String(cString: strerror(code)))" }
}
