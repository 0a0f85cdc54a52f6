import ArgumentParser
import Presentation

/// `--vm`: the owner that a command is about.
struct OwnerOption: ParsableArguments {
    @Option(name: .customLong("vm"), help: "The virtual machine: 1...64, the number of its virtual function; 0 is the host.")
    var number: Int

    func validate() throws {
        guard (0...64).contains(number) else { throw ValidationError("--vm: 0...64 expected, \(number) found") }
    }

    var name: String { OwnerFigures.name(number) }
}

/// `--vm`, where the host can't be meant.
struct VirtualMachineOption: ParsableArguments {
    @Option(name: .customLong("vm"), help: "The virtual machine, 1...64.")
    var number: Int

    func validate() throws {
        guard (1...64).contains(number) else { throw ValidationError("--vm: 1...64 expected, \(number) found") }
    }
}

/// The virtual machine as a command's first argument.
struct VirtualMachineArgument: ParsableArguments {
    @Argument(help: ArgumentHelp("The virtual machine, 1...64.", valueName: "vm"))
    var number: Int

    func validate() throws {
        guard (1...64).contains(number) else { throw ValidationError("vm: 1...64 expected, \(number) found") }
    }
}
