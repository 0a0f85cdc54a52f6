import ArgumentParser
import Glibc
import Scratch

/// Why a measurement could not be made: one line for people.
struct BenchmarkError: Error, CustomStringConvertible {
    let description: String
}

/// Seconds that the processor has spent on this process. Unlike the time that has passed it doesn't depend much on what else
/// the machine does.
func processorTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Seconds of a clock that only goes forward: what somebody waits for, while other threads work beside.
func elapsedTime() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
}

/// Seconds that the processor has spent on this process's threads with a name, so far.
func processorTime(ofThreads name: String) -> Double {
    guard let tasks = opendir("/proc/self/task") else { return 0 }
    defer { closedir(tasks) }
    var nanoseconds: UInt64 = 0
    while let entry = readdir(tasks) {
        let task = withUnsafePointer(to: &entry.pointee.d_name) {
            $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
        }
        // schedstat: nanoseconds on a processor, nanoseconds of waiting for one, turns.
        guard let comm = try? readFile("/proc/self/task/\(task)/comm"), String(decoding: comm, as: UTF8.self) == name + "\n",
            let times = try? readFile("/proc/self/task/\(task)/schedstat")
        else { continue }
        nanoseconds += String(decoding: times, as: UTF8.self).split(separator: " ").first.flatMap { UInt64($0) } ?? 0
    }
    return Double(nanoseconds) * 1e-9
}

/// What a benchmark can write down while it measures.
struct RecordingOptions: ParsableArguments {
    @Option(help: "Record every event into this folder meanwhile.") var trace: String?
    @Option(help: "Record all that comes from outside into this folder meanwhile.") var record: String?
}

/// How figures come out.
struct OutputOptions: ParsableArguments {
    @Flag(help: "Print the figures as JSON.") var json = false

    /// Prints figures by name; whole numbers without a fraction.
    func print(_ figures: [(name: String, value: Double)]) {
        let texts = figures.map { ($0.name, $0.value == $0.value.rounded() ? "\(Int64($0.value))" : "\($0.value)") }
        if json {
            Swift.print("{" + texts.map { "\"\($0)\": \($1)" }.joined(separator: ", ") + "}")
        } else {
            for (name, text) in texts { Swift.print("\(name) \(text)") }
        }
    }
}
