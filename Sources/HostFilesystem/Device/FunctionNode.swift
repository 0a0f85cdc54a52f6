import Glibc
import OffloadDevice
import PCIExpress

/// One PCI function as the host sees it: its folder below `sys/devices`, and what a kernel would remember of it.
final class FunctionNode {
    let function: PCIFunction
    let directory = Directory()
    /// The folder's path from the root of the tree: `sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0`.
    let path: String
    /// The driver that has it.
    var driver: Driver?
    /// The only driver that may have it, if somebody wrote `driver_override`.
    var driverOverride: String?
    /// Its UIO node while uio_pci_generic has it.
    var uio: UIONode?

    /// Who drives it; nil for a bridge.
    let clients: FunctionClients?

    init(_ function: PCIFunction, path: String, clients: FunctionClients?) {
        self.function = function
        self.path = path
        self.clients = clients
    }

    /// `0000:01:00.0`.
    var name: String { "\(function.address)" }
}

extension DeviceTree {
    /// Makes the files of a function, as Linux lays them out (Documentation/ABI/testing/sysfs-bus-pci).
    func fill(_ node: FunctionNode) {
        let directory = node.directory
        addIdentity(node)
        addState(node)
        addBARs(node)
        addLink(node)
        addErrors(node)
        if node.function.virtualization != nil { addVirtualization(node) }
        if case .virtual = node.function.role {
            let parent = node.path.dropLast(node.name.utf8.count)
            directory.add("physfn", relativeLink(from: node.path, to: "\(parent)\(physicalAddress)"))
        }
        directory.add("subsystem", relativeLink(from: node.path, to: "sys/bus/pci"))
    }

    /// A line made from the function when it is read.
    private func line(_ make: @escaping () -> String) -> AttributeFile {
        let machine = machine
        return AttributeFile(show: { () throws(Errno) in machine.inspect { _ in make() } + "\n" })
    }

    private func addIdentity(_ node: FunctionNode) {
        let function = node.function, directory = node.directory, machine = machine
        directory.add("vendor", line { "0x" + hex(function.vendorID, 4) })
        directory.add("device", line { "0x" + hex(function.deviceID, 4) })
        directory.add("subsystem_vendor", line { "0x" + hex(function.subsystemVendorID, 4) })
        directory.add("subsystem_device", line { "0x" + hex(function.subsystemID, 4) })
        directory.add("class", line { "0x" + hex(function.classCode, 6) })
        directory.add("revision", line { "0x" + hex(function.revision, 2) })
        directory.add("modalias", line { function.modalias })
        directory.add("uevent", AttributeFile(
            show: { [unowned node] () throws(Errno) in machine.inspect { _ in Self.uevent(node) } },
            store: { (_, _) throws(Errno) in }))
        directory.add("irq", line { function.interruptPin == 0 ? "0" : "\(Self.legacyInterrupt)" })
        directory.add("ari_enabled", line { function.isARIEnabled ? "1" : "0" })
        let configuration = directory.add("config", AccessFile(
            size: function.configurationSize, permissions: 0o644,
            read: { (offset, buffer, caller) throws(Errno) in
                machine.readConfiguration(function: function.index, offset: offset, into: buffer)
            },
            write: { [unowned self] (offset, bytes, caller) throws(Errno) in
                let count = machine.writeConfiguration(function: function.index, offset: offset, bytes)
                // The SR-IOV capability may have been written.
                synchronize()
                return count
            }))
        noteClients(of: node, at: configuration)
        if function.isBridge {
            for (name, offset) in [("secondary_bus_number", 0x19), ("subordinate_bus_number", 0x1a)] {
                directory.add(name, line { "\(Self.byte(of: function, at: offset))" })
            }
        }
    }

    private static func byte(of function: PCIFunction, at offset: Int) -> UInt8 {
        var byte: UInt8 = 0
        withUnsafeMutableBytes(of: &byte) { _ = function.peekConfiguration(offset, into: $0) }
        return byte
    }

    /// The interrupt line that INTA of the device arrives at.
    private static let legacyInterrupt = 16

    private static func uevent(_ node: FunctionNode) -> String {
        func upper(_ value: some BinaryInteger, _ digits: Int) -> String { hex(value, digits).uppercased() }
        let function = node.function
        return (node.driver.map { "DRIVER=\($0.name)\n" } ?? "")
            + "PCI_CLASS=\(upper(function.classCode, 1))\n"
            + "PCI_ID=\(upper(function.vendorID, 4)):\(upper(function.deviceID, 4))\n"
            + "PCI_SUBSYS_ID=\(upper(function.subsystemVendorID, 4)):\(upper(function.subsystemID, 4))\n"
            + "PCI_SLOT_NAME=\(function.address)\n"
            + "MODALIAS=\(function.modalias)\n"
    }

    private func addState(_ node: FunctionNode) {
        let function = node.function, directory = node.directory, machine = machine
        directory.add("enable", AttributeFile(
            show: { () throws(Errno) in machine.inspect { _ in function.isEnabledFromHost } ? "1\n" : "0\n" },
            store: { (text, _) throws(Errno) in
                let enable = try parseBoolean(text)
                machine.perform(.enableFunction(function.index, enable))
            }))
        directory.add("numa_node", AttributeFile("-1"))
        directory.add("local_cpus", AttributeFile(Self.processorMask))
        directory.add("local_cpulist", AttributeFile(Self.processorList))
        directory.add("dma_mask_bits", AttributeFile("64"))
        directory.add("consistent_dma_mask_bits", AttributeFile("64"))
        directory.add("msi_bus", kept("1", boolean: true))
        directory.add("broken_parity_status", kept("0", boolean: true))
        directory.add("d3cold_allowed", kept("1", boolean: true))
        directory.add("power_state", line { function.powerStateName })
        let power = directory.add("power", Directory())
        power.add("control", kept("on"))
        power.add("runtime_status", AttributeFile("active"))
        directory.add("driver_override", AttributeFile(
            show: { [unowned node] () throws(Errno) in (node.driverOverride ?? "(null)") + "\n" },
            store: { [unowned node] (text, _) throws(Errno) in
                let name = trimmed(text)
                guard name.utf8.count < 4096 else { throw .invalidArgument }
                node.driverOverride = name.isEmpty ? nil : name
            }))
        if function.hasFunctionLevelReset {
            directory.add("reset", AttributeFile(store: { [unowned self] (text, _) throws(Errno) in
                guard try parseNumber(text) == 1 else { throw .invalidArgument }
                if case .refused = machine.perform(.resetFunction(function.index)) { throw .inputOutput }
                synchronize()
            }))
            directory.add("reset_method", AttributeFile(
                show: { () throws(Errno) in "flr\n" },
                store: { (text, _) throws(Errno) in
                    guard ["flr", "default"].contains(trimmed(text)) else { throw .invalidArgument }
                }))
        }
        directory.add("remove", AttributeFile(permissions: 0o220, store: { [unowned self, unowned node] (text, _) throws(Errno) in
            if try parseBoolean(text) { remove(node) }
        }))
        directory.add("rescan", AttributeFile(store: { [unowned self] (text, _) throws(Errno) in
            if try parseBoolean(text) { rescan() }
        }))
    }

    /// An attribute that the kernel keeps for its own use and a device knows nothing of: reads back what was written.
    private func kept(_ initial: String, boolean: Bool = false) -> AttributeFile {
        var value = initial
        return AttributeFile(
            show: { () throws(Errno) in value + "\n" },
            store: { (text, _) throws(Errno) in value = boolean ? (try parseBoolean(text) ? "1" : "0") : trimmed(text) })
    }

    private func addLink(_ node: FunctionNode) {
        let function = node.function, directory = node.directory
        guard function.hasLink else { return }
        directory.add("max_link_speed", line { function.maximumLinkSpeed })
        directory.add("max_link_width", line { "\(function.maximumLinkWidth)" })
        directory.add("current_link_speed", line { function.currentLinkSpeed })
        directory.add("current_link_width", line { "\(function.currentLinkWidth)" })
        directory.add("link", Directory())
    }

    private func addErrors(_ node: FunctionNode) {
        let function = node.function, directory = node.directory, machine = machine
        guard function.hasAdvancedErrorReporting else { return }
        let kinds: [(name: String, message: ErrorMessage)] = [("correctable", .correctable), ("fatal", .fatal), ("nonfatal", .nonFatal)]
        for kind in kinds {
            directory.add("aer_dev_\(kind.name)", AttributeFile(show: { () throws(Errno) in
                machine.inspect { _ in function.state.errors.lines(kind.message) }.map { "\($0.name) \($0.count)\n" }.joined()
            }))
        }
        guard function.isBridge else { return }
        let totals: [(name: String, message: ErrorMessage)] = [("cor", .correctable), ("fatal", .fatal), ("nonfatal", .nonFatal)]
        for total in totals {
            directory.add("aer_rootport_total_err_\(total.name)", line { "\(function.state.receivedMessages[total.message.rawValue])" })
        }
    }
}

extension DeviceTree {
    /// The host's processors: all are as near to the device as any (`cpumask`, `cpulist` of Linux).
    fileprivate static var processorList: String {
        let count = sysconf(Int32(_SC_NPROCESSORS_ONLN))
        return count > 1 ? "0-\(count - 1)" : "0"
    }

    fileprivate static var processorMask: String {
        var left = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN))), words: [String] = []
        while left > 0 {
            words.insert(left >= 32 ? "ffffffff" : hex((1 << UInt64(left)) - 1, 1), at: 0)
            left -= 32
        }
        return words.joined(separator: ",")
    }
}
