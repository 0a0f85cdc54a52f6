import Debugging
import OffloadDevice
import Registers
import Simulation
import Testing

/// What one access after the other adds to the coverage of registers; the file, whole and damaged; merging.
@Suite struct CoverageDataTests {
    private func sample(_ bits: [UInt64], reads: UInt64) -> CoverageData {
        var data = CoverageData()
        data.code = [.init(checksum: 7, base: 0x8000_0000, bits: bits)]
        var use = CoverageData.RegisterUse()
        use.reads = reads
        use.read = 0xff
        use.rose = 1 << reads
        data.registers = ["WDT.CTRL": use]
        return data
    }

    @Test func runsAreMerged() throws {
        var sum = sample([1, 0], reads: 3)
        try sum.merge(sample([4, 8], reads: 2))
        #expect(sum.code[0].bits == [5, 8] && sum.registers["WDT.CTRL"]?.reads == 5 && sum.registers["WDT.CTRL"]?.rose == 0b1100)
        #expect(sum.code[0].hasExecuted(0x8000_0000) && !sum.code[0].hasExecuted(0x8000_0002) && sum.code[0].hasExecuted(0x8000_0004))
        #expect(!sum.code[0].hasExecuted(0x7fff_fffe) && !sum.code[0].hasExecuted(0x9000_0000))
        #expect(throws: SnapshotError.self) { try sum.merge(sample([1], reads: 0)) }
    }

    @Test func filesAreReadBackAndDamagedOnesAreRefused() throws {
        let data = sample([0x1234, .max, 0], reads: 9), bytes = data.bytes
        #expect(try CoverageData(bytes: bytes) == data)
        for count in 0..<bytes.count { #expect(throws: SnapshotError.self) { try CoverageData(bytes: Array(bytes[..<count])) } }
        for place in bytes.indices {
            var damaged = bytes
            damaged[place] ^= 1 << UInt8(place % 8)
            #expect(throws: SnapshotError.self, "byte \(place)") { try CoverageData(bytes: damaged) }
        }
        #expect(throws: SnapshotError.self) { try CoverageData(bytes: bytes + [0]) }
    }

    @Test func readsWritesAndTogglesOfARegister() throws {
        let machine = try Machine(MachineDescription(), pace: .lockstep)
        machine.inspect { $0.startCoverage() }
        let (_, location) = try DeviceBus.location(named: "HOSTIF.SCRATCH[0]")
        for value in [0x0f, 0xf0] as [UInt64] {
            machine.writeBAR(function: 0, bar: 0, offset: location.address, size: 4, value: value, origin: 0)
        }
        _ = machine.readBAR(function: 0, bar: 0, offset: location.address, size: 4, origin: 0)
        let data = try #require(machine.inspect { $0.coverage })
        let use = try #require(data.registers["HOSTIF.\(location.register.name)"])
        #expect(use.reads == 1 && use.writes == 2 && use.read == 0xffff_ffff && use.written == 0xffff_ffff)
        #expect(use.rose == 0xff && use.fell == 0x0f)
        #expect(data.registers["WDT.CTRL"] == CoverageData.RegisterUse())
    }
}
