import OffloadDevice
import PCIExpress
import Registers

/// The file that a host agent keeps open as long as it serves components: one agent at a time. Its `close`, by itself or by the agent's
/// end, tells the device that the agent is gone, as the release of a device node does in a kernel's driver: by then the process has no
/// memory mapped and nothing more to write.
final class AgentFile: Node {
    private let machine: Machine
    private var isOpen = false

    init(_ machine: Machine) {
        self.machine = machine
        super.init(permissions: 0o600)
    }

    override func open(flags: Int32) throws(Errno) -> OpenFile? {
        guard !isOpen else { throw .busy }
        isOpen = true
        return nil
    }

    override func close(_ file: OpenFile?) {
        isOpen = false
        machine.detachAgent()
    }
}

extension DeviceTree {
    /// `dev/outrigger/<bdf>/media/fnN`: the medium of a virtual function's disk, as the block device that a host's driver would make of
    /// it. Only while the host serves the disk; then reads and writes are whole sectors, and durable as the disk's own are.
    func addMedium(of node: FunctionNode) {
        let machine = machine, index = node.function.index
        guard case .virtual = node.function.role else { return }
        guard let size = machine.inspect({ $0.virtioFunction(index)?.block?.backend.byteCount }) else { return }
        func check(_ outcome: HostOutcome) throws(Errno) -> HostOutcome {
            if case .refused = outcome { throw .inputOutput }
            return outcome
        }
        deviceFolder.directory("media").add("fn\(index)", AccessFile(
            size: Int(clamping: size), permissions: 0o600,
            read: { (offset, buffer, _) throws(Errno) in
                let operation = MediumOperation.read(position: UInt64(offset), count: buffer.count)
                guard case .read(let bytes) = try check(machine.perform(.medium(function: index, operation))) else { return 0 }
                buffer.copyBytes(from: bytes)
                return bytes.count
            },
            write: { (offset, bytes, _) throws(Errno) in
                _ = try check(machine.perform(.medium(function: index, .write(position: UInt64(offset), Array(bytes)))))
                return bytes.count
            },
            synchronize: { () throws(Errno) in _ = try check(machine.perform(.medium(function: index, .flush))) }))
    }

    func removeMedium(of node: FunctionNode) {
        (deviceFolder["media"] as? Directory)?.remove("fn\(node.function.index)")
    }
}
