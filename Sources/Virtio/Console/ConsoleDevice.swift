import Interconnect
import Registers
import Simulation

/// A virtio console (virtio 1.2 section 5.3) with one port: what its driver writes comes out as text, what people type goes in.
///
/// A chain at a time goes through core and link in each direction; a console has no more to do.
public final class ConsoleDevice: DeviceType {
    public struct Configuration: Sendable {
        /// Characters of the screen: VIRTIO_CONSOLE_F_SIZE.
        public var columns: UInt16 = 80
        public var rows: UInt16 = 25
        /// Core cycles of a chain.
        public var chainCost: Cycle = 500

        public init() {}
    }

    public struct State: Sendable {
        var features: Features = []
        /// The chain on its way from the driver.
        var output: DescriptorChain?
        var outputStage = Stage.idle
        var outputSegments = [Segment](repeating: Segment(address: 0, length: 0, isWritable: false), count: ConsoleDevice.segmentLimit)
        var outputArrival: Cycle = 0
        /// The core was done with it.
        var outputServed: Cycle = 0
        /// Typed bytes that the driver has no buffer for yet; the first ``inputOnWay`` of them are on their way.
        var input: [UInt8] = []
        var inputOnWay = 0
        var inputStage = Stage.idle
        /// Counts resets, so that what was submitted before finds nothing.
        var generation: UInt32 = 0
        public internal(set) var bytesSent: UInt64 = 0
        public internal(set) var bytesReceived: UInt64 = 0
    }

    enum Stage: UInt8, Sendable {
        case idle, service, link
    }

    /// Typed bytes that are kept, and the bytes that go to the driver at a time.
    static let inputLimit = 4096
    static let segmentLimit = 32
    private static let piece = 4096
    private enum Queue {
        static let receive = 0
        static let transmit = 1
    }

    public let id: UInt16 = 3
    public let name = "console"
    public let configuration: Configuration
    public private(set) var state = State()
    /// Takes what the driver writes.
    public var onOutput: ((UnsafeRawBufferPointer) -> Void)?
    private let path: DataPath
    private let bounce = UnsafeMutableRawBufferPointer.allocate(byteCount: piece, alignment: 64)
    private var memory: GuestMemory!
    private unowned(unsafe) var device: VirtioDevice!
    private var owner = Owner.device
    private var corePort = SubmitterPort(rawValue: 0)
    private var fetchPort = SubmitterPort(rawValue: 0)
    private var deliverPort = SubmitterPort(rawValue: 0)

    public init(_ configuration: Configuration, path: DataPath) {
        self.configuration = configuration
        self.path = path
    }

    deinit { bounce.deallocate() }

    // MARK: DeviceType

    public var queueCount: Int { 2 }
    public var features: Features { [.consoleSize] }
    public let featureNames: [(bit: Int, name: String)] = [(0, "CONSOLE_SIZE")]

    /// `struct virtio_console_config`, section 5.3.4: columns, rows, number of ports.
    public func readConfiguration(_ offset: Int, size: Int) -> UInt64 {
        let space = UInt64(configuration.columns) | UInt64(configuration.rows) << 16 | 1 << 32
        guard offset >= 0, offset < 8 else { return 0 }
        let value = space >> UInt64(8 * offset)
        return size >= 8 ? value : value & (1 << UInt64(8 * size) - 1)
    }

    public func writeConfiguration(_ offset: Int, size: Int, _ value: UInt64) {}

    public func attach(to device: VirtioDevice) {
        self.device = device
        memory = device.memory
        owner = device.configuration.owner
        corePort = path.cores.attach(device)
        fetchPort = path.fromHost.attach(device)
        deliverPort = path.toHost.attach(device)
    }

    public func featuresAccepted(_ features: Features) { state.features = features }

    public func serve(queue: Int, _ queues: inout QueueSet, at cycle: Cycle) {
        if queue == Queue.transmit { takeOutput(&queues, at: cycle) } else { beginInput() }
    }

    public func completed(_ id: UInt64, _ queues: inout QueueSet, at cycle: Cycle) {
        guard UInt32(truncatingIfNeeded: id >> 32) == state.generation else { return }
        if id & 1 == UInt64(Queue.transmit) {
            moveOutput(&queues, at: cycle)
        } else {
            moveInput(&queues)
        }
    }

    public func advance(_ queues: inout QueueSet, at cycle: Cycle) {}
    public var nextDue: Cycle { .max }

    public var requestsInFlight: Int { (state.outputStage == .idle ? 0 : 1) + (state.inputStage == .idle ? 0 : 1) }

    public func requestsInFlight(queue: Int) -> Int {
        (queue == Queue.transmit ? state.outputStage : state.inputStage) == .idle ? 0 : 1
    }

    public func drop(queue: Int) {
        // What is on its way in the other direction is lost on the way and starts anew.
        let (input, output) = (state.inputStage != .idle, state.outputStage != .idle)
        abandon()
        if queue == Queue.receive, output { submitOutput() }
        if queue == Queue.transmit {
            dropOutput()
            if input { beginInput() }
        }
    }

    public func reset() {
        abandon()
        dropOutput()
        state.features = []
    }

    private func dropOutput() {
        if let chain = state.output { path.observer?.requestWithdrawn(report(chain)) }
        state.output = nil
    }

    private func abandon() {
        path.cores.abandon(owner: owner, port: corePort)
        path.fromHost.abandon(owner: owner, port: fetchPort)
        path.toHost.abandon(owner: owner, port: deliverPort)
        (state.outputStage, state.inputStage, state.inputOnWay) = (.idle, .idle, 0)
        state.generation &+= 1
    }

    private func id(_ queue: Int) -> UInt64 { UInt64(state.generation) << 32 | UInt64(queue) }

    // MARK: From the driver

    private func takeOutput(_ queues: inout QueueSet, at cycle: Cycle) {
        guard state.output == nil else { return }
        repeat {
            let chain = state.outputSegments.withUnsafeMutableBufferPointer { queues.take(Queue.transmit, from: memory, into: $0) }
            if let chain {
                (state.output, state.outputArrival) = (chain, cycle)
                path.observer?.requestArrived(report(chain))
                submitOutput()
                // The device looks again by itself when this one is done.
                queues.disableNotifications(Queue.transmit, in: memory)
                return
            }
        } while queues.enableNotifications(Queue.transmit, in: memory)
    }

    private func submitOutput() {
        state.outputStage = .service
        path.cores.submit(cost: configuration.chainCost, owner: owner, id: id(Queue.transmit), port: corePort)
    }

    private func report(_ chain: DescriptorChain, completion: Cycle = 0) -> IORequest {
        var stages = StageTimes()
        if completion != 0 {
            (stages.cores, stages.linkToDevice) = (state.outputServed &- state.outputArrival, completion &- state.outputServed)
        }
        return IORequest(
            owner: owner, queue: UInt16(Queue.transmit), kind: .write, position: state.bytesSent, bytes: chain.readableBytes,
            arrival: state.outputArrival, completion: completion, depth: 1, stages: stages)
    }

    /// The core, then the link, is done with the driver's chain.
    private func moveOutput(_ queues: inout QueueSet, at cycle: Cycle) {
        guard let chain = state.output else { return }
        if state.outputStage == .service {
            state.outputStage = .link
            state.outputServed = cycle
            path.fromHost.submit(
                bytes: chain.readableBytes &+ 16 &* UInt64(chain.segments), owner: owner, id: id(Queue.transmit), port: fetchPort)
            return
        }
        for index in 0..<Int(chain.readableSegments) {
            let segment = state.outputSegments[index]
            var done: UInt64 = 0
            while done < UInt64(segment.length) {
                let count = Int(min(UInt64(segment.length) &- done, UInt64(Self.piece)))
                let piece = UnsafeMutableRawBufferPointer(rebasing: bounce[..<count])
                guard memory.read(segment.address &+ done, into: piece) == .ok else {
                    return queues.fail(Queue.transmit, .bufferUnreachable(
                        descriptor: chain.head, address: segment.address &+ done, length: UInt32(count), isWrite: false))
                }
                onOutput?(UnsafeRawBufferPointer(piece))
                done &+= UInt64(count)
            }
        }
        guard queues.put(Queue.transmit, chain, written: 0, in: memory) else { return }
        path.observer?.requestCompleted(report(chain, completion: cycle))
        state.bytesSent &+= chain.readableBytes
        (state.output, state.outputStage) = (nil, .idle)
        takeOutput(&queues, at: cycle)
    }

    // MARK: To the driver

    /// Somebody types; how many of the bytes there was room for. Nothing is taken before there is a driver.
    public func type(_ bytes: [UInt8]) -> Int {
        guard device.isLive else { return 0 }
        let count = min(bytes.count, Self.inputLimit - state.input.count)
        state.input += bytes.prefix(count)
        beginInput()
        device.settle()
        return count
    }

    private func beginInput() {
        guard state.inputStage == .idle, !state.input.isEmpty else { return }
        state.inputStage = .service
        path.cores.submit(cost: configuration.chainCost, owner: owner, id: id(Queue.receive), port: corePort)
    }

    private func moveInput(_ queues: inout QueueSet) {
        if state.inputStage == .service {
            state.inputStage = .link
            state.inputOnWay = state.input.count
            path.toHost.submit(bytes: UInt64(state.inputOnWay), owner: owner, id: id(Queue.receive), port: deliverPort)
            return
        }
        state.inputStage = .idle
        withUnsafeTemporaryAllocation(of: Segment.self, capacity: Self.segmentLimit) { segments in
            while state.inputOnWay > 0 {
                guard let chain = queues.take(Queue.receive, from: memory, into: segments) else {
                    // The rest waits for the driver's next buffers.
                    if queues.enableNotifications(Queue.receive, in: memory) { continue }
                    break
                }
                guard fill(chain, segments, &queues) else { break }
            }
        }
        state.inputOnWay = 0
    }

    /// Writes typed bytes into a chain and gives it back; false if that failed.
    private func fill(_ chain: DescriptorChain, _ segments: UnsafeMutableBufferPointer<Segment>, _ queues: inout QueueSet) -> Bool {
        var done = 0
        for index in Int(chain.readableSegments)..<Int(chain.segments) where done < state.inputOnWay {
            let count = min(Int(segments[index].length), state.inputOnWay - done)
            let status = state.input.withUnsafeBytes {
                memory.write(segments[index].address, from: UnsafeRawBufferPointer(rebasing: $0[done..<done + count]))
            }
            guard status == .ok else {
                queues.fail(Queue.receive, .bufferUnreachable(
                    descriptor: chain.head, address: segments[index].address, length: UInt32(count), isWrite: true))
                return false
            }
            done += count
        }
        guard queues.put(Queue.receive, chain, written: UInt32(done), in: memory) else { return false }
        state.input.removeFirst(done)
        state.inputOnWay -= done
        state.bytesReceived &+= UInt64(done)
        return true
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.raw(&state.features)
        try archive.optional(&state.output, blank: DescriptorChain(head: 0)) { (archive, chain) throws(SnapshotError) in
            try archive.state(&chain)
        }
        try archive.raw(&state.outputStage)
        for index in state.outputSegments.indices { try archive.state(&state.outputSegments[index]) }
        let segments = Int(state.output?.segments ?? 0), readable = Int(state.output?.readableSegments ?? 0)
        try archive.require(
            segments <= Self.segmentLimit && readable <= segments, "expected at most \(Self.segmentLimit) buffers, found \(segments)")
        try archive.integer(&state.outputArrival)
        try archive.integer(&state.outputServed)
        try archive.array(&state.input, limit: Self.inputLimit, blank: 0) { (archive, byte) throws(SnapshotError) in
            try archive.integer(&byte)
        }
        try archive.integer(&state.inputOnWay, in: 0...state.input.count)
        try archive.raw(&state.inputStage)
        try archive.integer(&state.generation)
        try archive.integer(&state.bytesSent)
        try archive.integer(&state.bytesReceived)
    }
}
