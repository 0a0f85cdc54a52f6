import Glibc
import Interconnect
import Simulation

/// Writes down what comes from outside while a recording runs.
///
/// Inputs gather in a chunk, which is written when it is full or ``flush()`` is called, as ``JournalFlusher`` does: a recording
/// whose writer was killed ends with its last chunk. A recording that can't be written ends with ``failure`` set: the device goes on.
final class JournalWriter: ExternalChangeSink {
    let folder: String
    /// Why nothing is written any more, nil while all is well.
    private(set) var failure: RecordingError?
    /// Is told when a chunk has its first entry.
    var onBegin: () -> Void = {}
    /// The device cycle from which on a digest is due.
    private(set) var nextDigest: Cycle = 0

    /// Device cycles between digests.
    private static let digestInterval: Cycle = 1 << 20

    private let file: Int32
    private var encoder = JournalEncoder()
    private var sequence: UInt64 = 0
    /// Where the open chunk begins, and where the next entry is counted from.
    private var start: JournalBase
    private var last: JournalBase
    /// The input whose outcome is awaited.
    private var input: (input: HostInput, cycle: Cycle)?
    /// Images that are stored, with their numbers.
    private var firmware: [[UInt8]] = []

    /// Begins a recording. The folder is made, an earlier recording in it is replaced.
    init(folder: String, _ header: RecordingHeader, from base: JournalBase) throws(RecordingError) {
        self.folder = folder
        start = base
        last = base
        guard mkdir(folder, 0o777) == 0 || errno == EEXIST else { throw Self.system("mkdir", folder) }
        var number = 0
        while unlink("\(folder)/\(JournalLayout.firmwareName(number))") == 0 { number += 1 }
        let path = "\(folder)/\(JournalLayout.journalName)"
        file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.system("open", path) }
        if let failure = Self.write(header.bytes, to: file, path) { throw failure }
    }

    deinit { close(file) }

    // MARK: Entries

    /// An input is about to be applied.
    func begin(_ input: HostInput, at position: Position) {
        guard failure == nil else { return }
        begin(.input, at: position)
        input.encode(to: &encoder) { store($0) }
        last.position.inputs &+= 1
        self.input = (input, position.cycle)
    }

    /// It has been applied.
    func end(_ outcome: HostOutcome) {
        guard failure == nil, let input else { return }
        self.input = nil
        RecordedOutcome(outcome, of: input.input, at: input.cycle).encode(to: &encoder)
        if encoder.bytes.count >= JournalLayout.Chunk.capacity { flush() }
    }

    func changed(_ change: ExternalChange) {
        guard failure == nil else { return }
        if encoder.bytes.isEmpty { onBegin() }
        encoder.byte(JournalLayout.Tag.change.rawValue | (change.failure == nil ? 0 : 1 << 4))
        encoder.number(change.operation &- last.operations)
        last.operations = change.operation
        encoder.number(UInt64(change.region.rawValue))
        if let failure = change.failure {
            encoder.number(UInt64(UInt32(bitPattern: failure)))
        } else {
            encoder.number(change.offset)
            encoder.data(change.bytes)
        }
        // Not in the middle of an input, whose outcome a reader wants in the same chunk.
        if input == nil, encoder.bytes.count >= JournalLayout.Chunk.capacity { flush() }
    }

    /// The device's state at the end of a round.
    func digest(_ digest: RecordedDigest) {
        guard failure == nil else { return }
        nextDigest = (digest.position.cycle / Self.digestInterval &+ 1) &* Self.digestInterval
        append(.digest, digest)
        if encoder.bytes.count >= JournalLayout.Chunk.capacity { flush() }
    }

    /// The recording ends here.
    func finish(_ digest: RecordedDigest) {
        guard failure == nil else { return }
        append(.end, digest)
        flush()
    }

    private func append(_ tag: JournalLayout.Tag, _ digest: RecordedDigest) {
        begin(tag, at: digest.position)
        encoder.number(digest.operations &- last.operations)
        last.operations = digest.operations
        encoder.fixed(digest.state)
        encoder.byte(digest.trace == nil ? 0 : 1)
        if let trace = digest.trace { encoder.fixed(trace) }
    }

    /// An entry with a position.
    private func begin(_ tag: JournalLayout.Tag, at position: Position) {
        if encoder.bytes.isEmpty { onBegin() }
        let inTurn = !position.isBetweenRounds
        encoder.byte(tag.rawValue | (inTurn ? 1 << 4 : 0))
        encoder.number(position.round &- last.position.round)
        encoder.number(position.cycle &- last.position.cycle)
        if inTurn {
            encoder.byte(position.hart)
            encoder.number(position.time)
        }
        last.position = position
    }

    // MARK: Files

    /// Writes what there is, so that a reader sees all up to here.
    func flush() {
        guard failure == nil, !encoder.bytes.isEmpty else { return }
        typealias Chunk = JournalLayout.Chunk
        var head = JournalEncoder()
        head.fixed(Chunk.magic)
        head.fixed(UInt32(truncatingIfNeeded: encoder.bytes.count))
        for value in [sequence, start.position.round, start.position.cycle, start.position.inputs, start.operations] { head.fixed(value) }
        head.fixed(CRC32C.of(encoder.bytes))
        head.fixed(CRC32C.of(head.bytes))
        // One call: what a killed writer leaves ends with a whole chunk, or with a piece of one.
        failure = Self.write(head.bytes + encoder.bytes, to: file, "\(folder)/\(JournalLayout.journalName)")
        sequence += 1
        start = last
        encoder.removeAll()
    }

    /// Keeps a firmware image; its number.
    private func store(_ elf: [UInt8]) -> Int {
        if let known = firmware.firstIndex(of: elf) { return known }
        firmware.append(elf)
        let path = "\(folder)/\(JournalLayout.firmwareName(firmware.count - 1))"
        let file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        if file < 0 {
            failure = Self.system("open", path)
        } else {
            failure = Self.write(elf, to: file, path)
            close(file)
        }
        return firmware.count - 1
    }

    /// Keeps a copy of a file that the device reads.
    static func copy(_ path: String, to target: String) throws(RecordingError) {
        let source = try JournalDescriptor(path: path)
        let file = open(target, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw system("open", target) }
        defer { close(file) }
        if let failure = write(try source.read(0..<source.count), to: file, target) { throw failure }
    }

    private static func write(_ bytes: [UInt8], to file: Int32, _ path: String) -> RecordingError? {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(file, $0.baseAddress! + done, $0.count - done) }
            if count > 0 {
                done += count
            } else if errno != EINTR {
                return system("write", path)
            }
        }
        return nil
    }

    private static func system(_ call: String, _ path: String) -> RecordingError {
        RecordingError("\(path): \(call): \(String(cString: strerror(errno)))")
    }
}
