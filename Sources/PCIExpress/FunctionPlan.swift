import Interconnect

/// A function to be built: its place in the hierarchy and its configuration space at power-on.
struct FunctionPlan {
    var index: Int
    var role: PCIFunction.Role
    var address: FunctionAddress
    var description: FunctionDescription?
    var builder: ConfigurationBuilder
    var owner: Owner = .host

    /// Red Hat's generic bridges: Linux and pci.ids know them, and they have no behaviour of their own.
    private static let bridgeVendor: UInt16 = 0x1b36
    private static let hostBridgeDevice: UInt16 = 0x0008
    private static let rootPortDevice: UInt16 = 0x000c

    /// The functions of a hierarchy.
    static func all(_ description: HierarchyDescription) -> [FunctionPlan] {
        let further = description.furtherFunctions.sorted { $0.number < $1.number }
        let numbers = further.map(\.number)
        var plans = [physical(0, description.physicalFunction, next: numbers.first ?? 0, description)]
        for (i, function) in further.enumerated() {
            plans.append(physical(function.number, function.function, next: i + 1 < numbers.count ? numbers[i + 1] : 0, description))
        }
        for number in 0..<description.totalVFs { plans.append(virtual(number + 1, description)) }
        return plans + [rootPort(), hostBridge()]
    }

    private static func physical(
        _ number: Int, _ function: FunctionDescription, next: Int, _ hierarchy: HierarchyDescription
    ) -> FunctionPlan {
        var builder = ConfigurationBuilder()
        var command = Command.busMaster | Command.parityErrorResponse | Command.systemError
        if function.bars.contains(where: { $0.kind == .io }) { command |= Command.ioSpace }
        if function.bars.contains(where: { $0.kind != .io }) { command |= Command.memorySpace }
        if function.interruptPin != 0 { command |= Command.interruptDisable }
        builder.header(
            vendor: function.vendorID, device: function.deviceID, classCode: function.classCode, revision: function.revision,
            type: hierarchy.furtherFunctions.isEmpty ? 0x00 : 0x80, command: command, interruptPin: function.interruptPin)
        builder.space.define(Header.subsystemVendorID, size: 2, value: UInt32(function.subsystemVendorID))
        builder.space.define(Header.subsystemID, size: 2, value: UInt32(function.subsystemID))
        for bar in function.bars { builder.baseAddress(Header.bar0 + 4 * bar.index, bar) }
        builder.powerManagement()
        builder.express(.endpoint)
        if let msix = function.msix { builder.msix(msix) }
        if let virtio = function.virtio { builder.virtio(virtio) }
        builder.advancedErrors(.endpoint)
        builder.alternativeRouting(next: next)
        builder.serialNumber(hierarchy.serialNumber)
        if number == 0 {
            if hierarchy.totalVFs > 0 { builder.virtualization(hierarchy.virtualFunction, totalVFs: hierarchy.totalVFs) }
            builder.linkCapabilities()
        }
        builder.addressTranslation()
        if number == 0 { builder.processAddressSpace() }
        if !function.vendorSpecific.isEmpty { builder.vendorSpecific(function.vendorSpecific) }
        return FunctionPlan(
            index: number == 0 ? 0 : HierarchyDescription.index(ofFurther: number), role: .physical(number),
            address: FunctionAddress(bus: 1, number: UInt8(number)), description: function, builder: builder)
    }

    /// A virtual function: ids read all ones, there is neither BAR nor INTx, and memory space is not its own (9.3.4.1).
    private static func virtual(_ number: Int, _ hierarchy: HierarchyDescription) -> FunctionPlan {
        let function = hierarchy.virtualFunction
        var builder = ConfigurationBuilder()
        builder.header(
            vendor: 0xffff, device: 0xffff, classCode: function.classCode, revision: function.revision, type: 0x00,
            command: Command.busMaster, interruptPin: 0)
        builder.space.define(Header.cacheLineSize, size: 1)
        builder.space.define(Header.subsystemVendorID, size: 2, value: UInt32(function.subsystemVendorID))
        builder.space.define(Header.subsystemID, size: 2, value: UInt32(function.subsystemID))
        builder.powerManagement()
        builder.express(.virtualFunction)
        if let msix = function.msix { builder.msix(msix) }
        if let virtio = function.virtio { builder.virtio(virtio) }
        builder.advancedErrors(.virtualFunction)
        builder.alternativeRouting(next: 0)
        builder.addressTranslation()
        if !function.vendorSpecific.isEmpty { builder.vendorSpecific(function.vendorSpecific) }
        let routing = VirtualFunctionRouting.firstOffset + (number - 1) * VirtualFunctionRouting.stride
        return FunctionPlan(
            index: number, role: .virtual(number), address: FunctionAddress(bus: 1, number: UInt8(routing)), description: function,
            builder: builder, owner: .virtualMachine(number))
    }

    private static func rootPort() -> FunctionPlan {
        var builder = ConfigurationBuilder()
        builder.header(
            vendor: bridgeVendor, device: rootPortDevice, classCode: 0x060400, revision: 0, type: 0x01,
            command: Command.ioSpace | Command.memorySpace | Command.busMaster | Command.parityErrorResponse | Command.systemError
                | Command.interruptDisable,
            interruptPin: 1)
        for bus in [BridgeHeader.primaryBus, BridgeHeader.secondaryBus, BridgeHeader.subordinateBus] {
            builder.space.define(bus, size: 1, writable: 0xff)
        }
        // 32-bit I/O and 64-bit prefetchable windows.
        builder.space.define(BridgeHeader.ioBase, size: 2, value: 0x0101, writable: 0xf0f0)
        builder.space.define(BridgeHeader.secondaryStatus, size: 2, clearable: UInt32(Status.errors))
        builder.space.define(BridgeHeader.memoryBase, size: 4, writable: 0xfff0_fff0)
        builder.space.define(BridgeHeader.prefetchableBase, size: 4, value: 0x0001_0001, writable: 0xfff0_fff0)
        for upper in [BridgeHeader.prefetchableBaseUpper, BridgeHeader.prefetchableLimitUpper, BridgeHeader.ioBaseUpper] {
            builder.space.define(upper, size: 4, writable: ~0)
        }
        builder.space.define(BridgeHeader.control, size: 2, writable: 0x0043)
        builder.powerManagement()
        builder.express(.rootPort)
        builder.bridgeSubsystem(vendor: FunctionDescription.redHat, device: 0)
        builder.advancedErrors(.rootPort)
        builder.accessControl()
        builder.linkCapabilities()
        return FunctionPlan(
            index: PCIHierarchy.rootPortIndex, role: .rootPort, address: FunctionAddress(bus: 0, number: 1 << 3), description: nil,
            builder: builder)
    }

    private static func hostBridge() -> FunctionPlan {
        var builder = ConfigurationBuilder()
        builder.header(
            vendor: bridgeVendor, device: hostBridgeDevice, classCode: 0x060000, revision: 0, type: 0x00,
            command: Command.memorySpace | Command.busMaster | Command.systemError, interruptPin: 0)
        builder.space.define(Header.subsystemVendorID, size: 2, value: UInt32(FunctionDescription.redHat))
        return FunctionPlan(
            index: PCIHierarchy.hostBridgeIndex, role: .hostBridge, address: FunctionAddress(bus: 0, number: 0), description: nil,
            builder: builder)
    }
}
