import Glibc
import OffloadDevice
import Simulation

/// Serves debuggers, one after the other, on a socket of this machine. docs/debugging.md is for those who use it.
///
/// While a client is connected the device stops and goes on as it says; a client that leaves, or vanishes, leaves a device that runs.
public final class DebugServer: @unchecked Sendable {
    // Sendable: the thread's own state is touched by the thread alone; the rest never changes after init, but for `thread`, which
    // start() and stop() use from whoever owns the server.

    /// Where clients connect.
    public enum Endpoint: Hashable, Sendable {
        case unixSocket(path: String)
        /// 127.0.0.1; port 0 is any that is free.
        case loopback(port: UInt16)

        /// A port number, or else a path.
        public init(_ text: String) {
            self = UInt16(text).map { .loopback(port: $0) } ?? .unixSocket(path: text)
        }
    }

    public let endpoint: Endpoint
    private let target: any DebugTarget
    private let listener: Int32
    /// Becomes readable when the harts have stopped, and when the server is to end.
    private let stops: Notifier, end: Notifier
    private var thread: pthread_t?

    /// Listens; nobody is served before ``start()``.
    public init(_ target: any DebugTarget, at endpoint: Endpoint) throws(DebugServerError) {
        self.target = target
        stops = try Notifier()
        end = try Notifier()
        (listener, self.endpoint) = try Sockets.listen(at: endpoint)
    }

    deinit {
        stop()
        close(listener)
        if case .unixSocket(let path) = endpoint { unlink(path) }
    }

    /// Starts the server's thread.
    public func start() throws(DebugServerError) {
        guard thread == nil else { return }
        var identity = pthread_t()
        // The thread is joined in stop(), before the server can go.
        let status = pthread_create(&identity, nil, { context in
            Unmanaged<DebugServer>.fromOpaque(context!).takeUnretainedValue().run()
            return nil
        }, Unmanaged.passUnretained(self).toOpaque())
        guard status == 0 else { throw DebugServerError("a thread for the debug server", code: status) }
        thread = identity
    }

    /// Disconnects the client and ends the server's thread. The harts go on.
    public func stop() {
        guard let thread else { return }
        end.signal()
        pthread_join(thread, nil)
        self.thread = nil
    }

    private func run() {
        while wait(for: listener) == .bytes {
            let client = accept(listener, nil, nil)
            guard client >= 0 else { continue }
            Sockets.configure(client)
            serve(client)
            close(client)
        }
    }

    private enum Event { case bytes, stop, end, nothing }

    /// Waits for bytes from a socket or, of a client, for a stop of the harts.
    /// - Parameter milliseconds: how long; -1: as long as it takes.
    private func wait(for socket: Int32, milliseconds: Int32 = -1) -> Event {
        var descriptors = [end.descriptor, socket, stops.descriptor].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        while true {
            let count = poll(&descriptors, socket == listener ? 2 : 3, milliseconds)
            if count == 0 { return .nothing }
            guard count > 0 || errno == EINTR, descriptors[0].revents == 0 else { return .end }
            if socket != listener, descriptors[2].revents != 0 { return .stop }
            if descriptors[1].revents != 0 { return .bytes }
        }
    }

    private func serve(_ client: Int32) {
        target.attach(onStop: stops.signal)
        defer { target.detach() }
        var isConnected = true, isPrepared = false
        var session = DebugSession(target) { [self] in isConnected = isConnected && send($0, to: client) }
        var buffer = [UInt8](repeating: 0, count: 4096)
        while isConnected, !session.isOver {
            switch wait(for: client, milliseconds: isPrepared ? -1 : Self.leisure) {
            case .end: return
            case .bytes:
                let count = recv(client, &buffer, buffer.count, 0)
                if count < 0, errno == EINTR || errno == EAGAIN { continue }
                guard count > 0 else { return }
                isPrepared = false
                target.mayGoOn = patience(with: client)
                session.receive(buffer[..<count])
            case .stop:
                isPrepared = false
                stops.clear()
                session.reportStop()
            case .nothing:
                isPrepared = true
                target.mayGoOn = { [self] in wait(for: client, milliseconds: 0) == .nothing }
                target.prepare()
            }
        }
    }

    /// Milliseconds without a packet after which nobody is thought to be in a hurry.
    private static let leisure: Int32 = 50
    /// Nanoseconds between signs of life; GDB waits for two seconds.
    private static let signInterval: UInt64 = 500_000_000

    /// What a command that takes long asks now and then: the client gets an empty console packet, which it takes instead of any answer and
    /// waits anew, unless it is gone or has sent an interrupt.
    private func patience(with client: Int32) -> () -> Bool {
        var last = WallClock.now
        return { [self] in
            guard WallClock.now &- last >= Self.signInterval else { return true }
            last = WallClock.now
            return !isInterrupted(client) && send(encodePacket([UInt8(ascii: "O")]), to: client)
        }
    }

    private func isInterrupted(_ client: Int32) -> Bool {
        if wait(for: client, milliseconds: 0) == .end { return true }
        var bytes = [UInt8](repeating: 0, count: 256)
        let count = recv(client, &bytes, bytes.count, Int32(MSG_PEEK | MSG_DONTWAIT))
        return count == 0 || count > 0 && bytes[..<count].contains(PacketDecoder.interrupt)
    }

    /// - Returns: false if the client is gone or the server is to end.
    private func send(_ bytes: [UInt8], to client: Int32) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.send(client, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL)) }
            if count >= 0 {
                sent += count
            } else if errno == EAGAIN {
                var descriptors = [
                    pollfd(fd: end.descriptor, events: Int16(POLLIN), revents: 0), pollfd(fd: client, events: Int16(POLLOUT), revents: 0),
                ]
                guard poll(&descriptors, 2, -1) >= 0 || errno == EINTR, descriptors[0].revents == 0 else { return false }
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

/// The server can't be set up.
public struct DebugServerError: Error, Hashable, CustomStringConvertible {
    /// What was tried.
    public var operation: String
    /// `errno`.
    public var code: Int32

    init(_ operation: String, code: Int32 = errno) {
        self.operation = operation
        self.code = code
    }

    public var description: String { "\(operation): \(String(cString: strerror(code)))" }
}
