import ArgumentParser
import Debugging
import Glibc
import OffloadDevice
import Scratch
import Simulation
import Tracing

/// What it costs to go to a place of a long recording, and one back from there.
struct StepBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "step", abstract: "Going to places of a recording, and back by an instruction or an access.")

    @Option(help: "Instructions of the recording, in millions.") var millions: UInt64 = 1000
    @Option(help: "Places.") var places = 40
    @OptionGroup var output: OutputOptions

    func run() throws {
        let folder = try TemporaryFolder()
        let machine = try Machine(MachineDescription(), pace: .lockstep)
        try machine.startRecording(folder: folder.path)
        try machine.loadFirmware(Self.program)
        // The host looks at the device now and then.
        while machine.inspect({ $0.harts[0].retired }) < millions * 1_000_000 {
            machine.advance(by: 10_000_000)
            _ = machine.readBAR(function: 0, bar: 0, offset: 0, size: 4, origin: 1)
        }
        let recorded = machine.inspect { $0.harts[0].retired }
        if let failure = machine.stopRecording() { throw failure }

        let timeline = try Timeline(try Recording(folder: folder.path))
        let replay = try seconds { try timeline.go(to: timeline.end) }
        var random = SplitMix64(seed: 1)
        let writes = TimelineSearch(event: { if case .access(let access) = $0 { access.isWrite } else { false } })
        var jumps: [Double] = [], instructions: [Double] = [], accesses: [Double] = []
        for _ in 0..<places {
            let cycle = Cycle.random(in: 1_000_000...timeline.end.cycle, using: &random)
            jumps.append(try seconds { try timeline.go(toCycle: cycle) })
            instructions.append(try seconds { _ = try timeline.stepBack(hart: 0) })
            accesses.append(try seconds { _ = try timeline.findPrevious(writes) })
        }
        output.print([
            ("instructions", Double(recorded)), ("replay_seconds", replay), ("jump_ms", median(jumps) * 1000),
            ("instruction_ms", median(instructions) * 1000), ("access_ms", median(accesses) * 1000),
            ("slowest_ms", (instructions + accesses).reduce(0, Swift.max) * 1000), ("checkpoints", Double(timeline.checkpointPlaces.count)),
        ])
    }

    /// An ELF32 executable with one segment: counts in memory all the time, and into MSIP of hart 1 after every 4096th count.
    ///
    ///     lui t0, 0x80001; lui t2, 0x2000
    ///     loop: addi t1, t1, 1; sw t1, 0(t0); slli a0, t1, 20; bnez a0, loop; srli a1, t1, 12; sw a1, 4(t2); j loop
    private static var program: [UInt8] {
        let code: [UInt32] = [
            0x8000_12b7, 0x0200_03b7, 0x0013_0313, 0x0062_a023, 0x0143_1513, 0xfe05_1ae3, 0x00c3_5593, 0x00b3_a223, 0xfe9f_f06f,
        ]
        let base: UInt32 = 0x8000_0000, size = UInt32(code.count * 4)
        let header: [UInt32] = [
            0x464c_457f, 0x0001_0101, 0, 0, 0x00f3_0002, 1, base, 52, 0, 0, 0x0020_0034, 0x0028_0001, 0,
            1, 84, base, base, size, size, 5, 4,
        ]
        return (header + code).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
    }

    private func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = processorTime()
        try body()
        return processorTime() - start
    }

    private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
