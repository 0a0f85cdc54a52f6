import Foundation
import Interconnect
import Synchronization
import Testing

@Suite struct SharedBytesTests {
    @Test func everyCountIsCopiedWhereverItLies() {
        let source = UnsafeMutableRawPointer.allocate(byteCount: 64, alignment: 16)
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: 64, alignment: 16)
        defer {
            source.deallocate()
            target.deallocate()
        }
        for place in 0..<64 { source.storeBytes(of: UInt8(place + 1), toByteOffset: place, as: UInt8.self) }
        for count in 0...17 {
            for (from, to) in [(0, 0), (1, 0), (0, 1), (3, 5), (7, 9)] {
                target.initializeMemory(as: UInt8.self, repeating: 0)
                copyShared(from: source + from, to: target.baseAddress! + to, count: count)
                var expected = [UInt8](repeating: 0, count: 64)
                for place in 0..<count { expected[to + place] = UInt8(from + place + 1) }
                #expect(target.elementsEqual(expected), "\(count) bytes from \(from) to \(to)")
            }
        }
    }

    // Without optimisation Swift's loads and stores of two bytes are the C library's copies.
    #if !DEBUG
    /// What another thread stores meanwhile comes as a whole: the index of a ring is never half of one value and half of the next.
    @Test(arguments: [2, 4, 8]) func aValueMovesAtOnce(count: Int) {
        let shared = Shared(count)
        let writer = Thread { shared.store() }
        writer.start()
        let mixed = shared.mixedLoads()
        #expect(mixed == 0)
    }

    /// A value that a thread stores for as long as another one loads it: all its bits are equal.
    private final class Shared: @unchecked Sendable {
        // Sendable: the threads meet in `place` on purpose.
        private let place = UnsafeMutableRawPointer.allocate(byteCount: 8, alignment: 8)
        private let count: Int
        private let isOver = Atomic(false), stores = Atomic(0)

        init(_ count: Int) {
            self.count = count
            place.initializeMemory(as: UInt64.self, to: 0)
        }

        deinit { place.deallocate() }

        func store() {
            let values = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
            defer { values.deallocate() }
            values.storeBytes(of: 0, as: UInt64.self)
            values.storeBytes(of: .max, toByteOffset: 8, as: UInt64.self)
            while !isOver.load(ordering: .acquiring) {
                for half in [0, 8] { copyShared(from: values + half, to: place, count: count) }
                stores.add(1, ordering: .releasing)
            }
        }

        /// Loads until the other thread has stored often; how many were neither of the two values.
        func mixedLoads() -> Int {
            defer { isOver.store(true, ordering: .releasing) }
            var mixed = 0, value: UInt64 = 0
            let whole: UInt64 = .max >> UInt64(64 - 8 * count)
            while stores.load(ordering: .acquiring) < 200_000 {
                copyShared(from: place, to: &value, count: count)
                if value != 0, value != whole { mixed += 1 }
            }
            return mixed
        }
    }
    #endif
}
