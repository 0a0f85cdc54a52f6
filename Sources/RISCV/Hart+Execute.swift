import Simulation

/// The instructions that need more than registers and plain memory.
extension Hart {
    /// Executes the instruction at the program counter.
    ///
    /// Returns true if it has retired and the one at `next` follows: then time has been moved on by what it took longer than
    /// its static cost, and nothing else done about pc, time and retired instructions. Returns false if control went elsewhere
    /// and the state is complete.
    func execute(_ i: Instruction, next: UnsafePointer<Mark>) -> Bool {
        let a = core.pointee.state.x[Int(i.rs1)]
        switch i.operation {
        case .lb, .lh, .lw, .lbu, .lhu:
            guard let value = load(i.operation, a &+ UInt32(bitPattern: i.immediate)) else { return false }
            set(i.rd, value)
        case .loadDiscard:
            guard load(Operation(rawValue: i.rs2)!, a &+ UInt32(bitPattern: i.immediate)) != nil else { return false }
        case .sb, .sh, .sw:
            let size: UInt32 = i.operation == .sb ? 1 : i.operation == .sh ? 2 : 4
            return store(a &+ UInt32(bitPattern: i.immediate), size, core.pointee.state.x[Int(i.rs2)])
        case .lr:
            return loadReserved(i, a)
        case .sc:
            return storeConditional(i, a)
        case _ where i.operation.isAtomicReadModifyWrite:
            return readModifyWrite(i, a)
        case .div, .rem:
            let b = core.pointee.state.x[Int(i.rs2)]
            set(i.rd, i.operation == .div ? Arithmetic.divide(a, b) : Arithmetic.remainder(a, b))
            if Int32(bitPattern: a) < 0 { core.pointee.state.time &+= Cycle(Timing.negativeDividend) }
        case .divu, .remu:
            let b = core.pointee.state.x[Int(i.rs2)]
            set(i.rd, i.operation == .divu ? Arithmetic.divide(unsigned: a, b) : Arithmetic.remainder(unsigned: a, b))
        case _ where i.operation.isCSR:
            return accessCSR(i, next: next.pointee.pc)
        case .fenceI:
            retire(at: next.pointee.pc, after: Timing.fenceI)
            core.pointee.state.predictor.flush(landing: next.pointee.pc)
            land()
            return false
        case .ecall:
            raise(core.pointee.state.privilege == .machine ? .environmentCallFromMachine : .environmentCallFromUser, value: 0)
            return false
        case .ebreak:
            raise(.breakpoint, value: 0)
            return false
        case .mret:
            guard core.pointee.state.privilege == .machine else { return illegal(0x3020_0073) }
            retire(at: 0, after: Timing.trap)
            returnFromTrap()
            land()
            return false
        case .wfi:
            return waitForInterrupt(next: next.pointee.pc)
        case .fetchFault:
            raise(.instructionAccessFault, value: UInt32(bitPattern: i.immediate))
            return false
        default:
            return illegal(UInt32(bitPattern: i.immediate))
        }
        return true
    }

    private func set(_ register: UInt8, _ value: UInt32) {
        if register != 0 { core.pointee.state.x[Int(register)] = value }
    }

    /// Counts the instruction and goes on at `pc`, `cycles` after it began.
    private func retire(at pc: UInt32, after cycles: Int) {
        core.pointee.state.retired &+= 1
        core.pointee.state.time &+= Cycle(cycles)
        core.pointee.state.pc = pc
    }

    /// Adds what fetching from the program counter costs after a jump.
    private func land() {
        guard case .instruction(let fetched) = fetch(core.pointee.state.pc) else { return }
        core.pointee.state.time &+= Cycle(Timing.landing(core.pointee.state.pc, length: fetched.length))
    }

    func illegal(_ bits: UInt32) -> Bool {
        raise(.illegalInstruction, value: bits)
        return false
    }

    private func load(_ operation: Operation, _ address: UInt32) -> UInt32? {
        switch operation {
        case .lb: load(address, 1).map { UInt32(bitPattern: Int32(Int8(truncatingIfNeeded: $0))) }
        case .lh: load(address, 2).map { UInt32(bitPattern: Int32(Int16(truncatingIfNeeded: $0))) }
        case .lbu: load(address, 1)
        case .lhu: load(address, 2)
        default: load(address, 4)
        }
    }

    /// `wfi` may be forbidden in U-mode (section 3.1.6.5). It does nothing if an enabled interrupt is pending, even one that
    /// `mstatus.MIE` holds back (section 3.3.3).
    private func waitForInterrupt(next: UInt32) -> Bool {
        let state = core.pointee.state
        if state.privilege == .user && state.csr.mstatus & MachineStatus.timeoutWait != 0 { return illegal(0x1050_0073) }
        retire(at: next, after: 1)
        if state.pins & state.csr.mie == 0 {
            core.pointee.state.isWaiting = true
            core.pointee.limit = 0
        }
        return false
    }

    // MARK: Atomics

    private func loadReserved(_ i: Instruction, _ address: UInt32) -> Bool {
        guard address & 3 != 0 || supportsAtomics(address) else {
            raise(.loadAccessFault, value: address)
            return false
        }
        guard let value = load(address, 4) else { return false }
        core.pointee.state.reservation.isValid = true
        core.pointee.state.reservation.address = address
        core.pointee.state.reservation.value = value
        set(i.rd, value)
        return true
    }

    private func storeConditional(_ i: Instruction, _ address: UInt32) -> Bool {
        if address & 3 != 0 {
            raise(.storeAddressMisaligned, value: address)
            return false
        }
        guard supportsAtomics(address) else {
            raise(.storeAccessFault, value: address)
            return false
        }
        let reservation = core.pointee.state.reservation
        var succeeds = false
        if reservation.isValid && reservation.address == address {
            guard permitsAtomic(address) else { return false }
            guard let value = load(address, 4, fault: .storeAccessFault) else { return false }
            succeeds = value == reservation.value
        }
        if succeeds {
            guard store(address, 4, core.pointee.state.x[Int(i.rs2)]) else { return false }
        }
        core.pointee.state.reservation.isValid = false
        set(i.rd, succeeds ? 0 : 1)
        return true
    }

    /// An atomic memory operation. All its exceptions are those of a store (Privileged Architecture, table 14).
    private func readModifyWrite(_ i: Instruction, _ address: UInt32) -> Bool {
        if address & 3 != 0 {
            raise(.storeAddressMisaligned, value: address)
            return false
        }
        guard supportsAtomics(address), canStore(address) else {
            raise(.storeAccessFault, value: address)
            return false
        }
        guard permitsAtomic(address) else { return false }
        guard let old = load(address, 4, fault: .storeAccessFault) else { return false }
        let b = core.pointee.state.x[Int(i.rs2)]
        let new: UInt32
        switch i.operation {
        case .amoadd: new = old &+ b
        case .amoxor: new = old ^ b
        case .amoand: new = old & b
        case .amoor: new = old | b
        case .amomin: new = Int32(bitPattern: old) < Int32(bitPattern: b) ? old : b
        case .amomax: new = Int32(bitPattern: old) > Int32(bitPattern: b) ? old : b
        case .amominu: new = min(old, b)
        case .amomaxu: new = max(old, b)
        default: new = b
        }
        guard store(address, 4, new) else { return false }
        set(i.rd, old)
        return true
    }
}
