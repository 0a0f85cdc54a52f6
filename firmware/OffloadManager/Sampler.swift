import Hardware
import PolicyEngine

/// Reads the Workload Analyzer's windows.
public struct Sampler {
    private let analyzer: WA
    /// Window that was read last.
    public private(set) var latest: UInt32
    /// Windows that ended without being read, because the firmware was late or the next one ended while it read.
    public private(set) var missed: UInt32 = 0

    /// Cycles of the shortest and the longest window that may be set: shorter ones leave the firmware no time, in longer ones an
    /// owner's bytes may not fit 32 bits.
    public static let lengths: ClosedRange<UInt32> = 50_000...100_000_000

    public init(_ analyzer: WA) {
        self.analyzer = analyzer
        latest = analyzer.windowNumber.count
    }

    /// Owners whose latency is looked at in each window.
    static let few: UInt32 = 16

    /// Starts the windows.
    /// - Parameter length: in cycles, one of `lengths`.
    public mutating func start(length: UInt32) {
        setLength(length)
        analyzer.intrEnable = .init(window: true)
        analyzer.write(WA.CONTROL(enable: true))
        latest = analyzer.windowNumber.count
    }

    public func setLength(_ length: UInt32) { analyzer.windowLength = .init(cycles: length) }
    public var length: UInt32 { analyzer.windowLength.cycles }

    /// Reads the latest window of every active owner, and of no other, into the policy.
    /// - Returns: its number and who was active in it; nil if there is no new one.
    public mutating func sample(into policy: inout PolicyEngine) -> (number: UInt32, active: OwnerSet)? {
        analyzer.write(WA.INTR_STATE(window: true, overrun: true))
        let number = analyzer.windowNumber.count
        guard number != latest else { return nil }
        missed &+= number &- latest &- 1
        latest = number
        let active = OwnerSet(analyzer.active[0].owners, analyzer.active[1].owners, analyzer.active[2].owners)
        let isFew = active.count <= Self.few
        var rest = active
        while let owner = rest.popFirst() {
            let summary = analyzer.summary[owner]
            let requests = summary.requests.count
            let bytes = requests == 0 ? 0 : summary.readBytes.bytes &+ summary.writeBytes.bytes
            // Of many owners a quarter is enough in each window: the whole costs a fixed part of the hart.
            let looks = requests != 0 && (isFew || (UInt32(truncatingIfNeeded: owner) &+ number) & 3 == 0)
            policy.add(
                .init(
                    bytes: UInt32(clamping: bytes), requests: requests, depth: summary.depth.current,
                    latencyBucket: looks ? UInt8(truncatingIfNeeded: summary.latency.p99) : OwnerSample.unknown), of: owner)
        }
        // Sampling takes a small part of the shortest window. Should a window have ended meanwhile all the same, then a few owners were
        // seen one window late, which the average forgives; the new one is read at its own interrupt.
        return (number, active)
    }
}
