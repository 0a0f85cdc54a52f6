import Glibc

/// Who performs a file operation.
public struct Caller: Sendable {
    /// The calling thread's id, as FUSE reports it; its process is `Tgid` in `/proc/ID/status`.
    public var thread: UInt32
    public init(thread: UInt32) { self.thread = thread }
}

/// What one `open` of a file keeps until its `close`. A file with nothing to keep has none.
open class OpenFile {
    /// The flags of `open(2)`.
    public let flags: Int32
    /// What ``Node/onOpen`` returned; goes with the opening.
    final var attachment: AnyObject?
    public init(flags: Int32) { self.flags = flags }
    public var isNonBlocking: Bool { flags & O_NONBLOCK != 0 }
    /// Whether this opening can be mapped, if the file has a ``Node/mapping``.
    open var canBeMapped: Bool { true }
}

/// The memory that a shared mapping of a file maps, from the file's first byte.
///
/// Mapping needs FUSE passthrough, which the kernel grants to CAP_SYS_ADMIN only; without it `mmap` of the file fails with ENODEV
/// and all else works.
public struct Mapping: Sendable {
    /// A memory file (`memfd_create(2)`); its owner keeps it open as long as the tree.
    public var memory: Int32
    /// Reads and writes are no accesses that the device has to see: the kernel serves them too, straight on the memory.
    public var servesAccesses: Bool

    public init(memory: Int32, servesAccesses: Bool) {
        self.memory = memory
        self.servesAccesses = servesAccesses
    }
}

/// One thing in the tree: a directory, a symbolic link or a file.
///
/// The tree belongs to the thread that serves the mount. Other threads may only call what says so.
open class Node {
    /// Permission bits, as `chmod` takes them.
    public final var permissions: UInt16
    public final var owner: UInt32 = UInt32(geteuid())
    public final var group: UInt32 = UInt32(getegid())
    /// When the node came to be, for its time stamps.
    public final let created: timespec

    /// Its number in the ``NodeTable``, which is what the kernel knows it by; 0 while it isn't in a tree.
    public internal(set) final var number: UInt64 = 0
    public internal(set) final weak var parent: Directory?
    /// The table of the tree that it is in.
    final weak var table: NodeTable?
    /// It has been taken out of the tree. Files still open on it answer ENODEV.
    public internal(set) final var hasVanished = false

    public init(permissions: UInt16) {
        self.permissions = permissions
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        created = now
    }

    /// The file type bits of `st_mode`.
    open var type: mode_t { S_IFREG }
    /// `st_size`.
    open var size: Int { 0 }

    /// What a shared mapping of the file maps; nil if it can't be mapped.
    open var mapping: Mapping? { nil }
    /// The kernel's id of the mapping's memory: one for all openings of an inode; 0 before the first.
    final var backing: Int32 = 0

    /// Reads may have to wait: the node is a ``StreamFile``.
    var isStream: Bool { false }

    /// Is told who opens the file. What it returns is kept until the opening ends.
    final var onOpen: ((_ flags: Int32, _ caller: Caller) -> AnyObject?)?

    /// Opens the file. Returns what this opening has to keep, if anything.
    open func open(flags: Int32) throws(Errno) -> OpenFile? { nil }
    open func close(_ file: OpenFile?) {}

    /// Each close of a descriptor is told by ``flush(_:)``: `close(2)` may fail.
    open var wantsFlush: Bool { false }
    open func flush(_ file: OpenFile?) throws(Errno) {}

    /// What was written is to outlive a loss of power (`fsync(2)`).
    open func synchronize(_ file: OpenFile?) throws(Errno) {}

    /// Reads at `offset`, at most as much as `buffer` holds, and returns the number of bytes. Called once for each read of the
    /// client, with the client's offset and size.
    open func read(at offset: Int, into buffer: UnsafeMutableRawBufferPointer, open: OpenFile?, by caller: Caller) throws(Errno) -> Int {
        throw .invalidArgument
    }

    /// Writes `bytes` at `offset` and returns how many were taken. Called once for each write of the client.
    open func write(_ bytes: UnsafeRawBufferPointer, at offset: Int, open: OpenFile?, by caller: Caller) throws(Errno) -> Int {
        throw .invalidArgument
    }

    /// It has just been taken out of the tree: whoever waits for it has to be told.
    open func vanished() {}
}

/// A symbolic link; its target is made when somebody follows it.
public final class SymbolicLink: Node {
    private let makeTarget: () -> String

    public init(target: @escaping () -> String) {
        makeTarget = target
        super.init(permissions: 0o777)
    }

    public convenience init(_ target: String) {
        self.init(target: { target })
    }

    public override var type: mode_t { S_IFLNK }
    public var target: String { makeTarget() }
}
