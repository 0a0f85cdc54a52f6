import ArgumentParser
import HostAgent
import Presentation

struct Watch: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "A live view: who has what of the device, needs what and waits for what; what was decided, and on what.",
        discussion: """
            On a terminal the view fills the window: q ends it, s sorts by something else, up and down select the owner whose details \
            are shown. Elsewhere, and with --once, --count or --json, pages are printed one below the other. Rates and latencies are \
            those since the page before, on the first page those since power-on; "next" is the forecast for the next interval of the \
            analysis, which lies within "from..to" nine times in ten; "held up by" names what most of the requests' time goes to, \
            "own" says that it has room and the owner's own share binds. \
            Example: outrigger-agent watch --device MNT/sys/bus/pci/devices/0000:01:00.0
            """)

    @OptionGroup var device: DeviceOption
    @OptionGroup var pages: PageOptions

    @Option(help: "What owners are ordered by: \(WatchPage.Order.allCases.map(\.rawValue).joined(separator: ", ")).")
    var sort = WatchPage.Order.owner

    @Option(help: "The owner whose details are shown: 0 is the host, 1...64 are virtual machines.")
    var vm: Int?

    func validate() throws {
        if let vm, !(0...64).contains(vm) { throw ValidationError("--vm: 0...64 expected, \(vm) found") }
    }

    func run() throws {
        let function = try device.open(), client = try AdminClient(function)
        try pages.show(WatchPage(device: function.address, order: sort, selected: vm) { try Observation(client) })
    }
}

extension WatchPage.Order: ExpressibleByArgument {}

struct Metrics: ParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "What the view shows, as Prometheus text, once.",
        discussion: """
            For the text-file collector of a node exporter: outrigger-agent metrics --device DEV > FILE.new && mv FILE.new FILE. What an \
            owner has and has done is called as in the file 'metrics' of a mounted device.
            """)

    @OptionGroup var device: DeviceOption

    func run() throws { print(try Observation(device.client()).exposition.text, terminator: "") }
}
