import Glibc
import Registers

/// Writes the access trace of one device into a folder.
///
/// Recording is a few stores into a packet; the file system sees whole packets only. A trace that can't be written stops
/// with ``failure`` set: the device goes on.
public final class TraceWriter {
    public let folder: String
    /// Why nothing is recorded any more, nil while all is well.
    @exclusivity(unchecked) public private(set) var failure: TraceError?
    /// Accesses recorded so far.
    @exclusivity(unchecked) public private(set) var count: UInt64 = 0

    private let identity: [UInt8]
    /// One for each possible initiator, allocated when it is first seen.
    private let streams: UnsafeMutablePointer<UnsafeMutablePointer<Stream>?>
    private static let initiators = 4 * 256

    /// One stream file and the packet that is being filled. Lives behind a pointer, so that recording copies and counts nothing.
    private struct Stream {
        var packet: UnsafeMutableRawPointer
        /// Bytes of the packet in use.
        var used: Int
        /// Times of the packet's first and last event.
        var begin: UInt64
        var end: UInt64
        var sequence: UInt64
        var file: Int32
        var initiator: UInt16
    }

    /// Begins a trace. The folder is made, an earlier trace in it is replaced.
    ///
    /// - Parameters:
    ///   - names: what the numbers in events mean.
    ///   - frequency: fabric cycles per second.
    public init(folder: String, names: TraceNames, frequency: UInt64) throws(TraceError) {
        self.folder = folder
        let metadata = TraceLayout.metadata(names, frequency: frequency)
        identity = metadata.identity
        streams = .allocate(capacity: Self.initiators)
        streams.initialize(repeating: nil, count: Self.initiators)
        guard mkdir(folder, 0o777) == 0 || errno == EEXIST else { throw Self.system("mkdir", folder) }
        try Self.removeStreams(in: folder)
        let path = folder + "/metadata"
        let file = Glibc.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else { throw Self.system("open", path) }
        defer { close(file) }
        var text = metadata.text
        let written = text.withUTF8 { write(file, $0.baseAddress, $0.count) }
        guard written == metadata.text.utf8.count else { throw Self.system("write", path) }
    }

    deinit {
        finish()
        for index in 0..<Self.initiators {
            if let stream = streams[index] {
                stream.pointee.packet.deallocate()
                stream.deallocate()
            }
        }
        streams.deallocate()
    }

    /// Records one event.
    public func record(_ event: TraceEvent) {
        if case .access(let event) = event { record(event) }
    }

    /// Records one access.
    public func record(_ event: AccessEvent) {
        guard failure == nil else { return }
        let initiator = event.initiator
        guard let stream = streams[Int(initiator.rawValue) & (Self.initiators - 1)] ?? open(initiator) else { return }
        // The event's own clock field is 32 bits wide: a packet must not span more, for a reader to extend it.
        if stream.pointee.used + TraceLayout.Event.access64Bytes > TraceLayout.Packet.capacity
            || event.time &- stream.pointee.begin >= 1 << 31 && stream.pointee.used > TraceLayout.Packet.headerBytes {
            flush(stream)
        }
        typealias Event = TraceLayout.Event
        if stream.pointee.used == TraceLayout.Packet.headerBytes { stream.pointee.begin = event.time }
        stream.pointee.end = event.time
        count &+= 1
        let at = stream.pointee.packet + stream.pointee.used
        let operation = UInt8(truncatingIfNeeded: event.size.trailingZeroBitCount & 3) | (event.isWrite ? 4 : 0) | event.status.rawValue << 4
        let wait = UInt16(min(event.wait, TraceLayout.longestWait))
        at.storeBytes(of: UInt32(truncatingIfNeeded: event.time), toByteOffset: Event.time, as: UInt32.self)
        at.storeBytes(of: operation, toByteOffset: Event.operation, as: UInt8.self)
        switch event.target {
        case .register(let register, let element, let byte):
            at.storeBytes(of: register, toByteOffset: Event.register, as: UInt16.self)
            at.storeBytes(of: event.origin, toByteOffset: Event.origin, as: UInt32.self)
            at.storeBytes(of: element, toByteOffset: Event.element, as: UInt16.self)
            at.storeBytes(of: UInt16(byte & 7) | wait << 3, toByteOffset: Event.waitAndByte, as: UInt16.self)
            if (event.old | event.new) >> 32 == 0 {
                at.storeBytes(of: Event.access32, as: UInt8.self)
                at.storeBytes(of: UInt32(truncatingIfNeeded: event.old), toByteOffset: Event.values, as: UInt32.self)
                at.storeBytes(of: UInt32(truncatingIfNeeded: event.new), toByteOffset: Event.values + 4, as: UInt32.self)
                stream.pointee.used += Event.access32Bytes
            } else {
                at.storeBytes(of: Event.access64, as: UInt8.self)
                at.storeBytes(of: event.old, toByteOffset: Event.values, as: UInt64.self)
                at.storeBytes(of: event.new, toByteOffset: Event.values + 8, as: UInt64.self)
                stream.pointee.used += Event.access64Bytes
            }
        case .address(let address, let bus):
            at.storeBytes(of: Event.elsewhere, as: UInt8.self)
            at.storeBytes(of: bus, toByteOffset: Event.bus, as: UInt8.self)
            at.storeBytes(of: wait, toByteOffset: Event.elsewhereWait, as: UInt16.self)
            at.storeBytes(of: event.origin, toByteOffset: Event.elsewhereOrigin, as: UInt32.self)
            at.storeBytes(of: address, toByteOffset: Event.address, as: UInt64.self)
            at.storeBytes(of: event.new, toByteOffset: Event.value, as: UInt64.self)
            stream.pointee.used += Event.elsewhereBytes
        }
    }

    /// Writes out what is still in memory, so that a reader sees all that was recorded so far.
    public func flush() {
        for index in 0..<Self.initiators {
            if let stream = streams[index], stream.pointee.used > TraceLayout.Packet.headerBytes { flush(stream) }
        }
    }

    /// Ends the trace and closes its files. Nothing is recorded after that.
    public func finish() {
        flush()
        for index in 0..<Self.initiators {
            if let stream = streams[index], stream.pointee.file >= 0 {
                close(stream.pointee.file)
                stream.pointee.file = -1
            }
        }
        if failure == nil { failure = TraceError("\(folder): the trace has ended") }
    }

    private func open(_ initiator: Initiator) -> UnsafeMutablePointer<Stream>? {
        let path = "\(folder)/\(initiator)"
        let file = Glibc.open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard file >= 0 else {
            failure = Self.system("open", path)
            return nil
        }
        let packet = UnsafeMutableRawPointer.allocate(byteCount: TraceLayout.Packet.capacity, alignment: 64)
        packet.initializeMemory(as: UInt8.self, repeating: 0, count: TraceLayout.Packet.headerBytes)
        packet.storeBytes(of: TraceLayout.magic, as: UInt32.self)
        identity.withUnsafeBytes { (packet + TraceLayout.Packet.identity).copyMemory(from: $0.baseAddress!, byteCount: 16) }
        packet.storeBytes(of: initiator.rawValue, toByteOffset: TraceLayout.Packet.initiator, as: UInt16.self)
        let stream = UnsafeMutablePointer<Stream>.allocate(capacity: 1)
        stream.initialize(to: Stream(
            packet: packet, used: TraceLayout.Packet.headerBytes, begin: 0, end: 0, sequence: 0, file: file, initiator: initiator.rawValue))
        streams[Int(initiator.rawValue) & (Self.initiators - 1)] = stream
        return stream
    }

    /// Completes the packet's context and writes the packet.
    private func flush(_ stream: UnsafeMutablePointer<Stream>) {
        typealias Packet = TraceLayout.Packet
        let packet = stream.pointee.packet, used = stream.pointee.used, bits = UInt64(used) * 8
        for (offset, value) in [
            (Packet.begin, stream.pointee.begin), (Packet.end, stream.pointee.end), (Packet.contentBits, bits), (Packet.packetBits, bits),
            (Packet.sequence, stream.pointee.sequence),
        ] {
            packet.storeBytes(of: value, toByteOffset: offset, as: UInt64.self)
        }
        var done = 0
        while done < used, failure == nil {
            let count = write(stream.pointee.file, packet + done, used - done)
            if count > 0 {
                done += count
            } else if errno != EINTR {
                failure = Self.system("write", folder)
            }
        }
        stream.pointee.sequence += 1
        stream.pointee.used = Packet.headerBytes
    }

    private static func removeStreams(in folder: String) throws(TraceError) {
        guard let directory = opendir(folder) else { throw system("opendir", folder) }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name != ".", name != "..", TraceReader.isStreamName(name) || name == "metadata" { unlink("\(folder)/\(name)") }
        }
    }

    private static func system(_ call: String, _ path: String) -> TraceError {
        TraceError("\(path): \(call): \(String(cString: strerror(errno)))")
    }
}
