import OffloadDevice
import Registers
import Simulation
import Testing

@Suite struct DeterminismTests {
    /// Plays a script of random host accesses and advances.
    private func play(seed: UInt64, on machine: Machine) throws {
        var random = SplitMix64(seed: seed)
        for _ in 0..<200 {
            switch Int.random(in: 0..<5, using: &random) {
            case 0: machine.advance(by: .random(in: 0...3000, using: &random))
            case 1: machine.write(0, 2, 4 * .random(in: 0...7, using: &random), .random(in: 0...0xffff, using: &random))
            case 2: _ = machine.read(0, 2, 8)
            case 3: _ = machine.readBAR(function: 0, bar: 0, offset: 4 * .random(in: 0...2000, using: &random), size: 4, origin: 7)
            default: _ = machine.readBAR(function: .random(in: 1...3, using: &random), bar: 0, offset: 0x14, size: 1, origin: 7)
            }
        }
    }

    private func digest(seed: UInt64) throws -> (UInt64, Cycle) {
        let machine = try Machine(.small, pace: .lockstep)
        machine.startDigest()
        try machine.loadFirmware(try TestProgram.restless().elf)
        try play(seed: seed, on: machine)
        return (try #require(machine.digest), machine.now)
    }

    @Test func oneScriptGivesOneTrace() throws {
        let first = try digest(seed: 1)
        let second = try digest(seed: 1)
        let other = try digest(seed: 2)
        #expect(first == second)
        #expect(first.0 != other.0)
    }

    @Test func machinesInOneProcessDoNotInterfere() throws {
        let alone = try digest(seed: 3)
        let machines = try (0..<2).map { _ in try Machine(.small, pace: .lockstep) }
        for machine in machines {
            machine.startDigest()
            try machine.loadFirmware(try TestProgram.restless().elf)
        }
        try play(seed: 4, on: machines[1])
        try play(seed: 3, on: machines[0])
        #expect(machines[0].digest == alone.0)
        #expect(machines[0].now == alone.1)
    }

    @Test func lookingChangesNothing() throws {
        let machine = try Machine(.small, pace: .lockstep)
        machine.startDigest()
        try machine.loadFirmware(try TestProgram.restless().elf)
        try play(seed: 5, on: machine)
        let digest = machine.digest
        let now = machine.now
        machine.inspect { device in
            for block in BusMap.firmwareBus.blocks {
                for offset in stride(from: 0, to: min(block.map.size, 0x4000), by: 4) {
                    _ = device.peek(.firmware, block.base + offset, size: 4)
                }
            }
        }
        #expect(machine.digest == digest)
        #expect(machine.now == now)
    }
}
