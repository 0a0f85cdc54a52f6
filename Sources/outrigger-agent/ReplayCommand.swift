import AdminProtocol
import ArgumentParser
import Glibc
import HostAgent

struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Drive a virtual function's disk with a recorded workload and check every byte.",
        discussion: """
            The workload is a fio iolog (version 2 or 3) or CSV with the columns time, op, size and lbn. Several workloads go to as many \
            virtual functions at once, each from a process of its own.
            """)

    @OptionGroup var device: DeviceOption

    @Argument(help: "The workload's file.", completion: .file())
    var file: String

    @Option(help: "The virtual function, 1...; it is created if need be.")
    var vf = 1

    @Option(help: "Most requests in flight.")
    var depth = 32

    @Option(help: "Send each request at its recorded time divided by this, instead of as soon as there is room.")
    var speed: Double?

    @Option(help: "Only so many requests of the workload.")
    var limit: Int?

    @Option(help: "Replay the workload so many times, one after the other.")
    var `repeat` = 1

    @Flag(help: "The disk is known to be all zeros where nothing was written: check that too.")
    var fresh = false

    @Flag(help: "Take positions modulo the disk's capacity.")
    var wrap = false

    @Flag(help: "Compare the Workload Analyzer's counts with the workload's; fail if they differ.")
    var checkCounts = false

    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (1...64).contains(vf) else { throw ValidationError("--vf: 1...64 expected, \(vf) found") }
        guard (1...1_000_000).contains(self.repeat) else { throw ValidationError("--repeat: 1...1000000 expected, \(self.repeat) found") }
        guard (1...256).contains(depth) else { throw ValidationError("--depth: 1...256 expected, \(depth) found") }
        if let speed, !(speed > 0) { throw ValidationError("--speed: a positive number expected, \(speed) found") }
    }

    func run() throws {
        var workload = try Workload(contentsOf: file)
        if let limit { workload.requests = Array(workload.requests.prefix(limit)) }
        let function = try device.open()
        try function.enableVirtualFunctions(vf)
        let virtual = try function.virtualFunction(vf)
        let memory = try DMAMemory(for: virtual)
        // Each virtual function's driver has its own part of the memory that all share.
        let part = memory.window.size / 65 & ~4095, room = max(4096, (workload.largestRequest + 4095) & ~4095)
        let driver = try BlockDriver(
            virtual, memory: memory, offset: (vf - 1) * part, slots: max(1, min(depth, (part - 65536) / room)), maximumBytes: room)
        let before = try figures(function)

        var options = Replay.Options()
        options.depth = depth
        options.fresh = fresh
        options.wrap = wrap
        if let speed { options.pace = .openLoop(speed: speed) }
        options.rounds = self.repeat
        let total = workload.requests.count * self.repeat
        var replay = try Replay(workload, on: driver, options: options)
        let showsProgress = isatty(STDERR_FILENO) == 1
        let result = try replay.run { done in
            if showsProgress { Self.showProgress(done, of: total) }
        }
        if showsProgress { write(STDERR_FILENO, "\r\u{1b}[K", 4) }

        let after = try figures(function)
        let clock = try AdminClient(function).identify().clockHertz
        report(result, virtual, latency: Self.percentiles(from: before.latency, to: after.latency), clock: clock)
        if checkCounts { try compare(result, before: before.entry, after: after.entry) }
    }

    /// The device's own figures of the virtual machine, once they hold all that has finished: they move at the end of a window.
    private func figures(_ function: PCIDevice) throws -> (entry: StatisticsEntry, latency: LatencyHistogram) {
        let client = try AdminClient(function)
        let start = try client.statistics(first: vf, owners: 1).header
        while true {
            let (header, entries) = try client.statistics(first: vf, owners: 1)
            guard let entry = entries.first else { throw UsageError("the statistics page has no entry for vm\(vf)") }
            if header.windowEnd >= start.cycle { return (entry, try client.latency(of: vf)) }
        }
    }

    /// Upper ends, log2 of cycles, of the 50th, 90th, 99th and 99.9th percentile of what was counted between.
    private static func percentiles(from before: LatencyHistogram, to after: LatencyHistogram) -> [UInt8] {
        let counts = (0..<LatencyHistogram.buckets).map { (bucket: Int) -> UInt64 in after.counts[bucket] &- before.counts[bucket] }
        let total = counts.reduce(0, &+)
        return ([500, 900, 990, 999] as [UInt64]).map { permille in
            var sum: UInt64 = 0
            for (bucket, count) in counts.enumerated() {
                sum &+= count
                if sum * 1000 >= total * permille, total > 0 { return UInt8(bucket + 1) }
            }
            return 0
        }
    }

    private func report(_ result: Replay.Result, _ virtual: PCIDevice, latency device: [UInt8], clock: UInt32) {
        let seconds = Double(result.wallNanoseconds) / 1e9
        let wall = [50.0, 90, 99, 99.9].map { result.latency.valueAtPercentile($0) }
        if json {
            return print("""
                {"function":"\(virtual.address)","requests":\(result.requests),"reads":\(result.reads),"writes":\(result.writes),\
                "flushes":\(result.flushes),"read_bytes":\(result.readBytes),"written_bytes":\(result.writtenBytes),\
                "verified_bytes":\(result.verifiedBytes),"unknown_bytes":\(result.adoptedBytes),"wall_ns":\(result.wallNanoseconds),\
                "iops":\(Int(Double(result.requests) / seconds)),"wall_latency_ns":[\(wall.map(String.init).joined(separator: ","))],\
                "device_latency_log2":[\(device.map(String.init).joined(separator: ","))]}
                """)
        }
        print("vm\(vf), \(virtual.address): \(result.requests) requests (\(result.reads) reads, \(result.writes) writes, "
            + "\(result.flushes) flushes) in \(decimal(seconds, 2)) s, \(Int(Double(result.requests) / seconds)) requests/s")
        let rate = Int(Double(result.readBytes + result.writtenBytes) / seconds)
        print("  read \(bytes(result.readBytes)), written \(bytes(result.writtenBytes)), \(bytes(rate))/s")
        print("  every byte read was checked: \(bytes(result.verifiedBytes)) as expected"
            + (result.adoptedBytes > 0 ? ", \(bytes(result.adoptedBytes)) seen for the first time" : ""))
        let names = ["p50", "p90", "p99", "p99.9"]
        print("  latency, wall clock: \(zip(names, wall).map { "\($0) \(duration(Double($1)))" }.joined(separator: ", "))")
        let cycles = zip(names, device).map { "\($0) < \(UInt64(1) << UInt64($1)) cycles (\(bucket($1, clock: clock)))" }
        print("  latency, device time: \(cycles.joined(separator: ", "))")
    }

    /// The Workload Analyzer saw exactly what was sent.
    private func compare(_ result: Replay.Result, before: StatisticsEntry, after: StatisticsEntry) throws {
        let rows: [(String, UInt64, Int)] = [
            ("reads", after.reads - before.reads, result.reads), ("writes", after.writes - before.writes, result.writes),
            ("other requests", after.others - before.others, result.flushes),
            ("bytes read", after.readBytes - before.readBytes, result.readBytes),
            ("bytes written", after.writeBytes - before.writeBytes, result.writtenBytes),
        ]
        for (name, counted, sent) in rows where counted != UInt64(sent) {
            throw UsageError("the Workload Analyzer counted \(counted) \(name), the workload has \(sent)")
        }
        if !json { print("  the Workload Analyzer counted the same: \(rows.map { "\($0.1) \($0.0)" }.joined(separator: ", "))") }
    }

    private static func showProgress(_ done: Int, of total: Int) {
        let width = 40, filled = done * width / max(total, 1)
        let bar = String(repeating: "#", count: filled) + String(repeating: ".", count: width - filled)
        let line = "\r[\(bar)] \(done)/\(total)"
        write(STDERR_FILENO, line, line.utf8.count)
    }
}
