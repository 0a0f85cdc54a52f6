import OffloadDevice
import Simulation
import Testing

/// A device that goes on from a snapshot does what the device from which it was made does.
@Suite struct SnapshotTests {
    private static func machine() throws -> Machine {
        var description = MachineDescription.small
        description.harts = 2
        description.quantum = 1000
        return try Machine(description, pace: .lockstep)
    }

    private static func loaded(seed: UInt64) throws -> (Machine, HostLoad) {
        let machine = try machine()
        try machine.loadFirmware(try TestProgram.bothHarts().elf)
        return (machine, HostLoad(machine, functions: 1...2, seed: seed))
    }

    /// At random moments: the same machine goes back to a snapshot, and another one takes it over; both do what was done before.
    private static func compare(
        _ machine: Machine, _ other: Machine, _ load: inout HostLoad, points: Int, pause: Cycle, _ what: String
    ) throws {
        var busy = 0
        for point in 0..<points {
            for _ in 0..<Int.random(in: 1...20, using: &load.random) { try load.step(machine) }
            machine.advance(by: .random(in: 1...pause, using: &load.random))
            for _ in 0..<3 { try load.step(machine) }
            busy += load.inFlight
            let snapshot = machine.capture()
            var ahead = load, again = load, elsewhere = load.moved(to: other)
            let expected = try Course(of: machine, &ahead, steps: 10)
            try machine.restore(snapshot)
            #expect(try Course(of: machine, &again, steps: 10) == expected, "\(what), point \(point): the same machine")
            try other.restore(snapshot)
            #expect(try Course(of: other, &elsewhere, steps: 10) == expected, "\(what), point \(point): another machine")
            if point % 2 == 0 { load = again } else { try machine.restore(snapshot) }
        }
        #expect(busy > points / 3, "\(busy) requests in flight")
    }

    @Test(arguments: [1, 2, 3, 4, 5, 6] as [UInt64])
    func whatFollowsIsTheSame(_ seed: UInt64) throws {
        var (machine, load) = try Self.loaded(seed: seed)
        try Self.compare(machine, Self.machine(), &load, points: 165, pause: 2000, "seed \(seed)")
    }

    /// The standard device with the project's firmware, which samples, decides and answers meanwhile.
    @Test(.enabled(if: FirmwareRig.isBuilt, "tools/firmware builds it")) func theFirmwareGoesOn() throws {
        let rig = try FirmwareRig()
        rig.bringUp()
        var load = HostLoad(rig.machine, functions: 1...4, seed: 7)
        try Self.compare(rig.machine, Machine(MachineDescription(), pace: .lockstep), &load, points: 40, pause: 300_000, "firmware")
    }
}
