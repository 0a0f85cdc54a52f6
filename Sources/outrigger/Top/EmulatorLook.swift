import FirmwareInfo
import Glibc

/// The emulator's counters at one moment, from the files of a mounted device.
struct EmulatorLook {
    /// A sample of the file `metrics`.
    struct Sample {
        let name: String
        /// Names and values.
        let labels: [String: String]
        let value: Double
    }

    /// Nanoseconds of the wall clock.
    let wall: UInt64
    let pace: String
    let samples: [Sample]
    /// The firmware's cycles by task; nil without a profile.
    let tasks: [String: UInt64]?

    init(_ live: LiveFirmware, _ profile: TaskProfile?) throws {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        wall = UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
        samples = try live.text(of: "metrics").split(separator: "\n").filter { !$0.hasPrefix("#") }.map { try Sample($0) }
        pace = try live.pace()
        tasks = try profile?.cycles()
    }

    /// All samples of a family.
    func family(_ name: String) -> [Sample] { samples.filter { $0.name == "outrigger_" + name } }

    /// The one sample of a family that has these labels.
    func value(_ name: String, _ labels: [String: String] = [:]) -> Double {
        family(name).first { sample in labels.allSatisfy { sample.labels[$0.key] == $0.value } }?.value ?? 0
    }
}

extension EmulatorLook.Sample {
    /// A line `name{label="value",...} number`; the values that the mounted tree writes need no escapes.
    init(_ line: Substring) throws {
        func expected() -> UsageError { UsageError("metrics: a sample expected, '\(line)' found") }
        guard let space = line.lastIndex(of: " "), let value = Double(line[line.index(after: space)...]) else { throw expected() }
        self.value = value
        let key = line[..<space]
        guard let brace = key.firstIndex(of: "{") else {
            (name, labels) = (String(key), [:])
            return
        }
        name = String(key[..<brace])
        var labels: [String: String] = [:]
        for part in key[key.index(after: brace)...].dropLast().split(separator: ",") {
            let words = part.split(separator: "=", maxSplits: 1)
            guard words.count == 2, words[1].count >= 2 else { throw expected() }
            labels[String(words[0])] = String(words[1].dropFirst().dropLast())
        }
        self.labels = labels
    }
}
