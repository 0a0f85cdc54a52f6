import CLinux
import Glibc

/// A medium in a file or on a block device of the machine that the emulator runs on.
public final class FileBackend: BlockBackend {
    public let path: String
    public let byteCount: UInt64
    public let isReadOnly: Bool
    private let descriptor: Int32

    /// Opens an existing file. Its size is the medium's and doesn't change.
    public init(path: String, isReadOnly: Bool = false) throws(BackendError) {
        let descriptor = open(path, (isReadOnly ? O_RDONLY : O_RDWR) | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system(call: "open", path: path, errno: errno) }
        do throws(BackendError) {
            byteCount = try Self.size(of: descriptor, path)
        } catch {
            close(descriptor)
            throw error
        }
        self.path = path
        self.isReadOnly = isReadOnly
        self.descriptor = descriptor
    }

    deinit {
        close(descriptor)
    }

    private static func size(of descriptor: Int32, _ path: String) throws(BackendError) -> UInt64 {
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw .system(call: "fstat", path: path, errno: errno) }
        let kind = status.st_mode & S_IFMT
        guard kind == S_IFREG || kind == S_IFBLK else { throw .notAFile(path: path) }
        // fstat gives no size for a block device; its end does.
        let end = lseek(descriptor, 0, SEEK_END)
        guard end >= 0 else { throw .system(call: "lseek", path: path, errno: errno) }
        guard end > 0, end % 512 == 0 else { throw .size(path: path, bytes: UInt64(end)) }
        return UInt64(end)
    }

    public func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(BackendError) {
        var done = 0
        while done < bytes.count {
            let count = pread(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(position) + off_t(done))
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(call: "pread", path: path, errno: errno)
            }
            guard count > 0 else { throw .truncated(path: path, position: position + UInt64(done)) }
            done += count
        }
    }

    public func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(BackendError) {
        guard !isReadOnly else { throw .readOnly(path: path) }
        var done = 0
        while done < bytes.count {
            let count = pwrite(descriptor, bytes.baseAddress! + done, bytes.count - done, off_t(position) + off_t(done))
            if count < 0 {
                if errno == EINTR { continue }
                throw .system(call: "pwrite", path: path, errno: errno)
            }
            done += count
        }
    }

    public func flush() throws(BackendError) {
        while fdatasync(descriptor) != 0 {
            guard errno == EINTR else { throw .system(call: "fdatasync", path: path, errno: errno) }
        }
    }

    public func discard(_ position: UInt64, count: UInt64) throws(BackendError) {
        guard !isReadOnly else { throw .readOnly(path: path) }
        // A hint: a file system that can't punch holes keeps the bytes.
        _ = try changeSpace(unmapping: true, position, count)
    }

    public func writeZeroes(_ position: UInt64, count: UInt64, mayUnmap: Bool) throws(BackendError) {
        guard !isReadOnly else { throw .readOnly(path: path) }
        if try changeSpace(unmapping: mayUnmap, position, count) { return }
        let zeroes = UnsafeMutableRawBufferPointer.allocate(byteCount: Int(min(count, 1 << 20)), alignment: 4096)
        defer { zeroes.deallocate() }
        zeroes.initializeMemory(as: UInt8.self, repeating: 0)
        var done: UInt64 = 0
        while done < count {
            let piece = Int(min(count - done, UInt64(zeroes.count)))
            try write(position + done, from: UnsafeRawBufferPointer(rebasing: zeroes[..<piece]))
            done += UInt64(piece)
        }
    }

    /// False if the file system has no such operation.
    private func changeSpace(unmapping: Bool, _ position: UInt64, _ count: UInt64) throws(BackendError) -> Bool {
        let mode = unmapping ? outrigger_falloc_punch_hole | outrigger_falloc_keep_size : outrigger_falloc_zero_range
        while fallocate(descriptor, Int32(mode), Int(position), Int(count)) != 0 {
            switch errno {
            case EINTR: continue
            case EOPNOTSUPP, ENOSYS, EINVAL: return false
            default: throw .system(call: "fallocate", path: path, errno: errno)
            }
        }
        return true
    }
}

extension BackendError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .system(let call, let path, let code): "\(path): \(call) failed: \(String(cString: strerror(code)))"
        case .size(let path, let bytes): "\(path): expected a positive multiple of 512 bytes, found \(bytes)"
        case .notAFile(let path): "\(path): expected a regular file or a block device"
        case .truncated(let path, let position): "\(path): ends at byte \(position), within the medium"
        case .readOnly(let path): "\(path): the medium is read-only"
        }
    }
}
