import Interconnect
import PCIExpress
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Virtio

/// A function with its virtio block device: a virtual function, or a transitional physical one, whose legacy I/O BAR nothing answers.
public final class BlockFunction {
    /// PCI function index.
    public let index: Int
    /// Whose traffic it carries: the virtual machine's of a virtual function, the host's of a physical one.
    public let owner: Owner
    public let function: PCIFunction
    public let block: BlockDevice
    public let device: VirtioDevice
    public let transport: VirtioPCITransport
    /// The medium, if it is a file.
    let externalBackend: ExternalBackend?
    private let interrupts: FunctionInterrupts

    /// - Parameters:
    ///   - index: of the function, one of the hierarchy's virtio functions.
    ///   - disk: what it shows its driver; without a serial number it has one of its own.
    init(
        _ index: Int, disk: MachineDescription.Disk, _ description: MachineDescription, _ hierarchy: PCIHierarchy, _ path: DataPath,
        _ recorder: TraceRecorder, on scheduler: Scheduler
    ) throws(MachineError) {
        guard let function = hierarchy.function(index), let domain = function.domain, let registers = function.description?.virtio else {
            throw .description("function with index \(index): expected a virtio function of the PCI hierarchy, found none")
        }
        self.index = index
        self.function = function
        owner = domain.owner
        let name = Self.name(of: function)
        var configuration = BlockConfiguration()
        configuration.serial = disk.serial ?? "outrigger-\(name.short)"
        configuration.queues = disk.queues
        configuration.discards = disk.discards
        configuration.requestCost = description.service.cost
        configuration.medium.readLatency = description.medium.latency
        configuration.medium.writeLatency = description.medium.latency
        configuration.medium.flushLatency = description.medium.latency
        configuration.medium.rate = Rate(
            bytesPerMicrosecond: UInt32(clamping: description.medium.bandwidth / 1_000_000),
            cyclesPerMicrosecond: UInt32(clamping: max(description.clockHertz / 1_000_000, 1)))
        let backend = try Self.backend(disk, function: name.long, index)
        externalBackend = backend as? ExternalBackend
        block = BlockDevice(configuration, backend: backend, path: path)
        device = VirtioDevice(
            .init(component: index, owner: owner), type: block, dma: domain, on: scheduler)
        interrupts = FunctionInterrupts(function)
        transport = VirtioPCITransport(device, interrupts: interrupts, number: recorder.addBlock(bus: .virtualFunction, named: "VIRTIO"))
        function.attach(transport, bar: registers.bar)
    }

    /// Puts the device under the control of the virtual I/O components' controller, if it is a virtual machine's: those are components
    /// that can move. The host's own stay on the device and are always served.
    func connect(to controller: VirtualIOController) {
        guard function.isVirtual else { return }
        controller.connect(device, entry: index, kind: UInt8(truncatingIfNeeded: block.id), queues: block.configuration.queues)
        device.router = controller
    }

    /// As in messages, and as in serial numbers.
    private static func name(of function: PCIFunction) -> (long: String, short: String) {
        switch function.role {
        case .virtual(let number): ("virtual function \(number)", "vf\(number)")
        case .physical(let number): ("physical function \(number)", "pf\(number)")
        case .rootPort, .hostBridge: preconditionFailure("a bridge has no disk")
        }
    }

    private static func backend(
        _ disk: MachineDescription.Disk, function: String, _ index: Int
    ) throws(MachineError) -> any BlockBackend {
        do {
            if let file = disk.file {
                return ExternalBackend(try FileBackend(path: file, isReadOnly: disk.isReadOnly), function: index)
            }
            return try MemoryBackend(byteCount: disk.size ?? 1 << 30, isReadOnly: disk.isReadOnly)
        } catch {
            throw .backend(function: function, error)
        }
    }
}
