import CLinux
import Glibc

/// A new folder of one's own in TMPDIR, or in /tmp. It goes with its object, and all that is in it.
public final class TemporaryFolder: Sendable {
    public let path: String

    public init() throws(FileError) {
        let parent = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp"
        var template = Array("\(parent)/outrigger-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw FileError("a folder in \(parent)") }
        path = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    deinit {
        // What is in a folder comes before it, and links are not followed.
        _ = nftw(path, { path, _, _, _ in remove(path) }, 16, Int32(outrigger_ftw_depth | outrigger_ftw_phys))
    }

    /// The path of what has this name in the folder, or will have.
    public func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file, in folders of the folder's own where the name has some.
    /// - Returns: its path.
    @discardableResult public func write(_ bytes: some Sequence<UInt8>, to name: String) throws(FileError) -> String {
        let bytes = Array(bytes), path = path(name)
        for slash in name.indices where name[slash] == "/" { mkdir(self.path(String(name[..<slash])), 0o777) }
        guard let file = fopen(path, "wb") else { throw FileError(path) }
        let written = fwrite(bytes, 1, bytes.count, file)
        guard fclose(file) == 0, written == bytes.count else { throw FileError(path) }
        return path
    }

    /// The bytes of a file.
    public func read(_ name: String) throws(FileError) -> [UInt8] { try readFile(path(name)) }
}
