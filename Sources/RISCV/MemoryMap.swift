import Registers
import Simulation

/// The plain memory that the harts of one device share: ROM, SRAM, shared memory.
///
/// Harts read and write it without a bus access. Whoever else writes it (DMA, the host, a loader) tells the map so that
/// harts don't go on with instructions decoded from what was there before.
public final class MemoryMap {
    /// Pages are the unit in which harts remember where memory is and what they may do to it.
    static let pageShift: UInt32 = 12
    static let pageSize = 1 << 12

    public private(set) var regions: [MemoryRegion] = []
    private var harts: [Unmanaged<Hart>] = []

    public init() {}

    /// Adds a region of memory that the caller keeps alive and in place as long as the map.
    ///
    /// - Parameters:
    ///   - base: address of the first byte, a multiple of 4,096.
    ///   - bytes: the memory; its size is a multiple of 4,096.
    ///   - isReadOnly: a hart's store is an access fault.
    ///   - latency: cycles that a load or a store takes in addition to the pipeline's own; 0 for zero-wait-state memory.
    /// - Precondition: the region overlaps no other and ends within 4 GiB.
    @discardableResult
    public func add(
        _ name: String, at base: UInt32, _ bytes: UnsafeMutableRawBufferPointer, isReadOnly: Bool = false, latency: Cycle = 0
    ) -> MemoryRegion {
        let region = MemoryRegion(name, base, bytes, isReadOnly, latency, self)
        precondition(Int(base) % Self.pageSize == 0 && bytes.count % Self.pageSize == 0, "\(name): not a multiple of 4 KiB")
        precondition(bytes.count > 0 && UInt64(base) + UInt64(bytes.count) <= 1 << 32, "\(name): empty or past 4 GiB")
        precondition(!regions.contains { $0.base < region.end && region.base < $0.end }, "\(name): overlaps another region")
        regions.append(region)
        for hart in harts { hart._withUnsafeGuaranteedRef { $0.memoryMapChanged() } }
        return region
    }

    /// The region that has this address.
    public func region(at address: UInt32) -> MemoryRegion? {
        for region in regions where region.contains(address) { return region }
        return nil
    }

    /// To be called after anything but a hart's own store has written plain memory.
    public func wasWritten(_ address: UInt32, bytes: Int) {
        guard bytes > 0, let region = region(at: address) else { return }
        region.codeWritten(UInt64(address) - region.base, bytes)
    }

    func attach(_ hart: Hart) { harts.append(Unmanaged.passUnretained(hart)) }

    func detach(_ hart: Hart) { harts.removeAll { $0.toOpaque() == Unmanaged.passUnretained(hart).toOpaque() } }

    /// Code has been changed: no hart may use what it decoded.
    fileprivate func discardCode() {
        for hart in harts { hart._withUnsafeGuaranteedRef { $0.engine.discardCode() } }
        for region in regions { region.forgetCode() }
    }

    /// Stores to this page have to be looked at from now on, or accesses to this region have to go another way.
    fileprivate func dropDirectAccess(page: UInt32, count: Int, writesOnly: Bool) {
        for hart in harts {
            hart._withUnsafeGuaranteedRef { $0.core.pointee.pages.drop(page: page, count: count, writesOnly: writesOnly) }
        }
    }
}

/// One region of plain memory.
public final class MemoryRegion {
    public let name: String
    public let base: UInt64
    public let size: UInt64
    public let isReadOnly: Bool
    public let latency: Cycle
    let bytes: UnsafeMutableRawPointer
    private unowned let map: MemoryMap

    /// Bit n is set if a hart has decoded an instruction from word n.
    private var codeWords: [UInt64]
    /// Whether any word of page n is set in `codeWords`.
    private var codePages: [Bool]

    fileprivate init(
        _ name: String, _ base: UInt32, _ bytes: UnsafeMutableRawBufferPointer, _ isReadOnly: Bool, _ latency: Cycle, _ map: MemoryMap
    ) {
        self.name = name
        self.base = UInt64(base)
        self.size = UInt64(bytes.count)
        self.bytes = bytes.baseAddress!
        self.isReadOnly = isReadOnly
        self.latency = latency
        self.map = map
        codeWords = Array(repeating: 0, count: bytes.count / 4 / 64)
        codePages = Array(repeating: false, count: bytes.count / MemoryMap.pageSize)
    }

    var end: UInt64 { base + size }

    /// The bytes as they stand, to look at.
    public var contents: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: bytes, count: Int(size)) }

    @inline(__always)
    func contains(_ address: UInt32) -> Bool { UInt64(address) &- base < size }

    /// While false, loads, stores and atomics in the region go to the harts' ports, as those to registers do, so that the
    /// owner can interfere with them (error injection). Instructions are always fetched directly.
    public var allowsDirectAccess = true {
        didSet { if allowsDirectAccess != oldValue { dropDirectAccess() } }
    }

    /// While true, the ports of harts that are watched are asked before every load, store and atomic in the region. What these do and how
    /// long they take is the same.
    public var isWatched = false {
        didSet { if isWatched != oldValue { dropDirectAccess() } }
    }

    private func dropDirectAccess() {
        map.dropDirectAccess(page: UInt32(base &>> 12), count: Int(size &>> 12), writesOnly: false)
    }

    func hasCode(_ address: UInt32) -> Bool {
        codePages[Int((UInt64(address) &- base) &>> 12)]
    }

    /// A hart has decoded the instruction at this address.
    func markCode(_ address: UInt32, bytes: UInt32) {
        let first = Int(UInt64(address) &- base)
        for word in (first / 4)...((first + Int(bytes) - 1) / 4) where word / 64 < codeWords.count {
            codeWords[word / 64] |= 1 &<< UInt64(word % 64)
            let page = word / 1024
            guard !codePages[page] else { continue }
            codePages[page] = true
            map.dropDirectAccess(page: UInt32(base &>> 12) &+ UInt32(page), count: 1, writesOnly: true)
        }
    }

    /// `count` bytes at `offset` have been written: discards decoded code if there is any among them.
    func codeWritten(_ offset: UInt64, _ count: Int) {
        let last = Int(min(offset + UInt64(count), size) - 1) / 4
        var word = Int(offset) / 4
        while word <= last {
            if !codePages[word / 1024] {
                word = (word / 1024 + 1) * 1024
            } else if codeWords[word / 64] &>> UInt64(word % 64) & 1 != 0 {
                map.discardCode()
                return
            } else {
                word += 1
            }
        }
    }

    fileprivate func forgetCode() {
        for page in codePages.indices where codePages[page] {
            codePages[page] = false
            for index in (page * 16)..<(page * 16 + 16) { codeWords[index] = 0 }
        }
    }
}
