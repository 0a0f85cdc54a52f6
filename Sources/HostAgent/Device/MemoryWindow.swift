import Glibc

/// Memory shared with the device: a BAR, or host memory that it reaches by DMA.
///
/// Mapped where the system allows it; by `pread` and `pwrite` otherwise, in pieces that a register file takes.
public final class MemoryWindow {
    public let size: Int
    private let path: String
    private let storage: Storage
    private let isOwned: Bool

    private enum Storage {
        case mapped(UnsafeMutableRawPointer)
        /// Can only be read and written; `piece` is the largest access that the file takes at once: 8 for a BAR, which is accessed as
        /// registers are.
        case file(File, piece: Int)
    }

    /// Opens `path` and maps it if that is possible. `size` nil means the size of the file.
    public init(_ path: String, size: Int? = nil, piece: Int = 8) throws(AgentError) {
        let file = try File(path, O_RDWR)
        var length = size ?? 0
        if size == nil {
            var status = stat()
            guard fstat(file.descriptor, &status) == 0 else { throw .system("fstat", path) }
            length = Int(status.st_size)
        }
        guard length > 0 else { throw AgentError("\(path): memory expected, an empty file found") }
        self.size = length
        self.path = path
        isOwned = true
        if let base = mmap(nil, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0), base != MAP_FAILED {
            storage = .mapped(base)
        } else {
            storage = .file(file, piece: piece)
        }
    }

    /// Memory that this process has mapped.
    /// - Parameter isOwned: it is unmapped with the window.
    package init(mapped base: UnsafeMutableRawPointer, size: Int, isOwned: Bool = true) {
        self.size = size
        self.isOwned = isOwned
        path = "memory"
        storage = .mapped(base)
    }

    deinit {
        if case .mapped(let base) = storage, isOwned { munmap(base, size) }
    }

    /// Loads a little-endian integer at `offset`: in one access if that is a multiple of its size.
    public func load<T: FixedWidthInteger>(_ type: T.Type, at offset: Int) throws(AgentError) -> T {
        try check(offset, MemoryLayout<T>.size)
        switch storage {
        case .mapped(let base): return T(littleEndian: base.loadUnaligned(fromByteOffset: offset, as: T.self))
        case .file(let file, _):
            if offset % MemoryLayout<T>.size == 0 { return try file.read(T.self, at: offset) }
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: MemoryLayout<T>.size, alignment: 8)
            defer { bytes.deallocate() }
            try read(into: bytes, at: offset)
            return T(littleEndian: bytes.loadUnaligned(as: T.self))
        }
    }

    /// Stores a little-endian integer at `offset`: in one access if that is a multiple of its size.
    public func store<T: FixedWidthInteger>(_ value: T, at offset: Int) throws(AgentError) {
        try check(offset, MemoryLayout<T>.size)
        switch storage {
        case .mapped(let base): base.storeBytes(of: value.littleEndian, toByteOffset: offset, as: T.self)
        case .file(let file, _):
            if offset % MemoryLayout<T>.size == 0 { return try file.write(value, at: offset) }
            let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: MemoryLayout<T>.size, alignment: 8)
            defer { bytes.deallocate() }
            bytes.storeBytes(of: value.littleEndian, as: T.self)
            try write(UnsafeRawBufferPointer(bytes), at: offset)
        }
    }

    /// Copies bytes out of the window, from `offset` on.
    public func read(into bytes: UnsafeMutableRawBufferPointer, at offset: Int) throws(AgentError) {
        try check(offset, bytes.count)
        switch storage {
        case .mapped(let base):
            bytes.copyMemory(from: UnsafeRawBufferPointer(start: base + offset, count: bytes.count))
        case .file(let file, let piece):
            var done = 0
            while done < bytes.count {
                let count = Self.length(at: offset + done, remaining: bytes.count - done, piece: piece)
                try file.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[done..<(done + count)]), at: offset + done)
                done += count
            }
        }
    }

    /// Copies bytes into the window, from `offset` on.
    public func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(AgentError) {
        try check(offset, bytes.count)
        switch storage {
        case .mapped(let base):
            UnsafeMutableRawBufferPointer(start: base + offset, count: bytes.count).copyMemory(from: bytes)
        case .file(let file, let piece):
            var done = 0
            while done < bytes.count {
                let count = Self.length(at: offset + done, remaining: bytes.count - done, piece: piece)
                try file.write(UnsafeRawBufferPointer(rebasing: bytes[done..<(done + count)]), at: offset + done)
                done += count
            }
        }
    }

    /// The largest naturally aligned power of two that fits, at most `piece`.
    private static func length(at offset: Int, remaining: Int, piece: Int) -> Int {
        var length = piece
        while length > remaining || offset % min(length, 8) != 0 { length /= 2 }
        return length
    }

    private func check(_ offset: Int, _ count: Int) throws(AgentError) {
        guard offset >= 0, count >= 0, offset <= size - count else {
            throw AgentError("\(path): \(count) bytes at 0x\(hex(offset)) are outside its 0x\(hex(size)) bytes")
        }
    }
}

/// Memory that a function's DMA reaches, and the bus address at which it does.
public struct DMAMemory {
    public let window: MemoryWindow
    /// The device's address of the window's first byte.
    public let busAddress: UInt64

    public init(window: MemoryWindow, busAddress: UInt64) {
        self.window = window
        self.busAddress = busAddress
    }

    /// The device's host-memory file where there is one; else a huge page, whose physical address is the bus address (no IOMMU).
    public init(for device: PCIDevice) throws(AgentError) {
        if let files = device.deviceFiles {
            let text = try File.text(files + "/hostmem.iova")
            guard let address = UInt64(text.hasPrefix("0x") ? String(text.dropFirst(2)) : text, radix: 16) else {
                throw AgentError("\(files)/hostmem.iova: a hexadecimal address expected, '\(text)' found")
            }
            window = try MemoryWindow(files + "/hostmem", piece: 65536)
            busAddress = address
        } else {
            (window, busAddress) = try Self.hugePage()
        }
    }

    /// One 2 MiB page: contiguous, and pinned as long as it is mapped.
    private static func hugePage() throws(AgentError) -> (MemoryWindow, UInt64) {
        let size = 2 << 20
        let hugeTLB: Int32 = 0x40000
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE | hugeTLB
        guard let base = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), base != MAP_FAILED
        else { throw .system("mmap of a huge page (see /proc/sys/vm/nr_hugepages)", "memory") }
        let window = MemoryWindow(mapped: base, size: size)
        let pagemap = try File("/proc/self/pagemap", O_RDONLY)
        let entry = try pagemap.read(UInt64.self, at: Int(bitPattern: base) / 4096 * 8)
        let frame = entry & ((1 << 55) - 1)
        guard entry >> 63 == 1, frame != 0 else { throw AgentError("/proc/self/pagemap: no page frame number: CAP_SYS_ADMIN is needed") }
        return (window, frame * 4096)
    }
}
