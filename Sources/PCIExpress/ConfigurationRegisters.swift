// Offsets and bits of configuration space that more than one file needs (PCI Express Base 5.0, chapter 7).

/// Registers of the type 0 and type 1 headers (7.5.1).
public enum Header {
    public static let vendorID = 0x00
    public static let deviceID = 0x02
    public static let command = 0x04
    public static let status = 0x06
    public static let revision = 0x08
    public static let classCode = 0x09
    public static let cacheLineSize = 0x0c
    public static let headerType = 0x0e
    public static let bar0 = 0x10
    public static let subsystemVendorID = 0x2c
    public static let subsystemID = 0x2e
    public static let capabilities = 0x34
    public static let interruptLine = 0x3c
    public static let interruptPin = 0x3d
}

/// Registers of the type 1 header only (7.5.1.3).
public enum BridgeHeader {
    public static let primaryBus = 0x18
    public static let secondaryBus = 0x19
    public static let subordinateBus = 0x1a
    public static let ioBase = 0x1c
    public static let ioLimit = 0x1d
    public static let secondaryStatus = 0x1e
    public static let memoryBase = 0x20
    public static let memoryLimit = 0x22
    public static let prefetchableBase = 0x24
    public static let prefetchableLimit = 0x26
    public static let prefetchableBaseUpper = 0x28
    public static let prefetchableLimitUpper = 0x2c
    public static let ioBaseUpper = 0x30
    public static let ioLimitUpper = 0x32
    public static let control = 0x3e
}

/// Bits of the command register (7.5.1.1.3).
public enum Command {
    public static let ioSpace: UInt16 = 1 << 0
    public static let memorySpace: UInt16 = 1 << 1
    public static let busMaster: UInt16 = 1 << 2
    public static let parityErrorResponse: UInt16 = 1 << 6
    public static let systemError: UInt16 = 1 << 8
    public static let interruptDisable: UInt16 = 1 << 10
}

/// Bits of the status register (7.5.1.1.4); the secondary status register has the same error bits.
public enum Status {
    public static let interrupt: UInt16 = 1 << 3
    public static let capabilityList: UInt16 = 1 << 4
    public static let signaledTargetAbort: UInt16 = 1 << 11
    public static let receivedMasterAbort: UInt16 = 1 << 13
    public static let signaledSystemError: UInt16 = 1 << 14
    /// All that software clears by writing one.
    public static let errors: UInt16 = 0xf900
}

/// Bits of the bridge control register (7.5.1.3.10).
public enum BridgeControl {
    public static let systemError: UInt16 = 1 << 1
    public static let secondaryBusReset: UInt16 = 1 << 6
}

/// Identifiers of the capabilities in the first 256 bytes (PCI Code and ID Assignment 1.14, 2).
public enum CapabilityID {
    public static let powerManagement: UInt8 = 0x01
    public static let vendorSpecific: UInt8 = 0x09
    public static let bridgeSubsystem: UInt8 = 0x0d
    public static let express: UInt8 = 0x10
    public static let msix: UInt8 = 0x11
}

/// Identifiers of the extended capabilities (PCI Code and ID Assignment 1.14, 3).
public enum ExtendedCapabilityID {
    public static let advancedErrorReporting: UInt16 = 0x0001
    public static let serialNumber: UInt16 = 0x0003
    public static let vendorSpecific: UInt16 = 0x000b
    public static let accessControl: UInt16 = 0x000d
    public static let alternativeRouting: UInt16 = 0x000e
    public static let addressTranslation: UInt16 = 0x000f
    public static let singleRootVirtualization: UInt16 = 0x0010
    public static let secondaryExpress: UInt16 = 0x0019
    public static let processAddressSpace: UInt16 = 0x001b
    public static let dataLinkFeature: UInt16 = 0x0025
    public static let physicalLayer16: UInt16 = 0x0026
    public static let laneMargining: UInt16 = 0x0027
    public static let physicalLayer32: UInt16 = 0x002a
}

/// Offsets in the power management capability and the states it knows (PCI Power Management 1.2, 3.2).
public enum PowerManagement {
    public static let control = 4
    public static let stateMask: UInt16 = 3
    public static let d0: UInt16 = 0
    public static let d3hot: UInt16 = 3
}

/// Offsets and bits in the PCI Express capability (7.5.3).
public enum Express {
    public static let deviceCapabilities = 0x04
    public static let deviceControl = 0x08
    public static let deviceStatus = 0x0a
    public static let linkCapabilities = 0x0c
    public static let linkControl = 0x10
    public static let linkStatus = 0x12
    public static let slotCapabilities = 0x14
    public static let slotControl = 0x18
    public static let slotStatus = 0x1a
    public static let rootControl = 0x1c
    public static let rootStatus = 0x20
    public static let deviceControl2 = 0x28
    public static let linkControl2 = 0x30

    public static let correctableReporting: UInt16 = 1 << 0
    public static let nonFatalReporting: UInt16 = 1 << 1
    public static let fatalReporting: UInt16 = 1 << 2
    public static let unsupportedRequestReporting: UInt16 = 1 << 3
    public static let initiateFunctionLevelReset: UInt16 = 1 << 15
    /// Device status: what was detected, in the order of the reporting bits.
    public static let correctableDetected: UInt16 = 1 << 0
    public static let nonFatalDetected: UInt16 = 1 << 1
    public static let fatalDetected: UInt16 = 1 << 2
    public static let unsupportedRequestDetected: UInt16 = 1 << 3
    /// Link control of a port.
    public static let linkDisable: UInt16 = 1 << 4
    /// Link status of a port.
    public static let dataLinkActive: UInt16 = 1 << 13
    /// Slot status of a port: there is a card; that has changed; the link status bit above has changed.
    public static let presenceDetect: UInt16 = 1 << 6
    public static let presenceDetectChanged: UInt16 = 1 << 3
    public static let dataLinkStateChanged: UInt16 = 1 << 8
    /// Device control 2 of a port.
    public static let ariForwarding: UInt16 = 1 << 5
}

/// Offsets and bits in the MSI-X capability (7.7.2).
public enum MSIXCapability {
    public static let control = 0x02
    public static let table = 0x04
    public static let pending = 0x08
    public static let functionMask: UInt16 = 1 << 14
    public static let enable: UInt16 = 1 << 15
}

/// Offsets in the AER capability (7.8.4).
public enum AdvancedErrorReporting {
    public static let uncorrectableStatus = 0x04
    public static let uncorrectableMask = 0x08
    public static let uncorrectableSeverity = 0x0c
    public static let correctableStatus = 0x10
    public static let correctableMask = 0x14
    public static let control = 0x18
    public static let headerLog = 0x1c
    public static let rootCommand = 0x2c
    public static let rootStatus = 0x30
    public static let errorSource = 0x34
}

/// Offsets and bits in the SR-IOV capability (9.3.3).
public enum SingleRootVirtualization {
    public static let capabilities = 0x04
    public static let control = 0x08
    public static let status = 0x0a
    public static let initialVFs = 0x0c
    public static let totalVFs = 0x0e
    public static let numVFs = 0x10
    public static let firstVFOffset = 0x14
    public static let vfStride = 0x16
    public static let vfDeviceID = 0x1a
    public static let supportedPageSizes = 0x1c
    public static let systemPageSize = 0x20
    public static let vfBAR0 = 0x24

    public static let vfEnable: UInt16 = 1 << 0
    public static let vfMemorySpace: UInt16 = 1 << 3
    public static let ariCapable: UInt16 = 1 << 4
}
