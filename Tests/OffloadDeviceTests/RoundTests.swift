import OffloadDevice
import Registers
import RISCV
import Simulation
import Testing

/// Two harts that never rest and look at each other's results: where a round ends, and who had its turn, shows in all that follows.
@Suite struct RoundTests {
    /// What a run leaves behind.
    private struct Outcome: Equatable {
        var digest: UInt64?
        var harts: [HartState]
        var memory: [UInt32]
        var position: Position
    }

    private static let shared: UInt32 = 0x4000_0000
    /// A multiple of the quantum.
    private static let end: Cycle = 400_000

    /// Each hart adds the other's result and the time to its own, in a loop, and prints; hart 1 is started by hart 0.
    private static func program() throws -> (elf: [UInt8], loops: [UInt32]) {
        var program = TestProgram()
        let secondStart = program.here + 0x200
        program.poke(try address("SYSCTL.HART[1].BOOT_ADDRESS"), secondStart)
        program.poke(try address("SYSCTL.HART[1].CTRL"), 3)
        var loops: [UInt32] = []
        for hart in 0..<2 as Range<UInt32> {
            while hart == 1, program.here < secondStart { program.add(.zero, .zero, 0) }
            program.load(.s0, Self.shared)
            program.load(.s1, UInt32(try address("ACLINT.MTIME")))
            program.load(.a3, UInt32(try address("UART.DATA")))
            loops.append(program.here)
            program.read(.a0, .s0, Int32(64 - 64 * hart))
            program.read(.a1, .s0, Int32(64 * hart))
            program.read(.a2, .s1)
            program.sum(.a0, .a0, .a1)
            program.sum(.a0, .a0, .a2)
            program.add(.a0, .a0, Int32(hart + 1))
            program.write(.a0, .s0, Int32(64 * hart))
            if hart == 0 { program.write(.a0, .a3) }
            program.jump(to: loops[Int(hart)])
        }
        return (program.elf, loops)
    }

    private static func machine() throws -> Machine {
        var description = MachineDescription.small
        description.harts = 2
        description.quantum = 1000
        let machine = try Machine(description, pace: .lockstep)
        machine.startDigest()
        try machine.loadFirmware(try program().elf)
        return machine
    }

    private func outcome(_ machine: Machine) -> Outcome {
        let digest = machine.digest
        return machine.inspect { device in
            Outcome(
                digest: digest, harts: device.harts.map(\.state),
                memory: (0..<32).map { UInt32(device.peek(.firmware, UInt64(Self.shared) + 4 * $0, size: 4) ?? 0) },
                position: device.position)
        }
    }

    private func finish(_ machine: Machine) {
        machine.inspect { device in while device.scheduler.now < Self.end { device.runRound(until: Self.end) } }
    }

    /// A run that nothing disturbs.
    private func undisturbed() throws -> Outcome {
        let machine = try Self.machine()
        finish(machine)
        return outcome(machine)
    }

    @Test func bothHartsAreBusy() throws {
        let outcome = try undisturbed()
        #expect(outcome.position.cycle == Self.end && outcome.position.isBetweenRounds)
        #expect(outcome.harts.allSatisfy { $0.retired > 30_000 }, "\(outcome.harts.map(\.retired))")
        #expect(outcome.memory[0] != 0 && outcome.memory[16] != 0)
    }

    /// Breakpoints, watchpoints, steps of either hart, requests: wherever a debugger stops, the run is the same.
    @Test(arguments: 1...8 as ClosedRange<UInt64>) func aDebuggersStopsChangeNothing(seed: UInt64) throws {
        let machine = try Self.machine()
        let loops = try Self.program().loops
        var random = SplitMix64(seed: seed)
        machine.attachDebugger {}
        var stops = 0
        while machine.now < Self.end {
            let address = loops.randomElement(using: &random)! + 4 * .random(in: 0...7, using: &random)
            let word = UInt64(Self.shared) + 64 * .random(in: 0...1, using: &random)
            let watchpoint = Watchpoint(address: word, count: 4, kind: [.read, .write, .access].randomElement(using: &random)!)
            var actions = [HartAction.run, .run]
            switch Int.random(in: 0...4, using: &random) {
            case 0: machine.inspect { $0.insertBreakpoint(address) }
            case 1: machine.inspect { $0.insertWatchpoint(watchpoint) }
            case 2: actions[.random(in: 0...1, using: &random)] = .step(while: 0..<0)
            case 3: actions[.random(in: 0...1, using: &random)] = .step(while: loops[0]..<address)
            default: break
            }
            machine.resume(actions)
            // Where nothing else stops the harts, a request does.
            let rounds = Int.random(in: 1...8, using: &random)
            machine.inspect { device in
                for _ in 0..<rounds where device.scheduler.now < Self.end { device.runRound(until: Self.end) }
            }
            if machine.inspect({ $0.debugStop }) != nil { stops += 1 }
            machine.hold()
            machine.inspect {
                $0.removeBreakpoint(address)
                $0.removeWatchpoint(watchpoint)
            }
        }
        machine.detachDebugger()
        finish(machine)
        #expect(stops > 20, "seed \(seed)")
        #expect(try outcome(machine) == undisturbed(), "seed \(seed)")
    }

    /// A run finds the positions of another again, exactly, one by one and from afar.
    @Test(arguments: 1...4 as ClosedRange<UInt64>) func positionsAreFoundAgain(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let machine = try Self.machine()
        var places: [Outcome] = []
        while machine.now < Self.end - 3000 {
            machine.inspect { device in
                var target = device.position
                target.round += .random(in: 0...3, using: &random)
                target.hart = [0, 1, Position.roundEnd, Position.between].randomElement(using: &random)!
                target.time = target.hart < 2 ? target.cycle + .random(in: 0...2000, using: &random) : 0
                // Nobody knows the cycle yet; by then the round is over.
                target.cycle += 5 * device.description.quantum
                device.run(to: target)
                #expect(device.position >= target || device.position.hart == target.hart)
            }
            places.append(outcome(machine))
        }
        #expect(places.count > 30 && Set(places.map(\.position)).count > 30, "seed \(seed)")
        #expect(places.map(\.position) == places.map(\.position).sorted())

        let again = try Self.machine()
        for place in places {
            again.inspect { $0.run(to: place.position) }
            #expect(again.inspect { $0.position } == place.position, "seed \(seed)")
            let isSame = outcome(again) == place
            #expect(isSame, "seed \(seed), \(place.position)")
        }
        let last = try #require(places.last)
        let afar = try Self.machine()
        afar.inspect { $0.run(to: last.position) }
        let isSame = outcome(afar) == last
        #expect(isSame, "seed \(seed), \(last.position)")
        for machine in [machine, again, afar] { finish(machine) }
        #expect(outcome(machine) == outcome(again) && outcome(machine) == outcome(afar))
        #expect(try outcome(machine) == undisturbed())
    }

    /// What comes while a debugger holds the harts within a round can be done again at the same position.
    @Test func inputsWithinARound() throws {
        let machine = try Self.machine()
        machine.attachDebugger {}
        var places: [Position] = []
        for round in 0..<50 as Range<UInt64> {
            let watchpoint = Watchpoint(address: UInt64(Self.shared) + 64 * (round % 2), count: 4, kind: .write)
            machine.inspect { $0.insertWatchpoint(watchpoint) }
            machine.resume([.run, .run])
            machine.inspect { device in while device.debugStop == nil { device.runRound(until: Self.end) } }
            machine.inspect { $0.removeWatchpoint(watchpoint) }
            places.append(machine.inspect { $0.position })
            machine.write(0, 2, 64 * (round % 2), round)
            if round == 25 { try machine.restartFirmware() }
        }
        machine.detachDebugger()
        #expect(places.allSatisfy { !$0.isBetweenRounds })
        finish(machine)

        let again = try Self.machine()
        for (index, place) in places.enumerated() {
            let round = UInt64(index)
            again.inspect { $0.run(to: place) }
            #expect(again.inspect { $0.position } == place)
            // In lockstep the host's access would go on with the round: a debugger holds it, as it was.
            again.attachDebugger {}
            again.write(0, 2, 64 * (round % 2), round)
            if round == 25 { try again.restartFirmware() }
            again.detachDebugger()
        }
        finish(again)
        #expect(outcome(machine) == outcome(again))
    }

    /// A position that no inputs lead to, as a hostile journal may have it: more rounds than there is time for.
    @Test func anUnreachablePositionIsNotWaitedFor() throws {
        let asleep = try Machine(.small, pace: .lockstep), awake = try Self.machine()
        for machine in [asleep, awake] {
            let target = Position(round: .max, hart: Position.between, time: 0, cycle: 50_000, inputs: 0)
            machine.inspect { $0.run(to: target) }
            let position = machine.inspect { $0.position }
            #expect(position < target && position.cycle >= target.cycle)
        }
    }

    /// A hart that a debugger keeps executes nothing while the other goes on.
    @Test func aHartIsKept() throws {
        let machine = try Self.machine()
        machine.advance(by: 10_000)
        machine.attachDebugger {}
        machine.resume([.run, .hold])
        let before = machine.inspect { $0.harts.map(\.state.retired) }
        machine.advance(by: 10_000)
        let after = machine.inspect { $0.harts.map(\.state.retired) }
        #expect(after[0] > before[0] + 500 && after[1] == before[1])
        machine.detachDebugger()
        machine.advance(by: 10_000)
        #expect(machine.inspect { $0.harts[1].state.retired } > before[1] + 500)
    }
}
