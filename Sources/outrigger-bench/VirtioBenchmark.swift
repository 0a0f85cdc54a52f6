import ArgumentParser
import Interconnect
import Simulation
import Virtio

/// Speed of the virtio data path: block requests from doorbell to used ring, through cores, links and medium, without a host around it.
struct VirtioBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "virtio", abstract: "Block requests per second of one function, driven in process.")

    @Option(help: "Requests of one repetition.") var requests = 1_000_000
    @Option(help: "Requests in flight at a time, 1 to 64.") var depth = 32
    @Option(help: "Bytes of each request, a multiple of 512.") var bytes = 4096
    @Option(help: "Repetitions; the best counts.") var repetitions = 3

    func validate() throws {
        guard requests > 0, repetitions > 0 else { throw ValidationError("--requests and --repetitions must be at least 1") }
        guard (1...64).contains(depth) else { throw ValidationError("--depth must be 1 to 64") }
        guard bytes > 0, bytes % 512 == 0, bytes <= 1 << 20 else {
            throw ValidationError("--bytes must be a multiple of 512 up to 1048576")
        }
    }

    func run() throws {
        var best: (seconds: Double, cycles: Cycle)?
        for _ in 0..<repetitions {
            let load = try VirtioLoad(depth: depth, bytes: bytes)
            let result = try load.run(requests: requests)
            if best.map({ result.seconds < $0.seconds }) ?? true { best = result }
        }
        guard let best else { return }
        print("requests \(requests)")
        print("bytes per request \(bytes)")
        print("in flight \(depth)")
        print("seconds \(rounded(best.seconds, 3))")
        print("device cycles \(best.cycles)")
        print("requests per second \(rounded(Double(requests) / best.seconds, 0))")
    }
}

/// A driver that keeps a number of requests in flight: half reads, half writes, at random places.
struct VirtioLoad {
    private static let mediumBytes: UInt64 = 64 << 20

    let depth: Int
    let bytes: Int
    private let fixture: BlockFixture

    init(depth: Int, bytes: Int) throws {
        self.depth = depth
        self.bytes = bytes
        fixture = BlockFixture(backend: try MemoryBackend(byteCount: Self.mediumBytes), queueSize: 256, bufferBytes: bytes)
        fixture.bringUp()
        // Requests keep their descriptors, three each; only the headers change.
        let driver = fixture.drivers[0]
        for tag in 0..<depth {
            let header = fixture.buffer(tag), first = UInt16(3 * tag)
            let segments = [
                Segment(address: header, length: 16, isWritable: false),
                Segment(address: fixture.data(tag), length: UInt32(bytes), isWritable: tag % 2 == 0),
                Segment(address: header + 16, length: 1, isWritable: true),
            ]
            for index: UInt16 in 0..<3 {
                let flags = index < 2 ? MockDriver.Flag.next : 0
                driver.pokeDescriptor(first + index, segments[Int(index)], flags: flags, next: first + index + 1)
            }
            fixture.memory.store(UInt32(tag % 2), at: header)
        }
    }

    /// Wall-clock seconds and device cycles that so many requests take.
    func run(requests: Int) throws -> (seconds: Double, cycles: Cycle) {
        let driver = fixture.drivers[0], memory = fixture.memory, scheduler = fixture.scheduler
        let sectorsPerRequest = UInt64(bytes / 512)
        let places = Self.mediumBytes / UInt64(bytes)
        var random = SplitMix64(seed: 1)
        func publish(_ tag: Int) {
            memory.store(random.next() % places * sectorsPerRequest, at: fixture.buffer(tag) + 8)
            driver.publish(UInt16(3 * tag))
        }
        let start = ContinuousClock.now
        let startCycle = scheduler.now
        for tag in 0..<min(depth, requests) { publish(tag) }
        fixture.notify()
        var issued = min(depth, requests), done = 0
        while done < requests {
            guard scheduler.nextDue != .max else {
                throw BenchmarkError(description: "requests were lost: \(done) of \(requests) came back")
            }
            scheduler.advance(to: scheduler.nextDue)
            while let used = driver.reap() {
                let tag = Int(used.head) / 3
                guard fixture.statusByte(tag) == 0 else { throw BenchmarkError(description: "request \(done) failed") }
                done += 1
                if issued < requests {
                    publish(tag)
                    issued += 1
                }
            }
            if driver.needsNotification() { fixture.notify() }
        }
        let duration = ContinuousClock.now - start
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) * 1e-18
        return (seconds, scheduler.now - startCycle)
    }
}
