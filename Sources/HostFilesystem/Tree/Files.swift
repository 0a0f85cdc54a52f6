import Glibc

/// A text attribute, as those of sysfs: `show` makes the whole text, `store` takes all of a write.
public final class TextFile: Node {
    private let show: (() throws(Errno) -> String)?
    private let store: ((_ text: String, _ caller: Caller) throws(Errno) -> Void)?
    /// Where the text can be longer than a page, as in debugfs.
    private let isUnlimited: Bool

    /// The text of one opening: a client that reads it in pieces gets all of them from one moment.
    private final class Text: OpenFile {
        var bytes: [UInt8] = []
    }

    /// - Parameters:
    ///   - permissions: by default 0444, 0644 or 0200, after what the file can do.
    ///   - isUnlimited: a write of more than a page is taken too, in one piece as long as the kernel passes on (128 KiB).
    ///   - show: makes the text, with its final newline; nil if the file can't be read.
    ///   - store: takes what was written, with its newline if the client wrote one; nil if the file can't be written.
    public init(
        permissions: UInt16? = nil, isUnlimited: Bool = false, show: (() throws(Errno) -> String)? = nil,
        store: ((_ text: String, _ caller: Caller) throws(Errno) -> Void)? = nil
    ) {
        self.show = show
        self.store = store
        self.isUnlimited = isUnlimited
        super.init(permissions: permissions ?? (show == nil ? 0o200 : store == nil ? 0o444 : 0o644))
    }

    /// A text that never changes; `line` is without its newline.
    public convenience init(_ line: String, permissions: UInt16 = 0o444) {
        self.init(permissions: permissions, show: { () throws(Errno) in line + "\n" })
    }

    /// A page, whatever the text's length, as sysfs shows it.
    public override var size: Int { 4096 }

    public override func open(flags: Int32) throws(Errno) -> OpenFile? {
        let access = flags & O_ACCMODE
        if access != O_WRONLY && show == nil || access != O_RDONLY && store == nil { throw .accessDenied }
        return Text(flags: flags)
    }

    public override func read(
        at offset: Int, into buffer: UnsafeMutableRawBufferPointer, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let show, let text = open as? Text else { throw .inputOutput }
        if offset == 0 || text.bytes.isEmpty { text.bytes = Array(try show().utf8) }
        guard offset < text.bytes.count else { return 0 }
        let count = min(buffer.count, text.bytes.count - offset)
        text.bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + count)])) }
        return count
    }

    public override func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let store else { throw .inputOutput }
        guard isUnlimited || bytes.count <= 4096 else { throw .invalidArgument }
        try store(String(decoding: bytes, as: UTF8.self), caller)
        return bytes.count
    }
}

/// A file whose every read and write is one access at the client's exact offset and size: configuration space, the registers of a BAR,
/// memory.
public final class AccessFile: Node {
    public typealias Read = (_ offset: Int, _ buffer: UnsafeMutableRawBufferPointer, _ caller: Caller) throws(Errno) -> Int
    public typealias Write = (_ offset: Int, _ bytes: UnsafeRawBufferPointer, _ caller: Caller) throws(Errno) -> Int

    private let length: Int
    private let shared: Mapping?
    private let readAccess: Read
    private let writeAccess: Write

    /// - Parameters:
    ///   - size: reads at or past it find the end of the file, writes there fail with EINVAL; the closures never see them.
    ///   - mapping: what `mmap` of the file maps, if anything.
    ///   - read: fills the buffer, which ends at the file's end at the latest, and returns the number of bytes.
    ///   - write: takes the bytes, which end at the file's end at the latest, and returns how many it took.
    public init(size: Int, permissions: UInt16, mapping: Mapping? = nil, read: @escaping Read, write: @escaping Write) {
        length = size
        shared = mapping
        readAccess = read
        writeAccess = write
        super.init(permissions: permissions)
    }

    /// A file of memory: reads, writes and mappings all reach the same bytes.
    public convenience init(memory: MemoryFile, permissions: UInt16) {
        self.init(
            size: memory.bytes.count, permissions: permissions, mapping: Mapping(memory: memory.fileDescriptor, servesAccesses: true),
            read: { (offset, buffer, _) throws(Errno) in
                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: memory.bytes[offset..<(offset + buffer.count)]))
                return buffer.count
            },
            write: { (offset, bytes, _) throws(Errno) in
                memory.bytes.baseAddress!.advanced(by: offset).copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
                return bytes.count
            })
    }

    public override var size: Int { length }
    public override var mapping: Mapping? { shared }

    public override func read(
        at offset: Int, into buffer: UnsafeMutableRawBufferPointer, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard offset >= 0, offset < length else { return 0 }
        let count = min(buffer.count, length - offset)
        return try readAccess(offset, UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count), caller)
    }

    public override func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard offset >= 0, offset < length else { throw .invalidArgument }
        let count = min(bytes.count, length - offset)
        return try writeAccess(offset, UnsafeRawBufferPointer(start: bytes.baseAddress, count: count), caller)
    }
}
