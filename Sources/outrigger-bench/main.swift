import ArgumentParser

/// Measures parts of the emulator. `tools/bench/run` compares the figures with those of other programs on the same machine.
struct Benchmarks: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "outrigger-bench", abstract: "Measure parts of the emulator.", subcommands: [CoreBenchmark.self, VirtioBenchmark.self])
}

Benchmarks.main()
