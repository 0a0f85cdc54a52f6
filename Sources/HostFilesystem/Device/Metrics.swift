import Interconnect
import OffloadDevice
import PCIExpress

/// The machine's counters in Prometheus's text format (version 0.0.4).
struct Metrics {
    private(set) var text = ""

    init(_ machine: Machine) {
        let interrupts = machine.inspect { $0.hierarchy.present.map { ($0.index, "\($0.address)") } }
            .map { (label: "function=\"\($0.1)\"", value: machine.interruptCount(function: $0.0)) }
        machine.inspect { device in
            add("outrigger_device_cycles_total", "Device time, in fabric cycles.", [("", device.scheduler.now)])
            add("outrigger_clock_hertz", "Fabric cycles per second.", type: "gauge", [("", machine.description.clockHertz)])
            add("outrigger_iommu_faults_total", "DMA transfers that were refused.", [("", device.hierarchy.iommu.state.faultCount)])
            add("outrigger_interrupts_total", "Interrupts that reached the host.", interrupts)
            addFunctions(device.hierarchy.present)
            addRequests(device)
        }
    }

    private mutating func add(_ name: String, _ help: String, type: String = "counter", _ samples: [(label: String, value: UInt64)]) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
        for (label, value) in samples { text += "\(name)\(label.isEmpty ? "" : "{\(label)}") \(value)\n" }
    }

    private mutating func addFunctions(_ functions: [PCIFunction]) {
        add("outrigger_refused_accesses_total", "Host accesses to BARs that the device refused.",
            functions.map { ("function=\"\($0.address)\"", $0.state.refusedAccesses) })
        let severities: [(name: String, counts: (ErrorCounts) -> [UInt64])] = [
            ("correctable", { $0.correctable }), ("nonfatal", { $0.nonFatal }), ("fatal", { $0.fatal }),
        ]
        add("outrigger_aer_errors_total", "PCI Express errors reported.", functions.flatMap { function in
            severities.map { severity in
                ("function=\"\(function.address)\",severity=\"\(severity.name)\"", severity.counts(function.state.errors).reduce(0, &+))
            }
        })
    }

    private mutating func addRequests(_ device: Device) {
        let present = device.functions.filter(\.function.isPresent)
        add("outrigger_requests_in_flight", "Requests that the device has taken and not completed.", type: "gauge",
            present.map { ("function=\"\($0.function.address)\"", UInt64($0.device.requestsInFlight)) })
        let networks = present.compactMap { function in function.network.map { (function.function.address, $0.state.counters) } }
        if !networks.isEmpty {
            add("outrigger_network_frames_total", "Frames of network functions, and what became of those that got nowhere.",
                networks.flatMap { address, counters in
                    [("transmitted", counters.transmitted), ("transmit-error", counters.transmitErrors), ("received", counters.received),
                     ("filtered", counters.filtered), ("dropped", counters.dropped)].map {
                        ("function=\"\(address)\",outcome=\"\($0.0)\"", $0.1)
                    }
                })
        }
        let machines = present.filter(\.function.isVirtual).map { (name: "vm\($0.index)", owner: $0.owner) }
        let owners = [(name: "host", owner: Owner.host)] + machines
        let directions = [(name: "to-host", link: device.toHost), (name: "from-host", link: device.fromHost)]
        add("outrigger_link_bytes_total", "Bytes that DMA moved over the PCIe link.", directions.flatMap { direction in
            owners.map { ("direction=\"\(direction.name)\",owner=\"\($0.name)\"", direction.link.bytes(of: $0.owner)) }
        })
        add("outrigger_link_busy_cycles_total", "Cycles in which the PCIe link moved DMA.",
            directions.map { ("direction=\"\($0.name)\"", $0.link.busyCycles) })
    }
}
