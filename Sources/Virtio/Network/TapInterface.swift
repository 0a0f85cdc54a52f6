import Glibc
import Simulation

/// A TAP interface of the host (Linux: Documentation/networking/tuntap.rst): frames that the host sends through it can be read, frames that
/// are written are received by the host.
public final class TapInterface: @unchecked Sendable {
    // Sendable: the descriptors don't change, and the system calls on them can be made by several threads at a time.

    public let name: String
    private let descriptor: Int32
    /// Wakes the reader for its end.
    private let wake: (read: Int32, write: Int32)
    private var thread: pthread_t?
    private var handler: (@Sendable ([UInt8]) -> Void)?

    private static let setInterface: UInt = 0x4004_54ca
    /// IFF_TAP, and IFF_NO_PI: nothing in front of the frames.
    private static let flags: UInt16 = 0x0002 | 0x1000
    private static let longestFrame = 65_535

    /// Opens an interface, which is made if it isn't there and the process may.
    /// - Parameter name: 1 to 15 characters.
    public init(name: String) throws(NetworkBackendError) {
        let descriptor = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw .system(call: "open", path: "/dev/net/tun", errno: errno) }
        // struct ifreq: the name, then the flags.
        var request = [UInt8](repeating: 0, count: 40)
        for (place, byte) in name.utf8.prefix(15).enumerated() { request[place] = byte }
        (request[16], request[17]) = (UInt8(truncatingIfNeeded: Self.flags), UInt8(Self.flags >> 8))
        guard request.withUnsafeMutableBytes({ ioctl(descriptor, Self.setInterface, $0.baseAddress!) }) == 0 else {
            let code = errno
            close(descriptor)
            throw .system(call: "TUNSETIFF", path: name, errno: code)
        }
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else {
            let code = errno
            close(descriptor)
            throw .system(call: "pipe", path: name, errno: code)
        }
        self.name = name
        self.descriptor = descriptor
        wake = (ends[0], ends[1])
    }

    deinit {
        stop()
        for end in [descriptor, wake.read, wake.write] { close(end) }
    }

    /// Gives the host a frame. One that it doesn't take, because the interface is down or its queue full, is lost, as on any wire.
    public func send(_ frame: UnsafeRawBufferPointer) {
        _ = Glibc.write(descriptor, frame.baseAddress, frame.count)
    }

    /// Calls `handler` with each frame of the host's from now on, on a thread of its own.
    public func start(_ handler: @escaping @Sendable ([UInt8]) -> Void) {
        guard thread == nil else { return }
        self.handler = handler
        var identity = pthread_t()
        // The thread is joined in stop(), before the interface can go.
        let status = pthread_create(&identity, nil, { context in
            Unmanaged<TapInterface>.fromOpaque(context!).takeUnretainedValue().run()
            return nil
        }, Unmanaged.passUnretained(self).toOpaque())
        if status == 0 { thread = identity }
    }

    /// Returns when the handler is called no more.
    public func stop() {
        guard let thread else { return }
        var byte: UInt8 = 0
        _ = Glibc.write(wake.write, &byte, 1)
        pthread_join(thread, nil)
        self.thread = nil
        _ = Glibc.read(wake.read, &byte, 1)
    }

    private func run() {
        var frame = [UInt8](repeating: 0, count: Self.longestFrame)
        while true {
            var events = [descriptor, wake.read].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&events, 2, -1) >= 0 || errno == EINTR, events[1].revents == 0 else { return }
            while true {
                let count = Glibc.read(descriptor, &frame, frame.count)
                guard count > 0 else {
                    // An interface that went away stays so.
                    if count < 0, errno != EAGAIN, errno != EINTR { return }
                    break
                }
                handler?(Array(frame[..<count]))
            }
        }
    }
}
