import CLinux
import Glibc
import OffloadDevice
import Synchronization

/// Why a socket can't be served.
public struct VhostUserError: Error, CustomStringConvertible {
    public let description: String
    init(_ description: String) { self.description = description }
}

/// A vhost-user back-end: gives one virtio function of a machine to the front-ends that connect to a Unix socket, one after the other.
public final class VhostUserServer: @unchecked Sendable {
    // Sendable: what changes is touched by the server's thread alone, or under `current`'s lock, or before the thread starts.

    public let path: String
    private let machine: Machine
    private let function: Int
    private let polling: UInt64
    private let log: @Sendable (String) -> Void
    private let listener: Int32
    private let wake: EventDescriptor
    private let isStopping = Atomic<Bool>(false)
    private let current = Mutex<Connection?>(nil)
    private var thread: pthread_t?

    /// Makes the socket; one that a killed server has left is replaced.
    /// - Parameters:
    ///   - function: PCI index of a virtio function with a disk or a network.
    ///   - polling: nanoseconds to look for the next kick after each before sleeping.
    ///   - log: is given one line for each front-end that comes, goes, or is turned away.
    public init(
        _ machine: Machine, function: Int, path: String, polling: UInt64, log: @escaping @Sendable (String) -> Void
    ) throws(VhostUserError) {
        let kind = machine.inspect { device in device.virtioFunction(function).map { $0.block != nil || $0.network != nil } }
        guard kind == true else {
            throw VhostUserError("\(path): expected a function with a disk or a network, found \(kind == nil ? "no function" : "another")")
        }
        guard machine.pace != .lockstep else {
            throw VhostUserError("\(path): expected a pace at which device time moves by itself, found lockstep")
        }
        do throws(ProtocolError) {
            wake = try EventDescriptor()
        } catch {
            throw VhostUserError("\(path): \(error)")
        }
        self.machine = machine
        self.function = function
        self.path = path
        self.polling = polling
        self.log = log
        listener = try Self.listen(at: path)
    }

    deinit {
        stop()
        close(listener)
        wake.closeDescriptor()
    }

    private static func listen(at path: String) throws(VhostUserError) -> Int32 {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard path.utf8.count < capacity, !path.isEmpty else {
            throw VhostUserError("\(path): expected a path of 1 to \(capacity - 1) bytes, found \(path.utf8.count)")
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let descriptor = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { throw VhostUserError("socket: \(String(cString: strerror(errno)))") }
        func call(_ function: (Int32, UnsafePointer<sockaddr>, socklen_t) -> Int32, _ descriptor: Int32) -> Int32 {
            withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { function(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }
            }
        }
        // A socket that nobody listens at is a killed server's.
        var status = stat()
        if lstat(path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK {
            let probe = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
            if call(connect, probe) != 0, errno == ECONNREFUSED { unlink(path) }
            close(probe)
        }
        guard call(bind, descriptor) == 0, Glibc.listen(descriptor, 4) == 0 else {
            let code = errno
            close(descriptor)
            throw VhostUserError("\(path): \(String(cString: strerror(code)))")
        }
        return descriptor
    }

    /// Serves front-ends from now on, on a thread of its own.
    public func start() {
        guard thread == nil else { return }
        var identity = pthread_t()
        // The thread is joined in stop(), before the server can go.
        let status = pthread_create(&identity, nil, { context in
            Unmanaged<VhostUserServer>.fromOpaque(context!).takeUnretainedValue().run()
            return nil
        }, Unmanaged.passUnretained(self).toOpaque())
        if status == 0 { thread = identity }
    }

    /// Ends the connection, if there is one, and removes the socket. Not under the machine's lock.
    public func stop() {
        guard let thread else { return }
        isStopping.store(true, ordering: .sequentiallyConsistent)
        current.withLock { $0?.interrupt() }
        wake.signal()
        pthread_join(thread, nil)
        self.thread = nil
        unlink(path)
    }

    private func run() {
        while !isStopping.load(ordering: .sequentiallyConsistent) {
            var events = [wake.descriptor, listener].map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
            guard poll(&events, 2, -1) > 0, events[0].revents == 0 else {
                wake.clear()
                continue
            }
            let descriptor = accept4(listener, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
            if descriptor >= 0 { serve(Connection(descriptor)) }
        }
    }

    private func serve(_ connection: Connection) {
        current.withLock { $0 = connection }
        defer { current.withLock { $0 = nil } }
        do throws(ProtocolError) {
            let session = try Session(machine, function: function, connection, wake: wake, polling: polling)
            defer { session.end() }
            log("\(path): a front-end has connected")
            try session.run { isStopping.load(ordering: .sequentiallyConsistent) }
            log("\(path): the front-end has gone")
        } catch {
            log("\(path): the connection is ended: \(error)")
        }
    }
}
