import Simulation

/// Which frames a driver wants: section 5.1.6.5, "Control virtqueue", commands of the classes RX, MAC and VLAN.
struct ReceiveFilter: Sendable {
    /// Until the driver says otherwise it gets everything: one without VIRTIO_NET_F_CTRL_RX could not ask for it.
    var isPromiscuous = true
    var allMulticast = false
    var allUnicast = false
    var noMulticast = false
    var noUnicast = false
    var noBroadcast = false
    /// The tables that the driver gave; one that was longer than ``tableLimit`` lets everything of its kind pass.
    private(set) var unicast: [MACAddress] = []
    private(set) var multicast: [MACAddress] = []
    private(set) var unicastOverflow = false
    private(set) var multicastOverflow = false
    /// Bit v: VLAN v passes. Looked at only where VIRTIO_NET_F_CTRL_VLAN was negotiated.
    private var vlans = [UInt64](repeating: 0, count: 64)
    var filtersVLANs = false

    static let tableLimit = 64

    mutating func setTables(unicast: [MACAddress], multicast: [MACAddress]) {
        unicastOverflow = unicast.count > Self.tableLimit
        multicastOverflow = multicast.count > Self.tableLimit
        self.unicast = unicastOverflow ? [] : unicast
        self.multicast = multicastOverflow ? [] : multicast
    }

    mutating func setVLAN(_ number: UInt16, passes: Bool) {
        let bit: UInt64 = 1 << UInt64(number & 63)
        if passes { vlans[Int(number >> 6) & 63] |= bit } else { vlans[Int(number >> 6) & 63] &= ~bit }
    }

    func passesVLAN(_ number: UInt16) -> Bool { vlans[Int(number >> 6) & 63] >> UInt64(number & 63) & 1 != 0 }

    /// Whether a frame of at least ``NetworkFrame/minimumBytes`` is for the driver, whose own address is `mac`.
    func passes(_ frame: UnsafeRawBufferPointer, mac: MACAddress) -> Bool {
        if isPromiscuous { return true }
        // IEEE 802.1Q: type 0x8100, then priority and VLAN number. Number 0 is priority alone.
        if filtersVLANs, frame.count >= 18, frame[12] == 0x81, frame[13] == 0 {
            let vlan = (UInt16(frame[14]) << 8 | UInt16(frame[15])) & 0xfff
            if vlan != 0, !passesVLAN(vlan) { return false }
        }
        let address = MACAddress(frame, at: 0)
        if address == .broadcast { return !noBroadcast }
        if address.isMulticast { return !noMulticast && (allMulticast || multicastOverflow || multicast.contains(address)) }
        return !noUnicast && (allUnicast || unicastOverflow || address == mac || unicast.contains(address))
    }
}

extension ReceiveFilter: ArchivedState {
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.flag(&isPromiscuous)
        try archive.flag(&allMulticast)
        try archive.flag(&allUnicast)
        try archive.flag(&noMulticast)
        try archive.flag(&noUnicast)
        try archive.flag(&noBroadcast)
        try archive.flag(&unicastOverflow)
        try archive.flag(&multicastOverflow)
        try archive.flag(&filtersVLANs)
        let blank = MACAddress(value: 0)
        try archive.array(&unicast, limit: Self.tableLimit, blank: blank) { (archive, address) throws(SnapshotError) in
            try archive.integer(&address.value, in: 0...0xffff_ffff_ffff)
        }
        try archive.array(&multicast, limit: Self.tableLimit, blank: blank) { (archive, address) throws(SnapshotError) in
            try archive.integer(&address.value, in: 0...0xffff_ffff_ffff)
        }
        try archive.integers(&vlans)
    }
}
