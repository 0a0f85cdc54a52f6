import PCIExpress
import Registers
import Testing

private typealias SRIOV = SingleRootVirtualization

@Suite struct VirtualizationTests {
    @Test func functionsComeAndGo() throws {
        let fixture = try Fixture.full()
        let hierarchy = fixture.hierarchy
        #expect(hierarchy.present.map(\.address.description)
            == ["0000:00:00.0", "0000:00:01.0", "0000:01:00.0", "0000:01:00.1", "0000:01:00.5"])
        #expect(fixture.read(1, 0, 0).status == .unmapped)
        #expect(fixture.function(1).bytes(0, count: 4) == [0xff, 0xff, 0xff, 0xff])

        try hierarchy.setVirtualFunctions(64)
        #expect(hierarchy.virtualFunctionCount == 64)
        #expect(hierarchy.present.count == 5 + 64)
        #expect(fixture.function(1).address.description == "0000:01:01.0")
        #expect(fixture.function(64).address.description == "0000:01:08.7")
        #expect(fixture.events.last == .virtualFunctions(64))
        #expect(fixture.events.dropLast() == (1...64).map { .reset(function: $0, .virtualization) }[...])
        for index in 1...64 {
            #expect(fixture.write(index, 0, 0x100, UInt64(index)) == .ok)
            #expect(fixture.targets[index][0]!.peek(0x100, size: 4) == UInt64(index))
        }

        fixture.events = []
        try hierarchy.setVirtualFunctions(0)
        #expect(fixture.events.count == 65)
        #expect(fixture.events.last == .virtualFunctions(0))
        #expect(fixture.read(64, 0, 0x100) == (.unmapped, 0xffff_ffff))
        try hierarchy.setVirtualFunctions(3)
        #expect(hierarchy.present.count == 5 + 3)
        #expect(fixture.read(3, 0, 0).status == .ok)
        #expect(fixture.read(4, 0, 0).status == .unmapped)
    }

    @Test func aFreshFunctionKnowsNothingOfTheLast() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(1)
        let fresh = fixture.function(1).bytes()
        fixture.function(1).writeConfiguration(Header.command, size: 2, 4)
        _ = fixture.read(1, 0, 1)
        let msix = fixture.function(1).capability(0x11)!
        fixture.function(1).writeConfiguration(msix + 2, size: 2, 0x8000)
        fixture.write(1, 4, 0, 0xfee0_0000)
        try fixture.hierarchy.setVirtualFunctions(0)
        try fixture.hierarchy.setVirtualFunctions(1)
        #expect(fixture.function(1).bytes() == fresh)
        #expect(fixture.read(1, 4, 0).value == 0)
    }

    @Test func hostErrorsAreLinuxErrors() throws {
        let fixture = try Fixture()
        #expect(throws: VirtualFunctionError.tooMany(requested: 5, total: 4)) { try fixture.hierarchy.setVirtualFunctions(5) }
        #expect(throws: VirtualFunctionError.tooMany(requested: -1, total: 4)) { try fixture.hierarchy.setVirtualFunctions(-1) }
        try fixture.hierarchy.setVirtualFunctions(2)
        try fixture.hierarchy.setVirtualFunctions(2)
        #expect(throws: VirtualFunctionError.busy(enabled: 2)) { try fixture.hierarchy.setVirtualFunctions(3) }
        var description = HierarchyDescription()
        description.totalVFs = 0
        let without = try Fixture(description)
        #expect(throws: VirtualFunctionError.notSupported) { try without.hierarchy.setVirtualFunctions(1) }
        #expect(without.physical.extendedCapability(0x10) == nil)
    }

    /// The same by configuration writes alone, as setpci could.
    @Test func registersAloneControlIt() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        let sriov = physical.extendedCapability(0x10)!
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, 0x0011)
        #expect(fixture.hierarchy.virtualFunctionCount == 0, "NumVFs is 0")
        physical.writeConfiguration(sriov + SRIOV.numVFs, size: 2, 2)
        #expect(physical.readConfiguration(sriov + SRIOV.numVFs, size: 2) == 0, "NumVFs is locked while VFs are enabled")
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, 0x0010)
        physical.writeConfiguration(sriov + SRIOV.numVFs, size: 2, 2)
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, 0x0011)
        #expect(fixture.hierarchy.virtualFunctionCount == 2)
        #expect(fixture.read(1, 0, 0).status == .unmapped, "VF MSE is off")
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, 0x0019)
        #expect(fixture.read(1, 0, 0).status == .ok)
        #expect(fixture.read(2, 4, 0).status == .ok)
        // The VF's own command register has no memory enable.
        fixture.function(1).writeConfiguration(Header.command, size: 2, 0xffff)
        #expect(fixture.function(1).readConfiguration(Header.command, size: 2) == 4)
        #expect(fixture.read(1, 0, 0).status == .ok)
        // More than there can be.
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, 0)
        physical.writeConfiguration(sriov + SRIOV.numVFs, size: 2, 0xffff)
        physical.writeConfiguration(sriov + SRIOV.control, size: 2, 0x0019)
        #expect(fixture.hierarchy.virtualFunctionCount == 4)
    }

    @Test func idsAreThePhysicalFunctionsToTell() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(1)
        let function = fixture.function(1)
        #expect(function.readConfiguration(Header.vendorID, size: 4) == 0xffff_ffff)
        #expect(function.vendorID == 0x1af4)
        #expect(function.deviceID == 0x1042)
        #expect(function.modalias == "pci:v00001AF4d00001042sv00001AF4sd00000042bc01sc00i00")
        let info = try #require(fixture.physical.virtualization)
        #expect(info == (4, 1, 8, 1, 0x1042))
    }

    @Test func aPhysicalFunctionInD3TakesItsVirtualOnesAlong() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(1)
        fixture.physical.writeConfiguration(fixture.physical.capability(1)! + 4, size: 2, 3)
        #expect(fixture.read(1, 0, 0).status == .unmapped)
        fixture.physical.writeConfiguration(fixture.physical.capability(1)! + 4, size: 2, 0)
        #expect(fixture.read(1, 0, 0).status == .ok)
    }
}
