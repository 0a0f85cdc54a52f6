import Debugging
import Glibc
import OffloadDevice
import Registers
import Scratch
import Simulation
import Testing

/// A recorded run of a small program on two harts, with interrupts, sleep, and a host that comes now and then.
///
///     0x80000000  lui   t0, 0x80002
///                 csrr  t3, mhartid
///                 bnez  t3, second
///                 lui   t4, 0x80000           the handler of the timer's interrupts
///                 addi  t4, t4, 0x64
///                 csrw  mtvec, t4
///                 lui   s0, 0x2004            MTIMECMP
///                 lui   s1, 0x200c            MTIME + 8
///                 lui   t2, 0x2000            MSIP
///                 lw    a0, -8(s1)
///                 addi  a0, a0, 900
///                 sw    a0, 0(s0)
///                 sw    zero, 4(s0)
///                 li    a1, 0x80
///                 csrw  mie, a1
///                 csrsi mstatus, 8
///     loop:       addi  t1, t1, 1             0x80000040
///                 sw    t1, 0(t0)             0x80002000
///                 andi  a2, t1, 1
///                 sw    a2, 4(t2)             the software interrupt of hart 1
///                 andi  a3, t1, 63
///                 bnez  a3, loop
///                 wfi
///                 j     loop
///                 nop
///     handler:    csrw  mscratch, a0          0x80000064
///                 lw    a0, -8(s1)
///                 addi  a0, a0, 900
///                 sw    a0, 0(s0)
///                 addi  s2, s2, 1
///                 csrr  a0, mscratch
///                 mret
///     second:     addi  t1, t1, 3             0x80000080
///                 lw    a0, 0(t0)
///                 add   t1, t1, a0
///                 sw    t1, 4(t0)
///                 j     second
enum RecordedRun {
    static let code: [UInt32] = [
        0x8000_22b7, 0xf140_2e73, 0x060e_1c63, 0x8000_0eb7, 0x064e_8e93, 0x305e_9073, 0x0200_4437, 0x0200_c4b7, 0x0200_03b7, 0xff84_a503,
        0x3845_0513, 0x00a4_2023, 0x0004_2223, 0x0800_0593, 0x3045_9073, 0x3004_6073, 0x0013_0313, 0x0062_a023, 0x0013_7613, 0x00c3_a223,
        0x03f3_7693, 0xfe06_96e3, 0x1050_0073, 0xfe5f_f06f, 0x0000_0013, 0x3405_1073, 0xff84_a503, 0x3845_0513, 0x00a4_2023, 0x0019_0913,
        0x3400_2573, 0x3020_0073, 0x0033_0313, 0x0002_a503, 0x00a3_0333, 0x0062_a223, 0xff1f_f06f,
    ]
    static let loop: UInt32 = 0x8000_0040, handler: UInt32 = 0x8000_0064, second: UInt32 = 0x8000_0080
    /// The word that hart 0 counts in, and that of hart 1.
    static let counter: UInt64 = 0x8000_2000, sum: UInt64 = 0x8000_2004

    /// Records a run of so many cycles into the folder.
    static func record(in folder: TemporaryFolder, cycles: Cycle = 60_000, harts: Int = 2) throws -> Recording {
        var description = MachineDescription()
        description.harts = harts
        description.quantum = 1000
        description.memory.host = 1 << 20
        description.virtualFunctions.total = 1
        description.virtualFunctions.enabled = 0
        description.virtualFunctions.disk.size = 1 << 20
        let machine = try Machine(description, pace: .lockstep)
        try machine.startRecording(folder: folder.path)
        try machine.loadFirmware(elf(code))
        if harts == 2 { machine.perform(.debuggerWrite(address: 0x1002_0060, size: 4, value: 3)) }
        for round in 0..<12 as Range<UInt64> {
            machine.advance(by: cycles / 12)
            let scratch = try DeviceBus.location(named: "HOSTIF.SCRATCH[\(round % 4)]").location.address
            machine.writeBAR(function: 0, bar: 0, offset: scratch, size: 4, value: round + 1, origin: 7)
            _ = machine.readBAR(function: 0, bar: 0, offset: 0, size: 4, origin: 7)
        }
        #expect(machine.stopRecording() == nil)
        return try Recording(folder: folder.path)
    }
}

/// An ELF32 executable with one segment, at the start of SRAM.
func elf(_ code: [UInt32]) -> [UInt8] {
    let base: UInt32 = 0x8000_0000, size = UInt32(code.count * 4)
    let header: [UInt32] = [
        0x464c_457f, 0x0001_0101, 0, 0, 0x00f3_0002, 1, base, 52, 0, 0, 0x0020_0034, 0x0028_0001, 0,
        1, 84, base, base, size, size, 5, 4,
    ]
    return (header + code).flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
}
