import Interconnect
import RegisterMaps
import Registers
import Simulation

/// The interrupts of a PCI function, as far as a virtio transport needs them.
public protocol InterruptPort: AnyObject {
    /// MSI-X is switched on in configuration space.
    var isMSIXEnabled: Bool { get }
    /// Entries of the function's MSI-X table.
    var vectorCount: Int { get }
    /// Sends an MSI-X message; what is masked pends.
    func raise(vector: Int)
    /// Drives INTx, on functions that have it.
    func driveLine(_ level: Bool)
}

/// Virtio over PCI (virtio 1.2 section 4.1): the register structures of one function in a memory BAR, as `regmaps/virtio_pci` lays
/// them out, in front of a ``VirtioDevice``.
///
/// The registers always hold what a read returns; each change on the device's side is copied into them at once, so that a look
/// without side effects sees the same as a driver.
public final class VirtioPCITransport: BusTarget, RegisterModel, VirtioTransport, ArchivedModel {
    public struct State: Sendable {
        /// MSI-X entry of each queue, 0xffff: none.
        public internal(set) var queueVectors: [UInt16]
    }

    /// `VIRTIO_MSI_NO_VECTOR`.
    public static let noVector: UInt16 = 0xffff

    public let device: VirtioDevice
    public let block: RegisterBlock
    public var state: State
    private weak var interrupts: (any InterruptPort)?
    /// The legacy interface of a transitional function.
    weak var legacy: VirtioLegacyTransport?

    /// - Parameter number: the number of the first register, for traces.
    public init(_ device: VirtioDevice, interrupts: any InterruptPort, number: Int = 0) {
        self.device = device
        self.interrupts = interrupts
        block = RegisterBlock(VIRTIO_PCI.map, number: number)
        state = State(queueVectors: Array(repeating: Self.noVector, count: device.queueCount))
        device.transport = self
        show()
    }

    /// The function's reset, or the machine's: the device and all registers.
    public func reset(_ kind: ResetKind) {
        device.reset()
        forget(kind)
    }

    // MARK: The bus side

    public func access(_ access: inout BusAccess) -> BusStatus {
        // The device is somebody else's: who looks sees it, and nobody changes it.
        guard !(access.isWrite && device.state.hasFrontEnd) else { return .denied }
        return block.access(&access, model: self)
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        block.peek(address, size: size, model: self)
    }

    public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        switch register {
        case VIRTIO_PCI.ISR_STATUS: interruptStatusRead()
        default: break
        }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case VIRTIO_PCI.NOTIFY:
            // A doorbell that names another queue than its place is no driver's (virtio 1.2, 4.1.5.2).
            guard Int(VIRTIO_PCI.NOTIFY.queue.value(in: new)) == element else {
                return device.refused(.doorbell, queue: element, at: access.time)
            }
            device.doorbell(queue: element, at: access.time)
        case VIRTIO_PCI.DEVICE_STATUS:
            device.writeStatus(UInt8(truncatingIfNeeded: access.value))
            if UInt8(truncatingIfNeeded: access.value) == 0, device.state.status.isEmpty { forget(.soft) }
        case VIRTIO_PCI.DEVICE_FEATURE_SELECT, VIRTIO_PCI.DRIVER_FEATURE_SELECT, VIRTIO_PCI.QUEUE_SELECT:
            show()
        case VIRTIO_PCI.DRIVER_FEATURE:
            device.writeDriverFeatures(
                word: UInt32(truncatingIfNeeded: block[VIRTIO_PCI.DRIVER_FEATURE_SELECT]), UInt32(truncatingIfNeeded: new))
            show()
        case VIRTIO_PCI.CONFIG_MSIX_VECTOR: setConfigurationVector(new)
        default:
            writeSelectedQueue(register, new)
        }
    }

    private func writeSelectedQueue(_ register: RegisterIndex, _ new: UInt64) {
        let queue = selectedQueue
        switch register {
        case VIRTIO_PCI.QUEUE_SIZE: device.configure(queue: queue) { $0.size = UInt16(truncatingIfNeeded: new) }
        case VIRTIO_PCI.QUEUE_DESC: device.configure(queue: queue) { $0.descriptorArea = new }
        case VIRTIO_PCI.QUEUE_DRIVER: device.configure(queue: queue) { $0.driverArea = new }
        case VIRTIO_PCI.QUEUE_DEVICE: device.configure(queue: queue) { $0.deviceArea = new }
        case VIRTIO_PCI.QUEUE_MSIX_VECTOR: setVector(new, queue: queue)
        case VIRTIO_PCI.QUEUE_ENABLE where new == 1: device.enable(queue: queue)
        case VIRTIO_PCI.QUEUE_RESET where new == 1:
            device.reset(queue: queue)
            wasReset(queue: queue)
        default: break
        }
        show()
    }

    private var selectedQueue: Int { Int(block[VIRTIO_PCI.QUEUE_SELECT]) }

    // MARK: Vectors

    var isMSIXEnabled: Bool { interrupts?.isMSIXEnabled ?? false }
    /// MSI-X entry of configuration changes, and of a queue; ``noVector`` if none.
    public var configurationVector: UInt16 { UInt16(truncatingIfNeeded: block[VIRTIO_PCI.CONFIG_MSIX_VECTOR]) }

    public func vector(ofQueue queue: Int) -> UInt16 { queue < state.queueVectors.count ? state.queueVectors[queue] : Self.noVector }

    func setConfigurationVector(_ vector: UInt64) { block[VIRTIO_PCI.CONFIG_MSIX_VECTOR] = UInt64(accepted(vector)) }

    func setVector(_ vector: UInt64, queue: Int) {
        guard queue < state.queueVectors.count else { return }
        state.queueVectors[queue] = accepted(vector)
        show()
    }

    /// Section 4.1.4.3.1: a vector that can't be mapped reads back as none.
    private func accepted(_ vector: UInt64) -> UInt16 {
        vector < UInt64(interrupts?.vectorCount ?? 0) ? UInt16(truncatingIfNeeded: vector) : Self.noVector
    }

    // MARK: Device configuration (section 4.1.4.6)

    public func access(_ access: inout BusAccess, window: WindowIndex) -> BusStatus {
        if access.isWrite {
            device.type.writeConfiguration(Int(access.address), size: Int(access.size), access.value)
        } else {
            access.value = device.type.readConfiguration(Int(access.address), size: Int(access.size))
        }
        return .ok
    }

    public func peek(_ offset: UInt64, size: Int, window: WindowIndex) -> UInt64? {
        device.type.readConfiguration(Int(offset), size: size)
    }

    // MARK: Interrupts (sections 4.1.4.5 and 4.1.5.3)

    public func notifyUsed(queue: Int) {
        guard let interrupts else { return }
        if interrupts.isMSIXEnabled {
            if state.queueVectors[queue] != Self.noVector { interrupts.raise(vector: Int(state.queueVectors[queue])) }
        } else {
            setInterruptStatus(queue: true)
            interrupts.driveLine(true)
        }
    }

    /// Sets bits of the ISR status, in both interfaces.
    private func setInterruptStatus(queue: Bool = false, configuration: Bool = false) {
        if queue { block[VIRTIO_PCI.ISR_STATUS.queue] = 1 }
        if configuration { block[VIRTIO_PCI.ISR_STATUS.configuration] = 1 }
        legacy?.setInterruptStatus(
            queue: block[VIRTIO_PCI.ISR_STATUS.queue] != 0, configuration: block[VIRTIO_PCI.ISR_STATUS.configuration] != 0)
    }

    /// A read by either interface has cleared the ISR status.
    func interruptStatusRead() {
        block[VIRTIO_PCI.ISR_STATUS] = 0
        legacy?.setInterruptStatus(queue: false, configuration: false)
        interrupts?.driveLine(false)
    }

    public func notifyConfigurationChange() {
        guard let interrupts else { return }
        setInterruptStatus(configuration: true)
        if interrupts.isMSIXEnabled {
            if configurationVector != Self.noVector { interrupts.raise(vector: Int(configurationVector)) }
        } else {
            interrupts.driveLine(true)
        }
    }

    // MARK: The device's side of the registers

    public func stateChanged() {
        show()
    }

    public func wasReset() { forget(.soft) }

    public func wasReset(queue: Int) {
        guard queue < state.queueVectors.count, !device.state.queues.entries[queue].isEnabled else { return }
        state.queueVectors[queue] = Self.noVector
    }

    /// The device has a section of its own, which is loaded before this one.
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("fn\(device.configuration.component).pci") { (archive, _) throws(SnapshotError) in
            try archive.integers(&state.queueVectors)
            try block.archive(&archive)
            for vector in state.queueVectors.map(UInt64.init) + [block[VIRTIO_PCI.CONFIG_MSIX_VECTOR]] {
                try archive.require(
                    UInt64(accepted(vector)) == vector, "expected a vector below \(interrupts?.vectorCount ?? 0) or none, found \(vector)")
            }
        }
        if archive.isLoading { show() }
    }

    private func forget(_ kind: ResetKind) {
        block.reset(kind)
        for queue in state.queueVectors.indices { state.queueVectors[queue] = Self.noVector }
        interrupts?.driveLine(false)
        legacy?.reset(kind)
        show()
    }

    /// Copies what the device shows into the registers, the selected queue's into the window.
    private func show() {
        block[VIRTIO_PCI.DEVICE_STATUS] = UInt64(device.state.status.rawValue)
        block[VIRTIO_PCI.CONFIG_GENERATION] = UInt64(device.state.configurationGeneration)
        block[VIRTIO_PCI.NUM_QUEUES] = UInt64(device.queueCount)
        let offered = UInt32(truncatingIfNeeded: block[VIRTIO_PCI.DEVICE_FEATURE_SELECT])
        block[VIRTIO_PCI.DEVICE_FEATURE] = UInt64(VirtioDevice.word(offered, of: device.offeredFeatures))
        let accepted = UInt32(truncatingIfNeeded: block[VIRTIO_PCI.DRIVER_FEATURE_SELECT])
        block[VIRTIO_PCI.DRIVER_FEATURE] = UInt64(VirtioDevice.word(accepted, of: device.state.driverFeatures))

        let queue = selectedQueue
        let exists = queue < device.queueCount
        let entry = exists ? device.state.queues.entries[queue] : QueueSet.Entry(layout: QueueLayout(size: 0), ring: nil)
        block[VIRTIO_PCI.QUEUE_SIZE] = UInt64(entry.layout.size)
        block[VIRTIO_PCI.QUEUE_MSIX_VECTOR] = UInt64(exists ? state.queueVectors[queue] : Self.noVector)
        block[VIRTIO_PCI.QUEUE_ENABLE] = entry.isEnabled ? 1 : 0
        block[VIRTIO_PCI.QUEUE_NOTIFY_OFF] = exists ? UInt64(queue) : 0
        block[VIRTIO_PCI.QUEUE_DESC] = entry.layout.descriptorArea
        block[VIRTIO_PCI.QUEUE_DRIVER] = entry.layout.driverArea
        block[VIRTIO_PCI.QUEUE_DEVICE] = entry.layout.deviceArea
        block[VIRTIO_PCI.QUEUE_NOTIFY_DATA] = exists ? UInt64(queue) : 0
        block[VIRTIO_PCI.QUEUE_RESET] = device.isResetting(queue: queue) ? 1 : 0
        legacy?.show()
    }
}
