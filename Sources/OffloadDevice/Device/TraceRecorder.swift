import Peripherals
import Registers
import Simulation
import Tracing

/// Makes events of all that happens in the device and passes them on to a trace. `TraceRecorder+Events.swift` has what models tell.
///
/// Of a register access, the register block tells what happened in the register; whoever made the access says when it was issued and how
/// it came back. Accesses that met no register are recorded by their address.
final class TraceRecorder {
    /// In raw memory: with a trace on, every register access passes here twice.
    private struct State {
        /// What the access that is under way has met.
        var tap = RegisterTap()
        var isRecording = false
        /// Of `writer`, which keeps it, while nobody else is to be told.
        var producer: UnsafeMutablePointer<EventProducer>?
        /// Cycle at which the access that is under way was issued.
        var issued: UInt64 = 0
    }

    private let state: UnsafeMutablePointer<State>
    /// Where register blocks leave what the access that is under way has met.
    var tap: UnsafeMutablePointer<RegisterTap> { withUnsafeMutablePointer(to: &state.pointee.tap) { $0 } }

    /// Takes the trace while set.
    var writer: TraceWriter? { didSet { update() } }
    /// Is given every event while set.
    var listener: ((TraceEvent) -> Void)? { didSet { update() } }
    /// Is told of every access to a register while set.
    var coverage: RegisterCoverage? { didSet { update() } }
    /// Is told when recording begins and ends: models have their sink only meanwhile.
    var onChange: ((_ isRecording: Bool) -> Void)?

    /// Tells the time of what models tell.
    let scheduler: Scheduler
    /// The firmware's own records.
    var firmwareTrace: FirmwareTrace

    /// - Parameter memory: where the firmware keeps its own records.
    init(on scheduler: Scheduler, memory: MemoryPages) {
        self.scheduler = scheduler
        firmwareTrace = FirmwareTrace(in: memory)
        state = .allocate(capacity: 1)
        state.initialize(to: State())
    }

    deinit { state.deallocate() }

    private func update() {
        let hasListener = listener != nil || coverage != nil
        state.pointee.producer = hasListener ? nil : writer?.producer
        let isRecording = writer != nil || hasListener
        guard isRecording != state.pointee.isRecording else { return }
        state.pointee.isRecording = isRecording
        onChange?(isRecording)
    }

    /// Whether anything is recorded.
    @inline(__always) var isRecording: Bool { state.pointee.isRecording }

    /// - Returns: the number that a block's ``RegisterBlock`` is to have.
    func addBlock(bus: DeviceBus, named name: String) -> Int {
        guard let place = bus.map.blocks.firstIndex(where: { $0.name == name }) else {
            preconditionFailure("no block \(name) on \(bus.map.name)")
        }
        return Int(RegisterCatalogue.device.identifier(bus: bus.rawValue, block: place))
    }

    /// An access is about to be made.
    @inline(__always) func begin(at issued: UInt64) {
        state.pointee.tap.place = RegisterTap.none
        state.pointee.issued = issued
    }

    /// When the latest access was issued.
    var issued: UInt64 { state.pointee.issued }

    /// The access has come back. `inout`: passed otherwise, it would be copied, which costs more than all that is done with it.
    @inline(__always)
    func finish(_ access: inout BusAccess, address: UInt64, bus: DeviceBus, issued: UInt64, status: BusStatus) {
        guard let producer = state.pointee.producer else { return tell(&access, address, bus, issued, status) }
        producer.pointee.append(RawEvent(&access, address: address, bus: bus.rawValue, issued: issued, status: status, tap: tap))
    }

    @inline(never)
    private func tell(_ access: inout BusAccess, _ address: UInt64, _ bus: DeviceBus, _ issued: UInt64, _ status: BusStatus) {
        let event = RawEvent(&access, address: address, bus: bus.rawValue, issued: issued, status: status, tap: tap)
        writer?.producer.pointee.append(event)
        guard let event = event.event() else { return }
        listener?(event)
        if let coverage, case .access(let event) = event { coverage.add(event) }
    }

    /// Passes on what is no access.
    func record(_ event: TraceEvent) {
        writer?.record(event)
        listener?(event)
    }
}
