/// The opcodes that the firmware serves: the result of ``AdminOpcode/listOpcodes``.
public struct OpcodeList: WireLayout {
    public static let byteCount = 32

    /// Bit *n* of word *w* is opcode 64*w* + *n*.
    public var words: (UInt64, UInt64, UInt64, UInt64) = (0, 0, 0, 0)

    public init() {}

    /// Every opcode that this version of the protocol defines.
    public static var all: OpcodeList {
        var list = OpcodeList()
        for opcode in UInt16(0)..<256 where AdminOpcode(rawValue: opcode) != nil { list.insert(opcode) }
        return list
    }

    public mutating func insert(_ opcode: UInt16) {
        let bit = UInt64(1) &<< UInt64(truncatingIfNeeded: opcode)
        switch opcode >> 6 {
        case 0: words.0 |= bit
        case 1: words.1 |= bit
        case 2: words.2 |= bit
        case 3: words.3 |= bit
        default: break
        }
    }

    public func contains(_ opcode: UInt16) -> Bool {
        let word = switch opcode >> 6 {
        case 0: words.0
        case 1: words.1
        case 2: words.2
        case 3: words.3
        default: UInt64(0)
        }
        return (word &>> UInt64(truncatingIfNeeded: opcode)) & 1 != 0
    }

    public init(decoding bytes: UnsafeRawPointer) {
        words = (bytes.number(0), bytes.number(8), bytes.number(16), bytes.number(24))
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(words.0, 0)
        bytes.put(words.1, 8)
        bytes.put(words.2, 16)
        bytes.put(words.3, 24)
    }

    public static func == (a: OpcodeList, b: OpcodeList) -> Bool { a.words == b.words }
}

/// What the device is: the result of ``AdminOpcode/identify``.
public struct Identity: WireLayout {
    public static let byteCount = 64

    /// ``expectedMagic``.
    public var magic: UInt32 = expectedMagic
    public var protocolMinor: UInt16 = AdminProtocolVersion.minor
    public var protocolMajor: UInt16 = AdminProtocolVersion.major
    public var firmwarePatch: UInt8 = 0
    public var firmwareMinor: UInt8 = 0
    public var firmwareMajor: UInt16 = 0
    public var virtualFunctions: UInt16 = 0
    public var harts: UInt8 = 0
    public var serviceCores: UInt8 = 0
    /// Device cycles per second.
    public var clockHertz: UInt32 = 0
    /// Bytes per microsecond.
    public var linkBandwidth: UInt32 = 0
    public var memoryBlocks: UInt16 = 0
    /// log2 of a memory block's bytes.
    public var memoryBlockShift: UInt8 = 0
    public var gpuSlots: UInt8 = 0
    public var fpgaSlots: UInt8 = 0
    /// A bit for each ``Feature`` that can be set.
    public var features: UInt64 = 0
    /// The build's name: 24 bytes of UTF-8, padded with zeros.
    public var build0: UInt64 = 0
    public var build1: UInt64 = 0
    public var build2: UInt64 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        magic = bytes.number(0)
        protocolMinor = bytes.number(4)
        protocolMajor = bytes.number(6)
        firmwarePatch = bytes.number(8)
        firmwareMinor = bytes.number(9)
        firmwareMajor = bytes.number(10)
        virtualFunctions = bytes.number(12)
        harts = bytes.number(14)
        serviceCores = bytes.number(15)
        clockHertz = bytes.number(16)
        linkBandwidth = bytes.number(20)
        memoryBlocks = bytes.number(24)
        memoryBlockShift = bytes.number(26)
        gpuSlots = bytes.number(27)
        fpgaSlots = bytes.number(28)
        features = bytes.number(32)
        build0 = bytes.number(40)
        build1 = bytes.number(48)
        build2 = bytes.number(56)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(magic, 0)
        bytes.put(protocolMinor, 4)
        bytes.put(protocolMajor, 6)
        bytes.put(firmwarePatch, 8)
        bytes.put(firmwareMinor, 9)
        bytes.put(firmwareMajor, 10)
        bytes.put(virtualFunctions, 12)
        bytes.put(harts, 14)
        bytes.put(serviceCores, 15)
        bytes.put(clockHertz, 16)
        bytes.put(linkBandwidth, 20)
        bytes.put(memoryBlocks, 24)
        bytes.put(memoryBlockShift, 26)
        bytes.put(gpuSlots, 27)
        bytes.put(fpgaSlots, 28)
        bytes.put(features, 32)
        bytes.put(build0, 40)
        bytes.put(build1, 48)
        bytes.put(build2, 56)
        bytes.zero(29, count: 3)
    }

    /// `OUTR` in ASCII.
    public static let expectedMagic: UInt32 = 0x5254_554f

    /// Byte `index`, 0...23, of the build's name.
    public func buildByte(_ index: Int) -> UInt8 {
        let word = index < 8 ? build0 : index < 16 ? build1 : build2
        return UInt8(truncatingIfNeeded: word &>> UInt64(truncatingIfNeeded: index &* 8))
    }

    /// Bytes of the build's name without the padding.
    public var buildByteCount: Int {
        var count = 0
        while count < 24 && buildByte(count) != 0 { count += 1 }
        return count
    }

    /// Sets the build's name to the first 24 bytes of a text.
    public mutating func setBuild(_ text: StaticString) {
        var words: (UInt64, UInt64, UInt64) = (0, 0, 0)
        for index in 0..<min(text.utf8CodeUnitCount, 24) {
            let byte = UInt64(truncatingIfNeeded: text.utf8Start[index]) &<< UInt64(truncatingIfNeeded: index &* 8)
            switch index / 8 {
            case 0: words.0 |= byte
            case 1: words.1 |= byte
            default: words.2 |= byte
            }
        }
        (build0, build1, build2) = words
    }
}

/// What can be switched while the firmware runs.
public enum Feature: UInt32, Sendable {
    /// 1: the policy moves the allocation by itself; 0: it doesn't.
    case policy = 0
    /// A bit for each ``DeviceEvent/Kind`` that is posted.
    case events = 1
    /// The Workload Analyzer's window, in device cycles.
    case samplingWindow = 2
    /// A bit for each way of forecasting that has a say; 0: forecasts are plain averages.
    case predictors = 3
    /// Sampling windows in an interval of the analysis, 100...100,000.
    case analysisInterval = 4
    /// Policies that `adaptive` may choose, a bit for each, of numbers 1...7.
    case candidates = 5
}

/// Names a feature: the data of ``AdminOpcode/getFeature``.
public struct FeatureSelect: WireLayout {
    public static let byteCount = 8

    /// ``Feature``, or a number that isn't one.
    public var feature: UInt32 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        feature = bytes.number(0)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(feature, 0)
        bytes.zero(4, count: 4)
    }
}

/// A feature and its value.
public struct FeatureValue: WireLayout {
    public static let byteCount = 16

    /// ``Feature``, or a number that isn't one.
    public var feature: UInt32 = 0
    public var value: UInt64 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        feature = bytes.number(0)
        value = bytes.number(8)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(feature, 0)
        bytes.put(value, 8)
        bytes.zero(4, count: 4)
    }
}
