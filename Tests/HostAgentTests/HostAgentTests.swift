import Glibc
import HostAgent
import Scratch
import Testing

@Suite struct SectorLedgerTests {
    /// A disk of bytes, as the reference.
    private func replay(seed: UInt64, corrupt: Bool, fresh: Bool) -> (verified: Int, adopted: Int, firstWrong: Int?) {
        var random = Generator(state: seed)
        var disk = [UInt8](repeating: fresh ? 0 : 0x5a, count: 64 * 512)
        var ledger = SectorLedger(fresh: fresh)
        for step in 0..<500 {
            let sector = Int.random(in: 0..<60, using: &random), count = Int.random(in: 1...4, using: &random)
            let range = (sector * 512)..<((sector + count) * 512)
            if Bool.random(using: &random) {
                disk.withUnsafeMutableBytes { ledger.write(sector: UInt64(sector), UnsafeMutableRawBufferPointer(rebasing: $0[range])) }
            } else {
                if corrupt && step > 250 { disk[range.lowerBound + 100] ^= 1 }
                let wrong = disk.withUnsafeBytes { ledger.check(sector: UInt64(sector), UnsafeRawBufferPointer(rebasing: $0[range])) }
                if let wrong { return (ledger.verifiedBytes, ledger.adoptedBytes, wrong) }
            }
        }
        return (ledger.verifiedBytes, ledger.adoptedBytes, nil)
    }

    @Test(arguments: [1, 2, 3] as [UInt64], [true, false])
    func aFaithfulDiskPasses(seed: UInt64, fresh: Bool) {
        let result = replay(seed: seed, corrupt: false, fresh: fresh)
        #expect(result.firstWrong == nil)
        #expect(result.verified > 100_000)
        #expect((result.adopted == 0) == fresh)
    }

    @Test(arguments: [1, 2, 3] as [UInt64])
    func oneWrongBitIsFound(seed: UInt64) {
        #expect(replay(seed: seed, corrupt: true, fresh: true).firstWrong == 96, "the word that holds byte 100")
    }

    @Test func staleDataIsFound() {
        var ledger = SectorLedger(fresh: true)
        var old = [UInt8](repeating: 0, count: 512), new = old
        old.withUnsafeMutableBytes { ledger.write(sector: 9, $0) }
        new.withUnsafeMutableBytes { ledger.write(sector: 9, $0) }
        #expect(new.withUnsafeBytes { ledger.check(sector: 9, $0) } == nil)
        #expect(old.withUnsafeBytes { ledger.check(sector: 9, $0) } == 0)
        #expect(new.withUnsafeBytes { ledger.check(sector: 8, $0) } == 0, "data of another sector")
    }
}

@Suite struct HostBaselineTests {
    @Test func figuresOfThisHostArePlausible() throws {
        let first = try HostBaseline.Sample()
        let baseline = HostBaseline(from: first, to: try HostBaseline.Sample(), milliseconds: 1)
        #expect(baseline.processors == UInt32(sysconf(Int32(_SC_NPROCESSORS_ONLN))))
        #expect(baseline.memoryUsed > 0 && baseline.memoryUsed < baseline.memoryTotal)
        #expect(baseline.processorPermille <= 1000)
    }

    @Test func ratesAreDifferencesPerSecond() throws {
        func sample(busy: Int, sectors: Int, received: Int) throws -> HostBaseline.Sample {
            let folder = try TemporaryFolder()
            let files = [
                "stat": "cpu \(busy) 0 0 \(1000 - busy) 0 0 0 0 0 0\ncpu0 0 0 0 0\ncpu1 0 0 0 0\n",
                "meminfo": "MemTotal: 1000 kB\nMemAvailable: 400 kB\n",
                "diskstats": " 254 0 vda 1 0 \(sectors) 0 1 0 \(2 * sectors) 0 0 0 0\n 254 1 vda1 1 0 999999 0 1 0 999999 0 0 0 0\n",
                "net/dev": "h\nh\n lo: 7777 0 0 0 0 0 0 0 7777\neth0: \(received) 0 0 0 0 0 0 0 \(received / 2) 0\n",
            ]
            for (name, text) in files { try folder.write(text.utf8, to: name) }
            return try HostBaseline.Sample(root: folder.path)
        }
        let baseline = HostBaseline(
            from: try sample(busy: 100, sectors: 0, received: 1000), to: try sample(busy: 350, sectors: 8, received: 3000),
            milliseconds: 500)
        #expect(baseline.processors == 2)
        #expect(baseline.memoryUsed == 600)
        #expect(baseline.diskReadBytes == 8192 && baseline.diskWrittenBytes == 16384)
        #expect(baseline.networkReceivedBytes == 4000 && baseline.networkSentBytes == 2000)
    }

    @Test func steadyAndLongMeasurementsAreTrusted() throws {
        let sample = try HostBaseline.Sample()
        func confidence(_ permilles: [UInt32], milliseconds: UInt64 = 1000) -> UInt32 {
            HostBaseline.confidence(in: permilles.map {
                var part = HostBaseline(from: sample, to: sample, milliseconds: 1)
                part.processorPermille = $0
                return part
            }, milliseconds: milliseconds)
        }
        #expect(confidence([500, 500, 500, 500]) == 1000 && confidence([500, 500, 500, 500], milliseconds: 100) == 100)
        #expect(confidence([500, 500, 500, 500], milliseconds: 60_000) == 1000)
        // Mean 500, standard deviation 577, standard error 289.
        #expect(confidence([0, 1000, 0, 1000]) == 634)
        #expect(confidence([0, 0, 0, 0, 0, 0, 0, 1000]) < 550 && confidence([500]) == 0)
    }
}

/// Seeded randomness for these tests, which may import nothing of the emulator.
private struct Generator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return state ^ (state >> 29)
    }
}
