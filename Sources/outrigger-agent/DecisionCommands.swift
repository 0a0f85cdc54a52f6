import AdminProtocol
import ArgumentParser
import Glibc
import HostAgent
import PolicyEngine
import Presentation

/// Decisions as the firmware has logged them, in a file: a head of two words, then the log's words, then two words that end it, all
/// little-endian.
enum DecisionFile {
    /// `ODLF`, and the layout's version.
    static let head: [UInt32] = [0x464c_444f, 1]
    /// `ODLE`; after it, how many words of the log there are, wrapping.
    static let end: UInt32 = 0x454c_444f
    /// In bytes: some days of decisions.
    static let largest = 1 << 30

    static func bytes(_ words: [UInt32]) -> [UInt8] {
        words.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * UInt32($0))) } }
    }

    /// - Throws: when the file can't be read, or isn't one of decisions.
    /// - Returns: the log's words, and whether the file has its end. One that was still being written hasn't.
    static func read(_ path: String) throws -> (words: [UInt32], isWhole: Bool) {
        guard let bytes = try File.contents(path, atMost: largest) else {
            throw UsageError("\(path): at most \(largest) bytes of decisions expected, more found")
        }
        let words = stride(from: 0, to: bytes.count / 4 * 4, by: 4).map { place in
            (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[place + $1]) << (8 * UInt32($1)) }
        }
        guard words.first == head[0] else { throw UsageError("\(path): a file that 'policy log --output' has made expected") }
        guard words.count > 1, words[1] == head[1] else {
            throw UsageError("\(path): version \(head[1]) expected, \(words.count > 1 ? "\(words[1])" : "none") found")
        }
        let isWhole = bytes.count % 4 == 0 && words.count >= 4 && words[words.count - 2] == end
            && words[words.count - 1] == UInt32(truncatingIfNeeded: words.count - 4)
        return (Array(words[head.count...].dropLast(isWhole ? 2 : 0)), isWhole)
    }

    /// A new file, or what there was in its place.
    final class Writer {
        private let path: String
        private let file: UnsafeMutablePointer<FILE>
        private var count: UInt32 = 0

        init(_ path: String) throws {
            guard let file = fopen(path, "wb") else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
            (self.path, self.file) = (path, file)
            try put(DecisionFile.head)
        }

        func write(_ words: [UInt32]) throws {
            count &+= UInt32(truncatingIfNeeded: words.count)
            try put(words)
        }

        /// Nothing more is written.
        func end() throws { try put([DecisionFile.end, count]) }

        private func put(_ words: [UInt32]) throws {
            let bytes = DecisionFile.bytes(words)
            guard fwrite(bytes, 1, bytes.count, file) == bytes.count, fflush(file) == 0 else {
                throw UsageError("\(path): \(String(cString: strerror(errno)))")
            }
        }

        deinit { fclose(file) }
    }
}

struct DecisionLogCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "log", abstract: "Print the latest decisions: the policy, why, and what it changes.",
        discussion: "With --output the whole records go to a file, from which 'policy verify' can make every decision again.")

    @OptionGroup var device: DeviceOption

    @Option(help: "Go on until so many records were read; at first, those that there are.")
    var records: Int?
    @Option(help: "Write records to a file, and print nothing.", completion: .file())
    var output: String?
    @Flag(help: "Print a line of JSON for each decision.")
    var json = false

    func run() throws {
        var tap = DecisionTap(try device.client())
        let file = try output.map { try DecisionFile.Writer($0) }
        var read = 0, damaged = 0
        while true {
            let words = try tap.take()
            try file?.write(words)
            for entry in DecisionReader.entries(words) {
                read += 1
                switch entry {
                case .damage(let damage):
                    damaged += 1
                    let line = "record \(damage.number): \(damage)\n"
                    _ = Glibc.write(STDERR_FILENO, line, line.utf8.count)
                case .record(let record):
                    guard file == nil, let summary = DecisionSummary(record) else { continue }
                    print(json ? summary.json : summary.text)
                }
            }
            guard let records, read < records else { break }
            usleep(5000)
        }
        try file?.end()
        if let output {
            print("\(output): \(read) records; \(max(Int(tap.records) - read, 0)) older or overwritten before they were read")
        }
        if damaged > 0 { throw ExitCode.failure }
    }
}

struct VerifyDecisions: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify", abstract: "Make logged decisions again, with the firmware's own code, and compare every bit.",
        discussion: "The decisions are those in FILE ('policy log --output'), or the latest of a device. Fails if one comes out otherwise.")

    @OptionGroup var device: DeviceOption

    @Argument(help: "The file; without one, the device's log.", completion: .file())
    var file: String?
    @Flag(help: "Print JSON.")
    var json = false

    func validate() throws {
        guard (device.path == nil) != (file == nil) else { throw ValidationError("a file or --device expected, one of them") }
    }

    func run() throws {
        var verifier = DecisionVerifier(), isWhole = true
        if let file {
            let log = try DecisionFile.read(file)
            verifier.verify(log.words)
            isWhole = log.isWhole
        } else {
            var tap = DecisionTap(try device.client())
            verifier.verify(try tap.take())
        }
        print(json ? verifier.json : verifier.text)
        if !isWhole, let file { throw UsageError("\(file): its end expected, it is cut off or still being written") }
        if !verifier.differences.isEmpty { throw ExitCode.failure }
    }
}

extension DecisionVerifier {
    var text: String {
        var lines = differences.map { "record \($0.number): \($0)" }
        let wrong = "\(differences.count) records differ, \(missing) records missing"
        lines.append("\(decisions) decisions, \(verified) come out the same, \(wrong)")
        if unverifiable > 0 {
            let from = firstVerifiable.map { "; from record \($0) on they can" } ?? ""
            lines.append("\(unverifiable) can't be made again, for want of a program that was logged before them\(from)")
        }
        return lines.joined(separator: "\n")
    }

    var json: String {
        let list = differences.map { "{\"record\":\($0.number),\"difference\":\(quoted($0.description))}" }.joined(separator: ",")
        return """
            {"decisions":\(decisions),"verified":\(verified),"missing":\(missing),"unverifiable":\(unverifiable),\
            "first_verifiable":\(firstVerifiable.map { "\($0)" } ?? "null"),"differences":[\(list)]}
            """
    }
}

extension DecisionSummary {
    private func name(_ policy: UInt32) -> String { names[policy] ?? "policy \(policy)" }
    private static func owner(_ number: Int) -> String { number == 0 ? "host" : "vm\(number)" }

    var text: String {
        var what: [String] = []
        for owner in owners where changes {
            let parts = owner.grant.indices.filter { owner.grant[$0] != owner.target[$0] }.map { place in
                place == 0 ? "\(share(owner.grant[0])) -> \(share(owner.target[0]))"
                    : "\(Self.resources[place]) \(owner.grant[place]) -> \(owner.target[place])"
            }
            if !parts.isEmpty { what.append("\(Self.owner(owner.owner)) \(parts.joined(separator: ", "))") }
        }
        if let fault {
            what.append("\(name(fault.policy)) failed at instruction \(fault.instruction), \(name(fault.replacement)) in its place")
        }
        if what.isEmpty { what.append(change == 0 ? "as it is" : "\(share(change)) of change is not enough") }
        let why = makesRoom ? "to make room for what the host has given" : reason.text
        let seconds = decimal(Double(microseconds) / 1_000_000, 3)
        return "\(number)".column(8, right: true) + "\(seconds) s".column(12, right: true) + "  " + name(inForce) + " (\(why)): "
            + what.joined(separator: "; ")
    }

    private func share(_ permille: UInt32) -> String { "\(decimal(Double(permille) / 10, 1))%" }

    var json: String {
        let utility = { (value: UInt32) in decimal(Double(value) / 65_536, 4) }
        let scores = scores.map { score in
            """
            {"policy":\(quoted(name(score.policy))),"predicted":\(utility(score.predicted)),"expected":\(utility(score.expected)),\
            "score":\(utility(score.score))}
            """
        }
        let owners = owners.map { owner in
            """
            {"owner":\(quoted(Self.owner(owner.owner))),"need":\(owner.need),"claim":\(owner.claim),"weight":\(owner.weight),\
            "had":\(owner.grant),"decided":\(owner.target),"bottleneck":\(owner.bottleneck),"p99_microseconds":\(owner.latency)}
            """
        }
        let fault = fault.map { fault in
            """
            {"policy":\(quoted(name(fault.policy))),"fault":\(fault.fault),"instruction":\(fault.instruction),\
            "replacement":\(quoted(name(fault.replacement)))}
            """
        }
        return """
            {"record":\(number),"microseconds":\(microseconds),"makes_room":\(makesRoom),"selected":\(quoted(name(selected))),\
            "in_force":\(quoted(name(inForce))),"divided_by":\(quoted(name(divided))),"reason":"\(reason)","change":\(change),\
            "changes":\(changes),"fault":\(fault ?? "null"),"scores":[\(scores.joined(separator: ","))],\
            "owners":[\(owners.joined(separator: ","))]}
            """
    }
}
