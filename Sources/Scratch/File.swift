import Glibc

/// All bytes of a file, also of one that doesn't say how many it has, as those in `/proc`.
public func readFile(_ path: String) throws(FileError) -> [UInt8] {
    guard let file = fopen(path, "re") else { throw FileError(path) }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { break }
        bytes += buffer[..<count]
    }
    guard ferror(file) == 0 else { throw FileError(path) }
    return bytes
}

/// What the system says of a file or a folder.
public struct FileError: Error, CustomStringConvertible {
    public let description: String

    /// - Parameter path: of what the last call was about; `errno` says why it failed.
    init(_ path: String) { description = "\(path): \(String(cString: strerror(errno)))" }
}
