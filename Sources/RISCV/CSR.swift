/// Control and status registers by number (Privileged Architecture, tables 3 to 6).
public struct CSR: RawRepresentable, Hashable, Sendable {
    /// 0...0xfff.
    public let rawValue: UInt16
    public init(rawValue: UInt16) { self.rawValue = rawValue & 0xfff }
    private init(_ rawValue: UInt16) { self.rawValue = rawValue }

    public static let cycle = CSR(0xc00), instret = CSR(0xc02), cycleh = CSR(0xc80), instreth = CSR(0xc82)
    public static let mvendorid = CSR(0xf11), marchid = CSR(0xf12), mimpid = CSR(0xf13), mhartid = CSR(0xf14)
    public static let mconfigptr = CSR(0xf15)
    public static let mstatus = CSR(0x300), misa = CSR(0x301), mie = CSR(0x304), mtvec = CSR(0x305), mcounteren = CSR(0x306)
    public static let menvcfg = CSR(0x30a), mstatush = CSR(0x310), menvcfgh = CSR(0x31a), mcountinhibit = CSR(0x320)
    public static let mscratch = CSR(0x340), mepc = CSR(0x341), mcause = CSR(0x342), mtval = CSR(0x343), mip = CSR(0x344)
    public static let mcycle = CSR(0xb00), minstret = CSR(0xb02), mcycleh = CSR(0xb80), minstreth = CSR(0xb82)

    /// `pmpcfg0`...`pmpcfg3`: four entries each.
    public static func pmpcfg(_ index: Int) -> CSR { CSR(0x3a0 + UInt16(index & 3)) }
    /// `pmpaddr0`...`pmpaddr15`.
    public static func pmpaddr(_ index: Int) -> CSR { CSR(0x3b0 + UInt16(index & 15)) }

    /// The lowest privilege that may access it, by its number.
    var isForMachineModeOnly: Bool { rawValue &>> 8 & 3 != 0 }
    var isReadOnly: Bool { rawValue &>> 10 == 3 }
}

extension Hart {
    /// Reads a CSR as M-mode would, without any side effect; nil if there is none with this number.
    public func readCSR(_ csr: CSR) -> UInt32? {
        let state = core.pointee.state
        return switch csr {
        case .mstatus: state.csr.mstatus
        case .misa: Self.misa
        case .mie: state.csr.mie
        case .mtvec: state.csr.mtvec
        case .mcounteren: state.csr.mcounteren
        case .mcountinhibit: state.csr.mcountinhibit
        case .mscratch: state.csr.mscratch
        case .mepc: state.csr.mepc
        case .mcause: state.csr.mcause
        case .mtval: state.csr.mtval
        case .mip: state.pins
        case .mcycle, .cycle: UInt32(truncatingIfNeeded: state.cycles)
        case .mcycleh, .cycleh: UInt32(truncatingIfNeeded: state.cycles &>> 32)
        case .minstret, .instret: UInt32(truncatingIfNeeded: state.retiredCount)
        case .minstreth, .instreth: UInt32(truncatingIfNeeded: state.retiredCount &>> 32)
        case .mhartid: UInt32(id)
        case .mvendorid, .marchid, .mimpid, .mconfigptr, .mstatush, .menvcfg, .menvcfgh: 0
        default:
            switch csr.rawValue {
            case 0x3a0...0x3a3: state.pmp.configurationWord(Int(csr.rawValue - 0x3a0))
            case 0x3b0...0x3bf: state.pmp.address[Int(csr.rawValue - 0x3b0)]
            // mhpmcounter3...31 and their high halves, mhpmevent3...31: they exist and count nothing.
            case 0xb03...0xb1f, 0xb83...0xb9f, 0x323...0x33f: 0
            default: nil
            }
        }
    }

    /// Writes a CSR as M-mode would; values that it doesn't take become ones that it takes. False if there is none with this
    /// number or it can only be read.
    @discardableResult
    public func writeCSR(_ csr: CSR, _ value: UInt32) -> Bool {
        guard !csr.isReadOnly, readCSR(csr) != nil else { return false }
        switch csr {
        case .mstatus:
            core.pointee.state.csr.mstatus = MachineStatus.legal(value)
            dataPrivilegeChanged()
            lookForInterrupt()
        case .mie:
            core.pointee.state.csr.mie = value & InterruptPin.allBits
            lookForInterrupt()
        case .mtvec: core.pointee.state.csr.mtvec = value & ~2
        case .mcounteren: core.pointee.state.csr.mcounteren = value & 7
        case .mcountinhibit: core.pointee.state.inhibit(value & 5)
        case .mscratch: core.pointee.state.csr.mscratch = value
        case .mepc: core.pointee.state.csr.mepc = value & ~1
        case .mcause: core.pointee.state.csr.mcause = value & 0x8000_000f
        case .mtval: core.pointee.state.csr.mtval = value
        case .mcycle: core.pointee.state.setCycles(core.pointee.state.cycles & ~0xffff_ffff | UInt64(value))
        case .mcycleh: core.pointee.state.setCycles(core.pointee.state.cycles & 0xffff_ffff | UInt64(value) &<< 32)
        case .minstret: core.pointee.state.setRetired(core.pointee.state.retiredCount & ~0xffff_ffff | UInt64(value))
        case .minstreth: core.pointee.state.setRetired(core.pointee.state.retiredCount & 0xffff_ffff | UInt64(value) &<< 32)
        default: writePMP(csr, value)
        }
        return true
    }

    private func writePMP(_ csr: CSR, _ value: UInt32) {
        let before = core.pointee.state.pmp
        switch csr.rawValue {
        case 0x3a0...0x3a3:
            for byte in 0..<4 {
                let bits = UInt8(truncatingIfNeeded: value &>> UInt32(8 * byte))
                core.pointee.state.pmp.setConfiguration(4 * Int(csr.rawValue - 0x3a0) + byte, bits)
            }
        case 0x3b0...0x3bf:
            core.pointee.state.pmp.setAddress(Int(csr.rawValue - 0x3b0), value)
        default:
            return
        }
        if core.pointee.state.pmp != before { protectionChanged() }
    }

    /// RV32 with A, B, C, I, M and U.
    private static let misa: UInt32 = 1 << 30 | 1 << 0 | 1 << 1 | 1 << 2 | 1 << 8 | 1 << 12 | 1 << 20

    /// csrrw, csrrs, csrrc and their immediate forms (Zicsr, chapter 6). The result is that of ``execute(_:next:)``.
    func accessCSR(_ i: Instruction, next: UInt32) -> Bool {
        let csr = CSR(rawValue: UInt16(truncatingIfNeeded: i.immediate))
        let operand = switch i.operation {
        case .csrrwi, .csrrsi, .csrrci: UInt32(i.rs1)
        default: core.pointee.state.x[Int(i.rs1)]
        }
        guard mayAccess(csr), let old = readCSR(csr), i.isCSRRead || !csr.isReadOnly else { return illegal(i.csrBits) }
        if i.rd != 0 { core.pointee.state.x[Int(i.rd)] = old }
        if i.isCSRRead { return true }
        let new = switch i.operation {
        case .csrrs, .csrrsi: old | operand
        case .csrrc, .csrrci: old & ~operand
        default: operand
        }
        // The instruction counts before its write takes effect: what the next one reads is what was written.
        core.pointee.state.retired &+= 1
        core.pointee.state.time &+= 1
        core.pointee.state.pc = next
        writeCSR(csr, new)
        return false
    }

    /// The counters that U-mode may read are chosen by `mcounteren` (section 3.1.11).
    private func mayAccess(_ csr: CSR) -> Bool {
        guard core.pointee.state.privilege == .user else { return true }
        guard !csr.isForMachineModeOnly else { return false }
        return core.pointee.state.csr.mcounteren &>> UInt32(csr.rawValue & 31) & 1 == 1
    }
}

extension Instruction {
    /// The bits of a CSR instruction, for `mtval`.
    fileprivate var csrBits: UInt32 {
        let funct3: UInt32 = switch operation {
        case .csrrw: 1
        case .csrrs: 2
        case .csrrc: 3
        case .csrrwi: 5
        case .csrrsi: 6
        default: 7
        }
        return UInt32(bitPattern: immediate) &<< 20 | UInt32(rs1) &<< 15 | funct3 &<< 12 | UInt32(rd) &<< 7 | 0x73
    }
}

extension PhysicalMemoryProtection {
    /// A `pmpcfg` register.
    func configurationWord(_ index: Int) -> UInt32 {
        (0..<4).reduce(0) { $0 | UInt32(configuration[4 * index + $1]) &<< UInt32(8 * $1) }
    }
}

/// The counters: `mcycle` and `minstret` are the hart's own counts less a base, and stand still at a value while inhibited.
extension HartState {
    private static let cycleInhibit: UInt32 = 1, retiredInhibit: UInt32 = 4

    /// `mcycleh` and `mcycle`.
    var cycles: UInt64 { csr.mcountinhibit & Self.cycleInhibit == 0 ? time &- csr.cycleBase : csr.cycleBase }

    /// `minstreth` and `minstret`.
    var retiredCount: UInt64 { csr.mcountinhibit & Self.retiredInhibit == 0 ? retired &- csr.retiredBase : csr.retiredBase }

    mutating func setCycles(_ value: UInt64) {
        csr.cycleBase = csr.mcountinhibit & Self.cycleInhibit == 0 ? time &- value : value
    }

    mutating func setRetired(_ value: UInt64) {
        csr.retiredBase = csr.mcountinhibit & Self.retiredInhibit == 0 ? retired &- value : value
    }

    mutating func inhibit(_ mask: UInt32) {
        let cycles = cycles, retired = retiredCount
        csr.mcountinhibit = mask
        setCycles(cycles)
        setRetired(retired)
    }
}
