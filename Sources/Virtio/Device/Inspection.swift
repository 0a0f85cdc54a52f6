import Simulation

/// What people see of one queue: the files `queues/fnN/qM/{state,desc,avail,used}` of the mounted tree.
public struct QueueInspection: Sendable {
    public var queue: Int
    public var layout: QueueLayout
    public var isEnabled: Bool
    /// The ring's format, `split` or `packed`; nil while the queue isn't enabled.
    public var format: String?
    /// nil while the queue isn't enabled.
    public var indices: QueueIndices?
    public var requestsInFlight: Int
    public var status: DeviceStatus
    /// The device's last fault, if it was this queue's.
    public var lastFault: QueueFault?
}

extension QueueInspection: CustomStringConvertible {
    /// One `key: value` a line, each key always there.
    public var description: String {
        func hex(_ value: UInt64) -> String { "0x" + String(value, radix: 16) }
        func index(_ path: KeyPath<QueueIndices, UInt16>) -> String {
            guard let index = indices?[keyPath: path] else { return "-" }
            return format == "packed" ? "\(index & 0x7fff) wrap \(index >> 15)" : String(index)
        }
        let rows: [(String, String)] = [
            ("device status", status.description), ("enabled", isEnabled ? "yes" : "no"),
            ("format", format ?? "-"), ("size", String(layout.size)),
            ("descriptor area", hex(layout.descriptorArea)), ("driver area", hex(layout.driverArea)),
            ("device area", hex(layout.deviceArea)), ("available index", index(\.available)), ("taken index", index(\.taken)),
            ("used index", index(\.used)), ("in flight", String(requestsInFlight)),
            ("notifications", indices.map { $0.notificationsEnabled ? "wanted" : "suppressed" } ?? "-"),
            ("last error", lastFault?.description ?? "none"),
        ]
        return rows.map { "\($0.0): \($0.1)\n" }.joined()
    }
}

extension VirtioDevice {
    /// A queue as it stands; nil if there is no such queue. Changes nothing.
    public func inspect(queue: Int) -> QueueInspection? {
        guard state.queues.entries.indices.contains(queue) else { return nil }
        let entry = state.queues.entries[queue]
        let lastFault = state.lastFailure.flatMap { $0.queue == queue ? $0.fault : nil }
        return QueueInspection(
            queue: queue, layout: entry.layout, isEnabled: entry.isEnabled, format: entry.ring?.format, indices: entry.ring?.indices,
            requestsInFlight: type.requestsInFlight(queue: queue), status: state.status, lastFault: lastFault)
    }

    /// The bytes of one area of an enabled queue as the driver's memory has them; nil if it isn't enabled or can't be reached.
    public func peek(_ area: QueueArea, queue: Int) -> [UInt8]? {
        guard state.queues.entries.indices.contains(queue), state.queues.entries[queue].isEnabled else { return nil }
        let layout = state.queues.entries[queue].layout
        let count = state.queues.entries[queue].ring?.bytes(of: area) ?? 0
        let address =
            switch area {
            case .descriptors: layout.descriptorArea
            case .driver: layout.driverArea
            case .device: layout.deviceArea
            }
        return memory.peek(address, bytes: count)
    }

    /// The names of a set of features, `VIRTIO_` left out: `EVENT_IDX`, `BLK_FLUSH`; bits without a name as `BIT_42`.
    public func names(of features: Features) -> [String] {
        let names = type.featureNames + Features.reservedNames
        return (0..<64).filter { features.rawValue >> UInt64($0) & 1 != 0 }.map { bit in
            names.first { $0.bit == bit }?.name ?? "BIT_\(bit)"
        }
    }
}
