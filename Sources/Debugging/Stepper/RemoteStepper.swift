import Glibc

/// The stepper of a live device, in the process that runs the device: the other end of a ``DebugServer`` with a history.
public final class RemoteStepper: StepperFront {
    private let socket: Int32
    private var decoder = PacketDecoder(limit: 1 << 24)
    private let name: String

    /// Connects, which holds the device as any debugger does.
    public init(_ endpoint: DebugServer.Endpoint) throws(StepError) {
        switch endpoint {
        case .unixSocket(let path): name = path
        case .loopback(let port): name = "127.0.0.1:\(port)"
        }
        do throws(DebugServerError) {
            socket = try Sockets.connect(to: endpoint)
        } catch {
            throw StepError(error.description)
        }
        guard try ask("qSupported").contains("ReverseStep+") else {
            throw StepError("\(name): expected a device with a history, 'outrigger run --gdb \(name) --history', found one without")
        }
    }

    /// The device goes on.
    deinit {
        _ = try? ask("D")
        close(socket)
    }

    public func perform(_ line: String) throws(StepError) -> [String]? {
        if try StepCommand.parse(line, frequency: 1_000_000_000) == .quit { return nil }
        return try lines("qOutrigger.Step:" + hex(line))
    }

    public func screen(width: Int, height: Int, answer: [String]) -> [String] {
        let size = String(width, radix: 16) + "," + String(height, radix: 16)
        do throws(StepError) {
            return try lines("qOutrigger.Screen:\(size):" + hex(answer.joined(separator: "\n")))
        } catch {
            return [error.description]
        }
    }

    private func hex(_ text: String) -> String { String(decoding: Hex.encode(text.utf8), as: UTF8.self) }

    private func lines(_ packet: String) throws(StepError) -> [String] {
        let answer = try ask(packet)
        guard answer.hasPrefix("l"), let bytes = Hex.decode(Array(answer.utf8.dropFirst())) else {
            throw StepError("\(name): expected lines of text, found '\(answer.prefix(40))'")
        }
        let text = String(decoding: bytes, as: UTF8.self)
        return text.isEmpty ? [] : text.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    }

    /// The answer to a packet.
    private func ask(_ packet: String) throws(StepError) -> String {
        try send(encodePacket(Array(packet.utf8)))
        while true {
            var buffer = [UInt8](repeating: 0, count: 1 << 16)
            let count = recv(socket, &buffer, buffer.count, 0)
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { throw StepError("\(name): the device has gone") }
            var answer: [UInt8]?
            for byte in buffer[..<count] {
                // An empty console packet says that the answer takes time.
                if case .packet(let payload)? = decoder.take(byte), payload != [UInt8(ascii: "O")] { answer = payload }
            }
            guard let answer else { continue }
            try send(Array("+".utf8))
            let text = String(decoding: answer, as: UTF8.self)
            if text.hasPrefix("E.") { throw StepError(String(text.dropFirst(2))) }
            return text
        }
    }

    private func send(_ bytes: [UInt8]) throws(StepError) {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.send(socket, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL)) }
            if count > 0 { sent += count } else if errno != EINTR { throw StepError("\(name): the device has gone") }
        }
    }
}
