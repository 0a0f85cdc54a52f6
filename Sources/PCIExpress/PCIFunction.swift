import Interconnect
import Registers
import Simulation

/// One function of the hierarchy: its configuration space with all behaviour, its BARs, its interrupts, its DMA domain.
///
/// Behaviour is spread over this file (state, decoding, interrupts) and its extensions: `ConfigurationAccess.swift`,
/// `BARAccess.swift`, `ErrorReporting.swift`, `Resets.swift`, `HostView.swift`.
public final class PCIFunction {
    public enum Role: Hashable, Sendable {
        case hostBridge
        case rootPort
        /// A physical function, by its function number 0...7.
        case physical(Int)
        /// A virtual function, 1...64.
        case virtual(Int)
    }

    /// All that changes in a function, but for its DMA mappings.
    public struct State: Sendable {
        public internal(set) var space: ConfigurationSpace
        var msix: MSIXTable?
        /// The level of INTx that the device model drives.
        var line = false
        /// The level that the sink has been told.
        var signaledLine = false
        public internal(set) var errors = ErrorCounts()
        /// Accesses to BARs that were refused.
        public internal(set) var refusedAccesses: UInt64 = 0
        /// Error messages that a root port has received, by `ErrorMessage`.
        public internal(set) var receivedMessages = [UInt64](repeating: 0, count: ErrorMessage.allCases.count)
        /// Whether the host counts the function as enabled: the `enable` file.
        public internal(set) var isEnabledFromHost = true
        /// Where the host has put BAR 0...5, and after those a physical function's VF BAR 0...5.
        var assigned = [UInt64](repeating: 0, count: 12)
    }

    /// What a BAR decodes; follows from configuration spaces.
    struct Decoder {
        let bar: BARDescription
        /// The MSI-X table and pending bits are in this BAR.
        let holdsMSIX: Bool
        /// Reaches the target: enabled, in D0, the address the host uses is the register's, and the port forwards it.
        var isEnabled = false
        /// The port above would not forward an access: then that one reports it.
        var isForwarded = false
        /// Address of its first byte, as the host uses it.
        var base: UInt64 = 0
        var target: (any BusTarget)?
    }

    /// Function index; `PCIHierarchy.rootPortIndex` and `hostBridgeIndex` for those two.
    public let index: Int
    public let role: Role
    public let address: FunctionAddress
    /// What it was made from; nil for the bridges.
    public let description: FunctionDescription?
    /// The function's way into memory; nil for the bridges.
    public let domain: DMADomain?
    public internal(set) var state: State

    let offsets: CapabilityOffsets
    /// Its state at power-on.
    let initial: State
    /// By BAR index.
    var decoders: [Decoder?]
    /// Whether configuration requests arrive: the function is there, and the root port passes them on.
    private(set) var isReachable = true
    unowned let hierarchy: PCIHierarchy

    init(
        index: Int, role: Role, address: FunctionAddress, description: FunctionDescription?, builder: ConfigurationBuilder,
        domain: DMADomain?, hierarchy: PCIHierarchy
    ) {
        self.index = index
        self.role = role
        self.address = address
        self.description = description
        self.domain = domain
        self.hierarchy = hierarchy
        offsets = builder.offsets
        state = State(space: builder.space, msix: description?.msix.map(MSIXTable.init))
        initial = state
        decoders = (0..<6).map { index in
            (description?.bars.first { $0.index == index }).map { Decoder(bar: $0, holdsMSIX: description?.msix?.bar == index) }
        }
        domain?.onReadFault = { [unowned self] in state.space.setBits(Header.status, Status.receivedMasterAbort) }
    }

    /// Connects what answers behind a BAR. The MSI-X table and pending bits answer by themselves.
    public func attach(_ target: any BusTarget, bar: Int) {
        precondition(decoders.indices.contains(bar) && decoders[bar] != nil, "\(address) has a BAR \(bar)")
        decoders[bar]!.target = target
    }

    // MARK: What follows from configuration space

    public var space: ConfigurationSpace { state.space }

    /// Whose accesses come through it.
    var owner: Owner { domain?.owner ?? .host }
    public var isVirtual: Bool { if case .virtual = role { true } else { false } }
    public var isBridge: Bool { role == .rootPort }

    /// Whether the function is there at all: the card's while it is in its slot, a virtual one only while SR-IOV has enabled it.
    public var isPresent: Bool {
        switch role {
        case .hostBridge, .rootPort: true
        case .physical: hierarchy.isCardPresent
        case .virtual(let number): number <= hierarchy.virtualFunctionCount
        }
    }

    var command: UInt16 { state.space.word(Header.command) }
    public var isBusMaster: Bool { command & Command.busMaster != 0 }

    /// 0 (D0) or 3 (D3hot).
    public var powerState: Int {
        guard let offset = offsets.powerManagement else { return 0 }
        return Int(state.space.word(offset + PowerManagement.control) & PowerManagement.stateMask)
    }

    /// D0, and the physical function of a virtual one too (PCI Express Base 5.0, 9.6.2).
    var isAwake: Bool { powerState == 0 && (!isVirtual || hierarchy.physicalFunction.powerState == 0) }

    /// Whether a BAR of this kind is enabled: by the command register, or by VF MSE for a virtual function (9.3.3.3.4).
    func isSpaceEnabled(_ kind: BARDescription.Kind) -> Bool {
        if isVirtual { return kind != .io && hierarchy.physicalFunction.isVFMemoryEnabled }
        return command & (kind == .io ? Command.ioSpace : Command.memorySpace) != 0
    }

    var isVFMemoryEnabled: Bool {
        guard let offset = offsets.virtualization else { return false }
        return state.space.word(offset + SingleRootVirtualization.control) & SingleRootVirtualization.vfMemorySpace != 0
    }

    /// The address that the register pair of `bar` at `offset` holds.
    func registerAddress(_ bar: BARDescription, at offset: Int) -> UInt64 {
        let low = state.space.dword(offset) & (bar.kind == .io ? ~0x3 : ~0xf)
        return UInt64(low) | (bar.is64Bit ? UInt64(state.space.dword(offset + 4)) << 32 : 0)
    }

    /// Where the host believes BAR `bar` to be, and where the function decodes it.
    func addresses(_ bar: BARDescription) -> (assigned: UInt64, decoded: UInt64) {
        guard case .virtual(let number) = role else {
            return (state.assigned[bar.index], registerAddress(bar, at: Header.bar0 + 4 * bar.index))
        }
        let physical = hierarchy.physicalFunction
        guard let offset = physical.offsets.virtualization else { return (0, 0) }
        let step = UInt64(number - 1) &* physical.apertureSize(bar)
        let first = physical.registerAddress(bar, at: offset + SingleRootVirtualization.vfBAR0 + 4 * bar.index)
        return (physical.state.assigned[6 + bar.index] &+ step, first &+ step)
    }

    /// Bytes from one virtual function's BAR to the next one's: at least a system page (9.3.3.13).
    func apertureSize(_ bar: BARDescription) -> UInt64 {
        guard let offset = offsets.virtualization else { return bar.size }
        return max(bar.size, UInt64(state.space.dword(offset + SingleRootVirtualization.systemPageSize)) << 12)
    }

    /// Recomputes all that follows from configuration spaces, and sends what was held back.
    func refresh() {
        let present = isPresent
        isReachable = address.bus == 0 || (hierarchy.forwardsConfiguration && present)
        for i in decoders.indices {
            guard var decoder = decoders[i] else { continue }
            let (assigned, decoded) = addresses(decoder.bar)
            decoder.base = assigned
            decoder.isForwarded = hierarchy.forwards(decoder.bar, at: assigned)
            decoder.isEnabled = present && isAwake && decoder.isForwarded && assigned == decoded && isSpaceEnabled(decoder.bar.kind)
            decoders[i] = decoder
        }
        domain?.isEnabled = canMasterBus
        updateLine()
        deliverPending()
    }

    /// Whether a memory request of the function leaves it and passes the port above.
    var canMasterBus: Bool { isPresent && isAwake && isBusMaster && hierarchy.acceptsUpstream }

    // MARK: Interrupts

    var msixControl: UInt16 {
        guard let offset = offsets.msix else { return 0 }
        return state.space.word(offset + MSIXCapability.control)
    }
    public var isMSIXEnabled: Bool { msixControl & MSIXCapability.enable != 0 }

    /// Raises an MSI-X vector. Out of range counts as "no vector", as virtio's 0xffff does.
    @discardableResult
    public func raise(_ vector: Int) -> InterruptDelivery {
        guard isPresent, isMSIXEnabled, let msix = state.msix, vector >= 0, vector < msix.description.vectors else { return .ignored }
        state.msix!.setPending(vector)
        deliverPending()
        return state.msix!.isPending(vector) ? .pending : .delivered
    }

    /// Sends what is pending and not masked. A message is a memory write, so it needs bus mastering too.
    func deliverPending() {
        guard state.msix?.hasPending == true else { return }
        while canMasterBus, msixControl & (MSIXCapability.enable | MSIXCapability.functionMask) == MSIXCapability.enable,
            let vector = state.msix!.takeDeliverable()
        {
            hierarchy.interrupts?.messageSignaled(function: index, vector: vector, message: state.msix!.message(vector))
        }
    }

    /// Drives the function's INTx line. A function without an interrupt pin has none.
    public func driveLine(_ level: Bool) {
        guard description?.interruptPin ?? 0 != 0 else { return }
        state.line = level
        updateLine()
    }

    /// The status bit shows the line whatever the command register says (7.5.1.1.4); MSI-X silences the line (7.7.2.2).
    func updateLine() {
        let level = state.line && !isMSIXEnabled
        state.space.setBits(Header.status, Status.interrupt, level)
        let signaled = level && isAwake && command & Command.interruptDisable == 0
        guard signaled != state.signaledLine else { return }
        state.signaledLine = signaled
        hierarchy.interrupts?.lineChanged(function: index, level: signaled)
    }
}
