import ArgumentParser

/// Measures the device in process. The programs of `tools/bench` compare its figures with those of other software on the same machine.
struct Benchmarks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outrigger-bench", abstract: "Measure the device in process.",
        subcommands: [
            ProgramBenchmark.self, VirtioBenchmark.self, NetworkBenchmark.self, VhostUserBenchmark.self, SnapshotBenchmark.self,
            StepBenchmark.self,
        ])
}

Benchmarks.main()
