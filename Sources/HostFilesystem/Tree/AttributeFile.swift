import Glibc

/// An attribute, as those of sysfs: `show` makes the whole content, `store` takes all of a write.
public final class AttributeFile: Node {
    public typealias Store = (_ text: String, _ caller: Caller) throws(Errno) -> Void

    private let show: (() throws(Errno) -> [UInt8])?
    private let store: Store?
    /// Most bytes of a write.
    private let limit: Int

    /// The content of one opening: a client that reads it in pieces gets all of them from one moment.
    private final class Content: OpenFile {
        var bytes: [UInt8] = []
    }

    private init(_ show: (() throws(Errno) -> [UInt8])?, _ store: Store?, permissions: UInt16?, limit: Int) {
        self.show = show
        self.store = store
        self.limit = limit
        super.init(permissions: permissions ?? (show == nil ? 0o200 : store == nil ? 0o444 : 0o644))
    }

    /// - Parameters:
    ///   - permissions: by default 0444, 0644 or 0200, after what the file can do.
    ///   - limit: a longer write fails with EINVAL; sysfs takes a page.
    ///   - show: makes the text, with its final newline; nil if the file can't be read.
    ///   - store: takes what was written, with its newline if the client wrote one; nil if the file can't be written.
    public convenience init(permissions: UInt16? = nil, limit: Int = 4096, show: (() throws(Errno) -> String)? = nil, store: Store? = nil) {
        if let show {
            self.init({ () throws(Errno) in Array(try show().utf8) }, store, permissions: permissions, limit: limit)
        } else {
            self.init(nil, store, permissions: permissions, limit: limit)
        }
    }

    /// A file to read only that is no text.
    public convenience init(permissions: UInt16 = 0o444, bytes: @escaping () throws(Errno) -> [UInt8]) {
        self.init(bytes, nil, permissions: permissions, limit: 0)
    }

    /// A text that never changes; `line` is without its newline.
    public convenience init(_ line: String, permissions: UInt16 = 0o444) {
        self.init(permissions: permissions, show: { () throws(Errno) in line + "\n" })
    }

    /// A page, whatever the content's length, as sysfs shows it.
    public override var size: Int { 4096 }

    public override func open(flags: Int32) throws(Errno) -> OpenFile? {
        let access = flags & O_ACCMODE
        if access != O_WRONLY && show == nil || access != O_RDONLY && store == nil { throw .accessDenied }
        return Content(flags: flags)
    }

    public override func read(
        at offset: Int, into buffer: UnsafeMutableRawBufferPointer, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let show, let content = open as? Content else { throw .inputOutput }
        if offset == 0 || content.bytes.isEmpty { content.bytes = try show() }
        guard offset >= 0, offset < content.bytes.count else { return 0 }
        let count = min(buffer.count, content.bytes.count - offset)
        content.bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[offset..<(offset + count)])) }
        return count
    }

    public override func write(
        _ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller
    ) throws(Errno) -> Int {
        guard let store else { throw .inputOutput }
        guard bytes.count <= limit else { throw .invalidArgument }
        try store(String(decoding: bytes, as: UTF8.self), caller)
        return bytes.count
    }
}
