import FirmwareInfo
import Logging
import OffloadDevice
import PCIExpress

/// The files of one machine, laid out as Linux lays out PCI hardware: sysfs, UIO, and what only an emulator can show.
///
/// It plays the kernel's part too: buses are scanned, drivers bound, interrupts counted. All of it belongs to the thread that
/// serves the mount; only interrupts come from others.
public final class DeviceTree {
    public let nodes = NodeTable()
    let machine: Machine
    /// What stands before the tree's own paths in absolute links.
    let mountPoint: String
    let interrupts = InterruptCounters()
    let processes = ProcessIdentities()
    /// Who drives the functions, and their memory.
    let watch: ClientWatch
    /// Address of the physical function, `0000:01:00.0`.
    let physicalAddress: String
    private let rootPortAddress: String

    /// Functions in the order in which they appeared.
    private(set) var functions: [FunctionNode] = []
    /// Functions that somebody took away by `remove`, until the next scan.
    private var removed: Set<Int> = []
    /// `drivers_autoprobe` and `sriov_drivers_autoprobe`.
    var probesAutomatically = true
    var probesVirtualFunctions = true
    let drivers: [Driver]

    /// The driver for programs: what a device's functions are bound to from the start.
    static let userDriver = "uio_pci_generic"

    /// What is known of the firmware that the machine was started with; made when somebody needs it.
    let firmware: () -> DebugInformation?

    let log = Logger(label: "outrigger.device")

    var root: Directory { nodes.root }

    /// `dev/outrigger/<bdf>`: what a driver of this device alone would offer.
    var deviceFolder: Directory { root.directory("dev/outrigger/\(physicalAddress)") }
    /// `sys/kernel/debug/outrigger/<bdf>`.
    var debugFolder: Directory { root.directory("sys/kernel/debug/outrigger/\(physicalAddress)") }

    /// - Parameters:
    ///   - mountPoint: where the tree will be mounted: an absolute path without symbolic links.
    ///   - firmware: what is known of the machine's firmware, for call stacks.
    public init(_ machine: Machine, mountPoint: String, firmware: @escaping () -> DebugInformation? = { nil }) {
        self.machine = machine
        watch = ClientWatch(machine)
        self.firmware = firmware
        self.mountPoint = mountPoint
        (physicalAddress, rootPortAddress) = machine.inspect {
            ("\($0.hierarchy.physicalFunction.address)", "\($0.hierarchy.rootPort.address)")
        }
        drivers = [
            Driver("pcieport") { $0.isBridge },
            Driver(Self.userDriver) { $0.description != nil },
        ]
        for folder in ["sys/bus/pci/devices", "sys/class/uio", "dev"] { _ = root.directory(folder) }
        addDrivers()
        addSlot()
        addDeviceFiles()
        addDebugFiles()
        let interrupts = interrupts
        machine.onInterrupt { function, _ in interrupts.raise(function: function) }
        synchronize()
    }

    deinit { watch.stop() }

    /// A link to something in the tree, from a folder that may be shown in another place too (`outrigger exec` lays `sys/bus/pci`
    /// and `sys/class/uio` over the host's own): it names the mount point.
    func absoluteLink(to path: String) -> SymbolicLink { SymbolicLink(mountPoint + "/" + path) }

    /// A link from the folder at `folder` to something else in the tree, as sysfs has them. pciutils takes no other.
    func relativeLink(from folder: String, to path: String) -> SymbolicLink {
        let folder = folder.split(separator: "/"), path = path.split(separator: "/")
        let common = zip(folder, path).prefix { $0 == $1 }.count
        return SymbolicLink((Array(repeating: "..", count: folder.count - common) + path.dropFirst(common)).joined(separator: "/"))
    }

    /// The function with this address as people write it.
    func shown(named name: String) -> FunctionNode? { functions.first { $0.name == name } }

    /// Brings the tree in line with the functions that exist now. While nothing answers below the root port, the host keeps what it knew of
    /// there: it takes a scan to find something, and `remove` to forget it.
    func synchronize() {
        let (present, answers) = machine.inspect { ($0.hierarchy.present, $0.hierarchy.forwardsConfiguration) }
        func isFound(_ function: PCIFunction) -> Bool { present.contains { $0 === function } || (!answers && function.address.bus != 0) }
        for node in functions where removed.contains(node.function.index) || !isFound(node.function) { hide(node) }
        for function in present where answers || function.address.bus == 0 {
            if !removed.contains(function.index), !functions.contains(where: { $0.function === function }) { show(function) }
        }
    }

    func remove(_ node: FunctionNode) {
        removed.insert(node.function.index)
        if node.function.isBridge {
            removed.formUnion(functions.filter { $0.function.address.bus != node.function.address.bus }.map(\.function.index))
        }
        synchronize()
    }

    /// Scans the bus again: what was removed comes back, if it answers.
    func rescan() {
        if machine.inspect({ $0.hierarchy.forwardsConfiguration }) {
            for index in removed.sorted() { machine.perform(.configureFunction(index)) }
            removed = []
        }
        synchronize()
    }

    /// What was injected may have changed which functions there are.
    func injected(_ injection: Injection) {
        guard case .card(let isPresent, _) = injection else { return }
        // Nobody waits for interrupts of a card that is gone.
        if !isPresent { for node in functions { node.uio?.events.fail() } }
        synchronize()
    }

    private func show(_ function: PCIFunction) {
        let bus = "sys/devices/pci0000:00"
        let parent = function.address.bus == 0 ? bus : "\(bus)/\(rootPortAddress)"
        let clients = function.isBridge ? nil : watch.clients(of: function.index)
        let node = FunctionNode(function, path: "\(parent)/\(function.address)", clients: clients)
        functions.append(node)
        machine.inspect { _ in fill(node) }
        root.directory(parent).add(node.name, node.directory)
        root.directory("sys/bus/pci/devices").add(node.name, absoluteLink(to: node.path))
        if case .virtual(let number) = function.role, let physical = shown(named: physicalAddress) {
            physical.directory.add("virtfn\(number - 1)", relativeLink(from: physical.path, to: node.path))
        }
        addDeviceFiles(of: node)
        if probesAutomatically, probesVirtualFunctions || !function.isVirtual { probe(node) }
    }

    private func hide(_ node: FunctionNode) {
        unbind(node)
        removeDeviceFiles(of: node)
        functions.removeAll { $0 === node }
        root.directory("sys/bus/pci/devices").remove(node.name)
        if case .virtual(let number) = node.function.role {
            shown(named: physicalAddress)?.directory.remove("virtfn\(number - 1)")
        }
        let parent = String(node.path.dropLast(node.name.utf8.count + 1))
        root.directory(parent).remove(node.name)
    }

    /// The slot that the device is plugged into.
    private func addSlot() {
        let slot = root.directory("sys/bus/pci/slots/0")
        // Without the function number.
        slot.add("address", AttributeFile(String(physicalAddress.dropLast(2))))
        let speed = machine.inspect { $0.hierarchy.rootPort.maximumLinkSpeed }
        for name in ["cur_bus_speed", "max_bus_speed"] { slot.add(name, AttributeFile(speed)) }
    }
}
