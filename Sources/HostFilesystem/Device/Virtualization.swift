import OffloadDevice
import PCIExpress

extension DeviceTree {
    /// The `sriov_*` files of the physical function.
    func addVirtualization(_ node: FunctionNode) {
        let function = node.function, directory = node.directory, machine = machine
        typealias Capability = (total: Int, enabled: Int, offset: Int, stride: Int, deviceID: UInt16)
        func line(_ make: @escaping (Capability) -> String) -> AttributeFile {
            AttributeFile(show: { () throws(Errno) in
                guard let capability = machine.inspect({ _ in function.virtualization }) else { throw .inputOutput }
                return make(capability) + "\n"
            })
        }
        directory.add("sriov_totalvfs", line { "\($0.total)" })
        directory.add("sriov_offset", line { "\($0.offset)" })
        directory.add("sriov_stride", line { "\($0.stride)" })
        directory.add("sriov_vf_device", line { hex($0.deviceID, 1) })
        directory.add("sriov_vf_total_msix", AttributeFile("0"))
        directory.add("sriov_drivers_autoprobe", AttributeFile(
            show: { [unowned self] () throws(Errno) in probesVirtualFunctions ? "1\n" : "0\n" },
            store: { [unowned self] (text, _) throws(Errno) in probesVirtualFunctions = try parseBoolean(text) }))
        directory.add("sriov_numvfs", AttributeFile(
            show: { () throws(Errno) in
                guard let capability = machine.inspect({ _ in function.virtualization }) else { throw .inputOutput }
                return "\(capability.enabled)\n"
            },
            store: { [unowned self] (text, _) throws(Errno) in
                let count = try parseNumber(text)
                switch machine.perform(.setVirtualFunctions(count)) {
                case .refused(.virtualFunctions(.tooMany)): throw .outOfRange
                case .refused(.virtualFunctions(.busy)): throw .busy
                case .refused(.virtualFunctions(.unreachable)): throw .inputOutput
                case .refused: throw .notFound
                default: synchronize()
                }
            }))
    }
}
