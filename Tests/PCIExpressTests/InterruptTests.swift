import PCIExpress
import Registers
import Simulation
import Testing

@Suite struct InterruptTests {
    /// A fixture whose function `index` has MSI-X on, bus mastering on, and vector n set to (0xfee00000 + n, n), unmasked.
    private func ready(_ index: Int) throws -> (Fixture, control: Int, bar: Int) {
        let fixture = try Fixture.full()
        try fixture.hierarchy.setVirtualFunctions(4)
        let function = fixture.function(index)
        let msix = function.capability(0x11)!
        let bar = function.description!.msix!.bar
        for vector in 0..<function.vectorCount {
            fixture.write(index, bar, UInt64(16 * vector), 0x1_fee0_0003 + UInt64(vector << 4), size: 8)
            fixture.write(index, bar, UInt64(16 * vector + 8), UInt64(vector))
            fixture.write(index, bar, UInt64(16 * vector + 12), 0)
        }
        function.writeConfiguration(Header.command, size: 2, function.readConfiguration(Header.command, size: 2) | 4)
        function.writeConfiguration(msix + 2, size: 2, 0x8000)
        fixture.events = []
        return (fixture, msix + 2, bar)
    }

    private func message(_ function: Int, _ vector: Int) -> Fixture.Event {
        .message(function: function, vector: vector, InterruptMessage(address: 0x1_fee0_0000 + UInt64(vector << 4), data: UInt32(vector)))
    }

    @Test("an open vector goes out at once", arguments: [0, 1, 4, 65, 69])
    func delivery(_ index: Int) throws {
        let (fixture, _, _) = try ready(index)
        let last = fixture.function(index).vectorCount - 1
        for vector in [0, last] { #expect(fixture.function(index).raise(vector) == .delivered) }
        #expect(fixture.events == [message(index, 0), message(index, last)])
        for none in [-1, last + 1, 0xffff] { #expect(fixture.function(index).raise(none) == .ignored) }
        #expect(fixture.events.count == 2)
    }

    @Test func theTableReadsBackWhatItHolds() throws {
        let fixture = try Fixture()
        #expect(fixture.read(0, 4, 12).value == 1, "masked after reset")
        fixture.write(0, 4, 16, ~0, size: 8)
        fixture.write(0, 4, 24, ~0, size: 8)
        #expect(fixture.read(0, 4, 16, size: 8).value == 0xffff_ffff_ffff_fffc)
        #expect(fixture.read(0, 4, 24, size: 8).value == 0x0000_0001_ffff_ffff)
        #expect(fixture.read(0, 4, 20).value == 0xffff_ffff)
        #expect(fixture.read(0, 4, 0, size: 2) == (.wrongSize, 0xffff))
        #expect(fixture.write(0, 4, 0, 0, size: 1) == .wrongSize)
        #expect(fixture.write(0, 4, 0x2000, ~0) == .readOnly)
        #expect(fixture.read(0, 4, 0x2000, size: 8) == (.ok, 0))
        #expect(fixture.read(0, 4, 0x2008).status == .ok, "behind the pending bits the BAR's own target answers")
    }

    @Test func aMaskedVectorWaits() throws {
        let (fixture, control, bar) = try ready(0)
        fixture.write(0, bar, 16 * 5 + 12, 1)
        #expect(fixture.physical.raise(5) == .pending)
        #expect(fixture.physical.raise(5) == .pending)
        #expect(fixture.physical.raise(6) == .delivered)
        #expect(fixture.read(0, bar, 0x2000, size: 8).value == 1 << 5)
        #expect(fixture.read(0, bar, 0x2000).value == 1 << 5)
        #expect(fixture.read(0, bar, 0x2004).value == 0)
        fixture.write(0, bar, 16 * 5 + 12, 0)
        #expect(fixture.events == [message(0, 6), message(0, 5)])
        #expect(fixture.read(0, bar, 0x2000).value == 0)

        // The function mask holds all of them; they go out in order of their numbers.
        fixture.events = []
        fixture.physical.writeConfiguration(control, size: 2, 0xc000)
        for vector in [63, 2, 40] { #expect(fixture.physical.raise(vector) == .pending) }
        #expect(fixture.read(0, bar, 0x2000, size: 8).value == UInt64(1 << 63 | 1 << 40 | 1 << 2 as UInt64))
        fixture.physical.writeConfiguration(control, size: 2, 0x8000)
        #expect(fixture.events == [message(0, 2), message(0, 40), message(0, 63)])
    }

    @Test func offMeansNothingHappens() throws {
        let (fixture, control, _) = try ready(0)
        fixture.physical.writeConfiguration(control, size: 2, 0)
        #expect(fixture.physical.raise(0) == .ignored)
        fixture.physical.writeConfiguration(control, size: 2, 0x8000)
        #expect(fixture.events.isEmpty)
    }

    @Test func aMessageNeedsBusMastering() throws {
        let (fixture, _, _) = try ready(1)
        let function = fixture.function(1)
        function.writeConfiguration(Header.command, size: 2, 0)
        #expect(function.raise(3) == .pending)
        function.writeConfiguration(Header.command, size: 2, 4)
        #expect(fixture.events == [message(1, 3)])
        // The port above counts too.
        let port = fixture.hierarchy.rootPort
        port.writeConfiguration(Header.command, size: 2, 3)
        #expect(function.raise(4) == .pending)
        port.writeConfiguration(Header.command, size: 2, 7)
        #expect(fixture.events == [message(1, 3), message(1, 4)])
    }

    /// The table, masks and pending bits against a model of sets, under random operations.
    @Test("mask, function mask, enable and raise in any order", arguments: [UInt64(21), 22, 23])
    func random(_ seed: UInt64) throws {
        let (fixture, control, bar) = try ready(0)
        var random = SplitMix64(seed: seed)
        var masked = Set<Int>(), pending = Set<Int>(), functionMask = false, enabled = true, expected: [Fixture.Event] = []
        for step in 0..<3000 {
            let vector = Int.random(in: 0..<64, using: &random)
            switch Int.random(in: 0..<6, using: &random) {
            case 0:
                masked.insert(vector)
                fixture.write(0, bar, UInt64(16 * vector + 12), 1)
            case 1:
                masked.remove(vector)
                fixture.write(0, bar, UInt64(16 * vector + 12), 0)
            case 2 where step % 7 == 0:
                functionMask.toggle()
                fixture.physical.writeConfiguration(control + 1, size: 1, (enabled ? 0x80 : 0) | (functionMask ? 0x40 : 0))
            case 3 where step % 11 == 0:
                enabled.toggle()
                fixture.physical.writeConfiguration(control, size: 2, (enabled ? 0x8000 : 0) | (functionMask ? 0x4000 : 0))
            default:
                if enabled { pending.insert(vector) }
                fixture.physical.raise(vector)
            }
            if enabled, !functionMask {
                for open in pending.subtracting(masked).sorted() { expected.append(message(0, open)) }
                pending.formIntersection(masked)
            }
            let bits = pending.reduce(UInt64(0)) { $0 | 1 << UInt64($1) }
            #expect(fixture.read(0, bar, 0x2000, size: 8).value == bits, "seed \(seed), step \(step)")
        }
        #expect(fixture.events == expected, "seed \(seed)")
    }

    @Test func theLineFollowsCommandAndMSIX() throws {
        let fixture = try Fixture()
        let physical = fixture.physical
        let msix = physical.capability(0x11)! + 2
        physical.driveLine(true)
        physical.driveLine(true)
        #expect(fixture.events == [.line(function: 0, true)])
        #expect(physical.readConfiguration(Header.status, size: 2) & 8 != 0)
        // Bit 10 silences the line; the status bit stays.
        physical.writeConfiguration(Header.command + 1, size: 1, 0x04)
        #expect(fixture.events.last == .line(function: 0, false))
        #expect(physical.readConfiguration(Header.status, size: 2) & 8 != 0)
        physical.writeConfiguration(Header.command + 1, size: 1, 0)
        #expect(fixture.events.last == .line(function: 0, true))
        physical.writeConfiguration(msix, size: 2, 0x8000)
        #expect(fixture.events.last == .line(function: 0, false))
        #expect(physical.readConfiguration(Header.status, size: 2) & 8 == 0)
        physical.writeConfiguration(msix, size: 2, 0)
        physical.driveLine(false)
        #expect(fixture.events.last == .line(function: 0, false))
        #expect(fixture.events.count == 6)
    }

    @Test func virtualFunctionsHaveNoLine() throws {
        let fixture = try Fixture()
        try fixture.hierarchy.setVirtualFunctions(1)
        fixture.events = []
        fixture.function(1).driveLine(true)
        #expect(fixture.events.isEmpty)
        #expect(fixture.function(1).readConfiguration(Header.status, size: 2) & 8 == 0)
        #expect(fixture.function(1).readConfiguration(Header.interruptPin, size: 1) == 0)
    }
}
