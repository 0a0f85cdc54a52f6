import Interconnect
import Simulation

/// What makes a virtio device a block device, a network card, a console: chapter 5 of virtio 1.2.
///
/// ``VirtioDevice`` owns negotiation and queues and lends them to its type for the length of a call. A type keeps what is in flight in
/// its own state and never touches memory or queues outside these calls.
public protocol DeviceType: ArchivedModel {
    /// Virtio device type: 1 network, 2 block, 3 console.
    var id: UInt16 { get }
    /// For people: `blk`.
    var name: String { get }
    /// The feature bits of the type; those of queues and transport are ``VirtioDevice``'s.
    var features: Features { get }
    /// Names of the type's feature bits, for people.
    var featureNames: [(bit: Int, name: String)] { get }
    /// 1...64.
    var queueCount: Int { get }

    /// Reads `size` bytes of the device configuration (section 2.5), little-endian; beyond its end it is zero.
    func readConfiguration(_ offset: Int, size: Int) -> UInt64
    /// The driver writes the device configuration; what is read-only stays.
    func writeConfiguration(_ offset: Int, size: Int, _ value: UInt64)

    /// Binds the type to its device, which hears of completions and deadlines on the type's behalf.
    func attach(to device: VirtioDevice)
    /// The driver's features are final; queues may start.
    func featuresAccepted(_ features: Features)

    /// A queue may have chains.
    func serve(queue: Int, _ queues: inout QueueSet, at cycle: Cycle)
    /// What the type submitted to a link or pool under this id is done.
    func completed(_ id: UInt64, _ queues: inout QueueSet, at cycle: Cycle)
    /// The type's ``nextDue`` has come.
    func advance(_ queues: inout QueueSet, at cycle: Cycle)
    /// The earliest cycle for which the type waits by itself; `Cycle.max` if none.
    var nextDue: Cycle { get }

    /// Requests taken and not yet answered, over all queues.
    var requestsInFlight: Int { get }
    func requestsInFlight(queue: Int) -> Int
    /// Whether requests in flight can go back to their queues: nothing of one happens before its end.
    var isRecallable: Bool { get }
    /// Sends all requests in flight back to their queues, if they can.
    func recall(_ queues: inout QueueSet, at cycle: Cycle)
    /// Drops the requests of one queue: none of them moves a byte or completes.
    func drop(queue: Int)
    /// Drops all requests and forgets what was negotiated.
    func reset()
}

extension DeviceType {
    public var isRecallable: Bool { false }
    public func recall(_ queues: inout QueueSet, at cycle: Cycle) {}
}
