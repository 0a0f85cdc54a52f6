import PCIExpress

/// A driver as the host's PCI bus knows it: which functions it takes, and what it does with them.
final class Driver {
    /// Ids that a driver has been told to take (`new_id`), or knows; nil matches anything.
    struct Identity: Equatable {
        var vendor: UInt32
        var device: UInt32
        var subsystemVendor: UInt32?
        var subsystemDevice: UInt32?
        var classCode: UInt32 = 0
        var classMask: UInt32 = 0

        func matches(_ function: PCIFunction) -> Bool {
            vendor == function.vendorID && device == function.deviceID
                && subsystemVendor ?? UInt32(function.subsystemVendorID) == function.subsystemVendorID
                && subsystemDevice ?? UInt32(function.subsystemID) == function.subsystemID
                && (classCode ^ function.classCode) & classMask == 0
        }
    }

    let name: String
    let directory = Directory()
    /// Takes every function of a kind by itself.
    let takes: (PCIFunction) -> Bool
    var identities: [Identity] = []

    init(_ name: String, takes: @escaping (PCIFunction) -> Bool) {
        self.name = name
        self.takes = takes
    }

    /// Whether it may have the function (Linux, `pci_match_device`).
    func matches(_ node: FunctionNode) -> Bool {
        if let wanted = node.driverOverride { return wanted == name }
        return takes(node.function) || identities.contains { $0.matches(node.function) }
    }
}

extension Driver.Identity {
    /// From the text of `new_id`: vendor, device, subsystem vendor, subsystem device, class and mask, hexadecimal; the first two
    /// must be there. EINVAL otherwise.
    init(_ text: String) throws(Errno) {
        var numbers: [UInt32] = []
        for word in trimmed(text).split(whereSeparator: \.isWhitespace) {
            let digits = word.lowercased().hasPrefix("0x") ? word.dropFirst(2) : word
            guard let number = UInt32(digits, radix: 16) else { throw .invalidArgument }
            numbers.append(number)
        }
        guard (2...7).contains(numbers.count) else { throw .invalidArgument }
        self.init(vendor: numbers[0], device: numbers[1])
        // All ones is the kernel's PCI_ANY_ID.
        if numbers.count > 2, numbers[2] != .max { subsystemVendor = numbers[2] }
        if numbers.count > 3, numbers[3] != .max { subsystemDevice = numbers[3] }
        if numbers.count > 4 { classCode = numbers[4] }
        if numbers.count > 5 { classMask = numbers[5] }
    }
}

extension DeviceTree {
    /// The folder `sys/bus/pci/drivers` and what is in it.
    func addDrivers() {
        let folder = root.directory("sys/bus/pci/drivers")
        for driver in drivers {
            let directory = folder.add(driver.name, driver.directory)
            directory.add("bind", AttributeFile(store: { [unowned self, unowned driver] (text, _) throws(Errno) in
                guard let node = shown(named: trimmed(text)), driver.matches(node) else { throw .noDevice }
                guard node.driver == nil else { throw .busy }
                bind(node, to: driver)
            }))
            directory.add("unbind", AttributeFile(store: { [unowned self, unowned driver] (text, _) throws(Errno) in
                guard let node = shown(named: trimmed(text)), node.driver === driver else { throw .noDevice }
                unbind(node)
            }))
            directory.add("new_id", AttributeFile(store: { [unowned self, unowned driver] (text, _) throws(Errno) in
                let identity = try Driver.Identity(text)
                guard !driver.identities.contains(identity) else { throw .exists }
                driver.identities.append(identity)
                for node in functions where node.driver == nil && driver.matches(node) { bind(node, to: driver) }
            }))
            directory.add("remove_id", AttributeFile(store: { [unowned driver] (text, _) throws(Errno) in
                let identity = try Driver.Identity(text)
                let count = driver.identities.count
                driver.identities.removeAll { $0.vendor == identity.vendor && $0.device == identity.device }
                guard driver.identities.count < count else { throw .noDevice }
            }))
            directory.add("uevent", AttributeFile(store: { (_, _) throws(Errno) in }))
        }
        let bus = root.directory("sys/bus/pci")
        bus.add("drivers_autoprobe", AttributeFile(
            show: { [unowned self] () throws(Errno) in probesAutomatically ? "1\n" : "0\n" },
            store: { [unowned self] (text, _) throws(Errno) in probesAutomatically = try parseBoolean(text) }))
        bus.add("drivers_probe", AttributeFile(store: { [unowned self] (text, _) throws(Errno) in
            guard let node = shown(named: trimmed(text)) else { throw .noDevice }
            if node.driver == nil { probe(node) }
        }))
        bus.add("rescan", AttributeFile(store: { [unowned self] (text, _) throws(Errno) in
            if try parseBoolean(text) { rescan() }
        }))
    }

    /// Gives a function to the first driver that may have it.
    func probe(_ node: FunctionNode) {
        if let driver = drivers.first(where: { $0.matches(node) }) { bind(node, to: driver) }
    }

    private func bind(_ node: FunctionNode, to driver: Driver) {
        node.driver = driver
        node.directory.add("driver", relativeLink(from: node.path, to: "sys/bus/pci/drivers/\(driver.name)"))
        driver.directory.add(node.name, absoluteLink(to: node.path))
        guard driver.name == Self.userDriver else { return }
        addUIO(node)
        // As pci_enable_device does when uio_pci_generic takes a device.
        if !machine.inspect({ _ in node.function.isEnabledFromHost }) { machine.perform(.enableFunction(node.function.index, true)) }
    }

    func unbind(_ node: FunctionNode) {
        guard let driver = node.driver else { return }
        removeUIO(node)
        node.driver = nil
        node.directory.remove("driver")
        driver.directory.remove(node.name)
        // As pci_disable_device does when uio_pci_generic lets a device go.
        machine.perform(.enableFunction(node.function.index, false))
        machine.perform(.dropClientMemory(function: node.function.index))
    }
}
