#if !hasFeature(Embedded)
import AdminProtocol

/// Takes the words of a log apart, and finds what is damaged.
public enum DecisionReader {
    /// A section with its checksum right.
    public struct Section: Equatable, Sendable {
        public let kind: DecisionSection
        public let index: Int
        public let words: [UInt32]

        public var name: String { kind.name(index) }
    }

    /// A record whose checksums are right.
    public struct Record: Equatable, Sendable {
        public let start: RecordStart
        /// All but the first.
        public let sections: [Section]

        public var kind: RecordStart.Kind? { RecordStart.Kind(rawValue: start.kind) }
    }

    /// What isn't as it was written.
    public struct Damage: Error, Equatable, Sendable, CustomStringConvertible {
        /// The record's number, as far as that can be told.
        public let number: UInt32
        public let description: String
    }

    public enum Entry: Equatable, Sendable {
        case record(Record)
        case damage(Damage)
    }

    /// - Returns: what the words hold, from a record's beginning on, in their order. Past damage it goes on with the next record.
    public static func entries(_ words: [UInt32]) -> [Entry] {
        var entries: [Entry] = [], place = 0, next: UInt32 = 0
        while place < words.count {
            do throws(Damage) {
                let start = try start(words, at: place, expecting: next)
                let end = place + Int(start.count)
                guard end <= words.count else {
                    throw Damage(number: start.number, description: "it is cut off, \(start.count) words expected, \(words.count - place) found")
                }
                next = start.number &+ 1
                do throws(Damage) {
                    entries.append(.record(Record(start: start, sections: try sections(words[place..<end], of: start.number))))
                } catch {
                    entries.append(.damage(error))
                }
                place = end
            } catch {
                entries.append(.damage(error))
                next = error.number &+ 1
                // On with the next record, if there is one.
                let head = DecisionSection.start.head(index: 0, count: RecordStart.wordCount)
                guard let found = words.indices.dropFirst(place + 1).first(where: {
                    words[$0] == head && $0 + 1 < words.count && words[$0 + 1] == RecordStart.expectedMagic
                }) else { return entries }
                place = found
            }
        }
        return entries
    }

    private static func start(_ words: [UInt32], at place: Int, expecting number: UInt32) throws(Damage) -> RecordStart {
        let size = RecordStart.wordCount + 3
        guard place + size <= words.count else { throw Damage(number: number, description: "a whole record expected, it is cut off") }
        let section = words[place..<place + size]
        guard section[place] == DecisionSection.start.head(index: 0, count: RecordStart.wordCount) else {
            throw Damage(number: number, description: "the beginning of a record expected at word \(place), 0x\(hex(section[place])) found")
        }
        try check(section, .start, 0, of: number)
        var start = RecordStart()
        Array(section.dropFirst()).withUnsafeBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var fields = SectionFields(restoring: base)
            start.visit(&fields)
        }
        guard start.magic == RecordStart.expectedMagic, start.layout == RecordStart.version else {
            throw Damage(number: number, description: "a record of version \(RecordStart.version) expected, version \(start.layout) found")
        }
        guard Int(start.count) >= size else { throw Damage(number: number, description: "\(start.count) words are no record") }
        return start
    }

    private static func sections(_ record: ArraySlice<UInt32>, of number: UInt32) throws(Damage) -> [Section] {
        var place = record.startIndex + RecordStart.wordCount + 3, sections: [Section] = []
        var before = "start"
        while place < record.endIndex {
            let head = record[place], index = Int(head >> 8 & 0xffff), count = Int(head & 0xff), end = place + count + 3
            guard let kind = DecisionSection(rawValue: head >> 24), end <= record.endIndex else {
                throw Damage(number: number, description: "the head of a section expected after \(before), 0x\(hex(head)) found")
            }
            try check(record[place..<end], kind, index, of: number)
            sections.append(Section(kind: kind, index: index, words: Array(record[place + 1..<end - 2])))
            before = kind.name(index)
            place = end
        }
        return sections
    }

    /// - Parameter section: head, words, and the two sums.
    private static func check(_ section: ArraySlice<UInt32>, _ kind: DecisionSection, _ index: Int, of number: UInt32) throws(Damage) {
        // The head was added last. The repair of the wrong word makes the checksum right.
        let words = section.dropFirst().dropLast(2) + [section[section.startIndex]]
        let stored = (parity: section[section.endIndex - 2], mixed: section[section.endIndex - 1])
        let sum = checksum(words)
        guard sum.parity != stored.parity || sum.mixed != stored.mixed else { return }
        let wrong = sum.parity == stored.parity ? [] : words.indices.filter { place in
            var repaired = words
            repaired[place] ^= stored.parity ^ sum.parity
            return checksum(repaired).mixed == stored.mixed
        }
        let names = wrong.map { $0 == words.indices.last ? "its head" : kind.fieldName(index, $0 - words.startIndex) }
        let what = !names.isEmpty ? names.joined(separator: " or ")
            : (sum.parity == stored.parity) == (sum.mixed == stored.mixed) ? "several words" : "its checksum"
        throw Damage(number: number, description: "\(kind.name(index)): \(what) was changed after it was written")
    }

    private static func checksum(_ words: ArraySlice<UInt32>) -> SectionChecksum {
        var sum = SectionChecksum()
        for word in words { sum.add(word) }
        return sum
    }

    static func hex(_ word: UInt32) -> String { String(word, radix: 16) }
}

extension DecisionSection {
    /// The section in words.
    public func name(_ index: Int) -> String {
        switch self {
        case .start, .program, .engine, .selection, .choice, .selectionAfter: "\(self)"
        case .memory: "memory of policy \(index >> 8), " + (index & 0xff == 0 ? "shared" : Self.owner(index & 0xff - 1))
        case .owner, .outcome: "\(self) \(Self.owner(index))"
        case .instructions: "\(self) \(index)"
        case .policy: "policy \(index)"
        case .knowledge: "knowledge of policy \(index)"
        case .knowledgeAfter: "knowledge of policy \(index) afterwards"
        }
    }

    private static func owner(_ number: Int) -> String { number == 0 ? "host" : "vm\(number)" }

    /// What a word of the section is.
    public func fieldName(_ index: Int, _ place: Int) -> String {
        let names: [String] = switch self {
        case .start: ["magic", "version", "length", "number", "kind", "time", "time's upper half"]
        case .program: ["instructions", "checksum"]
        case .instructions: []
        case .engine: PolicyEngine.engineFields
        case .policy: PolicyEntryFields.fieldNames
        case .memory: []
        case .selection, .selectionAfter: PolicySelection.fieldNames
        case .knowledge, .knowledgeAfter: PolicyRecord.fieldNames
        case .owner:
            PolicyEngine.ownerFields(0) + (0..<4).flatMap { _ in ["demand", "units needed before, promised", "units foretold, assigned"] }
        case .outcome:
            ["carried", "served", "waiting", "requests", "promptness"] + PolicyEngine.resourceNames.map { "\($0) before" } + ["boost before"]
        case .choice: DecisionChoice.fieldNames
        }
        return names.indices.contains(place) ? names[place] : "word \(place)"
    }
}
#endif
