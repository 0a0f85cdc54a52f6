import Glibc

/// A modern virtio device behind a PCI function (virtio 1.2, 4.1): its registers, by `pread` and `pwrite` of its BAR files.
public final class VirtioFunction {
    /// Feature bits (6.3 and 5.2.3) that this driver knows.
    public enum Feature {
        public static let blockReadOnly: UInt64 = 1 << 5
        public static let blockFlush: UInt64 = 1 << 9
        public static let blockDiscard: UInt64 = 1 << 13
        public static let indirectDescriptors: UInt64 = 1 << 28
        public static let eventIndex: UInt64 = 1 << 29
        public static let version1: UInt64 = 1 << 32
    }

    /// Device status bits (2.1).
    public enum Status {
        public static let acknowledge: UInt8 = 1
        public static let driver: UInt8 = 2
        public static let driverOK: UInt8 = 4
        public static let featuresOK: UInt8 = 8
        public static let needsReset: UInt8 = 64
        public static let failed: UInt8 = 128
    }

    /// Offsets in the common configuration (4.1.4.3).
    private enum Common {
        static let deviceFeatureSelect = 0, deviceFeature = 4, driverFeatureSelect = 8, driverFeature = 12
        static let queueCount = 18, status = 20, configGeneration = 21
        static let queueSelect = 22, queueSize = 24, queueVector = 26, queueEnable = 28, queueNotifyOffset = 30
        static let queueDescriptors = 32, queueDriver = 40, queueDevice = 48
    }

    /// A part of a BAR that a vendor-specific capability points out (4.1.4).
    private struct Region {
        var file: File
        var offset: Int
        var length: Int
    }

    public let device: PCIDevice
    private let common: Region
    private let notify: Region
    private let notifyMultiplier: Int
    private let configuration: Region
    /// What both sides agreed on; 0 before ``negotiate(wanted:)``.
    public private(set) var features: UInt64 = 0

    public init(_ device: PCIDevice) throws(AgentError) {
        self.device = device
        let config = try device.open("config")
        var regions: [UInt8: Region] = [:]
        var multiplier = 0
        var files: [UInt8: File] = [:]
        var pointer = Int(try config.read(UInt8.self, at: 0x34)) & ~3
        // 48 capabilities at most fit between 0x40 and 0xff: a longer chain has a loop.
        for _ in 0..<48 where pointer >= 0x40 {
            let id = try config.read(UInt8.self, at: pointer)
            if id == 9 {
                let type = try config.read(UInt8.self, at: pointer + 3), bar = try config.read(UInt8.self, at: pointer + 4)
                if (1...4).contains(type), bar < 6, regions[type] == nil {
                    if files[bar] == nil { files[bar] = try device.open("resource\(bar)") }
                    let file = files[bar]!
                    let offset = try config.read(UInt32.self, at: pointer + 8), length = try config.read(UInt32.self, at: pointer + 12)
                    regions[type] = Region(file: file, offset: Int(offset), length: Int(length))
                    if type == 2 { multiplier = Int(try config.read(UInt32.self, at: pointer + 16)) }
                }
            }
            pointer = Int(try config.read(UInt8.self, at: pointer + 1)) & ~3
        }
        guard let common = regions[1], let notify = regions[2], let configuration = regions[4] else {
            throw AgentError("\(device.address): no modern virtio device: capabilities 1, 2 and 4 expected, \(regions.keys.sorted()) found")
        }
        self.common = common
        self.notify = notify
        self.configuration = configuration
        notifyMultiplier = multiplier
    }

    // MARK: Initialisation (3.1.1)

    /// The device status (2.1).
    public var status: UInt8 {
        get throws(AgentError) { try common.file.read(UInt8.self, at: common.offset + Common.status) }
    }

    /// Resets the device and waits until it says that it is (2.4).
    public func reset() throws(AgentError) {
        try setStatus(0)
        for _ in 0..<1_000_000 {
            if try status == 0 { return }
        }
        throw AgentError("\(device.address): device status stays 0x\(hex(try status)) after a reset, 0 expected")
    }

    /// Resets the device and agrees on the features that both sides have.
    public func negotiate(wanted: UInt64) throws(AgentError) {
        try reset()
        try setStatus(Status.acknowledge)
        try setStatus(Status.acknowledge | Status.driver)
        var offered: UInt64 = 0
        for half in [0, 1] {
            try common.file.write(UInt32(half), at: common.offset + Common.deviceFeatureSelect)
            offered |= UInt64(try common.file.read(UInt32.self, at: common.offset + Common.deviceFeature)) << UInt64(32 * half)
        }
        guard offered & Feature.version1 != 0 else { throw AgentError("\(device.address): the device doesn't offer VIRTIO_F_VERSION_1") }
        features = offered & (wanted | Feature.version1)
        for half in [0, 1] {
            try common.file.write(UInt32(half), at: common.offset + Common.driverFeatureSelect)
            try common.file.write(UInt32(truncatingIfNeeded: features >> UInt64(32 * half)), at: common.offset + Common.driverFeature)
        }
        try setStatus(Status.acknowledge | Status.driver | Status.featuresOK)
        guard try status & Status.featuresOK != 0 else {
            throw AgentError("\(device.address): the device refuses the features 0x\(hex(features)) of its 0x\(hex(offered))")
        }
    }

    /// Ends the initialisation: the device may use its queues from here on.
    public func driverOK() throws(AgentError) {
        try setStatus(Status.acknowledge | Status.driver | Status.featuresOK | Status.driverOK)
    }

    private func setStatus(_ value: UInt8) throws(AgentError) {
        try common.file.write(value, at: common.offset + Common.status)
    }

    // MARK: Queues (4.1.4.3, 4.1.5.1.3)

    public var queueCount: Int {
        get throws(AgentError) { Int(try common.file.read(UInt16.self, at: common.offset + Common.queueCount)) }
    }

    /// The largest size that the device takes for this queue.
    public func maximumSize(ofQueue queue: Int) throws(AgentError) -> Int {
        try common.file.write(UInt16(queue), at: common.offset + Common.queueSelect)
        return Int(try common.file.read(UInt16.self, at: common.offset + Common.queueSize))
    }

    /// Tells the device where a queue's rings are and which MSI-X vector it shall use, and enables it.
    ///
    /// - Returns: the doorbell's offset in the notification region.
    func enableQueue(
        _ queue: Int, size: Int, vector: UInt16, descriptors: UInt64, driver: UInt64, device ring: UInt64
    ) throws(AgentError) -> Int {
        let file = common.file, base = common.offset
        try file.write(UInt16(queue), at: base + Common.queueSelect)
        try file.write(UInt16(size), at: base + Common.queueSize)
        try file.write(vector, at: base + Common.queueVector)
        let taken = try file.read(UInt16.self, at: base + Common.queueVector)
        guard taken == vector else {
            throw AgentError("\(device.address): queue \(queue): no MSI-X vector \(vector): 0x\(hex(taken)) read back")
        }
        for (offset, address) in [(Common.queueDescriptors, descriptors), (Common.queueDriver, driver), (Common.queueDevice, ring)] {
            try file.write(UInt32(truncatingIfNeeded: address), at: base + offset)
            try file.write(UInt32(truncatingIfNeeded: address >> 32), at: base + offset + 4)
        }
        let doorbell = Int(try file.read(UInt16.self, at: base + Common.queueNotifyOffset)) * notifyMultiplier
        guard doorbell <= notify.length - 2 else {
            throw AgentError(
                "\(device.address): queue \(queue): doorbell at 0x\(hex(doorbell)), beyond the 0x\(hex(notify.length)) bytes of its region")
        }
        try file.write(UInt16(1), at: base + Common.queueEnable)
        return doorbell
    }

    func notify(queue: Int, doorbell: Int) throws(AgentError) {
        try notify.file.write(UInt16(queue), at: notify.offset + doorbell)
    }

    // MARK: Device configuration (2.5)

    /// A field of the device configuration, of at most 32 bits.
    public func configuration<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) throws(AgentError) -> T {
        try configuration.file.read(T.self, at: configuration.offset + offset)
    }

    /// A value wider than 32 bits, read in halves until its generation did not change meanwhile (2.5.3).
    public func configuration64(at offset: Int) throws(AgentError) -> UInt64 {
        while true {
            let before = try common.file.read(UInt8.self, at: common.offset + Common.configGeneration)
            let low = try configuration(UInt32.self, at: offset), high = try configuration(UInt32.self, at: offset + 4)
            if try common.file.read(UInt8.self, at: common.offset + Common.configGeneration) == before {
                return UInt64(high) << 32 | UInt64(low)
            }
        }
    }
}

/// Enables MSI-X of a function and unmasks its first vectors (PCIe 5.0, 7.7.2), as a kernel's driver does.
public func enableMessageInterrupts(_ device: PCIDevice, vectors: Int) throws(AgentError) {
    let config = try device.open("config")
    guard try config.read(UInt32.self, at: 4) != .max else {
        throw AgentError("\(device.address): expected a device that answers, found all ones: it is gone")
    }
    var pointer = Int(try config.read(UInt8.self, at: 0x34)) & ~3
    for _ in 0..<48 where pointer >= 0x40 {
        if try config.read(UInt8.self, at: pointer) == 0x11 {
            let control = try config.read(UInt16.self, at: pointer + 2)
            let table = try config.read(UInt32.self, at: pointer + 4)
            let file = try device.open("resource\(table & 7)")
            let count = Int(control & 0x7ff) + 1
            guard vectors <= count else { throw AgentError("\(device.address): \(vectors) MSI-X vectors needed, it has \(count)") }
            for vector in 0..<vectors {
                let entry = Int(table & ~7) + 16 * vector
                try file.write(UInt32(0xfee0_0000), at: entry)
                try file.write(UInt32(0), at: entry + 4)
                try file.write(UInt32(vector), at: entry + 8)
                try file.write(UInt32(0), at: entry + 12)
            }
            try config.write(control & 0x3fff | 0x8000, at: pointer + 2)
            return
        }
        pointer = Int(try config.read(UInt8.self, at: pointer + 1)) & ~3
    }
    throw AgentError("\(device.address): no MSI-X capability")
}
