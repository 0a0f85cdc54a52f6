import AdminProtocol
import ArgumentParser
import Glibc
import HostAgent
import Presentation

struct Serve: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve virtual I/O components that the device sends to the host, until this process is ended.",
        discussion: """
            One agent serves a device at a time. When it ends, however it ends, its components go back to the device without a request \
            lost or done twice.
            """)

    @OptionGroup var device: DeviceOption

    @Option(help: "Where in host memory the agent has 8 KiB for images; at its end, unless given.")
    var buffer: Int?

    func run() throws {
        let service = try ComponentService(device.open(), buffer: buffer, keys: device.keys())
        print("serving")
        fflush(nil)
        var shown = service.components
        while true {
            try service.run(milliseconds: 1000)
            guard service.components != shown else { continue }
            shown = service.components
            print("components here: " + (shown.isEmpty ? "none" : shown.map { "vm\($0)" }.joined(separator: ", ")))
            fflush(nil)
        }
    }
}

struct Component: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Show virtual I/O components, and move them between device and host.", subcommands: [List.self, Move.self, Place.self])

    struct List: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Where the components are, and how their last moves ended.")
        @OptionGroup var device: DeviceOption

        func run() throws {
            let client = try device.client()
            print("component  kind     at      state         moves  last move      black-out  doorbells")
            for member in 1...max(1, Int(try client.identify().virtualFunctions)) {
                let status = try client.component(of: member)
                // Those that nobody uses say nothing.
                guard status.kind != 0, status.doorbells != 0 || status.moves != 0 else { continue }
                print([
                    "vm\(member)".column(9), status.kindText.column(7), status.placeText.column(6),
                    status.stateText.column(12), "\(status.moves)".column(5, right: true), status.outcomeText.column(13),
                    (status.moves == 0 ? "-" : duration(Double(status.blackout))).column(9, right: true),
                    "\(status.doorbells)".column(9, right: true),
                ].joined(separator: "  "))
            }
        }
    }

    struct Move: ParsableCommand {
        static let configuration = CommandConfiguration(abstract: "Move a component, and wait for the end of the move.")
        @OptionGroup var device: DeviceOption
        @OptionGroup var owner: VirtualMachineArgument

        @Option(help: "'host' or 'device'.")
        var to: Destination
        @Flag(help: "Prepare nothing while the component runs, and finish its requests before it moves: for comparison.")
        var stopAndCopy = false

        enum Destination: String, CaseIterable, ExpressibleByArgument { case device, host }

        func run() throws {
            let client = try device.client(), vm = owner.number
            let destination: ComponentPlace = to == .host ? .host : .device
            let before = try client.component(of: vm)
            let status = try client.moveComponent(vm, to: destination, stopAndCopy: stopAndCopy)
            guard status.location == destination.rawValue, status.state == 1 else {
                let reason = status.reason == 0 ? "" : ", reason \(status.reason)"
                throw UsageError("vm\(vm) is still on the \(status.placeText): \(status.outcomeText)\(reason)")
            }
            guard status.moves != before.moves else { return print("vm\(vm) is on the \(to.rawValue) already") }
            print("vm\(vm) moved to the \(to.rawValue): image of \(status.imageBytes) bytes, black-out \(status.blackout) cycles")
        }
    }
}
