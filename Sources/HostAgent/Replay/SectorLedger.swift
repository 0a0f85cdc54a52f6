/// What every sector of a disk must hold, so that every byte read can be checked.
///
/// Each write of a sector makes a new generation of it; generation and sector number determine the contents. What was there before
/// the first write is not known: it must be zero on a fresh disk, else it is remembered by a checksum when it is first read.
package struct SectorLedger {
    package static let sectorBytes = 512
    private static let pageSectors = 4096

    /// 0: never touched. Odd: written, and the generation. Even: not written, and a checksum of what was first read.
    private var pages: [UInt64: [UInt64]] = [:]
    private let fresh: Bool
    private var generation: UInt64 = 1

    /// Bytes that were compared with what they had to be.
    package private(set) var verifiedBytes = 0
    /// Bytes that were read for the first time from sectors that may hold anything.
    package private(set) var adoptedBytes = 0

    package init(fresh: Bool) { self.fresh = fresh }

    /// Fills `bytes` with the next generation of the sectors from `sector` on.
    package mutating func write(sector: UInt64, _ bytes: UnsafeMutableRawBufferPointer) {
        for index in 0..<(bytes.count / Self.sectorBytes) {
            generation &+= 2
            mark(sector + UInt64(index), generation)
            let content = UnsafeMutableRawBufferPointer(rebasing: bytes[(index * 512)..<(index * 512 + 512)])
            Self.fill(content, sector + UInt64(index), generation)
        }
    }

    /// Compares what was read.
    ///
    /// - Returns: the first byte, counted from the start of the request, that is not what it must be.
    package mutating func check(sector: UInt64, _ bytes: UnsafeRawBufferPointer) -> Int? {
        for index in 0..<(bytes.count / Self.sectorBytes) {
            let number = sector + UInt64(index)
            let content = UnsafeRawBufferPointer(rebasing: bytes[(index * 512)..<(index * 512 + 512)])
            let known = self[number]
            if known & 1 == 1 {
                for word in 0..<64 where content.load(fromByteOffset: word * 8, as: UInt64.self) != Self.word(number, known, word) {
                    return index * 512 + word * 8
                }
                verifiedBytes += 512
            } else if fresh {
                for word in 0..<64 where content.load(fromByteOffset: word * 8, as: UInt64.self) != 0 { return index * 512 + word * 8 }
                verifiedBytes += 512
            } else {
                var sum: UInt64 = 2
                for word in 0..<64 { sum = Self.mix(sum ^ content.load(fromByteOffset: word * 8, as: UInt64.self)) }
                sum = (sum | 2) & ~1
                if known == 0 {
                    mark(number, sum)
                    adoptedBytes += 512
                } else if known != sum {
                    return index * 512
                } else {
                    verifiedBytes += 512
                }
            }
        }
        return nil
    }

    private subscript(sector: UInt64) -> UInt64 {
        pages[sector / UInt64(Self.pageSectors)]?[Int(sector % UInt64(Self.pageSectors))] ?? 0
    }

    private mutating func mark(_ sector: UInt64, _ value: UInt64) {
        let (page, place) = sector.quotientAndRemainder(dividingBy: UInt64(Self.pageSectors))
        pages[page, default: Array(repeating: 0, count: Self.pageSectors)][Int(place)] = value
    }

    private static func fill(_ bytes: UnsafeMutableRawBufferPointer, _ sector: UInt64, _ generation: UInt64) {
        for word in 0..<64 { bytes.storeBytes(of: Self.word(sector, generation, word), toByteOffset: word * 8, as: UInt64.self) }
    }

    /// Word `index` of a sector's contents: differs with sector, generation and place, so that any mix-up shows.
    private static func word(_ sector: UInt64, _ generation: UInt64, _ index: Int) -> UInt64 {
        mix(sector &* 0x9e37_79b9_7f4a_7c15 ^ generation << 8 ^ UInt64(index))
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value
        z = (z ^ (z &>> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z &>> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z &>> 31)
    }
}
