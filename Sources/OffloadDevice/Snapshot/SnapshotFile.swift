import Peripherals
import Simulation
import Virtio

// The stored form of a snapshot: docs/snapshots.md, "Files". A header, then chunks, each with its own checksum; what is in a chunk is
// written by a StateArchive. A file may come from anybody: every number in it is checked before it is used.

extension Snapshot {
    private static let magic: StaticString = "OUTRSNAP"
    /// The version of the format that is written, and the latest that can be read.
    public static let formatVersion: UInt32 = 1
    /// Pages of memory in one chunk at most.
    private static let longestRun = 256
    /// Bytes of all disks together, so that a file that lies about them costs no more than their tables.
    private static let mostDiskBytes: UInt64 = 1 << 44

    /// What a chunk holds.
    private enum Kind: UInt32 {
        /// The machine description, as YAML.
        case machine = 1
        /// Device time and what the models have archived.
        case models = 2
        /// A run of pages of a memory, by ``Device/memorySizes(_:)``.
        case pages = 3
        /// A disk, by the ``Device/functions`` that are block devices.
        case disk = 4
        /// A run of the bytes of a disk that came before.
        case sectors = 5
        /// Nothing; comes last.
        case end = 6
    }

    // MARK: Writing

    /// The snapshot as it is stored.
    public var bytes: [UInt8] {
        var writer = ChunkWriter(magic: Self.magic, version: Self.formatVersion)
        do throws(SnapshotError) {
            try writer.chunk(Kind.machine.rawValue) { (archive) throws(SnapshotError) in
                var yaml = Array(description.yaml.utf8)
                try archive.bytes(&yaml, limit: .max)
            }
            try writer.chunk(Kind.models.rawValue) { (archive) throws(SnapshotError) in
                var (cycle, models) = (cycle, models)
                try archive.cycle(&cycle)
                try archive.bytes(&models, limit: .max)
            }
            for (number, memory) in memories.enumerated() { try encode(memory, number, to: &writer) }
            for (number, disk) in disks.enumerated() { try encode(disk, number, to: &writer) }
            try writer.chunk(Kind.end.rawValue) { (_) throws(SnapshotError) in }
        } catch {
            preconditionFailure("saving refuses nothing: \(error)")
        }
        return writer.bytes
    }

    private func encode(_ memory: MemoryImage, _ number: Int, to writer: inout ChunkWriter) throws(SnapshotError) {
        try memory.forEachRun(longest: Self.longestRun) { (first, pages) throws(SnapshotError) in
            try writer.chunk(Kind.pages.rawValue) { (archive) throws(SnapshotError) in
                var (number, first) = (UInt32(number), UInt64(first))
                var bytes: [UInt8] = []
                bytes.reserveCapacity(pages.count * MemoryImage.pageSize)
                for page in pages { bytes.append(contentsOf: UnsafeRawBufferPointer(start: page, count: MemoryImage.pageSize)) }
                try archive.integer(&number)
                try archive.integer(&first)
                try archive.bytes(&bytes, limit: .max)
            }
        }
    }

    private func encode(_ disk: Disk, _ number: Int, to writer: inout ChunkWriter) throws(SnapshotError) {
        var number = UInt32(number)
        try writer.chunk(Kind.disk.rawValue) { (archive) throws(SnapshotError) in
            var (byteCount, hasContents) = (disk.byteCount, disk.contents != nil)
            try archive.integer(&number)
            try archive.integer(&byteCount)
            try archive.flag(&hasContents)
        }
        try disk.contents?.forEachRun(page: MemoryImage.pageSize) { (position, bytes) throws(SnapshotError) in
            try writer.chunk(Kind.sectors.rawValue) { (archive) throws(SnapshotError) in
                var (position, bytes) = (position, Array(bytes))
                try archive.integer(&number)
                try archive.integer(&position)
                try archive.bytes(&bytes, limit: .max)
            }
        }
    }

    // MARK: Reading

    /// Reads a snapshot from bytes that ``bytes`` gave, or that anybody made up.
    public init(bytes: [UInt8]) throws(SnapshotError) {
        var reader = try ChunkReader(bytes, magic: Self.magic, version: Self.formatVersion, what: "snapshot")
        let description = try Self.decodeMachine(try reader.next(Kind.machine.rawValue))
        var chunk = try reader.next(Kind.models.rawValue)
        var (cycle, models): (Cycle, [UInt8]) = (0, [])
        try chunk.cycle(&cycle)
        try chunk.bytes(&models, limit: .max)
        try chunk.finish()
        var memories = Device.memorySizes(description).map { MemoryImage(size: $0) }
        let media = Device.disks(description)
        var disks: [Disk] = []
        var hasEnded = false
        while !hasEnded {
            let (kind, archive) = try reader.next()
            chunk = archive
            switch Kind(rawValue: kind) {
            case .pages: try Self.decodePages(&chunk, into: &memories)
            case .disk: disks.append(try Self.decodeDisk(&chunk, disks.count, media))
            case .sectors: try Self.decodeSectors(&chunk, into: &disks)
            case .end: hasEnded = true
            case .machine, .models, nil: throw chunk.error("expected pages, a disk or the end, found a chunk of kind \(kind)")
            }
            try chunk.finish()
        }
        try reader.finish()
        guard disks.count == media.count else { throw chunk.error("expected \(media.count) disks, found \(disks.count)") }
        self.init(description: description, cycle: cycle, models: models, memories: memories, disks: disks)
    }

    private static func decodeMachine(_ chunk: consuming StateArchive) throws(SnapshotError) -> MachineDescription {
        var yaml: [UInt8] = []
        try chunk.bytes(&yaml, limit: 1 << 20)
        try chunk.finish()
        let description: MachineDescription
        do throws(DescriptionError) {
            description = try MachineDescription(yaml: String(decoding: yaml, as: UTF8.self), file: "snapshot")
        } catch {
            throw SnapshotError(error.description)
        }
        // Each disk in memory has a table of its pieces.
        let total = Device.disks(description).reduce(0 as UInt64) { $0 &+ ($1.size ?? 0) }
        guard total <= Self.mostDiskBytes else {
            throw SnapshotError("snapshot: expected disks of at most \(Self.mostDiskBytes) bytes together, found \(total)")
        }
        return description
    }

    private static func decodePages(_ chunk: inout StateArchive, into memories: inout [MemoryImage]) throws(SnapshotError) {
        var (number, first): (UInt32, UInt64) = (0, 0)
        var bytes: [UInt8] = []
        try chunk.integer(&number, in: 0...UInt32(memories.count - 1))
        let pages = UInt64(memories[Int(number)].pageCount)
        try chunk.integer(&first, in: 0...pages - 1)
        try chunk.bytes(&bytes, limit: Int(pages - first) * MemoryImage.pageSize)
        try chunk.require(bytes.count % MemoryImage.pageSize == 0, "expected whole pages, found \(bytes.count) bytes")
        memories[Int(number)].replace(Int(first), with: bytes)
    }

    private static func decodeDisk(
        _ chunk: inout StateArchive, _ expected: Int, _ media: [MachineDescription.Disk]
    ) throws(SnapshotError) -> Disk {
        var (number, byteCount, hasContents) = (UInt32(expected), 0 as UInt64, false)
        try chunk.integer(&number)
        try chunk.require(
            number == UInt32(expected) && expected < media.count, "expected disk \(expected) of \(media.count), found \(number)")
        try chunk.integer(&byteCount, in: 512...Self.mostDiskBytes)
        try chunk.flag(&hasContents)
        let size = media[expected].file == nil ? media[expected].size : nil
        try chunk.require(size ?? byteCount == byteCount, "expected a disk of \(size ?? 0) bytes, found \(byteCount)")
        try chunk.require(hasContents || size == nil, "expected a disk with contents, found one without")
        return Disk(byteCount: byteCount, contents: hasContents ? MemoryBackend.State(byteCount: byteCount) : nil)
    }

    private static func decodeSectors(_ chunk: inout StateArchive, into disks: inout [Disk]) throws(SnapshotError) {
        var (number, position): (UInt32, UInt64) = (0, 0)
        var bytes: [UInt8] = []
        try chunk.integer(&number)
        try chunk.integer(&position)
        try chunk.bytes(&bytes, limit: MemoryBackend.chunkBytes)
        let index = Int(number)
        guard index < disks.count, disks[index].contents != nil, disks[index].contents!.replace(position, with: bytes) else {
            throw chunk.error("expected bytes of a disk, found \(bytes.count) bytes at \(position) of disk \(number)")
        }
    }
}
