import OffloadDevice
import PCIExpress

/// A fault, or an event, that a line written to `inject` brings about.
enum Injection {
    case uncorrectable(UncorrectableError, function: String)
    case correctable(CorrectableError, function: String)
    case memory(address: UInt64, isCorrectable: Bool)
    case interrupt(vector: Int, function: String)

    static var usage: String {
        """
        aer ADDRESS ERROR                      ADDRESS of a function, as 0000:01:00.0
          uncorrectable: \(UncorrectableError.allCases.map { "\($0)" }.joined(separator: " "))
          correctable: \(CorrectableError.allCases.map { "\($0)" }.joined(separator: " "))
        memory ADDRESS correctable|uncorrectable   in SRAM
        interrupt ADDRESS VECTOR               an MSI-X vector of a function

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
        default:
            throw .invalidArgument
        }
    }

    /// ENODEV if there is no such function now, EINVAL if the machine refuses.
    func perform(on machine: Machine) throws(Errno) {
        switch self {
        case .uncorrectable(let error, let name):
            try machine.access { (device) throws(Errno) in try Self.function(name, device).report(error) }
        case .correctable(let error, let name):
            try machine.access { (device) throws(Errno) in try Self.function(name, device).report(error) }
        case .interrupt(let vector, let name):
            try machine.access { (device) throws(Errno) in
                if try Self.function(name, device).raise(vector) == .ignored { throw .invalidArgument }
            }
        case .memory(let address, let isCorrectable):
            do throws(MachineError) {
                try machine.injectMemoryError(at: address, isCorrectable: isCorrectable)
            } catch {
                throw .invalidArgument
            }
        }
    }

    private static func function(_ name: String, _ device: Device) throws(Errno) -> PCIFunction {
        guard let function = device.hierarchy.present.first(where: { "\($0.address)" == name }) else { throw .noDevice }
        return function
    }
}
