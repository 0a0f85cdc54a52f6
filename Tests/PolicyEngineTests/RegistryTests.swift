import AdminProtocol
import PolicyEngine
import Testing

/// Policies of the host's: from their upload to what they decide, and what becomes of those that fail.
@Suite struct RegistryTests {
    typealias I = Instruction

    let memory = TestMemory()

    func engine() -> PolicyEngine {
        var arena = memory.arena
        var engine = PolicyEngine(in: &arena)
        var parameters = PolicyParameters()
        (parameters.headroomPermille, parameters.smoothing, parameters.hysteresisPermille) = (0, 256, 0)
        engine.configure(parameters, linkBytes: 100_000)
        return engine
    }

    /// Claims so much for owner 1, and what is left for the others.
    func claiming(_ permille: Int32, result: Int32 = 0) -> [I] {
        let claim = Int16(PolicyContext.Field.claim.rawValue * 4)
        return [
            .load(4, from: 1, Int16(PolicyContext.Field.owner.rawValue * 4)), .move(5, 1000 - permille), .jump(I.J.notEqual, 4, 1, by: 1),
            .move(5, permille), .store(5, to: 1, claim), .move(0, result), .exit,
        ]
    }

    func upload(_ program: [I], number: UInt32 = 4, to engine: inout PolicyEngine) -> PolicyRefusal? {
        let bytes = program.flatMap(\.bytes)
        let begins = engine.expects(0)
        #expect(begins)
        var checksum = Checksum()
        for byte in bytes {
            engine.upload(byte)
            checksum.add(byte)
        }
        var installation = PolicyInstallation()
        (installation.number, installation.count, installation.checksum) = (number, UInt32(bytes.count), checksum.value)
        installation.setName("policy \(number)")
        return engine.install(installation)
    }

    func select(_ number: UInt32, _ engine: inout PolicyEngine) {
        var parameters = engine.parameters
        parameters.policy = number
        let isValid = engine.isValid(parameters)
        #expect(isValid)
        engine.configure(parameters, linkBytes: 100_000)
    }

    /// One decision about two owners that want all there is.
    func decide(_ engine: inout PolicyEngine) -> (shares: [UInt32], rollback: PolicyEngine.Rollback?) {
        for owner in 1...2 { engine.add(OwnerSample(bytes: 100_000, requests: 10, depth: 8), of: owner) }
        _ = engine.endWindow(active: OwnerSet(0b110))
        engine.predictResourceNeeds()
        let decision = engine.calculateNewAllocation(engine.selectBestPolicy(engine.getAvailablePolicies()))
        engine.committed()
        return ([engine.share(of: 1), engine.share(of: 2)], decision.rollback)
    }

    @Test func anUploadedPolicyDecides() {
        var engine = engine()
        #expect(engine.getAvailablePolicies() == 0b1111)
        let refusal = upload(claiming(700), to: &engine)
        #expect(refusal == nil)
        #expect(engine.getAvailablePolicies() == 0b1_1111)
        #expect(engine.registry.entry(4).text == "policy 4" && engine.registry.entry(4).instructions == 7)
        select(4, &engine)
        let decision = decide(&engine)
        #expect(decision.shares == [700, 300] && decision.rollback == nil)
        select(PolicyNumber.fair, &engine)
        engine.remove(4)
        #expect(engine.getAvailablePolicies() == 0b1111)
        let fair = decide(&engine)
        #expect(fair.shares == [500, 500])
    }

    @Test func theNextDecisionIsTheNewPrograms() {
        var engine = engine()
        _ = upload(claiming(700), to: &engine)
        select(4, &engine)
        let old = decide(&engine)
        #expect(old.shares == [700, 300])
        let refusal = upload([.load(0, from: 1, 256), .exit], to: &engine)
        #expect(refusal?.instruction == 0)
        let same = decide(&engine)
        #expect(same.shares == [700, 300], "a refused program changes nothing")
        _ = upload(claiming(600), to: &engine)
        let new = decide(&engine)
        #expect(new.shares == [600, 400])
    }

    @Test func aProgramThatFailsGivesWayAtOnce() {
        var engine = engine()
        _ = upload(claiming(700), to: &engine)
        select(4, &engine)
        _ = decide(&engine)
        // To the one that it has replaced.
        _ = upload(claiming(600, result: 1), to: &engine)
        let first = decide(&engine)
        #expect(first.shares == [700, 300])
        #expect(first.rollback == .init(policy: 4, fault: .gaveUp, instruction: 6, replacement: 4))
        #expect(engine.registry.entry(4).faults == 1)
        let second = decide(&engine)
        #expect(second.shares == [700, 300] && second.rollback == nil)
        // To the policy before it.
        _ = upload(claiming(-1), number: 5, to: &engine)
        select(5, &engine)
        let third = decide(&engine)
        #expect(third.shares == [700, 300])
        #expect(third.rollback == .init(policy: 5, fault: .claim, instruction: 6, replacement: 4))
        #expect(engine.parameters.policy == 4, "it isn't tried again")
    }

    @Test func damagedUploadsAreRefused() {
        var engine = engine()
        var installation = PolicyInstallation()
        installation.number = 4
        installation.count = 8
        let missing = engine.install(installation)
        #expect(missing?.reason == PolicyRefusal.Reason.incomplete.rawValue)
        _ = engine.expects(0)
        for byte in I.exit.bytes { engine.upload(byte) }
        let damaged = engine.install(installation)
        #expect(damaged?.reason == PolicyRefusal.Reason.checksum.rawValue)
        let isExpected = engine.expects(4)
        #expect(!isExpected, "pieces follow one another")
        #expect(engine.getAvailablePolicies() == 0b1111)
    }

    // MARK: The firmware's own

    /// Two owners with small requests that need 100 each, and two with large ones that want everything.
    func mixed(_ policy: UInt32) -> [UInt32] {
        var engine = engine()
        select(policy, &engine)
        for owner in 1...4 {
            let isSmall = owner <= 2
            engine.add(OwnerSample(bytes: isSmall ? 10_000 : 90_000, requests: isSmall ? 10 : 1, depth: isSmall ? 0 : 32), of: owner)
        }
        _ = engine.endWindow(active: OwnerSet(0b11110))
        engine.predictResourceNeeds()
        engine.calculateNewAllocation(engine.selectBestPolicy(engine.getAvailablePolicies()))
        return (1...4).map { engine.target(of: $0) }
    }

    @Test func eachPolicyServesItsOwnEnd() {
        let fair = mixed(PolicyNumber.fair), latency = mixed(PolicyNumber.latencyFirst), throughput = mixed(PolicyNumber.throughputFirst)
        for shares in [fair, latency, throughput] { #expect(shares.reduce(0, +) == 1000, "\(shares)") }
        #expect(fair[0...1].allSatisfy { (99...100).contains($0) } && fair[2...3].allSatisfy { (400...401).contains($0) }, "\(fair)")
        #expect(latency[0] > fair[0] && latency[1] > fair[1], "room for bursts: \(latency)")
        #expect(throughput[2] > fair[2] && throughput[3] > fair[3], "large requests first: \(throughput)")
    }

    /// One owner needs mostly the link, the other mostly accelerators: their dominant shares are equal within 5 %.
    @Test func dominantSharesAreEqual() {
        var engine = engine()
        engine.setCapacity(40, of: .gpu)
        engine.setCapacity(60, of: .fpga)
        for owner in 1...3 { engine.add(OwnerSample(bytes: 100_000, requests: 10, depth: 8), of: owner) }
        _ = engine.endWindow(active: OwnerSet(0b1110))
        engine.predictResourceNeeds(everything: true)
        let needs: [[Resource: UInt32]] = [[.bandwidth: 900, .gpu: 4], [.bandwidth: 100, .gpu: 40], [.bandwidth: 100, .fpga: 60, .gpu: 10]]
        for (owner, needs) in zip(1..., needs) {
            for (resource, need) in needs { engine.contexts[owner][.need, resource] = need }
        }
        engine.calculateNewAllocation(PolicyNumber.fair)
        let claims = (1...3).map { owner in Resource.all.map { engine.contexts[owner][.claim, $0] } }
        let capacities: [UInt32] = [1000, 0, 0, 40, 60]
        for resource in Resource.all {
            #expect(claims.reduce(0) { $0 + $1[resource.rawValue] } <= capacities[resource.rawValue], "\(claims)")
        }
        let dominant = claims.map { claim in
            zip(claim, capacities).filter { $0.1 > 0 }.map { Double($0.0) / Double($0.1) }.max()!
        }
        #expect(dominant.max()! - dominant.min()! <= 0.05, "\(dominant): \(claims)")
    }
}
