import OffloadDevice
import PCIExpress
import RegisterMaps
import Registers
import Synchronization
import Testing
import Tracing

/// Transitional block devices as physical functions 1 and 3, beside four virtual functions.
@Suite struct TransitionalFunctionTests {
    private let first = HierarchyDescription.index(ofFurther: 1), third = HierarchyDescription.index(ofFurther: 3)
    private let machine: Machine

    init() throws {
        var description = MachineDescription.small
        // Not in the order of their numbers.
        description.physicalFunctions = [.init(number: 3), .init(number: 1)]
        description.physicalFunctions[0].disk.size = 1 << 20
        (description.physicalFunctions[1].disk.size, description.physicalFunctions[1].disk.queues) = (2 << 20, 3)
        description.accelerators.gpu = 4
        description.accelerators.fpga = 255
        machine = try Machine(description, pace: .lockstep)
    }

    /// virtio 1.2, 4.1.2.3: transitional ids in configuration space, the device type as subsystem id, revision 0; 4.1.4.10: an I/O BAR0.
    @Test func configurationSpaceIsThatOfATransitionalDevice() {
        machine.inspect { device in
            for (index, address, queues) in [(first, "0000:01:00.1", 3), (third, "0000:01:00.3", 1)] {
                let function = device.hierarchy.function(index)!
                #expect(function.isPresent && "\(function.address)" == address)
                #expect(function.readConfiguration(0, size: 4) == 0x1001_1af4)
                #expect(function.readConfiguration(8, size: 1) == 0)
                #expect(function.readConfiguration(0x2c, size: 4) == 0x0002_1af4)
                #expect(function.readConfiguration(0x10, size: 4) & 3 == 1, "an I/O BAR")
                #expect(function.readConfiguration(0x20, size: 4) & 0xf == 0xc, "a 64-bit prefetchable BAR")
                #expect(function.vectorCount == queues + 1)
                #expect(device.virtioFunction(index)?.device.queueCount == queues)
                #expect(device.virtioFunction(index)?.owner == .host)
            }
            #expect(device.functions.map(\.index) == [first, third, 1, 2, 3, 4])
            #expect(device.virtioFunction(HierarchyDescription.index(ofFurther: 2)) == nil)
        }
        // Capacity in sectors, from the device configuration of each.
        #expect(machine.read(first, 4, 0x2000, 8) == 4096)
        #expect(machine.read(third, 4, 0x2000, 8) == 2048)
    }

    @Test func requestsAreServedAndCountAsTheHosts() throws {
        var program = TestProgram()
        program.poke(try address("WA.CONTROL"), 1)
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 10_000)
        var disk = BlockDriver(machine, function: first, bar: 4, offset: 0)
        var other = BlockDriver(machine, function: third, bar: 4, offset: 0x10000)
        var virtual = BlockDriver(machine, function: 1, offset: 0x20000)
        for (place, byte) in disk.data.indices.enumerated() { disk.data[byte] = UInt8(truncatingIfNeeded: place &* 11 &+ 3) }
        let written = Array(disk.data[..<8192])
        #expect(disk.request(type: 1, sector: 40, count: 8192) == 0)
        let bytes = try address("WA.SUMMARY[0].WRITE_BYTES"), bytesOfVM = try address("WA.SUMMARY[1].WRITE_BYTES")
        #expect(machine.run { machine.inspect { $0.peek(.firmware, bytes, size: 8) } == 8192 })
        for byte in disk.data.indices { disk.data[byte] = 0 }
        #expect(disk.request(type: 0, sector: 40, count: 8192) == 0)
        #expect(Array(disk.data[..<8192]) == written)
        // Everybody has a disk of his own.
        for byte in other.data.indices { other.data[byte] = 0xff }
        #expect(other.request(type: 0, sector: 40, count: 512) == 0)
        #expect(other.data[..<512].allSatisfy { $0 == 0 })
        #expect(virtual.request(type: 0, sector: 40, count: 512) == 0)
        #expect(virtual.data[..<512].allSatisfy { $0 == 0 })
        machine.inspect { device in
            #expect(device.fromHost.bytes(of: .host) >= 8192)
            #expect(device.toHost.bytes(of: .host) >= 8192 + 512)
            #expect(device.cores.busyCycles(of: .host) > 0)
            #expect(device.virtioFunction(first)?.block?.state.counters.bytesWritten == 8192)
            #expect(device.virtioFunction(third)?.block?.state.counters.bytesRead == 512)
            #expect(device.peek(.firmware, bytesOfVM, size: 8) == 0)
            #expect(device.hierarchy.iommu.state.faultCount == 0)
            #expect(device.isIdle)
        }
    }

    @Test func theDeviceIsNotIdleWhileTheyHaveRequests() {
        var disk = BlockDriver(machine, function: third, bar: 4, offset: 0)
        machine.inspect { #expect($0.isIdle) }
        disk.submit(type: 0, sector: 0, count: 4096)
        var looks = 0
        while disk.completed == 0, looks < 1000 {
            machine.inspect { #expect(!$0.isIdle, "at cycle \($0.scheduler.now)") }
            machine.advance(by: 500)
            looks += 1
        }
        #expect(looks > 10 && disk.completed == 1)
        machine.inspect { #expect($0.isIdle) }
    }

    /// Without MSI-X a completion raises INTx, which reading the ISR status lowers.
    @Test func completionsRaiseTheInterruptLine() {
        let seen = Mutex<[[Int?]]>([])
        machine.onInterrupt { function, vector in seen.withLock { $0.append([function, vector]) } }
        var disk = BlockDriver(machine, function: third, bar: 4, offset: 0)
        #expect(disk.request(type: 1, sector: 0, count: 512) == 0)
        #expect(seen.withLock { $0 } == [[third, nil]])
        #expect(machine.interruptCount(function: third) == 1)
        let status = { machine.inspect { $0.hierarchy.function(third)!.readConfiguration(6, size: 2) & 8 } }
        #expect(status() == 8)
        #expect(machine.read(third, 4, 0x1000, 1) == 1)
        #expect(status() == 0)
    }

    /// Both interfaces show one device.
    @Test func theLegacyBARShowsTheSameDevice() {
        machine.write(first, 4, 0x14, 3, 1)
        #expect(machine.read(first, 0, 0x12, 1) == 3)
        #expect(machine.read(first, 0, 0x0c, 2) == 256)
        // Capacity in sectors, at the beginning of the device configuration.
        #expect(machine.read(first, 0, 0x14, 4) == 4096)
        machine.write(first, 0, 0x12, 0, 1)
        #expect(machine.read(first, 4, 0x14, 1) == 0)
        for (offset, size) in [(0, 8), (0x0d, 1), (126, 4)] as [(UInt64, Int)] {
            let (value, status) = machine.readBAR(function: first, bar: 0, offset: offset, size: size, origin: 1)
            #expect(value == (size == 8 ? .max : (1 << UInt64(8 * size)) - 1) && status != .ok)
        }
        machine.inspect { #expect($0.hierarchy.function(first)!.state.refusedAccesses == 3) }
    }

    @Test func functionsAreResetOneByOne() throws {
        for function in [first, third] { machine.write(function, 4, 0x14, 3, 1) }
        machine.inspect { device in
            #expect(device.hierarchy.resetFromHost(device.hierarchy.function(first)!))
        }
        #expect(machine.read(first, 4, 0x14, 1) == 0)
        #expect(machine.read(third, 4, 0x14, 1) == 3)
        // They don't come and go with the virtual functions.
        try machine.inspect { device throws(VirtualFunctionError) in try device.hierarchy.setVirtualFunctions(0) }
        #expect(machine.read(third, 4, 0x14, 1) == 3)
    }

    /// The VIC controller has entries for virtual machines' components only: the firmware can't hold up the host's disks.
    @Test func theyAreNoComponentsOfTheController() throws {
        let state = try address("VIC.COMPONENT[0].STATE")
        var program = TestProgram()
        for entry in 0...64 { program.poke(try address("VIC.COMPONENT[\(entry)].TRANSITION"), 2) }
        program.wait()
        try machine.loadFirmware(program.elf)
        machine.advance(by: 100_000)
        machine.inspect { device in
            #expect(device.peek(.firmware, state, size: 4)! & 0xf == 0)
            #expect(!device.virtioFunction(1)!.device.isServing)
        }
        var disk = BlockDriver(machine, function: first, bar: 4, offset: 0)
        #expect(disk.request(type: 1, sector: 0, count: 512) == 0)
    }

    @Test func aTraceNamesTheirRegisters() throws {
        let seen = Mutex<[AccessEvent]>([])
        machine.onEvent { event in
            if case .access(let access) = event { seen.withLock { $0.append(access) } }
        }
        machine.write(third, 4, 0x14, 1, 1)
        _ = machine.readBAR(function: third, bar: 0, offset: 18, size: 1, origin: 1)
        _ = machine.read(third, 1, 0, 4)
        machine.onEvent(nil)
        let events = seen.withLock { $0 }
        #expect(events.count == 3)
        let status = try #require(RegisterCatalogue.device.entries.firstIndex { $0.name == "VIRTIO.DEVICE_STATUS" })
        #expect(events.allSatisfy { $0.initiator == .host(function: third) })
        #expect(events[0].target == .register(UInt16(status), element: 0, byte: 0) && events[0].new == 1)
        // The number of the BAR is in the upper half.
        let bus = UInt8(DeviceBus.virtualFunction.rawValue)
        let legacy = try #require(RegisterCatalogue.device.entries.firstIndex { $0.name == "VIRTIO_LEGACY.DEVICE_STATUS" })
        #expect(events[1].target == .register(UInt16(legacy), element: 0, byte: 0) && events[1].new == 1)
        #expect(events[2].target == .address(1 << 32, bus: bus))
    }

    @Test func acceleratorSlotsAreTheResourceManagers() {
        machine.inspect { device in
            #expect(device.resourceManager.registers[RM.CAPACITY.gpu] == 4)
            #expect(device.resourceManager.registers[RM.CAPACITY.fpga] == 255)
        }
    }

    @Test func whatCannotBeBuiltIsNamed() {
        func message(_ change: (inout MachineDescription) -> Void) -> String {
            var description = MachineDescription.small
            change(&description)
            do {
                _ = try Machine(description, pace: .lockstep)
                return "no error"
            } catch {
                return "\(error)"
            }
        }
        #expect(message { $0.physicalFunctions = [.init(number: 8)] }
            == "PCI hierarchy: expected further functions with different numbers 1 to 7, found 8")
        #expect(message { description in
            var disk = MachineDescription.Disk()
            (disk.size, disk.file) = (nil, "/nonexistent/disk")
            description.physicalFunctions = [.init(number: 2, disk: disk)]
        }.hasPrefix("physical function 2: /nonexistent/disk"))
    }
}
