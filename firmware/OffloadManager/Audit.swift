import AdminProtocol
import Hardware
import PolicyEngine

/// What hardware has refused (regmaps/audit/README.md): passes its records on as events, and keeps each owner's latest one.
struct Audit {
    private let unit: AUDIT
    /// By owner: address and cycle of the latest record, and its RECORD.
    private let addresses: Table<UInt64>
    private let cycles: Table<UInt64>
    private let latest: Table<UInt32>
    private var records: UInt32 = 0
    /// Records that are read until the next tick: whoever is refused without end costs the firmware no more than that.
    private var allowance = perTick

    static let perTick = 8

    init(_ unit: AUDIT, in arena: inout Arena) {
        self.unit = unit
        addresses = arena.table(of: PolicyEngine.owners, repeating: 0)
        cycles = arena.table(of: PolicyEngine.owners, repeating: 0)
        latest = arena.table(of: PolicyEngine.owners, repeating: 0)
    }

    func enableInterrupts() { unit.intrEnable = .init(recorded: true) }

    /// Reads what was recorded, as far as the allowance goes.
    mutating func service(_ events: inout EventRing) {
        unit.write(AUDIT.INTR_STATE(recorded: true))
        while unit.level.waiting != 0 {
            guard allowance > 0 else { unit.intrEnable = .init(); return }
            allowance &-= 1
            let (cycle, address) = (unit.recordCycle.cycle, unit.recordAddress.address)
            let record = unit.record
            let owner = min(Int(record.owner), PolicyEngine.owners &- 1)
            (addresses[owner], cycles[owner], latest[owner]) = (address, cycle, record.rawValue)
            records &+= 1
            events.post(
                .isolationDenied, owner: owner, severity: .warning, at: cycle, address,
                UInt64(record.holder) | UInt64(record.rawValue & 0xff) << 32)
        }
    }

    /// Every ten milliseconds.
    mutating func tick(_ events: inout EventRing) {
        let wasUsedUp = allowance == 0
        allowance = Self.perTick
        guard wasUsedUp else { return }
        service(&events)
        if allowance > 0 { enableInterrupts() }
    }

    /// The host agent has sent an image for a component that it can't be.
    func reportImage(of owner: Int, reason: UInt16) {
        unit.write(AUDIT.REPORT(kind: .image, owner: 0, holder: UInt32(truncatingIfNeeded: owner), detail: UInt32(reason) & 0xff))
    }

    // MARK: Keys

    func isKeyed(_ owner: Int) -> Bool { unit.keyed[owner >> 5].owners >> UInt32(owner & 31) & 1 != 0 }

    /// Whether some owner has a key.
    var hasKeys: Bool { unit.keyed[0].owners | unit.keyed[1].owners | unit.keyed[2].owners != 0 }

    /// Whether a command with this key may concern the owner. Hardware compares; it counts and records what it refuses.
    func permits(_ owner: Int, _ key: UInt64) -> Bool {
        guard isKeyed(owner) else { return true }
        command(.check, owner, key)
        return unit.keyResult.granted
    }

    func set(_ key: UInt64, of owner: Int) { command(.set, owner, key) }

    private func command(_ operation: AUDIT.Operation, _ owner: Int, _ key: UInt64) {
        unit.write(AUDIT.KEY_LO(key: UInt32(truncatingIfNeeded: key)))
        unit.write(AUDIT.KEY_HI(key: UInt32(truncatingIfNeeded: key >> 32)))
        unit.write(AUDIT.KEY_COMMAND(owner: UInt32(truncatingIfNeeded: owner), operation: operation))
    }

    // MARK: The audit page

    func header(first: Int, entries: UInt32) -> AuditHeader {
        var header = AuditHeader()
        header.firstOwner = UInt16(truncatingIfNeeded: first)
        header.entries = UInt16(truncatingIfNeeded: entries)
        header.records = records
        header.lost = unit.level.lost
        return header
    }

    func entry(of owner: Int) -> AuditEntry {
        var entry = AuditEntry()
        entry.owner = UInt8(truncatingIfNeeded: owner)
        entry.flags = isKeyed(owner) ? AuditEntry.keyed : 0
        let record = AUDIT.RECORD(rawValue: latest[owner])
        entry.kind = UInt8(truncatingIfNeeded: record.rawValue)
        entry.holder = UInt8(truncatingIfNeeded: record.holder)
        (entry.cycle, entry.address) = (cycles[owner], addresses[owner])
        let counts = unit.owner[owner]
        entry.counts = [
            counts.dma.count, counts.access.count, counts.doorbell.count, counts.queue.count, counts.memory.count,
            counts.interrupt.count, counts.key.count, counts.configuration.count, counts.image.count,
        ]
        return entry
    }
}

extension OffloadManager {
    func auditPage(_ select: StatisticsRequest, _ request: Request) -> Answer {
        let first = Int(select.firstOwner)
        guard first < PolicyEngine.owners else { return Answer(.invalid, .field) }
        let wanted = UInt32(min(Int(select.owners), PolicyEngine.owners - first))
        let (headerBytes, entryBytes) = (UInt32(AuditHeader.byteCount), UInt32(AuditEntry.byteCount))
        let entries = min(wanted, (request.room &- headerBytes) / entryBytes)
        let start = UInt32(AdminResult.byteCount)
        put(audit.header(first: first, entries: entries), at: start, in: request.chain)
        for index in 0..<entries {
            put(audit.entry(of: first &+ Int(index)), at: start &+ headerBytes &+ index &* entryBytes, in: request.chain)
        }
        return Answer(.ok, resultBytes: headerBytes &+ wanted &* entryBytes, written: headerBytes &+ entries &* entryBytes)
    }

    /// Whether a page may show an owner: one that has a key is shown to who asks for it alone, with its key.
    func mayShow(_ owner: Int, _ select: StatisticsRequest, _ request: Request) -> Bool {
        guard audit.isKeyed(owner) else { return true }
        return select.owners == 1 && audit.permits(owner, request.key)
    }
}
