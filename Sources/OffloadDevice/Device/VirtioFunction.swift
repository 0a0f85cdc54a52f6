import Interconnect
import PCIExpress
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Virtio

/// A function with its virtio device: a virtual function, or a transitional physical one with a legacy interface beside the modern one.
public final class VirtioFunction {
    /// What the device is.
    public enum Kind {
        case block(BlockDevice)
        case network(NetworkDevice)
        case console(ConsoleDevice)
    }

    /// PCI function index.
    public let index: Int
    /// Whose traffic it carries: the virtual machine's of a virtual function, the host's of a physical one.
    public let owner: Owner
    public let function: PCIFunction
    public let kind: Kind
    public let device: VirtioDevice
    public let transport: VirtioPCITransport
    /// nil on virtual functions.
    public let legacy: VirtioLegacyTransport?
    /// Serves a vhost-user front-end while one has the function.
    public let frontEnd: FrontEndPort
    /// The medium of a block device, if it is a file, or was when it was recorded.
    let externalBackend: ExternalBackend?
    private let interrupts: FunctionInterrupts

    /// - Parameters:
    ///   - index: of the function, one of the hierarchy's virtio functions.
    ///   - isRecorded: all that is known of its disk's contents is in a recording.
    ///   - ethernet: what functions on the device's own switch are connected to.
    init(
        _ index: Int, _ settings: MachineDescription.FunctionSettings, isRecorded: Bool, _ description: MachineDescription,
        _ hierarchy: PCIHierarchy, _ path: DataPath, _ ethernet: EthernetSwitch, _ recorder: TraceRecorder, on scheduler: Scheduler
    ) throws(MachineError) {
        guard let function = hierarchy.function(index), let domain = function.domain, let shape = function.description else {
            throw .description("function with index \(index): expected a virtio function of the PCI hierarchy, found none")
        }
        self.index = index
        self.function = function
        owner = domain.owner
        let name = Self.name(of: function)
        var external: ExternalBackend?
        switch settings.kind {
        case .block:
            let backend = try Self.backend(settings.disk, function: name.long, index, isRecorded)
            external = backend as? ExternalBackend
            kind = .block(BlockDevice(Self.blockConfiguration(settings.disk, description, name.short), backend: backend, path: path))
        case .net:
            let backend = try Self.backend(settings.network, description, ethernet, function: name.long)
            kind = .network(NetworkDevice(Self.networkConfiguration(settings.network, description, index), backend: backend, path: path))
        case .console:
            var configuration = ConsoleDevice.Configuration()
            configuration.columns = UInt16(settings.console.columns)
            configuration.rows = UInt16(settings.console.rows)
            configuration.chainCost = description.service.cost
            kind = .console(ConsoleDevice(configuration, path: path))
        }
        externalBackend = external
        var configuration = VirtioDevice.Configuration(component: index, owner: owner)
        if settings.kind == .net {
            configuration.polling = .init(interval: description.service.pollInterval, patience: description.service.polling)
        }
        if !settings.hasPackedRings { configuration.features.remove(.packedRing) }
        device = VirtioDevice(configuration, type: kind.type, dma: domain, on: scheduler)
        frontEnd = FrontEndPort(device)
        device.frontEnd = frontEnd
        interrupts = FunctionInterrupts(function)
        transport = VirtioPCITransport(device, interrupts: interrupts, number: recorder.addBlock(bus: .virtualFunction, named: "VIRTIO"))
        if let registers = shape.virtio { function.attach(transport, bar: registers.bar) }
        if function.isVirtual {
            legacy = nil
        } else {
            let number = recorder.addBlock(bus: .legacyFunction, named: "VIRTIO_LEGACY")
            let legacy = VirtioLegacyTransport(beside: transport, number: number)
            function.attach(legacy, bar: 0)
            self.legacy = legacy
        }
    }

    /// Puts the device under the control of the virtual I/O components' controller, if it is a virtual machine's: those are components
    /// that can move. The host's own stay on the device and are always served.
    func connect(to controller: VirtualIOController) {
        guard function.isVirtual else { return }
        controller.connect(device, entry: index, kind: UInt8(truncatingIfNeeded: device.type.id), queues: device.queueCount)
        device.router = controller
    }

    /// The block device, if it is one.
    public var block: BlockDevice? { if case .block(let device) = kind { device } else { nil } }
    /// The network device, if it is one.
    public var network: NetworkDevice? { if case .network(let device) = kind { device } else { nil } }
    /// The console, if it is one.
    public var console: ConsoleDevice? { if case .console(let device) = kind { device } else { nil } }

    /// As in messages, and as in serial numbers.
    private static func name(of function: PCIFunction) -> (long: String, short: String) {
        switch function.role {
        case .virtual(let number): ("virtual function \(number)", "vf\(number)")
        case .physical(let number): ("physical function \(number)", "pf\(number)")
        case .rootPort, .hostBridge: preconditionFailure("a bridge has no virtio device")
        }
    }

    // MARK: Configurations and backends

    private static func rate(_ bytesPerSecond: UInt64, _ description: MachineDescription) -> Rate {
        Rate(
            bytesPerMicrosecond: UInt32(clamping: bytesPerSecond / 1_000_000),
            cyclesPerMicrosecond: UInt32(clamping: max(description.clockHertz / 1_000_000, 1)))
    }

    private static func blockConfiguration(
        _ disk: MachineDescription.Disk, _ description: MachineDescription, _ name: String
    ) -> BlockConfiguration {
        var configuration = BlockConfiguration()
        configuration.serial = disk.serial ?? "outrigger-\(name)"
        configuration.queues = disk.queues
        configuration.discards = disk.discards
        configuration.requestCost = description.service.cost
        configuration.transform = disk.transform.map { Transform(type: $0, cost: disk.transformCost) }
        configuration.medium.readLatency = description.medium.latency
        configuration.medium.writeLatency = description.medium.latency
        configuration.medium.flushLatency = description.medium.latency
        configuration.medium.rate = rate(description.medium.bandwidth, description)
        return configuration
    }

    private static func networkConfiguration(
        _ network: MachineDescription.Network, _ description: MachineDescription, _ index: Int
    ) -> NetworkConfiguration {
        var configuration = NetworkConfiguration()
        // Locally administered, and one for each function.
        configuration.mac = network.mac ?? MACAddress(value: 0x5254_004f_5200 + UInt64(index))
        configuration.queuePairs = network.queues
        configuration.mtu = UInt16(network.mtu)
        configuration.packetCost = description.service.packetCost
        configuration.wire.rate = rate(description.wire.bandwidth, description)
        configuration.wire.latency = description.wire.latency
        return configuration
    }

    private static func backend(
        _ disk: MachineDescription.Disk, function: String, _ index: Int, _ isRecorded: Bool
    ) throws(MachineError) -> any BlockBackend {
        do {
            if let file = disk.file {
                return ExternalBackend(try FileBackend(path: file, isReadOnly: disk.isReadOnly), function: index)
            }
            let size = disk.size ?? 1 << 30
            if isRecorded {
                return ExternalBackend(replaying: try MemoryBackend(byteCount: size), isReadOnly: disk.isReadOnly, function: index)
            }
            return try MemoryBackend(byteCount: size, isReadOnly: disk.isReadOnly)
        } catch {
            throw .backend(function: function, error)
        }
    }

    private static func backend(
        _ network: MachineDescription.Network, _ description: MachineDescription, _ ethernet: EthernetSwitch, function: String
    ) throws(MachineError) -> any NetworkBackend {
        let cycles = rate(0, description).cyclesPerMicrosecond
        do {
            switch network.backend {
            case .loop: return LoopBack()
            case .switch: return ethernet
            case .capture(let input, _): return try ExternalNetwork(input: input, cyclesPerMicrosecond: cycles)
            case .tap: return try ExternalNetwork(cyclesPerMicrosecond: cycles)
            }
        } catch {
            throw .network(function: function, error)
        }
    }
}

extension VirtioFunction.Kind {
    var type: any DeviceType {
        switch self {
        case .block(let device): device
        case .network(let device): device
        case .console(let device): device
        }
    }
}

extension MachineDescription.FunctionSettings {
    /// The virtio device type, and how many queues it has.
    var shape: (type: UInt16, queues: Int) {
        switch kind {
        case .net: (1, 2 * network.queues + 1)
        case .block: (2, disk.queues)
        case .console: (3, 2)
        }
    }
}
