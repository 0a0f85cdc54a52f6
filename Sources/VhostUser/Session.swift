import Glibc
import OffloadDevice
import Virtio

/// One front-end's business with one function, from the first message to the connection's end.
///
/// It has the protocol: what was said of queues before they start, the memory as the front-end sees it, the descriptors. What changes the
/// device goes to the machine as inputs.
final class Session {
    /// What the front-end has said of a queue.
    struct Queue {
        var layout: (size: UInt16, descriptors: UInt64, driver: UInt64, device: UInt64)?
        var size: UInt16 = 0
        /// As it is told in messages: of a split queue an index, of a packed one a position of either side.
        var base: UInt32 = 0
        var kick: EventDescriptor?
        var isEnabled = false
        /// By a kick descriptor; it runs while it is enabled, too.
        var isStarted = false
        var isRunning = false
    }

    /// Where notifications go: changed under the machine's lock.
    private final class Notifications: @unchecked Sendable {
        var calls: [EventDescriptor?]
        var errors: [EventDescriptor?]
        init(queues: Int) {
            calls = Array(repeating: nil, count: queues)
            errors = calls
        }
    }

    let machine: Machine
    let function: Int
    private let connection: Connection
    let wake: EventDescriptor
    /// Nanoseconds to look for the next kick before sleeping.
    private let polling: UInt64
    let device: Unmanaged<VirtioFunction>
    let queueCount: Int
    private let isNetwork: Bool

    var queues: [Queue]
    private let notifications: Notifications
    var map = GuestMap()
    var inflight: (pages: GuestPages, queues: Int, size: UInt16)?
    var features: Features = []
    private var protocolFeatures: ProtocolFeatures = []
    var hasProtocolFeatures = false

    /// - Parameter wake: is signalled when the session is to look whether it goes on.
    init(_ machine: Machine, function: Int, _ connection: Connection, wake: EventDescriptor, polling: UInt64) throws(ProtocolError) {
        guard case .done = machine.perform(.frontEnd(function: function, .attach)) else {
            throw ProtocolError("expected a function that is present, and has no front-end yet")
        }
        self.machine = machine
        self.function = function
        self.connection = connection
        self.wake = wake
        self.polling = polling
        (device, queueCount, isNetwork) = machine.inspect { device in
            // A function with this index has just been attached.
            let function = device.virtioFunction(function)!
            let isNetwork = function.network != nil
            // A network's last queue is the control queue, which is the front-end's own.
            return (Unmanaged.passUnretained(function), function.device.queueCount - (isNetwork ? 1 : 0), isNetwork)
        }
        queues = Array(repeating: Queue(), count: queueCount)
        notifications = Notifications(queues: queueCount)
        machine.inspect { _ in
            let port = device.takeUnretainedValue().frontEnd
            port.onUsed = { [notifications] queue in
                if notifications.calls.indices.contains(queue) { notifications.calls[queue]?.signal() }
            }
            port.onFailure = { [notifications] queue in
                if notifications.errors.indices.contains(queue) { notifications.errors[queue]?.signal() }
            }
            port.onLoss = { wake.signal() }
        }
    }

    /// The front-end is gone: so is all that it has given.
    func end() {
        machine.perform(.frontEnd(function: function, .detach))
        machine.inspect { _ in
            let port = device.takeUnretainedValue().frontEnd
            (port.onUsed, port.onFailure, port.onLoss) = (nil, nil, nil)
        }
        for queue in queues { queue.kick?.closeDescriptor() }
        for descriptor in notifications.calls + notifications.errors { descriptor?.closeDescriptor() }
    }

    // MARK: Waiting

    /// Serves the front-end until it goes, or `isStopping` says so.
    /// - Throws: what it did wrong; it can be told no more.
    func run(until isStopping: () -> Bool) throws(ProtocolError) {
        var events: [pollfd] = [], kicked: [Int] = []
        var isFresh = false, lastEvent: UInt64 = 0
        while true {
            if !isFresh {
                (events, kicked) = waitList()
                isFresh = true
            }
            let isPolling = polling > 0 && Self.now &- lastEvent < polling
            let count = poll(&events, nfds_t(events.count), isPolling ? 0 : -1)
            guard count != 0 else { continue }
            guard count > 0 || errno == EINTR else { throw ProtocolError("poll: \(String(cString: strerror(errno)))") }
            lastEvent = Self.now
            if events[0].revents != 0 {
                wake.clear()
                if isStopping() { return }
                guard hasFunction else { throw ProtocolError("expected the function to stay, found it reset or taken away") }
            }
            for (place, queue) in kicked.enumerated() where events[place + 2].revents != 0 {
                queues[queue].kick?.clear()
                machine.perform(.frontEnd(function: function, .kick(queue: queue)))
            }
            if events[1].revents != 0 {
                guard try serve() else { return }
                isFresh = false
            }
            // The work that came is begun here: waking the machine's own thread takes longer than most requests.
            machine.lendThread(for: 50_000)
            if map.isCut { throw ProtocolError("expected memory that stays as long as it was, found it cut short") }
        }
    }

    private var hasFunction: Bool { machine.inspect { _ in device.takeUnretainedValue().device.state.hasFrontEnd } }

    /// Wake-up, socket, and the kicks of running queues.
    private func waitList() -> (events: [pollfd], queues: [Int]) {
        let kicked = queues.indices.filter { queues[$0].isRunning && queues[$0].kick != nil }
        let descriptors = [wake.descriptor, connection.descriptor] + kicked.map { queues[$0].kick!.descriptor }
        return (descriptors.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }, kicked)
    }

    private static var now: UInt64 {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    // MARK: Messages

    /// Takes one message.
    /// - Returns: false at the connection's end.
    private func serve() throws(ProtocolError) -> Bool {
        guard var message = try connection.receive() else { return false }
        defer { for descriptor in message.descriptors where descriptor >= 0 { close(descriptor) } }
        guard let request = Message.Request(rawValue: message.request) else {
            throw refuse(message, ProtocolError("expected a request that this back-end has offered, found number \(message.request)"))
        }
        do throws(ProtocolError) {
            let answer = try answer(request, &message)
            switch answer {
            case .nothing:
                // Without a reply of its own, a request is acknowledged if the front-end wants that.
                guard message.needsReply, protocolFeatures.contains(.replyAcknowledge) else { return true }
                return connection.reply(to: message.request, Self.payload(0))
            case .payload(let payload): return connection.reply(to: message.request, payload)
            case .descriptor(let payload, let descriptor):
                defer { close(descriptor) }
                return connection.reply(to: message.request, payload, descriptor: descriptor)
            }
        } catch {
            throw refuse(message, ProtocolError("\(request): \(error)"))
        }
    }

    /// Tells the front-end, if it wants to know, that its request has failed.
    private func refuse(_ message: Message, _ error: ProtocolError) -> ProtocolError {
        if message.needsReply, protocolFeatures.contains(.replyAcknowledge) { _ = connection.reply(to: message.request, Self.payload(1)) }
        return error
    }

    enum Answer {
        case nothing
        case payload([UInt8])
        case descriptor([UInt8], Int32)
    }

    static func payload(_ value: UInt64) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.append(integer: value)
        return bytes
    }

    private func answer(_ request: Message.Request, _ message: inout Message) throws(ProtocolError) -> Answer {
        var reader = PayloadReader(message.payload)
        switch request {
        case .getFeatures:
            let offered = machine.inspect { _ in device.takeUnretainedValue().device.frontEndFeatures }
            return .payload(Self.payload(offered.rawValue | ProtocolFeatures.virtioBit))
        case .setFeatures: try setFeatures(try reader.integer())
        case .getProtocolFeatures: return .payload(Self.payload(ProtocolFeatures.offered(forNetwork: isNetwork).rawValue))
        case .setProtocolFeatures:
            let (wanted, offered) = (ProtocolFeatures(rawValue: try reader.integer()), ProtocolFeatures.offered(forNetwork: isNetwork))
            guard wanted.isSubset(of: offered) else {
                throw ProtocolError("expected features of 0x\(hex(offered.rawValue)), found 0x\(hex(wanted.rawValue))")
            }
            protocolFeatures = wanted
        case .setOwner: break
        case .resetOwner, .resetDevice:
            for queue in queues.indices { forget(queue) }
            try perform(.reset)
        case .getQueueCount:
            // A network's queues are counted in pairs.
            return .payload(Self.payload(UInt64(isNetwork ? queueCount / 2 : queueCount)))
        case .getMemorySlots: return .payload(Self.payload(UInt64(GuestMap.slots)))
        case .setMemoryTable: try setMemoryTable(&reader, message.descriptors)
        case .addMemory, .removeMemory:
            let _: UInt64 = try reader.integer()
            if request == .removeMemory {
                try map.remove(&reader)
            } else {
                guard message.descriptors.count == 1 else {
                    throw ProtocolError("expected a descriptor, found \(message.descriptors.count)")
                }
                try map.add(&reader, message.descriptors[0])
            }
            try perform(.map(map.memory))
        case .setQueueSize, .setQueueBase:
            let (queue, number) = (try index(reader.integer(UInt32.self)), try reader.integer(UInt32.self))
            try requireStopped(queue)
            if request == .setQueueBase, isPacked {
                queues[queue].base = number
                break
            }
            guard let value = UInt16(exactly: number) else { throw ProtocolError("queue \(queue): expected 16 bits, found \(number)") }
            if request == .setQueueBase { queues[queue].base = number } else { queues[queue].size = value }
        case .setQueueAddresses: try setQueueAddresses(&reader)
        case .getQueueBase:
            let queue = try index(reader.integer(UInt32.self))
            try stop(queue)
            forget(queue)
            var payload: [UInt8] = []
            payload.append(integer: UInt32(queue))
            payload.append(integer: queues[queue].base)
            return .payload(payload)
        case .setQueueKick: try setQueueKick(&reader, &message)
        case .setQueueCall, .setQueueError:
            let (queue, descriptor) = try eventDescriptor(&reader, &message)
            machine.inspect { _ in
                let place = request == .setQueueCall ? \Notifications.calls : \Notifications.errors
                notifications[keyPath: place][queue]?.closeDescriptor()
                notifications[keyPath: place][queue] = descriptor
                // What was used before the front-end could hear of it.
                if request == .setQueueCall, queues[queue].isRunning { descriptor?.signal() }
            }
        case .enableQueue:
            let (queue, isOn) = (try index(reader.integer(UInt32.self)), try reader.integer(UInt32.self))
            queues[queue].isEnabled = isOn != 0
            if isOn != 0 { try startIfReady(queue) } else { try stop(queue) }
        case .getConfiguration, .setConfiguration: return try configuration(request, &reader, message.payload)
        case .getInflight: return try makeInflight(&reader, message.payload.count)
        case .setInflight: try setInflight(&reader, message.descriptors)
        }
        return .nothing
    }

    func perform(_ input: FrontEndInput) throws(ProtocolError) {
        if case .refused(let error) = machine.perform(.frontEnd(function: function, input)) { throw ProtocolError("\(error)") }
    }

    var isPacked: Bool { features.contains(.packedRing) }

    func index(_ number: some FixedWidthInteger) throws(ProtocolError) -> Int {
        guard number < queueCount else { throw ProtocolError("expected a queue below \(queueCount), found \(number)") }
        return Int(number)
    }

    func requireStopped(_ queue: Int) throws(ProtocolError) {
        guard !queues[queue].isRunning else { throw ProtocolError("queue \(queue): expected a stopped queue, found it running") }
    }

    private func hex(_ value: UInt64) -> String { String(value, radix: 16) }

    // MARK: Features, configuration and memory

    private func setFeatures(_ value: UInt64) throws(ProtocolError) {
        let accepted = Features(rawValue: value & ~ProtocolFeatures.virtioBit)
        // Each pair of a network's queues says it anew, while others run.
        guard accepted != features || !queues.contains(where: \.isRunning) else { return }
        guard !queues.contains(where: \.isRunning) else { throw ProtocolError("expected no running queue, found one") }
        try perform(.accept(accepted))
        features = accepted
        hasProtocolFeatures = value & ProtocolFeatures.virtioBit != 0
    }

    private func configuration(
        _ request: Message.Request, _ reader: inout PayloadReader, _ payload: [UInt8]
    ) throws(ProtocolError) -> Answer {
        let (offset, count, _): (UInt32, UInt32, UInt32) = (try reader.integer(), try reader.integer(), try reader.integer())
        guard offset <= 256, count <= 256, reader.rest.count >= count else {
            throw ProtocolError(
                "expected up to 256 bytes of configuration, found \(count) from \(offset) on in a payload of \(payload.count)")
        }
        if request == .setConfiguration {
            try perform(.writeConfiguration(offset: Int(offset), Array(reader.rest.prefix(Int(count)))))
            return .nothing
        }
        let bytes = machine.inspect { _ in
            let type = device.takeUnretainedValue().device.type
            return (0..<Int(count)).map { UInt8(truncatingIfNeeded: type.readConfiguration(Int(offset) + $0, size: 1)) }
        }
        return .payload(Array(payload.prefix(12)) + bytes)
    }

    private func setMemoryTable(_ reader: inout PayloadReader, _ descriptors: [Int32]) throws(ProtocolError) {
        let (count, _): (UInt32, UInt32) = (try reader.integer(), try reader.integer())
        guard Int(count) == descriptors.count else {
            throw ProtocolError("expected a descriptor for each of \(count) pieces of memory, found \(descriptors.count)")
        }
        var table = GuestMap()
        for descriptor in descriptors { try table.add(&reader, descriptor) }
        try perform(.map(table.memory))
        map = table
    }
}
