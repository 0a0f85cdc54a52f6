import CLinux
import Glibc

/// An eventfd of the front-end's: kicks come by one, interrupts go by one.
struct EventDescriptor {
    let descriptor: Int32

    /// Takes the descriptor over; anything but an eventfd is refused, and left alone: writing to it could block, or end the process.
    init(_ descriptor: Int32) throws(ProtocolError) {
        var name = [CChar](repeating: 0, count: 64)
        let count = readlink("/proc/self/fd/\(descriptor)", &name, name.count - 1)
        let kind = String(decoding: name.prefix(max(count, 0)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard kind == "anon_inode:[eventfd]" else { throw ProtocolError("expected an eventfd, found '\(kind)'") }
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        self.descriptor = descriptor
    }

    /// Makes one.
    init() throws(ProtocolError) {
        descriptor = eventfd(0, Int32(outrigger_efd_nonblock | outrigger_efd_cloexec))
        guard descriptor >= 0 else { throw ProtocolError("eventfd: \(String(cString: strerror(errno)))") }
    }

    func signal() {
        var one: UInt64 = 1
        // A front-end that doesn't read doesn't need another.
        _ = write(descriptor, &one, 8)
    }

    /// Forgets what was signalled.
    func clear() {
        var count: UInt64 = 0
        _ = read(descriptor, &count, 8)
    }

    func closeDescriptor() { close(descriptor) }
}
