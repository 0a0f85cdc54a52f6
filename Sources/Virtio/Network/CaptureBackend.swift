import Glibc
import Interconnect
import Simulation

/// Capture files at the end of a wire: what the driver sends is written to one, what another has is received, at the times at which it was
/// captured, from when the device went live.
public final class CaptureBackend: NetworkBackend {
    public struct State: Sendable {
        /// The next packet of the input.
        var next = 0
        /// Packets of the output, and writes to it that failed.
        public internal(set) var written: UInt64 = 0
        public internal(set) var failures: UInt64 = 0
    }

    private let input: CaptureFile?
    private let output: UnsafeMutablePointer<FILE>?
    private let cyclesPerMicrosecond: UInt64
    public internal(set) var state = State()
    private unowned(unsafe) var device: (any NetworkPort)?

    /// Reads and checks the whole input, and begins the output anew.
    public init(input: String?, output: String?, cyclesPerMicrosecond: UInt32) throws(NetworkBackendError) {
        self.cyclesPerMicrosecond = UInt64(max(cyclesPerMicrosecond, 1))
        if let input {
            self.input = try CaptureFile(try Self.read(input), path: input)
        } else {
            self.input = nil
        }
        if let output {
            guard let file = fopen(output, "we") else { throw .system(call: "open", path: output, errno: errno) }
            self.output = file
            append(CaptureFile.header)
        } else {
            self.output = nil
        }
    }

    deinit {
        if let output { fclose(output) }
    }

    private static func read(_ path: String) throws(NetworkBackendError) -> [UInt8] {
        guard let file = fopen(path, "re") else { throw .system(call: "open", path: path, errno: errno) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = fread(&piece, 1, piece.count, file)
            guard count > 0 else { break }
            bytes += piece[..<count]
            guard bytes.count <= CaptureFile.sizeLimit else {
                throw .capture(path: path, position: bytes.count, expected: "at most \(CaptureFile.sizeLimit) bytes", found: "more")
            }
        }
        guard ferror(file) == 0 else { throw .system(call: "read", path: path, errno: errno) }
        return bytes
    }

    public func connect(_ device: any NetworkPort) -> Int {
        self.device = device
        return 0
    }

    // MARK: Output

    public func transmit(_ frame: NetworkFrame, from port: Int, at cycle: Cycle) {
        guard let output else { return }
        append(CaptureFile.record(time: nanoseconds(cycle), length: frame.bytes.count))
        if fwrite(frame.bytes.baseAddress!, 1, frame.bytes.count, output) != frame.bytes.count { state.failures &+= 1 }
        // Whoever looks at the file while the device runs finds whole packets.
        if fflush(output) != 0 { state.failures &+= 1 }
        state.written &+= 1
    }

    private func append(_ bytes: [UInt8]) {
        if fwrite(bytes, 1, bytes.count, output!) != bytes.count { state.failures &+= 1 }
    }

    private func nanoseconds(_ cycle: Cycle) -> UInt64 {
        let (microseconds, rest) = cycle.quotientAndRemainder(dividingBy: cyclesPerMicrosecond)
        return microseconds &* 1000 &+ rest * 1000 / cyclesPerMicrosecond
    }

    // MARK: Input

    public func nextArrival(at port: Int) -> Cycle {
        guard let input, state.next < input.packets.count else { return .max }
        let (microseconds, rest) = input.packets[state.next].time.quotientAndRemainder(dividingBy: 1000)
        return microseconds &* cyclesPerMicrosecond &+ rest * cyclesPerMicrosecond / 1000
    }

    public func deliverArrivals(to port: Int, by cycle: Cycle) {
        while let input, nextArrival(at: port) <= cycle {
            let range = input.packets[state.next].range
            state.next += 1
            input.bytes.withUnsafeBytes { device?.receive(NetworkFrame(UnsafeRawBufferPointer(rebasing: $0[range]))) }
        }
    }

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&state.next, in: 0...(input?.packets.count ?? 0))
        try archive.integer(&state.written)
        try archive.integer(&state.failures)
    }
}
