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

    /// The text of a debug file.
    func text(of name: String) throws -> String { String(decoding: try Run.contents(of: folder + "/" + name), as: UTF8.self) }

    func write(_ text: String, to name: String) throws {
        let file = open(folder + "/" + name, O_WRONLY | O_CLOEXEC)
        guard file >= 0 else { throw UsageError("\(folder)/\(name): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        guard Glibc.write(file, text, text.utf8.count) == text.utf8.count else {
            throw UsageError("\(folder)/\(name): \(String(cString: strerror(errno)))")
        }
    }

    /// Waits until so many device cycles have passed. Where the wall clock doesn't move device time, it is moved.
    func letTimePass(_ cycles: UInt64) throws {
        guard try time().pace.hasPrefix("realtime") else { return try write("advance \(cycles)\n", to: "time") }
        let end = try time().cycle &+ cycles
        while try time().cycle < end { usleep(2000) }
    }

    /// What device time follows.
    func pace() throws -> String { try time().pace }

    /// The file `time`: a line `cycle: N`, a line `pace: NAME`.
    private func time() throws -> (cycle: UInt64, pace: String) {
        var values: [Substring: String] = [:]
        for line in try text(of: "time").split(separator: "\n") {
            guard let colon = line.firstIndex(of: ":") else { continue }
            values[line[..<colon]] = String(line[colon...].dropFirst(2))
        }
        guard let cycle = values["cycle"].flatMap({ UInt64($0) }), let pace = values["pace"] else {
            throw UsageError("\(folder)/time: 'cycle' and 'pace' expected")
        }
        return (cycle, pace)
    }

    func harts() throws -> [HartView] {
        let text = try text(of: "harts")
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
