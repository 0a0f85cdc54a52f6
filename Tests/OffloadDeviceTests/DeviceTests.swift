import OffloadDevice
import PCIExpress
import RegisterMaps
import Registers
import Synchronization
import Testing

/// Collects what the firmware prints.
final class ConsoleText: Sendable {
    private let bytes = Mutex<[UInt8]>([])
    func append(_ byte: UInt8) { bytes.withLock { $0.append(byte) } }
    var text: String { String(decoding: bytes.withLock { $0 }, as: UTF8.self) }
}

extension MachineDescription {
    /// Small and quick to make.
    static var small: MachineDescription {
        var description = MachineDescription()
        description.harts = 1
        description.memory.host = 1 << 20
        description.virtualFunctions.total = 4
        description.virtualFunctions.enabled = 2
        description.virtualFunctions.disk.size = 1 << 20
        return description
    }
}

/// Addresses on the firmware's bus by name: `WDT.BARK`.
func address(_ name: String) throws -> UInt64 {
    let location = try BusMap.firmwareBus.location(named: name)
    return location.block.base + location.block.map.registers[location.index.rawValue].offset(ofElement: location.element)
}

/// Offsets in the physical function's BAR0 by name: `HOSTIF.SCRATCH[0]`.
func hostOffset(_ name: String) throws -> UInt64 {
    let location = try BusMap.pfBar0.location(named: name)
    return location.block.base + location.block.map.registers[location.index.rawValue].offset(ofElement: location.element)
}

extension Machine {
    func read(_ function: Int, _ bar: Int, _ offset: UInt64, _ size: Int = 4) -> UInt64 {
        let (value, status) = readBAR(function: function, bar: bar, offset: offset, size: size, origin: 4711)
        #expect(status == .ok, "read of \(size) bytes at 0x\(String(offset, radix: 16)) of BAR \(bar) of function \(function)")
        return value
    }

    func write(_ function: Int, _ bar: Int, _ offset: UInt64, _ value: UInt64, _ size: Int = 4) {
        let status = writeBAR(function: function, bar: bar, offset: offset, size: size, value: value, origin: 4711)
        #expect(status == .ok, "write of \(size) bytes at 0x\(String(offset, radix: 16)) of BAR \(bar) of function \(function)")
    }

    /// Runs until a condition holds, for at most `cycles`.
    func run(atMost cycles: UInt64 = 10_000_000, until condition: () -> Bool) -> Bool {
        let end = now + cycles
        while now < end {
            if condition() { return true }
            advance(by: 1_000)
        }
        return condition()
    }
}

@Suite struct DeviceTests {
    @Test func aProgramBootsAndPrints() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let console = ConsoleText()
        machine.onConsoleOutput { console.append($0) }
        var program = TestProgram()
        program.poke(try address("UART.IIR_FCR"), 7)
        program.print("hello\n")
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 100_000)
        #expect(console.text == "hello\n")
        #expect(machine.now >= 100_000)
    }

    @Test func everyBlockAnswersAtItsAddress() throws {
        let machine = try Machine(.small, pace: .lockstep)
        machine.inspect { device in
            for (bus, map) in [(DeviceBus.firmware, BusMap.firmwareBus), (.physicalFunction, .pfBar0), (.virtualFunction, .vfBar0)] {
                for block in map.blocks {
                    for register in block.map.registers where register.fields.contains(where: { $0.software.canRead }) {
                        let value = device.peek(bus, block.base + register.offset, size: register.width / 8)
                        #expect(value != nil, "\(block.name).\(register.name)")
                    }
                }
            }
            #expect(device.peek(.firmware, 0x1002_0010, size: 4) == 0x4f55_5452)
            #expect(device.peek(.firmware, 0x1009_0000, size: 4) == nil)
        }
    }

    /// A write of the host to shared memory is seen by the firmware, whose answer the host reads back.
    @Test func wordsGoFromTheHostToTheFirmwareAndBack() throws {
        let machine = try Machine(.small, pace: .lockstep)
        var program = TestProgram()
        program.load(.s0, 0x4000_0000)
        let loop = program.here
        program.read(.a0, .s0)
        program.branch(ifEqual: .a0, .zero, to: loop)
        program.add(.a0, .a0, 1)
        program.write(.a0, .s0, 4)
        program.jump(to: loop)
        try machine.loadFirmware(program.elf)
        machine.write(0, 2, 0, 41)
        #expect(machine.run { machine.read(0, 2, 4) == 42 })
    }

    @Test func aDoorbellWakesTheFirmware() throws {
        let machine = try Machine(.small, pace: .lockstep)
        // The firmware waits for the mailbox's interrupt in wfi, then writes to shared memory.
        var program = TestProgram()
        program.poke(try address("MAILBOX.INTR_ENABLE"), 0xffff_ffff)
        program.poke(try address("PLIC.PRIORITY[6]"), 1)
        program.poke(try address("PLIC.ENABLE[0]"), 1 << 7)
        program.load(.t0, 1 << 11)
        program.writeCSR(0x304, .t0)
        program.wait()
        program.poke(0x4000_0010, 0xbeef)
        let end = program.here
        program.jump(to: end)
        try machine.loadFirmware(program.elf)
        machine.advance(by: 50_000)
        #expect(machine.read(0, 2, 0x10) == 0)
        machine.write(0, 0, try hostOffset("HOSTIF.DOORBELL"), 0xffff_ffff)
        #expect(machine.run { machine.read(0, 2, 0x10) == 0xbeef })
    }

    @Test func theWatchdogRestartsTheFirmware() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let console = ConsoleText()
        machine.onConsoleOutput { console.append($0) }
        var program = TestProgram()
        program.poke(try address("UART.IIR_FCR"), 7)
        program.print("boot\n")
        program.poke(try address("WDT.UNLOCK"), 0x1acc_e551)
        program.poke(try address("WDT.BITE"), 50)
        program.poke(try address("WDT.CTRL"), 3)
        let end = program.here
        program.jump(to: end)
        try machine.loadFirmware(program.elf)
        machine.advance(by: 175_000)
        #expect(console.text == "boot\nboot\nboot\nboot\n")
        machine.inspect { device in
            #expect(device.systemController.registers[SYSCTL.RESET_CAUSE] == 0b1011)
            #expect(device.systemController.registers[SYSCTL.RESET_COUNT] == 4)
        }
    }

    @Test func aPattedWatchdogStaysQuietAndALockedOneCannotBeSwitchedOff() throws {
        let machine = try Machine(.small, pace: .lockstep)
        var program = TestProgram()
        program.poke(try address("WDT.UNLOCK"), 0x1acc_e551)
        program.poke(try address("WDT.BITE"), 50)
        program.poke(try address("WDT.CTRL"), 3)
        program.poke(try address("WDT.UNLOCK"), 0)
        program.poke(try address("WDT.CTRL"), 0)
        program.load(.t0, UInt32(try address("WDT.PAT")))
        program.load(.t1, 0x600d_0d06)
        let loop = program.here
        program.write(.t1, .t0)
        program.jump(to: loop)
        try machine.loadFirmware(program.elf)
        machine.advance(by: 1_000_000)
        machine.inspect { device in
            #expect(device.systemController.registers[SYSCTL.RESET_COUNT] == 1)
            #expect(device.watchdog.registers[WDT.CTRL] == 3)
        }
    }

    @Test func plantedMemoryErrorsAreMetByTheFirmware() throws {
        let machine = try Machine(.small, pace: .lockstep)
        // Counts how often it can read a word of SRAM; an access fault ends in the trap handler, which stops counting.
        var program = TestProgram()
        let handlerAt = program.here + 4
        program.jump(to: handlerAt + 8)
        program.wait()
        program.jump(to: handlerAt)
        program.load(.t0, handlerAt)
        program.writeCSR(0x305, .t0)
        program.load(.s0, 0x8010_0000)
        program.load(.s1, 0x4000_0000)
        program.add(.a1, .zero, 0)
        let loop = program.here
        program.read(.a0, .s0)
        program.add(.a1, .a1, 1)
        program.write(.a1, .s1)
        program.jump(to: loop)
        try machine.loadFirmware(program.elf)
        machine.advance(by: 20_000)
        let before = machine.read(0, 2, 0)
        #expect(before > 100)
        try machine.injectMemoryError(at: 0x8010_0002, isCorrectable: true)
        machine.advance(by: 20_000)
        let between = machine.read(0, 2, 0)
        #expect(between > before)
        machine.inspect { device in
            let registers = device.systemController.registers
            #expect(registers[SYSCTL.ECC_CORRECTED] > 10)
            #expect(registers[SYSCTL.ECC_UNCORRECTED] == 0)
            #expect(registers[SYSCTL.ECC_ADDRESS] == 0x8010_0000)
            #expect(registers[SYSCTL.ECC_STATUS.planted] == 1)
        }
        try machine.injectMemoryError(at: 0x8010_0000, isCorrectable: false)
        machine.advance(by: 20_000)
        let after = machine.read(0, 2, 0)
        machine.advance(by: 20_000)
        #expect(machine.read(0, 2, 0) == after)
        machine.inspect { #expect($0.systemController.registers[SYSCTL.ECC_UNCORRECTED] == 1) }
        #expect(throws: MachineError.self) { try machine.injectMemoryError(at: 0x1000, isCorrectable: true) }
    }

    @Test func badFirmwareIsRefusedAndTheDeviceGoesOn() throws {
        let machine = try Machine(.small, pace: .lockstep)
        #expect(throws: MachineError.self) { try machine.loadFirmware([0x7f, 0x45, 0x4c, 0x46]) }
        #expect(throws: MachineError.self) { try machine.restartFirmware() }
        #expect(machine.read(0, 0, try hostOffset("HOSTIF.MAGIC")) != 0)
    }

    @Test func badHostAccessesAreAnsweredAsPCIeDoes() throws {
        let machine = try Machine(.small, pace: .lockstep)
        for (offset, size) in [(0x8000 as UInt64, 4), (1, 4), (0, 3), (0x10000, 4), (UInt64.max, 8)] {
            let (value, status) = machine.readBAR(function: 0, bar: 0, offset: offset, size: size, origin: 1)
            #expect(status != .ok)
            #expect(value == (size >= 8 ? UInt64.max : (1 << UInt64(8 * size)) - 1))
        }
        for function in [3, 77, -1] { #expect(machine.readBAR(function: function, bar: 0, offset: 0, size: 4, origin: 1).status != .ok) }
        // Two virtual functions are there, each with its configuration queue count.
        for function in 1...2 { #expect(machine.read(function, 0, 0x12, 2) == 1) }
    }

    /// A capability's offset in a function's configuration space.
    private func capability(_ id: UInt8, of function: Int, in machine: Machine) -> Int? {
        var space = [UInt8](repeating: 0, count: 256)
        _ = space.withUnsafeMutableBytes { machine.readConfiguration(function: function, offset: 0, into: $0) }
        var offset = Int(space[0x34])
        for _ in 0..<48 where offset >= 0x40 && space[offset] != id { offset = Int(space[offset + 1]) }
        return offset >= 0x40 && space[offset] == id ? offset : nil
    }

    @Test func interruptMessagesReachTheHost() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let seen = Mutex<[[Int?]]>([])
        machine.onInterrupt { function, vector in seen.withLock { $0.append([function, vector]) } }
        func configure(_ offset: Int, _ value: UInt16) {
            _ = withUnsafeBytes(of: value.littleEndian) { machine.writeConfiguration(function: 0, offset: offset, $0) }
        }
        // HOSTIF asks for vector 3, which is masked at first.
        let vector: UInt64 = 3
        machine.write(0, 0, try hostOffset("HOSTIF.INTR_ENABLE"), 0xffff_ffff)
        machine.write(0, 0, try hostOffset("HOSTIF.VECTOR"), vector << 16 | vector << 8 | vector)
        configure(try #require(capability(0x11, of: 0, in: machine)) + 2, 0x8000)
        configure(4, 6)
        machine.write(0, 0, try hostOffset("HOSTIF.INTR_TEST"), 1)
        #expect(seen.withLock { $0 }.isEmpty)
        #expect(machine.read(0, 4, 0x2000) == 1 << vector)
        machine.write(0, 4, vector * 16 + 12, 0)
        #expect(seen.withLock { $0 } == [[0, 3]])
        #expect(machine.read(0, 4, 0x2000) == 0)
        machine.write(0, 0, try hostOffset("HOSTIF.INTR_TEST"), 1)
        #expect(machine.interruptCount(function: 0) == 2)
        #expect(machine.waitForInterrupt(function: 0, after: 1) == 2)
    }

    @Test func waitingForAnInterruptThatNeverComesEnds() throws {
        let machine = try Machine(.small, pace: .lockstep)
        #expect(machine.waitForInterrupt(function: 0, after: 0) == 0)
        #expect(machine.now == 2 * MachineDescription.small.clockHertz)
    }

    @Test func virtualFunctionsComeAndGo() throws {
        let machine = try Machine(.small, pace: .lockstep)
        #expect(machine.readBAR(function: 4, bar: 0, offset: 0x12, size: 2, origin: 1).status != .ok)
        try machine.inspect { device throws(VirtualFunctionError) in
            try device.hierarchy.setVirtualFunctions(0)
            try device.hierarchy.setVirtualFunctions(4)
        }
        #expect(machine.read(4, 0, 0x12, 2) == 1)
        machine.write(2, 0, 0x14, 3, 1)
        #expect(machine.read(2, 0, 0x14, 1) == 3)
        machine.inspect { device in
            let function = device.hierarchy.function(2)!
            #expect(device.hierarchy.resetFromHost(function))
        }
        #expect(machine.read(2, 0, 0x14, 1) == 0)
    }
}
