import AdminProtocol
import Glibc

/// What the host itself uses, from /proc: the baseline that the device's analysis starts from.
public struct HostBaseline: Sendable, Equatable {
    /// Busy processor time, in 1/1000 of all processors.
    public var processorPermille: UInt32
    public var processors: UInt32
    /// Memory in use and in all, in KiB.
    public var memoryUsed: UInt64, memoryTotal: UInt64
    /// Per second over the interval.
    public var diskReadBytes: UInt64, diskWrittenBytes: UInt64
    public var networkReceivedBytes: UInt64, networkSentBytes: UInt64
    /// Part of the interval in which somebody waited, in 1/1000; 0 where the kernel doesn't tell.
    public var processorPressure: UInt32, memoryPressure: UInt32, ioPressure: UInt32

    /// Cumulative figures at one moment.
    public struct Sample: Sendable {
        var busy: UInt64 = 0, total: UInt64 = 0
        var processors: UInt32 = 0
        var memoryUsed: UInt64 = 0, memoryTotal: UInt64 = 0
        var read: UInt64 = 0, written: UInt64 = 0, received: UInt64 = 0, sent: UInt64 = 0
        /// Microseconds in which some task waited for a processor, for memory, for I/O.
        var stalled: [UInt64] = [0, 0, 0]

        /// Takes a sample below `root`, which is /proc but in tests.
        public init(root: String = "/proc") throws(AgentError) {
            for line in try File.text(root + "/stat").split(separator: "\n") where line.hasPrefix("cpu") {
                let words = line.split(separator: " ")
                if words[0] != "cpu" { processors += 1; continue }
                // user nice system idle iowait irq softirq steal (proc(5)); guest time is in user time already.
                let ticks = words.dropFirst().prefix(8).map { UInt64($0) ?? 0 }
                guard ticks.count >= 4 else { throw AgentError("\(root)/stat: at least 4 figures expected in '\(line)'") }
                total = ticks.reduce(0, &+)
                busy = total - ticks[3] - (ticks.count > 4 ? ticks[4] : 0)
            }
            var memory: [Substring: UInt64] = [:]
            for line in try File.text(root + "/meminfo").split(separator: "\n") {
                let words = line.split(separator: " ")
                if words.count >= 2 { memory[words[0]] = UInt64(words[1]) }
            }
            guard let all = memory["MemTotal:"], let available = memory["MemAvailable:"] else {
                throw AgentError("\(root)/meminfo: MemTotal and MemAvailable expected")
            }
            memoryTotal = all
            memoryUsed = all - min(all, available)
            for line in try File.text(root + "/diskstats").split(separator: "\n") {
                let words = line.split(separator: " ")
                // Whole devices only would need sysfs; sectors of partitions are left out by their minor number of 0 modulo 16.
                guard words.count >= 10, let minor = UInt64(words[1]), minor % 16 == 0 else { continue }
                read += (UInt64(words[5]) ?? 0) * 512
                written += (UInt64(words[9]) ?? 0) * 512
            }
            for line in try File.text(root + "/net/dev").split(separator: "\n").dropFirst(2) {
                let parts = line.split(separator: ":")
                guard parts.count == 2, parts[0].drop(while: { $0 == " " }) != "lo" else { continue }
                let words = parts[1].split(separator: " ")
                guard words.count >= 9 else { continue }
                received += UInt64(words[0]) ?? 0
                sent += UInt64(words[8]) ?? 0
            }
            stalled = ["cpu", "memory", "io"].map { Self.stall(root + "/pressure/" + $0) }
        }

        /// The total of the line "some" (Documentation/accounting/psi.rst); 0 if the kernel was built without it.
        private static func stall(_ path: String) -> UInt64 {
            guard let text = try? File.text(path), let line = text.split(separator: "\n").first(where: { $0.hasPrefix("some ") }),
                let total = line.split(separator: " ").first(where: { $0.hasPrefix("total=") })
            else { return 0 }
            return UInt64(total.dropFirst(6)) ?? 0
        }
    }

    /// The use between two samples that are `milliseconds` apart.
    public init(from first: Sample, to second: Sample, milliseconds: UInt64) {
        let total = second.total &- first.total
        processorPermille = total == 0 ? 0 : UInt32(min(1000, (second.busy &- min(first.busy, second.busy)) * 1000 / total))
        processors = second.processors
        memoryUsed = second.memoryUsed
        memoryTotal = second.memoryTotal
        func rate(_ a: UInt64, _ b: UInt64) -> UInt64 { b < a || milliseconds == 0 ? 0 : (b - a) * 1000 / milliseconds }
        diskReadBytes = rate(first.read, second.read)
        diskWrittenBytes = rate(first.written, second.written)
        networkReceivedBytes = rate(first.received, second.received)
        networkSentBytes = rate(first.sent, second.sent)
        func pressure(_ place: Int) -> UInt32 {
            let stalled = second.stalled[place] &- min(first.stalled[place], second.stalled[place])
            return milliseconds == 0 ? 0 : UInt32(min(stalled / milliseconds, 1000))
        }
        (processorPressure, memoryPressure, ioPressure) = (pressure(0), pressure(1), pressure(2))
    }

    /// Measures for `milliseconds`, in slices.
    public static func measure(milliseconds: UInt64) throws(AgentError) -> (baseline: HostBaseline, confidencePermille: UInt32) {
        let first = try Sample(), slice = max(milliseconds / UInt64(slices), 1)
        var samples = [first]
        for _ in 0..<slices {
            usleep(UInt32(slice * 1000))
            samples.append(try Sample())
        }
        let parts = zip(samples, samples.dropFirst()).map { HostBaseline(from: $0, to: $1, milliseconds: slice) }
        let whole = HostBaseline(from: first, to: samples[slices], milliseconds: slice * UInt64(slices))
        return (whole, confidence(in: parts, milliseconds: milliseconds))
    }

    private static let slices = 8

    /// How far the mean of measurements can be trusted, in 1/1000: mean / (mean + its standard error), of the processors' use, which is
    /// never nothing; and less in proportion if they took less than a second, which says little of what is usual.
    public static func confidence(in parts: [HostBaseline], milliseconds: UInt64) -> UInt32 {
        let values = parts.map { Double($0.processorPermille) + 1 }
        guard values.count > 1 else { return 0 }
        let count = Double(values.count), mean = values.reduce(0, +) / count
        let variance = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1)
        let steadiness = mean / (mean + (variance / count).squareRoot())
        return UInt32(1000 * steadiness * min(Double(milliseconds) / 1000, 1))
    }
}

extension Baseline {
    /// What the host measured of itself, as the device takes it.
    public init(_ host: HostBaseline, confidencePermille: UInt32) {
        self.init()
        processorPermille = host.processorPermille * host.processors
        processors = host.processors
        memoryKiB = UInt32(clamping: host.memoryUsed)
        memoryTotalKiB = UInt32(clamping: host.memoryTotal)
        networkKiBPerSecond = UInt32(clamping: (host.networkReceivedBytes + host.networkSentBytes) / 1024)
        blockKiBPerSecond = UInt32(clamping: (host.diskReadBytes + host.diskWrittenBytes) / 1024)
        self.confidencePermille = confidencePermille
        processorPressure = UInt8(host.processorPressure / 10)
        memoryPressure = UInt8(host.memoryPressure / 10)
        ioPressure = UInt8(host.ioPressure / 10)
    }
}
