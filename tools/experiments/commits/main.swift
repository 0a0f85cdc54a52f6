import ComponentLoad
import Glibc
import Histogram

// The partition changes all the time while three loaded disks are served (docs/partitioning.md).
//
//     partition-commits [FIRMWARE [COMMITS [SEED]]]

do {
    let commits = argument(2, default: 10_000), seed = argument(3, default: 1 as UInt64)
    var storm = try CommitStorm(firmware: try firmwareFile(), seed: seed)
    try storm.run(commits)
    print("seed \(seed): \(storm.latencies.count) commits, \(storm.refused) allocations refused for want of resources")
    print("\(storm.acknowledged) requests: none lost, none answered twice or with something else")
    var histogram = Histogram<UInt64>(highestTrackableValue: 1 << 40, numberOfSignificantValueDigits: .three)
    for latency in storm.latencies { histogram.record(latency) }
    print("cycles from the host's doorbell until the partition is in force:")
    for percentile in [0, 50, 90, 99, 99.9, 100] { print("  p\(percentile): \(histogram.valueAtPercentile(percentile))") }
} catch {
    print("partition-commits: \(error)")
    exit(1)
}
