/// A change of a file that is too large to be an input itself: eight bytes of an input.
///
/// | bytes | what |
/// |---|---|
/// | 1 | what the target makes of it |
/// | 1 | how: which of the cases in ``apply(to:)`` |
/// | 2 | place, in units of the next byte + 1 |
/// | 1 | unit |
/// | 3 | value |
struct Edit {
    let selector: UInt8
    let place: Int
    private let how: UInt8
    private let value: UInt64

    /// What an input consists of; a rest is left out.
    static func all(_ input: [UInt8]) -> [Edit] {
        stride(from: 0, to: input.count - 7, by: 8).map { Edit(input[$0..<$0 + 8]) }
    }

    private init(_ bytes: ArraySlice<UInt8>) {
        let bytes = bytes.map { Int($0) }
        selector = UInt8(bytes[0])
        how = UInt8(bytes[1])
        place = (bytes[2] | bytes[3] << 8) * (bytes[4] + 1)
        value = UInt64(bytes[5] | bytes[6] << 8 | bytes[7] << 16)
    }

    /// Changes bytes at the place, which is taken modulo their number.
    func apply(to bytes: inout [UInt8]) {
        guard !bytes.isEmpty else { return }
        let start = place % bytes.count, rest = bytes.count - start
        func put(_ number: UInt64, _ count: Int) {
            for index in 0..<min(count, rest) { bytes[start + index] = UInt8(truncatingIfNeeded: number >> UInt64(8 * index)) }
        }
        switch how % 9 {
        case 0: put(value, 1)
        case 1: put(value, 2)
        case 2: put(value, 4)
        case 3: put(value, 8)
        // The largest numbers.
        case 4: put(~value, 4)
        case 5: put(~value, 8)
        case 6: bytes[start] ^= 1 << UInt8(truncatingIfNeeded: value & 7)
        case 7: bytes.removeSubrange(start..<start + min(Int(value & 0xff), rest))
        default: bytes.insert(contentsOf: bytes[start..<start + min(Int(value & 0xff), rest)], at: start)
        }
    }
}
