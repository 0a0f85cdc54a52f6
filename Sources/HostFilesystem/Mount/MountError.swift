/// Why a tree can't be mounted, or stopped being served. The description is for the person who runs the emulator.
public enum MountError: Error, Hashable, Sendable {
    /// The mount point doesn't exist.
    case missing(String)
    case notADirectory(String)
    /// Something is in the directory, which the mount would hide.
    case notEmpty(String)
    /// Something alive is mounted there.
    case busy(String)
    /// What was mounted there has died without unmounting.
    case stale(String)
    case cannotUnmount(String, Errno)
    case cannotExamine(String, Errno)
    /// libfuse or the kernel refused the mount, with its reason.
    case refused(String, reason: String)
    /// The connection to the kernel broke while serving.
    case lost(String, Errno)
}

extension MountError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .missing(let path):
            "mount point \(path): no such directory; make it with: mkdir -p \(path)"
        case .notADirectory(let path):
            "mount point \(path): expected a directory, found a file"
        case .notEmpty(let path):
            "mount point \(path): expected an empty directory, found one with something in it"
        case .busy(let path):
            "mount point \(path): something is mounted there already; unmount it or choose another directory"
        case .stale(let path):
            "mount point \(path): holds the mount of a server that died; unmount it with --force-unmount, or: fusermount3 -u -z \(path)"
        case .cannotUnmount(let path, let error):
            "mount point \(path): the mount of a server that died can't be unmounted: \(error)"
        case .cannotExamine(let path, let error):
            "mount point \(path): \(error)"
        case .refused(let path, let reason):
            "mount point \(path): \(reason)"
        case .lost(let path, let error):
            "\(path): the connection to the kernel's FUSE broke: \(error)"
        }
    }
}
