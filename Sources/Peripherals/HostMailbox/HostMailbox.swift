import Interconnect
import RegisterMaps
import Registers
import Simulation

/// What a host reads of the device in the registers of HOSTIF that never change.
public struct HostInterfaceIdentity: Sendable, Hashable {
    public var virtualFunctions: Int
    public var harts: Int
    /// Device cycles per second.
    public var clockHertz: UInt32
    /// Bus address and bytes of shared memory, the same for firmware and host.
    public var sharedMemory: Range<UInt64>

    public init(virtualFunctions: Int, harts: Int, clockHertz: UInt32 = 1_000_000_000, sharedMemory: Range<UInt64>) {
        self.virtualFunctions = virtualFunctions; self.harts = harts; self.clockHertz = clockHertz; self.sharedMemory = sharedMemory
    }
}

/// The mailbox between firmware and host: one piece of hardware with a register block on either side, MAILBOX and HOSTIF.
/// Theory of operation and programmer's guides: regmaps/mailbox/README.md and regmaps/hostif/README.md.
///
/// All its state is in the registers of the two sides.
public final class HostMailbox: ArchivedModel {
    /// What the firmware's bus reaches.
    public let firmware: FirmwareSide
    /// What the host reaches in the physical function's BAR0.
    public let host: HostSide
    /// Takes the interrupt messages for the host: the physical function.
    public weak var messages: (any InterruptMessageSink)?

    let identity: HostInterfaceIdentity
    private let scheduler: Scheduler

    /// - Parameters:
    ///   - mailboxNumber: the number of the first register on the firmware's side, for traces.
    ///   - hostifNumber: the same for the host's side.
    public init(_ identity: HostInterfaceIdentity, on scheduler: Scheduler, mailboxNumber: Int = 0, hostifNumber: Int = 1) {
        self.identity = identity
        self.scheduler = scheduler
        firmware = FirmwareSide(number: mailboxNumber)
        host = HostSide(number: hostifNumber)
        firmware.mailbox = self
        host.mailbox = self
        showIdentity()
    }

    private func showIdentity() {
        host.registers[HOSTIF.DEVICE.vfs] = UInt64(identity.virtualFunctions)
        host.registers[HOSTIF.DEVICE.harts] = UInt64(identity.harts)
        host.registers[HOSTIF.DEVICE.shared_mib] = UInt64(identity.sharedMemory.count) >> 20
        host.registers[HOSTIF.CLOCK] = UInt64(identity.clockHertz)
    }

    /// A reset: of everything (`powerOn`), of the device but not of what the host has set up (`hard`), or of the physical function
    /// (`functionLevel`). All of them disable the rings; only power-on clears the fault record.
    public func reset(_ kind: ResetKind) {
        let now = scheduler.now
        if kind != .functionLevel { firmware.registers.reset(kind) }
        host.registers.reset(kind)
        showIdentity()
        disableQueue(.none)
        disableEvents(.none)
        switch kind {
        case .functionLevel: firmware.registers.raise(MAILBOX.INTR_STATE.host_reset)
        case .hard, .soft: tellHost(HOSTIF.INTR_STATE.firmware, at: now)
        case .powerOn: break
        }
        firmware.settle()
    }

    // MARK: Interrupts for the host

    /// A cause comes up: its bit is set and, if it is enabled, its message is sent.
    func tellHost(_ cause: FieldKey<HOSTIF.Keys.INTR_STATE>, at cycle: Cycle) {
        host.registers.raise(cause)
        guard host.registers[HOSTIF.INTR_ENABLE] & cause.mask != 0 else { return }
        let vector = switch cause.mask {
        case HOSTIF.INTR_STATE.admin_queue.mask: host.registers[HOSTIF.VECTOR.admin_queue]
        case HOSTIF.INTR_STATE.firmware.mask, HOSTIF.INTR_STATE.fault.mask: host.registers[HOSTIF.VECTOR.fault]
        default: host.registers[HOSTIF.VECTOR.event]
        }
        if vector != 255 { messages?.interruptMessage(Int(vector), at: cycle) }
    }

    // MARK: Rings

    /// What is wrong with a ring of `bytes` at `address`, which has to be a multiple of `alignment` and in shared memory.
    private func error(at address: UInt64, bytes: UInt64, alignment: UInt64) -> HOSTIF.RingError {
        guard address % alignment == 0 else { return .alignment }
        let shared = identity.sharedMemory
        guard shared.contains(address), bytes <= shared.upperBound - address else { return .range }
        return .none
    }

    private func isSize(_ entries: UInt64, atMost most: UInt64) -> Bool {
        (2...most).contains(entries) && entries & (entries - 1) == 0
    }

    /// virtio 1.2, 2.7: sizes and alignments of the three parts of a split virtqueue.
    private func queueError(_ entries: UInt64, desc: UInt64, avail: UInt64, used: UInt64) -> HOSTIF.RingError {
        guard isSize(entries, atMost: 256) else { return .size }
        let errors = [
            error(at: desc, bytes: 16 * entries, alignment: 16), error(at: avail, bytes: 6 + 2 * entries, alignment: 2),
            error(at: used, bytes: 6 + 8 * entries, alignment: 4),
        ]
        return errors.first { $0 != .none } ?? .none
    }

    func enableQueue() {
        let registers = host.registers
        let entries = registers[HOSTIF.QUEUE_SIZE.entries]
        let desc = registers[HOSTIF.QUEUE_DESC_HI] << 32 | registers[HOSTIF.QUEUE_DESC_LO]
        let avail = registers[HOSTIF.QUEUE_AVAIL_HI] << 32 | registers[HOSTIF.QUEUE_AVAIL_LO]
        let used = registers[HOSTIF.QUEUE_USED_HI] << 32 | registers[HOSTIF.QUEUE_USED_LO]
        let error = queueError(entries, desc: desc, avail: avail, used: used)
        guard error == .none else { return disableQueue(error) }
        registers[HOSTIF.QUEUE_CONTROL] = HOSTIF.QUEUE_CONTROL.enable.mask
        firmware.registers[MAILBOX.QUEUE] = MAILBOX.QUEUE.enabled.mask | entries
        firmware.registers[MAILBOX.QUEUE_DESC] = desc
        firmware.registers[MAILBOX.QUEUE_AVAIL] = avail
        firmware.registers[MAILBOX.QUEUE_USED] = used
    }

    func disableQueue(_ error: HOSTIF.RingError) {
        host.registers[HOSTIF.QUEUE_CONTROL] = HOSTIF.QUEUE_CONTROL.error.inserting(error.rawValue, in: 0)
        firmware.registers[MAILBOX.QUEUE] = 0
        firmware.registers[MAILBOX.QUEUE_DESC] = 0
        firmware.registers[MAILBOX.QUEUE_AVAIL] = 0
        firmware.registers[MAILBOX.QUEUE_USED] = 0
    }

    func enableEvents() {
        let entries = host.registers[HOSTIF.EVENT_SIZE.entries]
        let base = host.registers[HOSTIF.EVENT_BASE_HI] << 32 | host.registers[HOSTIF.EVENT_BASE_LO]
        let error = isSize(entries, atMost: 4096) ? error(at: base, bytes: 32 * entries, alignment: 32) : .size
        disableEvents(error)
        guard error == .none else { return }
        host.registers[HOSTIF.EVENT_CONTROL] = HOSTIF.EVENT_CONTROL.enable.mask
        firmware.registers[MAILBOX.EVENT] = MAILBOX.EVENT.enabled.mask | entries
        firmware.registers[MAILBOX.EVENT_BASE] = base
    }

    func disableEvents(_ error: HOSTIF.RingError) {
        host.registers[HOSTIF.EVENT_CONTROL] = HOSTIF.EVENT_CONTROL.error.inserting(error.rawValue, in: 0)
        host.registers[HOSTIF.EVENT_HEAD] = 0
        host.registers[HOSTIF.EVENT_TAIL] = 0
        firmware.registers[MAILBOX.EVENT] = 0
        firmware.registers[MAILBOX.EVENT_BASE] = 0
        firmware.registers[MAILBOX.EVENT_HEAD] = 0
        firmware.registers[MAILBOX.EVENT_TAIL] = 0
    }

    // MARK: The fault record

    /// The firmware has completed the record: the host reads its own copy from now on.
    func completeFault(at cycle: Cycle) {
        let source = firmware.registers
        let copy = host.registers
        source[MAILBOX.FAULT_CYCLE] = cycle
        copy[HOSTIF.FAULT] = source[MAILBOX.FAULT]
        copy[HOSTIF.FAULT_CAUSE] = source[MAILBOX.FAULT_CAUSE]
        copy[HOSTIF.FAULT_PC] = source[MAILBOX.FAULT_PC]
        copy[HOSTIF.FAULT_ADDRESS] = source[MAILBOX.FAULT_ADDRESS]
        copy[HOSTIF.FAULT_STATUS] = source[MAILBOX.FAULT_STATUS]
        copy[HOSTIF.FAULT_CYCLE] = cycle
        for register in 0..<32 { copy[HOSTIF.FAULT_X, register] = source[MAILBOX.FAULT_X, register] }
        countFault()
        tellHost(HOSTIF.INTR_STATE.fault, at: cycle)
    }

    func countFault() {
        let count = min(firmware.registers[MAILBOX.FAULT_COUNT] &+ 1, 0xffff_ffff)
        firmware.registers[MAILBOX.FAULT_COUNT] = count
        host.registers[HOSTIF.FAULT_COUNT] = count
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.section("mailbox") { (archive, _) throws(SnapshotError) in
            try firmware.registers.archive(&archive)
            try host.registers.archive(&archive)
            try firmware.interrupt.archive(&archive)
        }
    }
}
