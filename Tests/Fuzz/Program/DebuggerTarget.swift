import Debugging
import OffloadDevice

/// GDB's remote protocol: each line of the input is a packet with its checksum made right, unless the line begins with a zero byte;
/// then the rest goes to the session as it is.
struct DebuggerTarget: FuzzTarget {
    mutating func take(_ input: [UInt8]) {
        let harts = FakeHarts()
        var output: [UInt8] = []
        var session = DebugSession(harts) { output += $0 }
        for line in input.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            if line.first == 0 { session.receive(line.dropFirst()) } else { session.receive(encodePacket(Array(line))) }
            session.reportStop()
            Self.check(output)
            output = []
        }
    }

    /// All that is sent is acknowledgements and whole packets.
    private static func check(_ output: [UInt8]) {
        var decoder = PacketDecoder(limit: 1 << 20)
        for byte in output {
            switch decoder.take(byte) {
            case .packet, .acknowledged, .rejected, nil: break
            case let event?: fatalError("\(event) in '\(String(decoding: output, as: UTF8.self))'")
            }
        }
    }
}

/// Two harts with registers, a little memory and a history, which stop as soon as they have been resumed.
private final class FakeHarts: DebugTarget {
    private static let base: UInt32 = 0x8000_0000
    private var memory = [UInt8](repeating: 0x13, count: 256)
    private var registers = [UInt32](repeating: 0, count: 2 * 32)
    private(set) var stop: DebugStop? = DebugStop(hart: 0, reason: .request, position: .start)
    private var watchpoint: Watchpoint?

    let hartCount = 2
    let hasHistory = true
    private(set) var edge: HistoryEdge?
    func activity(ofHart hart: Int) -> String { hart == 0 ? "running" : "asleep" }
    func attach(onStop: @escaping @Sendable () -> Void) { hold() }
    func detach() { stop = nil }
    func hold() { stop = DebugStop(hart: 0, reason: .request, position: .start) }
    func goBack(_ way: BackwardWay) {
        if case .step(let hart) = way { require((0..<hartCount).contains(hart), "a hart that is there") }
        stop = DebugStop(hart: 1, reason: .request, position: .start)
        edge = edge == nil ? .begin : nil
    }

    func resume(_ actions: [HartAction]) {
        require(actions.count == hartCount, "an action for each hart")
        stop = DebugStop(hart: 1, reason: watchpoint.map { .watchpoint($0) } ?? .step, position: .start)
    }

    func readRegister(_ register: HartRegister, hart: Int) -> UInt32? {
        switch register {
        case .integer(let number): registers[32 * hart + number]
        case .pc: Self.base
        case .csr(let number): number < 0x400 ? 7 : nil
        case .privilege: 3
        }
    }

    func writeRegister(_ register: HartRegister, hart: Int, _ value: UInt32) -> Bool {
        guard case .integer(let number) = register else { return false }
        registers[32 * hart + number] = value
        return true
    }

    func readMemory(_ address: UInt32, count: Int) -> [UInt8] {
        require(count >= 0, "as many bytes as there can be")
        let offset = Int(address) - Int(Self.base)
        return memory.indices.contains(offset) ? Array(memory[offset...].prefix(count)) : []
    }

    func writeMemory(_ address: UInt32, _ bytes: [UInt8]) -> String? {
        let offset = Int(address) - Int(Self.base)
        guard offset >= 0, offset + bytes.count <= memory.count else { return "no memory there" }
        memory.replaceSubrange(offset..<offset + bytes.count, with: bytes)
        return nil
    }

    var memoryMap: [TargetMemory] { [TargetMemory(address: UInt64(Self.base), count: 256, isReadOnly: false)] }

    func insertBreakpoint(_ address: UInt32) {}
    func removeBreakpoint(_ address: UInt32) {}
    func insertWatchpoint(_ watchpoint: Watchpoint) {
        require(watchpoint.count > 0, "a watchpoint of at least one byte")
        self.watchpoint = watchpoint
    }
    func removeWatchpoint(_ watchpoint: Watchpoint) { self.watchpoint = nil }

    func monitor(_ command: String) -> String { command }
}
