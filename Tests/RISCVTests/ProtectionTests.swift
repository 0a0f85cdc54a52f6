import RISCV
import Simulation
import Testing

/// The PMP against the specification's rules, applied byte by byte.
@Suite struct ProtectionTests {
    static let seed: UInt64 = 0x9a9

    /// Whether an entry matches a byte, from the registers alone (Privileged Architecture, section 3.7.1).
    static func matches(_ pmp: PhysicalMemoryProtection, _ entry: Int, _ byte: UInt32) -> Bool {
        let word = byte >> 2, address = pmp.address[entry]
        switch pmp.configuration[entry] >> 3 & 3 {
        case 0: return false
        case 1: return (entry == 0 ? 0 : pmp.address[entry - 1]) <= word && word < address
        case 2: return word == address
        default:
            // All bits above the lowest 0 of the register have to agree.
            var compared = UInt32.max
            for bit in 0..<32 {
                compared &= ~(1 << UInt32(bit))
                if address >> UInt32(bit) & 1 == 0 { break }
            }
            return word & compared == address & compared
        }
    }

    static func permits(
        _ pmp: PhysicalMemoryProtection, _ kind: AccessKind, _ address: UInt32, _ size: Int, _ privilege: Privilege
    ) -> Bool {
        for entry in 0..<16 {
            let bytes = (0..<size).map { matches(pmp, entry, address &+ UInt32($0)) }
            guard bytes.contains(true) else { continue }
            if bytes.contains(false) { return false }
            let isLocked = pmp.configuration[entry] & 0x80 != 0
            return privilege == .machine && !isLocked || pmp.configuration[entry] & kind.rawValue != 0
        }
        return privilege == .machine
    }

    /// Entries that crowd around a few addresses, some of them locked.
    static func random(_ random: inout SplitMix64) -> PhysicalMemoryProtection {
        var pmp = PhysicalMemoryProtection()
        for entry in 0..<16 {
            let r = random.next()
            let near = (TestMachine.base + 0x2000) >> 2 &+ UInt32(truncatingIfNeeded: r) % 0x900
            let ones = UInt32(truncatingIfNeeded: r >> 32) % 10
            pmp.setAddress(entry, r >> 40 & 3 == 0 ? near | (1 << ones - 1) & ~(1 << ones) : near)
        }
        for entry in 0..<16 {
            let r = random.next()
            if r & 1 == 0 { continue }
            pmp.setConfiguration(entry, UInt8(truncatingIfNeeded: r >> 8) & (r >> 16 & 3 == 0 ? 0x9f : 0x1f))
        }
        return pmp
    }

    @Test func sameAsTheSpecificationByteByByte() {
        var random = SplitMix64(seed: Self.seed)
        for round in 0..<2000 {
            let pmp = Self.random(&random)
            for _ in 0..<20 {
                let size = [1, 2, 4][Int(random.next() % 3)]
                let address = (TestMachine.base + 0x2000 &+ UInt32(truncatingIfNeeded: random.next()) % 0x2400) & ~UInt32(size - 1)
                for kind in [AccessKind.read, .write, .execute] {
                    for privilege in [Privilege.user, .machine] {
                        let permitted = pmp.permits(kind, address: address, size: size, privilege: privilege)
                        let expected = Self.permits(pmp, kind, address, size, privilege)
                        #expect(permitted == expected, "round \(round): \(kind) of \(size) bytes at \(hex(address)) in \(privilege)")
                    }
                }
            }
        }
    }

    /// What the hart does with loads, stores and jumps, whatever it remembers of the pages meanwhile.
    @Test func theHartObeysIt() {
        var random = SplitMix64(seed: Self.seed + 1)
        let machine = TestMachine()
        for round in 0..<300 {
            let pmp = Self.random(&random)
            for _ in 0..<12 {
                let size = [1, 2, 4][Int(random.next() % 3)], kind = [AccessKind.read, .write, .execute][Int(random.next() % 3)]
                var address = (TestMachine.base + 0x2000 &+ UInt32(truncatingIfNeeded: random.next()) % 0x2400) & ~UInt32(size - 1)
                let funct3 = UInt32(size >> 1)
                var state = HartState(pc: TestMachine.base)
                state.pmp = pmp
                // M-mode with the rights of `privilege`: the code itself must not fall under the entries.
                let privilege = random.next() & 1 == 0 ? Privilege.user : .machine
                state.csr.mstatus = privilege == .user ? 0x2_0000 : 0x2_1800
                state.csr.mtvec = TestMachine.base + 0x100
                state.x[5] = address
                switch kind {
                case .read: machine.write([Assembler.load(funct3, 6, 0, 5)])
                case .write: machine.write([Assembler.store(funct3, 0, 0, 5)])
                case .execute:
                    address &= ~3
                    state.pc = address
                    state.privilege = privilege
                    machine.write([Assembler.nop], at: address)
                }
                let isPermitted = Self.permits(pmp, kind, address, kind == .execute ? 4 : size, privilege)
                if kind != .execute && !Self.permits(pmp, .execute, TestMachine.base, 4, .machine) { continue }
                machine.hart.state = state
                _ = machine.hart.step()
                let after = machine.hart.state
                let what = "round \(round): \(kind) of \(size) bytes at \(hex(address)) in \(privilege)"
                #expect((after.csr.mcause == 0) == isPermitted, "\(what)")
                if isPermitted { continue }
                #expect(after.csr.mcause == [1: 5, 2: 7, 4: 1][kind.rawValue], "\(what)")
                #expect(after.csr.mtval == address && after.csr.mepc == state.pc, "\(what)")
            }
        }
    }

    @Test func changingAnEntryTakesEffectAtOnce() {
        let machine = TestMachine()
        let data = TestMachine.base + 0x3000
        // U-mode store to a page that has been written before the entry forbids it.
        var state = HartState(pc: TestMachine.base)
        state.pmp.setAddress(15, .max)
        state.pmp.setConfiguration(15, 0x1f)
        state.x[5] = data
        state.x[6] = (data >> 2) | 0x1ff
        state.x[7] = 0x19  // NAPOT, read only
        state.csr.mstatus = 0x2_0000  // loads and stores as in U-mode
        state.csr.mtvec = TestMachine.base + 0x100
        machine.write([
            Assembler.sw(5, 0, 5), Assembler.csrw(0x3b0, 6), Assembler.csrw(0x3a0, 7), Assembler.lw(8, 0, 5), Assembler.sw(6, 0, 5),
        ])
        machine.hart.state = state
        for _ in 0..<5 { _ = machine.hart.step() }
        #expect(machine[data] == data)
        #expect(machine.hart.state.csr.mcause == 7 && machine.hart.state.csr.mepc == TestMachine.base + 16)
        #expect(machine.hart.state.x[8] == data)
    }

    @Test func lockedEntriesStay() {
        var pmp = PhysicalMemoryProtection()
        pmp.setAddress(3, 0x100)
        pmp.setAddress(4, 0x200)
        pmp.setConfiguration(4, 0x89)  // locked, top of range, read
        pmp.setAddress(4, 0x300)
        pmp.setConfiguration(4, 0x1f)
        pmp.setAddress(3, 0x180)
        #expect(pmp.address[4] == 0x200 && pmp.configuration[4] == 0x89)
        #expect(pmp.address[3] == 0x100, "the bottom of a locked range stays too")
        #expect(!pmp.permits(.write, address: 0x400, size: 4, privilege: .machine), "a lock binds M-mode")
        pmp.setConfiguration(5, 0x62)
        #expect(pmp.configuration[5] == 0, "bits 5 and 6 and writing without reading are not taken")
    }

    @Test func rangesHaveTheirExtremes() {
        var pmp = PhysicalMemoryProtection()
        pmp.setAddress(0, .max)
        pmp.setConfiguration(0, 0x1f)
        #expect(pmp.range(0)! == (0, 1 << 35))
        pmp.setAddress(1, 0)
        pmp.setConfiguration(1, 0x1f)
        #expect(pmp.range(1)! == (0, 8))
        pmp.setAddress(2, 5)
        pmp.setConfiguration(2, 0x17)
        #expect(pmp.range(2)! == (20, 24))
        pmp.setConfiguration(3, 0x0f)
        #expect(pmp.range(3) == nil, "an empty range matches nothing")
    }
}
