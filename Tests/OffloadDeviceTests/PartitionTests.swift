import OffloadDevice
import PCIExpress
import RegisterMaps
import Registers
import Testing

@Suite struct PartitionTests {
    /// The firmware gives VM 2 memory blocks 8...11 of 64 KiB; the host reaches the rest of BAR2 and not those.
    @Test func theHostDoesNotReachMemoryOfAVirtualMachine() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let blocks: ClosedRange<UInt64> = 0x8_0000...0xb_ffff
        machine.write(0, 2, blocks.lowerBound, 0x1234_5678)
        var program = TestProgram()
        program.poke(try address("RM.STAGED_REGION[0]"), 2 | 8 << 8 | 4 << 20)
        program.poke(try address("RM.COMMAND"), 1)
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 30_000)

        for offset in [blocks.lowerBound, blocks.upperBound - 3] {
            #expect(machine.readBAR(function: 0, bar: 2, offset: offset, size: 4, origin: 1) == (0xffff_ffff, .denied))
            #expect(machine.writeBAR(function: 0, bar: 2, offset: offset, size: 4, value: 0, origin: 1) == .denied)
        }
        for offset in [blocks.lowerBound - 4, blocks.upperBound + 1] {
            machine.write(0, 2, offset, 77)
            #expect(machine.read(0, 2, offset) == 77)
        }
        machine.inspect { device in
            #expect(device.peek(.firmware, 0x4000_0000 + blocks.lowerBound, size: 4) == 0, "cleared as it changed hands")
            #expect(device.resourceManager.registers[RM.DENIED] == 4)
            #expect(device.resourceManager.registers[RM.ACTIVE_DENIED, 0] == 4)
        }
    }

    /// Every virtual function's component runs on the device before any firmware has run, under its controller.
    @Test func componentsRunUnderTheirControllerFromPowerOn() throws {
        let machine = try Machine(.small, pace: .lockstep)
        let (identity, state) = (try address("VIC.COMPONENT[0].IDENTITY"), try address("VIC.COMPONENT[0].STATE"))
        machine.inspect { device in
            for entry in 1...4 as ClosedRange<UInt64> {
                #expect(device.functions[Int(entry) - 1].device.isServing)
                #expect(device.peek(.firmware, identity + 0x40 * entry, size: 4)! & 0xffff == 2 | entry << 8)
                #expect(device.peek(.firmware, state + 0x40 * entry, size: 4) == 0x181)
            }
            #expect(device.peek(.firmware, state + 0x20 * 5, size: 4)! & 0xf == 0, "there are four virtual functions")
        }
        var program = TestProgram()
        program.poke(try address("VIC.COMPONENT[2].TRANSITION"), 2)
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 10_000)
        machine.inspect { device in
            #expect(device.functions[0].device.isServing && !device.functions[1].device.isServing, "the firmware quiesced component 2")
        }
    }
}
