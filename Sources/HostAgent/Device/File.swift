import Glibc

/// What went wrong between the agent and the device, in one line for the person who asked.
public struct AgentError: Error, Equatable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }

    /// The failure of a system call on `path`, from `errno`.
    static func system(_ call: String, _ path: String, _ code: Int32 = errno) -> AgentError {
        AgentError("\(path): \(call): \(String(cString: strerror(code)))")
    }
}

/// An open file, closed with the last reference.
public final class File {
    public let path: String
    public let descriptor: Int32

    public init(_ path: String, _ flags: Int32) throws(AgentError) {
        let descriptor = open(path, flags | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("open", path) }
        self.path = path
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    /// Reads exactly `bytes.count` bytes at `offset`: one `pread`, hence one access of that size where the file is a register file.
    public func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(AgentError) {
        let count = pread(descriptor, bytes.baseAddress, bytes.count, offset)
        guard count >= 0 else { throw .system("pread of \(bytes.count) bytes at 0x\(hex(offset))", path) }
        guard count == bytes.count else { throw AgentError("\(path): \(bytes.count) bytes expected at 0x\(hex(offset)), \(count) found") }
    }

    /// Writes exactly `bytes.count` bytes at `offset`: one `pwrite`.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(AgentError) {
        let count = pwrite(descriptor, bytes.baseAddress, bytes.count, offset)
        guard count >= 0 else { throw .system("pwrite of \(bytes.count) bytes at 0x\(hex(offset))", path) }
        guard count == bytes.count else { throw AgentError("\(path): \(count) of \(bytes.count) bytes written at 0x\(hex(offset))") }
    }

    /// A little-endian integer at `offset`, in one access.
    public func read<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) throws(AgentError) -> T {
        var value = T.zero
        let count = pread(descriptor, &value, MemoryLayout<T>.size, offset)
        guard count == MemoryLayout<T>.size else {
            throw count < 0 ? .system("pread at 0x\(hex(offset))", path) : AgentError("\(path): ends before 0x\(hex(offset))")
        }
        return T(littleEndian: value)
    }

    /// Writes a little-endian integer at `offset`, in one access.
    public func write<T: FixedWidthInteger>(_ value: T, at offset: Int) throws(AgentError) {
        var value = value.littleEndian
        let count = pwrite(descriptor, &value, MemoryLayout<T>.size, offset)
        guard count == MemoryLayout<T>.size else { throw .system("pwrite at 0x\(hex(offset))", path) }
    }

    /// The whole text of a small file such as an attribute in sysfs, without the final newline.
    public static func text(_ path: String) throws(AgentError) -> String {
        var bytes = try contents(path)
        if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// All bytes of a file.
    public static func contents(_ path: String) throws(AgentError) -> [UInt8] { try contents(path, atMost: .max) ?? [] }

    /// All bytes of a file; nil if there are more than so many.
    public static func contents(_ path: String, atMost limit: Int) throws(AgentError) -> [UInt8]? {
        let file = try File(path, O_RDONLY)
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 65536)
        while bytes.count <= limit {
            let count = Glibc.read(file.descriptor, &chunk, chunk.count)
            guard count >= 0 else { throw .system("read", path) }
            if count == 0 { return bytes }
            bytes += chunk[..<count]
        }
        return nil
    }
}

func hex(_ value: some BinaryInteger) -> String { String(value, radix: 16) }
