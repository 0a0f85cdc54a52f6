/// The medium behind a block device. Positions and lengths are in bytes, always whole sectors of 512 within ``byteCount``: the device has
/// checked that.
public protocol BlockBackend: AnyObject {
    /// A multiple of 512.
    var byteCount: UInt64 { get }
    var isReadOnly: Bool { get }

    func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(BackendError)
    func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(BackendError)
    /// Makes all that was written so far outlive a loss of power.
    func flush() throws(BackendError)
    /// The bytes are no longer of use; what they read as afterwards is anybody's guess.
    func discard(_ position: UInt64, count: UInt64) throws(BackendError)
    /// The bytes read as zero afterwards; `mayUnmap` allows their space to be given up.
    func writeZeroes(_ position: UInt64, count: UInt64, mayUnmap: Bool) throws(BackendError)
}

/// Why a backend can't be opened, or an operation of it failed.
public enum BackendError: Error, Equatable, Sendable {
    /// A system call on the backing file failed.
    case system(call: String, path: String, errno: Int32)
    /// The medium is no positive multiple of 512 bytes.
    case size(path: String, bytes: UInt64)
    /// The path names no regular file or block device.
    case notAFile(path: String)
    /// The file ended within the medium: somebody shortened it.
    case truncated(path: String, position: UInt64)
    /// A write to a read-only medium.
    case readOnly(path: String)
}
