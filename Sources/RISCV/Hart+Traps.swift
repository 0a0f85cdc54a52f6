import Simulation

/// Exception codes of `mcause` (Privileged Architecture, table 14).
enum Exception: UInt32 {
    case instructionAccessFault = 1
    case illegalInstruction = 2
    case breakpoint = 3
    case loadAddressMisaligned = 4
    case loadAccessFault = 5
    case storeAddressMisaligned = 6
    case storeAccessFault = 7
    case environmentCallFromUser = 8
    case environmentCallFromMachine = 11
}

extension Hart {
    /// Enters the handler of an exception of the instruction at the program counter, which does not retire.
    func raise(_ exception: Exception, value: UInt32) {
        enterHandler(cause: exception.rawValue, value: value, at: core.pointee.state.csr.mtvec & ~3)
        core.pointee.state.time &+= Cycle(Timing.trap)
    }

    /// Enters the handler of an interrupt, before the instruction at the program counter.
    func interrupt(_ pin: InterruptPin) {
        let vector = core.pointee.state.csr.mtvec
        let code = UInt32(pin.rawValue)
        enterHandler(cause: 1 &<< 31 | code, value: 0, at: vector & ~3 &+ (vector & 1 == 1 ? 4 &* code : 0))
        core.pointee.state.time &+= Cycle(Timing.interrupt)
    }

    private func enterHandler(cause: UInt32, value: UInt32, at handler: UInt32) {
        let trap = Trap(cause: cause, value: value, pc: core.pointee.state.pc, handler: handler, time: core.pointee.state.time)
        core.pointee.state.enterHandler(cause: cause, value: value, at: handler)
        dataPrivilegeChanged()
        port.trapEntered(trap)
    }

    /// `mret`: back to the privilege and the interrupt enable before the trap (section 3.3.2).
    func returnFromTrap() {
        core.pointee.state.returnFromTrap()
        dataPrivilegeChanged()
        lookForInterrupt()
    }
}

extension HartState {
    fileprivate mutating func enterHandler(cause: UInt32, value: UInt32, at handler: UInt32) {
        csr.mcause = cause
        csr.mtval = value
        csr.mepc = pc
        let enabled = csr.mstatus & MachineStatus.interruptEnable != 0
        csr.mstatus &= ~(MachineStatus.interruptEnable | MachineStatus.previousInterruptEnable | MachineStatus.previousPrivilege)
        if enabled { csr.mstatus |= MachineStatus.previousInterruptEnable }
        if privilege == .machine { csr.mstatus |= MachineStatus.previousPrivilege }
        privilege = .machine
        pc = handler
        reservation.isValid = false
        predictor.flush(landing: handler)
    }

    fileprivate mutating func returnFromTrap() {
        privilege = csr.mstatus & MachineStatus.previousPrivilege == 0 ? .user : .machine
        if privilege == .user { csr.mstatus &= ~MachineStatus.modifyPrivilege }
        if csr.mstatus & MachineStatus.previousInterruptEnable != 0 {
            csr.mstatus |= MachineStatus.interruptEnable
        } else {
            csr.mstatus &= ~MachineStatus.interruptEnable
        }
        csr.mstatus |= MachineStatus.previousInterruptEnable
        csr.mstatus &= ~MachineStatus.previousPrivilege
        pc = csr.mepc
        reservation.isValid = false
        predictor.flush(landing: pc)
    }
}
