import Registers
import Tracing

/// Sees every register access of both sides and passes it on to a trace.
///
/// The register block tells what happened in the register; whoever made the access says when it was issued and how it came back. Accesses
/// that met no register are recorded by their address.
final class AccessRecorder: RegisterObserver {
    /// In raw memory: with a trace on, every register access passes here several times.
    private struct State {
        var isRecording = false
        var digest: UInt64?
        /// `writer`, which owns the reference.
        var writer: Unmanaged<TraceWriter>?
        var hasListener = false

        // What the register said since `begin()`.
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
    var listener: ((AccessEvent) -> Void)? { didSet { update() } }
    /// Hash over all events while set, for comparing runs: FNV-1a (Fowler, Noll, Vo) over 64-bit words.
    var digest: UInt64? {
        get { state.pointee.digest }
        set {
            state.pointee.digest = newValue
            update()
        }
    }

    static let digestStart: UInt64 = 0xcbf2_9ce4_8422_2325

    init() {
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
        state.pointee.isRecording = writer != nil || listener != nil || state.pointee.digest != nil
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
    @inline(__always) func begin() { state.pointee.hasRegister = false }

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
        if last.hasListener { listener?(event) }
        if last.digest != nil { add(event) }
    }

    private func add(_ event: AccessEvent) {
        guard var hash = state.pointee.digest else { return }
        func mix(_ word: UInt64) { hash = (hash ^ word) &* 0x100_0000_01b3 }
        mix(event.time)
        mix(event.wait)
        mix(UInt64(event.initiator.rawValue) | UInt64(event.origin) << 32 | (event.isWrite ? 1 << 16 : 0) | UInt64(event.size) << 24)
        mix(UInt64(event.status.rawValue))
        switch event.target {
        case .register(let register, let element, let byte): mix(UInt64(register) | UInt64(element) << 16 | UInt64(byte) << 32)
        case .address(let address, let bus): mix(address ^ UInt64(bus) << 56)
        }
        mix(event.old)
        mix(event.new)
        state.pointee.digest = hash
    }
}
