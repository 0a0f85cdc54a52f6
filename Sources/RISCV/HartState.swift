import Simulation

/// Privilege modes, with their encoding in `mstatus.MPP` (Privileged Architecture, table 1).
public enum Privilege: UInt8, Sendable {
    case user = 0
    case machine = 3
}

/// The interrupt pins of a hart. The raw value is the interrupt's number: its bit in `mip` and `mie`, its code in `mcause`.
public enum InterruptPin: UInt8, Sendable, CaseIterable {
    case software = 3
    case timer = 7
    case external = 11

    @inlinable public var mask: UInt32 { 1 &<< UInt32(rawValue) }

    /// The bits of all pins.
    static let allBits = allCases.reduce(0) { $0 | $1.mask }
}

/// Everything about a hart that instructions, interrupts or time can change: a plain value that can be copied, compared and
/// set again. It says nothing about caches of decoded code or of permissions, which never change what a program sees.
public struct HartState: Sendable {
    /// Integer registers; `x[0]` is always 0.
    public var x = InlineArray<32, UInt32>(repeating: 0)
    public var pc: UInt32
    public var privilege = Privilege.machine
    /// True from the `wfi` that found nothing pending until an interrupt that `mie` enables becomes pending.
    public var isWaiting = false
    /// While set, the hart executes nothing.
    public var isHalted = false
    /// Where reset puts the program counter.
    public var resetVector: UInt32
    /// Levels of the interrupt pins, in the layout of `mip`.
    public var pins: UInt32 = 0
    /// The cycle in which the next instruction begins.
    public var time: Cycle = 0
    /// Instructions retired since the hart was made. `minstret` counts from an offset to it.
    public var retired: UInt64 = 0
    public var csr = ControlState()
    public var pmp = PhysicalMemoryProtection()
    public var reservation = Reservation()
    public var predictor = BranchPredictor()

    /// The state after reset, which puts the program counter to `pc`, less its lowest bit, which is always 0.
    public init(pc: UInt32) {
        self.pc = pc & ~1
        resetVector = pc
    }

    /// The privilege of loads and stores: that in `mstatus.MPP` while `mstatus.MPRV` is set in M-mode (section 3.1.6.3).
    var dataPrivilege: Privilege {
        guard privilege == .machine, csr.mstatus & MachineStatus.modifyPrivilege != 0 else { return privilege }
        return csr.mstatus & MachineStatus.previousPrivilege == 0 ? .user : .machine
    }

    /// The interrupt that would be taken before the next instruction, if any: external, then software, then timer
    /// (Privileged Architecture, section 3.1.9).
    var takeableInterrupt: InterruptPin? {
        let pending = pins & csr.mie
        guard pending != 0, privilege == .user || csr.mstatus & MachineStatus.interruptEnable != 0 else { return nil }
        if pending & InterruptPin.external.mask != 0 { return .external }
        return pending & InterruptPin.software.mask != 0 ? .software : .timer
    }
}

/// The control and status registers that hold a value of their own.
public struct ControlState: Equatable, Sendable {
    public var mstatus: UInt32 = MachineStatus.previousPrivilege
    public var mie: UInt32 = 0
    public var mtvec: UInt32 = 0
    public var mscratch: UInt32 = 0
    public var mepc: UInt32 = 0
    public var mcause: UInt32 = 0
    public var mtval: UInt32 = 0
    public var mcounteren: UInt32 = 0
    public var mcountinhibit: UInt32 = 0
    /// `mcycle` is the hart's time less this, and this itself while `mcountinhibit` stops the counter.
    public var cycleBase: UInt64 = 0
    /// `minstret` is the number of retired instructions less this, and this itself while the counter is stopped.
    public var retiredBase: UInt64 = 0

    public init() {}
}

/// Bits of `mstatus` (Privileged Architecture, section 3.1.6). The others read as 0: there is no S-mode and no F or V state.
enum MachineStatus {
    static let interruptEnable: UInt32 = 1 << 3
    static let previousInterruptEnable: UInt32 = 1 << 7
    static let previousPrivilege: UInt32 = 3 << 11
    static let modifyPrivilege: UInt32 = 1 << 17
    static let timeoutWait: UInt32 = 1 << 21

    /// The value that a write of `value` leaves. Of MPP only M and U exist; the upper bit decides.
    static func legal(_ value: UInt32) -> UInt32 {
        value & (interruptEnable | previousInterruptEnable | modifyPrivilege | timeoutWait)
            | (value &>> 12 & 1 == 1 ? previousPrivilege : 0)
    }
}

/// What `lr.w` leaves for `sc.w`.
///
/// The store succeeds if the word still has the value that was loaded, so a store of another hart or a DMA write that
/// changes the word breaks the reservation whoever made it. So does every trap, and `mret`.
public struct Reservation: Equatable, Sendable {
    public var isValid = false
    public var address: UInt32 = 0
    public var value: UInt32 = 0

    public init() {}
}

/// The one-entry branch target buffer of the fetch unit.
///
/// It compares the addresses of fetch words, and the first word fetched after any jump is not compared: a branch in the word
/// on which a jump landed isn't predicted.
public struct BranchPredictor: Equatable, Sendable {
    /// Program counter of the backward branch that is predicted as taken; odd if there is none.
    public var branch: UInt32 = BranchPredictor.none
    /// Target of the last jump that was not predicted.
    public var landing: UInt32 = BranchPredictor.none

    public static let none: UInt32 = 1

    public init() {}

    /// Forgets the branch, as every trap, `mret` and `fence.i` does, and records where fetching begins again.
    @inline(__always)
    mutating func flush(landing target: UInt32) {
        branch = BranchPredictor.none
        landing = target
    }
}

extension HartState: Equatable {
    public static func == (a: HartState, b: HartState) -> Bool {
        for index in a.x.indices where a.x[index] != b.x[index] { return false }
        return a.pc == b.pc && a.privilege == b.privilege && a.isWaiting == b.isWaiting && a.isHalted == b.isHalted
            && a.resetVector == b.resetVector && a.pins == b.pins && a.time == b.time && a.retired == b.retired
            && a.csr == b.csr && a.pmp == b.pmp && a.reservation == b.reservation && a.predictor == b.predictor
    }
}
