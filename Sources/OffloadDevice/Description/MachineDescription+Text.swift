// The one text that a description has as YAML, for whoever stores which machine something belongs to.

extension MachineDescription {
    /// Every setting, in YAML: equal descriptions have equal texts, and reading the text gives the description.
    public var yaml: String {
        var lines = [
            "clock: \(clockHertz)", "harts: \(harts)", "quantum: \(quantum)",
            "memory: {host: \(memory.host)}",
            "latency:",
            "  {hop: \(latency.hop), registers: \(latency.registers), shared_memory: \(latency.sharedMemory), pcie: \(latency.pcie)}",
            "link: {bandwidth: \(link.bandwidth), latency: \(link.latency)}",
            "medium: {bandwidth: \(medium.bandwidth), latency: \(medium.latency)}",
            "wire: {bandwidth: \(wire.bandwidth), latency: \(wire.latency)}",
            "service:",
            "  {cores: \(service.cores), cost: \(service.cost), packet_cost: \(service.packetCost), polling: \(service.polling), "
                + "poll_interval: \(service.pollInterval)}",
            "accelerators:",
            "  {gpu: \(accelerators.gpu), fpga: \(accelerators.fpga), gpu_loading: \(accelerators.gpuLoading), "
                + "fpga_loading: \(accelerators.fpgaLoading)}",
            "virtual_functions:",
            "  total: \(virtualFunctions.total)",
            "  enabled: \(virtualFunctions.enabled)",
            "  kind: \(virtualFunctions.kind.rawValue)",
        ]
        switch virtualFunctions.kind {
        case .block:
            lines.append("  disk: {\(virtualFunctions.disk.yaml)}")
            if !virtualFunctions.disks.isEmpty { lines.append("  disks:") }
            for (number, disk) in virtualFunctions.disks.sorted(by: { $0.key < $1.key }) {
                lines.append("    - {vf: \(number), \(disk.yaml)}")
            }
        case .net:
            lines.append("  network: {\(virtualFunctions.network.yaml)}")
            if !virtualFunctions.networks.isEmpty { lines.append("  networks:") }
            for (number, network) in virtualFunctions.networks.sorted(by: { $0.key < $1.key }) {
                lines.append("    - {vf: \(number), \(network.yaml)}")
            }
        case .console: lines.append("  console: {\(virtualFunctions.console.yaml)}")
        }
        if !physicalFunctions.isEmpty {
            lines.append("physical_functions:")
            for function in physicalFunctions { lines.append("  - {function: \(function.number), \(function.settings.yaml)}") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension MachineDescription.FunctionSettings {
    fileprivate var yaml: String {
        let settings = switch kind {
        case .block: disk.yaml
        case .net: network.yaml
        case .console: console.yaml
        }
        return "kind: \(kind.rawValue), packed: \(hasPackedRings), modern: \(isModern), \(settings)"
    }
}

extension MachineDescription.Network {
    fileprivate var yaml: String {
        var settings: [String] = []
        switch backend {
        case .loop: settings.append("backend: loop")
        case .switch: settings.append("backend: switch")
        case .capture(let input, let output):
            settings.append("backend: pcap")
            if let input { settings.append("input: \(quoted(input))") }
            if let output { settings.append("output: \(quoted(output))") }
        case .tap(let interface): settings += ["backend: tap", "interface: \(quoted(interface))"]
        }
        if let mac { settings.append("mac: \(quoted("\(mac)"))") }
        return (settings + ["queues: \(queues)", "mtu: \(mtu)"]).joined(separator: ", ")
    }
}

extension MachineDescription.Console {
    fileprivate var yaml: String { "columns: \(columns), rows: \(rows)" }
}

extension MachineDescription.Disk {
    fileprivate var yaml: String {
        var settings: [String] = []
        if let file { settings.append("file: \(quoted(file))") } else if let size { settings.append("size: \(size)") }
        settings += ["read_only: \(isReadOnly)", "discard: \(discards)", "queues: \(queues)"]
        if let serial { settings.append("serial: \(quoted(serial))") }
        if let transform { settings.append("transform: \(transform.rawValue), transform_cost: \(transformCost)") }
        return settings.joined(separator: ", ")
    }
}

/// YAML 1.2, 7.3.1: double-quoted style.
private func quoted(_ text: String) -> String {
    var quoted = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": quoted += "\\\(scalar)"
        case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}": quoted += "\\x" + (scalar.value < 16 ? "0" : "") + String(scalar.value, radix: 16)
        default: quoted.unicodeScalars.append(scalar)
        }
    }
    return quoted + "\""
}
