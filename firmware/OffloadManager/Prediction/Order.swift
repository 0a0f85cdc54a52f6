/// Orders a few numbers by fixed sequences of exchanges (Knuth: The Art of Computer Programming, volume 3, 5.3.4), a minimum and a maximum
/// each: no branch depends on the numbers.
extension InlineArray where Element: FixedWidthInteger {
    /// Puts the lesser of two elements at `low` and the other at `high`.
    @inline(__always) private mutating func exchange(_ low: Int, _ high: Int) {
        let (a, b) = (self[unchecked: low], self[unchecked: high])
        self[unchecked: low] = Swift.min(a, b)
        self[unchecked: high] = Swift.max(a, b)
    }
}

extension InlineArray where Element: FixedWidthInteger, count == 5 {
    /// The median; the elements are in another order afterwards.
    @inline(__always) mutating func takeMedian() -> Element {
        exchange(0, 1); exchange(3, 4)
        exchange(0, 3); exchange(1, 4)
        exchange(1, 2); exchange(2, 3)
        exchange(1, 2)
        return self[unchecked: 2]
    }
}

extension InlineArray where Element: FixedWidthInteger, count == 7 {
    @inline(__always) mutating func order() {
        exchange(0, 6); exchange(2, 3); exchange(4, 5)
        exchange(0, 2); exchange(1, 4); exchange(3, 6)
        exchange(0, 1); exchange(2, 5); exchange(3, 4)
        exchange(1, 2); exchange(4, 6)
        exchange(2, 3); exchange(4, 5)
        exchange(1, 2); exchange(3, 4); exchange(5, 6)
    }
}

extension InlineArray where Element: FixedWidthInteger, count == 9 {
    /// The median; the elements are in another order afterwards.
    @inline(__always) mutating func takeMedian() -> Element {
        exchange(1, 2); exchange(4, 5); exchange(7, 8)
        exchange(0, 1); exchange(3, 4); exchange(6, 7)
        exchange(1, 2); exchange(4, 5); exchange(7, 8)
        exchange(0, 3); exchange(5, 8); exchange(4, 7)
        exchange(3, 6); exchange(1, 4); exchange(2, 5)
        exchange(4, 7); exchange(4, 2); exchange(6, 4)
        exchange(4, 2)
        return self[unchecked: 4]
    }
}
