/// The link between root port and endpoint: 32 GT/s, eight lanes.
public enum ExpressLink {
    /// Encoded as in the link registers: 5 is 32 GT/s.
    public static let speed: UInt32 = 5
    public static let width: UInt32 = 8

    /// Payload bytes a second that the lanes carry each way. A packet of 256 bytes, as hosts commonly set them, has 24 around it: framing
    /// and sequence number, a header of four words, and the link's checksum (PCI Express Base 5.0, 2.2, 3.6 and 4.2.2).
    public static var payloadBandwidth: UInt64 {
        let (payload, packet) = (256 as UInt64, 256 + 24 as UInt64)
        // 32 GT/s, of 130 bits 128 of use.
        let bytes = 32_000_000_000 * UInt64(width) / 8 * 128 / 130
        return bytes * payload / packet
    }
}

/// What kind of function a PCI Express capability is for.
enum ExpressKind {
    case endpoint
    case virtualFunction
    case rootPort
}

extension ConfigurationBuilder {
    /// The PCI Express capability, version 2 (PCI Express Base 5.0, 7.5.3).
    ///
    /// A virtual function's link registers mirror the physical function's, although 9.3.5.7 lets them read zero: tools take
    /// zero for a link that has been downgraded.
    mutating func express(_ kind: ExpressKind) {
        let offset = capability(CapabilityID.express, length: 0x3c)
        let port = kind == .rootPort
        let virtual = kind == .virtualFunction
        let link = ExpressLink.speed | ExpressLink.width << 4
        func define(
            _ register: Int, size: Int, _ value: UInt32, writable: UInt32 = 0, clearable: UInt32 = 0, sticky: UInt32 = 0,
            retained: UInt32 = 0
        ) {
            space.define(
                offset + register, size: size, value: value, writable: writable, clearable: clearable, sticky: sticky, retained: retained)
        }
        // Version 2; a root port (type 4) has a slot.
        define(0x02, size: 2, port ? 0x0142 : 0x0002)
        // Payload up to 512 bytes, extended tags, role-based error reporting; endpoints reset by function.
        define(Express.deviceCapabilities, size: 4, port ? 0x0000_8022 : 0x1000_8022)
        // Reset value: relaxed ordering, extended tags, no snoop, read requests up to 512 bytes. The payload size survives FLR.
        define(Express.deviceControl, size: 2, virtual ? 0 : 0x2910, writable: virtual ? 0 : 0x79ff, retained: 0x00e0)
        define(Express.deviceStatus, size: 2, 0, clearable: 0x000f)
        // ASPM optionality compliance; a port reports the data link's state and bandwidth changes, and is port 1.
        define(Express.linkCapabilities, size: 4, (port ? 0x0170_0000 : 0x0040_0000) | link)
        define(Express.linkControl, size: 2, 0, writable: virtual ? 0 : port ? 0x0ed3 : 0x02cb, retained: 0xffff)
        // Slot clock; a port also says that the data link is active.
        define(Express.linkStatus, size: 2, (port ? 0x3000 : 0x1000) | link)
        if port {
            // Slot 1, with a card in it and without indicators, which read "off".
            define(Express.slotCapabilities, size: 4, 1 << 19)
            define(Express.slotControl, size: 2, 0x03c0)
            let changes = Express.presenceDetectChanged | Express.dataLinkStateChanged
            define(Express.slotStatus, size: 2, UInt32(Express.presenceDetect), clearable: UInt32(changes))
            define(Express.rootControl, size: 2, 0, writable: 0x001f)
            define(0x1e, size: 2, 0x0001)
            define(Express.rootStatus, size: 4, 0, clearable: 1 << 16)
        }
        // Completion timeout ranges A to D and their disabling, 10-bit tags, one end-to-end prefix (PASID); ARI forwarding.
        define(0x24, size: 4, port ? 0x0073_003f : 0x0073_001f)
        define(Express.deviceControl2, size: 2, 0, writable: virtual ? 0 : port ? 0x903f : 0x101f)
        // All speeds up to 32 GT/s.
        define(0x2c, size: 4, 0x3e)
        define(Express.linkControl2, size: 2, virtual ? 0 : ExpressLink.speed, writable: virtual ? 0 : 0xffbf, sticky: 0xffff)
        // All phases of equalisation succeeded.
        define(0x32, size: 2, virtual ? 0 : 0x001e)
        offsets.express = offset
    }

    /// What a port of a 32 GT/s link must describe beside the PCI Express capability: data link features, equalisation, margining
    /// (7.7.3, 7.7.4, 7.7.5, 7.7.6, 7.7.7). They belong to function 0 and to the port.
    mutating func linkCapabilities() {
        let lanes = Int(ExpressLink.width)
        let feature = extendedCapability(ExtendedCapabilityID.dataLinkFeature, version: 1, length: 12)
        // Scaled flow control, here and at the other end; both say that the exchange has taken place.
        space.define(feature + 4, size: 4, value: 0x8000_0001)
        space.define(feature + 8, size: 4, value: 0x8000_0001)

        let secondary = extendedCapability(ExtendedCapabilityID.secondaryExpress, version: 1, length: 0xc + 2 * lanes)
        space.define(secondary + 8, size: 4, clearable: 0xff, sticky: 0xff)
        for lane in 0..<lanes { space.define(secondary + 0xc + 2 * lane, size: 2, value: 0x0404) }

        for id in [ExtendedCapabilityID.physicalLayer16, ExtendedCapabilityID.physicalLayer32] {
            let layer = extendedCapability(id, version: 1, length: 0x20 + lanes)
            // All phases of equalisation succeeded.
            space.define(layer + 0xc, size: 4, value: 0x0000_000f)
            for lane in 0..<lanes { space.define(layer + 0x20 + lane, size: 1, value: 0x44) }
            if id == ExtendedCapabilityID.physicalLayer16 {
                for mismatch in [0x10, 0x14, 0x18] { space.define(layer + mismatch, size: 4, clearable: 0xff, sticky: 0xff) }
            }
        }

        let margining = extendedCapability(ExtendedCapabilityID.laneMargining, version: 1, length: 8 + 4 * lanes)
        space.define(margining + 6, size: 2, value: 1)
        // "No command" in every lane.
        for lane in 0..<lanes { space.define(margining + 8 + 4 * lane, size: 2, value: 0x9c38, writable: 0xff7f) }
    }

    /// Advanced error reporting (7.8.4). A virtual function's masks and severities are the physical function's (9.4.2).
    mutating func advancedErrors(_ kind: ExpressKind) {
        typealias AER = AdvancedErrorReporting
        let offset = extendedCapability(ExtendedCapabilityID.advancedErrorReporting, version: 2, length: 0x48)
        let uncorrectable = UncorrectableError.mask(kind)
        let correctable = CorrectableError.mask
        let control: UInt32 = kind == .virtualFunction ? 0 : ~0
        func define(_ register: Int, _ value: UInt32, writable: UInt32 = 0, clearable: UInt32 = 0) {
            space.define(offset + register, size: 4, value: value, writable: writable, clearable: clearable, sticky: ~0)
        }
        define(AER.uncorrectableStatus, 0, clearable: uncorrectable)
        define(AER.uncorrectableMask, UncorrectableError.maskedAtReset & uncorrectable & control, writable: uncorrectable & control)
        define(AER.uncorrectableSeverity, UncorrectableError.fatalAtReset & uncorrectable & control, writable: uncorrectable & control)
        define(AER.correctableStatus, 0, clearable: correctable)
        define(AER.correctableMask, CorrectableError.maskedAtReset & control, writable: correctable & control)
        define(AER.control, 0)
        for word in 0..<4 { define(AER.headerLog + 4 * word, 0) }
        if kind == .rootPort {
            space.define(offset + AER.rootCommand, size: 4, writable: 0x7)
            define(AER.rootStatus, 0, clearable: 0x7f)
            define(AER.errorSource, 0)
        }
        offsets.advancedErrors = offset
    }

    /// Alternative routing ids (7.8.7); `next` is the next physical function's number.
    mutating func alternativeRouting(next: Int) {
        let offset = extendedCapability(ExtendedCapabilityID.alternativeRouting, version: 1, length: 8)
        space.define(offset + 4, size: 2, value: UInt32(next) << 8)
    }

    mutating func serialNumber(_ number: UInt64) {
        let offset = extendedCapability(ExtendedCapabilityID.serialNumber, version: 1, length: 12)
        space.define(offset + 4, size: 4, value: UInt32(truncatingIfNeeded: number))
        space.define(offset + 8, size: 4, value: UInt32(truncatingIfNeeded: number >> 32))
    }

    /// Address translation services (10.5.1): page-aligned requests, a queue of 32 invalidations.
    mutating func addressTranslation() {
        let offset = extendedCapability(ExtendedCapabilityID.addressTranslation, version: 1, length: 8)
        space.define(offset + 4, size: 2, value: 0x0020)
        space.define(offset + 6, size: 2, writable: 0x801f)
        offsets.addressTranslation = offset
    }

    /// Process address space ids (7.8.8): 20 bits; neither execute nor privileged mode.
    mutating func processAddressSpace() {
        let offset = extendedCapability(ExtendedCapabilityID.processAddressSpace, version: 1, length: 8)
        space.define(offset + 4, size: 2, value: 20 << 8)
        space.define(offset + 6, size: 2, writable: 0x0001)
        offsets.processAddressSpace = offset
    }

    /// Access control services of a root port (7.7.8): source validation, translation blocking, redirection, forwarding.
    mutating func accessControl() {
        let offset = extendedCapability(ExtendedCapabilityID.accessControl, version: 1, length: 8)
        space.define(offset + 4, size: 2, value: 0x001f)
        space.define(offset + 6, size: 2, writable: 0x001f)
    }

    /// A vendor-specific extended capability (7.9.5) with id 1.
    mutating func vendorSpecific(_ contents: [UInt32]) {
        let length = 8 + 4 * contents.count
        let offset = extendedCapability(ExtendedCapabilityID.vendorSpecific, version: 1, length: length)
        space.define(offset + 4, size: 4, value: 1 | UInt32(length) << 20)
        for (i, word) in contents.enumerated() { space.define(offset + 8 + 4 * i, size: 4, value: word) }
    }

    /// Single root I/O virtualisation (9.3.3).
    mutating func virtualization(_ function: FunctionDescription, totalVFs: Int) {
        typealias SRIOV = SingleRootVirtualization
        let offset = extendedCapability(ExtendedCapabilityID.singleRootVirtualization, version: 1, length: 0x40)
        // The ARI-capable-hierarchy bit survives FLR (9.3.3.3.5).
        space.define(offset + SRIOV.capabilities, size: 4, value: 0x0000_0002)
        space.define(offset + SRIOV.control, size: 2, writable: UInt32(SRIOV.vfEnable | SRIOV.vfMemorySpace | SRIOV.ariCapable),
                     retained: UInt32(SRIOV.ariCapable))
        space.define(offset + SRIOV.initialVFs, size: 2, value: UInt32(totalVFs))
        space.define(offset + SRIOV.totalVFs, size: 2, value: UInt32(totalVFs))
        space.define(offset + SRIOV.numVFs, size: 2, writable: 0xffff)
        space.define(offset + SRIOV.firstVFOffset, size: 2, value: UInt32(VirtualFunctionRouting.firstOffset))
        space.define(offset + SRIOV.vfStride, size: 2, value: UInt32(VirtualFunctionRouting.stride))
        space.define(offset + SRIOV.vfDeviceID, size: 2, value: UInt32(function.deviceID))
        space.define(offset + SRIOV.supportedPageSizes, size: 4, value: VirtualFunctionRouting.pageSizes)
        space.define(offset + SRIOV.systemPageSize, size: 4, value: 1, writable: VirtualFunctionRouting.pageSizes)
        for bar in function.bars { baseAddress(offset + SRIOV.vfBAR0 + 4 * bar.index, bar) }
        offsets.virtualization = offset
    }
}

/// How virtual functions are numbered and which page sizes they can be aligned to.
enum VirtualFunctionRouting {
    /// Routing id of virtual function 1 minus the physical function's. Function numbers 1...7 are left for physical functions.
    static let firstOffset = 8
    static let stride = 1
    /// 4 KiB, 8 KiB, 64 KiB, 256 KiB, 1 MiB and 4 MiB: what 9.3.3.13 demands.
    static let pageSizes: UInt32 = 0x553
}
