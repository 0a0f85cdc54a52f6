import FirmwareInfo

/// The firmware's cycles by what it was doing, from the debug file `profile`.
struct TaskProfile {
    /// Executed cycles between two looks at a call stack: a prime, so that no loop of the firmware keeps step with it.
    private static let interval = 499
    private static let manager = "OffloadManager."

    private let firmware: LiveFirmware
    private let information: DebugInformation

    init(_ firmware: LiveFirmware, _ information: DebugInformation) {
        self.firmware = firmware
        self.information = information
    }

    /// Begins a profile.
    /// - Returns: false if somebody else's goes on already.
    func start() throws -> Bool {
        guard try firmware.text(of: "profile").isEmpty else { return false }
        try firmware.write("start \(Self.interval)\n", to: "profile")
        return true
    }

    func stop() throws { try firmware.write("stop\n", to: "profile") }

    /// Cycles of all harts since the profile's start, by task; `Profile.waiting` is one.
    func cycles() throws -> [String: UInt64] {
        let samples = try Profile.samples(firmware.text(of: "profile"))
        var cycles: [String: UInt64] = [:]
        for (stack, count) in Profile(samples, information).stacks { cycles[Self.task(stack), default: 0] &+= count }
        return cycles
    }

    private static func task(_ stack: [String]) -> String {
        if stack.last == Profile.waiting { return Profile.waiting }
        guard let frame = stack.last(where: { $0.hasPrefix(manager) }) else { return "other" }
        return String(frame.dropFirst(manager.count).prefix { $0 != "(" && $0 != "." })
    }
}

extension Profile {
    /// The samples in the text of the debug file `profile`.
    static func samples(_ text: String) throws -> [Sample] {
        try text.split(separator: "\n").map { line in
            let words = line.split(separator: " ")
            guard words.count >= 3, let hart = Int(words[0].dropFirst(4)), let cycles = UInt64(words[1]) else {
                throw UsageError("a line of a profile expected, '\(line)' found")
            }
            return Sample(hart: hart, cycles: cycles, stack: words[2...].compactMap { UInt32($0.dropFirst(2), radix: 16) })
        }
    }
}
