import Glibc

/// A folder for what is read as files, in TMPDIR, whose maker removes it.
struct WorkFolder {
    let path: String

    init() {
        var template = Array("\(getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp")/outrigger-fuzz-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { fatalError("no folder can be made in TMPDIR: \(String(cString: strerror(errno)))") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    func write(_ bytes: [UInt8], to name: String) {
        let descriptor = open("\(path)/\(name)", O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        let written = bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
        require(written == bytes.count, "\(path)/\(name) can be written")
        close(descriptor)
    }

    func read(_ name: String) -> [UInt8] { Self.read("\(path)/\(name)") }
    func remove(_ name: String) { unlink("\(path)/\(name)") }

    static func read(_ path: String) -> [UInt8] {
        let descriptor = open(path, O_RDONLY)
        require(descriptor >= 0, "\(path) can be read")
        defer { close(descriptor) }
        var bytes = [UInt8](repeating: 0, count: Int(lseek(descriptor, 0, SEEK_END)))
        let count = pread(descriptor, &bytes, bytes.count, 0)
        require(count == bytes.count, "\(path) can be read")
        return bytes
    }
}
