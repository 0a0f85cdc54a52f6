import Glibc

/// One front-end's socket. Reading blocks; ``interrupt()`` ends that from any thread.
final class Connection: @unchecked Sendable {
    // Sendable: the descriptor doesn't change, and calls on it can be made by several threads.

    let descriptor: Int32

    /// Takes an accepted socket over.
    init(_ descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Nothing more comes in: who reads finds the end.
    func interrupt() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// Room for the control data of `Message.mostDescriptors` descriptors: a header of 16 bytes, and 4 bytes for each.
    private static let controlBytes = 16 + 4 * Message.mostDescriptors

    /// The next message.
    /// - Parameter isReply: whether it is to be one.
    /// - Returns: nil at the connection's end.
    func receive(isReply: Bool = false) throws(ProtocolError) -> Message? {
        var header: (UInt32, UInt32, UInt32) = (0, 0, 0)
        var descriptors: [Int32] = []
        let count = withUnsafeMutableBytes(of: &header) { receive(into: $0, &descriptors) }
        var isComplete = false
        defer { if !isComplete { for descriptor in descriptors { close(descriptor) } } }
        guard count > 0 else { return nil }
        guard count == Message.headerBytes else {
            throw ProtocolError("expected a header of \(Message.headerBytes) bytes, found \(count)")
        }
        guard header.1 & Message.Flag.versionMask == Message.Flag.version, (header.1 & Message.Flag.reply != 0) == isReply else {
            let (kind, flags) = (isReply ? "reply" : "request", String(header.1, radix: 16))
            throw ProtocolError("expected a \(kind) of version \(Message.Flag.version), found flags 0x\(flags)")
        }
        guard header.2 <= UInt32(Message.longestPayload) else {
            throw ProtocolError("expected a payload of at most \(Message.longestPayload) bytes, found \(header.2)")
        }
        var payload = [UInt8](repeating: 0, count: Int(header.2))
        let read = payload.withUnsafeMutableBytes { receive(into: $0, &descriptors) }
        guard read == payload.count else { throw ProtocolError("expected a payload of \(payload.count) bytes, found \(max(read, 0))") }
        isComplete = true
        return Message(request: header.0, flags: header.1, payload: payload, descriptors: descriptors)
    }

    /// Reads until `bytes` is full or nothing more comes.
    /// - Returns: how many bytes were read.
    private func receive(into bytes: UnsafeMutableRawBufferPointer, _ descriptors: inout [Int32]) -> Int {
        var done = 0
        while done < bytes.count {
            var vector = iovec(iov_base: bytes.baseAddress! + done, iov_len: bytes.count - done)
            let count = withUnsafeTemporaryAllocation(byteCount: Self.controlBytes, alignment: 8) { control in
                withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = control.baseAddress
                    message.msg_controllen = control.count
                    let count = recvmsg(descriptor, &message, Int32(MSG_CMSG_CLOEXEC))
                    if count >= 0 {
                        let received = control[..<min(message.msg_controllen, control.count)]
                        Self.takeDescriptors(UnsafeRawBufferPointer(rebasing: received), &descriptors)
                    }
                    return count
                }
            }
            if count > 0 {
                done += count
            } else if count == 0 || errno != EINTR {
                break
            }
        }
        return done
    }

    /// Control messages follow each other, each from a multiple of eight bytes on: length, level, type, data (cmsg(3)).
    private static func takeDescriptors(_ control: UnsafeRawBufferPointer, _ descriptors: inout [Int32]) {
        var place = 0
        while control.count - place >= 16 {
            let length = control.loadUnaligned(fromByteOffset: place, as: Int.self)
            guard length >= 16, length <= control.count - place else { return }
            if control.loadUnaligned(fromByteOffset: place + 8, as: Int32.self) == SOL_SOCKET,
                control.loadUnaligned(fromByteOffset: place + 12, as: Int32.self) == Int32(SCM_RIGHTS) {
                for offset in stride(from: place + 16, to: place + length - 3, by: 4) {
                    descriptors.append(control.loadUnaligned(fromByteOffset: offset, as: Int32.self))
                }
            }
            place += (length + 7) & ~7
        }
    }

    /// Answers a request.
    /// - Parameter descriptor: goes with it; stays the caller's.
    /// - Returns: false if the front-end is gone.
    func reply(to request: UInt32, _ payload: [UInt8], descriptor passed: Int32? = nil) -> Bool {
        var bytes: [UInt8] = []
        for word in [request, Message.Flag.version | Message.Flag.reply, UInt32(payload.count)] { bytes.append(integer: word) }
        return Self.send(bytes + payload, passed.map { [$0] } ?? [], on: descriptor)
    }

    /// Sends bytes, and descriptors beside the first of them. What is sent is shorter than a socket's buffer: it goes at once, or the other
    /// side is gone.
    static func send(_ bytes: [UInt8], _ descriptors: [Int32], on socket: Int32) -> Bool {
        var bytes = bytes, control: [UInt8] = []
        if !descriptors.isEmpty {
            control.append(integer: 16 + 4 * descriptors.count)
            control.append(integer: Int32(SOL_SOCKET))
            control.append(integer: Int32(SCM_RIGHTS))
            for descriptor in descriptors { control.append(integer: descriptor) }
            control += [UInt8](repeating: 0, count: -control.count & 7)
        }
        return bytes.withUnsafeMutableBytes { bytes in
            control.withUnsafeMutableBytes { control in
                var vector = iovec(iov_base: bytes.baseAddress, iov_len: bytes.count)
                return withUnsafeMutablePointer(to: &vector) { vector in
                    var message = msghdr()
                    message.msg_iov = vector
                    message.msg_iovlen = 1
                    message.msg_control = control.isEmpty ? nil : control.baseAddress
                    message.msg_controllen = control.count
                    while true {
                        let count = sendmsg(socket, &message, Int32(MSG_NOSIGNAL))
                        if count >= 0 || errno != EINTR { return count == bytes.count }
                    }
                }
            }
        }
    }
}
