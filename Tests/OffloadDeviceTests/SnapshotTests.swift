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
    @Test(arguments: [1, 2, 3, 4] as [UInt64])
    func whatFollowsIsTheSame(_ seed: UInt64) throws {
        var (machine, load) = try Self.loaded(seed: seed)
        let other = try Self.machine()
        var busy = 0
        for point in 0..<125 {
            for _ in 0..<Int.random(in: 1...20, using: &load.random) { try load.step(machine) }
            machine.advance(by: .random(in: 1...2000, using: &load.random))
            busy += load.inFlight
            let snapshot = machine.capture()
            var ahead = load, again = load, elsewhere = load.moved(to: other)
            let expected = try Course(of: machine, &ahead, steps: 10)
            try machine.restore(snapshot)
            #expect(try Course(of: machine, &again, steps: 10) == expected, "seed \(seed), point \(point): the same machine")
            try other.restore(snapshot)
            #expect(try Course(of: other, &elsewhere, steps: 10) == expected, "seed \(seed), point \(point): another machine")
            if point % 2 == 0 { load = again } else { try machine.restore(snapshot) }
        }
        #expect(busy > 50, "\(busy) requests in flight")
    }
}
