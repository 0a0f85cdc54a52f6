import AdminProtocol
import ArgumentParser
import Glibc
import HostAgent
import Presentation

struct ReplayCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Drive a function's disk with a recorded workload and check every byte.",
        discussion: """
            The workload is a fio iolog (version 2 or 3) or CSV with the columns time, op, size and lbn. Several workloads go to as many \
            functions at once, each from a process of its own.
            """)

    @OptionGroup var device: DeviceOption

    @Argument(help: "The workload's file.", completion: .file())
    var file: String

    @Option(help: "The virtual function, 1...64; it is created if need be. The first, unless --function is given.")
    var vf: Int?

    @Option(help: "Instead of a virtual function: the device's physical function with this number, 1...7.")
    var function: Int?

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
        if let vf, !(1...64).contains(vf) { throw ValidationError("--vf: 1...64 expected, \(vf) found") }
        if let function, !(1...7).contains(function) { throw ValidationError("--function: 1...7 expected, \(function) found") }
        guard vf == nil || function == nil else { throw ValidationError("--vf or --function expected, both found") }
        guard (1...1_000_000).contains(self.repeat) else { throw ValidationError("--repeat: 1...1000000 expected, \(self.repeat) found") }
        guard (1...256).contains(depth) else { throw ValidationError("--depth: 1...256 expected, \(depth) found") }
        if let speed, !(speed > 0) { throw ValidationError("--speed: a positive number expected, \(speed) found") }
    }

    func run() throws {
        var workload = try Workload(contentsOf: file)
        if let limit { workload.requests = Array(workload.requests.prefix(limit)) }
        let management = try device.open(), target = target
        let disk = try target.open(management)
        let memory = try DMAMemory(for: disk)
        // Each function's driver has its own part of the memory that all share.
        let part = memory.window.size / Target.places & ~4095, room = max(4096, (workload.largestRequest + 4095) & ~4095)
        let driver = try BlockDriver(
            disk, memory: memory, offset: target.place * part, slots: max(1, min(depth, (part - 65536) / room)), maximumBytes: room)
        let before = try figures(management, target.owner)

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

        let after = try figures(management, target.owner)
        let clock = try AdminClient(management).identify().clockHertz
        report(result, disk, latency: Self.percentiles(from: before.latency, to: after.latency), clock: clock)
        if checkCounts { try compare(result, before: before.entry, after: after.entry) }
    }

    /// The function that has the disk.
    private enum Target {
        case virtual(Int)
        case physical(Int)

        /// One for each function that can have a disk: 64 virtual ones, 7 physical ones.
        static let places = 64 + 7

        var place: Int {
            switch self {
            case .virtual(let number): number - 1
            case .physical(let number): 64 + number - 1
            }
        }

        /// Under whom the device counts its traffic: 0 is the host, *n* virtual machine *n*.
        var owner: Int {
            switch self {
            case .virtual(let number): number
            case .physical: 0
            }
        }

        func open(_ management: PCIDevice) throws -> PCIDevice {
            switch self {
            case .virtual(let number):
                try management.enableVirtualFunctions(number)
                return try management.virtualFunction(number)
            case .physical(let number):
                return try management.physicalFunction(number)
            }
        }
    }

    private var target: Target { function.map(Target.physical) ?? .virtual(vf ?? 1) }

    /// The device's own figures of an owner, once they hold all that has finished: they move at the end of a window.
    private func figures(_ management: PCIDevice, _ owner: Int) throws -> (entry: StatisticsEntry, latency: LatencyHistogram) {
        let client = try AdminClient(management)
        let start = try client.statistics(first: owner, owners: 1).header
        while true {
            let (header, entries) = try client.statistics(first: owner, owners: 1)
            guard let entry = entries.first else { throw UsageError("the statistics page has no entry for owner \(owner)") }
            if header.windowEnd >= start.cycle { return (entry, try client.latency(of: owner)) }
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

    private func report(_ result: Replay.Result, _ disk: PCIDevice, latency device: [UInt8], clock: UInt32) {
        let seconds = Double(result.wallNanoseconds) / 1e9
        let wall = [50.0, 90, 99, 99.9].map { result.latency.valueAtPercentile($0) }
        if json {
            return print("""
                {"function":"\(disk.address)","requests":\(result.requests),"reads":\(result.reads),"writes":\(result.writes),\
                "flushes":\(result.flushes),"read_bytes":\(result.readBytes),"written_bytes":\(result.writtenBytes),\
                "verified_bytes":\(result.verifiedBytes),"unknown_bytes":\(result.adoptedBytes),"wall_ns":\(result.wallNanoseconds),\
                "iops":\(Int(Double(result.requests) / seconds)),"wall_latency_ns":[\(wall.map(String.init).joined(separator: ","))],\
                "device_latency_log2":[\(device.map(String.init).joined(separator: ","))]}
                """)
        }
        print("\(OwnerFigures.name(target.owner)), \(disk.address): \(result.requests) requests "
            + "(\(result.reads) reads, \(result.writes) writes, \(result.flushes) flushes) in \(decimal(seconds, 2)) s, "
            + "\(Int(Double(result.requests) / seconds)) requests/s")
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
