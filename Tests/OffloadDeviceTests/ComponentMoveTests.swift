import AdminProtocol
import ComponentLoad
import Testing

/// Moves of a loaded disk between device and host, with the project's own firmware and host agent, in lockstep.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct ComponentMoveTests {
    private func rig(depth: Int = 16, seed: UInt64) throws -> MoveRig {
        let rig = try MoveRig(firmware: FirmwareRig.read(), depth: depth, seed: seed)
        try rig.startAgent()
        for _ in 0..<20 { try rig.turn() }
        return rig
    }

    @Test func aLoadedDiskGoesToTheHostAndBack() throws {
        let rig = try rig(seed: 1)
        for round in 0..<10 {
            let there = try rig.move(to: .host)
            #expect(there.outcome == ComponentStatus.Outcome.done.rawValue && there.moves == UInt32(2 * round + 1))
            #expect(there.blackout > 0 && there.imageBytes >= 168)
            let before = rig.load.acknowledged
            for _ in 0..<20 { try rig.turn() }
            #expect(rig.load.acknowledged > before, "the host serves")
            let back = try rig.move(to: .device)
            #expect(back.outcome == ComponentStatus.Outcome.done.rawValue && back.moves == UInt32(2 * round + 2))
            for _ in 0..<20 { try rig.turn() }
        }
        try rig.verify()
        #expect(rig.status().abandoned == 0)
    }

    @Test func stopAndCopyLosesNothingEither() throws {
        let rig = try rig(seed: 2)
        let status = try rig.move(to: .host, stopAndCopy: true)
        #expect(status.outcome == ComponentStatus.Outcome.done.rawValue)
        _ = try rig.move(to: .device)
        try rig.verify()
    }

    @Test func withoutAnAgentNothingMoves() throws {
        let rig = try rig(seed: 3)
        rig.killAgent()
        #expect(rig.ask(for: .host) == .again)
        #expect(rig.ask(for: .device) == .ok, "it is there")
        try rig.verify()
    }

    /// The agent ends at each of its actions in turn: whatever it was about to do, the device goes on, and nothing is lost or done twice.
    @Test func theAgentsEndAtAnyActionLosesNothing() throws {
        let rig = try rig(depth: 8, seed: 100)
        for last in 0..<40 {
            rig.endsAgent = { false }
            if rig.agent == nil { try rig.startAgent() }
            var left = last
            rig.endsAgent = {
                left -= 1
                return left < 0
            }
            #expect(rig.ask(for: .host) == .ok)
            try rig.wait("the agent's end") { rig.agent == nil }
            try rig.wait("the device's taking over") { rig.stage == (1, 0, 0) }
            for _ in 0..<10 { try rig.turn() }
        }
        try rig.verify()
    }

    /// A damaged image is refused, and the component goes on where it was.
    @Test func aDamagedImageIsRefused() throws {
        let rig = try rig(seed: 7)
        #expect(rig.ask(for: .host) == .ok)
        for _ in 0..<1000 where rig.stage.request != 1 { rig.machine.advance(by: 50) }
        rig.damageImage(at: 0)
        try rig.wait("a refusal") { rig.status().outcome == ComponentStatus.Outcome.refused.rawValue }
        #expect(rig.stage.state == 1 && rig.stage.location == 0 && rig.status().reason == ComponentImage.Defect.magic.rawValue)
        try rig.move(to: .host)
        rig.damagesReturn = true
        #expect(rig.ask(for: .device) == .ok)
        try rig.wait("a refusal") { rig.status().outcome == ComponentStatus.Outcome.refused.rawValue }
        #expect(rig.stage.state == 1 && rig.stage.location == 1, "the host goes on")
        rig.damagesReturn = false
        for _ in 0..<20 { try rig.turn() }
        try rig.move(to: .device)
        try rig.verify()
    }

    /// A cut of the link, in every turn of a move: it goes on from where it was.
    @Test func aCutLinkDelaysAMove() throws {
        let rig = try rig(seed: 4)
        for destination in [ComponentPlace.host, .device] {
            rig.cutLink(true)
            #expect(rig.ask(for: destination) == .ok)
            for _ in 0..<50 { try rig.turn() }
            #expect(rig.stage.location == (destination == .host ? 0 : 1), "it hasn't moved")
            rig.cutLink(false)
            try rig.wait("the move") { rig.stage == (1, destination == .host ? 1 : 0, rig.stage.request) }
            #expect(rig.status().outcome == ComponentStatus.Outcome.done.rawValue)
        }
        try rig.verify()
    }

    /// The firmware is restarted in every turn of a move in turn.
    @Test func aRestartOfTheFirmwareLosesNothing() throws {
        let rig = try rig(depth: 8, seed: 5)
        for turns in 0..<5 {
            for destination in [ComponentPlace.host, .device] {
                // Whole, and after a restart: a reply from before it is none to what is asked now.
                try rig.move(to: destination == .host ? .device : .host)
                for _ in 0..<10 { try rig.turn() }
                #expect(rig.ask(for: destination) == .ok)
                for _ in 0..<turns { try rig.turn() }
                try rig.restartFirmware()
                try rig.wait("a component that runs") { rig.stage.state == 1 }
                for _ in 0..<10 { try rig.turn() }
            }
        }
        try rig.verify()
    }

    /// The driver resets its device while the host serves it: it waits until the device has it, then the reset takes place.
    @Test func aResetBringsTheComponentHome() throws {
        let rig = try rig(seed: 6)
        try rig.move(to: .host)
        // What a reset does to requests in flight nobody can tell.
        try rig.wait(submits: false, "the end of all requests") { rig.load.inFlight == 0 }
        rig.machine.writeBAR(function: 1, bar: 0, offset: 0x14, size: 1, value: 0, origin: 0)
        func driverStatus() -> UInt64 { rig.machine.readBAR(function: 1, bar: 0, offset: 0x14, size: 1, origin: 0).value }
        #expect(driverStatus() == 15, "not yet")
        for _ in 0..<2000 where driverStatus() != 0 {
            try rig.stepAgent()
            rig.machine.advance(by: MoveRig.turnCycles)
        }
        #expect(driverStatus() == 0)
        #expect(rig.stage.location == 0)
        try rig.load.bringUp()
        for _ in 0..<50 { try rig.turn() }
        #expect(rig.load.inFlight > 0)
    }
}
