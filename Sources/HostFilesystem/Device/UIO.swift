import PCIExpress

/// The UIO device of one function (Linux, drivers/uio/uio.c and uio_pci_generic.c).
final class UIONode {
    let number: Int
    let events = EventFile()

    init(number: Int) {
        self.number = number
    }

    var name: String { "uio\(number)" }
}

extension DeviceTree {
    /// The major number that a kernel gave UIO in a run; it hands it out freely, and nothing asks for a certain one.
    private static let major = 245

    func addUIO(_ node: FunctionNode) {
        let used = Set(functions.compactMap { $0.uio?.number })
        let uio = UIONode(number: (0...).first { !used.contains($0) }!)
        node.uio = uio
        let directory = node.directory.directory("uio/\(uio.name)"), path = "\(node.path)/uio/\(uio.name)"
        directory.add("name", AttributeFile(Self.userDriver))
        directory.add("version", AttributeFile("0.01.0"))
        directory.add("dev", AttributeFile("\(Self.major):\(uio.number)"))
        directory.add("event", AttributeFile(show: { () throws(Errno) in "\(uio.events.count)\n" }))
        directory.add("uevent", AttributeFile(
            show: { () throws(Errno) in "MAJOR=\(Self.major)\nMINOR=\(uio.number)\nDEVNAME=\(uio.name)\n" },
            store: { (_, _) throws(Errno) in }))
        directory.add("device", relativeLink(from: path, to: node.path))
        directory.add("subsystem", relativeLink(from: path, to: "sys/class/uio"))
        root.directory("sys/class/uio").add(uio.name, absoluteLink(to: path))
        root.directory("dev").add(uio.name, uio.events)
        noteClients(of: node, at: uio.events, readersToo: true)
        interrupts.connect(uio.events, function: node.function.index)
        let machine = machine, index = node.function.index
        uio.events.beforeWaiting = { machine.waitForInterrupt(function: index, after: machine.interruptCount(function: index)) }
    }

    func removeUIO(_ node: FunctionNode) {
        guard let uio = node.uio else { return }
        interrupts.disconnect(function: node.function.index)
        node.uio = nil
        root.directory("dev").remove(uio.name)
        root.directory("sys/class/uio").remove(uio.name)
        node.directory.remove("uio")
    }
}
