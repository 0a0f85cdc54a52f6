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
            "service: {cores: \(service.cores), cost: \(service.cost)}",
            "accelerators: {gpu: \(accelerators.gpu), fpga: \(accelerators.fpga)}",
            "virtual_functions:",
            "  total: \(virtualFunctions.total)",
            "  enabled: \(virtualFunctions.enabled)",
            "  disk: {\(virtualFunctions.disk.yaml)}",
        ]
        if !virtualFunctions.disks.isEmpty {
            lines.append("  disks:")
            for (number, disk) in virtualFunctions.disks.sorted(by: { $0.key < $1.key }) {
                lines.append("    - {vf: \(number), \(disk.yaml)}")
            }
        }
        if !physicalFunctions.isEmpty {
            lines.append("physical_functions:")
            for function in physicalFunctions { lines.append("  - {function: \(function.number), \(function.disk.yaml)}") }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension MachineDescription.Disk {
    fileprivate var yaml: String {
        var settings: [String] = []
        if let file { settings.append("file: \(Self.quoted(file))") } else if let size { settings.append("size: \(size)") }
        settings += ["read_only: \(isReadOnly)", "discard: \(discards)", "queues: \(queues)"]
        if let serial { settings.append("serial: \(Self.quoted(serial))") }
        return settings.joined(separator: ", ")
    }

    /// YAML 1.2, 7.3.1: double-quoted style.
    private static func quoted(_ text: String) -> String {
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
}
