import Interconnect

/// One base address register (or VF BAR) as the machine description wants it.
public struct BARDescription: Hashable, Sendable {
    public enum Kind: Sendable, CaseIterable {
        case io
        case memory32
        case memory64
        case prefetchable64
    }
    /// 0...5; a 64-bit BAR takes the next index too.
    public var index: Int
    public var kind: Kind
    /// Bytes; a power of two.
    public var size: UInt64

    public init(_ index: Int, _ kind: Kind, size: UInt64) {
        self.index = index; self.kind = kind; self.size = size
    }

    public var is64Bit: Bool { kind == .memory64 || kind == .prefetchable64 }
    /// The read-only low bits of the register (PCI Express Base 5.0, 7.5.1.2.1).
    var encoding: UInt32 {
        switch kind {
        case .io: 0x1
        case .memory32: 0x0
        case .memory64: 0x4
        case .prefetchable64: 0xc
        }
    }
}

/// Where a function's MSI-X vectors live.
public struct MSIXDescription: Hashable, Sendable {
    public var vectors: Int
    public var bar: Int
    public var tableOffset: UInt64
    public var pendingOffset: UInt64

    public init(vectors: Int, bar: Int, tableOffset: UInt64 = 0, pendingOffset: UInt64) {
        self.vectors = vectors; self.bar = bar; self.tableOffset = tableOffset; self.pendingOffset = pendingOffset
    }
}

/// Where a virtio function's structures live (virtio 1.2, 4.1.4), all in one memory BAR.
public struct VirtioStructures: Hashable, Sendable {
    public struct Region: Hashable, Sendable {
        public var offset: UInt32
        public var length: UInt32
        public init(_ offset: UInt32, _ length: UInt32) { self.offset = offset; self.length = length }
    }
    public var bar: Int
    /// The defaults are what `regmaps/virtio_pci` lays out; all of each length answers.
    public var common = Region(0, 0x3c)
    public var isr = Region(0x1000, 1)
    public var device = Region(0x2000, 0x1000)
    public var notification = Region(0x3000, 0x100)
    public var notifyOffsetMultiplier: UInt32 = 4

    public init(bar: Int) { self.bar = bar }
}

/// One endpoint function: what its configuration space says and which BARs it has.
public struct FunctionDescription: Hashable, Sendable {
    /// The ids that software uses. A virtual function's own registers read 0xffff whatever stands here.
    public var vendorID: UInt16
    public var deviceID: UInt16
    public var subsystemVendorID: UInt16
    public var subsystemID: UInt16
    /// Base class, sub-class, programming interface: 24 bits.
    public var classCode: UInt32
    public var revision: UInt8
    public var bars: [BARDescription]
    public var msix: MSIXDescription?
    public var virtio: VirtioStructures?
    /// 0: no INTx; 1: INTA.
    public var interruptPin: UInt8
    /// Contents of a vendor-specific extended capability after its header; empty: none.
    public var vendorSpecific: [UInt32] = []

    /// The vendor of virtio and of this device.
    public static let redHat: UInt16 = 0x1af4

    /// The management function: registers in BAR0, shared memory of `sharedMemory` bytes in BAR2, MSI-X in BAR4.
    public static func management(sharedMemory: UInt64 = 16 << 20, vectors: Int = 64) -> FunctionDescription {
        FunctionDescription(
            vendorID: redHat, deviceID: 0x10f0, subsystemVendorID: redHat, subsystemID: 0x10f0, classCode: 0x120000, revision: 1,
            bars: [BARDescription(0, .memory32, size: 64 << 10), BARDescription(2, .prefetchable64, size: sharedMemory),
                   BARDescription(4, .memory32, size: 16 << 10)],
            msix: MSIXDescription(vectors: vectors, bar: 4, pendingOffset: 0x2000), virtio: nil, interruptPin: 1,
            // The signature "OUTRIGGR" and the version of the register interface.
            vendorSpecific: [0x5254_554f, 0x5247_4749, 0x0000_0001])
    }

    /// A modern virtio device of type `type` (virtio 1.2, chapter 5) as a virtual function.
    public static func virtual(type: UInt16 = 2, vectors: Int = 17) -> FunctionDescription {
        FunctionDescription(
            vendorID: redHat, deviceID: 0x1040 &+ type, subsystemVendorID: redHat, subsystemID: 0x40 &+ type,
            classCode: classCode(ofVirtio: type), revision: 1,
            bars: [BARDescription(0, .memory64, size: 16 << 10), BARDescription(4, .memory64, size: 4 << 10)],
            msix: MSIXDescription(vectors: vectors, bar: 4, pendingOffset: 0x800), virtio: VirtioStructures(bar: 0), interruptPin: 0)
    }

    /// A transitional virtio device of type `type` as a physical function: legacy registers in I/O BAR0, MSI-X in BAR1, the
    /// modern structures in BAR4 (virtio 1.2, 4.1.2.3 and 4.1.4.10). One that is not modern lacks these, as devices did before virtio 1.0.
    public static func transitional(type: UInt16, vectors: Int = 4, isModern: Bool = true) -> FunctionDescription {
        let modern = isModern ? [BARDescription(4, .prefetchable64, size: 16 << 10)] : []
        return FunctionDescription(
            vendorID: redHat, deviceID: transitionalID(ofVirtio: type), subsystemVendorID: redHat, subsystemID: type,
            classCode: classCode(ofVirtio: type), revision: 0,
            bars: [BARDescription(0, .io, size: 128), BARDescription(1, .memory32, size: 4 << 10)] + modern,
            msix: MSIXDescription(vectors: vectors, bar: 1, pendingOffset: 0x800),
            virtio: isModern ? VirtioStructures(bar: 4) : nil, interruptPin: 1)
    }

    private static func transitionalID(ofVirtio type: UInt16) -> UInt16 {
        switch type {
        case 1: 0x1000
        case 2: 0x1001
        case 3: 0x1003
        case 4: 0x1005
        case 5: 0x1002
        case 8: 0x1004
        case 9: 0x1009
        default: 0x1040 &+ type
        }
    }

    private static func classCode(ofVirtio type: UInt16) -> UInt32 {
        switch type {
        case 1: 0x02_00_00
        case 2, 8: 0x01_00_00
        case 3: 0x07_80_00
        default: 0xff_00_00
        }
    }
}

/// The device as a PCI hierarchy: host bridge 00:00.0, root port 00:01.0 and on bus 1 the endpoint.
///
/// Functions have an index: 0 is the physical function, *n* in 1...64 virtual function *n*, 64 + *k* the further physical
/// function with function number *k*. Traces, owners and delegates use these.
public struct HierarchyDescription: Hashable, Sendable {
    /// A further physical function beside function 0.
    public struct FurtherFunction: Hashable, Sendable {
        /// Function number, 1...7.
        public var number: Int
        public var function: FunctionDescription
        public init(number: Int, function: FunctionDescription) { self.number = number; self.function = function }
    }
    public static let maximumVFs = 64
    /// One more than the largest function index.
    public static let indexLimit = maximumVFs + 8

    public var physicalFunction = FunctionDescription.management()
    public var virtualFunction = FunctionDescription.virtual()
    /// 0...64; 0 leaves out the SR-IOV capability.
    public var totalVFs = 4
    public var furtherFunctions: [FurtherFunction] = []
    /// The device serial number, an EUI-64.
    public var serialNumber: UInt64 = 0x5254_00ff_fe4f_5254
    /// Device cycles that a read takes from the host's processor to a BAR and back.
    public var readCycles: UInt64 = 600
    /// Device cycles until a posted write has arrived.
    public var writeCycles: UInt64 = 300

    public init() {}

    /// The function index of the further physical function `number`.
    public static func index(ofFurther number: Int) -> Int { maximumVFs + number }
}

/// A mistake in a description of the PCI hierarchy.
public struct PCIDescriptionError: Error, Hashable, CustomStringConvertible {
    /// `physical function`, `virtual function`, `function 3`, `hierarchy`.
    public var place: String
    public var expected: String
    public var found: String

    public init(place: String, expected: String, found: String) {
        self.place = place; self.expected = expected; self.found = found
    }

    public var description: String { "PCI \(place): expected \(expected), found \(found)" }
}
