import Glibc

/// A PCI function by its folder in sysfs: a real one, or that of a mounted device.
public struct PCIDevice {
    /// The folder itself, with all links resolved.
    public let folder: String
    /// `0000:01:00.0`.
    public let address: String
    /// What stands before `/sys` and `/dev`: empty for the machine's own, the mount point otherwise.
    public let root: String

    public init(_ path: String) throws(AgentError) {
        guard let resolved = realpath(path, nil) else { throw .system("realpath", path) }
        defer { free(resolved) }
        folder = String(cString: resolved)
        guard let root = Self.prefix(of: folder, before: "/sys/"), let slash = folder.lastIndex(of: "/") else {
            throw AgentError("\(path): a PCI function's folder below .../sys/ expected, \(folder) found")
        }
        self.root = root
        address = String(folder[folder.index(after: slash)...])
        guard access(folder + "/config", F_OK) == 0 else {
            throw AgentError("\(path): no PCI function: it has no file `config`")
        }
    }

    private static func prefix(of path: String, before part: String) -> String? {
        let bytes = Array(path.utf8), needle = Array(part.utf8)
        guard bytes.count >= needle.count else { return nil }
        for start in stride(from: bytes.count - needle.count, through: 0, by: -1) where bytes[start...].starts(with: needle) {
            return String(decoding: bytes[..<start], as: UTF8.self)
        }
        return nil
    }

    /// The text of an attribute, one of the folder's files, without the final newline.
    public func attribute(_ name: String) throws(AgentError) -> String { try File.text(folder + "/" + name) }

    /// Writes an attribute as `echo` would.
    public func setAttribute(_ name: String, to value: String) throws(AgentError) {
        let file = try File(folder + "/" + name, O_WRONLY)
        var text = value + "\n"
        let result = text.withUTF8 { Glibc.write(file.descriptor, $0.baseAddress, $0.count) }
        guard result > 0 else { throw .system("writing \(value)", file.path) }
    }

    /// Opens one of the folder's files.
    public func open(_ name: String, _ flags: Int32 = O_RDWR) throws(AgentError) -> File { try File(folder + "/" + name, flags) }

    /// The folder of the device's own files (host memory, logs): only an emulated device has one. It is function 0's.
    public var deviceFiles: String? {
        let path = root + "/dev/outrigger/" + Self.address(managementAddress, function: 0)
        return access(path, F_OK) == 0 ? path : nil
    }

    /// The address of the physical function behind this one; its own unless it is virtual.
    private var managementAddress: String {
        guard let resolved = realpath(folder + "/physfn", nil) else { return address }
        defer { free(resolved) }
        return String(cString: resolved).split(separator: "/").last.map(String.init) ?? address
    }

    /// The same address with another function number, its last digit.
    private static func address(_ address: String, function number: Int) -> String { "\(address.dropLast())\(number)" }

    /// Physical function `number`, 1...7, of the same device; the machine description must have it.
    public func physicalFunction(_ number: Int) throws(AgentError) -> PCIDevice {
        let path = String(folder.dropLast(address.utf8.count)) + Self.address(address, function: number)
        guard access(path, F_OK) == 0 else {
            throw AgentError("\(address): the device has no physical function \(number): there is no \(path)")
        }
        return try PCIDevice(path)
    }

    /// Virtual function `number`, 1...; it must have been created by ``enableVirtualFunctions(_:)``.
    public func virtualFunction(_ number: Int) throws(AgentError) -> PCIDevice {
        let link = folder + "/virtfn\(number - 1)"
        guard access(link, F_OK) == 0 else {
            let present = (try? attribute("sriov_numvfs")) ?? "0"
            throw AgentError("\(address): no virtual function \(number): \(present) are enabled (sriov_numvfs)")
        }
        return try PCIDevice(link)
    }

    /// Makes at least `count` virtual functions exist.
    public func enableVirtualFunctions(_ count: Int) throws(AgentError) {
        let present = Int(try attribute("sriov_numvfs")) ?? 0
        guard present < count else { return }
        if present > 0 { try setAttribute("sriov_numvfs", to: "0") }
        try setAttribute("sriov_numvfs", to: "\(count)")
    }

    /// Sets memory space enable and bus master in the command register (PCIe 5.0, 7.5.1.1.3).
    public func enable() throws(AgentError) {
        let config = try open("config")
        let command = try config.read(UInt16.self, at: 4)
        try config.write(command | 0x6, at: 4)
    }

    /// The path of the UIO node, nil when no UIO driver is bound.
    public var interruptNode: String? {
        guard let directory = opendir(folder + "/uio") else { return nil }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name.hasPrefix("uio") { return root + "/dev/" + name }
        }
        return nil
    }
}
