import PCIExpress
import Simulation
import Testing

/// What software may do to configuration space, written down register by register and independently of the model.
struct MaskReference {
    private(set) var writable = [UInt8](repeating: 0, count: ConfigurationSpace.size)
    private(set) var clearable = [UInt8](repeating: 0, count: ConfigurationSpace.size)
    /// Ranges with behaviour beyond masks; tests of their own cover them.
    private(set) var special: [Range<Int>] = []

    private mutating func register(_ offset: Int, _ size: Int, rw: UInt32 = 0, w1c: UInt32 = 0) {
        for i in 0..<size {
            writable[offset + i] = UInt8(truncatingIfNeeded: rw >> UInt32(8 * i))
            clearable[offset + i] = UInt8(truncatingIfNeeded: w1c >> UInt32(8 * i))
        }
    }

    init(of function: PCIFunction) {
        let isVF = function.isVirtual
        let command: UInt32 = switch function.role {
        case .hostBridge: 0x0106
        case .rootPort: 0x0547
        case .physical: function.bars.contains { $0.kind == .io } ? 0x0547 : 0x0546
        case .virtual: 0x0004
        }
        register(0x04, 2, rw: command)
        register(0x06, 2, w1c: 0xf900)
        if !isVF { register(0x0c, 1, rw: 0xff) }
        if function.interruptPin != 0 { register(0x3c, 1, rw: 0xff) }
        if function.isBridge {
            register(0x18, 4, rw: 0x00ff_ffff)
            register(0x1c, 4, rw: 0xf0f0, w1c: 0xf900_0000)
            register(0x20, 4, rw: 0xfff0_fff0)
            register(0x24, 4, rw: 0xfff0_fff0)
            for upper in [0x28, 0x2c, 0x30] { register(upper, 4, rw: ~0) }
            special.append(0x3c..<0x40)
        } else if !isVF {
            for bar in function.bars { base(0x10 + 4 * bar.index, bar) }
        }
        for (id, offset) in function.chain() {
            switch id {
            case 0x01: special.append(offset + 4..<offset + 8)
            case 0x10:
                special.append(offset + 8..<offset + 12)
                if function.isBridge {
                    special.append(offset + 0x10..<offset + 0x14)
                    register(offset + 0x1c, 2, rw: 0x1f)
                    register(offset + 0x20, 4, w1c: 0x1_0000)
                    register(offset + 0x28, 2, rw: 0x903f)
                } else if !isVF {
                    register(offset + 0x10, 2, rw: 0x02cb)
                    register(offset + 0x28, 2, rw: 0x101f)
                }
                if !isVF { register(offset + 0x30, 2, rw: 0xffbf) }
            case 0x11: register(offset + 2, 2, rw: 0xc000)
            case 0x09 where function.readConfiguration(offset + 3, size: 1) == 5: special.append(offset..<offset + 20)
            default: break
            }
        }
        for (id, offset) in function.extendedChain() {
            switch id {
            case 0x0001:
                let uncorrectable: UInt32 = function.isBridge ? 0x007f_f030 : 0x005f_f010
                register(offset + 4, 4, w1c: uncorrectable)
                register(offset + 0x10, 4, w1c: 0xf1c1)
                if !isVF {
                    register(offset + 8, 4, rw: uncorrectable)
                    register(offset + 0xc, 4, rw: uncorrectable)
                    register(offset + 0x14, 4, rw: 0xf1c1)
                }
                if function.isBridge {
                    register(offset + 0x2c, 4, rw: 7)
                    register(offset + 0x30, 4, w1c: 0x7f)
                }
            case 0x000d: register(offset + 6, 2, rw: 0x1f)
            case 0x000f: register(offset + 6, 2, rw: 0x801f)
            case 0x0010: special.append(offset + 8..<offset + 0x3c)
            case 0x0019: register(offset + 8, 4, w1c: 0xff)
            case 0x001b: register(offset + 6, 2, rw: 1)
            case 0x0026: for mismatch in [0x10, 0x14, 0x18] { register(offset + mismatch, 4, w1c: 0xff) }
            case 0x0027: for lane in 0..<8 { register(offset + 8 + 4 * lane, 2, rw: 0xff7f) }
            default: break
            }
        }
    }

    private mutating func base(_ offset: Int, _ bar: BARDescription) {
        let mask = ~(bar.size - 1)
        register(offset, 4, rw: UInt32(truncatingIfNeeded: mask) & ~(bar.kind == .io ? 3 : 15))
        if bar.is64Bit { register(offset + 4, 4, rw: UInt32(truncatingIfNeeded: mask >> 32)) }
    }
}

@Suite struct ConfigurationTests {
    /// Indices of one function of each kind.
    static let kinds = [0, 1, 64, HierarchyDescription.index(ofFurther: 1), PCIHierarchy.rootPortIndex, PCIHierarchy.hostBridgeIndex]

    @Test("every byte obeys its masks whatever is written where", arguments: kinds, [UInt64(1), 2, 3])
    func masks(_ index: Int, _ seed: UInt64) throws {
        let fixture = try Fixture.full()
        defer { withExtendedLifetime(fixture) {} }
        try fixture.hierarchy.setVirtualFunctions(64)
        let function = fixture.function(index)
        let reference = MaskReference(of: function)
        var random = SplitMix64(seed: seed)
        var expected = function.bytes()
        for step in 0..<1500 {
            // Mostly where the registers are, of any length, at any alignment.
            let space = Bool.random(using: &random) ? 0x100 : step % 5 == 0 ? 4096 : 0x300
            let offset = Int.random(in: 0..<space, using: &random)
            let length = min([1, 2, 4, Int.random(in: 1...70, using: &random)].randomElement(using: &random)!, 4096 - offset)
            let range = offset..<offset + length
            guard !reference.special.contains(where: range.overlaps) else { continue }
            let bytes = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            #expect(write(function, offset, bytes) == length)
            for (i, byte) in zip(range, bytes) {
                expected[i] = (expected[i] & ~reference.writable[i] | byte & reference.writable[i]) & ~(byte & reference.clearable[i])
            }
            let found = function.bytes()
            guard found == expected else {
                let byte = found.indices.first { found[$0] != expected[$0] }!
                Issue.record("seed \(seed), step \(step), byte \(byte): expected \(expected[byte]), found \(found[byte])")
                return
            }
        }
    }

    @discardableResult
    private func write(_ function: PCIFunction, _ offset: Int, _ bytes: [UInt8]) -> Int {
        bytes.withUnsafeBytes { function.writeConfiguration(offset, $0) }
    }

    @Test("capabilities are linked, in bounds, apart from each other, and end", arguments: kinds.dropLast())
    func chains(_ index: Int) throws {
        let fixture = try Fixture.full()
        defer { withExtendedLifetime(fixture) {} }
        try fixture.hierarchy.setVirtualFunctions(64)
        let function = fixture.function(index)
        let chain = function.chain()
        #expect(chain.count < 48)
        #expect(chain.allSatisfy { $0.offset >= 0x40 && $0.offset % 4 == 0 })
        #expect(Set(chain.map(\.offset)).count == chain.count)
        #expect(chain.map(\.offset).sorted() == chain.map(\.offset))
        let extended = function.extendedChain()
        #expect(extended.first?.offset == 0x100)
        #expect(extended.allSatisfy { $0.offset % 4 == 0 })
        #expect(Set(extended.map(\.id)).count == extended.count)
        #expect(extended.map(\.offset).sorted() == extended.map(\.offset))
        let ids: [UInt16] = switch function.role {
        case .physical(0): [0x01, 0x03, 0x0b, 0x0e, 0x0f, 0x10, 0x19, 0x1b, 0x25, 0x26, 0x27, 0x2a]
        case .physical: [0x01, 0x03, 0x0e, 0x0f]
        case .virtual: [0x01, 0x0e, 0x0f]
        default: [0x01, 0x0d, 0x19, 0x25, 0x26, 0x27, 0x2a]
        }
        #expect(extended.map(\.id).sorted() == ids)
    }

    @Test func readsOfAnyOffsetAndLengthAgree() throws {
        let fixture = try Fixture.full()
        defer { withExtendedLifetime(fixture) {} }
        let function = fixture.physical
        let whole = function.bytes()
        var random = SplitMix64(seed: 7)
        for _ in 0..<2000 {
            let offset = Int.random(in: 0..<5000, using: &random)
            let length = Int.random(in: 1...4096, using: &random)
            let found = function.bytes(offset, count: length)
            #expect(found == Array(offset < 4096 ? whole[offset..<min(offset + length, 4096)] : []))
        }
        #expect(function.bytes(-1, count: 4) == [])
        #expect(function.readConfiguration(4096, size: 4) == 0xffff_ffff)
        #expect(function.readConfiguration(Header.vendorID, size: 4) == 0x10f0_1af4)
    }

    @Test func writesPastTheEndAreCutOff() throws {
        let fixture = try Fixture()
        defer { withExtendedLifetime(fixture) {} }
        let function = fixture.physical
        let before = function.bytes()
        #expect(write(function, 4094, [0xff, 0xff, 0xff, 0xff]) == 2)
        #expect(write(function, 4096, [0xff]) == 0)
        #expect(write(function, -4, [0xff]) == 0)
        #expect(function.bytes() == before)
    }

    @Test func aSingleByteReachesOnlyItself() throws {
        // As DPDK does with byte 5 of the command register.
        let fixture = try Fixture()
        defer { withExtendedLifetime(fixture) {} }
        let function = fixture.physical
        function.writeConfiguration(Header.command + 1, size: 1, 0x04)
        #expect(function.readConfiguration(Header.command, size: 2) == 0x0402)
        function.writeConfiguration(Header.command, size: 1, 0x06)
        #expect(function.readConfiguration(Header.command, size: 2) == 0x0406)
    }

    @Test("every BAR tells its size", arguments: kinds.dropLast(2))
    func sizing(_ index: Int) throws {
        let fixture = try Fixture.full()
        defer { withExtendedLifetime(fixture) {} }
        try fixture.hierarchy.setVirtualFunctions(64)
        let function = fixture.function(index)
        for bar in 0..<6 {
            let offset = Header.bar0 + 4 * bar
            let old = function.readConfiguration(offset, size: 4)
            function.writeConfiguration(offset, size: 4, ~0)
            let found = function.readConfiguration(offset, size: 4)
            function.writeConfiguration(offset, size: 4, old)
            #expect(function.readConfiguration(offset, size: 4) == old)
            let expected: UInt32
            if function.isVirtual {
                expected = 0
            } else if let own = function.bars.first(where: { $0.index == bar }) {
                let type: UInt32 = switch own.kind {
                case .io: 1
                case .memory32: 0
                case .memory64: 4
                case .prefetchable64: 12
                }
                expected = UInt32(truncatingIfNeeded: ~(own.size - 1)) | type
            } else {
                expected = function.bars.contains { $0.index == bar - 1 && $0.is64Bit } ? ~0 : 0
            }
            #expect(found == expected, "BAR \(bar)")
        }
    }

    @Test("VF BARs grow with the system page size", arguments: [0, 1, 4, 6, 8, 10])
    func virtualSizing(_ shift: UInt32) throws {
        let fixture = try Fixture.full()
        defer { withExtendedLifetime(fixture) {} }
        let physical = fixture.physical
        let sriov = physical.extendedCapability(0x10)!
        // A size that isn't supported, or more than one, changes nothing.
        for bad: UInt32 in [0, 2 << 1, 0x3] {
            physical.writeConfiguration(sriov + SingleRootVirtualization.systemPageSize, size: 4, bad)
            #expect(physical.readConfiguration(sriov + SingleRootVirtualization.systemPageSize, size: 4) == 1)
        }
        physical.writeConfiguration(sriov + SingleRootVirtualization.systemPageSize, size: 4, 1 << shift)
        #expect(physical.readConfiguration(sriov + SingleRootVirtualization.systemPageSize, size: 4) == 1 << shift)
        for bar in fixture.hierarchy.description.virtualFunction.bars {
            let offset = sriov + SingleRootVirtualization.vfBAR0 + 4 * bar.index
            physical.writeConfiguration(offset, size: 4, ~0)
            physical.writeConfiguration(offset + 4, size: 4, ~0)
            let size = max(bar.size, 4096 << UInt64(shift))
            #expect(physical.readConfiguration(offset, size: 4) == UInt32(truncatingIfNeeded: ~(size - 1)) | 4)
            #expect(physical.readConfiguration(offset + 4, size: 4) == ~0)
        }
    }

    @Test func powerStatesThatDoNotExistAreNotEntered() throws {
        let fixture = try Fixture()
        let pm = fixture.physical.capability(0x01)! + PowerManagement.control
        for (written, found) in [(1, 0), (3, 3), (2, 3), (0, 0)] as [(UInt32, UInt32)] {
            fixture.physical.writeConfiguration(pm, size: 2, written)
            #expect(fixture.physical.readConfiguration(pm, size: 2) == 8 | found)
        }
    }
}
