import Registers
import Simulation

/// Who owns a request, a partition or a piece of memory. See docs/architecture.md, "What crosses the borders".
public struct Owner: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt8
    @inlinable public init(rawValue: UInt8) { self.rawValue = rawValue }
    /// The host itself: the physical function.
    public static let host = Owner(rawValue: 0)
    /// The device itself.
    public static let device = Owner(rawValue: 255)
    /// Virtual machine `number`, 1...64, which is the virtual function of that PCI function index.
    @inlinable public static func virtualMachine(_ number: Int) -> Owner { .init(rawValue: UInt8(truncatingIfNeeded: number)) }
}

/// How long a completed request was at each stage of the data path, waiting included.
public struct StageTimes: Hashable, Sendable {
    public var cores: Cycle = 0
    public var linkToDevice: Cycle = 0
    /// A disk, or the wire.
    public var medium: Cycle = 0
    public var linkToHost: Cycle = 0

    @inlinable public init() {}

    /// From the cycles at which the stages ended, none before the one before it.
    @inlinable public init(from arrival: Cycle, served: Cycle, fetched: Cycle, mediumDone: Cycle, completion: Cycle) {
        (cores, linkToDevice) = (served &- arrival, fetched &- served)
        (medium, linkToHost) = (mediumDone &- fetched, completion &- mediumDone)
    }
}

/// One I/O request on its way through the device, as the hardware counters see it.
public struct IORequest: Sendable {
    /// What a request does.
    public enum Kind: UInt8, Sendable { case read = 0, write = 1, flush = 2, discard = 3, other = 4 }
    public var owner: Owner
    public var queue: UInt16
    public var kind: Kind
    /// First byte on the medium.
    public var position: UInt64
    /// Payload bytes.
    public var bytes: UInt64
    /// The device took it from its queue.
    public var arrival: Cycle
    /// Its used-ring entry was written; 0 before that.
    public var completion: Cycle
    /// Requests of the same owner in flight, this one included.
    public var depth: UInt32
    /// Where the time from arrival to completion went; zero before that.
    public var stages: StageTimes

    public init(
        owner: Owner, queue: UInt16, kind: Kind, position: UInt64, bytes: UInt64, arrival: Cycle, completion: Cycle = 0, depth: UInt32,
        stages: StageTimes = StageTimes()
    ) {
        self.owner = owner; self.queue = queue; self.kind = kind; self.position = position; self.bytes = bytes
        self.arrival = arrival; self.completion = completion; self.depth = depth; self.stages = stages
    }
}

/// Sees every request of the data path: the Workload Analyzer's tap.
public protocol DataPathObserver: AnyObject {
    func requestArrived(_ request: IORequest)
    func requestCompleted(_ request: IORequest)
    /// A request that had arrived is in flight no more, and is not done: it went back to its queue, and will arrive again, here or
    /// elsewhere; or it is gone with a reset of its device or queue.
    func requestWithdrawn(_ request: IORequest)
}

/// What all owners share, and how much of it was used: the Workload Analyzer asks at the end of a window.
public protocol UtilisationSource: AnyObject {
    /// Cores, link to the device, link to the host, fabric, in this order.
    func usage(of resource: Int) -> ResourceUsage
    /// What an owner has used of cores (cycles) and of the link's directions (bytes), ever.
    func used(_ resource: Int, by owner: Owner) -> UInt64
}

/// A resource's units and the cycles for which they were busy, ever.
public struct ResourceUsage: Hashable, Sendable {
    public var units: UInt32
    public var busy: Cycle

    public init(units: UInt32, busy: Cycle) { self.units = units; self.busy = busy }
}

/// Sees every byte range that device DMA wrote to an owner's memory: the Logging engine's tap.
public protocol DMAObserver: AnyObject {
    func memoryWritten(owner: Owner, address: UInt64, bytes: Int, at cycle: Cycle)
}

/// What one owner was granted of the device.
public struct Partition: Hashable, Sendable {
    /// Share of the link's bandwidth guaranteed to the owner, in 1/1000 of the whole.
    public var guarantee: UInt16
    /// Limit of bandwidth, in bytes per microsecond (= MB/s at 1 GHz); 0: no limit.
    public var limit: UInt32
    /// Weight among owners that want more than their guarantee.
    public var weight: UInt16
    /// log2 of the factor by which the weight counts, at most 15.
    public var boost: UInt8
    /// Service cores set aside for the owner; 0: the owner shares those that nobody has.
    public var serviceCores: UInt8
    /// Accelerator slots of the two types; likewise.
    public var gpuSlots: UInt8
    public var fpgaSlots: UInt8
    /// Bytes of memory for the payload of its requests in flight; 0: the device's common buffers.
    public var memory: UInt64

    public init(
        guarantee: UInt16 = 0, limit: UInt32 = 0, weight: UInt16 = 1, boost: UInt8 = 0, serviceCores: UInt8 = 0, gpuSlots: UInt8 = 0,
        fpgaSlots: UInt8 = 0, memory: UInt64 = 0
    ) {
        self.guarantee = guarantee; self.limit = limit; self.weight = weight; self.boost = boost; self.serviceCores = serviceCores
        self.gpuSlots = gpuSlots; self.fpgaSlots = fpgaSlots; self.memory = memory
    }

    /// The weight with its boost.
    var boostedWeight: UInt64 { UInt64(max(weight, 1)) << UInt64(min(boost, Self.greatestBoost)) }

    static let greatestBoost: UInt8 = 15
    static let greatestWeight = UInt64(UInt16.max) << UInt64(greatestBoost)
}

/// Knows what owners have asked of the accelerators: the Resource Manager's counters.
public protocol SlotUseSource: AnyObject {
    /// Requests of the owner at slots of a type, served or waiting, integrated over time.
    func requestCycles(at type: AcceleratorType, of owner: Owner) -> UInt64
}

/// The types of accelerator slots.
public enum AcceleratorType: String, Hashable, Sendable, CaseIterable { case gpu, fpga }

/// Is told what the Resource Manager has committed: links and service pools obey it from that cycle on.
public protocol PartitionSink: AnyObject {
    /// The whole table at once, index = owner number (0...64).
    func partitionsCommitted(_ table: [Partition], at cycle: Cycle)
}

/// A way into memory for a device's DMA, behind the IOMMU domain of one PCI function.
///
/// A transfer that any part of which is not allowed moves no byte, is recorded as an IOMMU fault, and returns the status.
public protocol DMAPort: AnyObject {
    /// Where a device may look before it asks the port: memory that it finds open there it reads and writes itself, and tells of writes
    /// by ``wrote(_:count:)``. The same one for as long as the port lives.
    var translations: TranslationCache { get }
    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> BusStatus
    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> BusStatus
    /// What a read would find, for people who look; false where it would be refused. Records nothing.
    func peek(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool

    /// The memory behind `count` bytes at `address`, if that is one contiguous piece which the function may read (or write) now.
    ///
    /// Nil records no fault: the caller falls back on `read` or `write`, which serve what lies in several pieces and record
    /// what is not allowed. The pointer holds until something else of the machine runs, since that may take the mapping away.
    func pointer(to address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer?
    /// What a transfer of these bytes would return now, without moving any: lets a device refuse a whole scatter-gather list
    /// before it touches the first part. A refusal is recorded as the transfer's would be.
    func check(_ address: UInt64, count: Int, writing: Bool) -> BusStatus
    /// Tells the observers of `count` bytes at `address` that were written through a pointer.
    func wrote(_ address: UInt64, count: Int)
    /// The driver has reset the device: memory that it had lent is its own again.
    func released()
}

extension DMAPort {
    public var translations: TranslationCache { .none }
    public func released() {}
}

/// What of a component the controller shows for the whole of it.
public struct ComponentContext: Equatable, Sendable {
    /// The device status field, virtio 1.2 section 2.1.
    public var status: UInt8 = 0
    /// The feature bits that were agreed on.
    public var features: UInt64 = 0
    public var isLive = false
    /// Its driver waits for it to be on the device: ``DoorbellRouter/recall(component:)``.
    public var isRecalled = false
    /// A host can serve it.
    public var isPortable = false
    /// ``VirtualComponent/recallRequests()`` works.
    public var isRecallable = false

    public init() {}
}

/// One virtqueue of a component, as it is moved: layout, positions, and what was taken and is worked on by nobody.
public struct QueueContext: Equatable, Sendable {
    public var size: UInt16 = 0
    public var isEnabled = false
    public var descriptorArea: UInt64 = 0
    public var driverArea: UInt64 = 0
    public var deviceArea: UInt64 = 0
    /// Positions of a split ring, free-running.
    public var taken: UInt16 = 0
    public var used: UInt16 = 0
    /// Heads of the chains that were taken and went back, in the order in which they are to be served.
    public var heads: [UInt16] = []

    public init() {}
}

/// A virtual I/O component as its controller sees it.
public protocol VirtualComponent: AnyObject {
    /// Requests taken from its queues and not yet answered.
    var requestsInFlight: Int { get }
    /// Whether it takes requests from its queues. While false it finishes those in flight; becoming true, it looks at all queues.
    var isServing: Bool { get set }
    /// Serves a queue whose doorbell was held back.
    func serve(queue: Int, at cycle: Cycle)

    // What moves.

    var context: ComponentContext { get }
    /// nil if there is no such queue.
    func context(ofQueue queue: Int) -> QueueContext?
    /// The used ring's index in the driver's memory; nil if it can't be read, or the ring has none.
    func usedIndex(ofQueue queue: Int) -> UInt16?
    /// A word of the device configuration.
    func configurationWord(_ index: Int) -> UInt32
    /// Sends all requests in flight back to their queues, as if they had just been taken: nothing of them has happened.
    func recallRequests()
    /// Sets the positions of a queue. Its driver gets an interrupt when the component serves next, since it may have missed one.
    func load(queue: Int, taken: UInt16, used: UInt16)
    /// Adds a chain that was taken elsewhere and is to be served here.
    func addHead(_ head: UInt16, queue: Int)
    /// Sends the driver the interrupt of a queue: the host has used chains.
    func interruptDriver(queue: Int)
}

/// Decides about doorbells before the data path sees them: the VIC controller's tap. Components have their PCI function's index.
public protocol DoorbellRouter: AnyObject {
    /// Whether the device serves this doorbell now; false if the router keeps it, for later or for the host.
    func doorbellRang(component: Int, queue: Int, at cycle: Cycle) -> Bool
    /// A component's last request in flight was answered, or vanished with a reset.
    func componentDrained(_ component: Int, at cycle: Cycle)
    /// The driver asks for a change that only the device can make: of status or queues.
    /// - Returns: whether it has to wait until the component serves here again.
    func recall(component: Int) -> Bool
    /// The function was reset: whoever had the component has lost it.
    func componentReset(_ component: Int)
}
