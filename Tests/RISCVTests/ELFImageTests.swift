import RISCV
import Simulation
import Testing

@Suite struct ELFImageTests {
    static func error(_ bytes: [UInt8]) -> ELFError? {
        do {
            _ = try ELFImage(bytes)
            return nil
        } catch {
            return error
        }
    }

    @Test func readsAnExecutable() throws {
        let image = try ELFImage(fixture("microbench.elf"))
        #expect(image.entry == 0x8000_1000)
        let start = try #require(image.symbol("_start"))
        #expect(start.address == image.entry)
        #expect(image.symbol("no such symbol") == nil)
        let machine = TestMachine()
        try image.load(into: machine.memory)
        for segment in image.segments {
            let bytes = image.contents(of: segment), offset = Int(segment.address - TestMachine.base)
            #expect(machine.bytes[offset..<offset + bytes.count].elementsEqual(bytes))
        }
    }

    @Test func zeroesWhatTheFileDoesNotHave() throws {
        var bytes = try fixture("differential.elf")
        // The data segment's p_filesz becomes 0: its memory has to be cleared.
        let image = try ELFImage(bytes)
        let index = try #require(image.segments.firstIndex { $0.isWritable })
        let header = Int(bytes[28]) + 32 * index
        for byte in 16..<20 { bytes[header + byte] = 0 }
        let machine = TestMachine()
        machine.bytes.initializeMemory(as: UInt8.self, repeating: 0xaa)
        try ELFImage(bytes).load(into: machine.memory)
        #expect(machine[image.segments[index].address] == 0)
        #expect(machine[image.segments[index].address + image.segments[index].memorySize] == 0xaaaa_aaaa)
    }

    @Test func wrongKinds() throws {
        let good = try fixture("differential.elf")
        let changes: [(Int, UInt8, String)] = [
            (0, 0x7e, "magic"), (4, 2, "class"), (5, 2, "data encoding"), (16, 1, "type"), (18, 62, "machine"), (20, 9, "version"),
            (36, 4, "floating-point"), (36, 8, "RV32E"), (42, 31, "program header size"),
        ]
        for (offset, value, field) in changes {
            var bytes = good
            bytes[offset] = value
            guard case .unsupported(let found, let expected, let actual)? = Self.error(bytes) else {
                Issue.record("\(field) was accepted")
                continue
            }
            #expect(found.hasPrefix(field), "\(found)")
            #expect(Self.error(bytes)!.description.contains("is \(actual), expected \(expected)"))
        }
        var empty = good
        empty[44] = 0
        #expect(Self.error(empty) == .malformed("it has no program headers"))
    }

    @Test func segmentsThatContradictThemselves() throws {
        let good = try fixture("differential.elf")
        let first = try #require(ELFImage(good).segments.first)
        let header = try #require((0..<Int(good[44])).map { Int(good[28]) + 32 * $0 }.first { good[$0] == 1 })
        func changed(_ offset: Int, _ value: UInt32) -> ELFError? {
            var bytes = good
            for byte in 0..<4 { bytes[header + offset + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)) }
            return Self.error(bytes)
        }
        #expect(changed(4, 0xffff_0000)?.description.contains("truncated") == true)
        #expect(changed(16, first.memorySize + 1)?.description.contains("malformed") == true, "more in the file than in memory")
        #expect(changed(12, 0xffff_fff0)?.description.contains("ends past 4 GiB") == true)
        #expect(changed(12, 0x8000_0fff)?.description.contains("overlap") == true)
    }

    @Test func memoryThatIsNotThere() throws {
        let image = try ELFImage(fixture("differential.elf"))
        #expect(throws: ELFError.noMemory(segment: 0, address: 0x8000_0000, size: image.segments[0].memorySize)) {
            try image.load(into: MemoryMap())
        }
    }

    /// Cut off anywhere, the file is refused or whole in all that matters; never a trap.
    @Test func truncatedAnywhere() throws {
        let good = try fixture("differential.elf")
        let image = try ELFImage(good)
        for length in 0..<good.count {
            let error = Self.error(Array(good[..<length]))
            if length < 52 { #expect(error == .truncated(what: "the ELF header", needed: 52, size: length)) }
            if length < image.segments.map(\.fileBytes.upperBound).max()! { #expect(error != nil) }
        }
    }

    /// Random damage: whatever comes out is consistent, and can be loaded or is refused.
    @Test func damagedAtRandom() throws {
        let good = try fixture("differential.elf")
        var random = SplitMix64(seed: 0xe1f)
        let machine = TestMachine()
        for _ in 0..<20_000 {
            var bytes = good
            for _ in 0...random.next() % 4 {
                // Headers and tables more often than contents.
                let place = random.next() % 2 == 0 ? Int(random.next() % 128) : bytes.count - 1 - Int(random.next() % 1000)
                bytes[place] = UInt8(truncatingIfNeeded: random.next())
            }
            guard let image = try? ELFImage(bytes) else { continue }
            for segment in image.segments { #expect(image.contents(of: segment).count <= Int(segment.memorySize)) }
            try? image.load(into: machine.memory)
            #expect(zip(image.symbols, image.symbols.dropFirst()).allSatisfy { $0.address <= $1.address })
        }
    }
}
