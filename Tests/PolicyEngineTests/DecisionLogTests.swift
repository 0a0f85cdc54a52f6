import AdminProtocol
import PolicyEngine
import Simulation
import Testing

/// What is logged of decisions is enough to make them again, bit for bit; what is changed in it is found, and named.
@Suite struct DecisionLogTests {
    let tests = SelectionTests()

    /// Claims as much of the link as it has decided times: what programs remember counts.
    static let counting: [Instruction] = [
        .load(4, from: 2, 0), .operation(Instruction.A.add, 4, 1), .store(4, to: 2, 0), .operation(Instruction.A.and, 4, 255),
        .store(4, to: 1, 52 * 4), .move(0, 0), .exit,
    ]

    /// The words of the log after so many windows of a mixed load, with an uploaded policy in it.
    func log(_ policy: UInt32, windows: Int) -> [UInt32] {
        var engine = tests.engine(policy)
        tests.install(Self.counting, &engine)
        var link = SelectionTests.Link(clients: [1: SelectionTests.light, 2: SelectionTests.heavy, 3: SelectionTests.heavy])
        var words: [UInt32] = []
        var position = engine.log.end
        for _ in 0..<windows {
            _ = link.window(&engine)
            engine.log.seal(upTo: engine.log.end)
            while position != engine.log.end {
                words.append(engine.log[position])
                position &+= 1
            }
        }
        return words
    }

    @Test(arguments: [PolicyNumber.fair, PolicyNumber.latencyFirst, PolicyNumber.throughputFirst, PolicyNumber.adaptive, 4])
    func everyDecisionIsMadeAgain(policy: UInt32) {
        var verifier = DecisionVerifier()
        verifier.verify(log(policy, windows: 2000))
        #expect(verifier.decisions == 200 && verifier.verified == 200 && verifier.missing == 0 && verifier.unverifiable == 0)
        #expect(verifier.differences.isEmpty, "\(verifier.differences.prefix(3))")
    }

    @Test func everyChangedByteIsFound() {
        let words = log(PolicyNumber.adaptive, windows: 170)
        let entries = DecisionReader.entries(words)
        var random = SplitMix64(seed: 5)
        for _ in 0..<300 {
            var changed = words
            let place = Int.random(in: 0..<words.count, using: &random), byte = UInt32.random(in: 0..<4, using: &random)
            changed[place] ^= UInt32.random(in: 1...255, using: &random) << (8 * byte)
            let found = DecisionReader.entries(changed)
            #expect(found != entries && found.contains { if case .damage = $0 { true } else { false } }, "word \(place), byte \(byte)")
        }
    }

    /// The record and the field that a flipped bit is in.
    @Test func aFlippedBitIsNamed() throws {
        var words = log(PolicyNumber.fair, windows: 80)
        let starts = words.indices.filter { words[$0] == RecordStart.expectedMagic }.map { $0 - 1 }
        // The first is the program's.
        try #require(starts.count == 9)
        // Twelve words.
        let choice = try #require((starts[5]..<starts[6]).first { words[$0] == DecisionSection.choice.rawValue << 24 | 12 })
        words[choice + 1 + 3] ^= 1 << 9
        var verifier = DecisionVerifier()
        verifier.verify(words)
        #expect(verifier.differences.map(\.number) == [5] && verifier.verified == 7 && verifier.missing == 0)
        #expect(verifier.differences.first?.description == "choice: change was changed after it was written")
        words[choice + 1 + 3] ^= 1 << 9
        words[starts[2] + 4] ^= 1 << 31
        verifier = DecisionVerifier()
        verifier.verify(words)
        #expect(verifier.differences.first.map { "\($0.number) \($0.description)" } == "2 start: number was changed after it was written")
    }

    /// Whichever bit of an owner's section it is.
    @Test func everyFlippedBitIsNamedAlone() throws {
        let all = log(PolicyNumber.fair, windows: 20)
        let start = try #require(all.lastIndex(of: RecordStart.expectedMagic)), words = Array(all[(start - 1)...])
        let head = try #require(words.lastIndex { $0 >> 24 == DecisionSection.owner.rawValue && $0 >> 8 & 0xffff == 3 })
        for place in head + 1...head + Int(words[head] & 0xff) {
            for bit in 0..<32 as Range<UInt32> {
                var changed = words
                changed[place] ^= 1 << bit
                guard case .damage(let damage)? = DecisionReader.entries(changed).last else {
                    Issue.record("word \(place), bit \(bit)")
                    return
                }
                let field = DecisionSection.owner.fieldName(3, place - head - 1)
                #expect(damage.description == "owner vm3: \(field) was changed after it was written", "bit \(bit)")
            }
        }
    }

    /// A word that is changed together with its checksums is found by making the decision again.
    @Test func aForgedShareIsNamed() throws {
        var words = log(PolicyNumber.adaptive, windows: 80)
        // The last record ends with owner 3: 15 words, then what it had of the link, and above that what it is to have.
        let head = try #require(words.lastIndex { $0 >> 24 == DecisionSection.owner.rawValue && $0 >> 8 & 0xffff == 3 })
        let count = Int(words[head] & 0xff)
        try #require(head + count + 3 == words.count)
        words[head + 16] &+= 1 << 16
        var sum = SectionChecksum()
        for word in words[(head + 1)...(head + count)] { sum.add(word) }
        sum.add(words[head])
        (words[words.count - 2], words[words.count - 1]) = (sum.parity, sum.mixed)
        var verifier = DecisionVerifier()
        verifier.verify(words)
        let difference = try #require(verifier.differences.first)
        #expect(verifier.differences.count == 1 && difference.number == 8)
        #expect(difference.description.hasPrefix("owner vm3: link granted, link decided: "), "\(difference)")
    }

    /// Values that no firmware has are refused before anything is computed of them.
    @Test(arguments: [(DecisionSection.owner, 3, 2, UInt32(0)), (.selection, 0, 22, .max)])
    func valuesThatMakeNoSenseAreRefused(kind: DecisionSection, index: Int, word: Int, value: UInt32) throws {
        var words = log(PolicyNumber.adaptive, windows: 80)
        let wanted = kind.rawValue << 24 | UInt32(index) << 8
        let head = try #require(words.lastIndex { $0 & ~0xff == wanted }), count = Int(words[head] & 0xff)
        words[head + word] = value
        var sum = SectionChecksum()
        for word in words[(head + 1)...(head + count)] { sum.add(word) }
        sum.add(words[head])
        (words[head + count + 1], words[head + count + 2]) = (sum.parity, sum.mixed)
        var verifier = DecisionVerifier()
        verifier.verify(words)
        #expect(verifier.differences.map(\.description) == ["\(kind.name(index)): values that make sense expected"])
    }

    @Test func gapsAndMissingProgramsAreCounted() {
        let words = log(4, windows: 100)
        let starts = words.indices.filter { words[$0] == RecordStart.expectedMagic }.map { $0 - 1 }
        var verifier = DecisionVerifier()
        verifier.verify(Array(words[..<starts[3]] + words[starts[6]...]))
        #expect(verifier.decisions == 7 && verifier.missing == 3 && verifier.differences.isEmpty)
        verifier = DecisionVerifier()
        verifier.verify(Array(words[starts[1]...]))
        #expect(verifier.unverifiable == 10 && verifier.verified == 0 && verifier.firstVerifiable == nil && verifier.differences.isEmpty)
        // Cut off.
        verifier = DecisionVerifier()
        verifier.verify(words.dropLast())
        #expect(verifier.differences.count == 1 && verifier.verified == 9)
    }

    /// A program that fails gives way to the one before it, within the decision.
    @Test func aRollbackIsMadeAgain() {
        var engine = tests.engine(4)
        tests.install(SelectionTests.starving, &engine)
        var link = SelectionTests.Link(clients: [1: SelectionTests.light, 2: SelectionTests.heavy])
        link.run(40, &engine)
        tests.install([.move(0, 1), .exit], &engine)
        link.run(20, &engine)
        tests.install([.move(0, 2), .exit], &engine)
        link.run(20, &engine)
        var verifier = DecisionVerifier()
        engine.log.seal(upTo: engine.log.end)
        let words = (0..<engine.log.end &- engine.log.first).map { engine.log[engine.log.first &+ $0] }
        verifier.verify(words)
        #expect(verifier.verified == 8 && verifier.differences.isEmpty, "\(verifier.differences)")
        let faults = DecisionReader.entries(words).compactMap { entry in
            if case .record(let record) = entry { DecisionSummary(record)?.fault } else { nil }
        }
        #expect(faults.count == 2 && faults.allSatisfy { $0.policy == 4 })
    }

    /// What isn't read in time goes as whole records; programs are always there again.
    @Test func theRingForgetsWholeRecords() {
        var engine = tests.engine(4)
        tests.install(SelectionTests.starving, &engine)
        var link = SelectionTests.Link(clients: [1: SelectionTests.light, 2: SelectionTests.heavy, 3: SelectionTests.heavy])
        link.run(4000, &engine)
        engine.log.seal(upTo: engine.log.end)
        let words = (0..<engine.log.end &- engine.log.first).map { engine.log[engine.log.first &+ $0] }
        #expect(words.count <= DecisionLog.words && words.count > DecisionLog.words * 9 / 10 && engine.log.overwritten > 0)
        var verifier = DecisionVerifier()
        verifier.verify(words)
        #expect(verifier.differences.isEmpty && verifier.missing == 0 && verifier.verified > verifier.unverifiable)
        #expect(verifier.firstVerifiable != nil)
    }
}
