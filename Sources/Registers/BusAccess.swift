/// Who puts an access on a bus: a hart, a host program through a PCI function, a function's DMA engine, or the debugger. What the device
/// does by itself has an initiator too, for traces.
public struct Initiator: RawRepresentable, Hashable, Sendable {
    public var rawValue: UInt16
    @inlinable public init(rawValue: UInt16) { self.rawValue = rawValue }

    /// A hart of the management core, by its `mhartid`.
    @inlinable public static func hart(_ id: Int) -> Initiator { .init(rawValue: UInt16(truncatingIfNeeded: id) & 0xff) }
    /// A host program, through the PCI function with this index (0: the physical function, n: virtual function n).
    @inlinable public static func host(function: Int) -> Initiator { .init(rawValue: 0x100 | UInt16(truncatingIfNeeded: function) & 0xff) }
    /// The DMA engine of the PCI function with this index.
    @inlinable public static func dma(function: Int) -> Initiator { .init(rawValue: 0x200 | UInt16(truncatingIfNeeded: function) & 0xff) }
    /// A debugger or a debug file: never part of the machine's own behaviour.
    public static let debugger = Initiator(rawValue: 0x300)
    /// The device, on its own account.
    public static let device = Initiator(rawValue: 0x400)

    public enum Kind: UInt8, Sendable, CaseIterable { case hart = 0, host = 1, dma = 2, debugger = 3, device = 4 }
    @inlinable public var kind: Kind { Kind(rawValue: UInt8(truncatingIfNeeded: rawValue >> 8)) ?? .device }
    /// The hart's or the function's number.
    @inlinable public var number: Int { Int(rawValue & 0xff) }
}

extension Initiator: CustomStringConvertible {
    /// `hart0`, `host1`, `dma3`, `debugger`, `device`: the spelling of traces, filters and error messages.
    public var description: String { kind == .debugger || kind == .device ? "\(kind)" : "\(kind)\(number)" }
}

/// What became of a bus access. Anything but `ok` is a bus error for a hart, all ones or a dropped write for the host.
public enum BusStatus: UInt8, Sendable, CaseIterable {
    case ok = 0
    /// Nothing answers at this address.
    case unmapped
    /// The address is not a multiple of the access's size, where the target needs that.
    case misaligned
    /// The target doesn't take accesses of this size.
    case wrongSize
    /// A write to what can only be read.
    case readOnly
    /// A read of what can only be written.
    case writeOnly
    /// An isolation key, an IOMMU domain or a protection entry forbids it.
    case denied
    /// An uncorrectable memory error (ECC).
    case uncorrectable
}

/// One access on its way over a bus: a read or a write of 1, 2, 4 or 8 bytes.
///
/// It is passed `inout` from stop to stop. Each stop makes `address` relative to the next one and adds its cost to `time`;
/// a target that answers a read fills in `value`.
public struct BusAccess: Sendable {
    /// Byte address, relative to the stop that receives it.
    public var address: UInt64
    /// Write data or read result, right-aligned.
    public var value: UInt64
    /// Device cycle: at the start when it is issued, at the end when it comes back.
    public var time: UInt64
    /// Who made it and what it is, in one word, which a trace copies: ``origin`` in bits 0 to 31, ``size`` in bits 32 to 39, ``isWrite`` in
    /// bit 40, ``initiator`` in bits 48 to 63.
    public let tag: UInt64

    /// The accessor's program counter (a hart) or process id (a host program); 0 when neither is known.
    @inlinable public var origin: UInt32 { UInt32(truncatingIfNeeded: tag) }
    /// Bytes: 1, 2, 4 or 8.
    @inlinable public var size: UInt8 { UInt8(truncatingIfNeeded: tag >> 32) }
    @inlinable public var isWrite: Bool { tag & 1 << 40 != 0 }
    @inlinable public var initiator: Initiator { .init(rawValue: UInt16(truncatingIfNeeded: tag >> 48)) }

    @inlinable public init(
        read address: UInt64, size: Int, initiator: Initiator, origin: UInt32 = 0, time: UInt64 = 0
    ) {
        self.address = address; value = 0; self.time = time
        tag = Self.tag(size, initiator, origin)
    }

    @inlinable public init(
        write value: UInt64, to address: UInt64, size: Int, initiator: Initiator, origin: UInt32 = 0, time: UInt64 = 0
    ) {
        self.address = address; self.value = value; self.time = time
        tag = Self.tag(size, initiator, origin) | 1 << 40
    }

    /// An access of which nothing but its tag is known.
    @inlinable public init(tag: UInt64) {
        address = 0; value = 0; time = 0
        self.tag = tag
    }

    @inlinable static func tag(_ size: Int, _ initiator: Initiator, _ origin: UInt32) -> UInt64 {
        UInt64(origin) | UInt64(size & 0xff) << 32 | UInt64(initiator.rawValue) << 48
    }
}

/// Something with addresses: a register block, a memory, or a crossbar with more targets behind it.
public protocol BusTarget: AnyObject {
    /// Serves the access, with all side effects. `access.address` is relative to this target.
    func access(_ access: inout BusAccess) -> BusStatus
    /// What a read of `size` bytes would return, without any side effect; nil where nothing answers.
    func peek(_ address: UInt64, size: Int) -> UInt64?
}
