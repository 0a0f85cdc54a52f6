import CNamespace
import Glibc

/// A private mount namespace in which a mounted device stands where a real one would: below /sys and /dev.
///
/// Nothing outside of this process and its children sees any of it.
struct DeviceWorld {
    let mountPoint: String
    /// Where a file system of huge pages is mounted, if the kernel permits.
    static let hugePageFolders = ["/dev/hugepages", "/mnt/huge"]

    /// - Parameter mountPoint: where `outrigger run` has mounted the device.
    init(mountPoint: String) throws(UsageError) {
        guard let resolved = realpath(mountPoint, nil) else { throw UsageError("\(mountPoint): \(String(cString: strerror(errno)))") }
        defer { free(resolved) }
        self.mountPoint = String(cString: resolved)
        guard access(self.mountPoint + "/sys/bus/pci/devices", F_OK) == 0 else {
            throw UsageError("\(mountPoint): no mounted device: it has no sys/bus/pci/devices (see 'outrigger run')")
        }
    }

    /// Takes this process into a namespace of its own and lays the device over it.
    func enter() throws(UsageError) {
        try makeNamespace()
        try mount("none", on: "/", nil, outrigger_private_tree)
        try mount(mountPoint + "/sys/bus/pci", on: "/sys/bus/pci", nil, outrigger_bind_tree)
        try coverUIOClass()
        try coverDeviceNodes()
        try addHugePages()
    }

    /// A mount namespace; with a user namespace, in which this user is root, where there is no right to make one without.
    private func makeNamespace() throws(UsageError) {
        if outrigger_unshare(0) == 0 { return }
        let user = geteuid(), group = getegid()
        guard outrigger_unshare(1) == 0 else {
            let error = String(cString: strerror(errno))
            throw UsageError("a mount namespace of its own is refused (\(error)): it takes root, or \(Self.userNamespaceLock())")
        }
        try write("deny", to: "/proc/self/setgroups")
        try write("0 \(user) 1", to: "/proc/self/uid_map")
        try write("0 \(group) 1", to: "/proc/self/gid_map")
    }

    /// Which setting of this system keeps users from namespaces of their own.
    private static func userNamespaceLock() -> String {
        let settings = [
            ("kernel/unprivileged_userns_clone", "0", "1"), ("user/max_user_namespaces", "0", "10000"),
            ("kernel/apparmor_restrict_unprivileged_userns", "1", "0"),
        ]
        for (setting, locked, free) in settings where lines(of: "/proc/sys/" + setting) == [Substring(locked)] {
            return "sysctl \(setting.split(separator: "/").joined(separator: "."))=\(free)"
        }
        return "a system that gives users namespaces of their own (this may be a container that doesn't)"
    }

    /// /sys/class with `uio` replaced. Where the kernel has no such class it can't be made in sysfs, so the folder is copied.
    private func coverUIOClass() throws(UsageError) {
        let source = mountPoint + "/sys/class/uio"
        if access("/sys/class/uio", F_OK) == 0 {
            try mount(source, on: "/sys/class/uio", nil, outrigger_bind)
        } else {
            try rebuild("/sys/class", extra: ["uio"])
            try mount(source, on: "/sys/class/uio", nil, outrigger_bind)
        }
    }

    /// /dev with the device's UIO nodes in it, and huge pages where drivers look for them.
    private func coverDeviceNodes() throws(UsageError) {
        let nodes = try names(in: mountPoint + "/dev").filter { $0.hasPrefix("uio") }
        let existing = Set(try names(in: "/dev"))
        try rebuild("/dev", extra: [])
        for node in nodes {
            let target = "/dev/" + node
            if !existing.contains(node) { try makeFile(target) }
            try mount(mountPoint + target, on: target, nil, outrigger_bind)
        }
    }

    /// Huge pages where drivers look for them, unless the system has them there already.
    private func addHugePages() throws(UsageError) {
        mkdir("/dev/hugepages", 0o755)
        if access("/mnt/huge", F_OK) != 0 { try rebuild("/mnt", extra: ["huge"]) }
        for folder in Self.hugePageFolders where outrigger_has_huge_pages(folder) == 0 {
            // A kernel without huge pages, or no right to mount them: drivers that need them say so themselves.
            _ = outrigger_mount("hugetlbfs", folder, "hugetlbfs", 0, nil)
        }
    }

    /// Covers a folder with a new one that shows the same entries and can have more.
    private func rebuild(_ folder: String, extra: [String]) throws(UsageError) {
        var template = Array("/tmp/outrigger-world-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw UsageError("/tmp: \(String(cString: strerror(errno)))") }
        let original = String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        try mount(folder, on: original, nil, outrigger_bind_tree)
        try mount("tmpfs", on: folder, "tmpfs", 0)
        for name in try names(in: original) {
            let source = original + "/" + name, target = folder + "/" + name
            var status = stat()
            guard lstat(source, &status) == 0 else { continue }
            switch status.st_mode & S_IFMT {
            case S_IFLNK:
                var link = [CChar](repeating: 0, count: Int(PATH_MAX) + 1)
                if readlink(source, &link, Int(PATH_MAX)) > 0 { symlink(link, target) }
            case S_IFDIR:
                mkdir(target, 0o755)
                try mount(source, on: target, nil, outrigger_bind_tree)
            default:
                try makeFile(target)
                try mount(source, on: target, nil, outrigger_bind)
            }
        }
        for name in extra { mkdir(folder + "/" + name, 0o755) }
        umount2(original, Int32(MNT_DETACH))
        rmdir(original)
    }

    private func mount(_ source: String, on target: String, _ type: String?, _ flags: UInt) throws(UsageError) {
        guard outrigger_mount(source, target, type, flags, nil) == 0 else {
            throw UsageError("mounting \(source) on \(target): \(String(cString: strerror(errno)))")
        }
    }

    private func makeFile(_ path: String) throws(UsageError) {
        let descriptor = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0o600)
        guard descriptor >= 0 else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        close(descriptor)
    }

    private func write(_ text: String, to path: String) throws(UsageError) {
        let descriptor = open(path, O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw UsageError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(descriptor) }
        guard Glibc.write(descriptor, text, text.utf8.count) == text.utf8.count else {
            throw UsageError("\(path): \(String(cString: strerror(errno)))")
        }
    }

    /// The names in a folder, sorted.
    func names(in folder: String) throws(UsageError) -> [String] {
        guard let directory = opendir(folder) else { throw UsageError("\(folder): \(String(cString: strerror(errno)))") }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != ".." { names.append(name) }
        }
        return names.sorted()
    }
}

/// The lines of a small file; none if it can't be read.
func lines(of path: String) -> [Substring] {
    guard let file = fopen(path, "re") else { return [] }
    defer { fclose(file) }
    var text = [UInt8](repeating: 0, count: 4096)
    let count = fread(&text, 1, text.count, file)
    return String(decoding: text[..<count], as: UTF8.self).split(separator: "\n")
}
