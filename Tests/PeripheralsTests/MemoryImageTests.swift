import Peripherals
import Simulation
import Testing

@Suite struct MemoryImageTests {
    private static let size = 3 << 20
    private static let page = MemoryImage.pageSize

    private func bytes(_ memory: MemoryPages) -> [UInt8] { Array(memory.bytes) }

    @Test func untouchedMemoryTakesNoRoom() throws {
        let memory = try MemoryPages(name: "test", size: Self.size)
        #expect(memory.capture().storedPages == 0)
        memory.bytes[5 * Self.page] = 1
        #expect(memory.capture().storedPages == 1)
        memory.bytes[5 * Self.page] = 0
        #expect(memory.capture(after: memory.capture()).storedPages == 0, "zeroes again")
    }

    @Test func imagesKeepWhatTheyHad() throws {
        var random = SplitMix64(seed: 8)
        let memory = try MemoryPages(name: "test", size: Self.size)
        var images: [(image: MemoryImage, bytes: [UInt8])] = []
        var last: MemoryImage?
        for _ in 0..<20 {
            for _ in 0..<Int.random(in: 0...30, using: &random) {
                let place = Int.random(in: 0..<Self.size, using: &random)
                memory.bytes[place] = Bool.random(using: &random) ? 0 : UInt8.random(in: 1...255, using: &random)
            }
            let image = memory.capture(after: last)
            images.append((image, bytes(memory)))
            last = image
        }
        for _ in 0..<40 {
            let (image, expected) = images[Int.random(in: 0..<images.count, using: &random)]
            let before = bytes(memory)
            var changed = [Bool](repeating: false, count: Self.size / Self.page)
            memory.restore(image) { offset, count in
                for page in offset / Self.page..<(offset + count) / Self.page { changed[page] = true }
            }
            #expect(bytes(memory) == expected)
            for page in changed.indices {
                let range = page * Self.page..<(page + 1) * Self.page
                #expect(changed[page] == (before[range] != expected[range]), "page \(page)")
            }
        }
    }

    @Test func anotherMemoryTakesAnImage() throws {
        let memory = try MemoryPages(name: "test", size: Self.size), other = try MemoryPages(name: "other", size: Self.size)
        memory.bytes[Self.size - 1] = 7
        other.bytes[0] = 9
        let image = memory.capture()
        other.restore(image)
        #expect(bytes(other) == bytes(memory))
    }

    @Test func runsGiveThePages() throws {
        let memory = try MemoryPages(name: "test", size: Self.size)
        for page in [0, 127, 128, 129, 130, 400] { memory.bytes[page * Self.page + 17] = UInt8(page & 0xff | 1) }
        let image = memory.capture()
        var copy = MemoryImage(size: Self.size)
        var runs: [(Int, Int)] = []
        image.forEachRun(longest: 3) { first, pages in
            runs.append((first, pages.count))
            let contents = pages.flatMap { Array(UnsafeRawBufferPointer(start: $0, count: Self.page)) }
            copy.replace(first, with: contents)
        }
        #expect(runs.map(\.0) == [0, 127, 130, 400] && runs.map(\.1) == [1, 3, 1, 1])
        let before = bytes(memory)
        memory.bytes[127 * Self.page] = 99
        memory.restore(copy)
        #expect(bytes(memory) == before)
    }
}
