import CFuzzer
import Glibc

// libFuzzer on the target that an argument `--target=NAME` names; the others are libFuzzer's. tools/fuzz builds and calls it.

/// What takes hostile input. A trap is what is looked for; what is thrown says that this machine's files can't be used.
protocol FuzzTarget {
    init() throws
    mutating func take(_ input: [UInt8]) throws
}

/// What must hold. In a program that is optimised, `precondition` wouldn't print why it traps.
func require(_ condition: Bool, _ message: @autoclosure () -> String) {
    if !condition { fatalError(message()) }
}

let targets: [(name: String, type: any FuzzTarget.Type)] = [
    ("debugger", DebuggerTarget.self), ("description", DescriptionTarget.self), ("filter", FilterTarget.self),
    ("journal", JournalTarget.self), ("models", ModelsTarget.self), ("snapshot", SnapshotTarget.self), ("trace", TraceTarget.self),
]

/// libFuzzer gives its callback no context.
nonisolated(unsafe) var target: any FuzzTarget = FilterTarget()

// libFuzzer leaves arguments with two dashes alone, and passes them on where it starts itself anew.
guard let name = CommandLine.arguments.first(where: { $0.hasPrefix("--target=") })?.dropFirst("--target=".count),
    let chosen = targets.first(where: { $0.name == name })
else {
    print("usage: fuzz --target=\(targets.map(\.name).joined(separator: "|")) [libFuzzer options] [folders and files]")
    exit(64)
}
target = try chosen.type.init()
var count = CommandLine.argc
var arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>? = CommandLine.unsafeArgv
_ = LLVMFuzzerRunDriver(&count, &arguments) { data, size in
    do {
        try target.take(Array(UnsafeBufferPointer(start: data, count: size)))
        return 0
    } catch {
        fatalError("\(error)")
    }
}
