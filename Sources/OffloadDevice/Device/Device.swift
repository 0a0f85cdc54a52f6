import Interconnect
import PCIExpress
import Peripherals
import RegisterMaps
import Registers
import RISCV
import Simulation
import Virtio

/// One device: every model, and the wires, links and buses between them. docs/architecture.md draws the picture.
///
/// It has no lock and no thread: ``Machine`` is for those.
public final class Device {
    public let description: MachineDescription
    public let scheduler = Scheduler()
    let recorder: TraceRecorder

    // Memories.
    public let rom: PlainMemory
    public let sram: ECCMemory
    public let shared: PlainMemory
    public let hostMemory: MemoryPages

    // The fabric and what hangs on it.
    public let crossbar: Crossbar
    let core: ManagementCore
    public let aclint: CoreLocalInterruptor
    public let plic: PlatformInterruptController
    public let uart: ConsoleUART
    public let watchdog: Watchdog
    public let systemController: SystemController
    public let fabric: FabricController
    public let analyzer: WorkloadAnalyzer
    public let resourceManager: ResourceManager
    public let componentController: VirtualIOController
    public let mailbox: HostMailbox
    public let log: LoggingEngine
    public let audit: AuditUnit

    // The data path.
    public let toHost: Link
    public let fromHost: Link
    public let cores: ServicePool
    public let buffers = BufferMemory()
    /// Accelerator slots of the types that there are.
    public let gpu: ServicePool?
    public let fpga: ServicePool?

    // The host's side.
    public let hierarchy: PCIHierarchy
    public let interrupts: HostInterrupts
    /// The functions that are virtio devices. Those that exist come first: the physical ones by number, then the virtual ones by number.
    public let functions: [VirtioFunction]
    /// What network functions are connected to that ask for it.
    public let ethernet = EthernetSwitch()
    /// Their devices, for ``isIdle``, which is asked several times with each access of the host: no reference is counted.
    private let devices: [Unmanaged<VirtioDevice>]

    /// Every register block with the bus on which it is found and its name there.
    public let blocks: [(bus: DeviceBus, name: String, registers: RegisterBlock)]
    /// While coverage is collected: the code of each image that was loaded.
    var codeUnderTest: [CodeUnderTest] = []
    /// An image has been loaded.
    var hasFirmware = false
    /// What is in the memories, page by page, as of the last snapshot that was made or gone back to.
    var knownImages: [MemoryImage]
    /// Referenced weakly by those whom they serve.
    private let keptAlive: [AnyObject]

    /// Bus address of shared memory: on the firmware's bus and as the physical function's DMA address.
    public static let sharedBase = DeviceBus.firmware.map.memory("SHARED").offset
    /// DMA address of the host memory's first byte: beyond the physical addresses of hosts, and below 2^44, where legacy queues end.
    public static let hostMemoryBase: UInt64 = 0x800_0000_0000
    /// The same, as it is: the snapshot of an earlier version may have had another.
    var hostMemoryAddress: UInt64 {
        let memory = hostMemory.bytes.baseAddress
        return hierarchy.physicalFunction.domain?.state.mappings.first { $0.memory == memory }?.address ?? Self.hostMemoryBase
    }

    /// Makes the device of a description, powered on and without firmware.
    public convenience init(_ description: MachineDescription) throws(MachineError) { try self.init(description, recordedDisks: []) }

    /// - Parameter recordedDisks: the functions, by PCI index, of whose disks a recording alone knows the contents.
    init(_ description: MachineDescription, recordedDisks: [Int]) throws(MachineError) {
        self.description = description
        let scheduler = scheduler
        let cyclesPerMicrosecond = UInt32(clamping: max(description.clockHertz / 1_000_000, 1))
        let bus = DeviceBus.firmware.map

        // Memories
        let (rom, sram, shared, hostMemory) = try Self.makeMemories(description)
        (self.rom, self.sram, self.shared, self.hostMemory) = (rom, sram, shared, hostMemory)
        let recorder = TraceRecorder(on: scheduler, memory: sram.memory.pages)
        self.recorder = recorder
        interrupts = HostInterrupts(recorder)
        knownImages = [rom.pages, sram.memory.pages, shared.pages, hostMemory].map { MemoryImage(size: $0.size) }
        let sharedRange = Self.sharedBase..<Self.sharedBase + UInt64(shared.pages.size)
        let map = MemoryMap()
        map.add("ROM", at: UInt32(bus.memory("ROM").offset), rom.pages.bytes, isReadOnly: true)
        let sramRegion = map.add("SRAM", at: UInt32(bus.memory("SRAM").offset), sram.memory.pages.bytes)
        map.add("SHARED", at: UInt32(Self.sharedBase), shared.pages.bytes, latency: description.latency.sharedMemory)

        // Data path
        let linkRate = Rate(
            bytesPerMicrosecond: UInt32(clamping: description.link.bandwidth / 1_000_000), cyclesPerMicrosecond: cyclesPerMicrosecond)
        toHost = Link(.init(name: "link.to-host", rate: linkRate, latency: description.link.latency), on: scheduler)
        fromHost = Link(.init(name: "link.from-host", rate: linkRate, latency: description.link.latency), on: scheduler)
        cores = ServicePool(.init(name: "service-cores", cores: description.service.cores), on: scheduler)

        func slots(_ type: AcceleratorType, _ count: Int, _ loading: UInt64) -> ServicePool? {
            let name = "\(type.rawValue)-slots"
            return count == 0 ? nil : ServicePool(.init(name: name, cores: count, accelerator: type, loading: loading), on: scheduler)
        }
        gpu = slots(.gpu, description.accelerators.gpu, description.accelerators.gpuLoading)
        fpga = slots(.fpga, description.accelerators.fpga, description.accelerators.fpgaLoading)

        // Blocks. Each takes the number by which the recorder knows it.
        func number(_ name: String) -> Int { recorder.addBlock(bus: .firmware, named: name) }
        crossbar = Crossbar(.init(hopLatency: description.latency.hop, cyclesPerMicrosecond: cyclesPerMicrosecond))
        aclint = CoreLocalInterruptor(on: scheduler, number: number("ACLINT"))
        plic = PlatformInterruptController(number: number("PLIC"))
        uart = ConsoleUART(on: scheduler, number: number("UART"))
        watchdog = Watchdog(on: scheduler, number: number("WDT"))
        let hierarchyDescription = Self.hierarchyDescription(description, shared: shared.pages.size)
        var identity = SystemController.Identity()
        identity.harts = description.harts
        identity.virtualFunctions = description.virtualFunctions.total
        identity.serviceCores = description.service.cores
        identity.clockKHz = UInt32(clamping: description.clockHertz / 1000)
        identity.sramBase = UInt32(bus.memory("SRAM").offset)
        identity.sramBytes = UInt32(sram.memory.pages.size)
        identity.sharedBytes = UInt32(shared.pages.size)
        identity.linkBytesPerMicrosecond = linkRate.bytesPerMicrosecond
        identity.serial = hierarchyDescription.serialNumber
        systemController = SystemController(identity, number: number("SYSCTL"))
        fabric = FabricController(
            crossbar, deviceToHost: toHost, hostToDevice: fromHost, on: scheduler, number: number("FABRIC"))
        analyzer = WorkloadAnalyzer(on: scheduler, number: number("WA"))
        resourceManager = ResourceManager(
            DeviceResources(
                serviceCores: description.service.cores, gpuSlots: description.accelerators.gpu, fpgaSlots: description.accelerators.fpga,
                memoryBlocks: shared.pages.size >> 16,
                linkBandwidth: linkRate.bytesPerMicrosecond),
            on: scheduler, number: number("RM"))
        componentController = VirtualIOController(
            on: scheduler, number: number("VIC"), hostNumber: recorder.addBlock(bus: .physicalFunction, named: "VIC_HOST"))
        mailbox = HostMailbox(
            HostInterfaceIdentity(
                virtualFunctions: description.virtualFunctions.total, harts: description.harts,
                clockHertz: UInt32(clamping: description.clockHertz), sharedMemory: sharedRange),
            on: scheduler, mailboxNumber: number("MAILBOX"), hostifNumber: recorder.addBlock(bus: .physicalFunction, named: "HOSTIF"))
        let sharedPort = SharedMemoryPort(shared, at: Self.sharedBase)
        log = LoggingEngine(
            memory: sharedPort, sharedMemory: sharedRange, on: scheduler, logNumber: number("LOG"),
            hostNumber: recorder.addBlock(bus: .physicalFunction, named: "LOG_HOST"))
        audit = AuditUnit(number: number("AUDIT"))
        core = ManagementCore(
            harts: description.harts, quantum: description.quantum, memory: map, crossbar: crossbar, recorder: recorder, on: scheduler)

        // PCI functions and the devices behind them
        do {
            hierarchy = try PCIHierarchy(hierarchyDescription, scheduler: scheduler)
        } catch {
            throw .description("\(error)")
        }
        let dmaObservers = DMAFanOut(analyzer, log)
        let utilisation = Utilisation(cores: cores, toDevice: fromHost, toHost: toHost, crossbar: crossbar)
        analyzer.utilisation = utilisation
        let path = DataPath(
            cores: cores, fromHost: fromHost, toHost: toHost, observer: analyzer, buffers: buffers, gpu: gpu, fpga: fpga)
        var functions: [VirtioFunction] = []
        for (index, settings) in Self.functions(description) {
            let isRecorded = recordedDisks.contains(index)
            functions.append(try VirtioFunction(
                index, settings, isRecorded: isRecorded, description, hierarchy, path, ethernet, recorder, on: scheduler))
        }
        self.functions = functions
        devices = functions.map { Unmanaged.passUnretained($0.device) }

        blocks = Self.list(
            firmware: [
                ("ACLINT", aclint.registers), ("PLIC", plic.registers), ("UART", uart.registers), ("WDT", watchdog.registers),
                ("SYSCTL", systemController.registers), ("FABRIC", fabric.registers), ("WA", analyzer.registers),
                ("RM", resourceManager.registers), ("VIC", componentController.registers), ("MAILBOX", mailbox.firmware.registers),
                ("LOG", log.registers), ("AUDIT", audit.registers),
            ],
            host: [
                ("HOSTIF", mailbox.host.registers), ("LOG_HOST", log.host.registers), ("VIC_HOST", componentController.host.registers),
            ], functions)
        let relay = MemoryErrorRelay(systemController) { sramRegion.allowsDirectAccess = $0 }
        let codeWatch = CodeWatch(map, rom: rom, at: UInt32(bus.memory("ROM").offset), sharedAt: UInt32(Self.sharedBase))
        let messages = FunctionInterrupts(hierarchy.physicalFunction)
        let slotUse = SlotUse(gpu: gpu, fpga: fpga)
        keptAlive = [slotUse, dmaObservers, utilisation, relay, codeWatch, messages, sharedPort]

        attachTargets()
        connectInterrupts()
        sram.sink = relay
        rom.listener = codeWatch
        shared.listener = codeWatch
        systemController.memory = sram
        systemController.resets = core
        watchdog.bite.connect(to: systemController, input: SystemController.biteInput)
        resourceManager.connect(sharedPort, at: Self.sharedBase)
        resourceManager.slotUse = slotUse
        for sink in [toHost, fromHost, cores, fabric, buffers] as [any PartitionSink] { resourceManager.connect(sink) }
        for slots in [gpu, fpga].compactMap({ $0 }) { resourceManager.connect(slots) }
        for function in functions {
            function.connect(to: componentController)
            function.device.violations = audit
        }
        mailbox.messages = messages
        componentController.messages = messages
        if let domain = hierarchy.physicalFunction.domain {
            componentController.connect(TransferPaths(local: sharedPort, host: domain, toHost: toHost, fromHost: fromHost))
        }
        hierarchy.interrupts = interrupts
        hierarchy.delegate = self
        hierarchy.violations = audit
        resourceManager.violations = audit
        componentController.violations = audit
        componentController.keys = audit
        hierarchy.iommu.observer = dmaObservers
        core.onFirmwareReset = { [unowned self] in resetFirmware($0) }
        recorder.onChange = { [unowned self] in observe($0, $1) }
        try connectHost()
    }

    /// Lists the blocks in the order of their numbers.
    private static func list(
        firmware: [(String, RegisterBlock)], host: [(String, RegisterBlock)], _ functions: [VirtioFunction]
    ) -> [(bus: DeviceBus, name: String, registers: RegisterBlock)] {
        let all = firmware.map { (DeviceBus.firmware, $0.0, $0.1) } + host.map { (DeviceBus.physicalFunction, $0.0, $0.1) }
            + functions.map { (DeviceBus.virtualFunction, "VIRTIO", $0.transport.block) }
            + functions.compactMap { function in function.legacy.map { (DeviceBus.legacyFunction, "VIRTIO_LEGACY", $0.block) } }
        return all.sorted { $0.2.number < $1.2.number }
    }

    /// Bytes of ROM, SRAM, shared memory and host memory, in the order of snapshots.
    static func memorySizes(_ description: MachineDescription) -> [Int] {
        let map = DeviceBus.firmware.map
        return ["ROM", "SRAM", "SHARED"].map { Int(map.memory($0).size) } + [Int(description.memory.host)]
    }

    private static func makeMemories(
        _ description: MachineDescription
    ) throws(MachineError) -> (PlainMemory, ECCMemory, PlainMemory, MemoryPages) {
        let sizes = memorySizes(description)
        do {
            return (
                PlainMemory(try MemoryPages(name: "outrigger-rom", size: sizes[0]), isReadOnly: true),
                ECCMemory(try MemoryPages(name: "outrigger-sram", size: sizes[1])),
                PlainMemory(try MemoryPages(name: "outrigger-shared", size: sizes[2]), isReadOnly: false),
                try MemoryPages(name: "outrigger-hostmem", size: sizes[3])
            )
        } catch {
            throw .memory(error)
        }
    }

    private static func hierarchyDescription(_ description: MachineDescription, shared: Int) -> HierarchyDescription {
        var hierarchy = HierarchyDescription()
        hierarchy.physicalFunction = .management(sharedMemory: UInt64(shared))
        hierarchy.totalVFs = description.virtualFunctions.total
        hierarchy.furtherFunctions = description.physicalFunctions.map {
            // A vector for each queue, and one for changes of the configuration.
            let (type, queues) = $0.settings.shape
            return .init(number: $0.number, function: .transitional(type: type, vectors: queues + 1, isModern: $0.settings.isModern))
        }
        // The type is in the capability, and the same for all.
        hierarchy.virtualFunction = .virtual(type: description.virtualFunctions.settings(of: 1).shape.type)
        hierarchy.readCycles = description.latency.pcie
        hierarchy.writeCycles = description.latency.pcie / 2
        return hierarchy
    }

    /// The virtio devices of a description with their functions' indices, in the order of ``functions``.
    static func functions(_ description: MachineDescription) -> [(index: Int, settings: MachineDescription.FunctionSettings)] {
        let virtual = description.virtualFunctions
        return description.physicalFunctions.sorted { $0.number < $1.number }
            .map { (HierarchyDescription.index(ofFurther: $0.number), $0.settings) }
            + (0..<virtual.total).map { ($0 + 1, virtual.settings(of: $0 + 1)) }
    }

    /// The disks of a description, in the order of the ``functions`` that are block devices.
    static func disks(_ description: MachineDescription) -> [MachineDescription.Disk] {
        functions(description).filter { $0.settings.kind == .block }.map(\.settings.disk)
    }

    /// The virtio function with a PCI function index.
    public func virtioFunction(_ index: Int) -> VirtioFunction? { functions.first { $0.index == index } }

    /// Has models tell the recorder what they do, or no longer.
    private func observe(_ isRecording: Bool, _ tap: UnsafeRawPointer?) {
        let sink = isRecording ? recorder : nil
        for block in blocks { block.registers.setTap(tap) }
        for function in functions { function.device.trace = sink }
        plic.trace = sink
        uart.trace = sink
        systemController.trace = sink
        hierarchy.trace = sink
    }

    // MARK: Device time

    /// Carries the device on by one round of its own, or, with all harts waiting, to what is due next, `cycle` at most. Nothing while a
    /// debugger holds the harts.
    public func runRound(until cycle: Cycle) { core.runRound(until: cycle) }

    /// Carries the device on to a position to which its inputs lead, exactly. Nothing if that has passed; a debugger may stop it before.
    public func run(to position: Position) { core.run(to: position) }

    /// Where the device is.
    public var position: Position { core.position }

    /// No hart has anything to execute, no request is on its way and no queue is polled: nothing happens but timers, or not even that
    /// while a debugger holds the harts.
    public var isIdle: Bool {
        if core.isHeld { return true }
        guard core.isIdle, !uart.isBusy, cores.requestsInFlight == 0, toHost.transfersInFlight == 0, fromHost.transfersInFlight == 0 else {
            return false
        }
        // Only functions that exist can have requests.
        let existing = description.physicalFunctions.count + hierarchy.virtualFunctionCount
        for index in 0..<existing where devices[index]._withUnsafeGuaranteedRef({ $0.isBusy || $0.isPolling }) { return false }
        return true
    }

    // MARK: Resets

    /// The card is without power: all is forgotten but what is on the disks, and the firmware that was loaded last, which it has in flash.
    func powerDown() {
        for hart in 0..<description.harts { core.setRunning(false, hart: hart) }
        resetFirmwareBlocks()
        for reset in [mailbox.reset, log.reset, componentController.reset, analyzer.reset, resourceManager.reset] { reset(.powerOn) }
        ethernet.reset()
        shared.pages.restore(MemoryImage(size: shared.pages.size)) { offset, count in
            core.memory.wasWritten(UInt32(Self.sharedBase) + UInt32(offset), bytes: count)
        }
    }

    /// It has power again.
    func powerUp() {
        guard hasFirmware else { return }
        core.requestFirmwareReset(.powerOn)
        core.performRequests()
    }

    private func resetFirmwareBlocks() {
        aclint.reset()
        plic.reset()
        uart.reset()
        watchdog.reset()
        fabric.reset()
    }

    /// The firmware starts anew. Memory, the data path, logs, partitions and what the host has set up stay.
    private func resetFirmware(_ cause: FirmwareResetCause) {
        resetFirmwareBlocks()
        mailbox.reset(.soft)
        systemController.firmwareReset(cause)
        for hart in 0..<description.harts {
            core.setRunning(hart == 0, hart: hart)
            core.resetHart(hart, bootAddress: systemController.bootAddress)
        }
    }
}

extension BusMap {
    /// A memory of the map, which has it.
    func memory(_ name: String) -> WindowDescription {
        guard let memory = memories.first(where: { $0.name == name }) else { preconditionFailure("no memory \(name) on \(self.name)") }
        return memory
    }
}
