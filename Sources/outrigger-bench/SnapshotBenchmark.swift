import ArgumentParser
import Glibc
import OffloadDevice
import Scratch

/// What it costs to save the state of a device at work, and to go back to it.
struct SnapshotBenchmark: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "snapshot", abstract: "Snapshots of a device under load, in memory.")

    @Option(help: "Snapshots that are made and gone back to.") var rounds = 50
    @Option(help: "Requests, of 4 KiB, between one snapshot and the next.") var requests = 64
    @Option(help: "Virtual functions that have a driver.") var functions = 4
    @Option(help: "The firmware (ELF); without one the hart is at rest.") var firmware: String?
    @OptionGroup var output: OutputOptions

    func validate() throws {
        guard rounds > 0 else { throw ValidationError("--rounds: at least 1 expected, \(rounds) found") }
        guard requests > 0 else { throw ValidationError("--requests: at least 1 expected, \(requests) found") }
        guard (1...64).contains(functions) else { throw ValidationError("--functions: 1...64 expected, \(functions) found") }
    }

    func run() throws {
        var description = MachineDescription()
        description.virtualFunctions.enabled = functions
        let machine = try Machine(description, pace: .lockstep)
        if let firmware {
            try machine.loadFirmware(try readFile(firmware))
            machine.advance(by: 2_000_000)
        }
        let drivers = try (1...functions).map { try BlockDriver(machine, function: $0, depth: 8, bytes: 4096) }
        for driver in drivers { driver.begin() }
        try work(machine, drivers)
        var captures: [Double] = [], restores: [Double] = []
        var first: Snapshot?
        let full = seconds { first = machine.capture() }
        guard var before = first else { return }
        for _ in 0..<rounds {
            try work(machine, drivers)
            var after = before
            captures.append(seconds { after = machine.capture() })
            // Back, and forth again: the drivers go on from where they are.
            restores.append(try seconds { try machine.restore(before) })
            try machine.restore(after)
            before = after
        }
        output.print([
            ("first_us", full * 1e6), ("capture_us", median(captures) * 1e6), ("restore_us", median(restores) * 1e6),
            ("slowest_us", (captures + restores).reduce(0, Swift.max) * 1e6), ("file_bytes", Double(before.bytes.count)),
            ("copy_us", copyMemories(machine) * 1e6),
        ])
    }

    private func work(_ machine: Machine, _ drivers: [BlockDriver]) throws {
        var done = 0
        while done < requests {
            machine.advance(by: 20_000)
            for driver in drivers { done += try driver.serve() }
        }
    }

    /// The yardstick: a plain copy of the memories that the host can map.
    private func copyMemories(_ machine: Machine) -> Double {
        let memories = [machine.sharedMemory.bytes, machine.hostMemory.bytes]
        let copies = memories.map { UnsafeMutableRawBufferPointer.allocate(byteCount: $0.count, alignment: 4096) }
        defer { for copy in copies { copy.deallocate() } }
        for copy in copies { copy.initializeMemory(as: UInt8.self, repeating: 1) }
        return seconds { for (copy, memory) in zip(copies, memories) { copy.copyMemory(from: UnsafeRawBufferPointer(memory)) } }
    }

    private func seconds(_ body: () throws -> Void) rethrows -> Double {
        let start = processorTime()
        try body()
        return processorTime() - start
    }

    private func median(_ values: [Double]) -> Double { values.sorted()[values.count / 2] }
}
