import Glibc
import Interconnect
import Simulation

/// What a journal says before its entries.
struct RecordingHeader: Equatable {
    /// Of the device's registers: ``Recording/registers``.
    var registers: UInt64
    /// The machine; disks in files appear as disks of their size in memory.
    var machine: String
    /// The functions, by PCI index, whose disks are files.
    var externalDisks: [UInt16]
    /// The recording begins at the snapshot in the file ``JournalLayout/originName``, not at power-on.
    var hasOrigin: Bool
    /// A trace begins with the recording; its hash is in the closing record.
    var hashesTrace: Bool

    /// Magic, version, header and its checksum.
    var bytes: [UInt8] {
        var archive = StateArchive()
        var header = self
        do throws(SnapshotError) {
            try header.archive(&archive)
        } catch {
            preconditionFailure("saving refuses nothing: \(error)")
        }
        var encoder = JournalEncoder()
        for byte in JournalLayout.magic { encoder.byte(byte) }
        encoder.fixed(JournalLayout.version)
        encoder.fixed(UInt32(archive.bytes.count))
        for byte in archive.bytes { encoder.byte(byte) }
        encoder.fixed(CRC32C.of(encoder.bytes))
        return encoder.bytes
    }

    private mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("recording") { (archive, _) throws(SnapshotError) in
            try archive.integer(&registers)
            try archive.string(&machine, limit: JournalLayout.longestHeader)
            try archive.array(&externalDisks, limit: 256, blank: 0) { (archive, value) throws(SnapshotError) in
                try archive.integer(&value)
            }
            try archive.flag(&hasOrigin)
            try archive.flag(&hashesTrace)
        }
    }

    init(registers: UInt64, machine: String, externalDisks: [UInt16], hasOrigin: Bool, hashesTrace: Bool) {
        self.registers = registers
        self.machine = machine
        self.externalDisks = externalDisks
        self.hasOrigin = hasOrigin
        self.hashesTrace = hashesTrace
    }

    init(archived bytes: [UInt8], path: String) throws(RecordingError) {
        self.init(registers: 0, machine: "", externalDisks: [], hasOrigin: false, hashesTrace: false)
        var archive = StateArchive(loading: bytes)
        do throws(SnapshotError) {
            try self.archive(&archive)
            try archive.finish()
        } catch {
            throw RecordingError("\(path): \(error)")
        }
    }
}

/// The device's state at a place of a recording.
struct RecordedDigest: Equatable {
    var position: Position
    /// Of the ``ExternalMemory``.
    var operations: UInt64
    /// ``Device/stateHash``.
    var state: UInt64
    /// The hash over all events, in the closing record of a recording with a trace.
    var trace: UInt64?
}

/// One thing that a journal tells.
enum JournalEntry: Equatable {
    case input(HostInput, at: Position)
    /// Of the input before.
    case outcome(RecordedOutcome)
    case change(ExternalChange)
    case digest(RecordedDigest)
    /// Nothing follows.
    case end(RecordedDigest)
}

/// A recorded run: docs/replay.md.
///
/// All of the journal is checked when it is opened. A recording that lacks its end, because the emulator was killed, is a recording up to
/// its last whole chunk; ``cut`` says so.
public final class Recording {
    public let folder: String
    /// The machine; disks that are files of the user's have their sizes alone.
    public let machine: MachineDescription
    /// Why the recording ends without a closing record; nil if it has one.
    public let cut: String?
    /// From where its inputs are counted.
    var start: JournalBase { journal.chunks.first?.base ?? JournalBase() }
    /// Where it ends: where the machine was when the recording was closed, or the last place that is known.
    public let end: Position
    /// The recorded device had other registers than this program's: a replay may well part from the recording.
    public let hasOtherRegisters: Bool
    /// Bytes of the journal that are part of the recording.
    public var byteCount: Int { journal.byteCount }
    /// The hash over all events; nil if there was no trace from the beginning on, or if the recording was cut.
    public var traceHash: UInt64? { closing?.trace }

    /// The functions, by PCI index, whose disks were files of the user's.
    let externalDisks: [Int]
    /// Where it begins, if not at power-on.
    let origin: Snapshot?
    let closing: RecordedDigest?
    private let journal: JournalFile
    private let firmware: RecordedFirmware

    /// Opens a recording.
    /// - Parameter firmware: is loaded wherever the recorded machine loaded firmware; nil: what that loaded.
    public init(folder: String, firmware: [UInt8]? = nil) throws(RecordingError) {
        self.folder = folder
        let path = "\(folder)/\(JournalLayout.journalName)"
        journal = try JournalFile(path: path)
        self.firmware = RecordedFirmware(folder: folder, substitute: firmware)
        let header = journal.header
        hasOtherRegisters = header.registers != Self.registers
        do throws(DescriptionError) {
            var description = try MachineDescription(yaml: header.machine, file: path)
            description.findCaptures(in: folder)
            machine = description
        } catch {
            throw RecordingError("\(error)")
        }
        externalDisks = header.externalDisks.map { Int($0) }
        do throws(SnapshotError) {
            origin = header.hasOrigin ? try Snapshot(contentsOf: "\(folder)/\(JournalLayout.originName)") : nil
        } catch {
            throw RecordingError("\(error)")
        }
        var cursor = JournalCursor(journal, self.firmware)
        var closing: RecordedDigest?, last = journal.chunks.first?.base.position ?? .start
        // Every entry once, so that a replay doesn't meet a mistake half way.
        while let entry = try cursor.next() {
            guard closing == nil else { throw RecordingError("\(path): expected nothing after the closing record, found \(entry)") }
            switch entry {
            case .input(_, let position): last = position
            case .digest(let digest): last = digest.position
            case .end(let digest): (closing, last) = (digest, digest.position)
            case .outcome, .change: break
            }
        }
        self.closing = closing
        end = last
        cut = journal.cut ?? (closing == nil ? "\(path): expected a closing record, found the end of the file" : nil)
    }

    /// Whether it begins at power-on, not with a snapshot.
    public var beginsAtPowerOn: Bool { origin == nil }

    /// Whether a folder looks like a recording's.
    public static func isRecording(_ folder: String) -> Bool { access("\(folder)/\(JournalLayout.journalName)", F_OK) == 0 }

    /// The firmware images that were loaded, in the order of their first loading.
    public var firmwarePaths: [String] {
        var paths: [String] = []
        while case let path = "\(folder)/\(JournalLayout.firmwareName(paths.count))", access(path, F_OK) == 0 { paths.append(path) }
        return paths
    }

    /// Reads the entries from the first on.
    func entries() -> JournalCursor { JournalCursor(journal, firmware) }

    /// What a machine's registers are called and where they are.
    static let registers: UInt64 = {
        var hash = FNV1a()
        for block in DeviceBus.allCases.flatMap(\.map.blocks) {
            hash.add(block.name)
            hash.add(block.base)
            for register in block.map.registers {
                hash.add(register.name)
                hash.add(register.offset)
                hash.add(UInt64(register.count) << 8 | UInt64(register.width))
            }
        }
        return hash.value
    }()
}

extension MachineDescription {
    /// Turns the names of a recording's capture files into paths.
    fileprivate mutating func findCaptures(in folder: String) {
        func find(_ network: inout Network) {
            guard case .capture(let name?, _) = network.backend else { return }
            // Whatever it says, nothing outside of the recording.
            network.backend = .capture(input: "\(folder)/\(name.split(separator: "/").last ?? "")", output: nil)
        }
        find(&virtualFunctions.network)
        for number in virtualFunctions.networks.keys.sorted() { find(&virtualFunctions.networks[number]!) }
        for place in physicalFunctions.indices { find(&physicalFunctions[place].settings.network) }
    }
}
