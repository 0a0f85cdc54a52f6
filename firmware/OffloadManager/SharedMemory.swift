import Hardware

/// The memory that the host sees as BAR2, by bus address. The host writes it at any moment: everything is read once and then used,
/// never read again after it was checked.
public struct SharedMemory {
    public let address: UInt32
    public let byteCount: UInt32

    public init(address: UInt32, byteCount: UInt32) { self.address = address; self.byteCount = byteCount }

    /// Whether the whole range lies in shared memory.
    public func contains(_ start: UInt32, _ count: UInt32) -> Bool {
        let offset = start &- address
        return start >= address && offset <= byteCount && count <= byteCount &- offset
    }

    public func load16(_ address: UInt32) -> UInt16 { Volatile.load16(UInt(address)) }
    public func load32(_ address: UInt32) -> UInt32 { Volatile.load32(UInt(address)) }
    public func store16(_ value: UInt16, _ address: UInt32) { Volatile.store16(value, UInt(address)) }
    public func store32(_ value: UInt32, _ address: UInt32) { Volatile.store32(value, UInt(address)) }

    /// Copies bytes out, in words where the address allows it.
    public func copy(_ source: UInt32, to destination: UnsafeMutableRawPointer, count: UInt32) {
        var done: UInt32 = 0
        while done < count {
            if (source &+ done) & 3 == 0, count &- done >= 4 {
                destination.storeBytes(of: load32(source &+ done), toByteOffset: Int(done), as: UInt32.self)
                done &+= 4
            } else {
                destination.storeBytes(of: Volatile.load8(UInt(source &+ done)), toByteOffset: Int(done), as: UInt8.self)
                done &+= 1
            }
        }
    }

    /// Copies bytes in, in words where the address allows it.
    public func copy(_ source: UnsafeRawPointer, to destination: UInt32, count: UInt32) {
        var done: UInt32 = 0
        while done < count {
            if (destination &+ done) & 3 == 0, count &- done >= 4 {
                store32(source.loadUnaligned(fromByteOffset: Int(done), as: UInt32.self), destination &+ done)
                done &+= 4
            } else {
                Volatile.store8(source.load(fromByteOffset: Int(done), as: UInt8.self), UInt(destination &+ done))
                done &+= 1
            }
        }
    }
}
