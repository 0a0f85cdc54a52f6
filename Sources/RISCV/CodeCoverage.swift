/// Which instructions of a range of code have been executed: a bit for every two bytes, at the instruction's address.
public final class CodeCoverage {
    public let range: Range<UInt32>
    private let words: UnsafeMutableBufferPointer<UInt64>

    /// Nothing of the range has been executed.
    public init(of range: Range<UInt32>) {
        self.range = range
        words = .allocate(capacity: (range.count / 2 + 63) / 64 + 1)
        words.initialize(repeating: 0)
    }

    deinit { words.deallocate() }

    /// Bits, from the range's first address on.
    public var bits: [UInt64] { Array(words) }

    /// Instructions of a block were executed, from its first on.
    func executed(_ marks: UnsafeMutablePointer<Mark>, count: Int) {
        for index in 0..<count where range.contains(marks[index].pc) {
            let place = Int(marks[index].pc - range.lowerBound) / 2
            words[place / 64] |= 1 << UInt64(place % 64)
        }
    }
}
