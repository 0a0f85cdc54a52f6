/// Estimates how many distinct pages were touched, by linear counting (Whang, Vander-Zanden, Taylor: A linear-time probabilistic
/// counting algorithm for database applications, ACM TODS 15:2, 1990).
///
/// A sketch is 4096 bits in 64 words. Eight neighbouring pages share a byte, whose place is a hash of their number, so that a
/// large request costs one step per eight pages. These functions work on sketches in place, wherever their words are.
enum PageSketch {
    static let words = 64
    static let pageShift: UInt64 = 12

    private static let bits = 4096
    /// More groups than this in one request fill nearly every byte: the sketch is saturated at once.
    private static let mostGroups: UInt64 = 4096

    /// Marks the pages of `count` bytes from `position`. Marks nothing for no bytes.
    static func insert(_ sketch: UnsafeMutablePointer<UInt64>, position: UInt64, count: UInt64) {
        guard count != 0 else { return }
        let first = position >> pageShift
        let (end, overflow) = position.addingReportingOverflow(count &- 1)
        let last = (overflow ? .max : end) >> pageShift
        let firstGroup = first >> 3
        let lastGroup = last >> 3
        guard lastGroup &- firstGroup < mostGroups else {
            for word in 0..<words { sketch[word] = .max }
            return
        }
        var group = firstGroup
        while true {
            var pages: UInt64 = 0xff
            if group == firstGroup { pages &= 0xff << (first & 7) }
            if group == lastGroup { pages &= 0xff >> (7 &- (last & 7)) }
            let place = Int(truncatingIfNeeded: mix(group) >> 55)
            sketch[place >> 3] |= pages << UInt64(truncatingIfNeeded: (place & 7) &* 8)
            if group == lastGroup { return }
            group &+= 1
        }
    }

    /// The estimated number of distinct pages.
    static func estimate(_ sketch: UnsafePointer<UInt64>) -> UInt64 {
        var ones = 0
        for word in 0..<words { ones &+= sketch[word].nonzeroBitCount }
        return UInt64(estimates[bits - ones])
    }

    /// Adds the pages of one sketch to another.
    static func unite(_ other: UnsafePointer<UInt64>, into sketch: UnsafeMutablePointer<UInt64>) {
        for word in 0..<words { sketch[word] |= other[word] }
    }

    /// The finaliser of SplitMix64: every bit of the group's number decides about every bit of the place.
    private static func mix(_ group: UInt64) -> UInt64 {
        var z = group &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// By the number of empty bits: after how many random insertions that many are expected to be left, m (H(m) - H(empty)), with the
    /// harmonic numbers H. This is the exact form of m ln(m / empty), and needs no logarithm.
    private static let estimates: [UInt32] = {
        var table = [UInt32](repeating: 0, count: bits + 1)
        var sum: UInt64 = 0
        for empty in stride(from: bits - 1, through: 0, by: -1) {
            sum += (UInt64(bits) << 32) / UInt64(empty + 1)
            table[empty] = UInt32((sum + 1 << 31) >> 32)
        }
        return table
    }()
}
