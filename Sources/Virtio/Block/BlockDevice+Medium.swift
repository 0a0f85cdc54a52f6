import Interconnect
import Simulation

// The medium's own port, for a host that serves the disk in the device's place: what it moves passes the same links and is counted as the
// requests that it answers. The host works on one request at a time and is not kept waiting for the model of the medium.

extension BlockDevice {
    /// Reads whole sectors.
    public func readMedium(_ position: UInt64, count: Int) throws(BackendError) -> [UInt8] {
        try checkRange(position, UInt64(max(count, 0)))
        var bytes = [UInt8](repeating: 0, count: count)
        var failure: BackendError?
        bytes.withUnsafeMutableBytes { buffer in
            do throws(BackendError) { try backend.read(position, into: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        path.toHost.submit(bytes: UInt64(count), owner: owner, id: Self.noRequest, port: deliverPort)
        tally(.read, position, UInt64(count))
        return bytes
    }

    /// Writes whole sectors; they are durable afterwards where a write of the driver's would be.
    public func writeMedium(_ position: UInt64, _ bytes: [UInt8]) throws(BackendError) {
        try checkRange(position, UInt64(bytes.count))
        var failure: BackendError?
        bytes.withUnsafeBytes { buffer in
            do throws(BackendError) { try backend.write(position, from: buffer) } catch { failure = error }
        }
        if let failure { throw failure }
        if isWriteThrough(state, BlockRequest(type: BlockType.write)) { try backend.flush() }
        path.fromHost.submit(bytes: UInt64(bytes.count), owner: owner, id: Self.noRequest, port: fetchPort)
        tally(.write, position, UInt64(bytes.count))
    }

    public func flushMedium() throws(BackendError) {
        try backend.flush()
        tally(.flush, 0, 0)
    }

    /// No slot has this generation and number.
    private static let noRequest = UInt64.max

    private func checkRange(_ position: UInt64, _ count: UInt64) throws(BackendError) {
        guard position % 512 == 0, count % 512 == 0, position <= backend.byteCount, count <= backend.byteCount - position else {
            throw .truncated(path: "medium", position: position)
        }
    }

    private func tally(_ kind: IORequest.Kind, _ position: UInt64, _ bytes: UInt64) {
        guard let observer = path.observer else { return }
        let now = now
        var request = IORequest(owner: owner, queue: 0, kind: kind, position: position, bytes: bytes, arrival: now, depth: 1)
        observer.requestArrived(request)
        request.completion = now
        observer.requestCompleted(request)
    }
}
