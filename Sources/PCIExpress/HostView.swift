// What Linux makes of a function, for the files under /sys/bus/pci.

/// A line of the `resource` file: first and last address and Linux's flags; all zero if there is nothing.
public struct PCIResource: Hashable, Sendable {
    public var first: UInt64 = 0
    public var last: UInt64 = 0
    public var flags: UInt64 = 0

    public var isEmpty: Bool { flags == 0 }
    public var size: UInt64 { isEmpty ? 0 : last &- first &+ 1 }

    /// Flags of a BAR: type bits of the register, IORESOURCE_IO or _MEM, _PREFETCH, _MEM_64, _SIZEALIGN.
    static func flags(_ kind: BARDescription.Kind) -> UInt64 {
        switch kind {
        case .io: 0x40101
        case .memory32: 0x40200
        case .memory64: 0x140204
        case .prefetchable64: 0x14220c
        }
    }
}

/// A number of virtual functions that Linux would refuse.
public enum VirtualFunctionError: Error, Hashable, CustomStringConvertible {
    /// ENOENT: the function has no SR-IOV capability.
    case notSupported
    /// ERANGE.
    case tooMany(requested: Int, total: Int)
    /// EBUSY: the present ones have to go first.
    case busy(enabled: Int)
    /// EIO: nothing answers below the root port.
    case unreachable

    public var description: String {
        switch self {
        case .notSupported: "virtual functions: expected a function with SR-IOV, found one without"
        case .tooMany(let requested, let total): "virtual functions: expected 0 to \(total), found \(requested)"
        case .busy(let enabled): "virtual functions: expected none enabled before another number is set, found \(enabled)"
        case .unreachable: "virtual functions: expected a function that answers, found none"
        }
    }
}

extension PCIFunction {
    /// Ids as Linux reports them: a virtual function's come from the physical function (`pci_iov_add_virtfn`).
    public var vendorID: UInt16 { isVirtual ? description!.vendorID : state.space.word(Header.vendorID) }
    public var deviceID: UInt16 { isVirtual ? description!.deviceID : state.space.word(Header.deviceID) }
    /// A bridge has its subsystem's ids in a capability.
    public var subsystemVendorID: UInt16 { state.space.word(subsystemOffset) }
    public var subsystemID: UInt16 { state.space.word(subsystemOffset + 2) }
    private var subsystemOffset: Int { role == .rootPort ? offsets.bridgeSubsystem! + 4 : Header.subsystemVendorID }
    /// 24 bits.
    public var classCode: UInt32 { state.space.dword(Header.revision) >> 8 }
    public var revision: UInt8 { state.space.byte(Header.revision) }
    /// 0: none; 1...4: INTA...INTD.
    public var interruptPin: UInt8 { state.space.byte(Header.interruptPin) }
    /// Bytes that the `config` file has.
    public var configurationSize: Int { role == .hostBridge ? 256 : ConfigurationSpace.size }

    /// The BARs that exist.
    public var bars: [BARDescription] { decoders.compactMap { $0?.bar } }

    /// The `modalias` file.
    public var modalias: String {
        func upper(_ value: some BinaryInteger, _ digits: Int) -> String { hex(value, digits).uppercased() }
        return "pci:v\(upper(vendorID, 8))d\(upper(deviceID, 8))sv\(upper(subsystemVendorID, 8))sd\(upper(subsystemID, 8))"
            + "bc\(upper(classCode >> 16, 2))sc\(upper(classCode >> 8 & 0xff, 2))i\(upper(classCode & 0xff, 2))"
    }

    /// The lines of the `resource` file: BAR 0...5, ROM, VF BAR 0...5, and for a bridge its windows.
    public var resources: [PCIResource] {
        var resources = [PCIResource](repeating: PCIResource(), count: isBridge ? 17 : 13)
        for bar in bars {
            let first = addresses(bar).assigned
            resources[bar.index] = PCIResource(first: first, last: first + (bar.size - 1), flags: PCIResource.flags(bar.kind))
        }
        if offsets.virtualization != nil {
            for bar in hierarchy.description.virtualFunction.bars {
                let first = state.assigned[6 + bar.index]
                let size = apertureSize(bar) &* UInt64(hierarchy.description.totalVFs)
                resources[7 + bar.index] = PCIResource(first: first, last: first &+ (size &- 1), flags: PCIResource.flags(bar.kind))
            }
        }
        if isBridge {
            let windows = BridgeWindows(state.space)
            let all: [(BridgeWindows.Window, UInt64)] = [(windows.io, 0x100), (windows.memory, 0x200), (windows.prefetchable, 0x102201)]
            for (i, (window, flags)) in all.enumerated() where !window.isEmpty {
                resources[13 + i] = PCIResource(first: window.first, last: window.last, flags: flags)
            }
        }
        return resources
    }

    /// What the `enable` file says.
    public var isEnabledFromHost: Bool { state.isEnabledFromHost }

    // MARK: Link

    /// Whether the function is at a link: `current_link_*` and `max_link_*` exist.
    public var hasLink: Bool { offsets.express != nil }
    public var currentLinkSpeed: String { Self.speed(linkRegister(Express.linkStatus)) }
    public var maximumLinkSpeed: String { Self.speed(linkRegister(Express.linkCapabilities)) }
    public var currentLinkWidth: Int { Int(linkRegister(Express.linkStatus) >> 4 & 0x3f) }
    public var maximumLinkWidth: Int { Int(linkRegister(Express.linkCapabilities) >> 4 & 0x3f) }

    private func linkRegister(_ register: Int) -> UInt16 { offsets.express.map { state.space.word($0 + register) } ?? 0 }

    /// As Linux spells it.
    private static func speed(_ register: UInt16) -> String {
        switch register & 0xf {
        case 1: "2.5 GT/s PCIe"
        case 2: "5.0 GT/s PCIe"
        case 3: "8.0 GT/s PCIe"
        case 4: "16.0 GT/s PCIe"
        case 5: "32.0 GT/s PCIe"
        default: "Unknown"
        }
    }

    // MARK: Capabilities

    /// `D0` or `D3hot`.
    public var powerStateName: String { powerState == 0 ? "D0" : "D3hot" }
    /// Whether the port above forwards to function numbers beyond 7: the `ari_enabled` file.
    public var isARIEnabled: Bool {
        guard domain != nil else { return false }
        let port = hierarchy.rootPort
        return port.space.word(port.offsets.express! + Express.deviceControl2) & Express.ariForwarding != 0
    }
    /// Vectors in the MSI-X table; 0 without MSI-X.
    public var vectorCount: Int { description?.msix?.vectors ?? 0 }
    public var hasAdvancedErrorReporting: Bool { offsets.advancedErrors != nil }
    /// Whether an FLR is possible: the `reset` file exists.
    public var hasFunctionLevelReset: Bool { domain != nil }

    /// What the `sriov_*` files say; nil without the capability.
    public var virtualization: (total: Int, enabled: Int, offset: Int, stride: Int, deviceID: UInt16)? {
        guard let sriov = offsets.virtualization else { return nil }
        return (hierarchy.description.totalVFs, hierarchy.virtualFunctionCount,
                Int(state.space.word(sriov + SingleRootVirtualization.firstVFOffset)),
                Int(state.space.word(sriov + SingleRootVirtualization.vfStride)),
                state.space.word(sriov + SingleRootVirtualization.vfDeviceID))
    }

    /// Writing 1 to the `enable` file, and what a driver does that is bound (`pci_enable_device`): D0 and all spaces on.
    public func enableFromHost() {
        state.isEnabledFromHost = true
        var command = self.command | Command.systemError
        if bars.contains(where: { $0.kind == .io }) { command |= Command.ioSpace }
        if bars.contains(where: { $0.kind != .io }) { command |= Command.memorySpace }
        if let pm = offsets.powerManagement { writeConfiguration(pm + PowerManagement.control, size: 2, 0) }
        writeConfiguration(Header.command, size: 2, UInt32(command))
    }

    /// Writing 0 to the `enable` file, and what a driver does that is unbound (`pci_disable_device`): bus mastering off.
    public func disableFromHost() {
        state.isEnabledFromHost = false
        writeConfiguration(Header.command, size: 2, UInt32(command & ~Command.busMaster))
    }
}

extension PCIHierarchy {
    /// Writing `sriov_numvfs`: NumVFs, then VF Enable and VF MSE; 0 takes them away.
    public func setVirtualFunctions(_ count: Int) throws(VirtualFunctionError) {
        let physical = physicalFunction
        guard let sriov = physical.offsets.virtualization else { throw .notSupported }
        guard (0...description.totalVFs).contains(count) else { throw .tooMany(requested: count, total: description.totalVFs) }
        guard physical.isPresent, forwardsConfiguration else { throw .unreachable }
        guard count != virtualFunctionCount else { return }
        guard count == 0 || virtualFunctionCount == 0 else { throw .busy(enabled: virtualFunctionCount) }
        typealias SRIOV = SingleRootVirtualization
        let control = physical.space.word(sriov + SRIOV.control) & ~(SRIOV.vfEnable | SRIOV.vfMemorySpace)
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, UInt32(control))
        physical.writeConfiguration(sriov + SRIOV.numVFs, size: 2, UInt32(count))
        if count > 0 {
            physical.writeConfiguration(sriov + SRIOV.control, size: 2, UInt32(control | SRIOV.vfEnable | SRIOV.vfMemorySpace))
        }
    }
}
