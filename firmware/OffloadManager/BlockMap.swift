/// Which blocks of an area of memory are used.
struct BlockMap {
    /// Blocks that an area may have.
    static let limit = 256

    private var words = InlineArray<8, UInt32>(repeating: 0)

    /// Marks blocks as used or free.
    /// - Parameter area: where the map begins; the blocks are in it.
    mutating func mark(_ blocks: Range<Int>, in area: Range<Int>, isUsed: Bool) {
        for block in blocks {
            let place = block &- area.lowerBound, bit = UInt32(1) &<< UInt32(truncatingIfNeeded: place & 31)
            if isUsed { words[place >> 5] |= bit } else { words[place >> 5] &= ~bit }
        }
    }

    func isFree(_ blocks: Range<Int>, in area: Range<Int>) -> Bool {
        for block in blocks where isUsed(block &- area.lowerBound) { return false }
        return true
    }

    /// The first free run of so many blocks, else the longest that there is.
    func firstRun(of count: Int, in area: Range<Int>) -> Range<Int> {
        var longest = area.lowerBound..<area.lowerBound, start = area.lowerBound
        for block in area {
            if isUsed(block &- area.lowerBound) {
                start = block &+ 1
            } else if block &+ 1 &- start > longest.count {
                longest = start..<block &+ 1
                if longest.count >= count { return longest }
            }
        }
        return longest
    }

    private func isUsed(_ place: Int) -> Bool { words[place >> 5] &>> UInt32(truncatingIfNeeded: place & 31) & 1 != 0 }
}
