import Interconnect
import Registers
import RegisterMaps
import Simulation

/// Why the firmware starts: the bits of SYSCTL.RESET_CAUSE.
public enum FirmwareResetCause: UInt64, Sendable, CaseIterable {
    case powerOn = 1, watchdog = 2, software = 4, host = 8
}

/// Starts, stops and resets harts and the firmware's blocks for the system controller.
///
/// Calls come in the middle of an access or of a deadline: what they ask for takes effect before the next instruction.
public protocol ResetController: AnyObject {
    func setRunning(_ isRunning: Bool, hart: Int)
    func resetHart(_ hart: Int, bootAddress: UInt32)
    /// Restart the firmware. ``SystemController/firmwareReset(_:)`` is called when it happens.
    func requestFirmwareReset(_ cause: FirmwareResetCause)
    /// What HART.STATUS shows.
    func hartStatus(_ hart: Int) -> (isPresent: Bool, isRunning: Bool, isWaiting: Bool)
}

/// Identity, resets, harts, and the error-correcting code of the SRAM.
public final class SystemController: BusTarget, RegisterModel, WireSink, MemoryErrorSink, ArchivedModel {
    /// What the identity registers say.
    public struct Identity: Hashable, Sendable {
        public var harts = 1
        public var virtualFunctions = 4
        public var serviceCores = 8
        public var clockKHz: UInt32 = 1_000_000
        public var sramBase: UInt32 = 0x8000_0000
        public var sramBytes: UInt32 = 0
        public var sharedBytes: UInt32 = 0
        public var linkBytesPerMicrosecond: UInt32 = 0
        public var serial: UInt64 = 0

        public init() {}
    }

    static let resetKey: UInt64 = 0x5253_5421
    /// Input number of the watchdog's bite.
    public static let biteInput = 0

    public struct State: Sendable {
        var identity: Identity
    }

    public let registers: RegisterBlock
    public var state: State
    public let interrupt = Wire("sysctl.irq")
    public weak var resets: (any ResetController)?
    /// The SRAM, for ECC_CTRL.
    public weak var memory: (any MemoryErrorInjection)?
    /// While somebody records.
    public unowned(unsafe) var trace: (any TraceSink)?

    public init(_ identity: Identity, number: Int = 0) {
        registers = RegisterBlock(SYSCTL.map, number: number)
        state = State(identity: identity)
        showIdentity()
    }

    public func access(_ access: inout BusAccess) -> BusStatus { registers.access(&access, model: self) }

    public func peek(_ address: UInt64, size: Int) -> UInt64? {
        for hart in 0..<2 { showStatus(of: hart) }
        return registers.peek(address, size: size)
    }

    /// The firmware starts anew: everything but the causes, the count and the scratch registers takes its reset value; after power-on
    /// these do, too.
    public func firmwareReset(_ cause: FirmwareResetCause) {
        let bootAddress = registers[SYSCTL.HART_BOOT_ADDRESS, 0]
        registers.reset(cause == .powerOn ? .powerOn : .hard)
        registers[SYSCTL.HART_BOOT_ADDRESS, 0] = bootAddress
        registers[SYSCTL.RESET_CAUSE] |= cause.rawValue
        registers[SYSCTL.RESET_COUNT] = min(registers[SYSCTL.RESET_COUNT] + 1, UInt64(UInt32.max))
        showIdentity()
        interrupt.drive(registers.interrupt)
    }

    /// Where hart 0 starts: the firmware's entry point.
    public var bootAddress: UInt32 {
        get { UInt32(truncatingIfNeeded: registers[SYSCTL.HART_BOOT_ADDRESS, 0]) }
        set { registers[SYSCTL.HART_BOOT_ADDRESS, 0] = UInt64(newValue) }
    }

    private func showIdentity() {
        let identity = state.identity
        registers[SYSCTL.CONFIG.harts] = UInt64(identity.harts)
        registers[SYSCTL.CONFIG.vfs] = UInt64(identity.virtualFunctions)
        registers[SYSCTL.CONFIG.service_cores] = UInt64(identity.serviceCores)
        registers[SYSCTL.CLOCK] = UInt64(identity.clockKHz)
        registers[SYSCTL.SRAM_SIZE] = UInt64(identity.sramBytes)
        registers[SYSCTL.SHARED_SIZE] = UInt64(identity.sharedBytes)
        registers[SYSCTL.LINK_BANDWIDTH] = UInt64(identity.linkBytesPerMicrosecond)
        registers[SYSCTL.SERIAL] = identity.serial
        registers[SYSCTL.HART_CTRL, 0] = SYSCTL.HART_CTRL.run.mask
        registers[SYSCTL.ECC_STATUS.planted] = UInt64(min(memory?.plantedErrors ?? 0, 255))
    }

    private func showStatus(of hart: Int) {
        guard let status = resets?.hartStatus(hart) else { return }
        registers[SYSCTL.HART_STATUS.present, hart] = status.isPresent ? 1 : 0
        registers[SYSCTL.HART_STATUS.running, hart] = status.isRunning ? 1 : 0
        registers[SYSCTL.HART_STATUS.waiting, hart] = status.isWaiting ? 1 : 0
    }

    // MARK: Registers

    public func willRead(_ register: RegisterIndex, _ element: Int, _ access: BusAccess) {
        if case SYSCTL.HART_STATUS = register { showStatus(of: element) }
    }

    public func didWrite(_ register: RegisterIndex, _ element: Int, old: UInt64, new: UInt64, _ access: BusAccess) {
        switch register {
        case SYSCTL.INTR_TEST:
            registers[SYSCTL.INTR_STATE] |= new
        case SYSCTL.RESET_REQUEST:
            if new == Self.resetKey { resets?.requestFirmwareReset(.software) }
        case SYSCTL.HART_CTRL:
            controlHart(element, old: old, new: new)
        case SYSCTL.ECC_CTRL:
            controlECC(new)
        default:
            break
        }
        interrupt.drive(registers.interrupt)
    }

    private func controlHart(_ hart: Int, old: UInt64, new: UInt64) {
        guard hart < state.identity.harts else {
            registers[SYSCTL.HART_CTRL, hart] = 0
            return
        }
        if SYSCTL.HART_CTRL.reset.isSet(in: new) {
            resets?.resetHart(hart, bootAddress: UInt32(truncatingIfNeeded: registers[SYSCTL.HART_BOOT_ADDRESS, hart]))
        }
        if SYSCTL.HART_CTRL.run.isSet(in: old ^ new) { resets?.setRunning(SYSCTL.HART_CTRL.run.isSet(in: new), hart: hart) }
        if old & 1 != new { registers.raise(SYSCTL.INTR_STATE.hart_changed) }
    }

    private func controlECC(_ control: UInt64) {
        if SYSCTL.ECC_CTRL.clear.isSet(in: control) {
            registers[SYSCTL.ECC_STATUS] &= SYSCTL.ECC_STATUS.planted.mask
            registers[SYSCTL.ECC_ADDRESS] = 0
            registers[SYSCTL.ECC_CORRECTED] = 0
            registers[SYSCTL.ECC_UNCORRECTED] = 0
        }
        // An address below the SRAM wraps to an offset far beyond its end.
        let offset = registers[SYSCTL.ECC_INJECT_ADDRESS] &- UInt64(state.identity.sramBase)
        if SYSCTL.ECC_CTRL.inject_corrected.isSet(in: control) { _ = memory?.plantError(at: offset, isCorrectable: true) }
        if SYSCTL.ECC_CTRL.inject_uncorrected.isSet(in: control) { _ = memory?.plantError(at: offset, isCorrectable: false) }
    }

    // MARK: Inputs

    public func wireChanged(_ input: Int, level: Bool) {
        guard input == Self.biteInput, level else { return }
        trace?.faultMet(.watchdog)
        resets?.requestFirmwareReset(.watchdog)
    }

    public func memoryErrorMet(_ error: MemoryError) {
        let address = UInt64(state.identity.sramBase) + error.offset
        trace?.faultMet(.ecc(initiator: error.initiator, address: address, isCorrected: error.isCorrected))
        let count = error.isCorrected ? registers[SYSCTL.ECC_CORRECTED] : registers[SYSCTL.ECC_UNCORRECTED]
        let next = min(count + 1, UInt64(UInt32.max))
        if error.isCorrected {
            registers[SYSCTL.ECC_CORRECTED] = next
            registers.raise(SYSCTL.INTR_STATE.ecc_corrected)
        } else {
            registers[SYSCTL.ECC_UNCORRECTED] = next
            registers.raise(SYSCTL.INTR_STATE.ecc_uncorrected)
        }
        if registers[SYSCTL.ECC_STATUS.valid] == 0 {
            registers[SYSCTL.ECC_STATUS.valid] = 1
            registers[SYSCTL.ECC_STATUS.uncorrected] = error.isCorrected ? 0 : 1
            registers[SYSCTL.ECC_STATUS.initiator] = UInt64(error.initiator.rawValue)
            registers[SYSCTL.ECC_ADDRESS] = address
        }
        interrupt.drive(registers.interrupt)
    }

    public func plantedErrorsChanged(to count: Int) {
        registers[SYSCTL.ECC_STATUS.planted] = UInt64(min(count, 255))
    }

    // MARK: Snapshots

    public func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        // Shown on demand, also to people who only look: what is saved must not tell whether somebody has.
        if !archive.isLoading { for hart in 0..<2 { showStatus(of: hart) } }
        try archive.section("sysctl") { (archive, _) throws(SnapshotError) in
            try registers.archive(&archive)
            try interrupt.archive(&archive)
        }
    }
}
