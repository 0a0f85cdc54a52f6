import Glibc

/// Which process a thread belongs to: FUSE names the calling thread, the trace names processes.
///
/// Looked up once per thread, in `/proc/THREAD/status`, and forgotten when any file is closed: a number can only come to mean another
/// thread after its process has ended, which closes its files.
final class ProcessIdentities {
    private var known: [UInt32: UInt32] = [:]

    /// The process's id; the thread's own if it can't be found out.
    func process(of thread: UInt32) -> UInt32 {
        if let process = known[thread] { return process }
        let process = Self.threadGroup(of: thread) ?? thread
        known[thread] = process
        return process
    }

    func forget() {
        if !known.isEmpty { known.removeAll(keepingCapacity: true) }
    }

    private static func threadGroup(of thread: UInt32) -> UInt32? {
        let file = open("/proc/\(thread)/status", O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 512)
        let count = read(file, &bytes, bytes.count)
        guard count > 0 else { return nil }
        for line in String(decoding: bytes[..<count], as: UTF8.self).split(separator: "\n") where line.hasPrefix("Tgid:") {
            return UInt32(line.dropFirst(5).drop(while: \.isWhitespace))
        }
        return nil
    }
}
