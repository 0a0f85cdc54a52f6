import Interconnect
import Simulation

/// A learning Ethernet switch (IEEE 802.1Q clause 8, without spanning tree) between the functions of one device.
///
/// A frame goes to the port where its destination was last seen as a source, in the same VLAN; multicast, broadcast and what was never
/// seen go to all ports but the one it came from. The table has a fixed number of places, and the oldest of a set gives way, so that what
/// happens depends on the frames alone.
public final class EthernetSwitch: NetworkBackend, ArchivedModel {
    struct Entry: Sendable {
        /// VLAN number above the address.
        var key = Entry.none
        var port: UInt8 = 0

        static let none = UInt64.max
    }

    public struct State: Sendable {
        /// Sets of ``EthernetSwitch/ways`` places, the one learnt last first.
        var table = [Entry](repeating: Entry(), count: EthernetSwitch.sets * EthernetSwitch.ways)
        /// Frames sent on to one port, and to all.
        public internal(set) var forwarded: UInt64 = 0
        public internal(set) var flooded: UInt64 = 0
    }

    static let sets = 256
    static let ways = 4

    public internal(set) var state = State()
    /// Owned by whoever owns the switch, and gone together with it.
    private struct Port { unowned(unsafe) let device: any NetworkPort }
    private var ports: [Port] = []

    public init() {}

    public func connect(_ device: any NetworkPort) -> Int {
        ports.append(Port(device: device))
        return ports.count - 1
    }

    public func transmit(_ frame: NetworkFrame, from port: Int, at cycle: Cycle) {
        let bytes = frame.bytes
        let isTagged = bytes.count >= 18 && bytes[12] == 0x81 && bytes[13] == 0
        let vlan = isTagged ? (UInt64(bytes[14]) << 8 | UInt64(bytes[15])) & 0xfff : 0
        let source = MACAddress(bytes, at: 6), destination = MACAddress(bytes, at: 0)
        if !source.isMulticast { learn(vlan << 48 | source.value, port) }
        if !destination.isMulticast, let target = self.port(of: vlan << 48 | destination.value) {
            state.forwarded &+= 1
            // Who sends to himself has been heard by all that there are.
            if target != port { ports[target].device.receive(frame) }
        } else {
            state.flooded &+= 1
            for target in ports.indices where target != port { ports[target].device.receive(frame) }
        }
    }

    private func set(of key: UInt64) -> Int {
        // Fibonacci hashing: the high bits of the product depend on all bits of the key.
        Int((key &* 0x9e37_79b9_7f4a_7c15) >> 56) * Self.ways
    }

    /// Forgets what it has learnt and counted.
    public func reset() { state = State() }

    private func port(of key: UInt64) -> Int? {
        let first = set(of: key)
        for place in first..<first + Self.ways where state.table[place].key == key { return Int(state.table[place].port) }
        return nil
    }

    private func learn(_ key: UInt64, _ port: Int) {
        let first = set(of: key)
        // Found, or the last of the set: what was before it moves on by one.
        var place = first
        while place < first + Self.ways - 1, state.table[place].key != key { place += 1 }
        while place > first {
            state.table[place] = state.table[place - 1]
            place -= 1
        }
        state.table[first] = Entry(key: key, port: UInt8(truncatingIfNeeded: port))
    }

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        let ports = max(ports.count, 1)
        try archive.section("switch") { (archive, _) throws(SnapshotError) in
            try archive.elements(&state.table) { (archive, entry) throws(SnapshotError) in
                try archive.integer(&entry.key)
                try archive.integer(&entry.port, in: 0...UInt8(ports - 1))
            }
            try archive.integer(&state.forwarded)
            try archive.integer(&state.flooded)
        }
    }
}
