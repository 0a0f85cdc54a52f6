import Interconnect
import RegisterMaps
import Registers
import Simulation

/// LOG, the logging engine: records what device DMA writes to each owner's memory, as extents in a ring per owner and as dirty bitmaps.
/// Theory of operation and programmer's guide: regmaps/log/README.md.
public final class LoggingEngine: BusTarget, RegisterModel, DeadlineTarget, DMAObserver, ArchivedModel {
    static let owners = 65

    /// All that changes, beside the register values and the rings in shared memory.
    public struct State: Sendable {
        var logs = [ExtentLog](repeating: ExtentLog(), count: owners)
        /// The engine is storing a record: its own DMA isn't logged.
        var isStoring = false
    }

    /// The firmware's registers.
    public let registers: RegisterBlock
    /// The host's registers, in the physical function's BAR0.
    public let host: HostWindow
    /// The block's interrupt.
    public let interrupt = Wire("log")
    /// Each frame passes here; nothing comes in from outside while it is at work.
    @exclusivity(unchecked) public internal(set) var state = State()

    /// Bus addresses of shared memory, where rings may lie.
    let sharedMemory: Range<UInt64>
    private let memory: any DMAPort
    let scheduler: Scheduler
    private var flushDue: Deadline!

    /// - Parameters:
    ///   - memory: the way to shared memory, at the bus addresses `sharedMemory`.
    ///   - logNumber: the number of the first of the firmware's registers, for traces.
    ///   - hostNumber: the same for the host's.
    public init(
        memory: any DMAPort, sharedMemory: Range<UInt64>, on scheduler: Scheduler, logNumber: Int = 0, hostNumber: Int = 1
    ) {
        self.memory = memory
        self.sharedMemory = sharedMemory
        self.scheduler = scheduler
        registers = RegisterBlock(LOG.map, number: logNumber)
        host = HostWindow(number: hostNumber)
        host.engine = self
        flushDue = Deadline("log.flush", on: scheduler, target: self)
    }

    /// A reset of the device: all logs stop and are forgotten. The host's window is reset by the physical function's reset alone.
    public func reset(_ kind: ResetKind) {
        if kind == .functionLevel { return host.registers.reset(kind) }
        flushDue.cancel()
        registers.reset(kind)
        host.registers.reset(kind)
        state = State()
        settle()
    }

    // MARK: The data path's side

    public func memoryWritten(owner: Owner, address: UInt64, bytes: Int, at cycle: Cycle) {
        let number = Int(owner.rawValue)
        guard bytes > 0, number < Self.owners, state.logs[number].isActive, !state.isStoring else { return }
        let wasOutside = state.logs[number].bitmap.isOutside
        let wasOpen = state.logs[number].open != nil
        let closed = state.logs[number].write(address, bytes: UInt64(bytes), at: cycle)
        if let closed { store(closed, number, at: cycle) }
        if !wasOutside && state.logs[number].bitmap.isOutside { attend(number, LOG.INTR_STATE.outside) }
        if closed != nil || !wasOpen { armFlush(for: number) }
        settle()
    }

    /// Stores the record of a closed extent in the owner's ring.
    private func store(_ extent: Extent, _ owner: Int, at cycle: Cycle) {
        guard let (words, address) = state.logs[owner].record(extent, owner: UInt8(owner)) else {
            return attend(owner, LOG.INTR_STATE.lost)
        }
        var bytes = (words.0.littleEndian, words.1.littleEndian, words.2.littleEndian, words.3.littleEndian)
        state.isStoring = true
        let status = withUnsafeBytes(of: &bytes) { memory.write(address, from: $0) }
        state.isStoring = false
        guard status == .ok else { return stop(owner, error: .store) }
        state.logs[owner].head &+= 1
        let watermark = registers[LOG.OWNER_WATERMARK, owner]
        if watermark != 0 && UInt64(state.logs[owner].waiting) >= watermark { attend(owner, LOG.INTR_STATE.watermark) }
    }

    /// Closes the owner's open extent, if there is one, and stores it.
    func flush(_ owner: Int, at cycle: Cycle) {
        guard owner < Self.owners, let extent = state.logs[owner].close() else { return }
        store(extent, owner, at: cycle)
        settle()
    }

    private func attend(_ owner: Int, _ cause: FieldKey<LOG.Keys.INTR_STATE>) {
        registers[LOG.ATTENTION, owner / 32] |= 1 << UInt64(owner % 32)
        registers.raise(cause)
    }

    // MARK: Flushing by time

    /// Arms the flush for an extent that was just opened, unless an older one is due first.
    private func armFlush(for owner: Int) {
        let interval = registers[LOG.FLUSH_INTERVAL]
        guard interval != 0, let extent = state.logs[owner].open else { return }
        let due = extent.cycle &+ interval
        if due < flushDue.due ?? .max { flushDue.arm(at: due) }
    }

    public func deadlineReached(_ tag: Int, at cycle: Cycle) {
        let interval = registers[LOG.FLUSH_INTERVAL]
        guard interval != 0 else { return }
        for owner in 0..<Self.owners {
            if let extent = state.logs[owner].open, extent.cycle &+ interval <= cycle { flush(owner, at: cycle) }
        }
        for owner in 0..<Self.owners { armFlush(for: owner) }
    }

    // MARK: Start and stop

    /// The unit that a granularity rounds extents to, as log2 of its bytes; nil: no records.
    static func unitShift(_ granularity: UInt64) -> UInt64? {
        switch granularity {
        case 0: nil
        case 1..<25: 20
        case 25..<50: 16
        case 50..<75: 14
        case 75..<100: 12
        default: 0
        }
    }

    private func start(_ owner: Int) {
        let control = registers[LOG.OWNER_CONTROL, owner]
        let pageShift = LOG.OWNER_CONTROL.page_shift.value(in: control)
        let base = registers[LOG.OWNER_REGION_HI, owner] << 32 | registers[LOG.OWNER_REGION_LO, owner]
        let pages = registers[LOG.OWNER_REGION_PAGES, owner]
        let ring = registers[LOG.OWNER_RING_BASE, owner]
        let records = registers[LOG.OWNER_RING_SIZE, owner]
        let unit = Self.unitShift(LOG.OWNER_CONTROL.granularity.value(in: control))
        if let error = regionError(base, pages, pageShift) ?? ringError(owner, ring, records) { return stop(owner, error: error) }
        state.logs[owner].start(
            ringBase: ring, ringRecords: UInt32(records), unitShift: unit,
            bitmap: DirtyBitmap(base: base, pages: Int(pages), pageShift: pageShift))
        registers[LOG.OWNER_STATUS, owner] = LOG.OWNER_STATUS.active.mask
        showActive(owner, true)
    }

    private func regionError(_ base: UInt64, _ pages: UInt64, _ pageShift: UInt64) -> LOG.LogError? {
        guard DirtyBitmap.pageShifts.contains(pageShift) else { return .page }
        guard (1...UInt64(DirtyBitmap.mostPages)).contains(pages), base & ((1 << pageShift) - 1) == 0 else { return .region }
        return base.addingReportingOverflow((pages << pageShift) - 1).overflow ? .region : nil
    }

    private func ringError(_ owner: Int, _ base: UInt64, _ records: UInt64) -> LOG.LogError? {
        guard (16...UInt64(ExtentLog.mostRecords)).contains(records), records & (records - 1) == 0 else { return .size }
        guard base % ExtentLog.recordBytes == 0 else { return .alignment }
        let bytes = records * ExtentLog.recordBytes
        guard sharedMemory.contains(base), bytes <= sharedMemory.upperBound - base else { return .range }
        let overlaps = state.logs.indices.contains {
            let other = state.logs[$0]
            return $0 != owner && other.isActive && base < other.ringBase + other.ringBytes && other.ringBase < base + bytes
        }
        return overlaps ? .overlap : nil
    }

    /// Stops the owner's log, or leaves it stopped, and says why. The bitmap and the ring stay as they are.
    private func stop(_ owner: Int, error: LOG.LogError) {
        state.logs[owner].isActive = false
        registers[LOG.OWNER_CONTROL.enable, owner] = 0
        registers[LOG.OWNER_STATUS.active, owner] = 0
        registers[LOG.OWNER_STATUS.error, owner] = error.rawValue
        showActive(owner, false)
        if error != .none { attend(owner, LOG.INTR_STATE.error) }
    }

    private func showActive(_ owner: Int, _ isActive: Bool) {
        let bit: UInt64 = 1 << UInt64(owner % 32)
        if isActive { registers[LOG.ACTIVE, owner / 32] |= bit } else { registers[LOG.ACTIVE, owner / 32] &= ~bit }
    }

    // MARK: The firmware's side

    public func access(_ access: inout BusAccess) -> BusStatus {
        let status = registers.access(&access, model: self)
        if access.isWrite { settle() }
        return status
    }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        for owner in 0..<Self.owners { show(owner) }
        return registers.peek(address, size: size, model: self)
    }

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        switch register {
        case LOG.OWNER_STATUS, LOG.OWNER_HEAD, LOG.OWNER_TAIL, LOG.OWNER_LOST, LOG.OWNER_DIRTY, LOG.OWNER_SEQUENCE, LOG.OWNER_WRITTEN:
            show(element)
        default: break
        }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case LOG.INTR_TEST: registers[LOG.INTR_STATE] |= new
        case LOG.OWNER_CONTROL: controlWritten(element, old, new, at: access.time)
        case LOG.OWNER_TAIL: state.logs[element].consume(to: UInt32(truncatingIfNeeded: new))
        case LOG.FLUSH_INTERVAL:
            flushDue.cancel()
            for owner in 0..<Self.owners { armFlush(for: owner) }
        default: break
        }
    }

    private func controlWritten(_ owner: Int, _ old: UInt64, _ new: UInt64, at cycle: Cycle) {
        let enable = LOG.OWNER_CONTROL.enable
        switch (enable.isSet(in: old), enable.isSet(in: new)) {
        case (false, true): start(owner)
        case (true, false):
            flush(owner, at: cycle)
            stop(owner, error: .none)
        case (true, true):
            let unit = Self.unitShift(LOG.OWNER_CONTROL.granularity.value(in: new))
            if LOG.OWNER_CONTROL.flush.isSet(in: new) || unit != state.logs[owner].unitShift { flush(owner, at: cycle) }
            state.logs[owner].unitShift = unit
        case (false, false): break
        }
    }

    /// Brings the registers that follow an owner's log up to date.
    private func show(_ owner: Int) {
        let log = state.logs[owner]
        registers[LOG.OWNER_STATUS.open, owner] = log.open == nil ? 0 : 1
        registers[LOG.OWNER_STATUS.outside, owner] = log.bitmap.isOutside ? 1 : 0
        registers[LOG.OWNER_HEAD, owner] = UInt64(log.head)
        registers[LOG.OWNER_TAIL, owner] = UInt64(log.tail)
        registers[LOG.OWNER_LOST, owner] = UInt64(log.lost)
        registers[LOG.OWNER_DIRTY, owner] = UInt64(log.bitmap.dirty)
        registers[LOG.OWNER_SEQUENCE, owner] = log.sequence
        registers[LOG.OWNER_WRITTEN, owner] = log.written
    }

    public func access(_ access: inout BusAccess, window: WindowIndex) -> BusStatus {
        takeDirty(&access, select: registers[LOG.BITMAP_SELECT])
    }

    public func peek(_ offset: UInt64, size: Int, window: WindowIndex) -> UInt64? {
        peekDirty(offset, size: size, select: registers[LOG.BITMAP_SELECT])
    }

    // MARK: Harvest

    /// The owner and word that a byte offset in the bitmap window stands for; LOG and LOG_HOST select alike.
    private func selected(_ select: UInt64, _ offset: UInt64) -> (owner: Int, word: Int)? {
        let owner = Int(LOG.BITMAP_SELECT.owner.value(in: select))
        guard owner < Self.owners else { return nil }
        return (owner, Int(LOG.BITMAP_SELECT.chunk.value(in: select)) * 256 + Int(offset / 4))
    }

    /// Serves a read of the bitmap window: takes the word's bits.
    func takeDirty(_ access: inout BusAccess, select: UInt64) -> BusStatus {
        guard access.size == 4 else { return .wrongSize }
        guard access.address % 4 == 0 else { return .misaligned }
        access.value = selected(select, access.address).map { UInt64(state.logs[$0.owner].takeDirty($0.word)) } ?? 0
        return .ok
    }

    func peekDirty(_ offset: UInt64, size: Int, select: UInt64) -> UInt64? {
        guard size == 4, offset % 4 == 0 else { return nil }
        return selected(select, offset).map { UInt64(state.logs[$0.owner].bitmap[$0.word]) } ?? 0
    }

    private func settle() { interrupt.drive(registers.interrupt) }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        if !archive.isLoading {
            for owner in 0..<Self.owners {
                show(owner)
                host.show(owner)
            }
        }
        try archive.section("log") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try host.registers.archive(&archive)
            try archive.elements(&state.logs) { (archive, log) throws(SnapshotError) in try log.archive(&archive) }
            for log in state.logs where archive.isLoading && log.ringRecords != 0 {
                try archive.require(
                    sharedMemory.contains(log.ringBase) && log.ringBytes <= sharedMemory.upperBound - log.ringBase,
                    "expected a ring in shared memory, found one at 0x\(String(log.ringBase, radix: 16))")
            }
            try flushDue.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
