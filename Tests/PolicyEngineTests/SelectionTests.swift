import AdminProtocol
import PolicyEngine
import Simulation
import Testing

/// What is selected, learned and undone, on a link of 1000 bytes in a microsecond whose work a test makes up.
@Suite struct SelectionTests {
    let memory = TestMemory()
    static let linkBytes: UInt32 = 1_000_000

    func engine(_ policy: UInt32 = PolicyNumber.adaptive) -> PolicyEngine {
        var parameters = PolicyParameters()
        parameters.policy = policy
        var arena = memory.arena
        var engine = PolicyEngine(in: &arena)
        engine.configure(parameters, linkBytes: Self.linkBytes)
        return engine
    }

    /// An owner that asks for so many bytes in each window, in requests of a size, and waits for no answer.
    struct Client {
        var bytes: UInt32
        var requestBytes: UInt32
        var backlog: UInt32 = 0
    }

    /// A link that serves guarantees and then lends what is left by weight.
    struct Link {
        var clients: [Int: Client]
        /// Bytes less that it carries for each request, as time of its own.
        var requestCost: UInt32 = 0
        /// Windows so far.
        var windows = 0

        /// One window, and the decision at its end if one is due.
        /// - Returns: what was decided.
        mutating func window(_ engine: inout PolicyEngine) -> (why: PolicyReason, inForce: UInt32, isUndoing: Bool)? {
            windows += 1
            var active = OwnerSet(), left = SelectionTests.linkBytes, carried: [Int: UInt32] = [:]
            for owner in clients.keys.sorted() { clients[owner]!.backlog = min(clients[owner]!.backlog + clients[owner]!.bytes, 1 << 26) }
            for round in 0..<2 {
                let wanting = clients.keys.sorted().filter { clients[$0]!.backlog > 0 }
                let spare = left
                var weights: UInt32 = 0
                for owner in wanting { weights += 1 << engine.contexts[owner][.boost] }
                for owner in wanting {
                    let client = clients[owner]!
                    let cost = client.requestBytes + requestCost
                    let lent = spare / max(weights, 1) << engine.contexts[owner][.boost]
                    let room = round == 0 ? engine.share(of: owner) * (SelectionTests.linkBytes / 1000) : lent
                    let bytes = min(client.backlog, UInt32(UInt64(min(room, left)) * UInt64(client.requestBytes) / UInt64(cost)))
                    clients[owner]!.backlog -= bytes
                    carried[owner, default: 0] += bytes
                    left -= min(left, UInt32(UInt64(bytes) * UInt64(cost) / UInt64(client.requestBytes)))
                }
            }
            for owner in clients.keys.sorted() {
                let client = clients[owner]!, bytes = carried[owner, default: 0]
                guard bytes > 0 || client.backlog > 0 else { continue }
                // What waits takes the time that it takes to carry it.
                let cycles = 50_000 + 1_000_000 * UInt64(client.backlog) / UInt64(max(bytes, 1))
                let bucket = UInt8(min(63 - cycles.leadingZeroBitCount, 31))
                let sample = OwnerSample(
                    bytes: bytes, requests: bytes / client.requestBytes, depth: client.backlog / client.requestBytes, latencyBucket: bucket)
                engine.add(sample, of: owner)
                active.insert(owner)
            }
            guard engine.endWindow(active: active) else { return nil }
            let change = engine.decide(at: UInt64(windows)).change
            if change > UInt32(engine.parameters.hysteresisPermille) { engine.committed() } else { engine.left() }
            return (engine.reason, engine.selection.inForce, engine.selection.isUndoing)
        }

        @discardableResult
        mutating func run(
            _ count: Int, _ engine: inout PolicyEngine
        ) -> [(window: Int, why: PolicyReason, inForce: UInt32, isUndoing: Bool)] {
            (0..<count).compactMap { _ in
                guard let decision = window(&engine) else { return nil }
                return (windows, decision.why, decision.inForce, decision.isUndoing)
            }
        }
    }

    static let light = Client(bytes: 60_000, requestBytes: 4_000)
    static let heavy = Client(bytes: 700_000, requestBytes: 131_072)

    /// A policy that claims nothing for owner 1: it gets the least that everybody gets.
    static let starving: [Instruction] = [
        .load(2, from: 1, 8), .jump(Instruction.J.notEqual, 2, 1, by: 2),
        .store(constant: 0, to: 1, 52 * 4), .store(constant: 1, to: 1, 57 * 4), .move(0, 0), .exit,
    ]

    @Test func aDecisionRepeatsItselfExactly() {
        var runs: [[UInt32]] = []
        for _ in 0..<2 {
            var engine = engine()
            var link = Link(clients: [1: Self.light, 2: Self.heavy, 3: Self.heavy])
            var run: [UInt32] = []
            for (window, _, policy, _) in link.run(2000, &engine) {
                run += [UInt32(window), policy, engine.selection.measured] + (0..<8).map { engine.record(of: $0).score }
            }
            runs.append(run)
        }
        #expect(runs[0] == runs[1])
        #expect(runs[0].count == 200 * 11)
    }

    @Test func allPoliciesAreScoredAndTheBestIsInForce() {
        var engine = engine()
        var link = Link(clients: [1: Self.light, 2: Self.heavy, 3: Self.heavy])
        link.run(1600, &engine)
        for number in PolicyNumber.fair...PolicyNumber.throughputFirst {
            let record = engine.record(of: number)
            #expect(record.predicted > 0 && record.predicted <= Utility.one && record.score >= record.expected, "policy \(number)")
        }
        #expect(engine.record(of: 4).score == 0, "there is none")
        #expect(engine.selection.epoch >= 20)
        #expect(engine.selection.terms.fairness > Utility.one * 9 / 10)
        let inForce = engine.selection.inForce
        #expect((PolicyNumber.fair...PolicyNumber.throughputFirst).allSatisfy {
            engine.record(of: $0).expected <= engine.record(of: inForce).expected + Utility.one / 20
        })
    }

    // MARK: Harm

    func install(_ program: [Instruction], _ engine: inout PolicyEngine) {
        let bytes = program.flatMap(\.bytes)
        var checksum = Checksum()
        let begins = engine.expects(0)
        #expect(begins)
        for byte in bytes {
            engine.upload(byte)
            checksum.add(byte)
        }
        var installation = PolicyInstallation()
        (installation.number, installation.count, installation.checksum) = (4, UInt32(bytes.count), checksum.value)
        let refusal = engine.install(installation)
        #expect(refusal == nil)
    }

    /// Windows in which an epoch ends, and its decisions.
    static let epochWindows = Int(PolicySelection.decisionsPerEpoch) * 10

    @Test func aStarvingPolicyIsUndoneWithinTwoEpochs() throws {
        var engine = engine(PolicyNumber.fair)
        var link = Link(clients: [1: Self.light, 2: Self.heavy, 3: Self.heavy])
        link.run(10 * Self.epochWindows, &engine)
        #expect(engine.selection.undone == 0 && engine.selection.switches == 0)
        let shares = [1, 2, 3].map { engine.share(of: $0) }
        install(Self.starving, &engine)
        var parameters = engine.parameters
        parameters.policy = 4
        engine.configure(parameters, linkBytes: Self.linkBytes)
        let selected = link.windows
        let decisions = link.run(2 * Self.epochWindows, &engine)
        #expect(decisions.contains { $0.inForce == 4 }, "it was in force")
        let undone = try #require(decisions.first { $0.isUndoing })
        #expect(undone.window - selected <= 2 * Self.epochWindows && undone.why == .undone)
        #expect(engine.selection.inForce == PolicyNumber.fair)
        let after = [1, 2, 3].map { engine.share(of: $0) }
        for (before, after) in zip(shares, after) { #expect(abs(Int(before) - Int(after)) <= 60, "\(shares), \(after)") }

        // The host still wants it: it is tried again, each time later.
        let later = link.run(300 * Self.epochWindows, &engine)
        let undos = [undone.window] + later.filter(\.isUndoing).map(\.window)
        let pauses = zip(undos, undos.dropFirst()).map { $1 - $0 }
        print("undone in windows \(undos)")
        #expect((4...8).contains(undos.count), "few times in 300 epochs")
        for (shorter, longer) in zip(pauses, pauses.dropFirst()) { #expect(longer > shorter, "\(pauses)") }
        #expect(engine.record(of: 4).failures == UInt32(undos.count))
    }

    @Test func adaptiveDoesntChooseWhatStarves() {
        var engine = engine()
        var link = Link(clients: [1: Self.light, 2: Self.heavy, 3: Self.heavy])
        install(Self.starving, &engine)
        let decisions = link.run(60 * Self.epochWindows, &engine)
        #expect(!decisions.contains { $0.inForce == 4 })
        #expect(engine.record(of: 4).predicted > 0, "but it is scored")
        let isCandidate = engine.isCandidate(4)
        #expect(!isCandidate)
    }

    @Test func anUploadedPolicyIsChosenAfterItHasProvenItself() throws {
        var engine = engine()
        engine.selection.candidates = 1 << PolicyNumber.fair | 1 << 4
        // What everybody needs, with room for owner 1: better than fair.
        install([.load(2, from: 1, 8), .jump(Instruction.J.notEqual, 2, 1, by: 2), .store(constant: 250, to: 1, 52 * 4),
                 .store(constant: 255, to: 1, 57 * 4), .move(0, 0), .exit], &engine)
        var link = Link(clients: [1: Self.light, 2: Self.heavy, 3: Self.heavy])
        let first = link.run(14 * Self.epochWindows, &engine)
        #expect(first.allSatisfy { $0.inForce == PolicyNumber.fair })
        let later = link.run(30 * Self.epochWindows, &engine)
        let isCandidate = engine.isCandidate(4)
        #expect(isCandidate)
        #expect(later.contains { $0.inForce == 4 })
    }

    /// What looks good to the model, but isn't: requests that cost much beside their bytes.
    @Test func theGuardRailEndsWhatDoesWorseThanTheFallback() {
        var engine = engine()
        var link = Link(clients: [1: Client(bytes: 500_000, requestBytes: 4_000), 2: Self.heavy, 3: Self.heavy], requestCost: 30_000)
        link.run(200 * Self.epochWindows, &engine)
        let selection = engine.selection
        print("switches \(selection.switches), guard rail \(selection.guardRails), undone \(selection.undone)")
        #expect(selection.switches <= 60, "in 200 epochs")
    }

    @Test func whatARequestCostsIsFound() {
        var engine = engine(PolicyNumber.fair)
        var link = Link(clients: [1: Self.light, 2: Self.heavy, 3: Self.heavy], requestCost: 30_000)
        link.run(20 * Self.epochWindows, &engine)
        #expect((28_000...34_000).contains(engine.selection.requestCost), "\(engine.selection.requestCost)")
        // It is forgotten slowly, and only while somebody waits: a link with nothing to do says nothing.
        link.clients = [1: Self.light]
        link.run(4 * Self.epochWindows, &engine)
        let known = engine.selection.requestCost
        #expect((28_000...34_000).contains(known))
        link.run(20 * Self.epochWindows, &engine)
        #expect(engine.selection.requestCost == known)
    }

    /// The host's weight is what a boost is counted from; who has none of the policy's preference, or is gone, has no boost.
    @Test func weightsBecomeBoosts() {
        var engine = engine(PolicyNumber.latencyFirst)
        engine.set(0, of: 1, weight: 3, pin: false)
        var link = Link(clients: [1: Self.light, 2: Self.light, 3: Self.heavy])
        link.run(2 * Self.epochWindows, &engine)
        #expect([1, 2, 3].map { engine.boost(of: $0) } == [4, 4, 0])
        #expect([1, 2, 3].map { engine.contexts[$0][.boost] } == [4, 4, 0], "in force")
        #expect(engine.contexts[1][.weight] == 48)
        link.clients[2] = nil
        link.run(4 * Self.epochWindows, &engine)
        #expect([1, 2, 3].map { engine.contexts[$0][.boost] } == [4, 0, 0])
    }

    // MARK: The learner

    @Test func squareRootsAreExact() {
        for value in Array(0...1000) + [65_535, 65_536, 1 << 30, .max] as [UInt32] {
            let root = UInt64(PolicyLearner.squareRoot(value))
            #expect(root * root <= value && (root + 1) * (root + 1) > value, "\(value)")
        }
    }

    @Test func curiosityFadesWithExperience() {
        let all: UInt32 = 64 * 256
        let bonuses = [0, 1, 4, 16, 60].map { PolicyLearner.bonus($0 * 256, of: all) }
        for (more, less) in zip(bonuses, bonuses.dropFirst()) { #expect(more > less, "\(bonuses)") }
        // 256 x sqrt(log2(65))
        #expect((600...630).contains(bonuses[0]))
        #expect(PolicyLearner.bonus(0, of: 0) == 0)
    }
}
