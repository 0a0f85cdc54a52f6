import Interconnect
import OffloadDevice
import PCIExpress
import Peripherals
import Presentation
import RISCV

/// The machine's counters for Prometheus, from the hardware alone: the firmware need not be alive.
struct Metrics {
    private var page = Exposition()
    var text: String { page.text }

    init(_ machine: Machine) {
        let counts = machine.inspect { $0.hierarchy.present.map(\.index) }.map { ($0, machine.interruptCount(function: $0)) }
        let interrupts = Dictionary(uniqueKeysWithValues: counts), accesses = machine.hostAccesses
        machine.inspect { device in
            addTime(device, frequency: machine.description.clockHertz)
            let functions = device.hierarchy.present
            page.add(.counter, "host_accesses", "Accesses of host programs to BARs.", functions.flatMap { Self.samples($0, accesses) })
            page.add(.counter, "interrupts", "Interrupts that reached the host.", functions.map {
                .init(["function": "\($0.address)"], interrupts[$0.index] ?? 0)
            })
            page.add(.counter, "iommu_faults", "DMA transfers that were refused.", [.init([:], device.hierarchy.iommu.state.faultCount)])
            addErrors(functions)
            addFunctions(device)
            addOwners(device, frequency: machine.description.clockHertz)
            addUtilisation(device)
        }
    }

    private mutating func addTime(_ device: Device, frequency: UInt64) {
        page.add(.counter, "device_cycles", "Device time, in fabric cycles.", [.init([:], device.scheduler.now)])
        page.add(.gauge, "clock_hertz", "Fabric cycles per second.", [.init([:], frequency)])
        page.add(.counter, "instructions", "Instructions retired.", device.harts.map { .init(["hart": "\($0.id)"], $0.retired) })
    }

    private static func samples(_ function: PCIFunction, _ accesses: HostAccessCounts) -> [Exposition.Sample] {
        (0..<6).flatMap { bar -> [Exposition.Sample] in
            let (reads, writes) = (accesses.reads(function: function.index, bar: bar), accesses.writes(function: function.index, bar: bar))
            guard reads | writes != 0 else { return [] }
            let (address, bar) = ("\(function.address)", "\(bar)")
            return [
                .init(["function": address, "bar": bar, "operation": "read"], reads),
                .init(["function": address, "bar": bar, "operation": "write"], writes),
            ]
        }
    }

    private mutating func addErrors(_ functions: [PCIFunction]) {
        page.add(.counter, "refused_accesses", "Host accesses to BARs that the device refused.", functions.map {
            .init(["function": "\($0.address)"], $0.state.refusedAccesses)
        })
        let severities: [(name: String, counts: (ErrorCounts) -> [UInt64])] = [
            ("correctable", { $0.correctable }), ("nonfatal", { $0.nonFatal }), ("fatal", { $0.fatal }),
        ]
        page.add(.counter, "aer_errors", "PCI Express errors reported.", functions.flatMap { function in
            severities.map { severity in
                .init(
                    ["function": "\(function.address)", "severity": severity.name],
                    severity.counts(function.state.errors).reduce(0, &+))
            }
        })
    }

    private mutating func addFunctions(_ device: Device) {
        let present = device.functions.filter(\.function.isPresent)
        page.add(.gauge, "requests_in_flight", "Requests that the device has taken and not completed.", present.map {
            .init(["function": "\($0.function.address)"], UInt64($0.device.requestsInFlight))
        })
        let networks = present.compactMap { function in function.network.map { ("\(function.function.address)", $0.state.counters) } }
        page.add(.counter, "network_frames", "Frames of network functions, and what became of those that got nowhere.",
            networks.flatMap { address, counters in
                [("transmitted", counters.transmitted), ("transmit-error", counters.transmitErrors), ("received", counters.received),
                 ("filtered", counters.filtered), ("dropped", counters.dropped)].map {
                    .init(["function": address, "outcome": $0.0], $0.1)
                }
            })
    }

    // MARK: Owners

    private mutating func addOwners(_ device: Device, frequency: UInt64) {
        // The host, and virtual machines whose function exists or who have something.
        let present = Set(device.functions.filter { $0.function.isPresent && $0.function.isVirtual }.map(\.index))
        let all = (0...64).map { (number: $0, totals: device.analyzer.totals(of: $0), holding: device.resourceManager.holding(of: $0)) }
        let owners = all.filter { $0.number == 0 || present.contains($0.number) || $0.holding.guarantee | $0.holding.cores != 0 }
        let blockShift = UInt64(device.resourceManager.resources.memoryBlockShift)
        page.add(owners.map { owner in
            var figures = OwnerFigures(owner: owner.number)
            let (totals, holding) = (owner.totals, owner.holding)
            (figures.reads, figures.writes) = (totals.requests[0], totals.requests[1])
            figures.others = totals.requests[2...].reduce(0, &+)
            (figures.readBytes, figures.writtenBytes) = (totals.readBytes, totals.writtenBytes)
            (figures.guaranteePermille, figures.weight, figures.limit) = (holding.guarantee, holding.weight, holding.limit)
            (figures.serviceCores, figures.gpuSlots, figures.fpgaSlots) = (holding.cores, holding.gpu, holding.fpga)
            figures.memoryBytes = holding.memoryBlocks << blockShift
            return figures
        })
        let seconds = 1 / Double(frequency)
        page.add("request_latency_seconds", "From a request's arrival to its completion, in device time.", owners.map { owner in
            // The last bucket has all that took longer, too: that is the end that everything keeps to.
            .init(
                [("owner", OwnerFigures.name(owner.number))],
                buckets: owner.totals.latency.enumerated().map { (Double(UInt64(2) << UInt64($0)) * seconds, $1) }.dropLast(),
                beyond: owner.totals.latency.last ?? 0, sum: Double(owner.totals.latencySum) * seconds)
        })
        let directions = [(name: "to-host", link: device.toHost), (name: "from-host", link: device.fromHost)]
        page.add(.counter, "link_bytes", "Bytes that DMA moved over the PCIe link.", directions.flatMap { direction in
            owners.map {
                .init(
                    ["direction": direction.name, "owner": OwnerFigures.name($0.number)],
                    direction.link.bytes(of: Owner(rawValue: UInt8($0.number))))
            }
        })
    }

    private mutating func addUtilisation(_ device: Device) {
        let busy: [(resource: String, units: UInt64, cycles: UInt64)] = [
            ("cores", UInt64(device.cores.configuration.cores), device.cores.busyCycles), ("link to device", 1, device.fromHost.busyCycles),
            ("link to host", 1, device.toHost.busyCycles), ("fabric", UInt64(device.crossbar.targetCount), device.crossbar.busyCycles),
        ]
        page.add(.counter, "resource_busy_cycles", "Cycles in which a resource was busy, of all its units.", busy.map {
            .init(["resource": $0.resource], $0.cycles)
        })
        page.add(.gauge, "resource_units", "Units that a resource has.", busy.map { .init(["resource": $0.resource], $0.units) })
    }
}
