import Debugging
import FirmwareInfo
import Foundation
import OffloadDevice
import RISCV
import Testing

/// What `tools/firmware` has built.
private enum Firmware {
    static let path = String(#filePath.prefix(upTo: #filePath.range(of: "/Tests/")!.lowerBound)) + "/build/firmware/offload-manager.elf"
    static var isBuilt: Bool { access(path, R_OK) == 0 }
}

/// The project's firmware, profiled.
@Suite(.enabled(if: Firmware.isBuilt, "tools/firmware builds the image"))
struct ProfileTests {
    private func run(interval: UInt64?, cycles: UInt64) throws -> (machine: Machine, information: DebugInformation) {
        let elf = Array(try Data(contentsOf: URL(fileURLWithPath: Firmware.path)))
        let information = try DebugInformation(elf)
        let machine = try Machine(MachineDescription(), pace: .lockstep)
        try machine.loadFirmware(elf)
        if let interval { machine.inspect { $0.startProfile(interval: interval, by: information) } }
        machine.advance(by: cycles)
        return (machine, information)
    }

    private func samples(_ machine: Machine) throws -> [Profile.Sample] {
        try machine.inspect { try #require($0.profile).samples }
    }

    @Test(arguments: [1, 97, 10_000] as [UInt64]) func allCyclesAreAccountedForAndNothingChanges(interval: UInt64) throws {
        let cycles: UInt64 = 3_000_000
        let (plain, _) = try run(interval: nil, cycles: cycles)
        let (machine, information) = try run(interval: interval, cycles: cycles)
        let samples = try samples(machine)
        for hart in 0..<machine.description.harts {
            #expect(samples.filter { $0.hart == hart }.reduce(0) { $0 + $1.cycles } == machine.now)
        }
        let states = [plain, machine].map { $0.inspect { device in device.harts.map(\.state) } }
        #expect(states[0] == states[1])

        let profile = Profile(samples, information)
        #expect(profile.total == UInt64(machine.description.harts) * machine.now)
        #expect(profile.rows.reduce(0) { $0 + $1.exclusive } == profile.total)
        #expect(profile.stacks.reduce(0) { $0 + $1.cycles } == profile.total)
        let main = try #require(profile.rows.first { $0.function == "offload_main" })
        let executed = profile.total - (try #require(profile.rows.first { $0.function == Profile.waiting }).exclusive)
        #expect(main.inclusive <= executed && main.exclusive <= main.inclusive && executed > 10_000)
    }

    @Test func aDebuggerIsNoObstacle() throws {
        let cycles: UInt64 = 3_000_000
        func profile(attached: Bool, breakpoint: UInt32? = nil) throws -> (profile: ExecutionProfile, stop: DebugStop?) {
            let machine = try Machine(MachineDescription(), pace: .lockstep)
            try machine.loadFirmware(Array(try Data(contentsOf: URL(fileURLWithPath: Firmware.path))))
            machine.inspect { $0.startProfile(interval: 1, unwind: nil) }
            if attached {
                machine.attachDebugger {}
                if let breakpoint { machine.inspect { $0.insertBreakpoint(breakpoint) } }
                machine.resume([.step(while: 0..<0), .run])
                machine.resume([.run, .run])
            }
            machine.advance(by: cycles)
            return try machine.inspect { (try #require($0.profile), $0.debugStop) }
        }
        let (alone, _) = try profile(attached: false), (debugged, _) = try profile(attached: true)
        #expect(alone.cycles == debugged.cycles && alone.waiting == debugged.waiting)
        // Where a look at the hart begins a run, a breakpoint is still seen.
        let place = try #require(alone.cycles.keys.filter { $0.hart == 0 && $0.stack[0] > 0x8000_1000 }.min()).stack[0]
        #expect(try profile(attached: true, breakpoint: place).stop?.reason == .breakpoint)
    }

    @Test func withAnIntervalOfOneCyclesAreThoseOfTheirInstructions() throws {
        let (machine, information) = try run(interval: 1, cycles: 3_000_000)
        let profile = Profile(try samples(machine), information)
        // Everything that isn't start-up code is below main.
        let main = try #require(profile.rows.first { $0.function == "offload_main" })
        let start = try #require(profile.rows.first { $0.function == "_start" })
        let executed = profile.total - (try #require(profile.rows.first { $0.function == Profile.waiting }).exclusive)
        #expect(start.inclusive == main.inclusive + start.exclusive)
        #expect(executed - start.inclusive < 200, "hart 1 sleeps after a few instructions")
        #expect(profile.stacks.contains { $0.stack.starts(with: ["hart0", "_start", "offload_main", "OffloadManager.pass()"]) })
    }
}
