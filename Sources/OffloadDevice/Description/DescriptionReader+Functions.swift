import Interconnect
import Virtio

// The functions' parts of a description: which keys each kind has.

extension MachineDescription.VirtualFunctions {
    mutating func read(_ section: Section) throws(DescriptionError) {
        kind = try section.kind() ?? kind
        let general = ["total", "enabled", "kind"]
        switch kind {
        case .block: try section.allow(general + ["disk", "disks"])
        case .net: try section.allow(general + ["network", "networks"])
        case .console: try section.allow(general + ["console"])
        }
        total = try section.integer("total", in: 1...64) ?? total
        enabled = try section.integer("enabled", in: 0...64) ?? min(enabled, total)
        guard enabled <= total else { throw section.error("enabled", "at most total (\(total)) expected, \(enabled) found") }
        if let section = try section.section("disk") { try disk.read(section) }
        for item in try section.sections("disks") {
            let number = try number(of: item, "disk", isTaken: { disks[$0] != nil })
            var own = disk
            try own.read(item, alsoAllowed: ["vf"])
            disks[number] = own
        }
        if let section = try section.section("network") {
            try network.read(section)
            if network.mac != nil { throw section.error("mac", "an address of one function expected: give it in 'networks'") }
        }
        for item in try section.sections("networks") {
            let number = try number(of: item, "network", isTaken: { networks[$0] != nil })
            var own = network
            try own.read(item, alsoAllowed: ["vf"])
            networks[number] = own
        }
        if let section = try section.section("console") { try console.read(section) }
    }

    private func number(of item: Section, _ what: String, isTaken: (Int) -> Bool) throws(DescriptionError) -> Int {
        guard let number = try item.integer("vf", in: 1...total) else { throw item.error(nil, "a key 'vf' expected") }
        guard !isTaken(number) else { throw item.error("vf", "virtual function \(number) has a \(what) already") }
        return number
    }
}

extension MachineDescription.FunctionSettings {
    mutating func read(_ section: Section, alsoAllowed: [String]) throws(DescriptionError) {
        kind = try section.kind() ?? kind
        hasPackedRings = try section.boolean("packed") ?? hasPackedRings
        isModern = try section.boolean("modern") ?? isModern
        let alsoAllowed = alsoAllowed + ["packed", "modern"]
        switch kind {
        case .block: try disk.read(section, alsoAllowed: alsoAllowed)
        case .net: try network.read(section, alsoAllowed: alsoAllowed)
        case .console: try console.read(section, alsoAllowed: alsoAllowed)
        }
    }
}

extension MachineDescription.Network {
    mutating func read(_ section: Section, alsoAllowed: [String] = []) throws(DescriptionError) {
        try section.allow(["backend", "input", "output", "interface", "mac", "queues", "mtu"] + alsoAllowed)
        if let name = try section.string("backend") { backend = try Self.backend(name, section) }
        try refuseStrangers(section)
        if let text = try section.string("mac") {
            guard let address = MACAddress(text), !address.isMulticast, address.value != 0 else {
                throw section.error("mac", "an address of one station, such as 52:54:00:12:34:56, expected, '\(text)' found")
            }
            mac = address
        }
        queues = try section.integer("queues", in: 1...8) ?? queues
        mtu = try section.integer("mtu", in: 68...9000) ?? mtu
    }

    private static func backend(_ name: String, _ section: Section) throws(DescriptionError) -> Backend {
        switch name {
        case "loop": return .loop
        case "switch": return .switch
        case "pcap":
            let (input, output) = (try section.string("input"), try section.string("output"))
            guard input != nil || output != nil else { throw section.error("backend", "a key 'input' or 'output' expected with pcap") }
            return .capture(input: input, output: output)
        case "tap":
            guard let interface = try section.string("interface"), (1...15).contains(interface.utf8.count) else {
                throw section.error("backend", "a key 'interface' with a name of 1 to 15 characters expected with tap")
            }
            return .tap(interface)
        default: throw section.error("backend", "one of loop, switch, pcap, tap expected, '\(name)' found")
        }
    }

    /// Keys of another backend than the one that was chosen.
    private func refuseStrangers(_ section: Section) throws(DescriptionError) {
        let (isCapture, isTap) = switch backend {
        case .capture: (true, false)
        case .tap: (false, true)
        default: (false, false)
        }
        for key in ["input", "output"] where !isCapture {
            if try section.string(key) != nil { throw section.error(key, "only expected with 'backend: pcap'") }
        }
        if !isTap, try section.string("interface") != nil { throw section.error("interface", "only expected with 'backend: tap'") }
    }
}

extension MachineDescription.Console {
    mutating func read(_ section: Section, alsoAllowed: [String] = []) throws(DescriptionError) {
        try section.allow(["columns", "rows"] + alsoAllowed)
        columns = try section.integer("columns", in: 1...65_535) ?? columns
        rows = try section.integer("rows", in: 1...65_535) ?? rows
    }
}

extension MachineDescription {
    /// The settings of all functions by their names, for messages.
    private var named: [(name: String, settings: FunctionSettings)] {
        physicalFunctions.map { ("physical function \($0.number)", $0.settings) }
            + (0..<virtualFunctions.total).map { ("virtual function \($0 + 1)", virtualFunctions.settings(of: $0 + 1)) }
    }

    /// The first function whose disk needs an accelerator that isn't there.
    func firstWithoutAccelerator() -> (name: String, type: AcceleratorType)? {
        for (name, settings) in named where settings.kind == .block {
            guard let type = settings.disk.transform else { continue }
            if (type == .gpu ? accelerators.gpu : accelerators.fpga) == 0 { return (name, type) }
        }
        return nil
    }

    /// What two functions would both write to: a file, an interface. nil if there is nothing.
    func firstSharedOutput() -> String? {
        var seen: [String: String] = [:]
        for (name, settings) in named where settings.kind == .net {
            let place: String
            switch settings.network.backend {
            case .capture(_, let output?): place = "the file \(output)"
            case .tap(let interface): place = "the interface \(interface)"
            default: continue
            }
            if let other = seen[place] { return "\(name): \(place) is \(other)'s already" }
            seen[place] = name
        }
        return nil
    }
}

extension MachineDescription.Disk {
    mutating func read(_ section: Section, alsoAllowed: [String] = []) throws(DescriptionError) {
        try section.allow(["size", "file", "read_only", "discard", "queues", "serial", "transform", "transform_cost"] + alsoAllowed)
        file = try section.string("file") ?? file
        if let size = try section.quantity("size", .bytes, in: 512...1 << 50) {
            guard file == nil else { throw section.error("size", "no size expected beside a file, which has its own; \(size) found") }
            guard size % 512 == 0 else { throw section.error("size", "a multiple of 512 expected, \(size) found") }
            self.size = size
        } else if file != nil {
            size = nil
        }
        isReadOnly = try section.boolean("read_only") ?? isReadOnly
        discards = try section.boolean("discard") ?? discards
        queues = try section.integer("queues", in: 1...8) ?? queues
        if let name = try section.string("transform") {
            guard let type = AcceleratorType(rawValue: name) else {
                throw section.error("transform", "gpu or fpga expected, '\(name)' found")
            }
            transform = type
        }
        transformCost = try section.number("transform_cost", in: 1...1_000_000_000) ?? transformCost
        if let serial = try section.string("serial") {
            guard serial.utf8.count <= 20 else {
                throw section.error("serial", "at most 20 characters expected, \(serial.utf8.count) found")
            }
            self.serial = serial
        }
    }
}
