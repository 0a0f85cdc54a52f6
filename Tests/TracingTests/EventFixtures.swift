import Registers
import Tracing

/// Functions of a firmware that never was.
struct TestSymbols: TraceSymbols {
    var functionNames: [String] { ["main", "Timer.start(_:)"] }
    func ranges(ofFunction name: String) -> [Range<UInt32>] {
        switch name {
        case "main": [0x8000_0000..<0x8000_0020]
        case "Timer.start(_:)": [0x8000_0100..<0x8000_0200, 0x8000_0400..<0x8000_0404]
        default: []
        }
    }

    func function(at pc: UInt32) -> String? { functionNames.first { name in ranges(ofFunction: name).contains { $0.contains(pc) } } }

    var recordKinds: [String] { ["boot", "stage"] }
    func members(ofRecord kind: UInt16, _ arguments: [UInt32]) -> [(name: String, value: String)]? {
        kind == 0 ? [("starts", "\(arguments.first ?? 0)")] : nil
    }
}

/// One event of every kind, a cycle apart.
func makeEveryKind() -> [TraceEvent] {
    var time: UInt64 = 100
    func now() -> UInt64 {
        time += 1
        return time
    }
    func interrupt(_ step: InterruptEvent.Step) -> TraceEvent { .interrupt(InterruptEvent(time: now(), step: step)) }
    func queue(_ step: QueueEvent.Step, head: UInt16 = 0, bytes: UInt32 = 0, depth: UInt16) -> TraceEvent {
        .queue(QueueEvent(time: now(), function: 2, queue: 1, step: step, head: head, bytes: bytes, depth: depth))
    }
    return [
        .access(AccessEvent(
            time: now(), wait: 3, initiator: .hart(0), origin: 0x8000_0104, isWrite: true, size: 4, status: .ok,
            target: .register(0, element: 0, byte: 0), old: 0, new: 0x11)),
        interrupt(.line(0, level: true)),
        interrupt(.line(1, level: true)),
        interrupt(.trap(hart: 0, cause: 1 << 31 | 11, pc: 0x8000_0010, handler: 0x8000_0400)),
        .access(AccessEvent(
            time: now(), wait: 500, initiator: .host(function: 2), origin: 4711, isWrite: true, size: 2, status: .ok,
            target: .address(0x3000, bus: 0), old: 0, new: 1)),
        queue(.doorbell, depth: 0),
        .dma(DMAEvent(time: now(), function: 2, isWrite: false, address: 0x1_0000_0000, bytes: 16, status: .ok)),
        queue(.taken, head: 5, bytes: 4113, depth: 1),
        queue(.taken, head: 6, bytes: 513, depth: 2),
        .dma(DMAEvent(time: now(), function: 2, isWrite: true, address: 0xdead_0000, bytes: 512, status: .denied)),
        .fault(FaultEvent(time: now(), kind: .iommu, initiator: .dma(function: 2), address: 0xdead_0000, name: "unmapped")),
        queue(.completed, head: 5, bytes: 4097, depth: 1),
        queue(.notified, depth: 1),
        interrupt(.message(function: 2, vector: 1, level: true)),
        interrupt(.message(function: 64, vector: nil, level: true)),
        .fault(FaultEvent(time: now(), kind: .queue, initiator: .dma(function: 2), origin: 1, name: "available index 9 is ahead")),
        .fault(FaultEvent(
            time: now(), kind: .bus, initiator: .hart(0), address: 0x2000_0000, origin: 0x8000_0014, name: "load access")),
        .log(LogEvent(time: now(), content: .line("ready \u{1b}[31m\"quoted\"\u{202e}"))),
        .log(LogEvent(time: now(), content: .record(kind: 0, arguments: [7, 8]))),
        interrupt(.line(0, level: false)),
    ]
}
