import ComponentLoad
import Testing

/// Partitions that change under load; ten thousand of them by `swift run -c release partition-commits`.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct CommitStormTests {
    @Test(arguments: [1, 2] as [UInt64]) func commitsUnderLoadLoseNothing(seed: UInt64) throws {
        var storm = try CommitStorm(firmware: FirmwareRig.read(), seed: seed)
        try storm.run(400)
        #expect(storm.latencies.count == 400 && storm.refused > 0 && storm.acknowledged > 1_000)
        print("seed \(seed): \(storm.refused) refused, \(storm.acknowledged) requests, slowest commit \(storm.latencies.max()!) cycles")
        #expect(storm.latencies.max()! < 200_000)
    }
}
