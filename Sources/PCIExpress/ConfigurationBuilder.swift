/// Where a function's capabilities are; nil: it has none of that kind.
struct CapabilityOffsets: Sendable {
    var powerManagement: Int?
    var express: Int?
    var msix: Int?
    var virtioWindow: Int?
    var advancedErrors: Int?
    var virtualization: Int?
    var addressTranslation: Int?
    var processAddressSpace: Int?
    var bridgeSubsystem: Int?
}

/// Lays out a configuration space: the header first, then capabilities in the order in which they are asked for, each linked
/// to the one before (PCI Express Base 5.0, 7.3).
struct ConfigurationBuilder {
    var space = ConfigurationSpace()
    var offsets = CapabilityOffsets()
    private var next = 0x40
    private var link = Header.capabilities
    private var nextExtended = 0x100
    private var lastExtended: Int?

    /// Starts a capability of `length` bytes and returns its offset.
    mutating func capability(_ id: UInt8, length: Int) -> Int {
        let offset = next
        precondition(offset + length <= 0x100, "the capabilities of one function fit into its first 256 bytes")
        space.define(link, size: 1, value: UInt32(offset))
        space.define(offset, size: 1, value: UInt32(id))
        link = offset + 1
        next = (offset + length + 3) & ~3
        space.define(Header.status, size: 2, value: UInt32(Status.capabilityList), clearable: UInt32(Status.errors))
        return offset
    }

    /// Starts an extended capability of `length` bytes and returns its offset.
    mutating func extendedCapability(_ id: UInt16, version: UInt32, length: Int) -> Int {
        let offset = nextExtended
        precondition(offset + length <= ConfigurationSpace.size, "the extended capabilities of a function fit into its space")
        if let last = lastExtended {
            space.define(last, size: 4, value: space.dword(last) | UInt32(offset) << 20)
        }
        space.define(offset, size: 4, value: UInt32(id) | version << 16)
        lastExtended = offset
        nextExtended = (offset + length + 15) & ~15
        return offset
    }

    // MARK: Headers

    /// What both header types have in common (7.5.1.1).
    mutating func header(
        vendor: UInt16, device: UInt16, classCode: UInt32, revision: UInt8, type: UInt8, command: UInt16, interruptPin: UInt8
    ) {
        space.define(Header.vendorID, size: 2, value: UInt32(vendor))
        space.define(Header.deviceID, size: 2, value: UInt32(device))
        space.define(Header.command, size: 2, writable: UInt32(command))
        space.define(Header.status, size: 2, clearable: UInt32(Status.errors))
        space.define(Header.revision, size: 4, value: UInt32(revision) | classCode << 8)
        space.define(Header.cacheLineSize, size: 1, writable: 0xff)
        space.define(Header.headerType, size: 1, value: UInt32(type))
        space.define(Header.interruptLine, size: 1, writable: interruptPin == 0 ? 0 : 0xff)
        space.define(Header.interruptPin, size: 1, value: UInt32(interruptPin))
    }

    /// A base address register at `offset`, which decodes `size` bytes. Used for BARs and VF BARs alike.
    mutating func baseAddress(_ offset: Int, _ bar: BARDescription) {
        let (low, high) = ConfigurationBuilder.baseAddressMasks(bar, size: bar.size)
        space.define(offset, size: 4, value: bar.encoding, writable: low)
        if bar.is64Bit { space.define(offset + 4, size: 4, writable: high) }
    }

    /// The address bits that software can write, for an aperture of `size` bytes.
    static func baseAddressMasks(_ bar: BARDescription, size: UInt64) -> (low: UInt32, high: UInt32) {
        let mask = ~(size &- 1)
        return (UInt32(truncatingIfNeeded: mask) & (bar.kind == .io ? ~0x3 : ~0xf), UInt32(truncatingIfNeeded: mask >> 32))
    }

    // MARK: Capabilities of the first 256 bytes

    /// D0 and D3hot, no PME, state kept over D3hot (7.5.2).
    mutating func powerManagement() {
        let offset = capability(CapabilityID.powerManagement, length: 8)
        space.define(offset + 2, size: 2, value: 0x0003)
        space.define(offset + PowerManagement.control, size: 2, value: 0x0008, writable: 0x0003)
        offsets.powerManagement = offset
    }

    /// MSI-X (7.7.2).
    mutating func msix(_ msix: MSIXDescription) {
        let offset = capability(CapabilityID.msix, length: 12)
        space.define(offset + MSIXCapability.control, size: 2, value: UInt32(msix.vectors - 1),
                     writable: UInt32(MSIXCapability.enable | MSIXCapability.functionMask))
        space.define(offset + MSIXCapability.table, size: 4, value: UInt32(truncatingIfNeeded: msix.tableOffset) | UInt32(msix.bar))
        space.define(offset + MSIXCapability.pending, size: 4, value: UInt32(truncatingIfNeeded: msix.pendingOffset) | UInt32(msix.bar))
        offsets.msix = offset
    }

    /// Ids of a bridge's subsystem (PCI-to-PCI Bridge 1.2, 3.2.5.13).
    mutating func bridgeSubsystem(vendor: UInt16, device: UInt16) {
        let offset = capability(CapabilityID.bridgeSubsystem, length: 8)
        space.define(offset + 4, size: 4, value: UInt32(vendor) | UInt32(device) << 16)
        offsets.bridgeSubsystem = offset
    }

    /// The vendor capabilities of a virtio function (virtio 1.2, 4.1.4).
    mutating func virtio(_ virtio: VirtioStructures) {
        let bar = UInt32(virtio.bar)
        func define(_ type: UInt32, _ region: VirtioStructures.Region, length: Int) -> Int {
            let offset = capability(CapabilityID.vendorSpecific, length: length)
            space.define(offset + 2, size: 2, value: UInt32(length) | type << 8)
            space.define(offset + 4, size: 4, value: bar)
            space.define(offset + 8, size: 4, value: region.offset)
            space.define(offset + 12, size: 4, value: region.length)
            return offset
        }
        _ = define(1, virtio.common, length: 16)
        let notify = define(2, virtio.notification, length: 20)
        space.define(notify + 16, size: 4, value: virtio.notifyOffsetMultiplier)
        _ = define(3, virtio.isr, length: 16)
        _ = define(4, virtio.device, length: 16)
        let window = define(5, .init(0, 0), length: 20)
        space.define(window + 4, size: 1, writable: 0xff)
        for register in [8, 12, 16] { space.define(window + register, size: 4, writable: ~0) }
        offsets.virtioWindow = window
    }
}
