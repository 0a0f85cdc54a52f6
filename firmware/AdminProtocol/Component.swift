/// Who serves a virtual I/O component.
public enum ComponentPlace: UInt8, Sendable { case device = 0, host = 1 }

/// Asks for a component to be moved: data of ``AdminOpcode/migrateComponent``.
public struct ComponentMove: WireLayout {
    public static let byteCount = 8

    /// ``ComponentPlace``, or a number that isn't one.
    public var destination: UInt8 = 0
    /// Bit 0, ``stopAndCopy``.
    public var flags: UInt8 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        destination = bytes.number(0)
        flags = bytes.number(1)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(destination, 0)
        bytes.put(flags, 1)
        bytes.zero(2, count: 6)
    }

    /// In ``flags``: nothing is prepared while the component still runs, and its requests are finished before it moves.
    public static let stopAndCopy: UInt8 = 1
}

/// Where a component is and what has become of its moves: the result of ``AdminOpcode/getComponent``.
public struct ComponentStatus: WireLayout {
    public static let byteCount = 48

    /// How its last move ended.
    public enum Outcome: UInt8, Sendable {
        case unmoved = 0, done
        /// Under way.
        case moving
        /// The other side refused the image; the reason is in ``ComponentStatus/reason``.
        case refused
        /// The other side, or the link, took too long.
        case timeout
        /// The host agent has gone.
        case agentLost
        /// The driver has reset the function or asked for something that only the device can do.
        case driver
        /// The Resource Manager has no room for it on the device.
        case noResource
    }

    /// Virtio device type; 0: there is no component.
    public var kind: UInt8 = 0
    /// State as VIC numbers them: 0 absent, 1 running, 2 quiescing, 3 serialising, 4 in transit, 5 restoring.
    public var state: UInt8 = 0
    /// ``ComponentPlace``; while it moves, where it came from.
    public var location: UInt8 = 0
    /// ``Outcome``, or a number that isn't one.
    public var outcome: UInt8 = 0
    public var generation: UInt16 = 0
    /// Why the image was refused: ``ComponentImage/Defect``, from 256 on the host agent's own reasons.
    public var reason: UInt16 = 0
    /// Moves completed, wrapping.
    public var moves: UInt32 = 0
    /// Device cycles for which nobody served it in its last move.
    public var blackout: UInt32 = 0
    public var doorbells: UInt32 = 0
    public var inFlight: UInt32 = 0
    /// Bytes of the last image.
    public var imageBytes: UInt32 = 0
    /// Of all components since the firmware started: moves begun and given up.
    public var begun: UInt32 = 0
    public var abandoned: UInt32 = 0
    /// Bit 0, ``agentAttached``.
    public var flags: UInt8 = 0

    public init() {}

    public init(decoding bytes: UnsafeRawPointer) {
        kind = bytes.number(0)
        state = bytes.number(1)
        location = bytes.number(2)
        outcome = bytes.number(3)
        generation = bytes.number(4)
        reason = bytes.number(6)
        moves = bytes.number(8)
        blackout = bytes.number(12)
        doorbells = bytes.number(16)
        inFlight = bytes.number(20)
        imageBytes = bytes.number(24)
        begun = bytes.number(28)
        abandoned = bytes.number(32)
        flags = bytes.number(36)
    }

    public func encode(to bytes: UnsafeMutableRawPointer) {
        bytes.put(kind, 0)
        bytes.put(state, 1)
        bytes.put(location, 2)
        bytes.put(outcome, 3)
        bytes.put(generation, 4)
        bytes.put(reason, 6)
        bytes.put(moves, 8)
        bytes.put(blackout, 12)
        bytes.put(doorbells, 16)
        bytes.put(inFlight, 20)
        bytes.put(imageBytes, 24)
        bytes.put(begun, 28)
        bytes.put(abandoned, 32)
        bytes.put(flags, 36)
        bytes.zero(37, count: 11)
    }

    /// In ``flags``: a host agent is there that can serve components.
    public static let agentAttached: UInt8 = 1
}
