/// The mappings that DMA has hit lately, by page, as a translation look-aside buffer has them.
///
/// Raw memory, so that the way of almost every transfer has neither reference counting nor exclusivity checks. Two tables: mappings of
/// 2 MiB and more are found by huge page, smaller ones by page; either way an entry is the whole mapping.
struct TranslationCache {
    private struct Entry {
        var address: UInt64 = 0
        /// 0: nothing is here.
        var count: UInt64 = 0
        var memory: UnsafeMutableRawPointer?
        var isReadable = false
        var isWritable = false
    }

    private static let hugeEntries = 128
    private static let smallEntries = 512
    private static let hugePage: UInt64 = 2 << 20

    private let huge: UnsafeMutablePointer<Entry>
    private let small: UnsafeMutablePointer<Entry>
    /// Whether there is anything to clear.
    private let isUsed: UnsafeMutablePointer<Bool>

    init() {
        huge = .allocate(capacity: Self.hugeEntries + Self.smallEntries)
        huge.initialize(repeating: Entry(), count: Self.hugeEntries + Self.smallEntries)
        small = huge + Self.hugeEntries
        isUsed = .allocate(capacity: 1)
        isUsed.initialize(to: false)
    }

    func deallocate() {
        huge.deallocate()
        isUsed.deallocate()
    }

    func clear() {
        guard isUsed.pointee else { return }
        huge.update(repeating: Entry(), count: Self.hugeEntries + Self.smallEntries)
        isUsed.pointee = false
    }

    /// The memory behind `count` bytes at `address`, if all of it is in one mapping that was hit before and may be read (or written).
    @inline(__always)
    func find(_ address: UInt64, count: Int, writing: Bool) -> UnsafeMutableRawPointer? {
        guard count >= 0 else { return nil }
        if let memory = Self.memory(of: hugeEntry(address), address, count, writing) { return memory }
        return Self.memory(of: smallEntry(address), address, count, writing)
    }

    func insert(_ mapping: DMAMapping, _ memory: UnsafeMutableRawPointer, for address: UInt64) {
        isUsed.pointee = true
        (mapping.count >= Self.hugePage ? hugeEntry(address) : smallEntry(address)).pointee = Entry(
            address: mapping.address, count: mapping.count, memory: memory, isReadable: mapping.isReadable, isWritable: mapping.isWritable)
    }

    @inline(__always)
    private func hugeEntry(_ address: UInt64) -> UnsafeMutablePointer<Entry> {
        huge + Int(truncatingIfNeeded: address >> 21 & UInt64(Self.hugeEntries - 1))
    }

    @inline(__always)
    private func smallEntry(_ address: UInt64) -> UnsafeMutablePointer<Entry> {
        small + Int(truncatingIfNeeded: address >> 12 & UInt64(Self.smallEntries - 1))
    }

    @inline(__always)
    private static func memory(
        of entry: UnsafeMutablePointer<Entry>, _ address: UInt64, _ count: Int, _ writing: Bool
    ) -> UnsafeMutableRawPointer? {
        let offset = address &- entry.pointee.address
        guard offset < entry.pointee.count, UInt64(count) <= entry.pointee.count &- offset,
            writing ? entry.pointee.isWritable : entry.pointee.isReadable
        else { return nil }
        return entry.pointee.memory.map { $0 + Int(truncatingIfNeeded: offset) }
    }
}
