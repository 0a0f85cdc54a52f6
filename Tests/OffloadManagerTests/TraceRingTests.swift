import OffloadManager
import Testing

@Suite struct TraceRingTests {
    @Test func keepsTheLastRecordsAcrossARestart() {
        let words = UnsafeMutablePointer<UInt32>.allocate(capacity: 4 + 8 * 4 + 3)
        defer { words.deallocate() }
        words.initialize(repeating: 0xdead_beef, count: 4 + 8 * 4 + 3)
        let ring = TraceRing(words, count: 4 + 8 * 4 + 3)
        #expect(Array(UnsafeBufferPointer(start: words, count: 4)) == [TraceRing.magic, 2, 8, 0])
        for number in 0..<11 as Range<UInt32> { ring.record(TraceRing.Window(number: number, cycles: number * 2), at: 100 + number) }
        #expect(ring.written == 11)
        // Record 10 is the third of the second round.
        #expect(Array(UnsafeBufferPointer(start: words + 4 + 2 * 4, count: 4)) == [110, TraceRing.Kind.window.rawValue, 10, 20])
        #expect(Array(UnsafeBufferPointer(start: words + 4 + 3 * 4, count: 4)) == [103, TraceRing.Kind.window.rawValue, 3, 6])

        let again = TraceRing(words, count: 4 + 8 * 4 + 3)
        #expect(again.written == 11)
        again.record(TraceRing.Boot(causes: 1, starts: 2), at: 0)
        #expect(again.written == 12)
        #expect(words[4 + 3 * 4 + 1] == TraceRing.Kind.boot.rawValue)
        #expect(words[4 + 8 * 4] == 0xdead_beef)
    }
}
