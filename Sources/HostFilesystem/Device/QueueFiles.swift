import OffloadDevice
import PCIExpress
import Virtio

extension DeviceTree {
    /// `dev/outrigger/<bdf>/queues/fnN`: the virtqueues of one function, for people and debuggers. Reading changes nothing.
    func addQueues(of node: FunctionNode) {
        let index = node.function.index, machine = machine
        guard let device = machine.inspect({ $0.virtioFunction(index) }) else { return }
        let count = machine.inspect { _ in device.device.queueCount }
        let functionFolder = deviceFolder.directory("queues").add("fn\(index)", Directory())
        for queue in 0..<count {
            let folder = functionFolder.add("q\(queue)", Directory())
            folder.add("state", AttributeFile(show: { () throws(Errno) in
                guard let state = machine.inspect({ _ in device.device.inspect(queue: queue) }) else { throw .noDevice }
                return state.description
            }))
            let areas: [(name: String, area: QueueArea)] = [("desc", .descriptors), ("avail", .driver), ("used", .device)]
            for (name, area) in areas {
                // Empty while the queue isn't enabled.
                folder.add(name, AttributeFile(permissions: 0o400, bytes: { () throws(Errno) in
                    machine.inspect { _ in device.device.peek(area, queue: queue) } ?? []
                }))
            }
        }
    }

    func removeQueues(of node: FunctionNode) {
        (deviceFolder["queues"] as? Directory)?.remove("fn\(node.function.index)")
    }
}
