import AdminProtocol
import OffloadDevice
import PolicyEngine
import Simulation
import Testing

/// The firmware's decisions on the emulated hart, made again on this machine from what it has logged.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct DecisionLogTests {
    /// Adds 1 to what it remembers of an owner, and claims that, modulo 256, of the link: as clang would have compiled it.
    static let counting: [UInt8] = [
        0x61, 0x24, 0, 0, 0, 0, 0, 0, 0x07, 0x04, 0, 0, 1, 0, 0, 0, 0x63, 0x42, 0, 0, 0, 0, 0, 0, 0x57, 0x04, 0, 0, 255, 0, 0, 0,
        0x63, 0x41, 208, 0, 0, 0, 0, 0, 0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0,
    ]

    /// The host's side of the log.
    final class Reader {
        let rig: FirmwareRig
        var verifier = DecisionVerifier()
        var summaries: [DecisionSummary] = []
        private var position: UInt32 = 0

        init(_ rig: FirmwareRig) { self.rig = rig }

        /// Takes in whole records only: nothing decides between two commands.
        func take() {
            var words: [UInt32] = []
            while true {
                let answer = rig.send(AdminCommand(.readDecisions), FirmwareRig.bytes(DecisionLogRequest(position: position)))
                #expect(answer.status == AdminStatus.ok.rawValue)
                let header = rig.result(DecisionLogHeader.self)
                #expect(header.position == position, "read in time")
                let start = FirmwareRig.answer + AdminResult.byteCount + DecisionLogHeader.byteCount
                words += (0..<Int(header.count)).map { rig.get(start + 4 * $0, UInt32.self) }
                position = header.position + header.count
                if position == header.end { break }
            }
            verifier.verify(words)
            for case .record(let record) in DecisionReader.entries(words) {
                if let summary = DecisionSummary(record) { summaries.append(summary) }
            }
        }
    }

    @Test func everyDecisionOfEveryPolicyIsMadeAgain() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        let reader = Reader(rig)
        rig.install(Self.counting, as: 4, named: "counting")
        var terms = ServiceTerms()
        (terms.latencyMicroseconds, terms.leastPermille, terms.expectedCores) = (300, 50, 1)
        #expect(rig.send(AdminCommand(.setTerms, group: .virtualFunction, member: 3), FirmwareRig.bytes(terms)).status == 0)
        var interval = FeatureValue()
        (interval.feature, interval.value) = (Feature.analysisInterval.rawValue, 100)
        #expect(rig.send(AdminCommand(.setFeature), FirmwareRig.bytes(interval)).status == 0)
        var random = SplitMix64(seed: 11)
        let policies = [
            PolicyNumber.fixed, PolicyNumber.fair, PolicyNumber.latencyFirst, PolicyNumber.throughputFirst, 4, PolicyNumber.adaptive,
        ]
        for policy in policies {
            var parameters = PolicyParameters()
            (parameters.policy, parameters.periodWindows) = (policy, 2)
            #expect(rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)
            let before = reader.summaries.count
            for round in 0..<12 {
                // Light owners, heavy ones, one that comes and goes.
                var load = [(owner: 1, requests: 20, bytes: UInt64(4096)), (2, Int.random(in: 1...8, using: &random), 131_072)]
                load.append((3, Int.random(in: 1...40, using: &random), UInt64.random(in: 512...60_000, using: &random)))
                if round % 3 != 0 { load.append((7, 300, 2_000)) }
                rig.load(windows: 20, load)
                if round == 5 {
                    // Room is made for what the host gives.
                    var allocation = Allocation()
                    (allocation.guaranteePermille, allocation.weight, allocation.flags) = (600, 2, 0)
                    let command = AdminCommand(.setAllocation, group: .virtualFunction, member: 2)
                    _ = rig.send(command, FirmwareRig.bytes(allocation))
                }
                reader.take()
            }
            let summaries = reader.summaries[before...]
            if policy == PolicyNumber.fixed {
                #expect(summaries.isEmpty)
            } else {
                #expect(summaries.count >= 110, "policy \(policy)")
                #expect(summaries.allSatisfy { $0.selected == policy })
                #expect(summaries.contains { $0.changes })
            }
        }
        let verifier = reader.verifier
        print("\(verifier.decisions) decisions, \(reader.summaries.filter(\.makesRoom).count) of them to make room")
        #expect(verifier.differences.isEmpty, "\(verifier.differences.prefix(3))")
        #expect(verifier.verified == verifier.decisions && verifier.missing == 0 && verifier.unverifiable == 0)
        #expect(verifier.decisions >= 550)
        #expect(reader.summaries.contains { $0.makesRoom })
        #expect(reader.summaries.contains { $0.scores.contains { $0.policy == 4 && $0.score > 0 } }, "adaptive has scored the program")
    }

    /// Records say what everybody does.
    @Test func nobodyReadsDecisionsWhileAnOwnerHasAKey() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        rig.load(windows: 30, [(1, 10, 4096)])
        let request = FirmwareRig.bytes(DecisionLogRequest())
        #expect(rig.send(AdminCommand(.readDecisions), request).status == 0)
        #expect(rig.result(DecisionLogHeader.self).records > 0)
        var key = OwnerKey()
        key.key = 5
        let command = AdminCommand(.setKey, group: .virtualFunction, member: 64)
        #expect(rig.send(command, FirmwareRig.bytes(key)).status == 0)
        #expect(rig.send(AdminCommand(.readDecisions), request) == AdminResult(.denied, .key))
    }
}
