/// The address ranges that a bridge forwards downwards (PCI Express Base 5.0, 7.5.1.3.6 to 7.5.1.3.9).
public struct BridgeWindows: Sendable {
    /// A range by its first and last address; empty if `last` is below `first`.
    public struct Window: Hashable, Sendable {
        public var first: UInt64
        public var last: UInt64
        public var isEmpty: Bool { last < first }
        func contains(_ first: UInt64, _ last: UInt64) -> Bool { self.first <= first && last <= self.last }
    }
    public var io: Window
    public var memory: Window
    public var prefetchable: Window

    /// Nothing is forwarded: every base is above its limit.
    static let closed = BridgeWindows(
        io: Window(first: 0xf000, last: 0xfff), memory: Window(first: 0xfff0_0000, last: 0xf_ffff),
        prefetchable: Window(first: 0xfff0_0000, last: 0xf_ffff))

    init(io: Window, memory: Window, prefetchable: Window) {
        self.io = io; self.memory = memory; self.prefetchable = prefetchable
    }

    /// As a type 1 header has them.
    init(_ space: ConfigurationSpace) {
        func value(_ offset: Int, _ mask: UInt64, shift: UInt64) -> UInt64 { (UInt64(space.word(offset)) & mask) << shift }
        io = Window(
            first: UInt64(space.byte(BridgeHeader.ioBase) & 0xf0) << 8 | value(BridgeHeader.ioBaseUpper, 0xffff, shift: 16),
            last: UInt64(space.byte(BridgeHeader.ioLimit) & 0xf0) << 8 | value(BridgeHeader.ioLimitUpper, 0xffff, shift: 16) | 0xfff)
        memory = Window(
            first: value(BridgeHeader.memoryBase, 0xfff0, shift: 16), last: value(BridgeHeader.memoryLimit, 0xfff0, shift: 16) | 0xf_ffff)
        prefetchable = Window(
            first: value(BridgeHeader.prefetchableBase, 0xfff0, shift: 16) | UInt64(space.dword(BridgeHeader.prefetchableBaseUpper)) << 32,
            last: value(BridgeHeader.prefetchableLimit, 0xfff0, shift: 16) | 0xf_ffff
                | UInt64(space.dword(BridgeHeader.prefetchableLimitUpper)) << 32)
    }

    /// Puts the windows into a type 1 header.
    func store(into space: inout ConfigurationSpace) {
        space.write(BridgeHeader.ioBase, size: 2, UInt32(truncatingIfNeeded: io.first >> 8 & 0xf0 | io.last & 0xf000))
        space.write(BridgeHeader.ioBaseUpper, size: 4, UInt32(truncatingIfNeeded: io.first >> 16 & 0xffff | (io.last >> 16 & 0xffff) << 16))
        space.write(BridgeHeader.memoryBase, size: 4, UInt32(truncatingIfNeeded: memory.first >> 16 & 0xfff0 | memory.last & 0xfff0_0000))
        space.write(BridgeHeader.prefetchableBase, size: 4,
                    UInt32(truncatingIfNeeded: prefetchable.first >> 16 & 0xfff0 | prefetchable.last & 0xfff0_0000))
        space.write(BridgeHeader.prefetchableBaseUpper, size: 4, UInt32(truncatingIfNeeded: prefetchable.first >> 32))
        space.write(BridgeHeader.prefetchableLimitUpper, size: 4, UInt32(truncatingIfNeeded: prefetchable.last >> 32))
    }
}
