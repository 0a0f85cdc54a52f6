#if !hasFeature(Embedded)
import AdminProtocol

/// Computes recorded decisions again, with the code that has made them, and compares every bit.
///
/// A record has all that its decision depends on but the programs of uploaded policies, which are records of their own.
public struct DecisionVerifier {
    /// Records that aren't as they were written, or that come out otherwise, with what is wrong.
    public private(set) var differences: [DecisionReader.Damage] = []
    /// Decisions that were read whole, and those that came out the same.
    public private(set) var decisions = 0
    public private(set) var verified = 0
    /// Records that aren't in the log, between such as are.
    public private(set) var missing: UInt64 = 0
    /// Decisions that can't be computed since a program isn't in the log before them, and the number of the first that can.
    public private(set) var unverifiable = 0
    public private(set) var firstVerifiable: UInt32?
    private var programs: [Identity: [UInt32]] = [:]
    private var last: UInt32?

    /// As much as an engine needs.
    private static let memoryBytes = 768 * 1024

    private struct Identity: Hashable {
        var count: UInt32, checksum: UInt32
    }

    public init() {}

    /// Takes in words from a record's beginning to the end of one, one piece of a log after the other.
    public mutating func verify(_ words: [UInt32]) {
        for entry in DecisionReader.entries(words) {
            switch entry {
            case .damage(let damage):
                differences.append(damage)
                note(damage.number)
            case .record(let record):
                note(record.start.number)
                verify(record)
            }
        }
    }

    /// Numbers that are smaller than the one before are those of a firmware that has started anew.
    private mutating func note(_ number: UInt32) {
        if let last, Int32(bitPattern: number &- last) > 0 { missing += UInt64(number &- last &- 1) }
        last = number
    }

    private mutating func verify(_ record: DecisionReader.Record) {
        do throws(DecisionReader.Damage) {
            switch record.kind {
            case .program: try keep(record)
            case .decision, .makingRoom:
                decisions += 1
                guard try compare(record) else {
                    unverifiable += 1
                    return
                }
                verified += 1
                firstVerifiable = firstVerifiable ?? record.start.number
            case nil: throw damage(record, "start: kind: a decision or a program expected, \(record.start.kind) found")
            }
        } catch {
            differences.append(error)
        }
    }

    private func damage(_ record: DecisionReader.Record, _ description: String) -> DecisionReader.Damage {
        DecisionReader.Damage(number: record.start.number, description: description)
    }

    private mutating func keep(_ record: DecisionReader.Record) throws(DecisionReader.Damage) {
        guard let head = record.sections.first, head.kind == .program, head.words.count == 2 else {
            throw damage(record, "a program expected")
        }
        let words = record.sections.dropFirst().filter { $0.kind == .instructions }.flatMap(\.words)
        var checksum = Checksum()
        for byte in Self.bytes(words) { checksum.add(byte) }
        guard words.count == 2 * Int(head.words[0]), checksum.value == head.words[1] else {
            throw damage(record, "program: checksum 0x\(DecisionReader.hex(head.words[1])) of \(head.words[0]) instructions expected, "
                + "0x\(DecisionReader.hex(checksum.value)) of \(words.count / 2) found")
        }
        programs[Identity(count: head.words[0], checksum: head.words[1])] = words
    }

    private static func bytes(_ words: [UInt32]) -> [UInt8] {
        words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } }
    }

    /// - Returns: false if a program isn't there.
    private func compare(_ record: DecisionReader.Record) throws(DecisionReader.Damage) -> Bool {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: Self.memoryBytes, alignment: 8)
        defer { memory.deallocate() }
        var arena = Arena(memory)
        var engine = PolicyEngine(in: &arena)
        let makingRoom = record.kind == .makingRoom
        guard try install(record, into: &engine) else { return false }
        for section in record.sections where !engine.restore(section.kind, section.index, section.words, everything: makingRoom) {
            throw damage(record, "\(section.name): values that make sense expected")
        }
        engine.decide(at: record.start.time, makingRoom: makingRoom)
        engine.log.seal(upTo: engine.log.end)
        let words = (0..<engine.log.end &- engine.log.latest).map { engine.log[engine.log.latest &+ $0] }
        guard case .record(let again)? = DecisionReader.entries(words).first else {
            throw damage(record, "a decision that can be recorded expected")
        }
        for (computed, recorded) in zip(again.sections, record.sections) {
            guard computed.kind == recorded.kind, computed.index == recorded.index, computed.words.count == recorded.words.count else {
                throw damage(record, "\(recorded.name): \(computed.name) of \(computed.words.count) words expected")
            }
            for place in recorded.words.indices where recorded.words[place] != computed.words[place] {
                let field = "\(recorded.name): \(recorded.kind.fieldName(recorded.index, place))"
                throw damage(record, "\(field): \(computed.words[place]) computed, \(recorded.words[place]) recorded")
            }
        }
        guard again.sections.count == record.sections.count else {
            throw damage(record, "\(again.sections.count) sections computed, \(record.sections.count) recorded")
        }
        return true
    }

    /// Gives an engine the programs that a decision names, the one that has replaced another last.
    private func install(_ record: DecisionReader.Record, into engine: inout PolicyEngine) throws(DecisionReader.Damage) -> Bool {
        var entries = record.sections.filter { $0.kind == .policy }.map { section in
            var entry = PolicyEntryFields()
            if section.words.count == PolicyEntryFields.fieldNames.count {
                section.words.withUnsafeBufferPointer { buffer in
                    var fields = SectionFields(restoring: buffer.baseAddress!)
                    entry.visit(&fields)
                }
            }
            return (number: UInt32(section.index), entry: entry)
        }.filter { $0.entry.count != 0 }
        entries.sort { $0.entry.countBefore == 0 && $1.entry.countBefore != 0 }
        for (number, entry) in entries {
            guard PolicyNumber.uploaded.contains(number) else {
                throw damage(record, "policy \(number): a policy of the firmware has no program")
            }
            if entry.countBefore != 0 {
                guard try install(entry.countBefore, entry.checksumBefore, entry, as: number, record, into: &engine) else { return false }
            }
            guard try install(entry.count, entry.checksum, entry, as: number, record, into: &engine) else { return false }
        }
        return true
    }

    private func install(
        _ count: UInt32, _ checksum: UInt32, _ entry: PolicyEntryFields, as number: UInt32, _ record: DecisionReader.Record,
        into engine: inout PolicyEngine
    ) throws(DecisionReader.Damage) -> Bool {
        guard let words = programs[Identity(count: count, checksum: checksum)] else { return false }
        var installation = PolicyInstallation()
        (installation.number, installation.count, installation.checksum) = (number, count &* 8, checksum)
        installation.name = entry.name
        _ = engine.expects(0)
        for byte in Self.bytes(words) { engine.upload(byte) }
        guard engine.install(installation) == nil else { throw damage(record, "policy \(number): a program that is valid expected") }
        return true
    }
}
#endif
