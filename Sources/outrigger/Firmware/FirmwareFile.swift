import ArgumentParser
import FirmwareInfo
import Glibc

/// The firmware's image.
enum FirmwareFile {
    /// What tools/firmware has put beside this program's build folder.
    static func built() throws -> String {
        guard let program = realpath("/proc/self/exe", nil) else { throw UsageError("/proc/self/exe: \(String(cString: strerror(errno)))") }
        defer { free(program) }
        var folder = String(cString: program)[...]
        while let slash = folder.lastIndex(of: "/") {
            folder = folder[..<slash]
            let candidate = folder + "/build/firmware/offload-manager.elf"
            if access(String(candidate), R_OK) == 0 { return String(candidate) }
        }
        throw UsageError("no firmware: build it by tools/firmware, or name one by --firmware")
    }

    /// - Parameter path: nil: the one that was built.
    static func information(_ path: String?) throws -> DebugInformation {
        let path = try path ?? built()
        do throws(DebugInformationError) {
            return try DebugInformation(try contents(of: path))
        } catch {
            throw UsageError("\(path): \(error)")
        }
    }

    private static func contents(of path: String) throws(DebugInformationError) -> [UInt8] {
        do {
            return try Run.contents(of: path)
        } catch {
            throw .unexpected("\(error)")
        }
    }
}
