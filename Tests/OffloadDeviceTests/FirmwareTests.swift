import OffloadDevice
import RegisterMaps
import Testing

@Suite(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds it")) struct FirmwareTests {
    /// Loads the firmware and waits until it says that it is ready.
    private func boot(_ description: MachineDescription = .small) throws -> (Machine, ConsoleText) {
        let machine = try Machine(description, pace: .lockstep)
        let console = ConsoleText()
        machine.onConsoleOutput { console.append($0) }
        try machine.loadFirmware(FirmwareRig.read())
        #expect(try isReady(machine), "console: \(console.text)")
        return (machine, console)
    }

    private func isReady(_ machine: Machine) throws -> Bool {
        let offset = try hostOffset("HOSTIF.FIRMWARE")
        return machine.run(atMost: 200_000_000) {
            HOSTIF.FIRMWARE.state.value(in: machine.read(0, 0, offset)) == HOSTIF.FirmwareState.ready.rawValue
        }
    }

    @Test func itBootsAndItsHeartBeats() throws {
        let (machine, console) = try boot()
        let heartbeat = try hostOffset("HOSTIF.HEARTBEAT")
        let first = machine.read(0, 0, heartbeat)
        machine.advance(by: 50_000_000)
        #expect(machine.read(0, 0, heartbeat) > first)
        #expect(!console.text.isEmpty)
        machine.inspect { device in
            #expect(device.crossbar.errorLog.count == 0, "\(String(describing: device.crossbar.errorLog.first))")
        }
    }

    @Test func aRestartBringsItBack() throws {
        let (machine, _) = try boot()
        try machine.restartFirmware()
        machine.advance(by: 1_000)
        #expect(try isReady(machine))
        machine.inspect { #expect($0.systemController.registers[SYSCTL.RESET_COUNT] == 2) }
    }

    @Test func twoBootsGiveOneTrace() throws {
        func digest() throws -> UInt64? {
            let machine = try Machine(.small, pace: .lockstep)
            machine.startDigest()
            try machine.loadFirmware(FirmwareRig.read())
            machine.advance(by: 30_000_000)
            return machine.digest
        }
        #expect(try digest() == digest())
    }
}
