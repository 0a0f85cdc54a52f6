import ArgumentParser
import Debugging
import FirmwareInfo
import Presentation

struct FirmwareProfile: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "profile",
        abstract: "Where the harts spend their cycles, by function.",
        discussion: """
            A running device is looked at for so many cycles of its own time: with --pace realtime they pass by themselves, with \
            another pace this command lets them pass. A recording is looked at from --at on, or from its start. All cycles are accounted \
            for; with --interval 1 each is where it was spent. The look changes nothing in what the device does. \
            Examples: outrigger firmware profile /mnt/device --cycles 10000000; outrigger firmware profile run.rec --at 3ms
            """)

    enum Format: String, ExpressibleByArgument, CaseIterable {
        case text, folded, json
    }

    @OptionGroup var place: FirmwareSource

    @Option(help: "Device cycles to look for; without it 100000000, of a recording all that follow.")
    var cycles: UInt64?

    @Option(help: "Executed cycles from one look at a hart's call stack to the next.")
    var interval: UInt64 = 997

    @Option(help: "'text': a table; 'folded': stacks and cycles, for flame graphs; 'json'.")
    var format = Format.text

    @Flag(help: "Inlined functions count as functions.")
    var inlined = false

    func validate() throws {
        guard cycles != 0 else { throw ValidationError("--cycles: at least 1 expected, 0 found") }
        guard interval > 0 else { throw ValidationError("--interval: at least 1 expected, 0 found") }
    }

    func run() throws {
        // In cycle 0 the firmware has been loaded.
        let source = try place.open(orAt: .cycle(0))
        let information = try place.information(of: source)
        let samples = switch source {
        case .live(let firmware): try samples(of: firmware)
        case .recording(let timeline): try timeline.profile(for: cycles ?? .max, interval: interval, by: information).samples
        case .snapshot: throw UsageError("\(place.source): expected a running device or a recording, found a snapshot, which never runs")
        }
        let profile = Profile(samples, information, inlined: inlined)
        switch format {
        case .text: printTable(profile)
        case .folded: for (stack, cycles) in profile.stacks { print(stack.joined(separator: ";"), cycles) }
        case .json:
            print(JSON.object([
                ("cycles", .number(profile.total)),
                ("functions", .array(profile.rows.map { row in
                    .object([
                        ("function", .string(row.function)), ("exclusive", .number(row.exclusive)), ("inclusive", .number(row.inclusive)),
                    ])
                })),
            ]).text)
        }
    }

    private func samples(of memory: LiveFirmware) throws -> [Profile.Sample] {
        try memory.write("start \(interval)\n", to: "profile")
        defer { try? memory.write("stop\n", to: "profile") }
        try memory.letTimePass(cycles ?? 100_000_000)
        return try Profile.samples(memory.text(of: "profile"))
    }

    private func printTable(_ profile: Profile) {
        func share(_ cycles: UInt64) -> String {
            let permille = profile.total == 0 ? 0 : (cycles * 1000 + profile.total / 2) / profile.total
            return rightColumn(permille / 10, 4) + ".\(permille % 10) %"
        }
        print("   exclusive           inclusive           function")
        for row in profile.rows {
            let exclusive = rightColumn(row.exclusive, 12) + share(row.exclusive)
            let inclusive = rightColumn(row.inclusive, 11) + share(row.inclusive)
            print("\(exclusive) \(inclusive)  \(row.function)")
        }
        print("\(rightColumn(profile.total, 12)) cycles of all harts")
    }
}
