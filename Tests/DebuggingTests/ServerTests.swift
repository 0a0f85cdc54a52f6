import Debugging
import Glibc
import OffloadDevice
import Testing

/// The server and its socket, before a target whose commands never end by themselves.
@Suite struct ServerTests {
    private final class Busy: DebugTarget {
        var mayGoOn: () -> Bool = { true }
        var stop: DebugStop? { DebugStop(hart: 0, reason: .request, position: .start) }
        let hartCount = 1
        let memoryMap: [TargetMemory] = []

        func monitor(_ command: String) -> String {
            while mayGoOn() {}
            return "interrupted"
        }

        func activity(ofHart hart: Int) -> String { "" }
        func hold() {}
        func resume(_ actions: [HartAction]) {}
        func attach(onStop: @escaping @Sendable () -> Void) {}
        func detach() {}
        func readRegister(_ register: HartRegister, hart: Int) -> UInt32? { nil }
        func writeRegister(_ register: HartRegister, hart: Int, _ value: UInt32) -> Bool { false }
        func readMemory(_ address: UInt32, count: Int) -> [UInt8] { [] }
        func writeMemory(_ address: UInt32, _ bytes: [UInt8]) -> String? { nil }
        func insertBreakpoint(_ address: UInt32) {}
        func removeBreakpoint(_ address: UInt32) {}
        func insertWatchpoint(_ watchpoint: Watchpoint) {}
        func removeWatchpoint(_ watchpoint: Watchpoint) {}
    }

    /// The other end of the server's socket.
    private final class Client {
        private let socket: Int32
        private var decoder = PacketDecoder(limit: 1 << 16)

        init(_ endpoint: DebugServer.Endpoint) throws {
            guard case .loopback(let port) = endpoint else { throw StepError("expected a port, found \(endpoint)") }
            socket = Glibc.socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = port.bigEndian
            address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
            let result = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
            }
            try #require(result == 0)
        }

        deinit { close(socket) }

        func send(_ bytes: [UInt8]) { #expect(Glibc.send(socket, bytes, bytes.count, Int32(MSG_NOSIGNAL)) == bytes.count) }

        /// What comes next from the server: an acknowledgement or a packet.
        func next() -> PacketDecoder.Event? {
            var byte: UInt8 = 0
            while recv(socket, &byte, 1, 0) == 1 {
                if let event = decoder.take(byte) { return event }
            }
            return nil
        }
    }

    @Test func aLongCommandGivesSignsOfLifeAndCanBeInterrupted() throws {
        let server = try DebugServer(Busy(), at: .loopback(port: 0))
        try server.start()
        let client = try Client(server.endpoint)
        client.send(encodePacket(Array("qRcmd,676f".utf8)))
        #expect(client.next() == .acknowledged, "before it is carried out")
        for _ in 0..<2 { #expect(client.next() == .packet(Array("O".utf8))) }
        client.send([3])
        // A sign of life may be on its way still.
        var answer = client.next()
        while answer == .packet(Array("O".utf8)) { answer = client.next() }
        #expect(answer == .packet(Array("O696e746572727570746564".utf8)))
        #expect(client.next() == .packet(Array("OK".utf8)))
        // The session goes on, and one whose client vanishes ends.
        client.send(encodePacket(Array("qAttached".utf8)))
        #expect(client.next() == .acknowledged && client.next() == .packet(Array("1".utf8)))
        client.send(encodePacket(Array("qRcmd,676f".utf8)))
        #expect(client.next() == .acknowledged)
        server.stop()
    }
}
