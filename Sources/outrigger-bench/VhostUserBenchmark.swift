import ArgumentParser
import Simulation
import VhostUser
import Virtio

/// Block requests per second of a vhost-user back-end: the emulator's, or another.
struct VhostUserBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "vhost-user", abstract: "Block requests per second of the vhost-user back-end at a socket.")

    @Argument(help: "The back-end's Unix socket.") var socket: String
    @Option(help: "Requests.") var requests = 200_000
    @Option(help: "Requests in flight at a time, 1 to 64.") var depth = 32
    @Option(help: "Bytes of each request, a multiple of 512.") var bytes = 4096
    @Option(help: "Bytes of the disk that are used, from its start.") var disk: UInt64 = 64 << 20
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard requests > 0 else { throw ValidationError("--requests: at least 1 expected, \(requests) found") }
        guard (1...64).contains(depth) else { throw ValidationError("--depth: 1...64 expected, \(depth) found") }
        guard bytes > 0, bytes % 512 == 0, bytes <= 1 << 15 else {
            throw ValidationError("--bytes: a multiple of 512 up to 32768 expected, \(bytes) found")
        }
        guard disk >= UInt64(bytes) else { throw ValidationError("--disk: \(bytes) bytes or more expected, \(disk) found") }
    }

    func run() throws {
        let frontEnd = try FrontEnd(memoryBytes: 1 << 20 + depth * (4096 + bytes))
        try frontEnd.connect(to: socket)
        let features: Features = [.version1, .eventIndex]
        try frontEnd.begin(features, queues: 1, queueSize: 256)
        let driver = PreparedRequests(in: frontEnd.memory, depth: depth, bytes: bytes, diskBytes: disk, seed: 1)
        try frontEnd.start(queue: 0, driver.queue.layout)
        let begin = elapsedTime()
        driver.begin()
        frontEnd.kick(queue: 0)
        var done = 0
        while done < requests {
            let count = try driver.serve()
            done += count
            if count > 0, driver.queue.needsNotification() { frontEnd.kick(queue: 0) }
            // What came before the wish for an interrupt was written needs none.
            guard driver.queue.usedIndex == driver.queue.reaped else { continue }
            guard frontEnd.waitForCall(queue: 0, milliseconds: 60_000) else {
                throw BenchmarkError(description: "no interrupt came: \(done) of \(requests) requests are done")
            }
        }
        output.print([("requests", Double(done)), ("elapsed", elapsedTime() - begin)])
    }
}
