import Simulation
import Testing

@Suite struct CRC32CTests {
    /// RFC 3720, B.4.
    static let examples: [(bytes: [UInt8], sum: UInt32)] = [
        ([UInt8](repeating: 0, count: 32), 0x8a91_36aa), ([UInt8](repeating: 0xff, count: 32), 0x62a8_ab43),
        ([UInt8](0..<32), 0x46dd_794e), ([UInt8]((0..<32).reversed()), 0x113f_db5c), ([UInt8]("123456789".utf8), 0xe306_9283), ([], 0),
    ]

    @Test(arguments: 0..<6) func publishedExamples(_ number: Int) {
        #expect(CRC32C.of(Self.examples[number].bytes) == Self.examples[number].sum)
    }

    @Test func piecesGiveTheChecksumOfTheWhole() {
        var random = SplitMix64(seed: 4)
        let bytes = (0..<1000).map { _ in UInt8.random(in: 0...255, using: &random) }
        for _ in 0..<50 {
            var sum = CRC32C()
            var start = 0
            while start < bytes.count {
                let end = Int.random(in: start + 1...bytes.count, using: &random)
                bytes.withUnsafeBytes { sum.update(UnsafeRawBufferPointer(rebasing: $0[start..<end])) }
                start = end
            }
            #expect(sum.value == CRC32C.of(bytes))
        }
    }
}
