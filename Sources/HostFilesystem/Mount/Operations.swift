import CFUSESession
import Glibc

// The file operations, from libfuse to the nodes. `ino` is a node's number, `fh` its `OpenFile` (0: none). libfuse always gives `info` to
// operations on open files (fuse_lowlevel.h), hence the forced unwraps.

extension MountedTree {
    /// READ and WRITE of everything but streams: answered at once, without libfuse.
    static let direct = cfuse_direct(
        read: { context, number, handle, offset, buffer, size, thread in
            let tree = MountedTree.from(context)
            guard let node = tree.nodes.node(number) else { return -Int64(ENOENT) }
            if node.isStream { return CFUSE_LEAVE_TO_LIBFUSE }
            do throws(Errno) {
                if node.hasVanished { throw .noDevice }
                let count = try node.read(
                    at: Int(truncatingIfNeeded: offset), into: UnsafeMutableRawBufferPointer(start: buffer, count: Int(size)),
                    open: OpenFile.from(handle), by: Caller(thread: thread))
                return Int64(count)
            } catch {
                return -Int64(error.rawValue)
            }
        },
        write: { context, number, handle, offset, bytes, size, thread in
            let tree = MountedTree.from(context)
            guard let node = tree.nodes.node(number) else { return -Int64(ENOENT) }
            do throws(Errno) {
                if node.hasVanished { throw .noDevice }
                let count = try node.write(
                    UnsafeRawBufferPointer(start: bytes, count: Int(size)), at: Int(truncatingIfNeeded: offset),
                    open: OpenFile.from(handle), by: Caller(thread: thread))
                return Int64(count)
            } catch {
                return -Int64(error.rawValue)
            }
        },
        answered: { context in MountedTree.from(context).afterAccess?() })

    static let operations: fuse_lowlevel_ops = {
        var table = fuse_lowlevel_ops()
        table.lookup = { request, parent, name in
            let tree = MountedTree.from(request)
            guard let directory = tree.nodes.node(parent) as? Directory, !directory.hasVanished,
                let node = directory[String(cString: name!)]
            else {
                // Not a negative entry: the name may exist at the next look.
                fuse_reply_err(request, ENOENT)
                return
            }
            var entry = fuse_entry_param()
            entry.ino = node.number
            entry.generation = tree.nodes.generation(of: node.number)
            entry.attr = node.status
            // No time-outs: the kernel asks again at each step of a path. So a node that has vanished is gone for everybody the
            // moment the operation that removed it returns; telling the kernel instead (NOTIFY_INVAL_ENTRY) would wait for
            // the directory's lock, which a client may hold while it waits for this thread.
            tree.nodes.lookedUp(node)
            if fuse_reply_entry(request, &entry) != 0 { tree.nodes.forget(node.number, lookups: 1) }
        }
        table.forget = { request, number, lookups in
            MountedTree.from(request).nodes.forget(number, lookups: lookups)
            fuse_reply_none(request)
        }
        table.forget_multi = { request, count, list in
            let nodes = MountedTree.from(request).nodes
            for item in UnsafeBufferPointer(start: list, count: count) { nodes.forget(item.ino, lookups: item.nlookup) }
            fuse_reply_none(request)
        }
        table.getattr = { request, number, _ in
            guard let node = MountedTree.from(request).nodes.node(number) else {
                fuse_reply_err(request, ENOENT)
                return
            }
            var status = node.status
            fuse_reply_attr(request, &status, 0)
        }
        table.setattr = { request, number, wanted, toSet, _ in
            guard let node = MountedTree.from(request).nodes.node(number), let wanted else {
                fuse_reply_err(request, ENOENT)
                return
            }
            // A shell's `>` truncates first; as in sysfs that changes nothing. So do time stamps.
            if toSet & FUSE_SET_ATTR_MODE != 0 { node.permissions = UInt16(wanted.pointee.st_mode & 0o777) }
            if toSet & FUSE_SET_ATTR_UID != 0 { node.owner = wanted.pointee.st_uid }
            if toSet & FUSE_SET_ATTR_GID != 0 { node.group = wanted.pointee.st_gid }
            var status = node.status
            fuse_reply_attr(request, &status, 0)
        }
        table.readlink = { request, number in
            guard let link = MountedTree.from(request).nodes.node(number) as? SymbolicLink else {
                fuse_reply_err(request, EINVAL)
                return
            }
            fuse_reply_readlink(request, link.target)
        }
        addFileOperations(&table)
        addDirectoryOperations(&table)
        addRefusals(&table)
        return table
    }()

    private static func addFileOperations(_ table: inout fuse_lowlevel_ops) {
        table.open = { request, number, info in
            let tree = MountedTree.from(request)
            guard let node = tree.nodes.node(number), let info else {
                fuse_reply_err(request, ENOENT)
                return
            }
            do throws(Errno) {
                if node.hasVanished { throw .noDevice }
                var file = try node.open(flags: info.pointee.flags)
                if let attachment = node.onOpen?(info.pointee.flags, Caller(thread: UInt32(fuse_req_ctx(request).pointee.pid))) {
                    file = file ?? OpenFile(flags: info.pointee.flags)
                    file!.attachment = attachment
                }
                info.pointee.fh = OpenFile.handle(file)
                let mode = tree.openMode(of: node, file)
                if cfuse_reply_open(request, info, mode, node.backing) != 0 {
                    // The client was interrupted: it has no file, and RELEASE won't come.
                    node.close(OpenFile.taken(info.pointee.fh))
                }
            } catch {
                fuse_reply_err(request, error.rawValue)
            }
        }
        table.release = { request, number, info in
            let file = OpenFile.taken(info!.pointee.fh)
            MountedTree.from(request).nodes.node(number)?.close(file)
            fuse_reply_err(request, 0)
        }
        table.flush = { request, number, info in
            do throws(Errno) {
                try MountedTree.from(request).nodes.node(number)?.flush(OpenFile.from(info!.pointee.fh))
                fuse_reply_err(request, 0)
            } catch {
                fuse_reply_err(request, error.rawValue)
            }
        }
        // Only streams come here; see `direct`.
        table.fsync = { request, number, _, info in
            do throws(Errno) {
                try MountedTree.from(request).nodes.node(number)?.synchronize(OpenFile.from(info!.pointee.fh))
                fuse_reply_err(request, 0)
            } catch {
                fuse_reply_err(request, error.rawValue)
            }
        }
        // Only streams come here; see `direct`.
        table.read = { request, number, size, _, info in
            guard let stream = MountedTree.from(request).nodes.node(number) as? StreamFile else {
                fuse_reply_err(request, EINVAL)
                return
            }
            let identity = UInt(bitPattern: request)
            nonisolated(unsafe) let pending = request
            let waiter = StreamFile.Waiter(identity: identity, open: OpenFile.from(info!.pointee.fh), count: size) { outcome in
                switch outcome {
                case .bytes(let bytes):
                    bytes.withUnsafeBytes { _ = fuse_reply_buf(pending, $0.baseAddress?.assumingMemoryBound(to: CChar.self), $0.count) }
                case .failed(let error): fuse_reply_err(pending, error.rawValue)
                case .nothing: fuse_reply_err(pending, EAGAIN)
                }
            }
            // Before the stream may answer the request, as the answer frees it. This thread is the one that receives
            // INTERRUPT, so none slips in between.
            fuse_req_interrupt_func(
                request,
                { request, stream in Unmanaged<StreamFile>.fromOpaque(stream!).takeUnretainedValue().interrupt(UInt(bitPattern: request)) },
                Unmanaged.passUnretained(stream).toOpaque())
            stream.read(waiter, isInterrupted: fuse_req_interrupted(request) != 0)
        }
        table.poll = { request, number, info, handle in
            let poller = handle.map(PollHandle.init)
            let open = OpenFile.from(info!.pointee.fh)
            guard let node = MountedTree.from(request).nodes.node(number) else {
                fuse_reply_err(request, ENOENT)
                return
            }
            guard let stream = node as? StreamFile else {
                // As a regular file: always ready.
                fuse_reply_poll(request, UInt32(POLLIN | POLLOUT | POLLRDNORM | POLLWRNORM))
                return
            }
            let events = stream.poll(open, poller.map { poller in .init(open: open) { poller.notify() } })
            fuse_reply_poll(request, UInt32(bitPattern: events))
        }
    }

    /// How the kernel shall treat an opening of the node; sets its `backing` when it can be mapped.
    private func openMode(of node: Node, _ file: OpenFile?) -> cfuse_open_mode {
        if node.isStream { return CFUSE_OPEN_STREAM }
        if node.wantsFlush { return CFUSE_OPEN_FLUSHED }
        guard let mapping = node.mapping, mappingRefusal == nil, file?.canBeMapped ?? true else { return CFUSE_OPEN_DIRECT }
        if node.backing == 0 {
            let result = cfuse_backing_open(session, mapping.memory)
            guard result > 0 else {
                let error = Errno(rawValue: -result)
                if error == .notPermitted || error == .notSupported {
                    // The same for all files: no need to ask again.
                    mappingRefusal = error
                    log.warning("mmap of BARs and memory files is refused: FUSE passthrough needs CAP_SYS_ADMIN and Linux 6.9 (\(error))")
                } else {
                    log.error("mmap of node \(node.number) is refused: its memory can't be registered with FUSE (\(error))")
                }
                return CFUSE_OPEN_DIRECT
            }
            node.backing = result
        }
        return mapping.servesAccesses ? CFUSE_OPEN_BACKING : CFUSE_OPEN_DIRECT_MAPPED
    }

    private static func addDirectoryOperations(_ table: inout fuse_lowlevel_ops) {
        table.opendir = { request, number, info in
            guard let directory = MountedTree.from(request).nodes.node(number) as? Directory, let info else {
                fuse_reply_err(request, ENOTDIR)
                return
            }
            let listing = Listing(of: directory)
            info.pointee.fh = OpenFile.handle(listing)
            if fuse_reply_open(request, info) != 0 { _ = OpenFile.taken(info.pointee.fh) }
        }
        table.readdir = { request, _, size, offset, info in
            guard let listing = OpenFile.from(info!.pointee.fh) as? Listing else {
                fuse_reply_err(request, EBADF)
                return
            }
            var buffer = [CChar](repeating: 0, count: size)
            var used = 0
            for index in listing.entries.indices.dropFirst(Int(offset)) {
                let entry = listing.entries[index]
                var status = stat()
                status.st_ino = ino_t(entry.number)
                status.st_mode = entry.type
                let needed = buffer.withUnsafeMutableBufferPointer {
                    fuse_add_direntry(request, $0.baseAddress! + used, size - used, entry.name, &status, off_t(index + 1))
                }
                if used + needed > size { break }
                used += needed
            }
            fuse_reply_buf(request, buffer, used)
        }
        table.releasedir = { request, _, info in
            _ = OpenFile.taken(info!.pointee.fh)
            fuse_reply_err(request, 0)
        }
    }

    /// The tree's shape is the device's: what a program may not do to it fails as in sysfs.
    private static func addRefusals(_ table: inout fuse_lowlevel_ops) {
        table.create = { request, _, _, _, _ in fuse_reply_err(request, EACCES) }
        table.mknod = { request, _, _, _, _ in fuse_reply_err(request, EACCES) }
        table.mkdir = { request, _, _, _ in fuse_reply_err(request, EPERM) }
        table.unlink = { request, _, _ in fuse_reply_err(request, EPERM) }
        table.rmdir = { request, _, _ in fuse_reply_err(request, EPERM) }
        table.symlink = { request, _, _, _ in fuse_reply_err(request, EPERM) }
        table.rename = { request, _, _, _, _, _ in fuse_reply_err(request, EPERM) }
        table.link = { request, _, _, _ in fuse_reply_err(request, EPERM) }
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> MountedTree {
        Unmanaged<MountedTree>.fromOpaque(context!).takeUnretainedValue()
    }

    private static func from(_ request: fuse_req_t?) -> MountedTree { from(fuse_req_userdata(request)) }
}

/// What one listing of a directory found when it began.
private final class Listing: OpenFile {
    let entries: [(name: String, number: UInt64, type: mode_t)]

    init(of directory: Directory) {
        entries = [(".", directory.number, S_IFDIR), ("..", directory.parent?.number ?? directory.number, S_IFDIR)]
            + directory.entries.map { ($0.name, $0.node.number, $0.node.type) }
        super.init(flags: 0)
    }
}

/// The kernel's wish to hear of the next change of one open file.
private final class PollHandle: @unchecked Sendable {
    // Safe to share: libfuse only writes the notification to the FUSE device.
    private let handle: OpaquePointer

    init(_ handle: OpaquePointer) { self.handle = handle }
    deinit { fuse_pollhandle_destroy(handle) }
    func notify() { fuse_lowlevel_notify_poll(handle) }
}

extension OpenFile {
    /// The file behind a FUSE file handle, which stays the kernel's.
    fileprivate static func from(_ handle: UInt64) -> OpenFile? {
        UnsafeRawPointer(bitPattern: UInt(handle)).map { Unmanaged<OpenFile>.fromOpaque($0).takeUnretainedValue() }
    }

    /// Gives the file to the kernel, until RELEASE.
    fileprivate static func handle(_ file: OpenFile?) -> UInt64 {
        file.map { UInt64(UInt(bitPattern: Unmanaged.passRetained($0).toOpaque())) } ?? 0
    }

    /// Takes the file back from the kernel.
    fileprivate static func taken(_ handle: UInt64) -> OpenFile? {
        UnsafeRawPointer(bitPattern: UInt(handle)).map { Unmanaged<OpenFile>.fromOpaque($0).takeRetainedValue() }
    }
}

extension Node {
    /// What `stat(2)` shows.
    fileprivate var status: stat {
        var status = stat()
        status.st_ino = ino_t(number)
        status.st_mode = type | mode_t(permissions)
        status.st_nlink = type == S_IFDIR ? 2 : 1
        status.st_uid = owner
        status.st_gid = group
        status.st_size = off_t(size)
        status.st_blksize = 4096
        status.st_atim = created
        status.st_mtim = created
        status.st_ctim = created
        return status
    }
}
