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
        var isRecording = false
        /// Of `writer`, which keeps it, while nobody else is to be told: accesses are put together in its slots.
        var producer: UnsafeMutablePointer<EventProducer>?
        /// Where accesses are put together otherwise.
        var scratch: UnsafeMutablePointer<RawEvent>
    }

    private let state: UnsafeMutablePointer<State>

    /// Takes the trace while set.
    var writer: TraceWriter? { didSet { update() } }
    /// Is given every event while set.
    var listener: ((TraceEvent) -> Void)? { didSet { update() } }
    /// Is told of every access to a register while set.
    var coverage: RegisterCoverage? { didSet { update() } }
    /// Is told when recording begins, ends, or goes on elsewhere: models have their sink only meanwhile. `tap` is where the pointer to the
    /// ``RegisterTap`` of the access that is under way is found, while something is recorded.
    var onChange: ((_ isRecording: Bool, _ tap: UnsafeRawPointer?) -> Void)?

    /// Tells the time of what models tell.
    let scheduler: Scheduler
    /// The firmware's own records.
    var firmwareTrace: FirmwareTrace

    /// - Parameter memory: where the firmware keeps its own records.
    init(on scheduler: Scheduler, memory: MemoryPages) {
        self.scheduler = scheduler
        firmwareTrace = FirmwareTrace(in: memory)
        let scratch = UnsafeMutablePointer<RawEvent>.allocate(capacity: 1)
        scratch.initialize(to: .zero)
        state = .allocate(capacity: 1)
        state.initialize(to: State(scratch: scratch))
    }

    deinit {
        state.pointee.scratch.deallocate()
        state.deallocate()
    }

    private func update() {
        let hasListener = listener != nil || coverage != nil
        let isRecording = writer != nil || hasListener
        let producer = hasListener ? nil : writer?.producer
        guard isRecording != state.pointee.isRecording || producer != state.pointee.producer else { return }
        (state.pointee.isRecording, state.pointee.producer) = (isRecording, producer)
        let scratch = withUnsafePointer(to: &state.pointee.scratch) { UnsafeRawPointer($0) }
        onChange?(isRecording, isRecording ? producer?.pointee.place ?? scratch : nil)
    }

    /// Where events go without a detour; nil while somebody else than the writer is to be told.
    var producer: UnsafeMutablePointer<EventProducer>? { state.pointee.producer }

    /// The access that is under way.
    @inline(__always)
    private var underWay: UnsafeMutablePointer<RawEvent> { state.pointee.producer?.pointee.slot ?? state.pointee.scratch }

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
    @inline(__always) func begin(at issued: UInt64) { underWay.pointee.begin(at: issued) }

    /// When the access that is under way was issued.
    var issued: UInt64 { underWay.pointee.time }

    /// The access has come back. `inout`: passed otherwise, it would be copied, which costs more than all that is done with it.
    @inline(__always)
    func finish(_ access: inout BusAccess, address: UInt64, bus: DeviceBus, status: BusStatus) {
        guard let producer = state.pointee.producer else { return tell(&access, address, bus, status) }
        producer.pointee.finish(&access, address: address, bus: bus.rawValue, status: status)
    }

    @inline(never)
    private func tell(_ access: inout BusAccess, _ address: UInt64, _ bus: DeviceBus, _ status: BusStatus) {
        state.pointee.scratch.pointee.finish(&access, address: address, bus: bus.rawValue, status: status)
        guard let event = state.pointee.scratch.pointee.event() else { return }
        record(event)
        if let coverage, case .access(let event) = event { coverage.add(event) }
    }

    /// Passes on what is no access.
    func record(_ event: TraceEvent) {
        writer?.record(event)
        listener?(event)
    }
}
