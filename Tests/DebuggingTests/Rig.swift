import Debugging
import OffloadDevice
import Testing

/// A device in lockstep that runs a small loop, and a debugger's session with it.
///
///     0x80000000  lui  t0, 0x80001
///     0x80000004  li   t1, 0
///     0x80000008  addi t1, t1, 1
///     0x8000000c  sw   t1, 0(t0)
///     0x80000010  lui  t2, 0x2000
///     0x80000014  sw   t1, 4(t2)          the software interrupt of hart 1
///     0x80000018  j    0x80000008
final class Rig {
    static let base: UInt32 = 0x8000_0000
    static let code: [UInt32] = [0x8000_12b7, 0x0000_0313, 0x0013_0313, 0x0062_a023, 0x0200_03b7, 0x0063_a223, 0xff1f_f06f]

    let machine: Machine
    let target: MachineTarget
    var session: DebugSession
    private let sent = Sent()

    /// - Parameter cycles: how long the program has run when the debugger comes.
    init(cycles: UInt64 = 1000) throws {
        machine = try Machine(MachineDescription(), pace: .lockstep)
        try machine.loadFirmware(elf(Self.code))
        machine.advance(by: cycles)
        target = MachineTarget(machine)
        target.attach {}
        session = DebugSession(target, transmit: sent.add)
        session.receive(encodePacket(Array("QStartNoAckMode".utf8)))
        #expect(sent.take() == Array("+$OK#9a".utf8))
    }

    /// The packets that answer one; their payloads as text.
    func send(_ packet: String) -> [String] {
        session.receive(encodePacket(Array(packet.utf8)))
        return received()
    }

    /// The only answer to a packet.
    func ask(_ packet: String) -> String {
        let answers = send(packet)
        #expect(answers.count == 1, "\(packet): \(answers)")
        return answers.last ?? ""
    }

    /// Goes on, lets device time pass, and returns the stop's report.
    func run(_ packet: String, cycles: UInt64 = 10_000) -> String? {
        #expect(send(packet) == [])
        machine.advance(by: cycles)
        session.reportStop()
        return received().first
    }

    func received() -> [String] { sent.takePackets() }

    /// A register by GDB's number.
    func register(_ number: Int) -> UInt32? {
        UInt32(ask("p\(String(number, radix: 16))"), radix: 16)?.byteSwapped
    }

    var pc: UInt32? { register(32) }
}

/// What a session has sent.
final class Sent {
    private var bytes: [UInt8] = []

    func add(_ more: [UInt8]) { bytes += more }

    func take() -> [UInt8] {
        defer { bytes = [] }
        return bytes
    }

    /// The payloads of packets, as text.
    func takePackets() -> [String] {
        var decoder = PacketDecoder(limit: 1 << 20)
        return take().compactMap { byte in
            guard case .packet(let payload)? = decoder.take(byte) else { return nil }
            return String(decoding: payload, as: UTF8.self)
        }
    }
}
