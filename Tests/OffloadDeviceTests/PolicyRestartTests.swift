import AdminProtocol
import OffloadDevice
import Simulation
import Testing

/// Uploaded policies outlive the firmware's restarts and crashes, whole or not at all.
@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds the firmware")) struct PolicyRestartTests {
    /// r0 = number, as often as is said; exit.
    private func program(_ number: UInt8, times: Int = 1) -> [UInt8] {
        (0..<times).flatMap { _ in [0xb7, 0, 0, 0, number, 0, 0, 0] } + [0x95, 0, 0, 0, 0, 0, 0, 0]
    }

    private func entry(_ rig: FirmwareRig, _ number: UInt32) -> PolicyEntry? {
        let answer = rig.send(AdminCommand(.describePolicy), FirmwareRig.bytes(PolicySelect(number: number)))
        return answer.status == 0 ? rig.result(PolicyEntry.self) : nil
    }

    private func select(_ rig: FirmwareRig, _ number: UInt32) {
        var parameters = PolicyParameters()
        (parameters.policy, parameters.periodWindows) = (number, 1)
        #expect(rig.send(AdminCommand(.setPolicy), FirmwareRig.bytes(parameters)).status == 0)
    }

    private func selected(_ rig: FirmwareRig) -> UInt32 {
        #expect(rig.send(AdminCommand(.getPolicy)).status == 0)
        return rig.result(PolicyParameters.self).policy
    }

    private func restarted(_ rig: FirmwareRig) {
        #expect(rig.wait(200_000) { rig.state != 2 } && rig.wait(200_000) { rig.state == 2 }, "no firmware: \(rig.consoleText)")
        rig.enableRings()
    }

    private func restart(_ rig: FirmwareRig) throws {
        try rig.machine.restartFirmware()
        restarted(rig)
    }

    /// A crash: a memory error where the event loop counts its rounds.
    private func crash(_ rig: FirmwareRig) throws {
        try rig.machine.injectMemoryError(at: UInt64(rig.symbol("offload_counters").address), isCorrectable: false)
        restarted(rig)
    }

    @Test func anUploadedPolicyOutlivesRestartsAndCrashes() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        rig.install(program(0), as: 4, named: "first")
        rig.install(program(0, times: 3), as: 6, named: "second")
        let values = PolicyValues(number: 6, values: TuningValues(1, 2, 3, 0xffff_ffff))
        #expect(rig.send(AdminCommand(.tunePolicy), FirmwareRig.bytes(values)).status == 0)
        select(rig, 4)
        rig.load(windows: 5, [(1, 10, 4096)])
        #expect(try #require(entry(rig, 4)).evaluations > 0)
        let kept = try [4, 6].map { try #require(entry(rig, $0)) }
        for round in 0..<3 {
            if round == 1 { try crash(rig) } else { try restart(rig) }
            #expect(selected(rig) == 4)
            for before in kept {
                let now = try #require(entry(rig, before.number))
                #expect(now.name == before.name && now.instructions == before.instructions && now.values == before.values)
            }
            rig.load(windows: 5, [(1, 10, 4096)])
            let now = try #require(entry(rig, 4))
            #expect(now.evaluations > 0 && now.faults == 0, "it decides")
        }
        // One that is taken away stays away, and one that is replaced comes back as it is now.
        rig.install(program(0, times: 3), as: 4, named: "third")
        #expect(rig.send(AdminCommand(.removePolicy), FirmwareRig.bytes(PolicySelect(number: 6))).status == 0)
        try restart(rig)
        #expect(entry(rig, 6) == nil)
        #expect(try #require(entry(rig, 4)).instructions == 4)
    }

    @Test func aPolicyThatFailedComesBackAsTheOneThatItHadReplaced() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        rig.install(program(0, times: 3), as: 5, named: "good")
        select(rig, 5)
        rig.load(windows: 3, [(1, 10, 4096)])
        rig.install(program(1), as: 5, named: "gives up")
        rig.load(windows: 3, [(1, 10, 4096)])
        #expect(try #require(entry(rig, 5)).instructions == 4)
        try restart(rig)
        #expect(try #require(entry(rig, 5)).instructions == 4 && selected(rig) == 5)
    }

    /// Every bit of a place that matters, one at a time: the policy is as it was, or it is gone.
    @Test func aDamagedPolicyIsGone() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        rig.install(program(0), as: 4, named: "kept")
        select(rig, 4)
        let place = Int(try rig.symbol("offload_kept").address - 0x8000_0000)
        func flip(_ offset: Int, _ bit: UInt8) {
            rig.machine.inspect { device in
                let byte = device.sram.memory.pages.bytes.baseAddress! + place + offset
                byte.storeBytes(of: byte.load(as: UInt8.self) ^ 1 << bit, as: UInt8.self)
            }
        }
        var random = SplitMix64(seed: 5)
        for offset in [0, 4, 7, 8, 24, 48, 63] {
            let bit = UInt8(random.next() % 8)
            flip(offset, bit)
            try restart(rig)
            #expect(entry(rig, 4) == nil && selected(rig) == PolicyNumber.fair, "byte \(offset), bit \(bit)")
            #expect(rig.wait(2_000) { rig.consoleText.contains("uploaded policies lost") })
            flip(offset, bit)
            try restart(rig)
            #expect(entry(rig, 4) != nil, "what is whole is taken")
            select(rig, 4)
        }
        // A checksum that is right makes no program that isn't: an access outside of what a program may reach.
        rig.machine.inspect { device in
            let bytes = device.sram.memory.pages.bytes.baseAddress! + place
            bytes.storeBytes(of: 0x61, toByteOffset: 48, as: UInt8.self)
            bytes.storeBytes(of: 0x7fff, toByteOffset: 50, as: UInt16.self)
            var checksum = Checksum()
            for offset in 4..<64 { checksum.add(bytes.load(fromByteOffset: offset, as: UInt8.self)) }
            bytes.storeBytes(of: checksum.value, as: UInt32.self)
        }
        try restart(rig)
        #expect(entry(rig, 4) == nil && selected(rig) == PolicyNumber.fair)
    }
}
