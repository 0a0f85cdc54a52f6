import CLinux
import Glibc
import OffloadDevice
import Virtio

/// One front-end's business with one function, from the first message to the connection's end.
///
/// It has the protocol: what was said of queues before they start, the memory as the front-end sees it, the descriptors. What changes the
/// device goes to the machine as inputs.
final class Session {
    /// What the front-end has said of a queue.
    private struct Queue {
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

    private let machine: Machine
    private let function: Int
    private let connection: Connection
    private let wake: EventDescriptor
    /// Nanoseconds to look for the next kick before sleeping.
    private let polling: UInt64
    private let device: Unmanaged<VirtioFunction>
    private let queueCount: Int
    private let isNetwork: Bool

    private var queues: [Queue]
    private let notifications: Notifications
    private var map = GuestMap()
    private var inflight: (pages: GuestPages, queues: Int, size: UInt16)?
    private var features: Features = []
    private var protocolFeatures: ProtocolFeatures = []
    private var hasProtocolFeatures = false

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

    private enum Answer {
        case nothing
        case payload([UInt8])
        case descriptor([UInt8], Int32)
    }

    private static func payload(_ value: UInt64) -> [UInt8] {
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

    private func perform(_ input: FrontEndInput) throws(ProtocolError) {
        if case .refused(let error) = machine.perform(.frontEnd(function: function, input)) { throw ProtocolError("\(error)") }
    }

    private var isPacked: Bool { features.contains(.packedRing) }

    private func index(_ number: some FixedWidthInteger) throws(ProtocolError) -> Int {
        guard number < queueCount else { throw ProtocolError("expected a queue below \(queueCount), found \(number)") }
        return Int(number)
    }

    private func requireStopped(_ queue: Int) throws(ProtocolError) {
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

    // MARK: Chains in flight

    /// Makes the table in which chains in flight are noted.
    private func makeInflight(_ reader: inout PayloadReader, _ payload: Int) throws(ProtocolError) -> Answer {
        let (_, _, count, size): (UInt64, UInt64, UInt16, UInt16) =
            (try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer())
        try checkInflight(count, size)
        let bytes = inflightBytes(size) * Int(count)
        let descriptor = memfd_create("outrigger-inflight", UInt32(outrigger_memfd_cloexec))
        guard descriptor >= 0, ftruncate(descriptor, off_t(bytes)) == 0 else {
            let code = errno
            if descriptor >= 0 { close(descriptor) }
            throw ProtocolError("memfd of \(bytes) bytes: \(String(cString: strerror(code)))")
        }
        var answer = Self.payload(UInt64(bytes)) + Self.payload(0)
        answer.append(integer: count)
        answer.append(integer: size)
        // As long as the request: some front-ends' structure ends with padding.
        answer += [UInt8](repeating: 0, count: max(payload - answer.count, 0))
        return .descriptor(answer, descriptor)
    }

    private func setInflight(_ reader: inout PayloadReader, _ descriptors: [Int32]) throws(ProtocolError) {
        let (bytes, offset, count, size): (UInt64, UInt64, UInt16, UInt16) =
            (try reader.integer(), try reader.integer(), try reader.integer(), try reader.integer())
        try checkInflight(count, size)
        guard descriptors.count == 1 else { throw ProtocolError("expected a descriptor, found \(descriptors.count)") }
        guard offset & 63 == 0, bytes >= UInt64(inflightBytes(size) * Int(count)) else {
            throw ProtocolError("expected \(inflightBytes(size) * Int(count)) bytes from a multiple of 64 on, "
                + "found \(bytes) from \(offset) on")
        }
        guard !queues.contains(where: \.isRunning) else { throw ProtocolError("expected no running queue, found one") }
        do {
            inflight = (try GuestPages(descriptor: descriptors[0], offset: offset, count: bytes), Int(count), size)
        } catch {
            throw ProtocolError("\(error)")
        }
    }

    /// Bytes of the table of one queue.
    private func inflightBytes(_ size: UInt16) -> Int {
        isPacked ? PackedInflightTable.bytes(size: size) : InflightTable.bytes(size: size)
    }

    private func checkInflight(_ count: UInt16, _ size: UInt16) throws(ProtocolError) {
        guard (1...queueCount).contains(Int(count)), (1...VirtioDevice.largestFrontEndQueue).contains(size) else {
            throw ProtocolError("expected 1 to \(queueCount) queues with up to \(VirtioDevice.largestFrontEndQueue) entries, "
                + "found \(count) with \(size)")
        }
    }

    // MARK: Queues

    /// The queue and the descriptor that a message names: bits 0 to 7, and bit 8 if there is none.
    private func eventDescriptor(
        _ reader: inout PayloadReader, _ message: inout Message
    ) throws(ProtocolError) -> (queue: Int, EventDescriptor?) {
        let value: UInt64 = try reader.integer()
        let queue = try index(value & 0xff)
        guard value & 1 << 8 == 0 else { return (queue, nil) }
        guard message.descriptors.count == 1 else {
            throw ProtocolError("queue \(queue): expected a descriptor, found \(message.descriptors.count)")
        }
        let descriptor = try EventDescriptor(message.descriptors[0])
        message.descriptors[0] = -1
        return (queue, descriptor)
    }

    private func setQueueAddresses(_ reader: inout PayloadReader) throws(ProtocolError) {
        let queue = try index(reader.integer(UInt32.self))
        let _: UInt32 = try reader.integer()
        let (descriptors, used, available): (UInt64, UInt64, UInt64) = (try reader.integer(), try reader.integer(), try reader.integer())
        try requireStopped(queue)
        queues[queue].layout = (
            queues[queue].size, try map.guestAddress(ofUser: descriptors), try map.guestAddress(ofUser: available),
            try map.guestAddress(ofUser: used))
    }

    private func setQueueKick(_ reader: inout PayloadReader, _ message: inout Message) throws(ProtocolError) {
        let (queue, descriptor) = try eventDescriptor(&reader, &message)
        guard let descriptor else { throw ProtocolError("queue \(queue): expected a descriptor to wait for, found none") }
        queues[queue].kick?.closeDescriptor()
        queues[queue].kick = descriptor
        queues[queue].isStarted = true
        // Without protocol features there are no messages that enable queues.
        if !hasProtocolFeatures { queues[queue].isEnabled = true }
        try startIfReady(queue)
    }

    private func startIfReady(_ queue: Int) throws(ProtocolError) {
        guard queues[queue].isStarted, queues[queue].isEnabled, !queues[queue].isRunning else { return }
        guard let known = queues[queue].layout else { throw ProtocolError("queue \(queue): expected its addresses first, found none") }
        let layout = QueueLayout(
            size: queues[queue].size, descriptorArea: known.descriptors, driverArea: known.driver, deviceArea: known.device)
        let (start, table) = try start(queue, layout)
        machine.inspect { _ in
            let port = device.takeUnretainedValue().frontEnd
            if port.inflightTables.isEmpty { port.inflightTables = Array(repeating: nil, count: queueCount) }
            port.inflightTables[queue] = table
            port.inflight = inflight?.pages
        }
        try perform(.start(queue: queue, layout, start))
        queues[queue].isRunning = true
    }

    /// Where a queue goes on: with a table of chains in flight, all that was not given back is taken up again.
    private func start(_ queue: Int, _ layout: QueueLayout) throws(ProtocolError) -> (QueueStart, InflightNotes?) {
        var place: UnsafeMutableRawPointer?
        if let inflight, queue < inflight.queues {
            guard layout.size <= inflight.size else {
                throw ProtocolError("queue \(queue): expected up to \(inflight.size) entries, for which chains in flight are noted, "
                    + "found \(layout.size)")
            }
            place = inflight.pages.bytes.baseAddress! + queue * inflightBytes(inflight.size)
        }
        let base = UInt16(truncatingIfNeeded: queues[queue].base)
        if isPacked { return try startPacked(queue, layout, from: base, notingAt: place) }
        let used = try map.word(at: layout.deviceArea &+ 2)
        guard let place else { return (QueueStart(taken: base, used: used), nil) }
        var table = InflightTable(place, size: layout.size)
        let unfinished = table.recover(used: used)
        return (QueueStart(taken: used &+ UInt16(truncatingIfNeeded: unfinished.count), used: used, unfinished: unfinished), .split(table))
    }

    /// Of a packed queue's base the lower half counts, where the device takes next: when a queue stopped, all was given back. Some
    /// front-ends leave the upper half zero.
    private func startPacked(
        _ queue: Int, _ layout: QueueLayout, from base: UInt16, notingAt place: UnsafeMutableRawPointer?
    ) throws(ProtocolError) -> (QueueStart, InflightNotes?) {
        let table = place.map { PackedInflightTable($0, size: layout.size) }
        let map = map
        let position = try table?.recover(from: base) { (position) throws(ProtocolError) in
            let flags = try map.word(at: layout.descriptorArea &+ 16 &* UInt64(position & 0x7fff) &+ 14)
            return PackedQueue.isAvailable(flags: flags, at: position)
        } ?? base
        guard position & 0x7fff < layout.size else {
            throw ProtocolError("queue \(queue): expected a position in a ring of \(layout.size), found \(position & 0x7fff)")
        }
        return (QueueStart(taken: position, used: position), table.map { .packed($0) })
    }

    /// Stops a queue when all that was taken from it has been given back.
    private func stop(_ queue: Int) throws(ProtocolError) {
        guard queues[queue].isRunning else { return }
        try perform(.pause(queue: queue))
        while !machine.inspect({ _ in device.takeUnretainedValue().device.isDrained(queue: queue) }) {
            machine.lendThread(for: 200_000)
            var event = pollfd(fd: wake.descriptor, events: Int16(POLLIN), revents: 0)
            // Device time may follow the wall clock, or stand still for a debugger; a stop of the server ends the wait.
            if poll(&event, 1, 1) > 0 { throw ProtocolError("queue \(queue): expected it to finish, found the device taken away") }
        }
        queues[queue].isRunning = false
        guard case .taken(let next) = machine.perform(.frontEnd(function: function, .stop(queue: queue))) else {
            // The device has failed, and forgotten it.
            return
        }
        let position = UInt32(truncatingIfNeeded: next) & 0xffff
        queues[queue].base = isPacked ? position | position << 16 : position
    }

    /// A stopped queue waits for another kick descriptor.
    private func forget(_ queue: Int) {
        queues[queue].kick?.closeDescriptor()
        queues[queue].kick = nil
        queues[queue].isStarted = false
        queues[queue].isRunning = false
    }
}
