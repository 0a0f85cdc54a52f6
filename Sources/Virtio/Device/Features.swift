/// Feature bits of virtio 1.2: 0 to 23 and 50 to 127 belong to the device type, 24 to 49 to queues, transport and negotiation.
public struct Features: OptionSet, Hashable, Sendable {
    public let rawValue: UInt64
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    private init(bit: UInt64) { rawValue = 1 << bit }

    // Reserved feature bits, chapter 6.
    public static let indirectDescriptors = Features(bit: 28)
    public static let eventIndex = Features(bit: 29)
    public static let version1 = Features(bit: 32)
    /// VIRTIO_F_ACCESS_PLATFORM: addresses go through the function's IOMMU domain.
    public static let accessPlatform = Features(bit: 33)
    public static let packedRing = Features(bit: 34)
    public static let inOrder = Features(bit: 35)
    public static let orderPlatform = Features(bit: 36)
    public static let singleRootIOV = Features(bit: 37)
    public static let notificationData = Features(bit: 38)
    public static let ringReset = Features(bit: 40)

    /// VIRTIO_F_ANY_LAYOUT, of legacy devices alone (section 6.3): requests may be cut into buffers as the driver likes.
    public static let anyLayout = Features(bit: 27)

    // Network device, section 5.1.3.
    public static let networkChecksum = Features(bit: 0)
    public static let networkGuestChecksum = Features(bit: 1)
    public static let networkMTU = Features(bit: 3)
    public static let networkMAC = Features(bit: 5)
    public static let networkMergeableBuffers = Features(bit: 15)
    public static let networkStatus = Features(bit: 16)
    public static let networkControlQueue = Features(bit: 17)
    public static let networkControlReceive = Features(bit: 18)
    public static let networkControlVLAN = Features(bit: 19)
    public static let networkControlReceiveExtra = Features(bit: 20)
    public static let networkAnnounce = Features(bit: 21)
    public static let networkMultiQueue = Features(bit: 22)
    public static let networkControlMAC = Features(bit: 23)
    public static let networkCoalescing = Features(bit: 53)
    public static let networkSpeed = Features(bit: 63)

    // Console device, section 5.3.3.
    public static let consoleSize = Features(bit: 0)

    // Block device, section 5.2.3.
    public static let blockSizeMax = Features(bit: 1)
    public static let blockSegmentMax = Features(bit: 2)
    public static let blockReadOnly = Features(bit: 5)
    public static let blockBlockSize = Features(bit: 6)
    public static let blockFlush = Features(bit: 9)
    public static let blockTopology = Features(bit: 10)
    public static let blockConfigWriteback = Features(bit: 11)
    public static let blockMultiQueue = Features(bit: 12)
    public static let blockDiscard = Features(bit: 13)
    public static let blockWriteZeroes = Features(bit: 14)

    /// Bits that mean the same for every device type; the rest are named by the type.
    static let reservedNames: [(bit: Int, name: String)] = [
        (27, "ANY_LAYOUT"), (28, "INDIRECT_DESC"), (29, "EVENT_IDX"), (32, "VERSION_1"), (33, "ACCESS_PLATFORM"), (34, "RING_PACKED"),
        (35, "IN_ORDER"), (36, "ORDER_PLATFORM"), (37, "SR_IOV"), (38, "NOTIFICATION_DATA"), (40, "RING_RESET"),
    ]
}

/// The device status field, virtio 1.2 section 2.1.
public struct DeviceStatus: OptionSet, Hashable, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    public static let acknowledge = DeviceStatus(rawValue: 1)
    public static let driver = DeviceStatus(rawValue: 2)
    public static let driverOK = DeviceStatus(rawValue: 4)
    public static let featuresOK = DeviceStatus(rawValue: 8)
    public static let needsReset = DeviceStatus(rawValue: 64)
    public static let failed = DeviceStatus(rawValue: 128)

    /// What a driver may set.
    static let writable: DeviceStatus = [.acknowledge, .driver, .driverOK, .featuresOK, .failed]
}

extension DeviceStatus: CustomStringConvertible {
    /// `ACKNOWLEDGE|DRIVER`, or `reset`.
    public var description: String {
        let names: [(DeviceStatus, String)] = [
            (.acknowledge, "ACKNOWLEDGE"), (.driver, "DRIVER"), (.featuresOK, "FEATURES_OK"), (.driverOK, "DRIVER_OK"),
            (.needsReset, "DEVICE_NEEDS_RESET"), (.failed, "FAILED"),
        ]
        return isEmpty ? "reset" : names.filter { contains($0.0) }.map(\.1).joined(separator: "|")
    }
}
