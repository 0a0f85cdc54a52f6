import PCIExpress
import Testing

@Suite struct HostViewTests {
    private func lines(_ function: PCIFunction) -> [String] {
        func hex(_ value: UInt64) -> String {
            let text = String(value, radix: 16)
            return "0x" + String(repeating: "0", count: 16 - text.count) + text
        }
        return function.resources.map { "\(hex($0.first)) \(hex($0.last)) \(hex($0.flags))" }
    }
    private let none = "0x0000000000000000 0x0000000000000000 0x0000000000000000"

    @Test func resourceLinesOfEveryKindOfFunction() throws {
        let fixture = try Fixture.full()
        try fixture.hierarchy.setVirtualFunctions(2)
        #expect(lines(fixture.physical) == [
            "0x00000000c0000000 0x00000000c000ffff 0x0000000000040200", none,
            "0x0000003800000000 0x0000003800ffffff 0x000000000014220c", none,
            "0x00000000c0010000 0x00000000c0013fff 0x0000000000040200", none, none,
            "0x00000000c0014000 0x00000000c0113fff 0x0000000000140204", none, none, none,
            "0x00000000c0114000 0x00000000c0153fff 0x0000000000140204", none,
        ])
        #expect(lines(fixture.function(2)) == [
            "0x00000000c0018000 0x00000000c001bfff 0x0000000000140204", none, none, none,
            "0x00000000c0115000 0x00000000c0115fff 0x0000000000140204", none, none, none, none, none, none, none, none,
        ])
        #expect(lines(fixture.function(HierarchyDescription.index(ofFurther: 1))).prefix(5) == [
            "0x000000000000c000 0x000000000000c07f 0x0000000000040101",
            "0x00000000c0154000 0x00000000c0154fff 0x0000000000040200", none, none,
            "0x0000003801000000 0x0000003801003fff 0x000000000014220c",
        ])
        let port = lines(fixture.hierarchy.rootPort)
        #expect(port.count == 17)
        #expect(Array(port.suffix(4)) == [
            "0x000000000000c000 0x000000000000cfff 0x0000000000000100",
            "0x00000000c0000000 0x00000000c01fffff 0x0000000000000200",
            "0x0000003800000000 0x00000038010fffff 0x0000000000102201", none,
        ])
        #expect(lines(fixture.hierarchy.hostBridge) == [String](repeating: none, count: 13))
    }

    @Test("resources are aligned, apart, and inside the port's windows", arguments: [0, 1, 4, 63, 64])
    func resources(_ totalVFs: Int) throws {
        var description = HierarchyDescription()
        description.totalVFs = totalVFs
        description.furtherFunctions = (1...7).map { .init(number: $0, function: .transitional(type: UInt16($0 % 2 + 1))) }
        let fixture = try Fixture(description)
        var ranges: [ClosedRange<UInt64>] = []
        let windows = fixture.hierarchy.rootPort.resources.dropFirst(13).filter { !$0.isEmpty }
        for function in fixture.hierarchy.present where function.domain != nil {
            for (i, resource) in function.resources.enumerated() where !resource.isEmpty {
                if i < 6 { #expect(resource.first % resource.size == 0) }
                ranges.append(resource.first...resource.last)
                let kind = resource.flags & 0x300
                #expect(windows.contains { $0.flags & 0x300 == kind && $0.first <= resource.first && resource.last <= $0.last })
            }
        }
        for (i, range) in ranges.enumerated() { #expect(!ranges[..<i].contains { $0.overlaps(range) }) }
    }

    @Test func idsAndLink() throws {
        let fixture = try Fixture.full()
        let physical = fixture.physical
        #expect(physical.modalias == "pci:v00001AF4d000010F0sv00001AF4sd000010F0bc12sc00i00")
        #expect(physical.currentLinkSpeed == "32.0 GT/s PCIe")
        #expect(physical.currentLinkSpeed == physical.maximumLinkSpeed)
        #expect((physical.currentLinkWidth, physical.maximumLinkWidth) == (8, 8))
        #expect(physical.isARIEnabled)
        #expect(!fixture.hierarchy.hostBridge.hasLink)
        #expect(fixture.hierarchy.rootPort.subsystemVendorID == 0x1af4)
        let net = fixture.function(HierarchyDescription.index(ofFurther: 1))
        #expect((net.vendorID, net.deviceID, net.subsystemID, net.classCode, net.revision) == (0x1af4, 0x1000, 1, 0x020000, 0))
        let block = fixture.function(HierarchyDescription.index(ofFurther: 5))
        #expect((block.deviceID, block.subsystemID, block.classCode) == (0x1001, 2, 0x010000))
        #expect(block.vectorCount == 4)
        #expect(block.virtualization == nil)
    }

    @Test func theEnableFile() throws {
        let fixture = try Fixture.full()
        let net = fixture.function(HierarchyDescription.index(ofFurther: 1))
        #expect(net.isEnabledFromHost)
        #expect(net.readConfiguration(Header.command, size: 2) == 0x0103, "as uio_pci_generic leaves it")
        net.writeConfiguration(Header.command, size: 2, 4)
        net.enableFromHost()
        #expect(net.readConfiguration(Header.command, size: 2) == 0x0107)
        net.disableFromHost()
        #expect(!net.isEnabledFromHost)
        #expect(net.readConfiguration(Header.command, size: 2) == 0x0103, "bus mastering goes, the rest stays")
        net.writeConfiguration(net.capability(1)! + PowerManagement.control, size: 2, 3)
        net.enableFromHost()
        #expect(net.isEnabledFromHost)
        #expect(net.powerStateName == "D0")
        try fixture.hierarchy.setVirtualFunctions(1)
        #expect(fixture.function(1).isEnabledFromHost)
        #expect(fixture.hierarchy.rootPort.isEnabledFromHost)
        #expect(!fixture.hierarchy.hostBridge.isEnabledFromHost)
    }

    @Test func mistakesInDescriptionsAreNamed() throws {
        func message(_ change: (inout HierarchyDescription) -> Void) -> String {
            var description = HierarchyDescription()
            change(&description)
            do {
                try description.validate()
                return "no error"
            } catch {
                return error.description
            }
        }
        #expect(message { _ in } == "no error")
        #expect(message { $0.totalVFs = 65 } == "PCI hierarchy: expected 0 to 64 virtual functions, found 65")
        #expect(message { $0.furtherFunctions = [.init(number: 8, function: .transitional(type: 1))] }
            == "PCI hierarchy: expected further functions with different numbers 1 to 7, found 8")
        #expect(message { $0.physicalFunction.bars[0].size = 3000 }
            == "PCI physical function: expected BAR 0: a power of two in 16...268435456 bytes, found 3000")
        #expect(message { $0.physicalFunction.bars[0].index = 3 }
            == "PCI physical function: expected BARs in different registers 0 to 5 (64-bit ones take two), found BAR 2")
        #expect(message { $0.virtualFunction.bars[0].kind = .io }
            == "PCI virtual function: expected BAR 0: a power of two in 4...256 bytes, found 16384")
        #expect(message { $0.virtualFunction.bars[0] = BARDescription(0, .io, size: 64) }
            == "PCI virtual function: expected memory BARs only, found I/O BAR 0")
        #expect(message { $0.virtualFunction.vendorID = 0x8086 }
            == "PCI virtual function: expected the physical function's vendor id 0x1af4, found 0x8086")
        #expect(message { $0.virtualFunction.msix!.vectors = 200 }
            == "PCI virtual function: expected MSI-X table and pending bits apart, 8-byte aligned, within the 4096 bytes of BAR 4, "
            + "found table at 0, pending bits at 2048, 200 vectors")
        #expect(message { $0.virtualFunction.virtio!.notification.length = 0x1001 }
            == "PCI virtual function: expected virtio structures within the 16384 bytes of BAR 0, found 4097 bytes at 12288")
    }

    @Test func whatDoesNotFitBelow4GiBIsRefused() throws {
        var description = HierarchyDescription()
        description.totalVFs = 64
        description.virtualFunction.bars[0].size = 16 << 20
        #expect(throws: PCIDescriptionError(
            place: "hierarchy", expected: "BARs that fit into 16384 bytes of I/O space and 1040187392 bytes of 32-bit memory space",
            found: "0 and 1074085888 bytes")) { _ = try Fixture(description) }
        description.virtualFunction.bars[0].kind = .prefetchable64
        let fixture = try Fixture(description)
        try fixture.hierarchy.setVirtualFunctions(64)
        #expect(fixture.write(64, 0, 0x100, 1) == .ok)
    }
}
