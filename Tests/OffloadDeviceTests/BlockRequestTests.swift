import Interconnect
import OffloadDevice
import PCIExpress
import RegisterMaps
import Registers
import Testing
import Virtio

@Suite struct BlockRequestTests {
    @Test func whatIsWrittenIsReadAndEverybodyCounts() throws {
        let machine = try Machine(.small, pace: .lockstep)
        machine.inspect { device in
            device.analyzer.registers[WA.CONTROL.enable] = 1
        }
        var first = BlockDriver(machine, function: 1, offset: 0)
        var second = BlockDriver(machine, function: 2, offset: 0x10000)
        for (place, byte) in first.data.indices.enumerated() { first.data[byte] = UInt8(truncatingIfNeeded: place &* 7) }
        let written = Array(first.data[..<8192])
        #expect(first.request(type: 1, sector: 100, count: 8192) == 0)
        for byte in first.data.indices { first.data[byte] = 0 }
        #expect(first.request(type: 0, sector: 100, count: 8192) == 0)
        #expect(Array(first.data[..<8192]) == written)
        // Functions have disks of their own.
        #expect(second.request(type: 0, sector: 100, count: 512) == 0)
        #expect(second.data[..<512].allSatisfy { $0 == 0 })
        #expect(second.request(type: 0, sector: 1 << 40, count: 512) == 1)
        machine.inspect { device in
            #expect(device.fromHost.bytes(of: .virtualMachine(1)) >= 8192)
            #expect(device.toHost.bytes(of: .virtualMachine(1)) >= 8192)
            #expect(device.cores.busyCycles(of: .virtualMachine(1)) > 0)
            #expect(device.functions[0].block!.state.counters.bytesWritten == 8192)
            #expect(device.functions[1].block!.state.counters.bytesRead == 512)
            #expect(device.isIdle)
            #expect(device.hierarchy.iommu.state.faultCount == 0)
        }
    }

    @Test func aDiskOffersWhatItsDescriptionSays() throws {
        var description = MachineDescription.small
        var disk = description.virtualFunctions.disk
        disk.discards = false
        description.virtualFunctions.disks[2] = disk
        disk.discards = true
        disk.isReadOnly = true
        description.virtualFunctions.disks[3] = disk
        let machine = try Machine(description, pace: .lockstep)
        machine.inspect { device in
            let kinds: Features = [.blockReadOnly, .blockDiscard, .blockWriteZeroes]
            let offered = (1...3).map { device.virtioFunction($0)!.device.offeredFeatures.intersection(kinds) }
            #expect(offered == [[.blockDiscard, .blockWriteZeroes], [.blockWriteZeroes], [.blockReadOnly]])
        }
    }

    @Test func aRequestInFlightVanishesWithItsFunction() throws {
        let machine = try Machine(.small, pace: .lockstep)
        var driver = BlockDriver(machine, function: 1, offset: 0)
        #expect(driver.request(type: 1, sector: 8, count: 512) == 0)
        driver.submit(type: 1, sector: 0, count: 4096)
        machine.inspect { device in
            #expect(!device.isIdle)
            #expect(device.hierarchy.resetFromHost(device.hierarchy.function(1)!))
        }
        machine.advance(by: 1_000_000)
        #expect(driver.status == 0xff && driver.completed == 1)
        machine.inspect { #expect($0.isIdle) }
        var again = BlockDriver(machine, function: 1, offset: 0x20000)
        #expect(again.request(type: 1, sector: 8, count: 512) == 0)
    }
}
