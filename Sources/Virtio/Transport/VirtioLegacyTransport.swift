import Interconnect
import RegisterMaps
import Registers
import Simulation

/// The legacy interface of a transitional function (virtio 1.2 section 4.1.4.10): registers in an I/O BAR, as `regmaps/virtio_legacy` lays
/// them out, in front of the device that a ``VirtioPCITransport`` shows in memory.
///
/// Both have one ISR status, one set of vectors, and end with one reset.
public final class VirtioLegacyTransport: BusTarget, RegisterModel {
    public let block: RegisterBlock
    private unowned let modern: VirtioPCITransport
    private var device: VirtioDevice { modern.device }

    /// Bytes in front of the device configuration while MSI-X is enabled: two vectors.
    private static let vectorBytes: UInt64 = 4

    /// - Parameter number: what register events tell this function's registers by.
    public init(beside modern: VirtioPCITransport, number: Int = 0) {
        self.modern = modern
        block = RegisterBlock(VIRTIO_LEGACY.map, number: number)
        modern.legacy = self
        show()
    }

    // MARK: The bus side

    public func access(_ access: inout BusAccess) -> BusStatus {
        guard !(access.isWrite && device.state.hasFrontEnd) else { return .denied }
        return block.access(&access, model: self)
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        block.peek(address, size: size, model: self)
    }

    public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        switch register {
        case VIRTIO_LEGACY.ISR_STATUS: modern.interruptStatusRead()
        default: break
        }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case VIRTIO_LEGACY.DRIVER_FEATURES: device.writeLegacyFeatures(UInt32(truncatingIfNeeded: new))
        case VIRTIO_LEGACY.QUEUE_ADDRESS: device.setLegacyQueue(selectedQueue, page: UInt32(truncatingIfNeeded: new))
        case VIRTIO_LEGACY.QUEUE_NOTIFY: device.doorbell(queue: Int(new), at: access.time)
        case VIRTIO_LEGACY.DEVICE_STATUS:
            if UInt8(truncatingIfNeeded: access.value) == 0 { return modern.reset(.soft) }
            device.writeLegacyStatus(UInt8(truncatingIfNeeded: access.value))
        default: break
        }
        show()
    }

    private var selectedQueue: Int { Int(block[VIRTIO_LEGACY.QUEUE_SELECT]) }

    // MARK: Vectors and device configuration

    public func access(_ access: inout BusAccess, window: WindowIndex) -> BusStatus {
        let offset = access.address, size = Int(access.size)
        guard let configuration = configurationOffset(offset) else {
            guard size == 2 else { return .wrongSize }
            if !access.isWrite {
                access.value = UInt64(vector(offset))
            } else if offset == 0 {
                modern.setConfigurationVector(access.value)
            } else {
                modern.setVector(access.value, queue: selectedQueue)
            }
            return .ok
        }
        if access.isWrite {
            device.type.writeConfiguration(configuration, size: size, access.value)
        } else {
            access.value = device.type.readConfiguration(configuration, size: size)
        }
        return .ok
    }

    public func peek(_ offset: UInt64, size: Int, window: WindowIndex) -> UInt64? {
        if let configuration = configurationOffset(offset) { return device.type.readConfiguration(configuration, size: size) }
        return size == 2 ? UInt64(vector(offset)) : nil
    }

    /// Where in the device configuration an offset of the window is; nil in the vectors.
    private func configurationOffset(_ offset: UInt64) -> Int? {
        guard modern.isMSIXEnabled else { return Int(offset) }
        return offset >= Self.vectorBytes ? Int(offset - Self.vectorBytes) : nil
    }

    private func vector(_ offset: UInt64) -> UInt16 {
        offset == 0 ? modern.configurationVector : modern.vector(ofQueue: selectedQueue)
    }

    // MARK: The device's side of the registers

    func setInterruptStatus(queue: Bool, configuration: Bool) {
        block[VIRTIO_LEGACY.ISR_STATUS.queue] = queue ? 1 : 0
        block[VIRTIO_LEGACY.ISR_STATUS.configuration] = configuration ? 1 : 0
    }

    func reset(_ kind: ResetKind) {
        block.reset(kind)
        show()
    }

    /// Copies what the device shows into the registers, the selected queue's into the window.
    func show() {
        block[VIRTIO_LEGACY.DEVICE_FEATURES] = UInt64(VirtioDevice.word(0, of: device.legacyFeatures))
        block[VIRTIO_LEGACY.DRIVER_FEATURES] = UInt64(VirtioDevice.word(0, of: device.state.driverFeatures))
        block[VIRTIO_LEGACY.DEVICE_STATUS] = UInt64(device.state.status.subtracting(.featuresOK).rawValue)
        let queue = selectedQueue
        guard queue < device.queueCount else {
            block[VIRTIO_LEGACY.QUEUE_SIZE] = 0
            block[VIRTIO_LEGACY.QUEUE_ADDRESS] = 0
            return
        }
        let entry = device.state.queues.entries[queue]
        block[VIRTIO_LEGACY.QUEUE_SIZE] = UInt64(entry.layout.size)
        block[VIRTIO_LEGACY.QUEUE_ADDRESS] = entry.isEnabled ? entry.layout.descriptorArea >> VirtioDevice.legacyPageShift & 0xffff_ffff : 0
    }
}

extension VirtioLegacyTransport: ArchivedModel {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("fn\(device.configuration.component).legacy") { (archive, _) throws(SnapshotError) in
            try block.archive(&archive)
        }
        if archive.isLoading { show() }
    }
}
