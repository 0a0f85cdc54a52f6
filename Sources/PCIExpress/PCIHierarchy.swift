import Interconnect
import Registers
import Simulation

/// How a function came to be reset.
public enum FunctionReset: Sendable {
    /// FLR: the function alone (PCI Express Base 5.0, 6.6.2).
    case functionLevel
    /// The link went down or the bridge reset its bus (6.6.1).
    case conventional
    /// A virtual function came into being, or went.
    case virtualization
    /// The card was pulled out of its slot: nothing is left of what the host has set up.
    case power
}

/// The device model behind the functions.
public protocol HierarchyDelegate: AnyObject {
    /// The function's model returns to its state at power-on. Configuration space and DMA mappings have already.
    func functionReset(_ function: Int, _ kind: FunctionReset)
    /// Virtual functions 1...`count` exist now, and no others.
    func virtualFunctionsChanged(count: Int)
}

/// The PCI hierarchy that the device appears in: a host bridge, a root port, and the endpoint with all its functions.
public final class PCIHierarchy {
    public static let rootPortIndex = HierarchyDescription.indexLimit
    public static let hostBridgeIndex = HierarchyDescription.indexLimit + 1

    public let description: HierarchyDescription
    public let iommu: IOMMU
    public weak var interrupts: (any InterruptSink)?
    public weak var delegate: (any HierarchyDelegate)?
    /// Hears of what was refused.
    public weak var violations: (any IsolationObserver)? { didSet { iommu.violations = violations } }
    /// While somebody records.
    public unowned(unsafe) var trace: (any TraceSink)? {
        didSet {
            for function in functions { function?.domain?.trace = trace }
        }
    }
    /// Virtual functions 1...`virtualFunctionCount` exist.
    public private(set) var virtualFunctionCount = 0

    let scheduler: Scheduler
    /// By function index, the bridges last.
    private var functions: [PCIFunction?] = []
    /// What the root port's windows are now.
    private var windows = BridgeWindows.closed
    /// Whether configuration requests to the endpoint pass the root port.
    public private(set) var forwardsConfiguration = true

    /// Builds the hierarchy and configures it as platform firmware and Linux leave it: buses numbered, resources assigned, memory and
    /// I/O enabled, bus mastering off.
    public init(_ description: HierarchyDescription, scheduler: Scheduler) throws(PCIDescriptionError) {
        try description.validate()
        self.description = description
        self.scheduler = scheduler
        iommu = IOMMU(scheduler: scheduler)
        functions = [PCIFunction?](repeating: nil, count: Self.hostBridgeIndex + 1)
        for function in FunctionPlan.all(description) {
            let domain = function.description == nil ? nil : DMADomain(function: function.index, owner: function.owner, iommu: iommu)
            functions[function.index] = PCIFunction(
                index: function.index, role: function.role, address: function.address, description: function.description,
                builder: function.builder, domain: domain, hierarchy: self)
        }
        try configure()
        refresh()
    }

    // MARK: Functions

    // `init` makes these three for every description.
    public var hostBridge: PCIFunction { functions[Self.hostBridgeIndex]! }
    public var rootPort: PCIFunction { functions[Self.rootPortIndex]! }
    public var physicalFunction: PCIFunction { functions[0]! }

    /// The function with that index, present or not; nil if the description has none such.
    public func function(_ index: Int) -> PCIFunction? {
        functions.indices.contains(index) ? functions[index] : nil
    }

    /// Every function of the description, present or not, bridges included, in the order of their indices.
    public var all: [PCIFunction] { functions.compactMap { $0 } }

    /// What a scan of the buses finds, in the order of addresses.
    public var present: [PCIFunction] { all.filter(\.isPresent).sorted { $0.address < $1.address } }

    // MARK: Accesses

    /// An access of the host to BAR `bar` of the function with index `function`; `access.address` is relative to the BAR and comes
    /// back so. The time it takes over the link is added to `access.time`.
    ///
    /// Anything but `.ok` reads all ones or was dropped, and has been reported as hardware reports it.
    public func access(function: Int, bar: Int, _ access: inout BusAccess) -> BusStatus {
        let address = access.address
        access.time &+= description.writeCycles
        // What no function claims arrives at function 0.
        let target = self.function(function) ?? physicalFunction
        let status = target.accessBAR(target.index == function ? bar : -1, &access)
        if !access.isWrite { access.time &+= description.readCycles &- min(description.writeCycles, description.readCycles) }
        access.address = address
        return status
    }

    /// What a read through BAR `bar` would return, without side effects and whether or not the BAR is enabled; nil where nothing answers.
    public func peek(function: Int, bar: Int, address: UInt64, size: Int) -> UInt64? {
        self.function(function)?.peekBAR(bar, address, size: size)
    }

    /// The function that finds an error in a request for `function`: the port if it can't forward it, function 0 if the target
    /// is a virtual function that isn't there.
    func detector(of function: PCIFunction, forwarded: Bool) -> PCIFunction {
        if !forwarded || !isLinkUp { return rootPort }
        return function.isPresent ? function : physicalFunction
    }

    // MARK: What follows from configuration spaces

    /// The card is in its slot. Follows from the port's registers.
    public private(set) var isCardPresent = true

    /// Whether the link below the root port works: with a card, neither disabled nor held in reset. Follows from the port's registers.
    public private(set) var isLinkUp = true

    private var hasLinkRequested: Bool {
        let port = rootPort
        return isCardPresent && port.space.word(BridgeHeader.control) & BridgeControl.secondaryBusReset == 0
            && port.space.word(port.offsets.express! + Express.linkControl) & Express.linkDisable == 0
    }

    /// Whether the root port lets memory requests of the endpoint through.
    var acceptsUpstream: Bool { isLinkUp && rootPort.isBusMaster && rootPort.powerState == 0 }

    /// Whether the root port forwards requests to `bar` at `address` downwards.
    func forwards(_ bar: BARDescription, at address: UInt64) -> Bool {
        let port = rootPort
        guard isLinkUp, port.powerState == 0, address <= UInt64.max - (bar.size - 1) else { return false }
        let last = address + (bar.size - 1)
        if bar.kind == .io { return port.command & Command.ioSpace != 0 && windows.io.contains(address, last) }
        return port.command & Command.memorySpace != 0
            && (windows.memory.contains(address, last) || windows.prefetchable.contains(address, last))
    }

    /// Recomputes what follows from configuration spaces in every function.
    func refresh() {
        let port = rootPort, bus = physicalFunction.address.bus
        windows = BridgeWindows(port.space)
        forwardsConfiguration = isLinkUp && port.powerState == 0 && port.space.byte(BridgeHeader.secondaryBus) == bus
            && port.space.byte(BridgeHeader.subordinateBus) >= bus
        for function in functions { function?.refresh() }
    }

    /// The root port's link control or bridge control may have taken the link down: that resets everything below.
    func linkWritten() {
        if updateLink(), !isLinkUp { reset(.conventional) }
    }

    /// - Returns: whether the link came up, or went down.
    @discardableResult
    private func updateLink() -> Bool {
        guard isLinkUp != hasLinkRequested else { return false }
        isLinkUp.toggle()
        rootPort.showLink(isLinkUp)
        rootPort.noteSlotChange(Express.dataLinkStateChanged)
        return true
    }

    /// VF Enable or NumVFs may have changed.
    func virtualFunctionsWritten() {
        let count = requestedVirtualFunctions
        guard count != virtualFunctionCount else { return }
        let changed = min(count, virtualFunctionCount) + 1...max(count, virtualFunctionCount)
        virtualFunctionCount = count
        // `init` made as many as TotalVFs, which `count` never exceeds.
        for number in changed { functions[number]!.reset(.virtualization) }
        delegate?.virtualFunctionsChanged(count: count)
    }

    /// As many virtual functions as NumVFs and VF Enable say, TotalVFs at most.
    private var requestedVirtualFunctions: Int {
        let physical = physicalFunction
        guard physical.isVFEnabled, let offset = physical.offsets.virtualization else { return 0 }
        return min(Int(physical.space.word(offset + SingleRootVirtualization.numVFs)), description.totalVFs)
    }

    // MARK: Resets

    /// FLR of one function; of the physical function it takes the virtual ones with it (9.2.2.3).
    public func functionLevelReset(_ function: PCIFunction) {
        guard function.isPresent, !(function.role == .rootPort || function.role == .hostBridge) else { return }
        function.reset(.functionLevel)
        virtualFunctionsWritten()
        refresh()
    }

    /// Resets the whole card.
    private func reset(_ kind: FunctionReset) {
        for function in functions {
            guard let function, case .physical = function.role else { continue }
            function.reset(kind)
        }
        virtualFunctionsWritten()
    }

    /// The card is pulled out of its slot, without any notice, or put in: then its functions are as at power-on, and the host has yet to
    /// set them up (``configureFromHost(_:)``).
    /// - Returns: false if that is how it was.
    public func setCard(isPresent: Bool) -> Bool {
        guard isPresent != isCardPresent else { return false }
        rootPort.showCard(isPresent)
        isCardPresent = isPresent
        updateLink()
        if !isPresent { reset(.power) }
        refresh()
        return true
    }

    // MARK: State

    /// Every function's registers have been replaced: what follows from them is made anew, and no device model is reset.
    func stateLoaded() {
        virtualFunctionCount = requestedVirtualFunctions
        isCardPresent = rootPort.hasCard
        isLinkUp = hasLinkRequested
        rootPort.showLink(isLinkUp)
        refresh()
    }
}
