import Interconnect
import Registers

/// Is told that something other than a hart's own store has changed a memory.
public protocol MemoryWriteListener: AnyObject {
    func memoryWritten(at offset: UInt64, bytes: Int, in memory: PlainMemory)
}

/// Memory as a target on the bus: boot ROM, shared memory.
///
/// Harts reach it without the bus as long as nothing special is about it; this target serves everybody else.
public final class PlainMemory: BusTarget {
    public let pages: MemoryPages
    /// A write over the bus fails; loading goes through ``load(_:at:)``.
    public let isReadOnly: Bool
    public weak var listener: (any MemoryWriteListener)?

    public init(_ pages: MemoryPages, isReadOnly: Bool) {
        self.pages = pages
        self.isReadOnly = isReadOnly
    }

    public func access(_ access: inout BusAccess) -> BusStatus {
        let size = Int(access.size)
        guard access.address < UInt64(pages.size), Int(access.address) + size <= pages.size else { return .unmapped }
        if access.isWrite {
            guard !isReadOnly else { return .readOnly }
            pages.bytes.writeLittleEndian(access.value, at: Int(access.address), size: size)
            listener?.memoryWritten(at: access.address, bytes: size, in: self)
        } else {
            access.value = pages.bytes.readLittleEndian(at: Int(access.address), size: size)
        }
        return .ok
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        guard (1...8).contains(size), address < UInt64(pages.size), Int(address) + size <= pages.size else { return nil }
        return pages.bytes.readLittleEndian(at: Int(address), size: size)
    }

    /// Puts bytes into the memory, also a read-only one. What doesn't fit is left out.
    public func load(_ data: UnsafeRawBufferPointer, at offset: Int) {
        guard offset >= 0, offset < pages.size else { return }
        let count = min(data.count, pages.size - offset)
        UnsafeMutableRawBufferPointer(rebasing: pages.bytes[offset..<(offset + count)]).copyMemory(from: .init(rebasing: data[..<count]))
        listener?.memoryWritten(at: UInt64(offset), bytes: count, in: self)
    }
}

extension UnsafeMutableRawBufferPointer {
    /// `size` bytes, 1...8, from anywhere in the buffer.
    @inline(__always)
    func readLittleEndian(at offset: Int, size: Int) -> UInt64 {
        switch size {
        case 1: UInt64(self[offset])
        case 2: UInt64(UInt16(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt16.self)))
        case 4: UInt64(UInt32(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt32.self)))
        case 8: UInt64(littleEndian: loadUnaligned(fromByteOffset: offset, as: UInt64.self))
        default: (0..<size).reduce(0) { $0 | UInt64(self[offset + $1]) &<< UInt64(8 * $1) }
        }
    }

    @inline(__always)
    func writeLittleEndian(_ value: UInt64, at offset: Int, size: Int) {
        switch size {
        case 1: self[offset] = UInt8(truncatingIfNeeded: value)
        case 2: storeBytes(of: UInt16(truncatingIfNeeded: value).littleEndian, toByteOffset: offset, as: UInt16.self)
        case 4: storeBytes(of: UInt32(truncatingIfNeeded: value).littleEndian, toByteOffset: offset, as: UInt32.self)
        case 8: storeBytes(of: value.littleEndian, toByteOffset: offset, as: UInt64.self)
        default: for byte in 0..<size { self[offset + byte] = UInt8(truncatingIfNeeded: value &>> UInt64(8 * byte)) }
        }
    }
}
