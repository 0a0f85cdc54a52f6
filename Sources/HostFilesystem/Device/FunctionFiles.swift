import OffloadDevice
import PCIExpress
import Virtio

extension DeviceTree {
    /// `sys/kernel/debug/outrigger/<bdf>/functions/fnN`: a virtio function's registers, interrupts, features and counters.
    func addDebugFiles(of node: FunctionNode) {
        let machine = machine, index = node.function.index
        guard let function = machine.inspect({ $0.virtioFunction(index) }) else { return }
        let folder = debugFolder.directory("functions").add("fn\(index)", Directory())
        folder.add("regs", AttributeFile(show: { () throws(Errno) in
            machine.inspect { device in
                Self.registers(of: .virtualFunction, device, function: index)
                    + (function.legacy == nil ? "" : Self.registers(of: .legacyFunction, device, function: index))
            }
        }))
        folder.add("interrupts", AttributeFile(show: { () throws(Errno) in
            machine.inspect { device in
                let transport = function.transport
                let vectors = (0..<function.device.queueCount).map { queue in
                    "queue \(queue): \(Self.text(ofVector: transport.vector(ofQueue: queue)))\n"
                }
                return function.function.interrupts.description
                    + "configuration: \(Self.text(ofVector: transport.configurationVector))\n" + vectors.joined()
            }
        }))
        folder.add("features", AttributeFile(show: { () throws(Errno) in
            machine.inspect { _ in
                let device = function.device
                return "offered: \(device.names(of: device.offeredFeatures).joined(separator: " "))\n"
                    + "accepted: \(device.names(of: device.features).joined(separator: " "))\n"
            }
        }))
        let clients = watch.clients(of: index)
        folder.add("client", AttributeFile(
            show: { () throws(Errno) in clients.summary },
            store: { (text, _) throws(Errno) in
                guard let addressing = FunctionClients.Addressing(rawValue: trimmed(text)) else { throw .invalidArgument }
                clients.setAddressing(addressing)
                machine.perform(.dropClientMemory(function: index))
            }))
        if let network = function.network {
            folder.add("network", AttributeFile(show: { () throws(Errno) in machine.inspect { _ in network.summary } }))
        }
    }

    private static func text(ofVector vector: UInt16) -> String {
        vector == VirtioPCITransport.noVector ? "no vector" : "vector \(vector)"
    }

    func removeDebugFiles(of node: FunctionNode) {
        (debugFolder["functions"] as? Directory)?.remove("fn\(node.function.index)")
    }

    /// `dev/outrigger/<bdf>/consoles/fnN`: what the driver of a console has written; what is written goes to the driver.
    func addConsole(of node: FunctionNode) {
        let machine = machine, index = node.function.index
        guard machine.inspect({ $0.virtioFunction(index)?.console != nil }) else { return }
        let console = FeedFile<UInt8>(
            limit: 1 << 16, reading: .untilNow,
            input: { (text) throws(Errno) in
                guard machine.typeAtConsole(function: index, Array(text.utf8)) == text.utf8.count else { throw .tryAgain }
            },
            render: { $1.append($0) })
        deviceFolder.directory("consoles").add("fn\(index)", console)
        // Weak: the machine must not keep the tree.
        machine.onConsoleOutput(function: index) { [weak console] bytes in
            for byte in bytes { console?.append(byte) }
        }
    }

    func removeConsole(of node: FunctionNode) {
        (deviceFolder["consoles"] as? Directory)?.remove("fn\(node.function.index)")
    }
}
