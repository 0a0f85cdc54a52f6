import Interconnect
import Simulation

/// Where the queues of one function tell of their steps; nowhere while nobody records.
struct QueueTap: @unchecked Sendable {
    // Sendable: the sink is called by whoever has the device.
    unowned(unsafe) var sink: (any TraceSink)?
    var function = 0
}

/// The queues of one device, as its type works with them: enabled ones take and put chains, a fault of any stops all.
public struct QueueSet: Sendable {
    /// One queue's settings and, while it is enabled, its ring.
    public struct Entry: Sendable {
        public internal(set) var layout: QueueLayout
        public internal(set) var ring: Virtqueue?
        /// While the queue is polled: until when, if nothing comes.
        var pollEnd: Cycle = 0

        public var isEnabled: Bool { ring != nil }
    }

    /// What a driver did to which queue.
    public struct Failure: Equatable, Sendable, CustomStringConvertible {
        public var queue: Int
        public var fault: QueueFault

        public init(queue: Int, fault: QueueFault) {
            self.queue = queue; self.fault = fault
        }

        public var description: String { "queue \(queue): \(fault)" }
    }

    public internal(set) var entries: [Entry]
    /// The first fault since the last reset: from then on nothing is taken or put.
    public private(set) var failure: Failure?
    /// Bit q: queue q has used chains about which the driver wants an interrupt, not sent yet.
    public private(set) var interrupts: UInt64 = 0
    /// Bit q: chains were put since the driver was last considered for an interrupt.
    private var touched: UInt64 = 0
    /// Bit q: the device type tells the driver later.
    private var held: UInt64 = 0
    /// While false, queues look empty; what was taken can still be put.
    var isServing = true
    /// Bit q: queue q alone looks empty.
    private(set) var paused: UInt64 = 0
    /// Bit q: the device looks at queue q by itself, and has told the driver that it need not notify.
    private(set) var polled: UInt64 = 0
    public let maximumSize: UInt16
    /// How long an empty queue is polled; 0: not at all. No part of the queues' own state.
    var patience: Cycle = 0
    /// No part of the queues' own state.
    var tap = QueueTap()

    init(count: Int, maximumSize: UInt16) {
        precondition((1...64).contains(count), "a device has 1 to 64 queues")
        self.maximumSize = maximumSize
        entries = Array(repeating: Entry(layout: QueueLayout(size: maximumSize)), count: count)
    }

    // MARK: The device type's side

    /// The next chain of an enabled queue; nil if there is none or something failed.
    mutating func take(_ queue: Int, from memory: GuestMemory, into segments: UnsafeMutableBufferPointer<Segment>) -> DescriptorChain? {
        guard failure == nil, isServing, paused >> UInt64(queue) & 1 == 0 else { return nil }
        do throws(QueueFault) {
            let chain = try entries[queue].ring?.take(from: memory, into: segments)
            if let chain { tell(queue, .taken(head: chain.head, bytes: chain.readableBytes &+ chain.writableBytes)) }
            return chain
        } catch {
            fail(queue, error)
            return nil
        }
    }

    /// Gives a chain back; false if that failed.
    mutating func put(_ queue: Int, _ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) -> Bool {
        stage(queue, chain, written: written, in: memory) && publish(queue, in: memory)
    }

    /// Gives a chain back that the driver sees by ``publish(_:in:)``, which ends every step that stages: false if that failed.
    mutating func stage(_ queue: Int, _ chain: DescriptorChain, written: UInt32, in memory: GuestMemory) -> Bool {
        guard failure == nil else { return false }
        do throws(QueueFault) {
            try entries[queue].ring?.stage(chain, written: written, in: memory)
            touched |= 1 &<< UInt64(queue)
            tell(queue, .completed(head: chain.head, written: written))
            return true
        } catch {
            fail(queue, error)
            return false
        }
    }

    /// Shows the driver what was staged; false if that failed.
    @discardableResult
    mutating func publish(_ queue: Int, in memory: GuestMemory) -> Bool {
        guard failure == nil else { return false }
        do throws(QueueFault) {
            try entries[queue].ring?.publish(in: memory)
            return true
        } catch {
            fail(queue, error)
            return false
        }
    }

    /// Takes a chain back that was taken: nothing of it has happened.
    mutating func recall(_ queue: Int, _ chain: DescriptorChain) { entries[queue].ring?.recall(chain) }

    /// Asks for notifications again; true if chains came meanwhile.
    mutating func enableNotifications(_ queue: Int, in memory: GuestMemory) -> Bool {
        guard failure == nil, isServing, paused >> UInt64(queue) & 1 == 0 else { return false }
        do throws(QueueFault) {
            return try entries[queue].ring?.enableNotifications(in: memory) ?? false
        } catch {
            fail(queue, error)
            return false
        }
    }

    /// The queue looks empty. From now on the device polls it, or asks for notifications; true if chains came meanwhile.
    mutating func awaitChains(_ queue: Int, at cycle: Cycle, in memory: GuestMemory) -> Bool {
        guard patience > 0 else { return enableNotifications(queue, in: memory) }
        guard failure == nil, isServing, paused >> UInt64(queue) & 1 == 0 else { return false }
        polled |= 1 &<< UInt64(queue)
        entries[queue].pollEnd = cycle &+ patience
        disableNotifications(queue, in: memory)
        return hasChains(queue, in: memory)
    }

    /// Looks at the polled queues: those that have chains, which aren't polled any more. Where nothing has come for long, the driver is
    /// asked to notify.
    mutating func poll(at cycle: Cycle, in memory: GuestMemory) -> UInt64 {
        var ready: UInt64 = 0, left = polled
        while left != 0 {
            let queue = left.trailingZeroBitCount
            left &= left &- 1
            if hasChains(queue, in: memory) {
                ready |= 1 &<< UInt64(queue)
            } else if cycle >= entries[queue].pollEnd, endPolling(queue, in: memory) {
                ready |= 1 &<< UInt64(queue)
            }
        }
        polled &= ~ready
        return failure == nil ? ready : 0
    }

    /// Asks for notifications of a queue that is polled; true if chains came meanwhile.
    private mutating func endPolling(_ queue: Int, in memory: GuestMemory) -> Bool {
        polled &= ~(1 &<< UInt64(queue))
        return enableNotifications(queue, in: memory)
    }

    /// The same for all of a set of queues, which stay as they are.
    mutating func endPolling(of queues: UInt64 = .max, in memory: GuestMemory) {
        var left = polled & queues
        while left != 0 {
            _ = endPolling(left.trailingZeroBitCount, in: memory)
            left &= left &- 1
        }
    }

    private mutating func hasChains(_ queue: Int, in memory: GuestMemory) -> Bool {
        do throws(QueueFault) {
            return try entries[queue].ring?.hasChains(in: memory) ?? false
        } catch {
            fail(queue, error)
            return false
        }
    }

    mutating func disableNotifications(_ queue: Int, in memory: GuestMemory) {
        guard failure == nil else { return }
        do throws(QueueFault) {
            try entries[queue].ring?.disableNotifications(in: memory)
        } catch {
            fail(queue, error)
        }
    }

    /// From now on the driver isn't considered for an interrupt about this queue, until ``releaseInterrupt(_:)``.
    mutating func holdInterrupt(_ queue: Int) { held |= 1 &<< UInt64(queue) }
    mutating func releaseInterrupt(_ queue: Int) { held &= ~(1 &<< UInt64(queue)) }

    /// Stops everything until the next reset.
    mutating func fail(_ queue: Int, _ fault: QueueFault) {
        if failure == nil { failure = Failure(queue: queue, fault: fault) }
        polled = 0
    }

    // MARK: Recording

    /// Tells the recorder, if there is one.
    func tell(_ queue: Int, _ step: QueueStep) {
        tap.sink?.queueStepped(function: tap.function, queue: queue, step, depth: entries[queue].ring?.depth ?? 0)
    }

    // MARK: The device's side

    /// Considers the driver of each queue touched since the last call, and hands out the interrupts that are wanted.
    mutating func takeInterrupts(in memory: GuestMemory) -> UInt64 {
        while touched & ~held != 0, failure == nil {
            let queue = (touched & ~held).trailingZeroBitCount
            touched &= ~(1 &<< UInt64(queue))
            do throws(QueueFault) {
                if try entries[queue].ring?.takeInterrupt(in: memory) == true { interrupts |= 1 &<< UInt64(queue) }
            } catch {
                fail(queue, error)
            }
        }
        defer { interrupts = 0 }
        return interrupts
    }

    /// Goes on in an enabled queue where another device stopped. The driver gets an interrupt: that device may not have come to it.
    mutating func resume(_ queue: Int, taken: UInt16, used: UInt16) {
        if entries[queue].ring?.resume(taken: taken, used: used) == true { interrupts |= 1 &<< UInt64(queue) }
    }

    mutating func add(_ queue: Int, recalled head: UInt16) { entries[queue].ring?.add(recalled: head) }

    mutating func enable(_ queue: Int, features: Features) {
        do throws(QueueFault) {
            entries[queue].ring = try Virtqueue(layout: entries[queue].layout, features: features)
        } catch {
            fail(queue, error)
        }
    }

    /// Starts a queue that another device has left. The driver gets an interrupt: that device may not have come to it.
    mutating func enable(_ queue: Int, features: Features, from start: QueueStart, notingIn inflight: InflightNotes?) {
        do throws(QueueFault) {
            entries[queue].ring = try Virtqueue(
                layout: entries[queue].layout, features: features, from: start, notingIn: inflight)
            interrupts |= 1 &<< UInt64(queue)
        } catch {
            fail(queue, error)
        }
    }

    /// From now on nothing is taken from the queue, until it is reset.
    mutating func pause(_ queue: Int) { paused |= 1 &<< UInt64(queue) }

    mutating func reset(_ queue: Int) {
        entries[queue] = Entry(layout: QueueLayout(size: maximumSize))
        interrupts &= ~(1 &<< UInt64(queue))
        touched &= ~(1 &<< UInt64(queue))
        held &= ~(1 &<< UInt64(queue))
        paused &= ~(1 &<< UInt64(queue))
        polled &= ~(1 &<< UInt64(queue))
    }

    mutating func reset() {
        for queue in entries.indices { reset(queue) }
        failure = nil
    }

    /// - Parameters:
    ///   - version: of the device's section.
    ///   - features: with which enabled queues were made.
    mutating func archive(
        _ archive: inout StateArchive, version: UInt16, features: Features, maximumSize: UInt16
    ) throws(SnapshotError) {
        let count = entries.count
        try archive.elements(&entries) { (archive, entry) throws(SnapshotError) in
            try entry.archive(&archive, version: version, features: features, maximumSize: maximumSize)
        }
        try archive.optional(&failure, blank: .blank) { (archive, failure) throws(SnapshotError) in
            try failure.archive(&archive, queues: count)
        }
        let mask: UInt64 = .max >> UInt64(64 - count)
        try archive.integer(&interrupts, in: 0...mask)
        try archive.integer(&touched, in: 0...mask)
        try archive.integer(&held, in: 0...mask)
        try archive.flag(&isServing)
        if version >= 2 { try archive.integer(&paused, in: 0...mask) }
        guard version >= 4 else { return }
        try archive.integer(&polled, in: 0...mask)
        for queue in entries.indices where polled >> UInt64(queue) & 1 != 0 {
            try archive.require(entries[queue].isEnabled, "expected a polled queue to be enabled, found queue \(queue)")
            try archive.integer(&entries[queue].pollEnd)
        }
    }
}
