import CNamespace
import Glibc

/// Finds out, by trying, how programs can access a mounted device on this system.
struct AccessProbe {
    let world: DeviceWorld
    /// nil: there is none, or it is not wanted.
    let library: TrapLibrary?

    /// One BAR and how it answers.
    private struct Bar {
        var function, file, kind, mode, reason: String
        var size: Int
    }

    /// Prints what is there for all programs, then a line for each BAR.
    func report() {
        let namespace: String
        do {
            try world.enter()
            namespace = lines(of: "/proc/self/uid_map").first?.hasSuffix(" 4294967295") == true ? "as root" : "with a user namespace"
        } catch {
            namespace = "missing: \(error)"
        }
        show("mount namespace", namespace)
        show("huge pages", hugePages())
        show("trap library", library?.path ?? "missing")
        let passthrough = hasPassthrough
        show("mapping", passthrough ? "FUSE passthrough" : "none: \(Self.noPassthrough)")
        print()
        for bar in bars(passthrough: passthrough) {
            let size = bar.size >= 1 << 20 ? "\(bar.size >> 20) MiB" : bar.size >= 1 << 10 ? "\(bar.size >> 10) KiB" : "\(bar.size) B"
            print(bar.function, padded(bar.file, 13), padded(size, 8), padded(bar.kind, 7), padded(bar.mode, 8), bar.reason)
        }
    }

    private static let noPassthrough = "the emulator has no CAP_SYS_ADMIN or the kernel is older than 6.9"

    private func show(_ name: String, _ value: String) { print(padded(name, 16) + value) }

    private func padded(_ text: String, _ width: Int) -> String {
        text + String(repeating: " ", count: max(0, width - text.utf8.count))
    }

    private func hugePages() -> String {
        let folders = DeviceWorld.hugePageFolders.filter { outrigger_has_huge_pages($0) != 0 }
        guard !folders.isEmpty else { return "missing: only root can mount hugetlbfs" }
        let reserved = lines(of: "/proc/sys/vm/nr_hugepages").first ?? "0"
        return "\(reserved) reserved, at \(folders.joined(separator: " and "))"
            + (reserved == "0" ? " (as root: sysctl vm.nr_hugepages=256)" : "")
    }

    /// Whether files of this mount can be mapped at all: the host memory can, if any.
    private var hasPassthrough: Bool {
        let folder = world.mountPoint + "/dev/outrigger/"
        guard let device = try? world.names(in: folder).first else { return false }
        return mapping(folder + device + "/hostmem", 4096) == 0
    }

    private func bars(passthrough: Bool) -> [Bar] {
        let folder = world.mountPoint + "/sys/bus/pci/devices/"
        var bars: [Bar] = []
        for function in (try? world.names(in: folder)) ?? [] {
            let resources = lines(of: folder + function + "/resource")
            let files = ((try? world.names(in: folder + function)) ?? []).filter { $0.hasPrefix("resource") && $0 != "resource" }
            for file in files {
                guard let number = Int(file.dropFirst(8).prefix(1)), number < resources.count else { continue }
                let path = folder + function + "/" + file
                bars.append(probe(function, file, at: path, isMemory: isMemory(resources[number]), passthrough: passthrough))
            }
        }
        return bars
    }

    private func probe(_ function: String, _ file: String, at path: String, isMemory: Bool, passthrough: Bool) -> Bar {
        var status = stat()
        let size = stat(path, &status) == 0 ? Int(status.st_size) : 0
        let bar = { (mode: String, reason: String) in
            Bar(function: function, file: file, kind: isMemory ? "memory" : "ports", mode: mode, reason: reason, size: size)
        }
        guard access(path, R_OK | W_OK) == 0 else { return bar("none", String(cString: strerror(errno))) }
        let trapped = library == nil ? "plain" : "trapped"
        let traps = library == nil ? "pread and pwrite only: no trap library" : nil
        if !isMemory { return bar(trapped, traps ?? "pread and pwrite; in and out after iopl or ioperm become these") }
        switch mapping(path, size) {
        case 0: return bar("mapped", "pread and pwrite; mmap maps the memory itself")
        case ENODEV where passthrough:
            return bar(trapped, traps ?? "pread and pwrite; registers: each load and store becomes one of these")
        case ENODEV: return bar(trapped, traps ?? "pread and pwrite; each load and store becomes one of these, for nothing can be mapped")
        case let error: return bar("none", "mmap: \(String(cString: strerror(error)))")
        }
    }

    /// The error of a shared mapping, 0 if there is none.
    private func mapping(_ path: String, _ size: Int) -> Int32 {
        let file = open(path, O_RDWR | O_CLOEXEC)
        guard file >= 0 else { return errno }
        defer { close(file) }
        guard let memory = mmap(nil, size, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0), memory != MAP_FAILED else { return errno }
        munmap(memory, size)
        return 0
    }

    /// Whether a line of `resource` is of a memory BAR (`IORESOURCE_MEM` of <linux/ioport.h>).
    private func isMemory(_ line: Substring) -> Bool {
        guard let flags = line.split(separator: " ").last, let value = UInt64(flags.dropFirst(2), radix: 16) else { return false }
        return value & 0x200 != 0
    }
}
