import Simulation

// What a snapshot has of a hart. Only states that instructions and resets lead to are taken: registers keep to the bits that exist.

extension HartState: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        for register in x.indices { try archive.integer(&x[register]) }
        try archive.require(x[0] == 0, "expected x0 to be 0, found \(x[0])")
        try archive.integer(&pc, keeping: ~1, "pc")
        try archive.raw(&privilege)
        try archive.flag(&isWaiting)
        try archive.flag(&isHalted)
        try archive.integer(&resetVector)
        try archive.integer(&pins, keeping: InterruptPin.allBits, "mip")
        try archive.cycle(&time)
        try archive.integer(&retired)
        try archive.state(&csr)
        try archive.state(&pmp)
        try archive.flag(&reservation.isValid)
        try archive.integer(&reservation.address)
        try archive.integer(&reservation.value)
        try archive.integer(&predictor.branch)
        try archive.integer(&predictor.landing)
    }
}

extension ControlState: ArchivedState {
    public mutating func archive(_ archive: inout StateArchive) throws(SnapshotError) {
        try archive.integer(&mstatus)
        try archive.require(mstatus == MachineStatus.legal(mstatus), "mstatus: found bits that it doesn't have: \(mstatus)")
        try archive.integer(&mie, keeping: InterruptPin.allBits, "mie")
        try archive.integer(&mtvec, keeping: ~2, "mtvec")
        try archive.integer(&mscratch)
        try archive.integer(&mepc, keeping: ~1, "mepc")
        try archive.integer(&mcause, keeping: 0x8000_000f, "mcause")
        try archive.integer(&mtval)
        try archive.integer(&mcounteren, keeping: 7, "mcounteren")
        try archive.integer(&mcountinhibit, keeping: 5, "mcountinhibit")
        try archive.integer(&cycleBase)
        try archive.integer(&retiredBase)
    }
}

extension StateArchive {
    /// A register that has these bits only.
    fileprivate mutating func integer(_ value: inout UInt32, keeping bits: UInt32, _ name: StaticString) throws(SnapshotError) {
        try integer(&value)
        try require(value & ~bits == 0, "\(name): expected bits of 0x\(String(bits, radix: 16)), found 0x\(String(value, radix: 16))")
    }
}
