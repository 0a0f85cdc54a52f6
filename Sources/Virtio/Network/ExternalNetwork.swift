import Interconnect
import Simulation

/// A wire that leads out of the device: what the driver sends is handed to whoever listens, what it receives comes from a capture file, at
/// the times at which it was captured, counted from when the device went live.
///
/// Frames from a live network come as inputs of the machine, straight to the device.
public final class ExternalNetwork: NetworkBackend {
    private let input: CaptureFile?
    private let cyclesPerMicrosecond: UInt64
    /// The next packet of the capture file.
    private var next = 0
    /// Takes what the driver sends, with the cycle at which it left. No part of the state: a replayed device sends to nobody.
    public var onTransmit: ((UnsafeRawBufferPointer, Cycle) -> Void)?
    private unowned(unsafe) var device: (any NetworkPort)?

    /// Reads and checks the whole capture file.
    public init(input: String? = nil, cyclesPerMicrosecond: UInt32) throws(NetworkBackendError) {
        self.cyclesPerMicrosecond = UInt64(max(cyclesPerMicrosecond, 1))
        self.input = if let input { try CaptureFile(contentsOf: input) } else { nil }
    }

    public func connect(_ device: any NetworkPort) -> Int {
        self.device = device
        return 0
    }

    public func transmit(_ frame: NetworkFrame, from port: Int, at cycle: Cycle) { onTransmit?(frame.bytes, cycle) }

    public func nextArrival(at port: Int) -> Cycle {
        guard let input, next < input.packets.count else { return .max }
        let (microseconds, rest) = input.packets[next].time.quotientAndRemainder(dividingBy: 1000)
        return microseconds &* cyclesPerMicrosecond &+ rest * cyclesPerMicrosecond / 1000
    }

    public func deliverArrivals(to port: Int, by cycle: Cycle) {
        while let input, nextArrival(at: port) <= cycle {
            let range = input.packets[next].range
            next += 1
            input.bytes.withUnsafeBytes { device?.receive(NetworkFrame(UnsafeRawBufferPointer(rebasing: $0[range]))) }
        }
    }

    public func archive(_ archive: inout StateArchive, port: Int) throws(SnapshotError) {
        try archive.integer(&next, in: 0...(input?.packets.count ?? 0))
    }
}
