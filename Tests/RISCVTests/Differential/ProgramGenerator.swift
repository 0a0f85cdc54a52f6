import Simulation

/// A random program, once for the hart under test and once for QEMU: they differ where the hart traps a misaligned access and
/// QEMU performs it. There QEMU's has an illegal instruction that leads differential.S to the trap that is due.
struct RandomProgram {
    var code: [UInt8] = []
    var referenceCode: [UInt8] = []
    /// mcause and mtval for each marker.
    var markers: [(UInt32, UInt32)] = []
    var instructions = 0
}

/// Makes random programs: all instructions, random operands, jumps and loops, memory accesses that succeed, fault and are
/// misaligned, both privileges, PMP settings, CSR accesses, illegal instructions.
///
/// They always end: control only goes forward, but for loops of a few rounds. Every access has a base register that was set
/// just before, so that it hits the program's own data, or something that faults.
struct ProgramGenerator {
    static let instructionCount = 1000
    static let dataSize: UInt32 = 4096

    private var random: SplitMix64
    private let origin: UInt32
    private let data: UInt32
    private let firstMarker: Int
    private var program = RandomProgram()

    /// - Parameters:
    ///   - origin: where the code will be.
    ///   - data: the page that it may access.
    ///   - firstMarker: number of its first marker.
    init(seed: UInt64, origin: UInt32, data: UInt32, firstMarker: Int) {
        random = SplitMix64(seed: seed)
        self.origin = origin
        self.data = data
        self.firstMarker = firstMarker
    }

    mutating func generate() -> RandomProgram {
        while program.instructions < Self.instructionCount { item() }
        emit(0x0000_002b)
        return program
    }

    // MARK: Choice

    private mutating func below(_ limit: Int) -> Int { Int(random.next() % UInt64(limit)) }
    private mutating func register() -> Int { below(32) }
    /// A register other than x0.
    private mutating func baseRegister() -> Int { 1 + below(31) }
    private mutating func shortRegister() -> Int { 8 + below(8) }
    private mutating func value() -> UInt32 {
        let corners: [UInt32] = [0, 1, 2, 0xffff_ffff, 0x8000_0000, 0x7fff_ffff, 0xff, 0x8000, 31, 32]
        return below(3) == 0 ? corners[below(corners.count)] : UInt32(truncatingIfNeeded: random.next())
    }

    // MARK: Emission

    private mutating func emit(_ bits: UInt32, reference: UInt32? = nil) {
        let size = bits & 3 == 3 ? 4 : 2
        for byte in 0..<size {
            program.code.append(UInt8(truncatingIfNeeded: bits >> UInt32(8 * byte)))
            program.referenceCode.append(UInt8(truncatingIfNeeded: (reference ?? bits) >> UInt32(8 * byte)))
        }
        program.instructions += 1
    }

    private mutating func emit(_ all: [UInt32]) { for bits in all { emit(bits) } }

    /// A misaligned access that traps.
    private mutating func emitMisaligned(_ bits: UInt32, cause: UInt32, address: UInt32) {
        let marker = UInt32(firstMarker + program.markers.count)
        emit(bits, reference: marker << 12 | 0x0b)
        program.markers.append((cause, address))
    }

    private var here: UInt32 { origin + UInt32(program.code.count) }

    private mutating func item() {
        switch below(100) {
        case ..<40: compute()
        case ..<52: memory()
        case ..<58: atomic()
        case ..<70: jump()
        case ..<73: loop()
        case ..<80: csr()
        case ..<84: privilege()
        case ..<88: protection()
        case ..<92: trap()
        case ..<96: randomBits()
        default: emit(Assembler.li(baseRegister(), value()))
        }
    }

    // MARK: Registers

    private mutating func compute(avoiding avoided: Int? = nil) {
        var rd = register()
        while rd == avoided { rd = register() }
        switch below(8) {
        case 0, 1, 2:
            let all = InstructionTable.registerRegister
            let entry = all[below(all.count)]
            emit(Assembler.r(entry.funct7, entry.funct3, rd, register(), register()))
        case 3, 4:
            let all = InstructionTable.registerImmediate
            let entry = all[below(all.count)]
            let immediate = entry.funct7.map { Int($0) << 5 | below(32) } ?? below(4096)
            emit(Assembler.i(entry.funct3, rd, register(), immediate))
        case 5:
            let all = InstructionTable.unary
            let entry = all[below(all.count)]
            emit(Assembler.i(entry.funct3, rd, register(), Int(entry.funct12), opcode: entry.opcode))
        case 6:
            let upper = value()
            emit(below(2) == 0 ? Assembler.lui(rd, upper) : Assembler.auipc(rd, upper))
        default:
            compressed(avoiding: avoided)
        }
    }

    /// A compressed instruction that computes: any bits of those quadrants that neither jump nor access memory.
    private mutating func compressed(avoiding avoided: Int?) {
        while true {
            let bits = UInt32(below(0x10000))
            let funct3 = bits >> 13, quadrant = bits & 3, rd = Int(bits >> 7 & 31)
            let isComputing = switch (quadrant, funct3) {
            case (0, 0), (1, 0), (1, 2), (1, 3), (1, 4), (2, 0): true
            // c.mv and c.add, not c.jr, c.jalr and c.ebreak
            case (2, 4): bits >> 2 & 31 != 0
            default: false
            }
            let writes: Set = [rd, 8 + Int(bits >> 2 & 7), 8 + Int(bits >> 7 & 7)]
            guard isComputing, avoided.map({ !writes.contains($0) }) ?? true else { continue }
            emit(bits)
            return
        }
    }

    /// Bits that no one chose: illegal instructions above all. Only opcodes that don't leave the registers.
    private mutating func randomBits() {
        switch below(4) {
        case 0:
            emit(UInt32(truncatingIfNeeded: random.next()) & ~0x7f | 0x33)
        case 1:
            emit(UInt32(truncatingIfNeeded: random.next()) & ~0x7f | 0x13)
        case 2:
            // Reserved and absent: floating point, custom, 64-bit opcodes, RV128, vector, SYSTEM with reserved functions.
            let opcodes: [UInt32] = [0x07, 0x27, 0x43, 0x53, 0x1b, 0x3b, 0x5b, 0x7b, 0x57, 0x6b, 0x77]
            emit(UInt32(truncatingIfNeeded: random.next()) & ~0x7f | opcodes[below(opcodes.count)])
        default:
            let words: [UInt32] = [
                0, 0xffff_ffff, 0x1020_0073, 0x0020_0073, 0x7020_0073, 0x0000_4073, 0x0000_3003, 0x0000_7003, 0x0000_6003, 0x0000_3023,
                0x0000_4023, 0x0000_2063, 0x0000_3063, 0x0000_1067, 0x0000_302f, 0x1010_202f | 1 << 20, 0x2000, 0xa000, 0x6000 | 2,
                0x8002, 0x4002, 0x9c01, 0x9c41, 0x6081, 0x6101, 0x1002,
            ]
            emit(words[below(words.count)])
        }
    }

    // MARK: Memory

    /// A load or a store of 1, 2 or 4 bytes at `base` + `offset`.
    private mutating func access(_ isStore: Bool, _ size: UInt32, _ offset: Int, _ base: Int) -> UInt32 {
        if isStore { return Assembler.store(size >> 1, register(), offset, base) }
        let isUnsigned = size < 4 && below(2) == 0
        return Assembler.load(size >> 1 | (isUnsigned ? 4 : 0), register(), offset, base)
    }

    private mutating func memory() {
        let size = UInt32(1) << UInt32(below(3)), isStore = below(2) == 0
        let base = baseRegister(), offset = below(4096) - 2048
        switch below(10) {
        case 0:
            // Nothing is there, or nobody may go there.
            let address = [0, 0x4000_0000, 0x9000_0000, 0xffff_fff0][below(4)] + UInt32(below(4)) * 4
            emit(Assembler.li(base, address &- UInt32(truncatingIfNeeded: offset)))
            emit(access(isStore, size, offset, base))
        case 1 where size > 1:
            let address = data + UInt32(below(Int(Self.dataSize / 4) - 2)) * 4 + (size == 2 ? 1 : 1 + UInt32(below(3)))
            emit(Assembler.li(base, address &- UInt32(truncatingIfNeeded: offset)))
            emitMisaligned(access(isStore, size, offset, base), cause: isStore ? 6 : 4, address: address)
        case 2, 3:
            compressedAccess(isStore)
        default:
            let address = data + UInt32(below(Int(Self.dataSize / size))) * size
            emit(Assembler.li(base, address &- UInt32(truncatingIfNeeded: offset)))
            emit(access(isStore, size, offset, base))
            if below(3) == 0 { emit(access(!isStore, 1, offset, base)) }
        }
    }

    private mutating func compressedAccess(_ isStore: Bool) {
        let address = data + UInt32(below(Int(Self.dataSize / 4))) * 4
        if below(2) == 0 {
            let base = shortRegister(), offset = below(32) * 4
            emit(Assembler.li(base, address &- UInt32(offset)))
            emit(Assembler.cLoadStore(isStore, shortRegister(), offset, base))
        } else {
            let offset = below(64) * 4
            emit(Assembler.li(2, address &- UInt32(offset)))
            emit(isStore ? Assembler.cSwsp(register(), offset) : Assembler.cLwsp(baseRegister(), offset))
        }
    }

    private mutating func atomic() {
        let base = baseRegister()
        var address = data + UInt32(below(Int(Self.dataSize / 4))) * 4
        let isMisaligned = below(10) == 0
        if isMisaligned { address += 1 + UInt32(below(3)) }
        emit(Assembler.li(base, address))
        switch below(3) {
        case 0:
            let bits = Assembler.atomic(Assembler.atomics[below(9)], register(), register(), base)
            if isMisaligned { emitMisaligned(bits, cause: 6, address: address) } else { emit(bits) }
        case 1:
            if isMisaligned { return emitMisaligned(Assembler.lr(register(), base), cause: 4, address: address) }
            var rd = register()
            while rd == base { rd = register() }
            emit(Assembler.lr(rd, base))
            if below(3) == 0 { compute(avoiding: base) }
            if below(4) == 0 { emit(Assembler.sw(register(), 0, base)) }
            emit(Assembler.sc(rd, register(), base))
            emit(Assembler.sc(register(), register(), base))
        default:
            let bits = Assembler.sc(register(), register(), base)
            if isMisaligned { emitMisaligned(bits, cause: 6, address: address) } else { emit(bits) }
        }
    }

    // MARK: Control

    /// A jump or a branch across a few instructions.
    private mutating func jump() {
        var skipped = ProgramGenerator(seed: random.next(), origin: here, data: data, firstMarker: 0)
        for _ in 0..<below(4) { skipped.compute() }
        let distance = skipped.program.code.count
        switch below(9) {
        case 0: emit(Assembler.jal(register(), 4 + distance))
        case 1, 2, 3:
            let functions: [UInt32] = [0, 1, 4, 5, 6, 7]
            emit(Assembler.branch(functions[below(6)], register(), register(), 4 + distance))
        case 4: emit(Assembler.cJump(below(2) == 0, 2 + distance))
        case 5: emit(Assembler.cBranch(below(2) == 0, shortRegister(), 2 + distance))
        case 6:
            let base = baseRegister()
            emit(Assembler.auipc(base, 0))
            // An odd target: the lowest bit is dropped.
            emit(Assembler.jalr(register(), base, 8 + distance + below(2)))
        case 7:
            let base = baseRegister()
            emit(Assembler.auipc(base, 0))
            emit(Assembler.addi(base, base, 10 + distance))
            emit(Assembler.cRegister(below(2) == 0 ? 8 : 9, base, 0))
        default:
            // Out of memory, and back by x1.
            let base = baseRegister(), offset = below(4096) - 2048
            emit(Assembler.li(base, 0x4000_0000 &- UInt32(truncatingIfNeeded: offset) &+ UInt32(below(64)) * 2))
            emit(Assembler.jalr(1, base, offset))
        }
        program.code += skipped.program.code
        program.referenceCode += skipped.program.referenceCode
        program.instructions += skipped.program.instructions
    }

    private mutating func loop() {
        let counter = shortRegister()
        emit(Assembler.addi(counter, 0, 1 + below(6)))
        let start = program.code.count
        for _ in 0..<(1 + below(4)) { compute(avoiding: counter) }
        emit(Assembler.addi(counter, counter, -1))
        let offset = start - program.code.count
        switch below(3) {
        case 0: emit(Assembler.branch(1, counter, 0, offset))
        case 1: emit(Assembler.branch(6, 0, counter, offset))
        default: emit(Assembler.cBranch(true, counter, offset))
        }
    }

    // MARK: System

    private static let mstatus = 0x300, mie = 0x304, mcounteren = 0x306, mepc = 0x341, mcause = 0x342, mtval = 0x343

    private mutating func csr() {
        let rd = register(), source = baseRegister()
        switch below(8) {
        case 0:
            // Bits that exist, but for the upper privilege bits, of which QEMU keeps all.
            let mask: [UInt32] = [0x8, 0x80, 0x88, 0x2_0000, 0x2_0088, 0x20_0000]
            emit(Assembler.li(source, mask[below(mask.count)]))
            emit(Assembler.csr(2 + UInt32(below(2)), rd, Self.mstatus, source))
        case 1:
            emit(Assembler.li(source, UInt32(truncatingIfNeeded: random.next()) & 0x888))
            emit(Assembler.csr(1 + UInt32(below(3)), rd, Self.mie, source))
        case 2: emit(Assembler.csr(5 + UInt32(below(3)), rd, Self.mcounteren, below(8)))
        case 3:
            emit(Assembler.li(source, value() & ~1))
            emit(Assembler.csr(1 + UInt32(below(3)), rd, Self.mepc, source))
        case 4: emit(Assembler.csr(5 + UInt32(below(3)), rd, Self.mcause, below(16)))
        case 5: emit(Assembler.csr([1, 2, 3, 5, 6, 7][below(6)], rd, Self.mtval, register()))
        case 6:
            // Counters: readable or not, but nobody knows their values. And numbers at which there is nothing.
            let numbers = [0xc00, 0xc02, 0xc80, 0xc82, 0xb00, 0xb02, 0xf14, 0x5c0, 0x015, 0x8ff, 0x7ff]
            emit(Assembler.csr(2, 0, numbers[below(numbers.count)], 0))
        default:
            // Read-only ones, written. (QEMU takes a csrrs or csrrc of a register that holds 0 for a read.)
            emit(Assembler.addi(source, 0, 1))
            emit(Assembler.csr(1 + UInt32(below(3)), 0, [0xc00, 0xf11, 0xf14][below(3)], source))
        }
    }

    private mutating func privilege() {
        switch below(3) {
        case 0:
            // To U-mode, behind the mret, if this is M-mode; otherwise three illegal instructions.
            let base = baseRegister()
            emit(Assembler.auipc(base, 0))
            emit(Assembler.addi(base, base, 28))
            emit(Assembler.csrw(Self.mepc, base))
            // QEMU 7.2 leaves MPRV set in U-mode, so it is cleared here.
            emit(Assembler.li(base, 0x2_1800))
            emit(Assembler.csr(3, 0, Self.mstatus, base))
            emit(Assembler.mret)
        case 1: emit(Assembler.ecall)
        default:
            // M-mode with the rights of U-mode for an access.
            let base = baseRegister(), data = baseRegister()
            emit(Assembler.li(base, 0x2_0000))
            emit(Assembler.csr(2, 0, Self.mstatus, base))
            emit(Assembler.li(data, self.data + UInt32(below(1024)) * 4))
            emit(access(below(2) == 0, 4, 0, data))
            emit(Assembler.csr(3, 0, Self.mstatus, base))
        }
    }

    /// One of the first four PMP entries: somewhere in the program's data, with any permission but writing alone.
    private mutating func protection() {
        let entry = below(4), base = baseRegister()
        let permissions: [UInt32] = [0, 1, 3, 4, 5, 7]
        // A top-of-range entry begins at the one below: entry 0's would have all the code in it.
        let mode = UInt32(entry == 0 ? [0, 2, 3][below(3)] : below(4))
        var address = (data + UInt32(below(1024)) * 4) >> 2
        if mode == 3 {
            // Of 8 bytes to 2 KiB.
            let ones = UInt32(below(9))
            address = address & ~((1 << (ones + 1)) - 1) | ((1 << ones) - 1)
        }
        emit(Assembler.li(base, address))
        emit(Assembler.csrw(0x3b0 + entry, base))
        if mode == 1 {
            emit(Assembler.li(base, (data >> 2) + UInt32(below(1024))))
            emit(Assembler.csrw(0x3b0 + entry - 1, base))
        }
        // QEMU 7.2 looks at the entry below a top-of-range entry only when that one's configuration is written: so it comes last.
        let shift = UInt32(8 * entry)
        emit(Assembler.li(base, 0xff << shift))
        emit(Assembler.csr(3, register(), 0x3a0, base))
        emit(Assembler.li(base, (mode << 3 | permissions[below(6)]) << shift))
        emit(Assembler.csr(2, register(), 0x3a0, base))
    }

    private mutating func trap() {
        switch below(6) {
        case 0: emit(Assembler.ecall)
        case 1: emit(Assembler.ebreak)
        case 2: emit(0x9002)  // c.ebreak
        case 3: emit(Assembler.fence)
        case 4: emit(Assembler.fenceI)
        default: emit(UInt32(0))
        }
    }
}
