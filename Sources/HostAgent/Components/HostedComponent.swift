import AdminProtocol
import Glibc

/// The medium behind a disk, as far as a host that serves the disk needs it.
public protocol HostedMedium {
    func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(AgentError)
    func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(AgentError)
    func flush() throws(AgentError)
}

/// A medium as the mounted tree shows it: `dev/outrigger/<bdf>/media/fnN`.
public struct MediumFile: HostedMedium {
    private let file: File

    public init(_ path: String) throws(AgentError) { file = try File(path, O_RDWR) }

    public func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(AgentError) {
        try file.read(into: bytes, at: Int(position))
    }
    public func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(AgentError) {
        try file.write(bytes, at: Int(position))
    }
    public func flush() throws(AgentError) {
        guard fsync(file.descriptor) == 0 else { throw .system("fsync", file.path) }
    }
}

/// A virtio block device (virtio 1.2, 5.2) that this process serves in the driver's memory.
///
/// It serves reads, writes and flushes, one at a time. For everything else, and for a driver that breaks the rules, the component goes
/// back to the device: there is one place that knows what to do then.
struct HostedComponent {
    /// The component has to go back to the device.
    struct GoesBack: Error {}

    private static let headerBytes = 16
    /// VIRTIO_BLK_F_FLUSH.
    private static let flushFeature: UInt64 = 1 << 9
    /// Bytes that move in one piece between medium and buffers.
    private static let pieceBytes = 128 << 10

    let image: [UInt8]
    private var queues: [HostedQueue?]
    private let memory: DMAMemory
    private let medium: any HostedMedium
    private let sectors: UInt64
    /// Flushes were agreed on.
    private let hasFlush: Bool
    /// Memory of a piece, for as long as the component is here.
    private final class Scratch {
        let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: HostedComponent.pieceBytes, alignment: 16)
        deinit { bytes.deallocate() }
    }
    private let scratch = Scratch()
    private var piece: UnsafeMutableRawBufferPointer { scratch.bytes }

    /// The dry run: checks everything that serving needs. Nothing of the driver's is touched.
    /// - Throws: ``ComponentImage/Defect`` or ``AgentError``.
    init(image bytes: [UInt8], memory: DMAMemory, medium: any HostedMedium) throws {
        image = bytes
        self.memory = memory
        self.medium = medium
        (queues, sectors, hasFlush) = try Self.with(bytes) { image in
            if let defect = image.defect { throw defect }
            guard image.type == 2 else { throw ComponentImage.Defect.type }
            let queues = try (0..<image.queues).map { index in
                image.queue(index).isEnabled ? try HostedQueue(index, of: image, memory: memory) : nil
            }
            return (
                queues, UInt64(image.configurationWord(0)) | UInt64(image.configurationWord(1)) << 32,
                image.features & Self.flushFeature != 0)
        }
    }

    private static func with<Result>(_ bytes: [UInt8], _ body: (ComponentImage) throws -> Result) rethrows -> Result {
        var copy = bytes
        return try copy.withUnsafeMutableBytes { try body(ComponentImage($0)) }
    }

    /// Serves up to `limit` requests.
    /// - Parameters:
    ///   - willAct: is called between taking a request's effect on the medium and telling the driver of it, and before interrupts.
    ///   - interrupt: sends the driver the interrupt of a queue.
    /// - Returns: whether there may be more.
    /// - Throws: ``GoesBack``, with the requests answered so far in the used rings.
    mutating func serve(limit: Int, willAct: () throws -> Void, interrupt: (Int) throws -> Void) throws -> Bool {
        var isMore = false
        for index in queues.indices where queues[index] != nil {
            var done = 0
            repeat {
                while done < limit, let head = try queues[index]!.next() {
                    try answer(head, queue: index, willAct: willAct)
                    done += 1
                }
                guard done < limit else { break }
            } while try queues[index]!.enableNotifications()
            if done == limit { isMore = true }
            if try queues[index]!.takeInterrupt() {
                try willAct()
                try interrupt(index)
            }
        }
        return isMore
    }

    /// The interrupts of all queues, since their driver may have missed one while nobody served the component.
    func interruptAll(_ interrupt: (Int) throws -> Void) throws {
        for index in queues.indices where queues[index] != nil { try interrupt(index) }
    }

    private mutating func answer(_ head: UInt16, queue index: Int, willAct: () throws -> Void) throws {
        let segments: [HostedQueue.Segment]
        do {
            segments = try queues[index]!.chain(head)
        } catch is HostedQueue.Broken {
            throw GoesBack()
        }
        let readable = segments.prefix { !$0.isWritable }, writable = segments.dropFirst(readable.count)
        let sent = readable.reduce(0) { $0 + $1.count }, room = writable.reduce(0) { $0 + $1.count }
        guard sent >= Self.headerBytes, room >= 1 else { throw GoesBack() }
        try copy(Self.headerBytes, from: 0, of: readable, isWrite: false)
        let type = UInt32(littleEndian: piece.load(as: UInt32.self))
        let sector = UInt64(littleEndian: piece.load(fromByteOffset: 8, as: UInt64.self))
        var status: UInt8 = 0
        var written = 0
        switch type {
        case 0:
            if isOnMedium(sector, room - 1) {
                try move(room - 1, sector: sector, writable, from: 0, isWrite: false)
                written = room
            } else {
                (status, written) = (1, room == 1 ? 1 : 0)
            }
        case 1:
            if isOnMedium(sector, sent - Self.headerBytes) {
                try move(sent - Self.headerBytes, sector: sector, readable, from: Self.headerBytes, isWrite: true)
            } else {
                status = 1
            }
            written = room == 1 ? 1 : 0
        case 4 where hasFlush:
            try onMedium { () throws(AgentError) in try medium.flush() }
            written = room == 1 ? 1 : 0
        default: throw GoesBack()
        }
        try willAct()
        piece[0] = status
        try copy(1, from: room - 1, of: writable, isWrite: true)
        try queues[index]!.answer(head, written: UInt32(clamping: written))
    }

    private func isOnMedium(_ sector: UInt64, _ bytes: Int) -> Bool {
        bytes % 512 == 0 && sector <= sectors && UInt64(bytes / 512) <= sectors - sector
    }

    /// Moves whole sectors between the medium and the buffers from byte `start` on.
    private func move(
        _ bytes: Int, sector: UInt64, _ segments: ArraySlice<HostedQueue.Segment>, from start: Int, isWrite: Bool
    ) throws {
        var done = 0
        while done < bytes {
            let count = min(bytes - done, Self.pieceBytes), position = sector * 512 + UInt64(done)
            if isWrite {
                try copy(count, from: start + done, of: segments, isWrite: false)
                try onMedium { () throws(AgentError) in try writePiece(count, at: position) }
            } else {
                try onMedium { () throws(AgentError) in try readPiece(count, at: position) }
                try copy(count, from: start + done, of: segments, isWrite: true)
            }
            done += count
        }
    }

    /// What the medium refuses is for the device to answer, which knows why.
    private func onMedium(_ body: () throws(AgentError) -> Void) throws(GoesBack) {
        do throws(AgentError) { try body() } catch { throw GoesBack() }
    }

    private func writePiece(_ count: Int, at position: UInt64) throws(AgentError) {
        try medium.write(position, from: UnsafeRawBufferPointer(rebasing: piece[..<count]))
    }

    private func readPiece(_ count: Int, at position: UInt64) throws(AgentError) {
        try medium.read(position, into: UnsafeMutableRawBufferPointer(rebasing: piece[..<count]))
    }

    /// Copies between the scratch memory and bytes from `start` on of some buffers.
    private func copy(
        _ bytes: Int, from start: Int, of segments: ArraySlice<HostedQueue.Segment>, isWrite: Bool
    ) throws(AgentError) {
        var skip = start, done = 0
        for segment in segments where done < bytes {
            guard skip < segment.count else {
                skip -= segment.count
                continue
            }
            let count = min(segment.count - skip, bytes - done)
            let part = UnsafeMutableRawBufferPointer(rebasing: piece[done..<done + count])
            if isWrite {
                try memory.window.write(UnsafeRawBufferPointer(part), at: segment.offset + skip)
            } else {
                try memory.window.read(into: part, at: segment.offset + skip)
            }
            done += count
            skip = 0
        }
    }

    /// The component's image as it stands, for the device.
    func writeImage(generation: UInt16) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: ComponentImage.byteLimit)
        let count = Self.with(image) { old in
            bytes.withUnsafeMutableBytes { buffer in
                let new = ComponentImage(buffer)
                new.begin(type: old.type, owner: old.owner, generation: generation, queues: old.queues, features: old.features)
                for word in 0..<ComponentImage.configurationBytes / 4 { new.setConfigurationWord(word, old.configurationWord(word)) }
                for index in 0..<old.queues {
                    let queue = queues[index]
                    new.setQueue(index, queue?.context ?? old.queue(index))
                    for head in queue?.heads ?? [] { _ = new.addHead(head, toQueue: index) }
                }
                new.grant = old.grant
                new.seal()
                return new.byteCount
            }
        }
        return Array(bytes[..<count])
    }
}
