import Interconnect
import Simulation

/// Reads the entries of a journal in their order. A copy goes on by itself from where it was made.
struct JournalCursor {
    private var journal: JournalFile
    private let firmware: RecordedFirmware
    /// The chunk after the one that is being read.
    private var nextChunk = 0
    private var decoder: JournalDecoder
    private var last = JournalBase()
    private var awaitsOutcome = false

    init(_ journal: JournalFile, _ firmware: RecordedFirmware) {
        self.journal = journal
        self.firmware = firmware
        decoder = JournalDecoder([], source: journal.path)
    }

    /// Goes on in the same journal as it is now, longer: another cursor's.
    mutating func follow(_ other: JournalCursor) { journal = other.journal }

    /// The next entry; nil at the end.
    mutating func next() throws(RecordingError) -> JournalEntry? {
        while decoder.isAtEnd {
            guard nextChunk < journal.chunks.count else {
                // The writer of a recording that was cut may have been killed between an input and its outcome.
                return nil
            }
            decoder = JournalDecoder(try journal.payload(nextChunk), source: "\(journal.path): chunk \(nextChunk)")
            let base = journal.chunks[nextChunk].base
            if nextChunk == 0 { last = base }
            guard base.position.round == last.position.round, base.position.cycle == last.position.cycle,
                base.position.inputs == last.position.inputs, base.operations == last.operations
            else { throw decoder.error("expected a chunk from \(last.position) on, found one from \(base.position) on") }
            nextChunk += 1
        }
        let first = try decoder.byte()
        let code = first >> 4
        guard let tag = JournalLayout.Tag(rawValue: first & 0xf) else { throw decoder.error("expected an entry, found tag \(first & 0xf)") }
        guard awaitsOutcome || tag != .outcome, !awaitsOutcome || tag == .outcome || tag == .change else {
            throw decoder.error("expected \(awaitsOutcome ? "the outcome of an input" : "another entry"), found \(tag)")
        }
        switch tag {
        case .input:
            let position = try readPosition(code)
            last.position.inputs &+= 1
            awaitsOutcome = true
            return .input(try HostInput(from: &decoder, firmware: firmware), at: position)
        case .outcome:
            awaitsOutcome = false
            return .outcome(try RecordedOutcome(code: code, from: &decoder))
        case .change: return .change(try readChange(code))
        case .digest: return .digest(try readDigest(code))
        case .end: return .end(try readDigest(code))
        }
    }

    private mutating func readPosition(_ code: UInt8) throws(RecordingError) -> Position {
        guard code <= 1 else { throw decoder.error("expected a position within a round or between rounds, found \(code)") }
        var position = last.position
        position.round = try decoder.grown(position.round, "round")
        position.cycle = try decoder.grown(position.cycle, "cycle")
        (position.hart, position.time) = (Position.between, 0)
        if code == 1 {
            position.hart = try decoder.byte()
            position.time = try decoder.number()
        }
        guard position >= last.position else { throw decoder.error("expected \(last.position) or later, found \(position)") }
        guard max(position.cycle, position.time) <= StateArchive.lastCycle else {
            throw decoder.error("expected a cycle up to \(StateArchive.lastCycle), found \(position)")
        }
        last.position = position
        return position
    }

    private mutating func readChange(_ code: UInt8) throws(RecordingError) -> ExternalChange {
        last.operations = try decoder.grown(last.operations, "operation")
        let number = try decoder.number()
        guard let raw = UInt32(exactly: number) else { throw decoder.error("region: expected one below 2^32, found \(number)") }
        let region = ExternalMemory.Region(rawValue: raw)
        var change = ExternalChange(operation: last.operations, region: region, offset: 0, bytes: [])
        if code == 1 {
            change.failure = Int32(truncatingIfNeeded: try decoder.number())
        } else {
            change.offset = try decoder.number()
            change.bytes = try decoder.data()
            guard code == 0, !change.bytes.isEmpty else { throw decoder.error("expected the bytes that a read found, found none") }
        }
        return change
    }

    private mutating func readDigest(_ code: UInt8) throws(RecordingError) -> RecordedDigest {
        let position = try readPosition(code)
        last.operations = try decoder.grown(last.operations, "operation")
        var digest = RecordedDigest(position: position, operations: last.operations, state: try decoder.fixed(UInt64.self))
        if try decoder.flag() { digest.trace = try decoder.fixed(UInt64.self) }
        return digest
    }
}
