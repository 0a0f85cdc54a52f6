import Interconnect
import Simulation

/// An Ethernet frame without its frame check sequence, on its way between a device and its backend. The bytes hold during the call alone.
public struct NetworkFrame {
    public var bytes: UnsafeRawBufferPointer
    /// Its TCP or UDP checksum is known to be right.
    public var isChecksumValid: Bool

    public init(_ bytes: UnsafeRawBufferPointer, isChecksumValid: Bool = false) {
        self.bytes = bytes; self.isChecksumValid = isChecksumValid
    }

    /// Bytes of the shortest frame that has two addresses and a type.
    static let minimumBytes = 14
}

/// Takes the frames that come off a wire: a network device.
public protocol NetworkPort: AnyObject {
    /// A frame sets out towards the device at the present cycle.
    func receive(_ frame: NetworkFrame)
}

/// What is at the far end of a network device's wire.
public protocol NetworkBackend: AnyObject {
    /// The device at `port` has sent a frame.
    func transmit(_ frame: NetworkFrame, from port: Int, at cycle: Cycle)
    /// Connects a device; the number of its port.
    func connect(_ device: any NetworkPort) -> Int
    /// The cycle at which the backend has a frame for `port` by itself, counted from when its device went live; `Cycle.max` if none.
    func nextArrival(at port: Int) -> Cycle
    /// Hands over what has arrived for `port` by `cycle`, counted as in ``nextArrival(at:)``.
    func deliverArrivals(to port: Int, by cycle: Cycle)
    /// Saves or replaces what belongs to one port alone.
    func archive(_ archive: inout StateArchive, port: Int) throws(SnapshotError)
}

extension NetworkBackend {
    public func nextArrival(at port: Int) -> Cycle { .max }
    public func deliverArrivals(to port: Int, by cycle: Cycle) {}
    public func archive(_ archive: inout StateArchive, port: Int) throws(SnapshotError) {}
}

/// Every frame comes back to who sent it.
public final class LoopBack: NetworkBackend {
    private unowned(unsafe) var device: (any NetworkPort)?

    public init() {}

    public func connect(_ device: any NetworkPort) -> Int {
        self.device = device
        return 0
    }

    public func transmit(_ frame: NetworkFrame, from port: Int, at cycle: Cycle) { device?.receive(frame) }
}
