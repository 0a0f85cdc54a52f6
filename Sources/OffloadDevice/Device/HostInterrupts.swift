import Interconnect
import PCIExpress
import Simulation
import Virtio

/// What reaches the host of the functions' interrupts: counts, and somebody to tell.
public final class HostInterrupts: InterruptSink {
    /// By function index: messages and assertions of INTx since power-on.
    public private(set) var counts = [UInt64](repeating: 0, count: HierarchyDescription.indexLimit)
    /// The INTx lines that the host's interrupt handler has yet to mask.
    var unmaskedLines: [Int] = []
    /// Is told of each interrupt, in the middle of whatever caused it.
    var handler: ((_ function: Int, _ vector: Int?) -> Void)?
    private let recorder: TraceRecorder

    init(_ recorder: TraceRecorder) { self.recorder = recorder }

    public func messageSignaled(function: Int, vector: Int, message: InterruptMessage) {
        if recorder.isRecording { recorder.messageSent(function: function, vector: vector) }
        count(function, vector)
    }

    public func lineChanged(function: Int, level: Bool) {
        if recorder.isRecording { recorder.functionLineChanged(function, level: level) }
        guard level else { return }
        unmaskedLines.append(function)
        count(function, nil)
    }

    private func count(_ function: Int, _ vector: Int?) {
        guard counts.indices.contains(function) else { return }
        counts[function] &+= 1
        handler?(function, vector)
    }
}

extension HostInterrupts: ArchivedModel {
    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("host interrupts") { (archive, _) throws(SnapshotError) in
            try archive.integers(&counts)
            try archive.array(&unmaskedLines, limit: counts.count, blank: 0) { (archive, line) throws(SnapshotError) in
                try archive.integer(&line, in: 0...counts.count - 1)
            }
        }
    }
}

/// One function's interrupts, as its device model raises them.
final class FunctionInterrupts: InterruptPort, InterruptMessageSink {
    private unowned let function: PCIFunction

    init(_ function: PCIFunction) { self.function = function }

    var isMSIXEnabled: Bool { function.isMSIXEnabled }
    var vectorCount: Int { function.vectorCount }
    func raise(vector: Int) { function.raise(vector) }
    func driveLine(_ level: Bool) { function.driveLine(level) }
    func interruptMessage(_ vector: Int, at cycle: UInt64) { function.raise(vector) }
}
