import Peripherals
import Registers
import Simulation
import Tracing

/// Makes events of all that happens in the device and passes them on to a trace. `TraceRecorder+Events.swift` has what models tell.
///
/// Of a register access, the register block tells what happened in the register; whoever made the access says when it was issued and how
/// it came back. Accesses that met no register are recorded by their address.
final class TraceRecorder: RegisterObserver {
    /// In raw memory: with a trace on, every register access passes here several times.
    private struct State {
        var isRecording = false
        var digest: TraceDigest?
        /// `writer`, which owns the reference.
        var writer: Unmanaged<TraceWriter>?
        var hasListener = false

        /// Cycle at which the access that is under way was issued.
        var issued: UInt64 = 0
        // What the register said since `begin(at:)`.
        var hasRegister = false
        var register: UInt16 = 0
        var element: UInt16 = 0
        var byte: UInt8 = 0
        var old: UInt64 = 0
        var new: UInt64 = 0
    }

    /// What events of one block have to be told in.
    private struct Block {
        /// The catalogue's number of the block's first register.
        var firstRegister: UInt16
        /// By register: the mask for the byte inside it.
        var byteMasks: UnsafeMutablePointer<UInt8>
    }

    private let state: UnsafeMutablePointer<State>
    private let blocks: UnsafeMutablePointer<Block>
    private var blockCount = 0
    private static let blockCapacity = 128

    /// Takes the trace while set.
    var writer: TraceWriter? { didSet { update() } }
    /// Is given every event while set.
    var listener: ((TraceEvent) -> Void)? { didSet { update() } }
    /// Is told when recording begins and ends: models have their sink only meanwhile.
    var onChange: ((_ isRecording: Bool) -> Void)?
    /// Hash over all events while set.
    var digest: TraceDigest? {
        get { state.pointee.digest }
        set {
            state.pointee.digest = newValue
            update()
        }
    }

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
        blocks = .allocate(capacity: Self.blockCapacity)
    }

    deinit {
        for block in 0..<blockCount { blocks[block].byteMasks.deallocate() }
        blocks.deallocate()
        state.deallocate()
    }

    private func update() {
        state.pointee.writer = writer.map(Unmanaged.passUnretained)
        state.pointee.hasListener = listener != nil
        let isRecording = writer != nil || listener != nil || state.pointee.digest != nil
        guard isRecording != state.pointee.isRecording else { return }
        state.pointee.isRecording = isRecording
        onChange?(isRecording)
    }

    /// Whether anything is recorded.
    @inline(__always) var isRecording: Bool { state.pointee.isRecording }

    /// Numbers a block for its events.
    /// - Returns: the number that its ``RegisterBlock`` is to have.
    func addBlock(bus: DeviceBus, named name: String) -> Int {
        let all = bus.map.blocks
        guard let place = all.firstIndex(where: { $0.name == name }) else { preconditionFailure("no block \(name) on \(bus.map.name)") }
        precondition(blockCount < Self.blockCapacity, "more than \(Self.blockCapacity) register blocks")
        let registers = all[place].map.registers
        let masks = UnsafeMutablePointer<UInt8>.allocate(capacity: registers.count)
        for (index, register) in registers.enumerated() { masks[index] = UInt8(register.width / 8 - 1) }
        blocks.advanced(by: blockCount).initialize(
            to: Block(firstRegister: RegisterCatalogue.device.identifier(bus: bus.rawValue, block: place), byteMasks: masks))
        blockCount += 1
        return blockCount - 1
    }

    /// An access is about to be made.
    @inline(__always) func begin(at issued: UInt64) {
        state.pointee.hasRegister = false
        state.pointee.issued = issued
    }

    /// When the latest access was issued.
    var issued: UInt64 { state.pointee.issued }

    func registerAccessed(_ event: borrowing RegisterEvent) {
        guard let register = event.register else { return }
        let block = blocks[event.block]
        state.pointee.hasRegister = true
        state.pointee.register = block.firstRegister &+ UInt16(truncatingIfNeeded: register.rawValue)
        state.pointee.element = UInt16(truncatingIfNeeded: event.element)
        state.pointee.byte = UInt8(truncatingIfNeeded: event.access.address) & block.byteMasks[register.rawValue]
        state.pointee.old = event.old
        state.pointee.new = event.new
    }

    /// The access has come back.
    func finish(_ access: borrowing BusAccess, address: UInt64, bus: DeviceBus, issued: UInt64, status: BusStatus) {
        let last = state.pointee
        let target: AccessEvent.Target = last.hasRegister
            ? .register(last.register, element: last.element, byte: last.byte)
            : .address(address, bus: UInt8(truncatingIfNeeded: bus.rawValue))
        let event = AccessEvent(
            time: issued, wait: access.time &- issued, initiator: access.initiator, origin: UInt32(truncatingIfNeeded: access.origin),
            isWrite: access.isWrite, size: access.size, status: status, target: target, old: last.hasRegister ? last.old : 0,
            new: last.hasRegister ? last.new : access.value)
        last.writer?._withUnsafeGuaranteedRef { $0.record(event) }
        if last.hasListener { listener?(.access(event)) }
        state.pointee.digest?.add(.access(event))
    }

    /// Passes on what is no access.
    func record(_ event: TraceEvent) {
        state.pointee.writer?._withUnsafeGuaranteedRef { $0.record(event) }
        if state.pointee.hasListener { listener?(event) }
        state.pointee.digest?.add(event)
    }
}
