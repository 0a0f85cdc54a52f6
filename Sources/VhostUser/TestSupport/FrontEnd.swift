import Glibc
import Peripherals
import Virtio

/// The other end of the protocol, for tests and benchmarks: a front-end with memory of its own, in which mock drivers have their queues.
package final class FrontEnd {
    /// The driver's memory, from address 0 on. The front-end itself knows it from `userBase` on.
    package let memory: FlatMemory
    package let pages: MemoryPages
    package static let userBase: UInt64 = 0x7000_0000_0000
    /// In the way of the protocol: a table for chains in flight, kept over connections.
    package private(set) var inflight: Int32 = -1
    private var inflightDescription: [UInt8] = []
    private var socket: Int32 = -1
    private var kicks: [EventDescriptor] = []
    private var calls: [EventDescriptor] = []

    package init(memoryBytes: Int) throws {
        pages = try MemoryPages(name: "front-end", size: memoryBytes)
        memory = FlatMemory(base: 0, pages.bytes)
    }

    deinit {
        disconnect()
        if inflight >= 0 { close(inflight) }
    }

    // MARK: Messages

    /// Connects, or connects again, to a back-end.
    package func connect(to path: String) throws {
        disconnect()
        socket = Glibc.socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8.prefix($0.count - 1)) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                Glibc.connect(socket, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw ProtocolError("\(path): \(String(cString: strerror(errno)))") }
    }

    package func disconnect() {
        if socket >= 0 { close(socket) }
        socket = -1
        for descriptor in kicks + calls { descriptor.closeDescriptor() }
        kicks = []
        calls = []
    }

    /// Sends any bytes, with descriptors beside them; false if the back-end has gone.
    package func send(raw bytes: [UInt8], descriptors: [Int32] = []) -> Bool {
        Connection.send(bytes, descriptors, on: socket)
    }

    /// Sends a request of any number.
    package func send(_ request: UInt32, _ payload: [UInt8] = [], descriptors: [Int32] = [], flags: UInt32 = 1) -> Bool {
        var bytes: [UInt8] = []
        for word in [request, flags, UInt32(payload.count)] { bytes.append(integer: word) }
        return send(raw: bytes + payload, descriptors: descriptors)
    }

    /// The payload of a reply and what came with it; nil at the connection's end.
    package func reply() throws -> (payload: [UInt8], descriptors: [Int32])? {
        let connection = Connection(dup(socket))
        guard let message = try connection.receive(isReply: true) else { return nil }
        return (message.payload, message.descriptors)
    }

    /// A request with a reply of its own: the payload's first 64 bits.
    private func ask(_ request: Message.Request, _ payload: [UInt8] = []) throws -> UInt64 {
        guard send(request.rawValue, payload), let (answer, descriptors) = try reply() else { throw gone(request) }
        for descriptor in descriptors { close(descriptor) }
        var reader = PayloadReader(answer)
        return try reader.integer()
    }

    /// A request that is acknowledged.
    package func tell(_ request: UInt32, _ payload: [UInt8], descriptors: [Int32] = []) throws {
        let flags = Message.Flag.version | Message.Flag.needsReply
        guard send(request, payload, descriptors: descriptors, flags: flags), let (answer, _) = try reply() else {
            throw ProtocolError("request \(request): expected an answer, found the connection ended")
        }
        guard answer == Self.words(0) else { throw ProtocolError("request \(request): expected success, found \(answer)") }
    }

    private func tell(_ request: Message.Request, _ payload: [UInt8], descriptors: [Int32] = []) throws {
        try tell(request.rawValue, payload, descriptors: descriptors)
    }

    private func gone(_ request: Message.Request) -> ProtocolError {
        ProtocolError("\(request): expected a reply, found the connection ended")
    }

    package static func words(_ values: UInt64...) -> [UInt8] {
        values.reduce(into: []) { $0.append(integer: $1) }
    }

    package static func halves(_ values: UInt32...) -> [UInt8] {
        values.reduce(into: []) { $0.append(integer: $1) }
    }

    // MARK: A front-end's work

    /// The virtio features that the back-end offers.
    package func features() throws -> Features {
        Features(rawValue: try ask(.getFeatures) & ~ProtocolFeatures.virtioBit)
    }

    package func queueCount() throws -> Int { Int(try ask(.getQueueCount)) }

    /// Negotiates all that the protocol has, and these features for the driver; gives the back-end the memory.
    /// - Parameter keepsInflight: with a table for chains in flight, made at the first time.
    package func begin(_ features: Features, queues: Int, queueSize: UInt16, keepsInflight: Bool = false) throws {
        let accepted = try ask(.getProtocolFeatures) & ProtocolFeatures.offered(forNetwork: false).rawValue
        // The acknowledgements of all later requests depend on this one.
        guard send(Message.Request.setProtocolFeatures.rawValue, Self.words(accepted)) else {
            throw gone(.setProtocolFeatures)
        }
        try tell(.setOwner, [])
        try tell(.setFeatures, Self.words(features.rawValue | ProtocolFeatures.virtioBit))
        try share()
        guard keepsInflight else { return }
        var description = Self.words(0, 0)
        description.append(integer: UInt16(queues))
        description.append(integer: queueSize)
        if inflight < 0 {
            guard send(Message.Request.getInflight.rawValue, description), let (answer, descriptors) = try reply(), descriptors.count == 1
            else { throw gone(.getInflight) }
            (inflight, inflightDescription) = (descriptors[0], answer)
        }
        try tell(.setInflight, inflightDescription, descriptors: [inflight])
    }

    /// Gives the back-end the memory, as one piece of a table.
    package func share(bytes: UInt64? = nil) throws {
        let table = Self.halves(1, 0) + Self.words(0, bytes ?? UInt64(pages.size), Self.userBase, 0)
        try tell(.setMemoryTable, table, descriptors: [pages.fileDescriptor])
    }

    /// Starts a queue whose rings the driver has laid out. Queues are started in the order of their numbers.
    package func start(queue: Int, _ layout: QueueLayout, base: UInt32 = 0) throws {
        try tell(.setQueueSize, Self.halves(UInt32(queue), UInt32(layout.size)))
        try tell(.setQueueBase, Self.halves(UInt32(queue), base))
        try tell(.setQueueAddresses, Self.halves(UInt32(queue), 0) + Self.words(
            Self.userBase + layout.descriptorArea, Self.userBase + layout.deviceArea, Self.userBase + layout.driverArea, 0))
        let (kick, call) = (try EventDescriptor(), try EventDescriptor())
        kicks.append(kick)
        calls.append(call)
        try tell(.setQueueCall, Self.words(UInt64(queue)), descriptors: [call.descriptor])
        try tell(.setQueueKick, Self.words(UInt64(queue)), descriptors: [kick.descriptor])
        try tell(.enableQueue, Self.halves(UInt32(queue), 1))
    }

    /// Stops a queue: the next entry of its available ring, or both positions in a packed ring.
    package func stop(queue: Int) throws -> UInt32 {
        UInt32(truncatingIfNeeded: try ask(.getQueueBase, Self.halves(UInt32(queue), 0)) >> 32)
    }

    package func configuration(offset: Int, count: Int) throws -> [UInt8] {
        let payload = Self.halves(UInt32(offset), UInt32(count), 0) + [UInt8](repeating: 0, count: count)
        guard send(Message.Request.getConfiguration.rawValue, payload), let (answer, _) = try reply() else { throw gone(.getConfiguration) }
        return Array(answer.dropFirst(12))
    }

    package func kick(queue: Int) { kicks[queue].signal() }

    /// Waits for an interrupt of a queue.
    /// - Parameter milliseconds: at most; false if none came.
    package func waitForCall(queue: Int, milliseconds: Int32) -> Bool {
        var event = pollfd(fd: calls[queue].descriptor, events: Int16(POLLIN), revents: 0)
        guard poll(&event, 1, milliseconds) > 0 else { return false }
        calls[queue].clear()
        return true
    }
}
