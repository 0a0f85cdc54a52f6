import Glibc
import Simulation

extension Snapshot {
    /// Writes the snapshot to a file, which is there as a whole or not at all: what had its name before stays until the last byte is on
    /// the medium.
    public func write(to path: String) throws(SnapshotError) {
        let temporary = "\(path).\(getpid()).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw Self.failure("open", temporary) }
        do throws(SnapshotError) {
            try Self.write(bytes, to: descriptor, temporary)
            guard fsync(descriptor) == 0 else { throw Self.failure("fsync", temporary) }
            guard rename(temporary, path) == 0 else { throw Self.failure("rename to \(path)", temporary) }
        } catch {
            close(descriptor)
            unlink(temporary)
            throw error
        }
        close(descriptor)
    }

    /// Reads a snapshot from a file, which is checked before anything is made of it.
    public init(contentsOf path: String) throws(SnapshotError) {
        let bytes = try Self.read(path)
        do throws(SnapshotError) {
            try self.init(bytes: bytes)
        } catch {
            throw SnapshotError("\(path): \(error)")
        }
    }

    private static func write(_ bytes: [UInt8], to descriptor: Int32, _ path: String) throws(SnapshotError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress! + done, $0.count - done) }
            if count < 0 {
                if errno == EINTR { continue }
                throw failure("write", path)
            }
            done += count
        }
    }

    private static func read(_ path: String) throws(SnapshotError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open", path) }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("fstat", path) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw SnapshotError("\(path): expected a regular file") }
        var bytes = [UInt8](repeating: 0, count: Int(status.st_size))
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress! + done, $0.count - done) }
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("read", path) }
            guard count > 0 else { throw SnapshotError("\(path): expected \(bytes.count) bytes, found \(done)") }
            done += count
        }
        return bytes
    }

    private static func failure(_ operation: String, _ path: String) -> SnapshotError {
        SnapshotError("\(path): \(operation) failed: \(String(cString: strerror(errno)))")
    }
}
