import Glibc
import OffloadDevice
import Scratch
import Testing
import VhostUser
import Virtio

/// A machine with a back-end, and a front-end with a disk driver of one queue, split or packed.
final class Rig {
    static let queueSize: UInt16 = 64
    /// No power of two.
    static let packedSize: UInt16 = 75
    static let features: Features = [.version1, .eventIndex, .blockFlush]
    /// Longer than anything takes.
    static let patience: Int32 = 120_000

    let machine: Machine
    private let folder: TemporaryFolder
    let server: VhostUserServer
    private(set) var frontEnd: FrontEnd
    private(set) var driver: any QueueDriver
    /// The split queue.
    var queue: MockDriver { driver as! MockDriver }
    var path: String { folder.path("socket") }
    private(set) var log = Log()

    /// Lines that the server has logged.
    final class Log: @unchecked Sendable {
        // Sendable: under the lock.
        private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        private var stored: [String] = []
        init() { pthread_mutex_init(lock, nil) }
        deinit { lock.deallocate() }
        func add(_ line: String) {
            pthread_mutex_lock(lock)
            stored.append(line)
            pthread_mutex_unlock(lock)
        }
        var lines: [String] {
            pthread_mutex_lock(lock)
            defer { pthread_mutex_unlock(lock) }
            return stored
        }
    }

    static func description(_ change: (inout MachineDescription) -> Void = { _ in }) -> MachineDescription {
        var description = MachineDescription()
        description.memory.host = 16 << 20
        description.virtualFunctions.total = 4
        description.virtualFunctions.enabled = 2
        description.virtualFunctions.disk.size = 1 << 20
        change(&description)
        return description
    }

    /// - Parameter former: one whose front-end has lost its back-end.
    init(
        _ description: MachineDescription = Rig.description(), pace: Machine.Pace = .max, replacing former: Rig? = nil,
        isPacked: Bool = false, prepare: (Machine) throws -> Void = { _ in }
    ) throws {
        machine = try Machine(description, pace: pace)
        try prepare(machine)
        folder = try TemporaryFolder()
        server = try VhostUserServer(machine, function: 1, path: folder.path("socket"), polling: 0) { [log] in log.add($0) }
        frontEnd = try former?.frontEnd ?? FrontEnd(memoryBytes: 4 << 20)
        // A new one empties the queue.
        if let former {
            driver = former.driver
        } else if isPacked {
            driver = PackedMockDriver(memory: frontEnd.memory, size: Self.packedSize, usesEventIndex: true)
        } else {
            driver = MockDriver(memory: frontEnd.memory, size: Self.queueSize, usesEventIndex: true)
        }
        machine.start()
        server.start()
    }

    deinit {
        server.stop()
        machine.stop()
    }

    /// Connects and starts the queue.
    /// - Parameter base: where the device begins; without one at the queue's beginning.
    func begin(keepsInflight: Bool = false, base: UInt32? = nil) throws {
        let isPacked = driver is PackedMockDriver
        try frontEnd.connect(to: path)
        try frontEnd.begin(
            isPacked ? Self.features.union(.packedRing) : Self.features, queues: 1, queueSize: driver.layout.size,
            keepsInflight: keepsInflight)
        // The wrap counters of both positions are one.
        try frontEnd.start(queue: 0, driver.layout, base: base ?? (isPacked ? 0x8000_8000 : 0))
    }

    /// Another front-end, whose driver has an empty split queue, takes the place of one that is gone.
    func exchangeFrontEnd() throws {
        frontEnd = try FrontEnd(memoryBytes: 4 << 20)
        driver = MockDriver(memory: frontEnd.memory, size: Self.queueSize, usesEventIndex: true)
    }

    // MARK: Requests

    func buffer(_ tag: Int) -> UInt64 { driver.buffers + UInt64(tag) * 8192 }

    /// Makes a request of 512 bytes available.
    @discardableResult
    func submit(write: Bool, sector: UInt64, tag: Int, _ bytes: [UInt8] = []) -> UInt16? {
        let memory = frontEnd.memory, header = buffer(tag)
        memory.store(UInt32(write ? 1 : 0), at: header)
        memory.store(sector, at: header + 8)
        memory.store(UInt8(0xff), at: header + 16)
        if write { memory[header + 4096, 512] = bytes }
        return driver.submit([
            Segment(address: header, length: 16, isWritable: false), Segment(address: header + 4096, length: 512, isWritable: !write),
            Segment(address: header + 16, length: 1, isWritable: true),
        ])
    }

    func status(_ tag: Int) -> UInt8 { frontEnd.memory.load(buffer(tag) + 16, as: UInt8.self) }

    /// Kicks and waits until so many requests have come back.
    func finish(_ count: Int) throws {
        frontEnd.kick(queue: 0)
        var done = 0
        while true {
            while driver.reap() != nil { done += 1 }
            guard done < count else { break }
            driver.wantInterruptForNext()
            // What came before that was written needs no interrupt.
            if driver.reap() != nil {
                done += 1
                continue
            }
            try #require(frontEnd.waitForCall(queue: 0, milliseconds: Self.patience), "\(done) of \(count) requests came back")
        }
        #expect(done == count)
    }

    /// What ``check(sector:seed:)`` writes.
    static func pattern(seed: UInt8) -> [UInt8] { (0..<512).map { UInt8(truncatingIfNeeded: $0) &* 7 &+ seed } }

    func read(sector: UInt64) throws -> [UInt8] {
        submit(write: false, sector: sector, tag: 1)
        try finish(1)
        #expect(status(1) == 0)
        return frontEnd.memory[buffer(1) + 4096, 512]
    }

    /// Writes a sector and reads it back.
    func check(sector: UInt64, seed: UInt8) throws {
        submit(write: true, sector: sector, tag: 0, Self.pattern(seed: seed))
        try finish(1)
        #expect(status(0) == 0)
        #expect(try read(sector: sector) == Self.pattern(seed: seed))
    }

    /// Waits until the back-end has ended the connection, and says why.
    func ended() throws -> String {
        let end = try frontEnd.reply()
        #expect(end == nil)
        return try #require(log.lines.last)
    }
}

/// How many descriptors of this process are of a file, or of sockets at a path. Other tests open theirs meanwhile.
func openDescriptors(of file: CInt, socketsAt path: String) -> Int {
    guard let folder = opendir("/proc/self/fd") else { return -1 }
    defer { closedir(folder) }
    var wanted = stat(), descriptors: [CInt] = []
    fstat(file, &wanted)
    while let entry = readdir(folder) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if let descriptor = CInt(name) { descriptors.append(descriptor) }
    }
    return descriptors.count { descriptor in
        var found = stat()
        guard fstat(descriptor, &found) == 0 else { return false }
        if found.st_mode & S_IFMT != S_IFSOCK { return (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) }
        var address = sockaddr_un(), size = socklen_t(MemoryLayout<sockaddr_un>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
        }
        guard status == 0, address.sun_family == AF_UNIX, size > 2 else { return false }
        return withUnsafeBytes(of: &address.sun_path) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } == path
    }
}
