import Registers
import Tracing

/// Sees every register access of both sides and passes it on to a trace.
///
/// The register block tells what happened in the register; whoever made the access says when it was issued and how it came back. Accesses
/// that met no register are recorded by their address.
final class AccessRecorder: RegisterObserver {
    /// Whether anything is recorded.
    private(set) var isRecording = false
    var writer: TraceWriter? { didSet { update() } }
    /// Hash over all events while set, for comparing runs: FNV-1a (Fowler, Noll, Vo) over 64-bit words.
    var digest: UInt64? { didSet { update() } }
    /// Is given every event while set.
    var listener: ((AccessEvent) -> Void)? { didSet { update() } }

    private func update() { isRecording = writer != nil || digest != nil || listener != nil }

    static let digestStart: UInt64 = 0xcbf2_9ce4_8422_2325

    /// By block number: the catalogue's number of the block's first register.
    private var firstRegister: [UInt16] = []
    /// By block number and register: the mask for the byte inside the register.
    private var byteMasks: [[UInt8]] = []
    private var last: RegisterEvent?

    /// Numbers a block for its events.
    /// - Returns: the number that its ``RegisterBlock`` is to have.
    func addBlock(bus: DeviceBus, named name: String) -> Int {
        let blocks = bus.map.blocks
        guard let place = blocks.firstIndex(where: { $0.name == name }) else { preconditionFailure("no block \(name) on \(bus.map.name)") }
        firstRegister.append(RegisterCatalogue.device.identifier(bus: bus.rawValue, block: place))
        byteMasks.append(blocks[place].map.registers.map { UInt8($0.width / 8 - 1) })
        return firstRegister.count - 1
    }

    func registerAccessed(_ event: borrowing RegisterEvent) {
        if event.register != nil { last = copy event }
    }

    /// The access has come back.
    func finish(_ access: BusAccess, address: UInt64, bus: DeviceBus, issued: UInt64, status: BusStatus) {
        var record = AccessEvent(
            time: issued, wait: access.time &- issued, initiator: access.initiator, origin: UInt32(truncatingIfNeeded: access.origin),
            isWrite: access.isWrite, size: access.size, status: status, target: .address(address, bus: UInt8(bus.rawValue)), old: 0,
            new: access.value)
        if let event = last, let register = event.register {
            last = nil
            let byte = UInt8(truncatingIfNeeded: event.access.address) & byteMasks[event.block][register.rawValue]
            record.target = .register(
                firstRegister[event.block] &+ UInt16(truncatingIfNeeded: register.rawValue),
                element: UInt16(truncatingIfNeeded: event.element), byte: byte)
            record.old = event.old
            record.new = event.new
        }
        writer?.record(record)
        listener?(record)
        if digest != nil { add(record) }
    }

    private func add(_ event: AccessEvent) {
        var hash = digest!
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
        digest = hash
    }
}
