import Debugging
import OffloadDevice
import Scratch
import Simulation
import Testing

/// The stepper's commands on a recorded run.
@Suite struct StepperTests {
    @Test func commands() throws {
        func parse(_ line: String) throws -> StepCommand? { try StepCommand.parse(line, frequency: 1_000_000_000) }
        #expect(try parse("") == nil && parse("   # a remark") == nil)
        #expect(try parse("n") == .move(.next, .event(filter: "access"), count: 1))
        #expect(try parse("previous i 5") == .move(.previous, .instruction, count: 5))
        #expect(try parse("next line") == .move(.next, .line, count: 1))
        #expect(try parse("p write WDT.CTRL") == .move(.previous, .event(filter: "write and WDT.CTRL"), count: 1))
        #expect(try parse("next write and size == 4") == .move(.next, .event(filter: "write and size == 4"), count: 1))
        #expect(try parse("next change WA.CTRL.enable and time > 5us")
            == .move(.next, .event(filter: "changed(WA.CTRL.enable) and time > 5us"), count: 1))
        #expect(try parse("next dma or fault") == .move(.next, .event(filter: "dma or fault"), count: 1))
        #expect(try parse("next function main") == .move(.next, .function("main"), count: 1))
        #expect(try parse("goto 12") == .goto(.cycle(12)) && parse("goto 0x10") == .goto(.cycle(16)))
        #expect(try parse("goto +3us") == .goto(.on(3000)) && parse("g -1s") == .goto(.back(1_000_000_000)))
        #expect(try parse("goto start") == .goto(.start) && parse("goto end") == .goto(.end))
        #expect(try parse("who SYSCTL.SCRATCH") == .who("SYSCTL.SCRATCH") && parse("b") == .backtrace && parse("q") == .quit)
        for mistake in [
            "explode", "goto", "goto 5 6", "goto 5parsecs", "goto 99999999999999999999", "goto 18446744073709551615s", "who", "hart x",
            "events 0", "next instruction 0", "next instruction many", "next function", "info now",
        ] {
            #expect(throws: StepError.self, "\(mistake)") { try parse(mistake) }
        }
    }

    private func stepper(_ folder: TemporaryFolder) throws -> Stepper {
        Stepper(try Timeline(RecordedRun.record(in: folder)), firmware: nil, symbols: nil)
    }

    @Test func searching() throws {
        let folder = try TemporaryFolder()
        let stepper = try stepper(folder)
        func perform(_ line: String) throws -> [String] { try #require(try stepper.perform(line)) }
        let first = try perform("next write ACLINT.MSIP[1]")
        #expect(first[0].contains("ACLINT.MSIP[1]") && first[0].contains("0x0 -> 0x1"))
        let second = try perform("next change ACLINT.MSIP[1]")
        #expect(second[0].contains("0x1 -> 0x0"))
        #expect(try perform("previous change ACLINT.MSIP[1].msip") == first)
        #expect(try perform("who ACLINT.MSIP[1]") == first, "also where its effect is the last thing that happened")
        _ = try perform("goto end")
        let last = try perform("who HOSTIF.SCRATCH[2]")
        #expect(last[0].contains("host0") && last[0].contains("HOSTIF.SCRATCH[2]"))
        #expect(try perform("next write HOSTIF.SCRATCH[3]")[0].contains("host0"))
        #expect(throws: StepError.self) { try stepper.perform("next write WDT.CTRL") }
        #expect(try perform("previous function 0x80000064")[0].contains("hart 0 at 0x80000064"))
        #expect(try stepper.perform("quit") == nil)
    }

    @Test func looking() throws {
        let folder = try TemporaryFolder()
        let stepper = try stepper(folder)
        func perform(_ line: String) throws -> [String] { try #require(try stepper.perform(line)) }
        #expect(try perform("show ACLINT.MSIP[1] HOSTIF.SCRATCH")[0].hasPrefix("  ACLINT.MSIP[1]  0x0"))
        #expect(try perform("next write ACLINT.MSIP[1]").contains { $0.hasPrefix("* ACLINT.MSIP[1]  0x0 -> 0x1") })
        #expect(try perform("next instruction").contains { $0.hasPrefix("  ACLINT.MSIP[1]  0x1") })
        #expect(try perform("events 2").count == 2 && perform("events 2")[1].contains("ACLINT.MSIP[1]"))
        #expect(try perform("hart 1")[0].contains("hart 1") && perform("info").contains { $0.hasPrefix("* hart 1") })
        #expect(try perform("regs HOSTIF.MAGIC")[0].contains("0x"))
        #expect(try perform("queues") == ["no virtqueue is enabled"])
        #expect(try perform("backtrace")[0].hasPrefix("#0  0x"))
        #expect(try perform("checkpoints").count >= 1 && !perform("help").isEmpty)
        for mistake in ["hart 2", "regs NONE.AT", "show WDT.NONE", "next line", "next function main"] {
            #expect(throws: StepError.self, "\(mistake)") { try stepper.perform(mistake) }
        }
        for (width, height) in [(100, 30), (40, 10), (8, 3), (250, 80)] {
            let lines = stepper.panes().lines(width: width, height: height, answer: ["one", "two"])
            #expect(lines.count <= max(height, 9), "\(width) by \(height): \(lines.count)")
            #expect(lines.dropFirst().allSatisfy { $0.count <= width + 3 })
        }
    }
}
