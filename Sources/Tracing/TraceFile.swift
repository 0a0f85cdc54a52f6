import Glibc

/// A file of a stored trace, for reading.
final class TraceFile: Sendable {
    let path: String
    let size: Int
    private let descriptor: Int32

    init(_ path: String) throws(TraceError) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw TraceError(path, errno) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw TraceError(path, errno) }
        guard status.st_mode & S_IFMT == S_IFREG else { throw TraceError("\(path): a file expected, something else found") }
        size = Int(status.st_size)
    }

    deinit { close(descriptor) }

    /// At most `count` bytes from `offset` on; fewer at the end of the file.
    func bytes(at offset: Int, count: Int) throws(TraceError) -> [UInt8] {
        var failure: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, used in
            while used < count {
                let got = pread(descriptor, buffer.baseAddress! + used, count - used, off_t(offset + used))
                if got == 0 { break }
                if got > 0 {
                    used += got
                } else if errno != EINTR {
                    failure = errno
                    break
                }
            }
        }
        guard failure == 0 else { throw TraceError(path, failure) }
        return bytes
    }

    /// All of it.
    func contents() throws(TraceError) -> [UInt8] { try bytes(at: 0, count: size) }

    /// The names in a folder, sorted; none if it isn't there.
    static func names(in folder: String) throws(TraceError) -> [String] {
        guard let directory = opendir(folder) else {
            if errno == ENOENT { return [] }
            throw TraceError(folder, errno)
        }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            })
        }
        return names.filter { $0 != "." && $0 != ".." }.sorted()
    }
}

extension TraceError {
    /// What the system says about a path.
    init(_ path: String, _ code: Int32) { self.init("\(path): \(String(cString: strerror(code)))") }
}
