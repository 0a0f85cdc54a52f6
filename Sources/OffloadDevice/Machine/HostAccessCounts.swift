import PCIExpress

/// How often host programs have read and written BARs since this machine was made.
public struct HostAccessCounts: Sendable {
    private static let bars = 6
    private var counts = [UInt64](repeating: 0, count: HierarchyDescription.indexLimit * bars * 2)

    /// - Parameter function: PCI function index.
    public func reads(function: Int, bar: Int) -> UInt64 { Self.place(function, bar).map { counts[$0] } ?? 0 }
    public func writes(function: Int, bar: Int) -> UInt64 { Self.place(function, bar).map { counts[$0 + 1] } ?? 0 }

    mutating func count(_ access: HostAccess) {
        guard let place = Self.place(access.function, access.bar) else { return }
        counts[access.value == nil ? place : place + 1] &+= 1
    }

    private static func place(_ function: Int, _ bar: Int) -> Int? {
        guard (0..<HierarchyDescription.indexLimit).contains(function), (0..<bars).contains(bar) else { return nil }
        return (function * bars + bar) * 2
    }
}

extension Machine {
    /// What host programs have accessed.
    public var hostAccesses: HostAccessCounts { locked { _ in accessCounts } }
}
