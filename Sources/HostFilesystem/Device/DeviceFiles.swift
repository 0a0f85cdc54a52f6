import OffloadDevice
import PCIExpress

extension DeviceTree {
    /// `dev/outrigger/<bdf>`: the memory that host programs share with the device.
    func addDeviceFiles() {
        deviceFolder.add("hostmem", AccessFile(memory: machine.hostMemory, permissions: 0o600))
        deviceFolder.add("hostmem.iova", AttributeFile("0x\(hex(machine.hostMemoryAddress, 1))"))
        deviceFolder.add("agent", AgentFile(machine))
    }

    /// What belongs to a function: its queues, registers and console, and the log of its virtual machine.
    func addDeviceFiles(of node: FunctionNode) {
        addQueues(of: node)
        addDebugFiles(of: node)
        addConsole(of: node)
        addMedium(of: node)
        if case .virtual(let number) = node.function.role {
            deviceFolder.directory("log/vm\(number)").add("fast", LogStream(machine, virtualMachine: number))
        }
    }

    func removeDeviceFiles(of node: FunctionNode) {
        removeQueues(of: node)
        removeDebugFiles(of: node)
        removeConsole(of: node)
        removeMedium(of: node)
        if case .virtual(let number) = node.function.role { (deviceFolder["log"] as? Directory)?.remove("vm\(number)") }
    }
}
