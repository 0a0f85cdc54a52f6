import Glibc

/// A pipe by which one thread wakes another from poll().
final class Notifier: Sendable {
    let descriptor: Int32
    private let input: Int32

    init() throws(DebugServerError) {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw DebugServerError("pipe") }
        (descriptor, input) = (ends[0], ends[1])
        for end in ends {
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
        }
    }

    deinit {
        close(descriptor)
        close(input)
    }

    /// Makes the descriptor readable; allowed at any time and from any thread.
    @Sendable func signal() {
        var byte: UInt8 = 0
        // A full pipe is readable already.
        _ = write(input, &byte, 1)
    }

    func clear() {
        var bytes = [UInt8](repeating: 0, count: 64)
        while read(descriptor, &bytes, bytes.count) > 0 {}
    }
}

enum Sockets {
    /// A socket that listens, and where; what a server that was killed has left in the file system is replaced.
    static func listen(at endpoint: DebugServer.Endpoint) throws(DebugServerError) -> (Int32, DebugServer.Endpoint) {
        switch endpoint {
        case .unixSocket(let path): (try listen(path: path), endpoint)
        case .loopback(let port): try listen(port: port)
        }
    }

    /// A socket that is connected to one that listens.
    static func connect(to endpoint: DebugServer.Endpoint) throws(DebugServerError) -> Int32 {
        switch endpoint {
        case .unixSocket(let path):
            var address = try self.address(path)
            let socket = try make(AF_UNIX, path)
            guard withAddress(&address, { Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size)) }) == 0 else {
                throw failed(socket, path)
            }
            return socket
        case .loopback(let port):
            var address = self.address(port)
            let socket = try make(AF_INET, "port \(port)")
            guard withAddress(&address, { Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }) == 0 else {
                throw failed(socket, "port \(port)")
            }
            return socket
        }
    }

    private static func address(_ path: String) throws(DebugServerError) -> sockaddr_un {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let capacity = MemoryLayout.size(ofValue: address.sun_path)
        guard !path.isEmpty, path.utf8.count < capacity else { throw DebugServerError("debug socket '\(path)'", code: ENAMETOOLONG) }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        return address
    }

    private static func address(_ port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        return address
    }

    private static func listen(path: String) throws(DebugServerError) -> Int32 {
        var address = try self.address(path)
        let (length, family) = (socklen_t(MemoryLayout<sockaddr_un>.size), AF_UNIX)
        let abandoned = try make(family, "debug socket \(path)")
        let status = withAddress(&address) { Glibc.connect(abandoned, $0, length) }
        if status != 0, errno == ECONNREFUSED { unlink(path) }
        close(abandoned)
        let socket = try make(family, "debug socket \(path)")
        // Whoever may connect may change the device: the owner alone.
        guard withAddress(&address, { bind(socket, $0, length) }) == 0, chmod(path, 0o600) == 0, Glibc.listen(socket, 8) == 0 else {
            throw failed(socket, "debug socket \(path)")
        }
        return socket
    }

    private static func listen(port: UInt16) throws(DebugServerError) -> (Int32, DebugServer.Endpoint) {
        let socket = try make(AF_INET, "debug port \(port)")
        var isReused: Int32 = 1
        setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &isReused, socklen_t(MemoryLayout<Int32>.size))
        var address = self.address(port)
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        guard withAddress(&address, { bind(socket, $0, length) }) == 0, Glibc.listen(socket, 8) == 0,
            withMutableAddress(&address, { getsockname(socket, $0, &length) }) == 0
        else { throw failed(socket, "debug port \(port)") }
        return (socket, .loopback(port: UInt16(bigEndian: address.sin_port)))
    }

    /// A connection that doesn't block and sends at once.
    static func configure(_ socket: Int32) {
        var isImmediate: Int32 = 1
        // Fails for a Unix socket, which does so anyway.
        setsockopt(socket, Int32(IPPROTO_TCP), TCP_NODELAY, &isImmediate, socklen_t(MemoryLayout<Int32>.size))
        _ = fcntl(socket, F_SETFL, fcntl(socket, F_GETFL) | O_NONBLOCK)
        _ = fcntl(socket, F_SETFD, FD_CLOEXEC)
    }

    private static func make(_ family: Int32, _ purpose: String) throws(DebugServerError) -> Int32 {
        let socket = socket(family, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard socket >= 0 else { throw DebugServerError(purpose) }
        return socket
    }

    private static func failed(_ socket: Int32, _ purpose: String) -> DebugServerError {
        let error = DebugServerError(purpose)
        close(socket)
        return error
    }

    private static func withAddress<Address, Result>(_ address: inout Address, _ body: (UnsafePointer<sockaddr>) -> Result) -> Result {
        withMutableAddress(&address) { body(UnsafePointer($0)) }
    }

    private static func withMutableAddress<Address, Result>(
        _ address: inout Address, _ body: (UnsafeMutablePointer<sockaddr>) -> Result
    ) -> Result {
        withUnsafeMutablePointer(to: &address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1, body) }
    }
}
