import Interconnect
import RegisterMaps
import Registers
import Simulation

/// AUDIT: counts by owner what isolation has refused, keeps a record of each, and compares the keys of owners. Theory of operation and
/// programmer's guide: regmaps/audit/README.md.
public final class AuditUnit: BusTarget, RegisterModel, IsolationObserver, KeyGuard, ArchivedModel {
    public static let owners = 65
    /// Records that wait at most, of all owners and of one: who makes a great many hides nobody else's.
    public static let capacity = 64, capacityPerOwner = 8

    /// One record.
    struct Record: Hashable, Sendable {
        var cycle: Cycle = 0
        var address: UInt64 = 0
        /// As RECORD has it.
        var what: UInt64 = 0
    }

    /// All that changes, beside the register values.
    public struct State: Sendable {
        /// Oldest first.
        var records: [Record] = []
        var lost: UInt16 = 0
        /// By owner; 0: none.
        var keys = [UInt64](repeating: 0, count: owners)
    }

    public let registers: RegisterBlock
    /// The block's interrupt.
    public let interrupt = Wire("audit")
    public private(set) var state = State()

    /// - Parameter number: the number of the first register, for traces.
    public init(number: Int = 0) {
        registers = RegisterBlock(AUDIT.map, number: number)
    }

    /// A reset of the device: nothing has happened, and nobody has a key.
    public func reset(_ kind: ResetKind) {
        registers.reset(kind)
        state = State()
        settle()
    }

    // MARK: The firmware's side

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }
    public func peek(_ address: UInt64, size: Int) -> UInt64? { registers.peek(address, size: size) }

    public func didRead(_ register: RegisterIndex, _ element: Int, value: UInt64, _ access: BusAccess) {
        guard case AUDIT.RECORD = register, !state.records.isEmpty else { return }
        state.records.removeFirst()
        showRecords()
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case AUDIT.INTR_TEST: registers[AUDIT.INTR_STATE] |= new
        case AUDIT.KEY_COMMAND: performKeyCommand(new, at: access.time)
        case AUDIT.REPORT: report(new, at: access.time)
        default: break
        }
        settle()
    }

    // MARK: Keys

    private func performKeyCommand(_ command: UInt64, at cycle: Cycle) {
        let key = registers[AUDIT.KEY_HI] << 32 | registers[AUDIT.KEY_LO]
        let owner = Int(AUDIT.KEY_COMMAND.owner.value(in: command))
        registers[AUDIT.KEY_LO] = 0
        registers[AUDIT.KEY_HI] = 0
        registers[AUDIT.KEY_COMMAND] = 0
        guard owner < Self.owners else { return registers[AUDIT.KEY_RESULT.granted] = 0 }
        switch AUDIT.Operation(rawValue: AUDIT.KEY_COMMAND.operation.value(in: command)) {
        case .set:
            state.keys[owner] = key
            showKeyed()
        case .check:
            let isGranted = opens(Owner(rawValue: UInt8(owner)), with: key)
            registers[AUDIT.KEY_RESULT.granted] = isGranted ? 1 : 0
            // The firmware asks for whoever sent a command: only the host can.
            if !isGranted { refused(.key, to: .host, holder: Owner(rawValue: UInt8(owner)), address: 0, at: cycle) }
        default: break
        }
    }

    public func opens(_ owner: Owner, with key: UInt64) -> Bool {
        guard state.keys.indices.contains(Int(owner.rawValue)) else { return true }
        let own = state.keys[Int(owner.rawValue)]
        return own == 0 || own == key
    }

    private func showKeyed() {
        for word in 0..<3 {
            var bits: UInt64 = 0
            for owner in word * 32..<min(word * 32 + 32, Self.owners) where state.keys[owner] != 0 { bits |= 1 << UInt64(owner % 32) }
            registers[AUDIT.KEYED, word] = bits
        }
    }

    // MARK: What was refused

    public func refused(_ violation: Violation, to owner: Owner, holder: Owner, address: UInt64, at cycle: Cycle) {
        let offender = Int(owner.rawValue) < Self.owners ? Int(owner.rawValue) : 0
        switch violation {
        case .dma: countUp(AUDIT.OWNER_DMA, offender)
        case .access: countUp(AUDIT.OWNER_ACCESS, offender)
        case .doorbell: countUp(AUDIT.OWNER_DOORBELL, offender)
        case .queue: countUp(AUDIT.OWNER_QUEUE, offender)
        case .memory: countUp(AUDIT.OWNER_MEMORY, offender)
        case .interrupt: countUp(AUDIT.OWNER_INTERRUPT, offender)
        case .key: countUp(AUDIT.OWNER_KEY, offender)
        case .configuration: countUp(AUDIT.OWNER_CONFIGURATION, offender)
        case .image: countUp(AUDIT.OWNER_IMAGE, offender)
        }
        let who = AUDIT.RECORD.owner.inserting(UInt64(offender), in: 0)
        let ofOwner = state.records.reduce(0) { $0 + (AUDIT.RECORD.owner.value(in: $1.what) == UInt64(offender) ? 1 : 0) }
        if state.records.count < Self.capacity, ofOwner < Self.capacityPerOwner {
            let what = AUDIT.RECORD.kind.inserting(UInt64(violation.rawValue), in: who)
            state.records.append(
                Record(cycle: cycle, address: address, what: AUDIT.RECORD.holder.inserting(UInt64(holder.rawValue), in: what)))
            registers.raise(AUDIT.INTR_STATE.recorded)
        } else {
            if state.lost < .max { state.lost += 1 }
            registers.raise(AUDIT.INTR_STATE.overflow)
        }
        showRecords()
        settle()
    }

    private func report(_ report: UInt64, at cycle: Cycle) {
        registers[AUDIT.REPORT] = 0
        guard let violation = Violation(rawValue: UInt8(AUDIT.REPORT.kind.value(in: report))) else { return }
        refused(
            violation, to: Owner(rawValue: UInt8(AUDIT.REPORT.owner.value(in: report))),
            holder: Owner(rawValue: UInt8(AUDIT.REPORT.holder.value(in: report))),
            address: AUDIT.REPORT.detail.value(in: report), at: cycle)
    }

    private func countUp(_ register: some RegisterArrayKey, _ owner: Int) {
        registers[register, owner] = min(registers[register, owner] &+ 1, 0xffff_ffff)
    }

    private func showRecords() {
        let oldest = state.records.first ?? Record()
        registers[AUDIT.RECORD_CYCLE] = oldest.cycle
        registers[AUDIT.RECORD_ADDRESS] = oldest.address
        registers[AUDIT.RECORD] = oldest.what
        registers[AUDIT.LEVEL.waiting] = UInt64(state.records.count)
        registers[AUDIT.LEVEL.lost] = UInt64(state.lost)
    }

    private func settle() { interrupt.drive(registers.interrupt) }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("audit") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            let fields = AUDIT.RECORD.kind.mask | AUDIT.RECORD.owner.mask | AUDIT.RECORD.holder.mask
            try archive.array(&state.records, limit: Self.capacity, blank: Record()) { (archive, record) throws(SnapshotError) in
                try archive.integer(&record.cycle)
                try archive.integer(&record.address)
                try archive.integer(&record.what)
                try archive.require(record.what & ~fields == 0, "expected a record, found 0x\(String(record.what, radix: 16))")
            }
            try archive.integer(&state.lost)
            try archive.integers(&state.keys)
            try interrupt.archive(&archive)
        }
    }
}
