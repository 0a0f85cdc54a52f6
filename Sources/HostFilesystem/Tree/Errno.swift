import Glibc

/// Why a file operation failed: the error number that the client program sees.
public struct Errno: Error, Hashable, Sendable {
    /// A positive number of `errno.h`.
    public var rawValue: Int32
    public init(rawValue: Int32) { self.rawValue = rawValue }

    /// EINVAL: the offset, the size or the text written is nothing that this file takes.
    public static let invalidArgument = Errno(rawValue: EINVAL)
    /// ENODEV: the device behind an open file has vanished.
    public static let noDevice = Errno(rawValue: ENODEV)
    /// EIO: the device didn't answer, or refused.
    public static let inputOutput = Errno(rawValue: EIO)
    /// EACCES: the file can't be opened that way.
    public static let accessDenied = Errno(rawValue: EACCES)
    /// EPERM: the tree's shape belongs to the device.
    public static let notPermitted = Errno(rawValue: EPERM)
    /// EAGAIN: nothing to read now, and the file is open without blocking.
    public static let tryAgain = Errno(rawValue: EAGAIN)
    /// EINTR: a signal interrupted a blocked read.
    public static let interrupted = Errno(rawValue: EINTR)
    /// EBUSY: the thing is in use.
    public static let busy = Errno(rawValue: EBUSY)
    /// ENOENT
    public static let notFound = Errno(rawValue: ENOENT)
    /// EEXIST
    public static let exists = Errno(rawValue: EEXIST)
    /// EISDIR
    public static let isDirectory = Errno(rawValue: EISDIR)
    /// ENOSYS: a character device without this operation.
    public static let notImplemented = Errno(rawValue: ENOSYS)
    /// ERANGE: a number that doesn't fit.
    public static let outOfRange = Errno(rawValue: ERANGE)
    /// ENOSPC
    public static let noSpace = Errno(rawValue: ENOSPC)
    /// EOPNOTSUPP
    public static let notSupported = Errno(rawValue: EOPNOTSUPP)
}

extension Errno: CustomStringConvertible {
    public var description: String { String(cString: strerror(rawValue)) }
}
