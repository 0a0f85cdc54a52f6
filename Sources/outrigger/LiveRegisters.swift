import Glibc
import OffloadDevice
import Registers

/// The present register values of a mounted device, read without side effects from its debug file `regs`.
struct LiveRegisters {
    private var values: [String: UInt64] = [:]

    /// The debug files of the device that is mounted.
    static func debugFolder(mountPoint: String) throws(UsageError) -> String {
        let folder = mountPoint + "/sys/kernel/debug/outrigger"
        guard let directory = opendir(folder) else {
            throw UsageError("\(mountPoint): no mounted device: it has no sys/kernel/debug/outrigger")
        }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if !name.hasPrefix(".") { return folder + "/" + name }
        }
        throw UsageError("\(folder): no device in it")
    }

    init(mountPoint: String) throws(UsageError) {
        let path = try Self.debugFolder(mountPoint: mountPoint) + "/regs"
        guard let file = fopen(path, "r") else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        defer { fclose(file) }
        var line: UnsafeMutablePointer<CChar>?, capacity = 0
        defer { free(line) }
        while getline(&line, &capacity, file) > 0, let text = line.map({ String(cString: $0) }) {
            // NAME VALUE FIELDS...
            let words = text.split(separator: " ", maxSplits: 2)
            guard words.count >= 2, let value = UInt64(words[1].dropFirst(2).prefix { $0 != "\n" }, radix: 16) else { continue }
            values[String(words[0])] = value
        }
    }

    /// - Throws: for a register that has no value to show.
    func value(of location: RegisterLocation) throws(UsageError) -> UInt64 {
        guard let value = value(of: location.block, location.register, element: location.element) else {
            throw UsageError("\(location.name): the mounted device doesn't show this register's value")
        }
        return value
    }

    /// By name, `BLOCK.REGISTER` or `BLOCK.REGISTER[INDEX]`; nil for one that the device doesn't show.
    subscript(_ name: String) -> UInt64? { values[name] }

    /// nil for a register that the device doesn't show, such as one that can only be written.
    func value(of block: BusMap.Block, _ register: RegisterDescription, element: Int) -> UInt64? {
        values["\(block.name).\(register.name(ofElement: element))"]
    }
}
