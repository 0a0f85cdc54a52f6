import Glibc
import Simulation

/// Writes frames to a capture file, begun anew, with device time as theirs.
public final class CaptureWriter {
    public let path: String
    private let file: UnsafeMutablePointer<FILE>
    private let cyclesPerMicrosecond: UInt64
    /// Frames that could not be written: the disk is full.
    public private(set) var failures: UInt64 = 0

    public init(path: String, cyclesPerMicrosecond: UInt32) throws(NetworkBackendError) {
        guard let file = fopen(path, "we") else { throw .system(call: "open", path: path, errno: errno) }
        self.path = path
        self.file = file
        self.cyclesPerMicrosecond = UInt64(max(cyclesPerMicrosecond, 1))
        let header = CaptureFile.header
        guard fwrite(header, 1, header.count, file) == header.count, fflush(file) == 0 else {
            throw .system(call: "write", path: path, errno: errno)
        }
    }

    deinit { fclose(file) }

    public func append(_ frame: UnsafeRawBufferPointer, at cycle: Cycle) {
        let (microseconds, rest) = cycle.quotientAndRemainder(dividingBy: cyclesPerMicrosecond)
        let record = CaptureFile.record(time: microseconds &* 1000 &+ rest * 1000 / cyclesPerMicrosecond, length: frame.count)
        // Flushed, so that whoever looks at the file while the device runs finds whole packets.
        let isWritten = fwrite(record, 1, record.count, file) == record.count
            && fwrite(frame.baseAddress, 1, frame.count, file) == frame.count && fflush(file) == 0
        if !isWritten { failures &+= 1 }
    }
}
