import Peripherals

/// A file whose every read and write is one access at the client's exact offset and size: configuration space, the registers of a BAR,
/// memory.
public final class AccessFile: Node {
    public typealias Read = (_ offset: Int, _ buffer: UnsafeMutableRawBufferPointer, _ caller: Caller) throws(Errno) -> Int
    public typealias Write = (_ offset: Int, _ bytes: UnsafeRawBufferPointer, _ caller: Caller) throws(Errno) -> Int

    private let length: Int
    private let shared: Mapping?
    private let makeOpening: ((_ flags: Int32) -> OpenFile?)?
    private let onClose: (() -> Void)?
    private let readAccess: Read
    private let writeAccess: Write
    private let synchronizeAccess: (() throws(Errno) -> Void)?

    /// - Parameters:
    ///   - size: reads at or past it find the end of the file, writes there fail with EINVAL; the closures never see them.
    ///   - mapping: what `mmap` of the file maps, if anything.
    ///   - makeOpening: makes what an opening keeps.
    ///   - onClose: is called when an opening has ended.
    ///   - read: fills the buffer, which ends at the file's end at the latest, and returns the number of bytes.
    ///   - write: takes the bytes, which end at the file's end at the latest, and returns how many it took.
    ///   - synchronize: makes what was written durable, if there is more to that than writing.
    public init(
        size: Int, permissions: UInt16, mapping: Mapping? = nil, makeOpening: ((_ flags: Int32) -> OpenFile?)? = nil,
        onClose: (() -> Void)? = nil, read: @escaping Read, write: @escaping Write,
        synchronize: (() throws(Errno) -> Void)? = nil
    ) {
        length = size
        shared = mapping
        self.makeOpening = makeOpening
        self.onClose = onClose
        readAccess = read
        writeAccess = write
        synchronizeAccess = synchronize
        super.init(permissions: permissions)
    }

    /// A file of memory: reads, writes and mappings all reach the same bytes.
    public convenience init(memory: MemoryPages, permissions: UInt16) {
        self.init(
            size: memory.size, permissions: permissions, mapping: Mapping(memory: memory.fileDescriptor, servesAccesses: true),
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
    public override func open(flags: Int32) throws(Errno) -> OpenFile? { makeOpening?(flags) }
    public override func close(_ file: OpenFile?) { onClose?() }

    public override func synchronize(_ file: OpenFile?) throws(Errno) { try synchronizeAccess?() }

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
