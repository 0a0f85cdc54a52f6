import Registers

/// A program for the management core, put together instruction by instruction, and its ELF file.
struct TestProgram {
    static let base: UInt32 = 0x8000_0000

    private(set) var words: [UInt32] = []

    /// Registers by their ABI names, as far as tests use them.
    enum Register: UInt32 { case zero = 0, ra = 1, t0 = 5, t1 = 6, t2 = 7, s0 = 8, s1 = 9, a0 = 10, a1 = 11, a2 = 12, a3 = 13, a4 = 14 }

    /// The address of the next instruction.
    var here: UInt32 { Self.base + UInt32(words.count) * 4 }

    /// `lui` and `addi`.
    mutating func load(_ register: Register, _ value: UInt32) {
        let low = Int32(bitPattern: value << 20) >> 20
        let high = value &- UInt32(bitPattern: low)
        words.append(high & 0xffff_f000 | register.rawValue << 7 | 0x37)
        add(register, register, low)
    }

    /// `addi`.
    mutating func add(_ target: Register, _ source: Register, _ immediate: Int32) {
        words.append(UInt32(bitPattern: immediate) << 20 | source.rawValue << 15 | target.rawValue << 7 | 0x13)
    }

    /// `add`.
    mutating func sum(_ target: Register, _ first: Register, _ second: Register) {
        words.append(second.rawValue << 20 | first.rawValue << 15 | target.rawValue << 7 | 0x33)
    }

    /// `lw`.
    mutating func read(_ target: Register, _ base: Register, _ offset: Int32 = 0) {
        words.append(UInt32(bitPattern: offset) << 20 | base.rawValue << 15 | 2 << 12 | target.rawValue << 7 | 0x03)
    }

    /// `sw`.
    mutating func write(_ source: Register, _ base: Register, _ offset: Int32 = 0) {
        let immediate = UInt32(bitPattern: offset)
        let (high, low) = ((immediate >> 5) << 25, immediate & 0x1f)
        words.append(high | source.rawValue << 20 | base.rawValue << 15 | 2 << 12 | low << 7 | 0x23)
    }

    /// `jal zero` to an address.
    mutating func jump(to target: UInt32) {
        let offset = target &- here
        words.append((offset >> 20 & 1) << 31 | (offset >> 1 & 0x3ff) << 21 | (offset >> 11 & 1) << 20 | (offset >> 12 & 0xff) << 12 | 0x6f)
    }

    /// `beq` to an address.
    mutating func branch(ifEqual first: Register, _ second: Register, to target: UInt32) { branch(0, first, second, target) }
    /// `bne` to an address.
    mutating func branch(ifNotEqual first: Register, _ second: Register, to target: UInt32) { branch(1, first, second, target) }

    private mutating func branch(_ condition: UInt32, _ first: Register, _ second: Register, _ target: UInt32) {
        let offset = target &- here
        let high = (offset >> 12 & 1) << 31 | (offset >> 5 & 0x3f) << 25
        let low = (offset >> 1 & 0xf) << 8 | (offset >> 11 & 1) << 7
        words.append(high | second.rawValue << 20 | first.rawValue << 15 | condition << 12 | low | 0x63)
    }

    /// `csrrw zero`.
    mutating func writeCSR(_ csr: UInt32, _ source: Register) { words.append(csr << 20 | source.rawValue << 15 | 1 << 12 | 0x73) }
    mutating func wait() { words.append(0x1050_0073) }

    /// Stores a constant to an address on the bus.
    mutating func poke(_ address: UInt64, _ value: UInt32) {
        load(.t0, UInt32(address))
        load(.t1, value)
        write(.t1, .t0)
    }

    /// Writes a byte to the console. At the reset divisor and with an empty FIFO it needs no waiting.
    mutating func print(_ text: String) {
        load(.t0, 0x1000_0000)
        for byte in text.utf8 {
            load(.t1, UInt32(byte))
            write(.t1, .t0)
        }
    }

    /// An ELF32 executable with one segment.
    var elf: [UInt8] {
        var file: [UInt8] = []
        func put(_ value: UInt32, _ bytes: Int) {
            for byte in 0..<bytes { file.append(UInt8(truncatingIfNeeded: value >> UInt32(8 * byte))) }
        }
        file += [0x7f, 0x45, 0x4c, 0x46, 1, 1, 1, 0] + [UInt8](repeating: 0, count: 8)
        put(2, 2); put(243, 2); put(1, 4); put(Self.base, 4); put(52, 4); put(0, 4); put(0, 4)
        put(52, 2); put(32, 2); put(1, 2); put(40, 2); put(0, 2); put(0, 2)
        let size = UInt32(words.count * 4)
        for value in [1, 84, Self.base, Self.base, size, size + 4096, 7, 4] { put(value, 4) }
        for word in words { put(word, 4) }
        return file
    }

    /// A program that reads the time, prints and answers the host; all of its accesses depend on when they happen.
    static func restless() throws -> TestProgram {
        var program = TestProgram()
        program.load(.s0, 0x4000_0000)
        program.load(.s1, UInt32(try address("ACLINT.MTIME")))
        program.load(.a2, UInt32(try address("UART.DATA")))
        let loop = program.here
        program.read(.a0, .s1)
        program.write(.a0, .a2)
        program.read(.a1, .s0)
        program.write(.a0, .s0, 8)
        program.jump(to: loop)
        return program
    }
}
