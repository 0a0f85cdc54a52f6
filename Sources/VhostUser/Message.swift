/// A message of the vhost-user protocol (QEMU's docs/interop/vhost-user.rst): a header of three 32-bit words, a payload, descriptors beside
/// it. All numbers are of the host's byte order.
struct Message {
    /// What a front-end asks for.
    enum Request: UInt32 {
        case getFeatures = 1, setFeatures, setOwner, resetOwner, setMemoryTable
        case setQueueSize = 8, setQueueAddresses, setQueueBase, getQueueBase, setQueueKick, setQueueCall, setQueueError
        case getProtocolFeatures = 15, setProtocolFeatures, getQueueCount, enableQueue
        case getConfiguration = 24, setConfiguration
        case getInflight = 31, setInflight
        case resetDevice = 34
        case getMemorySlots = 36, addMemory, removeMemory
    }

    /// Bits of the header's second word.
    enum Flag {
        static let version: UInt32 = 1
        static let versionMask: UInt32 = 3
        static let reply: UInt32 = 1 << 2
        static let needsReply: UInt32 = 1 << 3
    }

    static let headerBytes = 12
    /// Longer than any payload that a request has.
    static let longestPayload = 4096
    /// Descriptors beside one message at most.
    static let mostDescriptors = 8

    var request: UInt32
    var flags: UInt32
    var payload: [UInt8]
    /// Whoever takes one sets it to -1; the others are closed with the message's end.
    var descriptors: [Int32] = []

    var needsReply: Bool { flags & Flag.needsReply != 0 }
}

/// What the two sides agree on beyond virtio's features.
struct ProtocolFeatures: OptionSet {
    var rawValue: UInt64
    static let multiQueue = Self(rawValue: 1 << 0)
    static let replyAcknowledge = Self(rawValue: 1 << 3)
    static let configuration = Self(rawValue: 1 << 9)
    static let inflight = Self(rawValue: 1 << 12)
    static let resetDevice = Self(rawValue: 1 << 13)
    static let memorySlots = Self(rawValue: 1 << 15)

    /// What is offered for a function. A network's configuration is the front-end's own.
    static func offered(forNetwork isNetwork: Bool) -> Self {
        let all: Self = [.multiQueue, .replyAcknowledge, .inflight, .resetDevice, .memorySlots]
        return isNetwork ? all : all.union(.configuration)
    }

    /// VHOST_USER_F_PROTOCOL_FEATURES, a bit of virtio's features that no driver sees: there are protocol features, and queues are disabled
    /// until they are enabled.
    static let virtioBit: UInt64 = 1 << 30
}

/// Why a connection is ended: what was expected, what was found.
struct ProtocolError: Error, CustomStringConvertible {
    let description: String
    init(_ description: String) { self.description = description }
}

/// Reads a payload, front to back.
struct PayloadReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var rest: ArraySlice<UInt8> { bytes[place...] }

    mutating func integer<Value: FixedWidthInteger & BitwiseCopyable>(_ type: Value.Type = Value.self) throws(ProtocolError) -> Value {
        let count = MemoryLayout<Value>.size
        guard bytes.count - place >= count else {
            throw ProtocolError("expected a payload of at least \(place + count) bytes, found \(bytes.count)")
        }
        defer { place += count }
        return bytes.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: place, as: Value.self) }
    }
}

extension [UInt8] {
    mutating func append<Value: FixedWidthInteger>(integer value: Value) {
        Swift.withUnsafeBytes(of: value) { append(contentsOf: $0) }
    }
}
