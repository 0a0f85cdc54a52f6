import Interconnect
import Simulation

/// An Ethernet address.
public struct MACAddress: Hashable, Sendable, CustomStringConvertible {
    /// 48 bits, the first octet on the wire highest.
    public var value: UInt64

    public init(value: UInt64) { self.value = value & 0xffff_ffff_ffff }

    /// `52:54:00:12:34:56`; nil for anything else.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 6 else { return nil }
        value = 0
        for part in parts {
            guard part.utf8.count == 2, let octet = UInt8(part, radix: 16) else { return nil }
            value = value << 8 | UInt64(octet)
        }
    }

    /// Six octets of a frame.
    init(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        value = 0
        for index in 0..<6 { value = value << 8 | UInt64(bytes[offset + index]) }
    }

    public static let broadcast = MACAddress(value: 0xffff_ffff_ffff)
    public var isMulticast: Bool { value >> 40 & 1 != 0 }
    public var octets: [UInt8] { (0..<6).map { UInt8(truncatingIfNeeded: value >> UInt64(40 - 8 * $0)) } }

    public var description: String {
        octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: ":")
    }
}

/// What a network device announces and how long it takes; from the machine description.
public struct NetworkConfiguration: Sendable {
    public var mac = MACAddress(value: 0x5254_0000_0000)
    /// Receive and transmit queues, a pair each: 1...8.
    public var queuePairs = 1
    /// Payload of the largest frame, 68...9000: VIRTIO_NET_F_MTU.
    public var mtu: UInt16 = 1500
    /// Frames that the device keeps for each receive queue until the driver has buffers for them; a power of two.
    public var receiveSlots = 512
    /// Core cycles of a frame, in each direction.
    public var packetCost: Cycle = 100
    /// The wire between device and backend: frames follow each other at its rate, each later by its latency.
    public var wire = Wire()

    public struct Wire: Sendable {
        public var rate = Rate(bytesPerMicrosecond: 3125, cyclesPerMicrosecond: 1000)
        public var latency: Cycle = 1000

        public init() {}
    }

    public init() {}

    /// Bytes of the longest frame: payload, Ethernet header and a VLAN tag.
    public var frameBytes: Int { Int(mtu) + 18 }
    /// Mbit/s, as in VIRTIO_NET_F_SPEED_DUPLEX.
    var speed: UInt32 { UInt32(clamping: UInt64(wire.rate.bytesPerMicrosecond) * 8) }
}

/// `struct virtio_net_config`, section 5.1.4.
struct NetworkConfigurationSpace: Sendable {
    static let length = 17

    /// `VIRTIO_NET_S_LINK_UP`, `VIRTIO_NET_S_ANNOUNCE`.
    var isLinkUp = true
    var announces = false
    var mac: MACAddress

    init(_ configuration: NetworkConfiguration) { mac = configuration.mac }

    func read(_ offset: Int, size: Int, _ configuration: NetworkConfiguration) -> UInt64 {
        var value: UInt64 = 0
        for index in 0..<min(size, 8) { value |= UInt64(byte(offset + index, configuration)) << UInt64(8 * index) }
        return value
    }

    private func byte(_ offset: Int, _ configuration: NetworkConfiguration) -> UInt8 {
        func part(_ value: UInt32, _ index: Int) -> UInt8 { UInt8(truncatingIfNeeded: value >> UInt32(8 * index)) }
        switch offset {
        case 0..<6: return mac.octets[offset]
        case 6: return (isLinkUp ? 1 : 0) | (announces ? 2 : 0)
        case 8..<10: return part(UInt32(configuration.queuePairs), offset - 8)
        case 10..<12: return part(UInt32(configuration.mtu), offset - 10)
        case 12..<16: return part(configuration.speed, offset - 12)
        // Full duplex.
        case 16: return 1
        default: return 0
        }
    }

    /// A legacy driver sets its address by writing it, byte after byte (section 5.1.4.2, legacy interface).
    mutating func write(_ offset: Int, size: Int, _ value: UInt64) {
        for index in 0..<min(size, 8) where (0..<6).contains(offset + index) {
            let shift = UInt64(40 - 8 * (offset + index))
            mac.value = mac.value & ~(0xff << shift) | (value >> UInt64(8 * index) & 0xff) << shift
        }
    }
}

/// `struct virtio_net_hdr`, section 5.1.6: in front of every frame.
struct NetworkHeader {
    var flags: UInt8 = 0
    var gsoType: UInt8 = 0
    var checksumStart: UInt16 = 0
    var checksumOffset: UInt16 = 0
    /// Chains that the frame fills: `num_buffers`.
    var buffers: UInt16 = 1

    static let needsChecksum: UInt8 = 1
    static let dataValid: UInt8 = 2
    /// With VIRTIO_F_VERSION_1 or VIRTIO_NET_F_MRG_RXBUF; two bytes less for legacy drivers without the latter.
    static let maximumBytes = 12

    static func bytes(_ features: Features) -> Int {
        features.isDisjoint(with: [.version1, .networkMergeableBuffers]) ? 10 : maximumBytes
    }

    init() {}

    /// - Parameter bytes: 10 of them at least.
    init(_ bytes: UnsafeRawBufferPointer) {
        flags = bytes[0]
        gsoType = bytes[1]
        checksumStart = UInt16(bytes[6]) | UInt16(bytes[7]) << 8
        checksumOffset = UInt16(bytes[8]) | UInt16(bytes[9]) << 8
    }

    /// As a received frame has it: nothing but the flags and the number of buffers.
    func store(to bytes: UnsafeMutableRawBufferPointer) {
        for index in bytes.indices { bytes[index] = 0 }
        bytes[0] = flags
        if bytes.count >= Self.maximumBytes {
            bytes[10] = UInt8(truncatingIfNeeded: buffers)
            bytes[11] = UInt8(truncatingIfNeeded: buffers >> 8)
        }
    }
}
