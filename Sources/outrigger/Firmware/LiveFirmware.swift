import FirmwareInfo
import Glibc

/// The firmware of a mounted device, read through its debug files `memory`, `harts` and `regs`.
final class LiveFirmware: FirmwareMemory {
    private let folder: String
    private let memory: Int32
    private let registers: LiveRegisters

    init(mountPoint: String) throws(UsageError) {
        folder = try LiveRegisters.debugFolder(mountPoint: mountPoint)
        memory = open(folder + "/memory", O_RDONLY | O_CLOEXEC)
        guard memory >= 0 else { throw UsageError("\(folder)/memory: \(String(cString: strerror(errno)))") }
        registers = try LiveRegisters(mountPoint: mountPoint)
    }

    deinit { close(memory) }

    func bytes(at address: UInt32, count: Int) throws -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count), done = 0
        while done < count {
            let read = bytes.withUnsafeMutableBytes { pread(memory, $0.baseAddress! + done, count - done, off_t(address) + off_t(done)) }
            if read == 0 || read < 0 && errno == EIO { return nil }
            guard read > 0 else { throw UsageError("\(folder)/memory: \(String(cString: strerror(errno)))") }
            done += read
        }
        return bytes
    }

    func register(_ name: String) -> UInt64? { registers[name] }

    func harts() throws -> [HartView] {
        let text = String(decoding: try Run.contents(of: folder + "/harts"), as: UTF8.self)
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            guard let space = line.firstIndex(of: " ") else { continue }
            values[line[..<space]] = line[line.index(after: space)...]
        }
        var harts: [HartView] = []
        while let activity = values["hart\(harts.count).activity"].flatMap({ HartView.Activity(rawValue: String($0)) }) {
            func value(_ name: String) throws -> UInt32 {
                let key = "hart\(harts.count).\(name)"
                guard let text = values[Substring(key)], let value = UInt32(text.dropFirst(2), radix: 16) else {
                    throw UsageError("\(folder)/harts: a value of \(key) expected")
                }
                return value
            }
            let registers = HartRegisters(x: try (0..<32).map { try value("x\($0)") }, pc: try value("pc"))
            let digits = Array((values["hart\(harts.count).stack"] ?? "").utf8)
            let stack = stride(from: 0, to: digits.count & ~1, by: 2).map { place in
                UInt8(String(decoding: digits[place...(place + 1)], as: UTF8.self), radix: 16) ?? 0
            }
            harts.append(HartView(registers: registers, activity: activity, stack: stack))
        }
        return harts
    }
}
