/// What the host measured of itself or of a virtual machine.
public struct Baseline: WireLayout {
    public static let byteCount = 32

    /// Processor time used, in 1/1000 of one processor.
    public var processorPermille: UInt32 = 0
    /// Memory in use.
    public var memoryKiB: UInt32 = 0
    public var networkKiBPerSecond: UInt32 = 0
    /// Block I/O.
    public var blockKiBPerSecond: UInt32 = 0
    public var processors: UInt32 = 0
    /// Memory that there is.
    public var memoryTotalKiB: UInt32 = 0
    /// How far the figures can be trusted.
    public var confidencePermille: UInt32 = 0
    /// Part of the time in which somebody waited for a processor, for memory, for I/O, in percent.
    public var processorPressure: UInt8 = 0
    public var memoryPressure: UInt8 = 0
    public var ioPressure: UInt8 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        processorPermille = bytes.number(0)
        memoryKiB = bytes.number(4)
        networkKiBPerSecond = bytes.number(8)
        blockKiBPerSecond = bytes.number(12)
        processors = bytes.number(16)
        memoryTotalKiB = bytes.number(20)
        confidencePermille = bytes.number(24)
        processorPressure = bytes.number(28)
        memoryPressure = bytes.number(29)
        ioPressure = bytes.number(30)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(processorPermille, 0)
        bytes.put(memoryKiB, 4)
        bytes.put(networkKiBPerSecond, 8)
        bytes.put(blockKiBPerSecond, 12)
        bytes.put(processors, 16)
        bytes.put(memoryTotalKiB, 20)
        bytes.put(confidencePermille, 24)
        bytes.put(processorPressure, 28)
        bytes.put(memoryPressure, 29)
        bytes.put(ioPressure, 30)
        bytes.zero(31, count: 1)
    }
}

/// What decides about the allocation, and when.
public struct PolicyParameters: WireLayout {
    public static let byteCount = 32

    /// ``PolicyNumber`` of the policy that is selected.
    public var policy: UInt32 = PolicyNumber.fair
    /// Sampling windows from one decision to the next.
    public var periodWindows: UInt32 = 10
    /// A share moves only if it would change by more, in 1/1000 of the link.
    public var hysteresisPermille: UInt16 = 20
    /// Least guarantee of an active owner, in 1/1000 of the link.
    public var leastPermille: UInt16 = 10
    /// Most guarantee of one owner, in 1/1000 of the link.
    public var mostPermille: UInt16 = 900
    /// Weight of the newest sample in the demand's average, in 1/256.
    public var smoothing: UInt16 = 64
    /// Guarantee above the demand, in 1/1000 of it.
    public var headroomPermille: UInt16 = 250
    /// Windows without demand after which an owner counts as idle.
    public var idleWindows: UInt16 = 100

    /// Bit 0, ``ignoresForecasts``.
    public var flags: UInt16 = 0

    /// In ``flags``: needs are what demand is now.
    public static let ignoresForecasts: UInt16 = 1

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        policy = UInt32(bytes.number(0, as: UInt16.self))
        flags = bytes.number(2)
        periodWindows = bytes.number(4)
        hysteresisPermille = bytes.number(8)
        leastPermille = bytes.number(10)
        mostPermille = bytes.number(12)
        smoothing = bytes.number(14)
        headroomPermille = bytes.number(16)
        idleWindows = bytes.number(18)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(UInt16(clamping: policy), 0)
        bytes.put(flags, 2)
        bytes.put(periodWindows, 4)
        bytes.put(hysteresisPermille, 8)
        bytes.put(leastPermille, 10)
        bytes.put(mostPermille, 12)
        bytes.put(smoothing, 14)
        bytes.put(headroomPermille, 16)
        bytes.put(idleWindows, 18)
        bytes.zero(20, count: 12)
    }
}

/// What an owner has, or shall have, of the device.
public struct Allocation: WireLayout {
    public static let byteCount = 32

    /// Guaranteed bandwidth, in 1/1000 of the link.
    public var guaranteePermille: UInt16 = 0
    /// Weight among owners that want more than their guarantee; at least 1.
    public var weight: UInt16 = 1
    /// Most bandwidth, in bytes per microsecond; 0: no limit.
    public var limit: UInt32 = 0
    /// Set aside for the owner; 0: shares those that nobody has.
    public var serviceCores: UInt8 = 0
    public var gpuSlots: UInt8 = 0
    public var fpgaSlots: UInt8 = 0
    /// Bit 0, ``pinned``.
    public var flags: UInt8 = 0
    public var firstMemoryBlock: UInt16 = 0
    public var memoryBlocks: UInt16 = 0
    /// Generation of the Resource Manager's table, in results.
    public var generation: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        guaranteePermille = bytes.number(0)
        weight = bytes.number(2)
        limit = bytes.number(4)
        serviceCores = bytes.number(8)
        gpuSlots = bytes.number(9)
        fpgaSlots = bytes.number(10)
        flags = bytes.number(11)
        firstMemoryBlock = bytes.number(12)
        memoryBlocks = bytes.number(14)
        generation = bytes.number(16)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(guaranteePermille, 0)
        bytes.put(weight, 2)
        bytes.put(limit, 4)
        bytes.put(serviceCores, 8)
        bytes.put(gpuSlots, 9)
        bytes.put(fpgaSlots, 10)
        bytes.put(flags, 11)
        bytes.put(firstMemoryBlock, 12)
        bytes.put(memoryBlocks, 14)
        bytes.put(generation, 16)
        bytes.zero(20, count: 12)
    }

    /// In ``flags``: the policy leaves this owner alone.
    public static let pinned: UInt8 = 1
}

/// What the host wants for an owner: how fast its requests are to be, what it will probably need, what it is to have at least.
public struct ServiceTerms: WireLayout {
    public static let byteCount = 32

    /// 99 of 100 requests shall take no longer; 0: nothing in particular.
    public var latencyMicroseconds: UInt32 = 0
    /// Units that it will need, whatever has been seen of it yet.
    public var expectedCores: UInt8 = 0
    public var expectedGPUSlots: UInt8 = 0
    public var expectedFPGASlots: UInt8 = 0
    public var expectedMemoryBlocks: UInt16 = 0
    /// The least that it has at any time: of the link in 1/1000, and units.
    public var leastPermille: UInt16 = 0
    public var leastCores: UInt8 = 0
    public var leastMemoryBlocks: UInt16 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        latencyMicroseconds = bytes.number(0)
        expectedCores = bytes.number(4)
        expectedGPUSlots = bytes.number(5)
        expectedFPGASlots = bytes.number(6)
        expectedMemoryBlocks = bytes.number(8)
        leastPermille = bytes.number(10)
        leastCores = bytes.number(12)
        leastMemoryBlocks = bytes.number(14)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(latencyMicroseconds, 0)
        bytes.put(expectedCores, 4)
        bytes.put(expectedGPUSlots, 5)
        bytes.put(expectedFPGASlots, 6)
        bytes.zero(7, count: 1)
        bytes.put(expectedMemoryBlocks, 8)
        bytes.put(leastPermille, 10)
        bytes.put(leastCores, 12)
        bytes.zero(13, count: 1)
        bytes.put(leastMemoryBlocks, 14)
        bytes.zero(16, count: 16)
    }

    /// Units expected of a resource, and the least of it; resources are link, cores, memory, GPU and FPGA slots, from 0.
    public func expected(_ resource: Int) -> UInt16 {
        switch resource {
        case 1: UInt16(expectedCores)
        case 2: expectedMemoryBlocks
        case 3: UInt16(expectedGPUSlots)
        case 4: UInt16(expectedFPGASlots)
        default: 0
        }
    }

    public func least(_ resource: Int) -> UInt16 {
        switch resource {
        case 0: leastPermille
        case 1: UInt16(leastCores)
        case 2: leastMemoryBlocks
        default: 0
        }
    }

    public mutating func set(_ resource: Int, expected: UInt16, least: UInt16) {
        switch resource {
        case 0: leastPermille = least
        case 1: (expectedCores, leastCores) = (UInt8(clamping: expected), UInt8(clamping: least))
        case 2: (expectedMemoryBlocks, leastMemoryBlocks) = (expected, least)
        case 3: expectedGPUSlots = UInt8(clamping: expected)
        case 4: expectedFPGASlots = UInt8(clamping: expected)
        default: break
        }
    }
}
