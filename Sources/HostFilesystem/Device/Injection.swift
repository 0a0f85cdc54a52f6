import OffloadDevice
import PCIExpress

/// A fault, or an event, that a line written to `inject` brings about.
enum Injection {
    case uncorrectable(UncorrectableError, function: String)
    case correctable(CorrectableError, function: String)
    case memory(address: UInt64, isCorrectable: Bool)
    case interrupt(vector: Int, function: String)
    case link(isUp: Bool, function: String)
    case card(isPresent: Bool, function: String)

    static var usage: String {
        """
        aer ADDRESS ERROR                      ADDRESS of a function, as 0000:01:00.0
          uncorrectable: \(UncorrectableError.allCases.map { "\($0)" }.joined(separator: " "))
          correctable: \(CorrectableError.allCases.map { "\($0)" }.joined(separator: " "))
        memory ADDRESS correctable|uncorrectable   in SRAM
        interrupt ADDRESS VECTOR               an MSI-X vector of a function
        link ADDRESS up|down                   the wire of a network function
        card ADDRESS out|in                    ADDRESS of the physical function: the card leaves its slot without notice, or comes back

        """
    }

    /// EINVAL for a line that is none of these.
    init(_ text: String) throws(Errno) {
        let words = trimmed(text).split(separator: " ").map(String.init)
        guard words.count == 3 else { throw .invalidArgument }
        switch words[0] {
        case "aer":
            if let error = UncorrectableError.allCases.first(where: { "\($0)" == words[2] }) {
                self = .uncorrectable(error, function: words[1])
            } else if let error = CorrectableError.allCases.first(where: { "\($0)" == words[2] }) {
                self = .correctable(error, function: words[1])
            } else {
                throw .invalidArgument
            }
        case "memory":
            guard words[2] == "correctable" || words[2] == "uncorrectable" else { throw .invalidArgument }
            self = .memory(address: UInt64(try parseNumber(words[1])), isCorrectable: words[2] == "correctable")
        case "interrupt":
            self = .interrupt(vector: try parseNumber(words[2]), function: words[1])
        case "link":
            guard words[2] == "up" || words[2] == "down" else { throw .invalidArgument }
            self = .link(isUp: words[2] == "up", function: words[1])
        case "card":
            guard words[2] == "in" || words[2] == "out" else { throw .invalidArgument }
            self = .card(isPresent: words[2] == "in", function: words[1])
        default:
            throw .invalidArgument
        }
    }

    /// ENODEV if there is no such function now, EINVAL if the machine refuses.
    func perform(on machine: Machine) throws(Errno) {
        let input: HostInput = switch self {
        case .uncorrectable(let error, let name): .uncorrectableError(error, function: try Self.function(name, machine))
        case .correctable(let error, let name): .correctableError(error, function: try Self.function(name, machine))
        case .interrupt(let vector, let name): .interrupt(vector: vector, function: try Self.function(name, machine))
        case .link(let isUp, let name): .setLink(function: try Self.function(name, machine), isUp: isUp)
        case .card(let isPresent, let name): try Self.card(isPresent, name, machine)
        case .memory(let address, let isCorrectable): .memoryError(address: address, isCorrectable: isCorrectable)
        }
        if case .refused = machine.perform(input) { throw .invalidArgument }
    }

    /// The functions of a card that is out of its slot aren't there to be named.
    private static func card(_ isPresent: Bool, _ name: String, _ machine: Machine) throws(Errno) -> HostInput {
        guard name == machine.inspect({ "\($0.hierarchy.physicalFunction.address)" }) else { throw .noDevice }
        return .setCard(isPresent: isPresent)
    }

    private static func function(_ name: String, _ machine: Machine) throws(Errno) -> Int {
        let function = machine.inspect { device in device.hierarchy.present.first { "\($0.address)" == name } }
        guard let function else { throw .noDevice }
        return function.index
    }
}
