import AdminProtocol
import ArgumentParser
import HostAgent
import Presentation

struct PolicyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "policy", abstract: "What decides who gets how much of the device.",
        subcommands: [
            ListPolicies.self, ShowPolicy.self, SelectPolicy.self, SetPolicy.self, PolicyScores.self, PolicyCandidates.self,
            UploadPolicy.self, RemovePolicy.self, DecisionLogCommand.self, VerifyDecisions.self,
        ])
}

/// What the four values of the firmware's own policies mean; those of others are just numbered.
enum TuningNames {
    static func names(_ policy: UInt32) -> [(name: String, unit: String)] {
        switch policy {
        case PolicyNumber.latencyFirst: [
            ("request", "bytes of the mean request, at most, of an owner that is preferred"),
            ("share", "of the link that it is preferred with, at most, in 1/1000"),
            ("boost", "times that its weight counts"), ("burst", "room for bursts, in 1/1000 of its need"),
        ]
        case PolicyNumber.throughputFirst: [
            ("request", "bytes of the mean request, at least, of an owner that is preferred"),
            ("boost", "times that its weight counts"), ("others", "what others get of their need, in 1/1000"),
        ]
        case PolicyNumber.adaptive: [
            ("latency", "weight of the latency of small requests"), ("throughput", "weight of the bytes that are carried"),
            ("fairness", "weight of the owner that is worst off"), ("target", "microseconds that are good enough, 99 of 100 requests"),
        ]
        case PolicyNumber.uploaded: (0..<4).map { ("value\($0)", "as the program takes it") }
        default: []
        }
    }
}

extension AdminClient {
    /// The policy of a name or a number.
    func policy(named text: String) throws -> PolicyEntry {
        let policies = try policies()
        guard let found = policies.first(where: { $0.text == text || "\($0.number)" == text }) else {
            throw UsageError("a policy of \(policies.map(\.text).joined(separator: ", ")) expected, '\(text)' found")
        }
        return found
    }
}

struct ListPolicies: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "list", abstract: "The policies that there are.")

    @OptionGroup var device: DeviceOption

    @Flag(help: "Print JSON.")
    var json = false

    func run() throws {
        let policies = try device.client().policies()
        if json {
            let entries = policies.map { policy in
                """
                {"number":\(policy.number),"name":\(quoted(policy.text)),"selected":\(policy.isSelected),\
                "instructions":\(policy.instructions),"evaluations":\(policy.evaluations),"faults":\(policy.faults),\
                "values":[\((0..<4).map { "\(policy.values[$0])" }.joined(separator: ","))]}
                """
            }
            return print("[\(entries.joined(separator: ","))]")
        }
        print("number".column(8) + "name".column(26) + "program".column(20) + "evaluated".column(11, right: true)
            + "faults".column(8, right: true))
        for policy in policies {
            let program = policy.instructions == 0 ? "firmware's" : "\(policy.instructions) instructions"
            print((policy.isSelected ? "\(policy.number) *" : "\(policy.number)").column(8) + policy.text.column(26) + program.column(20)
                + "\(policy.evaluations)".column(11, right: true) + "\(policy.faults)".column(8, right: true))
        }
    }
}

/// A JSON string. Names come from the device: anything may be in them.
func quoted(_ text: String) -> String {
    let scalars = text.unicodeScalars.map { scalar in
        scalar == "\"" || scalar == "\\" ? "\\\(scalar)" : scalar.value < 32 ? " " : String(scalar)
    }
    return "\"\(scalars.joined())\""
}

extension PolicyEntry {
    var isSelected: Bool { flags & Flag.selected != 0 }

    /// What the program's last fault was.
    var faultText: String {
        let kinds = ["none", "out of instructions", "access out of bounds", "no instruction", "it gave up", "a claim out of range"]
        let kind = Int(lastFault & 0xffff)
        return "\(kind < kinds.count ? kinds[kind] : "kind \(kind)") at instruction \(lastFault >> 16)"
    }
}

struct ShowPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "The parameters of all decisions, and one policy's values.")

    @OptionGroup var device: DeviceOption

    @Argument(help: "Name or number; the selected one if none is given.")
    var policy: String?

    func run() throws {
        let client = try device.client()
        let parameters = try client.policy()
        let policy = try client.policy(named: policy ?? "\(parameters.policy)")
        print(parameters.text)
        print("\(policy.number) \(policy.text): \(policy.evaluations) evaluations\(policy.isSelected ? ", selected" : "")")
        if policy.faults > 0 { print("  \(policy.faults) faults, the last: \(policy.faultText)") }
        for (index, tuning) in TuningNames.names(policy.number).enumerated() {
            print("  \(tuning.name.column(10)) \("\(policy.values[index])".column(10)) \(tuning.unit)")
        }
    }
}

extension PolicyParameters {
    var text: String {
        """
        period \(periodWindows) windows, hysteresis \(hysteresisPermille)/1000, least \(leastPermille)/1000, most \(mostPermille)/1000, \
        smoothing \(smoothing)/256, headroom \(headroomPermille)/1000, idle after \(idleWindows) windows, \
        forecasts \(flags & Self.ignoresForecasts == 0 ? "in use" : "ignored")
        """
    }
}

struct SelectPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "select", abstract: "Let a policy decide, from the next decision on.",
        discussion: "'adaptive' chooses among the others, again and again; 'fixed' leaves the allocation alone.")

    @OptionGroup var device: DeviceOption

    @Argument(help: "Name or number.")
    var policy: String

    func run() throws {
        let client = try device.client()
        let policy = try client.policy(named: policy)
        var parameters = try client.policy()
        parameters.policy = policy.number
        try client.setPolicy(parameters)
        print("policy \(policy.text)")
    }
}

struct SetPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "set", abstract: "Set parameters of all decisions, or values of one policy; those not given stay. Prints them all.")

    @OptionGroup var device: DeviceOption

    @Option(help: "Sampling windows from one decision to the next.")
    var period: UInt32?
    @Option(help: "Allocations change only if some share would change by more, in 1/1000.")
    var hysteresis: UInt16?
    @Option(help: "Least guarantee of an active owner, in 1/1000 of the link.")
    var least: UInt16?
    @Option(help: "Most guarantee of one owner, in 1/1000 of the link.")
    var most: UInt16?
    @Option(help: "Weight of the newest sample in the demand's average, in 1/256.")
    var smoothing: UInt16?
    @Option(help: "Guarantee above the demand, in 1/1000 of it.")
    var headroom: UInt16?
    @Option(help: "Windows without demand after which an owner counts as idle.")
    var idle: UInt16?
    @Flag(inversion: .prefixedNo, help: "Whether needs go by forecasts, too, or by present demand alone.")
    var forecasts: Bool?

    @Option(help: "The policy that the values are for; the selected one if none is given.")
    var policy: String?
    @Argument(help: "Values as NAME=NUMBER; 'policy show' has their names.")
    var values: [String] = []

    func run() throws {
        let client = try device.client()
        var parameters = try client.policy()
        let policy = try client.policy(named: policy ?? "\(parameters.policy)")
        let tuned = try tuned(policy)
        if let period { parameters.periodWindows = period }
        if let hysteresis { parameters.hysteresisPermille = hysteresis }
        if let least { parameters.leastPermille = least }
        if let most { parameters.mostPermille = most }
        if let smoothing { parameters.smoothing = smoothing }
        if let headroom { parameters.headroomPermille = headroom }
        if let idle { parameters.idleWindows = idle }
        if let forecasts {
            let others = parameters.flags & ~PolicyParameters.ignoresForecasts
            parameters.flags = forecasts ? others : others | PolicyParameters.ignoresForecasts
        }
        try client.setPolicy(parameters)
        if !values.isEmpty { try client.tune(policy: policy.number, tuned) }
        print(try client.policy().text)
        let names = TuningNames.names(policy.number).enumerated().map { "\($1.name) \(tuned[$0])" }
        if !names.isEmpty { print("\(policy.text): \(names.joined(separator: ", "))") }
    }

    private func tuned(_ policy: PolicyEntry) throws -> TuningValues {
        let names = TuningNames.names(policy.number).map(\.name)
        var result = policy.values
        for text in values {
            let words = text.split(separator: "=", maxSplits: 1)
            guard words.count == 2, let place = names.firstIndex(of: String(words[0])) else {
                let expected = names.isEmpty ? "no values" : "NAME=NUMBER with a name of \(names.joined(separator: ", "))"
                throw UsageError("\(policy.text): \(expected) expected, '\(text)' found")
            }
            guard let value = UInt32(words[1]) else {
                throw UsageError("\(words[0]): a number of 0...\(UInt32.max) expected, '\(words[1])' found")
            }
            result[place] = value
        }
        return result
    }
}

struct UploadPolicy: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upload", abstract: "Give the firmware a policy of one's own.",
        discussion: """
            The file is what 'clang -O2 -target bpf -mcpu=v3 -c' makes of C; examples/policies has some. The firmware verifies the program \
            before it takes it, and says which instruction is wrong. A policy that has the name already is replaced at the next decision.
            """)

    @OptionGroup var device: DeviceOption

    @Argument(help: "The object file.", completion: .file(extensions: ["o"]))
    var file: String
    @Option(help: "What it is called; the file's name without its ending if not given.")
    var name: String?
    @Flag(help: "Select it, too.")
    var select = false

    func run() throws {
        let program = try PolicyProgram(file)
        let name = name ?? String((file.split(separator: "/").last ?? "policy").prefix { $0 != "." })
        let client = try device.client()
        let policies = try client.policies()
        let sameName = policies.first { $0.text == name }
        if let sameName, !PolicyNumber.uploaded.contains(sameName.number) {
            throw UsageError("a name of one's own expected, '\(name)' is the firmware's")
        }
        let free = PolicyNumber.uploaded.first { number in !policies.contains { $0.number == number } }
        guard let number = sameName?.number ?? free else {
            throw UsageError("at most \(PolicyNumber.uploaded.count) uploaded policies expected: remove one first")
        }
        do {
            try client.install(policy: number, name: name, program: program.code)
        } catch let refusal as PolicyRefusal {
            throw UsageError("\(file): \(refusal.description(of: program.code))")
        }
        if select {
            var parameters = try client.policy()
            parameters.policy = number
            try client.setPolicy(parameters)
        }
        print("policy \(number) \(name): \(program.code.count / 8) instructions\(select ? ", selected" : "")")
    }
}

struct RemovePolicy: ParsableCommand {
    static let configuration = CommandConfiguration(commandName: "remove", abstract: "Take an uploaded policy away.")

    @OptionGroup var device: DeviceOption

    @Argument(help: "Name or number.")
    var policy: String

    func run() throws {
        let client = try device.client()
        let policy = try client.policy(named: policy)
        guard PolicyNumber.uploaded.contains(policy.number) else {
            throw UsageError("an uploaded policy expected, '\(policy.text)' is the firmware's")
        }
        guard !policy.isSelected else { throw UsageError("'\(policy.text)' is selected: select another one first") }
        try client.remove(policy: policy.number)
    }
}
