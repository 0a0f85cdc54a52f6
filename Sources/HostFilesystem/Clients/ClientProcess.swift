import CClientMemory
import Glibc

/// A mapped range of a process's addresses: a line of `/proc/PID/maps`.
package struct ClientArea: Equatable {
    /// Virtual addresses.
    package var start: UInt64
    /// After the last byte.
    package var end: UInt64
    package var isReadable: Bool
    package var isWritable: Bool
    /// Writes reach the file: whoever maps the file too sees the same bytes.
    package var isShared: Bool
    /// Of the first byte in the file.
    package var offset: UInt64
    /// Device number as text and inode of the file; inode 0: there is none.
    package var device: String
    package var inode: UInt64

    /// From a line such as `7f0000000000-7f0000200000 rw-s 00000000 00:0f 1234   /dev/hugepages/x (deleted)`.
    package init?(_ line: Substring) {
        let fields = line.split(separator: " ", maxSplits: 5, omittingEmptySubsequences: true)
        guard fields.count >= 5, fields[1].utf8.count == 4, let dash = fields[0].firstIndex(of: "-"),
            let start = UInt64(fields[0][..<dash], radix: 16), let end = UInt64(fields[0][fields[0].index(after: dash)...], radix: 16),
            start < end, let offset = UInt64(fields[2], radix: 16), let inode = UInt64(fields[4])
        else { return nil }
        let permissions = Array(fields[1].utf8)
        (self.start, self.end, self.offset, self.inode, device) = (start, end, offset, inode, String(fields[3]))
        isReadable = permissions[0] == UInt8(ascii: "r")
        isWritable = permissions[1] == UInt8(ascii: "w")
        isShared = permissions[3] == UInt8(ascii: "s")
    }

    /// Its name in `/proc/PID/map_files`.
    package var fileName: String { "\(String(start, radix: 16))-\(String(end, radix: 16))" }

    /// Whether it shows the same bytes at `range` as another area did.
    package func continues(_ other: ClientArea, in range: Range<UInt64>) -> Bool {
        start <= range.lowerBound && range.upperBound <= end && isReadable == other.isReadable && isWritable == other.isWritable
            && isShared == other.isShared && inode == other.inode && device == other.device
            && (inode == 0 || offset &- start == other.offset &- other.start)
    }
}

/// A process whose memory a device reaches.
///
/// All is reached by descriptors that stand for this process and this program in it: a process number can come to mean another process, and
/// a process can come to execute another program, a descriptor can't. After that they find nothing.
package final class ClientProcess {
    let id: UInt32
    /// pidfd: readable when the process has ended.
    let descriptor: Int32
    private let folder: Int32
    private let memory: Int32
    private let maps: Int32
    private let pagemap: Int32

    static let pageSize: UInt64 = 4096

    /// - Returns: nil if there is no such process, or this one may not see its memory (`ptrace(2)`, access mode checking).
    package init?(id: UInt32) {
        guard id != 0, id != UInt32(getpid()) else { return nil }
        self.id = id
        descriptor = cclient_open_process(pid_t(id))
        folder = open("/proc/\(id)", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        memory = openat(folder, "mem", O_RDWR | O_CLOEXEC)
        maps = openat(folder, "maps", O_RDONLY | O_CLOEXEC)
        pagemap = openat(folder, "pagemap", O_RDONLY | O_CLOEXEC)
        // It still lives: so all of these are of one process.
        guard descriptor >= 0, folder >= 0, memory >= 0, maps >= 0, pagemap >= 0, !hasEnded else { return nil }
    }

    deinit {
        for file in [descriptor, folder, memory, maps, pagemap] where file >= 0 { close(file) }
    }

    var hasEnded: Bool { cclient_has_ended(descriptor) }

    /// What it has mapped, by address; empty if it has ended or executes another program.
    func areas() -> [ClientArea] {
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = pread(maps, &chunk, chunk.count, off_t(text.count))
            guard count > 0 else { break }
            text.append(contentsOf: chunk[..<count])
        }
        return String(decoding: text, as: UTF8.self).split(separator: "\n").compactMap { ClientArea($0) }
    }

    /// The entries of `/proc/PID/pagemap` for whole pages from an address on; fewer where it ends.
    func pages(at address: UInt64, count: Int) -> [PageEntry] {
        [PageEntry](unsafeUninitializedCapacity: count) { buffer, found in
            let size = MemoryLayout<PageEntry>.stride
            let bytes = pread(pagemap, buffer.baseAddress, count * size, off_t(address / Self.pageSize) * off_t(size))
            found = max(bytes, 0) / size
        }
    }

    /// The file of an area, as a descriptor of this process; -1 if it may not have one.
    func file(of area: ClientArea) -> Int32 {
        openat(folder, "map_files/\(area.fileName)", (area.isWritable ? O_RDWR : O_RDONLY) | O_CLOEXEC)
    }

    /// Copies bytes at a virtual address; false if not all are there.
    func read(_ address: UInt64, into bytes: UnsafeMutableRawBufferPointer) -> Bool {
        pread(memory, bytes.baseAddress, bytes.count, off_t(truncatingIfNeeded: address)) == bytes.count
    }

    func write(_ address: UInt64, from bytes: UnsafeRawBufferPointer) -> Bool {
        pwrite(memory, bytes.baseAddress, bytes.count, off_t(truncatingIfNeeded: address)) == bytes.count
    }
}

/// An entry of `/proc/PID/pagemap` (Linux, Documentation/admin-guide/mm/pagemap.rst).
struct PageEntry {
    var rawValue: UInt64
    /// Physical page number; nil if the page isn't there now, or this process may not know it (CAP_SYS_ADMIN).
    var frame: UInt64? {
        let frame = rawValue & (1 << 55 - 1)
        return rawValue >> 63 == 1 && frame != 0 ? frame : nil
    }
}
