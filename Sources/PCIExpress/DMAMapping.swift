import Registers
import Simulation

/// A piece of a function's DMA address space and the memory behind it.
public struct DMAMapping {
    /// Who put it there, hence what a reset of the function does to it.
    public enum Origin: UInt8, Sendable {
        /// The machine: host memory, shared memory. Stays, and is there for as long as the domain.
        case machine = 0
        /// The memory of a client process (``ClientMemory``): found when DMA first meets it, dropped when the function is reset.
        case client = 1
        /// The memory of a front-end that has the whole function (``DMADomain/lend(to:)``): stays until it lets go.
        case frontEnd = 2
    }
    /// I/O virtual address of the first byte.
    public var address: UInt64
    public var count: UInt64
    /// Where the first byte is; nil where only ``client`` can reach it.
    public var memory: UnsafeMutableRawPointer?
    public var isReadable: Bool
    public var isWritable: Bool
    public var origin: Origin
    /// Keeps a client's memory there, and reaches what can't be mapped.
    var client: (any ClientPiece)?
    /// What the device knows of a client's memory while that is an input, of a recording or a replay; from `imageStart` on.
    var image: ClientImage?
    var imageStart = 0

    public init(
        address: UInt64, count: UInt64, memory: UnsafeMutableRawPointer?, isReadable: Bool = true, isWritable: Bool = true,
        origin: Origin = .machine
    ) {
        self.address = address; self.count = count; self.memory = memory
        self.isReadable = isReadable; self.isWritable = isWritable; self.origin = origin
    }

    /// A piece of a client's memory.
    /// - Parameters:
    ///   - memory: where this process has it mapped; nil if `piece` moves each byte.
    ///   - piece: is kept as long as the mapping.
    public init(
        address: UInt64, count: UInt64, memory: UnsafeMutableRawPointer?, isReadable: Bool, isWritable: Bool, piece: any ClientPiece
    ) {
        self.init(
            address: address, count: count, memory: memory, isReadable: isReadable, isWritable: isWritable, origin: .client)
        client = piece
    }

    /// Address of the last byte; `count` is never zero.
    var last: UInt64 { address &+ count &- 1 }

    /// Moves each byte by itself: it can't be mapped.
    var isRemote: Bool { origin == .client && memory == nil }

    /// The part from `first` to `last`, both inside.
    func part(from first: UInt64, to last: UInt64) -> DMAMapping {
        var part = self
        let skipped = Int(first &- address)
        part.address = first
        part.count = last &- first &+ 1
        part.memory = memory.map { $0 + skipped }
        part.imageStart += skipped
        return part
    }
}

/// A mapping that a domain refuses.
public enum DMAMappingError: Error, Hashable, CustomStringConvertible {
    /// No bytes, or past the end of the address space.
    case badRange(address: UInt64, count: UInt64)
    case overlap(address: UInt64, count: UInt64, with: UInt64)

    public var description: String {
        switch self {
        case .badRange(let address, let count):
            "DMA mapping: expected a range of at least one byte below 2^64, found \(count) bytes at 0x\(hex(address, 1))"
        case .overlap(let address, let count, let other):
            "DMA mapping: expected a free range, found \(count) bytes at 0x\(hex(address, 1)) over the mapping at 0x\(hex(other, 1))"
        }
    }
}

/// A DMA transfer that was refused. No byte of it moved.
public struct DMAFault: Hashable, Sendable {
    public enum Cause: UInt8, Sendable {
        /// Some byte of it is not mapped.
        case unmapped = 0
        /// All is mapped, but not for reading (or writing).
        case notPermitted = 1
        /// The function, or the port above it, may not master the bus.
        case busMasterDisabled = 2
    }
    /// Function index.
    public var function: Int
    /// First address that was refused.
    public var address: UInt64
    /// Bytes of the whole transfer.
    public var count: Int
    public var isWrite: Bool
    public var cause: Cause
    public var cycle: Cycle
}

