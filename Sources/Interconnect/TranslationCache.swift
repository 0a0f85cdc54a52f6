/// The memory that a function's DMA has hit lately, by page: what an address translation cache is to a device (PCI Express Base 5.0,
/// chapter 10).
///
/// Raw memory, so that the way of almost every transfer has neither reference counting nor exclusivity checks. Two tables: mappings of
/// 2 MiB and more are found by huge page, smaller ones by page; either way an entry is the whole mapping. The DMA port owns and fills it;
/// a device may use what it finds by ``reach(_:count:writing:)`` until something else of the machine runs.
public struct TranslationCache: @unchecked Sendable {
    // Sendable: a place in memory, used by whoever has the device.

    @usableFromInline struct Entry {
        @usableFromInline var address: UInt64 = 0
        /// 0: nothing is here.
        @usableFromInline var count: UInt64 = 0
        @usableFromInline var memory: UnsafeMutableRawPointer?
        @usableFromInline var isReadable = false
        @usableFromInline var isWritable = false

        @usableFromInline init() {}
    }

    @usableFromInline struct Control {
        /// Whether there is anything to clear.
        @usableFromInline var isUsed = false
        @usableFromInline var isOpen = false

        @usableFromInline init() {}
    }

    @usableFromInline static var hugeEntries: Int { @inlinable get { 128 } }
    @usableFromInline static var smallEntries: Int { @inlinable get { 512 } }
    private static let hugePage: UInt64 = 2 << 20

    @usableFromInline let huge: UnsafeMutablePointer<Entry>
    @usableFromInline let small: UnsafeMutablePointer<Entry>
    @usableFromInline let control: UnsafeMutablePointer<Control>

    /// One in which nothing is ever found.
    public static let none = TranslationCache()

    public init() {
        huge = .allocate(capacity: Self.hugeEntries + Self.smallEntries)
        huge.initialize(repeating: Entry(), count: Self.hugeEntries + Self.smallEntries)
        small = huge + Self.hugeEntries
        control = .allocate(capacity: 1)
        control.initialize(to: Control())
    }

    public func deallocate() {
        huge.deallocate()
        control.deallocate()
    }

    /// Whether transfers may pass the port by: nobody records them, and what they read is no input.
    @inlinable public var isOpen: Bool {
        get { control.pointee.isOpen }
        nonmutating set { control.pointee.isOpen = newValue }
    }

    public func clear() {
        guard control.pointee.isUsed else { return }
        huge.update(repeating: Entry(), count: Self.hugeEntries + Self.smallEntries)
        control.pointee.isUsed = false
    }

    /// The memory behind `count` bytes at `address` for a device that passes the port by; nil if it has to ask the port.
    @inlinable @inline(__always)
    public func reach(_ address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        isOpen ? find(address, count: count, writing: writing) : nil
    }

    /// The memory behind `count` bytes at `address`, if all of it is in one mapping that was hit before and may be read (or written).
    @inlinable @inline(__always)
    public func find(_ address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        guard count >= 0 else { return nil }
        if let memory = Self.memory(of: hugeEntry(address), address, count, writing) { return memory }
        return Self.memory(of: smallEntry(address), address, count, writing)
    }

    /// Adds a mapping: `count` bytes from `first` on, which are at `memory`.
    /// - Parameter address: where it was hit.
    public func insert(
        _ first: UInt64, count: UInt64, _ memory: UnsafeMutableRawPointer, isReadable: Bool, isWritable: Bool, for address: UInt64
    ) {
        control.pointee.isUsed = true
        var entry = Entry()
        (entry.address, entry.count, entry.memory) = (first, count, memory)
        (entry.isReadable, entry.isWritable) = (isReadable, isWritable)
        (count >= Self.hugePage ? hugeEntry(address) : smallEntry(address)).pointee = entry
    }

    @inlinable @inline(__always)
    func hugeEntry(_ address: UInt64) -> UnsafeMutablePointer<Entry> {
        huge + Int(truncatingIfNeeded: address >> 21 & UInt64(Self.hugeEntries - 1))
    }

    @inlinable @inline(__always)
    func smallEntry(_ address: UInt64) -> UnsafeMutablePointer<Entry> {
        small + Int(truncatingIfNeeded: address >> 12 & UInt64(Self.smallEntries - 1))
    }

    @inlinable @inline(__always)
    static func memory(
        of entry: UnsafeMutablePointer<Entry>, _ address: UInt64, _ count: Int, _ writing: Bool
    ) -> UnsafeMutableRawPointer? {
        let offset = address &- entry.pointee.address
        guard offset < entry.pointee.count, UInt64(count) <= entry.pointee.count &- offset,
            writing ? entry.pointee.isWritable : entry.pointee.isReadable
        else { return nil }
        return entry.pointee.memory.map { $0 + Int(truncatingIfNeeded: offset) }
    }
}
