import Interconnect
import PCIExpress
import Registers
import Simulation
import Testing

extension Fixture {
    func save() throws -> [UInt8] {
        var archive = StateArchive()
        try scheduler.archive(&archive)
        try hierarchy.archive(&archive)
        return archive.bytes
    }

    func load(_ bytes: [UInt8]) throws {
        var archive = StateArchive(loading: bytes)
        try scheduler.archive(&archive)
        try hierarchy.archive(&archive)
        try archive.finish()
    }

    /// Gives the targets behind BARs what others held.
    fileprivate func fillTargets(_ contents: [[[UInt8]?]]) {
        for (targets, contents) in zip(targets, contents) {
            for (target, bytes) in zip(targets, contents) { if let bytes { target?.bytes = bytes } }
        }
    }
}

/// A hierarchy whose functions have memory for DMA, and a host, a device and a platform that do anything in any order.
private final class Rig {
    let fixture: Fixture
    let memory = UnsafeMutableRawPointer.allocate(byteCount: 1 << 16, alignment: 4096)

    init() throws {
        var description = HierarchyDescription()
        description.totalVFs = 5
        description.furtherFunctions = [.init(number: 3, function: .transitional(type: 2))]
        fixture = try Fixture(description)
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: 1 << 16)
        for function in fixture.hierarchy.all {
            try function.domain?.map(DMAMapping(address: 0x10_0000, count: 1 << 15, memory: memory))
            try function.domain?.map(DMAMapping(address: 0x10_8000, count: 1 << 15, memory: memory + 1 << 15, isWritable: false))
        }
    }

    deinit { memory.deallocate() }

    /// What the host and the device saw.
    func work(_ random: inout SplitMix64, steps: Int) -> [String] {
        var trace: [String] = []
        let functions = fixture.hierarchy.all
        fixture.events = []
        for _ in 0..<steps {
            let function = functions[Int.random(in: functions.indices, using: &random)]
            let size = 1 << Int.random(in: 0...2, using: &random)
            switch UInt8.random(in: 0...15, using: &random) {
            case 0...2:
                let offset = Int.random(in: 0..<ConfigurationSpace.size / size, using: &random) * size
                function.writeConfiguration(offset, size: size, UInt32(truncatingIfNeeded: random.next()))
            case 3:
                let offset = Int.random(in: 0..<0x100 / size, using: &random) * size
                trace.append("\(function.readConfiguration(offset, size: size))")
            case 4: function.enableFromHost()
            case 5: function.writeConfiguration(Header.command, size: 2, 0x406)
            case 6:
                if let msix = function.capability(CapabilityID.msix) {
                    let control = UInt32.random(in: 0...3, using: &random) << 14
                    function.writeConfiguration(msix + MSIXCapability.control, size: 2, control)
                }
            case 7: trace.append("\(function.raise(Int.random(in: 0...20, using: &random)))")
            case 8: function.driveLine(Bool.random(using: &random))
            case 9:
                let (bar, address) = (Int.random(in: 0...5, using: &random), UInt64.random(in: 0...0x90, using: &random) * 4)
                trace.append("\(fixture.read(function.index, bar, address))")
                fixture.write(function.index, bar, address, random.next(), size: 4)
            case 10:
                let address = 0xf_fff0 + UInt64.random(in: 0...0x1_0020, using: &random)
                trace.append("\(function.domain?.check(address, count: 16, writing: Bool.random(using: &random)) ?? .ok)")
            case 11: try? fixture.hierarchy.setVirtualFunctions(Int.random(in: 0...5, using: &random))
            case 12 where random.next() % 4 == 0: fixture.hierarchy.resetFromHost(function)
            case 13:
                let errors = UncorrectableError.allCases
                function.report(errors[Int.random(in: errors.indices, using: &random)])
                function.report(.receiver)
            case 14: function.domain?.unmap(0x10_0000 + UInt64.random(in: 0...0xffff, using: &random), count: 5)
            default: fixture.scheduler.advance(to: fixture.scheduler.now + 10)
            }
        }
        trace += fixture.events.map { "\($0)" }
        for function in functions {
            trace.append("\(function.resources) \(function.domain?.state.mappings.count ?? 0) \(function.state.errors)")
        }
        trace.append("\(fixture.hierarchy.iommu.state.faults) \(fixture.hierarchy.virtualFunctionCount) \(fixture.hierarchy.isLinkUp)")
        return trace
    }
}

@Suite("Saved state of a PCI hierarchy")
struct StateTests {
    @Test func everythingComesBackAndNothingIsSignalled() throws {
        let fixture = try Fixture.full()
        try fixture.hierarchy.setVirtualFunctions(2)
        let memory = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 8)
        defer { memory.deallocate() }
        try fixture.function(1).domain!.map(DMAMapping(address: 0x1000, count: 4096, memory: memory))
        fixture.function(1).writeConfiguration(Header.command, size: 2, 4)
        fixture.write(1, 4, 16, 0x1234)
        _ = fixture.read(0, 0, 1)
        let saved = try fixture.save()
        let spaces = fixture.hierarchy.all.map { $0.bytes() }

        try fixture.hierarchy.setVirtualFunctions(0)
        fixture.physical.writeConfiguration(0, size: 4, 0)
        fixture.physical.writeConfiguration(Header.command, size: 2, 0)
        fixture.hierarchy.rootPort.writeConfiguration(BridgeHeader.control, size: 2, 0x40)
        fixture.function(1).domain!.unmapAll(.machine)
        fixture.events = []
        try fixture.load(saved)
        #expect(fixture.hierarchy.all.map { $0.bytes() } == spaces)
        #expect(fixture.hierarchy.virtualFunctionCount == 2)
        #expect(fixture.read(1, 4, 16) == (.ok, 0x1234))
        #expect(fixture.function(1).domain!.pointer(to: 0x1000, count: 4096, writing: true) == memory)
        #expect(fixture.events.isEmpty)
        #expect(fixture.physical.state.errors.lines(.correctable).last!.count == 1)
    }

    @Test("what is saved in the middle of work goes on the same", arguments: 1...20 as ClosedRange<UInt64>)
    func goesOn(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let rig = try Rig()
        _ = rig.work(&random, steps: 150)
        let saved = try rig.fixture.save()
        // What is behind BARs is not the hierarchy's.
        let contents = rig.fixture.targets.map { $0.map { $0?.bytes } }
        let after = random
        rig.fixture.events = []
        try rig.fixture.load(saved)
        #expect(rig.fixture.events.isEmpty, "seed \(seed): loading signals nothing")
        #expect(try rig.fixture.save() == saved, "seed \(seed): saving what was loaded")
        let uninterrupted = rig.work(&random, steps: 150)
        let end = try rig.fixture.save()
        let fresh = try Rig()
        try fresh.fixture.load(saved)
        fresh.fixture.fillTargets(contents)
        random = after
        #expect(fresh.work(&random, steps: 150) == uninterrupted, "seed \(seed): a fresh hierarchy")
        #expect(try fresh.fixture.save() == end, "seed \(seed): a fresh hierarchy's state")
        try rig.fixture.load(saved)
        rig.fixture.fillTargets(contents)
        random = after
        #expect(rig.work(&random, steps: 150) == uninterrupted, "seed \(seed): the same hierarchy")
        #expect(try rig.fixture.save() == end, "seed \(seed): the same hierarchy's state")
    }

    @Test("no corruption traps, and read-only bits stay", arguments: 1...10 as ClosedRange<UInt64>)
    func corrupted(seed: UInt64) throws {
        var random = SplitMix64(seed: seed)
        let rig = try Rig()
        _ = rig.work(&random, steps: 100)
        let saved = try rig.fixture.save()
        var refused = 0
        for _ in 0..<60 {
            var bytes = saved
            for _ in 0...Int.random(in: 0...2, using: &random) {
                bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8(truncatingIfNeeded: random.next())
            }
            do {
                try rig.fixture.load(bytes)
                #expect(rig.fixture.physical.state.space.word(Header.deviceID) == 0x10f0, "seed \(seed)")
                _ = rig.work(&random, steps: 20)
            } catch {
                refused += 1
            }
        }
        #expect(refused > 20, "seed \(seed)")
        try rig.fixture.load(saved)
        #expect(try rig.fixture.save() == saved, "seed \(seed): a good state loads after bad ones")
    }

    // MARK: Mappings

    /// A client's memory is found anew when DMA meets it: it isn't part of a snapshot.
    @Test func aClientsMappingsStayBehind() throws {
        let rig = try Rig()
        let domain = rig.fixture.physical.domain!
        let before = try rig.fixture.save()
        let bytes = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 8)
        defer { bytes.deallocate() }
        try domain.map(DMAMapping(address: 0x7000, count: 4096, memory: bytes, origin: .client))
        #expect(try rig.fixture.save() == before)
        try rig.fixture.load(before)
        #expect(!domain.state.mappings.contains { $0.origin == .client })
    }

    @Test func aMappingBeyondTheMachinesMemoryIsRefused() throws {
        let (small, large) = (try Rig(), try Rig())
        try large.fixture.physical.domain!.map(DMAMapping(address: 0, count: 16, memory: large.memory))
        let saved = try large.fixture.save()
        #expect(throws: SnapshotError.self) { try small.fixture.load(saved) }
    }
}
