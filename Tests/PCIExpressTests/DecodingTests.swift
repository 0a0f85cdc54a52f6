import PCIExpress
import Registers
import Simulation
import Testing

@Suite struct DecodingTests {
    @Test func registersAnswerWhileMemorySpaceIsOn() throws {
        let fixture = try Fixture()
        #expect(fixture.write(0, 0, 0x10, 0x1234_5678) == .ok)
        #expect(fixture.read(0, 0, 0x10) == (.ok, 0x1234_5678))
        fixture.physical.writeConfiguration(Header.command, size: 2, 0)
        #expect(fixture.read(0, 0, 0x10) == (.unmapped, 0xffff_ffff))
        #expect(fixture.write(0, 0, 0x10, 0) == .unmapped)
        fixture.physical.writeConfiguration(Header.command, size: 2, 2)
        #expect(fixture.read(0, 0, 0x10) == (.ok, 0x1234_5678))
        #expect(fixture.physical.state.refusedAccesses == 2)
    }

    @Test func everySizeReachesTheTargetOnce() throws {
        let fixture = try Fixture()
        for size in [1, 2, 4, 8] {
            let before = fixture.targets[0][0]!.accesses
            #expect(fixture.write(0, 0, UInt64(size) * 8, 0xa1a2_a3a4_a5a6_a7a8, size: size) == .ok)
            let mask: UInt64 = size == 8 ? .max : (1 << UInt64(8 * size)) - 1
            #expect(fixture.read(0, 0, UInt64(size) * 8, size: size) == (.ok, 0xa1a2_a3a4_a5a6_a7a8 & mask))
            #expect(fixture.targets[0][0]!.accesses == before + 2)
        }
    }

    @Test func ioSpaceHasASwitchOfItsOwn() throws {
        let fixture = try Fixture.full()
        let index = HierarchyDescription.index(ofFurther: 1)
        #expect(fixture.write(index, 0, 0x12, 0x0f, size: 1) == .ok)
        #expect(fixture.read(index, 0, 0x12, size: 1) == (.ok, 0x0f))
        #expect(fixture.read(index, 0, 0, size: 8).status == .wrongSize)
        fixture.function(index).writeConfiguration(Header.command, size: 2, 2)
        #expect(fixture.read(index, 0, 0x12, size: 1) == (.unmapped, 0xff))
        #expect(fixture.read(index, 4, 0x10).status == .ok)
    }

    @Test func aMovedBARIsNotWhereTheHostBelievesItToBe() throws {
        let fixture = try Fixture()
        let old = fixture.physical.readConfiguration(Header.bar0, size: 4)
        fixture.physical.writeConfiguration(Header.bar0, size: 4, ~0)
        #expect(fixture.read(0, 0, 0) == (.unmapped, 0xffff_ffff))
        fixture.physical.writeConfiguration(Header.bar0, size: 4, old)
        #expect(fixture.read(0, 0, 0).status == .ok)
    }

    @Test func theRootPortForwardsOnlyItsWindows() throws {
        let fixture = try Fixture()
        let port = fixture.hierarchy.rootPort
        let aer = port.extendedCapability(1)!
        let window = port.readConfiguration(BridgeHeader.memoryBase, size: 4)
        // Base above limit: closed.
        port.writeConfiguration(BridgeHeader.memoryBase, size: 4, 0x0000_fff0)
        #expect(fixture.read(0, 0, 0).status == .unmapped)
        #expect(fixture.read(0, 2, 0).status == .ok, "prefetchable memory has a window of its own")
        // The endpoint never saw the request: the port reports it.
        #expect(port.readConfiguration(aer + AdvancedErrorReporting.uncorrectableStatus, size: 4) == 1 << 20)
        #expect(fixture.physical.readConfiguration(fixture.physical.extendedCapability(1)! + 4, size: 4) == 0)
        port.writeConfiguration(BridgeHeader.memoryBase, size: 4, window)
        #expect(fixture.read(0, 0, 0).status == .ok)
        let command = port.readConfiguration(Header.command, size: 2)
        port.writeConfiguration(Header.command, size: 2, command & ~2)
        #expect(fixture.read(0, 0, 0).status == .unmapped)
        #expect(fixture.read(0, 2, 0).status == .unmapped)
        port.writeConfiguration(Header.command, size: 2, command)
        #expect(fixture.read(0, 2, 0).status == .ok)
    }

    /// Bus numbers and the port's own power state decide where configuration requests go.
    @Test func theRootPortRoutesConfigurationRequests() throws {
        let fixture = try Fixture()
        let port = fixture.hierarchy.rootPort
        let pm = port.capability(1)! + PowerManagement.control
        let wrongs: [(Int, Int, UInt32)] = [(BridgeHeader.secondaryBus, 1, 2), (BridgeHeader.subordinateBus, 1, 0), (pm, 2, 3)]
        for (offset, size, wrong) in wrongs {
            let right = port.readConfiguration(offset, size: size)
            port.writeConfiguration(offset, size: size, wrong)
            #expect(fixture.physical.readConfiguration(0, size: 4) == ~0)
            fixture.physical.writeConfiguration(Header.interruptLine, size: 1, 0x5a)
            port.writeConfiguration(offset, size: size, right)
            #expect(fixture.physical.readConfiguration(0, size: 4) == 0x10f0_1af4)
            #expect(fixture.physical.readConfiguration(Header.interruptLine, size: 1) == 0)
        }
        // A window over all addresses is as good as any.
        port.writeConfiguration(BridgeHeader.prefetchableBase, size: 4, 0xfff0_0000)
        port.writeConfiguration(BridgeHeader.prefetchableBaseUpper, size: 4, 0)
        port.writeConfiguration(BridgeHeader.prefetchableLimitUpper, size: 4, ~0)
        #expect(port.resources[15].last == .max)
        #expect(port.resources[15].size == 0, "2^64 has no place in 64 bits")
        #expect(fixture.read(0, 2, 0).status == .ok)
    }

    @Test func d3hotClosesMemoryAndKeepsState() throws {
        let fixture = try Fixture()
        fixture.write(0, 0, 0, 42)
        let pm = fixture.physical.capability(0x01)! + PowerManagement.control
        fixture.physical.writeConfiguration(pm, size: 2, 3)
        #expect(fixture.read(0, 0, 0).status == .unmapped)
        #expect(fixture.physical.powerStateName == "D3hot")
        fixture.physical.writeConfiguration(pm, size: 2, 0)
        #expect(fixture.read(0, 0, 0) == (.ok, 42))
    }

    @Test("accesses of any address and size never trap, and what is refused reads all ones", arguments: [UInt64(11), 12, 13])
    func hostile(_ seed: UInt64) throws {
        let fixture = try Fixture.full()
        try fixture.hierarchy.setVirtualFunctions(3)
        var random = SplitMix64(seed: seed)
        for _ in 0..<20_000 {
            let function = Int.random(in: -2...260, using: &random)
            let bar = Int.random(in: -2...8, using: &random)
            let address: UInt64 = switch Int.random(in: 0..<4, using: &random) {
            case 0: UInt64.random(in: 0...UInt64.max, using: &random)
            case 1: UInt64.max - UInt64.random(in: 0...16, using: &random)
            default: UInt64.random(in: 0...0x1_0010, using: &random)
            }
            let size = [1, 2, 4, 8, 0, 3, 5, 16, 255].randomElement(using: &random)!
            var access = Bool.random(using: &random)
                ? BusAccess(read: address, size: size, initiator: .host(function: function))
                : BusAccess(write: random.next(), to: address, size: size, initiator: .host(function: function))
            let status = fixture.hierarchy.access(function: function, bar: bar, &access)
            #expect(access.address == address)
            let described = fixture.hierarchy.function(function)?.bars.first { $0.index == bar }
            let legal = size.nonzeroBitCount == 1 && size <= 8 && address % UInt64(max(size, 1)) == 0
            if let described, described.size > address, legal { continue }
            #expect(status != .ok, "seed \(seed): function \(function) BAR \(bar) address \(address) size \(size)")
            let ones: UInt64 = size >= 8 ? .max : (1 << UInt64(8 * size)) - 1
            if !access.isWrite { #expect(access.value == ones) }
        }
        #expect(fixture.read(0, 0, 0).status == .ok, "and the device still serves")
    }

    @Test func refusalsSayWhy() throws {
        let fixture = try Fixture()
        #expect(fixture.read(0, 0, 2).status == .misaligned)
        #expect(fixture.read(0, 0, 0, size: 3).status == .wrongSize)
        #expect(fixture.read(0, 0, 0x1_0000).status == .unmapped)
        #expect(fixture.read(0, 1, 0).status == .unmapped)
        #expect(fixture.read(9, 0, 0).status == .unmapped)
        fixture.targets[0][0]!.refusal = .readOnly
        #expect(fixture.write(0, 0, 0, 0) == .readOnly)
    }

    @Test func accessesTakeTheTimeOfTheLink() throws {
        let fixture = try Fixture()
        var access = BusAccess(read: 0, size: 4, initiator: .host(function: 0), time: 1000)
        _ = fixture.hierarchy.access(function: 0, bar: 0, &access)
        #expect(access.time == 1000 + fixture.hierarchy.description.readCycles)
        access = BusAccess(write: 0, to: 0, size: 4, initiator: .host(function: 0), time: 1000)
        _ = fixture.hierarchy.access(function: 0, bar: 0, &access)
        #expect(access.time == 1000 + fixture.hierarchy.description.writeCycles)
    }

    @Test func aDebuggerLeavesNoTrace() throws {
        let fixture = try Fixture()
        let before = fixture.physical.bytes()
        var access = BusAccess(read: 0x10_0000, size: 4, initiator: .debugger)
        #expect(fixture.hierarchy.access(function: 0, bar: 0, &access) == .unmapped)
        #expect(fixture.physical.bytes() == before)
        #expect(fixture.physical.state.refusedAccesses == 0)
        fixture.write(0, 0, 8, 5)
        fixture.physical.writeConfiguration(Header.command, size: 2, 0)
        #expect(fixture.hierarchy.peek(function: 0, bar: 0, address: 8, size: 4) == 5)
        #expect(fixture.hierarchy.peek(function: 0, bar: 4, address: 12, size: 4) == 1)
        #expect(fixture.hierarchy.peek(function: 0, bar: 0, address: .max, size: 4) == nil)
        #expect(fixture.hierarchy.peek(function: 0, bar: 1, address: 0, size: 4) == nil)
    }

    /// The window into the BARs: what a driver without a mapping uses (virtio 1.2, 4.1.4.9).
    @Test func virtioWindowReachesTheBARs() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(1)
        let function = fixture.function(1)
        let window = function.chain().first { $0.id == 9 && function.readConfiguration($0.offset + 3, size: 1) == 5 }!.offset
        func aim(_ bar: UInt32, _ offset: UInt32, _ length: UInt32) {
            function.writeConfiguration(window + 4, size: 1, bar)
            function.writeConfiguration(window + 8, size: 4, offset)
            function.writeConfiguration(window + 12, size: 4, length)
        }
        aim(0, 0x14, 2)
        function.writeConfiguration(window + 16, size: 4, 0xaabb_ccdd)
        #expect(fixture.read(1, 0, 0x14) == (.ok, 0xccdd))
        fixture.write(1, 0, 0x14, 0x1122_3344)
        #expect(function.readConfiguration(window + 16, size: 4) == 0xaabb_3344)
        aim(0, 0x14, 4)
        #expect(function.readConfiguration(window + 16, size: 4) == 0x1122_3344)
        // It works by a read of the whole space too, and a look leaves the target alone.
        let before = fixture.targets[1][0]!.accesses
        #expect(function.bytes()[window + 16] == 0x44)
        #expect(fixture.targets[1][0]!.accesses == before + 1)
        var byte: UInt8 = 0
        withUnsafeMutableBytes(of: &byte) { _ = function.peekConfiguration(window + 16, into: $0) }
        #expect(fixture.targets[1][0]!.accesses == before + 1)
        // What it can't reach.
        for (bar, offset, length) in [(5, 0, 4), (255, 0, 4), (0, 0x4000, 4), (0, 2, 4), (0, ~0 & ~3, 4)] as [(UInt32, UInt32, UInt32)] {
            aim(bar, offset, length)
            #expect(function.readConfiguration(window + 16, size: 4) == 0xffff_ffff)
            function.writeConfiguration(window + 16, size: 4, 0)
        }
        for length: UInt32 in [0, 3, 8, ~0] {
            aim(0, 0x14, length)
            let accesses = fixture.targets[1][0]!.accesses
            _ = function.readConfiguration(window + 16, size: 4)
            #expect(fixture.targets[1][0]!.accesses == accesses)
        }
    }
}
