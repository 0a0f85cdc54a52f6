import OffloadDevice
import RegisterMaps
import Registers
import Testing

/// Machines with a thread of their own. Nothing here looks at the wall clock: what is awaited comes, or the test's limit ends it.
@Suite(.timeLimit(.minutes(2))) struct PaceTests {
    @Test(arguments: [Machine.Pace.realtime(ratio: 1), .realtime(ratio: 50), .max])
    func theMachinesThreadRunsTheFirmware(pace: Machine.Pace) async throws {
        let machine = try Machine(.small, pace: pace)
        let (bytes, continuation) = AsyncStream.makeStream(of: UInt8.self)
        machine.onConsoleOutput { continuation.yield($0) }
        machine.start()
        var program = TestProgram()
        program.poke(try address("UART.IIR_FCR"), 7)
        program.print("run\n")
        program.wait()
        try machine.loadFirmware(program.elf)
        var text = ""
        for await byte in bytes {
            text.unicodeScalars.append(Unicode.Scalar(byte))
            if text.hasSuffix("\n") { break }
        }
        #expect(text == "run\n")
        machine.stop()
        let stopped = machine.now
        for _ in 0..<100 { #expect(machine.inspect { $0.scheduler.now } == stopped) }
    }

    /// Programs of the host get their turn while the firmware never rests, and each sees what it wrote itself.
    @Test(arguments: [Machine.Pace.realtime(ratio: 1), .max])
    func hostProgramsAndABusyFirmwareShareTheMachine(pace: Machine.Pace) async throws {
        let machine = try Machine(.small, pace: pace)
        machine.start()
        var program = TestProgram()
        program.load(.s0, 0x4000_0000)
        let loop = program.here
        program.add(.a0, .a0, 1)
        program.write(.a0, .s0)
        program.jump(to: loop)
        try machine.loadFirmware(program.elf)
        await withTaskGroup(of: Int.self) { group in
            for number in 1...4 as ClosedRange<UInt64> {
                group.addTask {
                    (0..<500 as Range<UInt64>).count { round in
                        machine.write(0, 2, number * 4, number << 16 | round)
                        return machine.read(0, 2, number * 4) != number << 16 | round
                    }
                }
            }
            for await mistakes in group { #expect(mistakes == 0) }
        }
        let before = machine.read(0, 2, 0)
        while machine.read(0, 2, 0) == before { await Task.yield() }
        machine.stop()
    }

    /// A host program that sleeps until an interrupt gets it from a machine whose time nobody else moves.
    @Test func waitingMovesTimeAtPaceMax() throws {
        let machine = try Machine(.small, pace: .max)
        machine.start()
        let start = machine.now
        #expect(machine.waitForInterrupt(function: 0, after: 0) == 0)
        #expect(machine.now >= start + 2 * MachineDescription.small.clockHertz)
        machine.stop()
    }

    @Test func aMachineCanBeStoppedAndStartedAgain() throws {
        let machine = try Machine(.small, pace: .max)
        for _ in 0..<20 {
            machine.start()
            machine.start()
            machine.stop()
            machine.stop()
        }
        machine.advance(by: 1000)
        #expect(machine.now == 1000)
    }
}
