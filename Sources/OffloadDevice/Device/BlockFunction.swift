import Interconnect
import PCIExpress
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Virtio

/// A virtual function with its virtio block device.
public final class BlockFunction {
    public let number: Int
    public let function: PCIFunction
    public let block: BlockDevice
    public let device: VirtioDevice
    public let transport: VirtioPCITransport
    private let interrupts: FunctionInterrupts

    /// - Parameter number: of the virtual function, which is also its owner's.
    init(
        _ number: Int, _ description: MachineDescription, _ hierarchy: PCIHierarchy, _ path: DataPath, _ recorder: AccessRecorder,
        on scheduler: Scheduler
    ) throws(MachineError) {
        self.number = number
        guard let function = hierarchy.function(number), let domain = function.domain else {
            throw .description("virtual function \(number): not in the PCI hierarchy")
        }
        self.function = function
        let disk = description.virtualFunctions.disk(of: number)
        var configuration = BlockConfiguration()
        configuration.serial = disk.serial ?? "outrigger-vf\(number)"
        configuration.queues = disk.queues
        configuration.requestCost = description.service.cost
        configuration.medium.readLatency = description.medium.latency
        configuration.medium.writeLatency = description.medium.latency
        configuration.medium.flushLatency = description.medium.latency
        configuration.medium.rate = Rate(
            bytesPerMicrosecond: UInt32(clamping: description.medium.bandwidth / 1_000_000),
            cyclesPerMicrosecond: UInt32(clamping: max(description.clockHertz / 1_000_000, 1)))
        let backend = try Self.backend(disk, function: number)
        block = BlockDevice(configuration, backend: backend, path: path)
        device = VirtioDevice(
            .init(component: number, owner: .virtualMachine(number)), type: block, dma: domain, on: scheduler)
        interrupts = FunctionInterrupts(function)
        transport = VirtioPCITransport(device, interrupts: interrupts, number: recorder.addBlock(bus: .virtualFunction, named: "VIRTIO"))
        function.attach(transport, bar: 0)
    }

    /// Puts the device under the control of the virtual I/O components' controller.
    func connect(to controller: VirtualIOController) {
        controller.connect(device, entry: number, kind: UInt8(truncatingIfNeeded: block.id), queues: block.configuration.queues)
        device.router = controller
    }

    private static func backend(_ disk: MachineDescription.Disk, function: Int) throws(MachineError) -> any BlockBackend {
        do {
            if let file = disk.file { return try FileBackend(path: file, isReadOnly: disk.isReadOnly) }
            return try MemoryBackend(byteCount: disk.size ?? 1 << 30, isReadOnly: disk.isReadOnly)
        } catch {
            throw .backend(function: function, error)
        }
    }
}
