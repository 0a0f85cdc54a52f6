import Interconnect
import PCIExpress
import Registers
import Simulation
import Testing

@Suite struct ResetTests {
    private func functionLevelReset(_ function: PCIFunction) {
        let control = function.capability(0x10)! + Express.deviceControl
        function.writeConfiguration(control, size: 2, function.readConfiguration(control, size: 2) | 0x8000)
    }

    @Test func functionLevelResetSparesWhatIsSticky() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        let aer = physical.extendedCapability(1)!
        let express = physical.capability(0x10)!
        let msix = physical.capability(0x11)!
        _ = fixture.read(0, 0, 1)
        physical.writeConfiguration(express + Express.deviceControl, size: 2, 0x2950)
        physical.writeConfiguration(msix + 2, size: 2, 0x8000)
        fixture.write(0, 4, 0, 0x1000)
        physical.writeConfiguration(aer + 0xc, size: 4, 0)
        fixture.events = []
        functionLevelReset(physical)
        #expect(fixture.events == [.reset(function: 0, .functionLevel)])
        #expect(physical.readConfiguration(Header.command, size: 2) == 0)
        #expect(physical.readConfiguration(Header.bar0, size: 4) == 0)
        #expect(physical.readConfiguration(msix + 2, size: 2) == 63)
        let control = physical.readConfiguration(express + Express.deviceControl, size: 2)
        #expect(control == 0x2950, "payload size is kept, enables are reset values")
        #expect(physical.readConfiguration(express + Express.deviceStatus, size: 2) == 0)
        #expect(physical.readConfiguration(aer + 4, size: 4) == 1 << 20, "logged errors are sticky")
        #expect(physical.readConfiguration(aer + 0xc, size: 4) == 0, "severities too")
        #expect(fixture.read(0, 0, 0).status == .unmapped)
        #expect(fixture.hierarchy.peek(function: 0, bar: 4, address: 0, size: 4) == 0, "the MSI-X table is as at power-on")
    }

    @Test func theBitReadsZeroAndOnlyOnesInitiate() throws {
        let fixture = try Fixture()
        let control = fixture.physical.capability(0x10)! + Express.deviceControl
        fixture.physical.writeConfiguration(control, size: 2, 0x2810)
        fixture.physical.writeConfiguration(control, size: 1, 0xff)
        #expect(fixture.events.isEmpty)
        fixture.physical.writeConfiguration(control + 1, size: 1, 0x80)
        #expect(fixture.events == [.reset(function: 0, .functionLevel)])
        #expect(fixture.physical.readConfiguration(control, size: 2) & 0x8000 == 0)
    }

    @Test func aPhysicalFunctionTakesItsVirtualOnesWithIt() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(2)
        fixture.events = []
        functionLevelReset(fixture.physical)
        #expect(fixture.events == [
            .reset(function: 0, .functionLevel), .reset(function: 1, .virtualization), .reset(function: 2, .virtualization),
            .virtualFunctions(0),
        ])
        #expect(fixture.read(1, 0, 0).status == .unmapped)
    }

    @Test func aVirtualFunctionIsResetAlone() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(2)
        for index in 1...2 { fixture.function(index).writeConfiguration(Header.command, size: 2, 4) }
        fixture.events = []
        functionLevelReset(fixture.function(1))
        #expect(fixture.events == [.reset(function: 1, .functionLevel)])
        #expect(!fixture.function(1).isBusMaster)
        #expect(fixture.function(2).isBusMaster)
        #expect(fixture.read(1, 0, 0).status == .ok, "its BARs are the physical function's to give")
    }

    @Test func theResetFilePutsConfigurationBack() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(3)
        let physical = fixture.physical
        physical.writeConfiguration(Header.command, size: 2, 0x0406)
        physical.writeConfiguration(physical.extendedCapability(0xf)! + 6, size: 2, 0x8001)
        let before = physical.bytes()
        fixture.events = []
        #expect(fixture.hierarchy.resetFromHost(physical))
        #expect(physical.bytes() == before)
        #expect(fixture.hierarchy.virtualFunctionCount == 3)
        #expect(fixture.events.first == .reset(function: 0, .functionLevel))
        #expect(fixture.events.last == .virtualFunctions(3))
        #expect(fixture.read(0, 0, 0).status == .ok)
        #expect(fixture.read(3, 0, 0).status == .ok)
        #expect(!fixture.hierarchy.resetFromHost(fixture.hierarchy.rootPort))
        #expect(!fixture.hierarchy.resetFromHost(fixture.function(4)), "it isn't there")
    }

    @Test func aCardThatIsPulledOutForgetsAllAndIsSetUpAnew() throws {
        let fixture = try Fixture.full()
        let hierarchy = fixture.hierarchy, physical = fixture.physical, port = hierarchy.rootPort
        let further = fixture.function(65)
        try hierarchy.setVirtualFunctions(3)
        let slot = port.capability(0x10)! + Express.slotStatus
        let express = physical.capability(0x10)!
        // Something sticky, which a conventional reset spares.
        _ = fixture.read(0, 0, 1)
        let aer = physical.extendedCapability(1)! + 4
        #expect(physical.readConfiguration(aer, size: 4) == 1 << 20)
        let (resources, command) = (physical.resources, physical.readConfiguration(Header.command, size: 2))
        #expect(port.readConfiguration(slot, size: 2) == UInt32(Express.presenceDetect))
        fixture.events = []

        #expect(hierarchy.setCard(isPresent: false))
        #expect(!hierarchy.setCard(isPresent: false), "there is none to be pulled out")
        #expect(fixture.events == [
            .reset(function: 0, .power), .reset(function: 65, .power), .reset(function: 69, .power),
            .reset(function: 1, .virtualization), .reset(function: 2, .virtualization), .reset(function: 3, .virtualization),
            .virtualFunctions(0),
        ])
        let changes = Express.presenceDetectChanged | Express.dataLinkStateChanged
        #expect(port.readConfiguration(slot, size: 2) == UInt32(changes))
        #expect(port.readConfiguration(slot - 8, size: 2) & UInt32(Express.dataLinkActive) == 0)
        port.writeConfiguration(slot, size: 2, UInt32(changes))
        for function in [physical, further, fixture.function(1)] {
            #expect(!function.isPresent && function.readConfiguration(0, size: 4) == .max)
            function.writeConfiguration(Header.command, size: 2, 7)
            #expect(fixture.read(function.index, 4, 0).value == 0xffff_ffff)
            #expect([1 as UInt8].withUnsafeBytes { function.domain?.write(0, from: $0) } != .ok)
            #expect(!hierarchy.resetFromHost(function) && !hierarchy.configureFromHost(function))
        }
        #expect(throws: VirtualFunctionError.unreachable) { try hierarchy.setVirtualFunctions(2) }
        #expect(hierarchy.present.count == 2)

        #expect(hierarchy.setCard(isPresent: true))
        #expect(port.readConfiguration(slot, size: 2) == UInt32(changes | Express.presenceDetect))
        #expect(physical.readConfiguration(aer, size: 4) == 0 && physical.readConfiguration(Header.bar0, size: 4) == 0)
        #expect(fixture.read(0, 0, 0).status == .unmapped, "it has no addresses yet")
        #expect(!hierarchy.configureFromHost(port) && !hierarchy.configureFromHost(fixture.function(1)))
        for function in [physical, further] { #expect(hierarchy.configureFromHost(function)) }
        #expect(fixture.read(0, 0, 0).status == .ok && fixture.read(65, 4, 0).status == .ok)
        #expect(physical.resources == resources && physical.readConfiguration(Header.command, size: 2) == command)
        #expect(physical.readConfiguration(express + Express.deviceControl, size: 2) & 0xf == 0xf, "errors are reported")
        try hierarchy.setVirtualFunctions(3)
        #expect(fixture.read(3, 0, 0).status == .ok)
    }

    @Test func anEmptySlotIsPartOfTheState() throws {
        let fixture = try Fixture(), other = try Fixture()
        _ = fixture.hierarchy.setCard(isPresent: false)
        try other.load(fixture.save())
        #expect(!other.hierarchy.isCardPresent && other.physical.readConfiguration(0, size: 4) == .max)
        #expect(other.hierarchy.setCard(isPresent: true) && other.physical.readConfiguration(0, size: 2) == 0x1af4)
    }

    @Test("the port takes the link down and everything below with it", arguments: [true, false])
    func secondaryBusReset(_ byReset: Bool) throws {
        let fixture = try Fixture.full()
        try fixture.hierarchy.setVirtualFunctions(1)
        let port = fixture.hierarchy.rootPort
        let link = port.capability(0x10)!
        let offset = byReset ? BridgeHeader.control : link + Express.linkControl
        let bit: UInt32 = byReset ? 0x40 : 0x10
        let old = port.readConfiguration(offset, size: 2)
        fixture.physical.driveLine(true)
        fixture.events = []
        port.writeConfiguration(offset, size: 2, old | bit)
        #expect(fixture.events.contains(.reset(function: 0, .conventional)))
        #expect(fixture.events.contains(.reset(function: HierarchyDescription.index(ofFurther: 5), .conventional)))
        #expect(fixture.events.last == .virtualFunctions(0))
        #expect(fixture.events.contains(.line(function: 0, false)))
        #expect(fixture.physical.readConfiguration(0, size: 4) == ~0, "nothing answers behind a link that is down")
        fixture.physical.writeConfiguration(Header.command, size: 2, 7)
        #expect(port.readConfiguration(link + Express.linkStatus, size: 2) & 0x2000 == 0)
        #expect(fixture.read(0, 0, 0).status == .unmapped)
        fixture.events = []
        port.writeConfiguration(offset, size: 2, old)
        #expect(fixture.events.isEmpty)
        #expect(fixture.physical.readConfiguration(0, size: 4) == 0x10f0_1af4)
        #expect(fixture.physical.readConfiguration(Header.command, size: 2) == 0)
        #expect(port.readConfiguration(link + Express.linkStatus, size: 2) & 0x2000 != 0)
    }
}
