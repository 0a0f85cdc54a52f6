import OffloadDevice

/// The registers by the numbers of the protocol, and the documents that describe harts and memory to the client
/// (Debugging with GDB, appendices G and E.14).
enum TargetDescription {
    /// GDB's own numbers: x0...x31, pc, then from 65 on the CSRs, and after the last of these the privilege mode.
    static func register(_ number: UInt64) -> HartRegister? {
        switch number {
        case 0...31: .integer(Int(number))
        case 32: .pc
        case firstCSR..<firstCSR + 4096: .csr(UInt16(number - firstCSR))
        case privilege: .privilege
        default: nil
        }
    }

    /// What `g` and `G` transfer.
    static let generalRegisters: [HartRegister] = (0..<32).map { .integer($0) } + [.pc]

    private static let firstCSR: UInt64 = 65
    private static let privilege = firstCSR + 4096

    private static let names = [
        "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "fp", "s1", "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "s2", "s3", "s4",
        "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
    ]

    /// CSRs that mean something on these harts, by GDB's names.
    private static let csrs: [(name: String, number: UInt64)] = {
        var csrs: [(String, UInt64)] = [
            ("mstatus", 0x300), ("misa", 0x301), ("mie", 0x304), ("mtvec", 0x305), ("mcounteren", 0x306), ("mcountinhibit", 0x320),
            ("mscratch", 0x340), ("mepc", 0x341), ("mcause", 0x342), ("mtval", 0x343), ("mip", 0x344),
        ]
        csrs += (0..<4).map { ("pmpcfg\($0)", 0x3a0 + UInt64($0)) }
        csrs += (0..<16).map { ("pmpaddr\($0)", 0x3b0 + UInt64($0)) }
        csrs += [("mcycle", 0xb00), ("minstret", 0xb02), ("mcycleh", 0xb80), ("minstreth", 0xb82)]
        csrs += [("cycle", 0xc00), ("instret", 0xc02), ("cycleh", 0xc80), ("instreth", 0xc82)]
        return csrs + [("mvendorid", 0xf11), ("marchid", 0xf12), ("mimpid", 0xf13), ("mhartid", 0xf14)]
    }()

    /// `target.xml`.
    static let features: String = {
        var xml = """
            <?xml version="1.0"?>
            <!DOCTYPE target SYSTEM "gdb-target.dtd">
            <target version="1.0"><architecture>riscv:rv32</architecture><feature name="org.gnu.gdb.riscv.cpu">

            """
        for (number, name) in names.enumerated() {
            xml += register(name, UInt64(number), type: number == 1 ? "code_ptr" : (2...4).contains(number) ? "data_ptr" : "int")
        }
        xml += register("pc", 32, type: "code_ptr") + "</feature><feature name=\"org.gnu.gdb.riscv.csr\">\n"
        for csr in csrs { xml += register(csr.name, firstCSR + csr.number, type: "int") }
        xml += "</feature><feature name=\"org.gnu.gdb.riscv.virtual\">\n"
        return xml + register("priv", privilege, type: "int") + "</feature></target>\n"
    }()

    private static func register(_ name: String, _ number: UInt64, type: String) -> String {
        "<reg name=\"\(name)\" bitsize=\"32\" regnum=\"\(number)\" type=\"\(type)\"/>\n"
    }

    static func memoryMap(_ memories: [TargetMemory]) -> String {
        var xml = """
            <?xml version="1.0"?>
            <!DOCTYPE memory-map PUBLIC "+//IDN gnu.org//DTD GDB Memory Map V1.0//EN" "http://sourceware.org/gdb/gdb-memory-map.dtd">
            <memory-map>

            """
        for memory in memories {
            let type = memory.isReadOnly ? "rom" : "ram"
            xml += "<memory type=\"\(type)\" start=\"0x\(String(memory.address, radix: 16))\" "
            xml += "length=\"0x\(String(memory.count, radix: 16))\"/>\n"
        }
        return xml + "</memory-map>\n"
    }

    static func threads(_ target: some DebugTarget) -> String {
        var xml = "<?xml version=\"1.0\"?>\n<threads>\n"
        for hart in 0..<target.hartCount {
            xml += "<thread id=\"\(hart + 1)\" name=\"hart \(hart)\">\(target.activity(ofHart: hart))</thread>\n"
        }
        return xml + "</threads>\n"
    }
}
