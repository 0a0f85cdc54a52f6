import CFUSESession
import Glibc
import Logging

/// A tree of nodes, mounted for host programs.
///
/// One thread, the one that calls ``serve()``, performs all file operations. It must never touch a file of its own mount.
public final class MountedTree {
    public struct Options: Sendable {
        /// Longest time to poll for the next request after one has been served, in nanoseconds. Polling costs one processor while
        /// clients are busy with the device and shortens a register access several times over; 0 turns it off.
        public var polling: UInt64 = 100_000
        /// A dead server's mount at the mount point is unmounted first. A living one never is.
        public var forceUnmount = false
        public init() {}
    }

    public let mountPoint: String
    let nodes: NodeTable
    /// Set for the whole life of this object, but for `init`.
    private(set) var session: OpaquePointer!
    let log = Logger(label: "outrigger.mount")
    /// Why no file can be mapped, once somebody has tried.
    var mappingRefusal: Errno?

    /// Is called after each access of a client has been answered, on the serving thread, which doesn't serve meanwhile.
    public var afterAccess: (() -> Void)?

    /// Mounts the tree. Requests wait until ``serve()`` is called; so does a termination signal.
    ///
    /// - Parameter mountPoint: an absolute path.
    public init(_ nodes: NodeTable, at mountPoint: String, options: Options = Options()) throws(MountError) {
        self.nodes = nodes
        self.mountPoint = mountPoint
        try Self.prepare(mountPoint, forceUnmount: options.forceUnmount)

        var mountOptions = "fsname=outrigger,subtype=outrigger,default_permissions"
        // fusermount3 lets others in only where /etc/fuse.conf allows it.
        if geteuid() == 0 { mountOptions += ",allow_other" }
        var operations = Self.operations
        var direct = Self.direct
        var reason = [CChar](repeating: 0, count: 256)
        session = cfuse_mount(
            mountPoint, mountOptions, &operations, &direct, options.polling, Unmanaged.passUnretained(self).toOpaque(),
            &reason, reason.count)
        guard session != nil else {
            throw .refused(mountPoint, reason: String(decoding: reason.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self))
        }
        nodes.onRelease = { [unowned self] node in
            if node.backing != 0, session != nil { cfuse_backing_close(session, node.backing) }
            node.backing = 0
        }
        // From here on a signal must unmount: a mount whose server has died stays until somebody clears it away.
        cfuse_stop_on_signals(session)
    }

    deinit {
        nodes.onRelease = nil
        if session != nil { cfuse_unmount(session) }
    }

    /// Serves file operations until ``stop()``, a termination signal, or somebody's unmount; then unmounts.
    public func serve() throws(MountError) {
        let error = cfuse_serve(session)
        unmount()
        if error != 0 { throw .lost(mountPoint, Errno(rawValue: error)) }
    }

    /// Ends ``serve()``. From any thread.
    public func stop() {
        cfuse_stop(session)
    }

    private func unmount() {
        nodes.root.endWaiting()
        cfuse_unmount(session)
        session = nil
    }

    /// A mount point's path without symbolic links, as links in the tree name it.
    ///
    /// The mount point itself isn't looked into: what a dead server left there answers nothing, and `realpath(3)` would fail.
    public static func absolutePath(of mountPoint: String) throws(MountError) -> String {
        var path = Substring(mountPoint)
        while path.count > 1, path.last == "/" { path.removeLast() }
        let slash = path.lastIndex(of: "/")
        let name = slash.map { path[path.index(after: $0)...] } ?? path
        let folder = slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
        var target: CChar = 0
        let isPlainName = !["", ".", ".."].contains(name) && readlink(String(path), &target, 1) < 0
        guard let resolved = realpath(isPlainName ? folder : String(path), nil) else {
            let error = Errno(rawValue: errno)
            throw error == .notFound ? .missing(mountPoint) : .cannotExamine(mountPoint, error)
        }
        defer { free(resolved) }
        let start = String(cString: resolved)
        return isPlainName ? (start == "/" ? "" : start) + "/" + name : start
    }

    private static func prepare(_ path: String, forceUnmount: Bool) throws(MountError) {
        var place = cfuse_examine(path)
        if place == CFUSE_PLACE_STALE {
            guard forceUnmount else { throw .stale(path) }
            guard cfuse_unmount_stale(path) == 0 else { throw .cannotUnmount(path, Errno(rawValue: errno)) }
            place = cfuse_examine(path)
        }
        switch place {
        case CFUSE_PLACE_DIRECTORY: return
        case CFUSE_PLACE_MISSING: throw .missing(path)
        case CFUSE_PLACE_NOT_A_DIRECTORY: throw .notADirectory(path)
        case CFUSE_PLACE_NOT_EMPTY: throw .notEmpty(path)
        case CFUSE_PLACE_MOUNTED: throw .busy(path)
        case CFUSE_PLACE_STALE: throw .stale(path)
        default: throw .cannotExamine(path, Errno(rawValue: errno))
        }
    }
}

extension Directory {
    /// Answers all reads that wait in this directory and below with ENODEV.
    fileprivate func endWaiting() {
        for entry in entries {
            (entry.node as? StreamFile)?.failWaiters(.noDevice)
            (entry.node as? Directory)?.endWaiting()
        }
    }
}
