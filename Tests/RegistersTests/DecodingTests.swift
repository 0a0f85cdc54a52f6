import RegisterMaps
import Registers
import Testing

@Suite struct DecodingTests {
    static let map = try! RegisterMap(text: #"""
        block GPIO 0x100 # Pins.\nSecond line, with a \\ in it.
        register CTRL 0x0 32 # Control
        field mode 0 2 rw r reset=1 # What it does
        value off 0 # Nothing
        value on 1
        field level 4 8 rw r reset=0x20
        register BANK[2:0x40].PIN[3:0x8] 0x10 32 # A pin
        field value 0 1 r w
        window RAM 0x80 0x10 rw # Memory
        """#)
    static let bus = BusMap(name: "test", size: 0x1000, blocks: [
        .init(name: "GPIO0", base: 0x200, map: map), .init(name: "GPIO1", base: 0x400, map: map),
    ])

    @Test func aValueTakenApart() {
        let ctrl = Self.map.registers[0]
        #expect(ctrl.describe(0x201) == "mode=on level=0x20")
        #expect(ctrl.describe(0x013) == "mode=3 level=1")
        #expect(ctrl.reset == 0x201)
        let changes = ctrl.changes(from: 0x201, to: 0x200)
        #expect(changes.map(\.old.description) == ["mode=on"])
        #expect(changes.map(\.new.description) == ["mode=off"])
        #expect(Self.map.doc == "Pins.\nSecond line, with a \\ in it.")
    }

    @Test func elementsHavePlacesAndNames() {
        let pin = Self.map.registers[1]
        #expect(pin.count == 6)
        #expect((0..<6).map(pin.offset(ofElement:)) == [0x10, 0x18, 0x20, 0x50, 0x58, 0x60])
        #expect(pin.name(ofElement: 5) == "BANK[1].PIN[2]")
        #expect((0..<6).map { pin.element(at: pin.offset(ofElement: $0) + 3) } == [0, 1, 2, 3, 4, 5])
        for offset: UInt64 in [0xc, 0x14, 0x28, 0x64, 0x1000] { #expect(pin.element(at: offset) == nil) }
    }

    @Test func lookUpByAddress() {
        #expect(Self.bus.location(at: 0x458)?.name == "GPIO1.BANK[1].PIN[1]")
        #expect(Self.bus.location(at: 0x458)?.address == 0x458)
        #expect(Self.bus.location(at: 0x200)?.name == "GPIO0.CTRL")
        for address: UInt64 in [0, 0x1ff, 0x204, 0x300, 0x500, .max] { #expect(Self.bus.location(at: address) == nil) }
    }

    @Test func lookUpByName() throws {
        let location = try Self.bus.location(named: "gpio1.bank[1].pin[2].VALUE")
        #expect(location.name == "GPIO1.BANK[1].PIN[2].value")
        #expect(location.address == 0x460)
        #expect(try Self.bus.location(named: "GPIO0.BANK.PIN").element == 0)
    }

    @Test(arguments: [
        ("", "'': has an empty part"),
        ("GPIO0", "'GPIO0': names a block, expected GPIO.REGISTER"),
        ("GPIO2.CTRL", "'GPIO2.CTRL': there is no block 'GPIO2'; near it: GPIO0, GPIO1"),
        ("GPIO0.CTLR", "'GPIO0.CTLR': GPIO has no register 'CTLR'; near it: CTRL"),
        ("GPIO0.CTRL.levl", "'GPIO0.CTRL.levl': GPIO.CTRL has no field 'levl'; near it: level"),
        ("GPIO0.BANK[2].PIN[0]", "'GPIO0.BANK[2].PIN[0]': index 2 of 'BANK' is past the end, expected 0...1"),
        ("GPIO0.BANK[x].PIN", "'GPIO0.BANK[x].PIN': '[x]' is not an index, expected [NUMBER]"),
        ("GPIO0.CTRL[1]", "'GPIO0.CTRL[1]': 'CTRL' takes 0 indices, found 1"),
    ])
    func namesThatMeanNothing(_ name: String, _ message: String) {
        do throws(RegisterNameError) {
            let location = try Self.bus.location(named: name)
            Issue.record("found \(location.name)")
        } catch {
            #expect(error.description == message)
        }
    }

    @Test(arguments: [
        ("register R 0 32", "register map, line 1: no 'block' line"),
        ("block B 1\nregister R 0 12", "register map, line 2: width 12, expected 8, 16, 32 or 64"),
        ("block B 1\nregister R 0 32\nfield f 60 8 rw r", "register map, line 3: field 'f' is outside its register"),
        ("block B 1\nregister R 0 32\nfield f 0 8 rx r", "register map, line 3: software access 'rx' is not known"),
        ("block B 1\nfield f 0 8 rw r", "register map, line 2: a field outside a register"),
        ("block B 1\nregister R zero 32", "register map, line 2: offset 'zero' is not a number"),
        ("block B 1\nregister R 0 32\nfield f 0 8 rw r woot", "register map, line 3: unknown field property 'woot'"),
        ("block B 1\nthing", "register map, line 2: unknown item 'thing'"),
    ])
    func textThatIsNoMap(_ text: String, _ message: String) {
        do throws(RegisterMapTextError) {
            _ = try RegisterMap(text: text)
            Issue.record("accepted")
        } catch {
            #expect(error.description == message)
        }
    }

    @Test func everyBusHasItsBlocksInOrderAndApart() {
        for bus in [BusMap.firmwareBus, .pfBar0, .vfBar0] {
            #expect(!bus.blocks.isEmpty)
            let ranges = bus.blocks.map { ($0.base, $0.map.size) } + bus.memories.map { ($0.offset, $0.size) }
            let sorted = ranges.sorted { $0.0 < $1.0 }
            for (low, high) in zip(sorted, sorted.dropFirst()) { #expect(low.0 + low.1 <= high.0, "\(bus.name) at \(high.0)") }
        }
        #expect(BusMap.firmwareBus.location(at: 0x1001_0010)?.name == "WDT.CTRL")
    }
}

/// What holds for every generated map.
@Suite struct GeneratedMapTests {
    @Test(arguments: RegisterMap.all.map(\.name)) func resetValuesAndPlaces(_ name: String) throws {
        let map = try #require(RegisterMap.all.first { $0.name == name })
        let block = RegisterBlock(map)
        for (place, register) in map.registers.enumerated() {
            let readable = register.fields.filter(\.software.canRead).reduce(0 as UInt64) { $0 | $1.mask }
            for element in [0, register.count / 2, register.count - 1] {
                let offset = register.offset(ofElement: element)
                let found = map.register(at: offset)
                #expect(found?.index.rawValue == place && found?.element == element, "\(name).\(register.name(ofElement: element))")
                let named = try map.register(named: register.name(ofElement: element))
                #expect(named.index.rawValue == place && named.element == element)
                guard readable != 0, !register.buffersReads else { continue }
                let value = block.peek(offset, size: register.width / 8)
                #expect(value == register.reset & readable, "\(name).\(register.name(ofElement: element))")
            }
        }
    }

    /// Each element of each array is a place of its own: what is written to one shows there and nowhere else.
    @Test(arguments: RegisterMap.all.map(\.name)) func elementsDoNotAlias(_ name: String) throws {
        let map = try #require(RegisterMap.all.first { $0.name == name })
        let block = RegisterBlock(map)
        var number: UInt64 = 0
        for (place, register) in map.registers.enumerated() {
            for element in 0..<register.count {
                number += 1
                block.setValue(number, of: .init(rawValue: place), element)
            }
        }
        number = 0
        for (place, register) in map.registers.enumerated() {
            for element in 0..<register.count {
                number += 1
                #expect(block.value(of: .init(rawValue: place), element) == number)
                guard register.fields.contains(where: \.software.canRead), !register.buffersReads else { continue }
                let readable = register.fields.filter(\.software.canRead).reduce(0 as UInt64) { $0 | $1.mask }
                #expect(block.peek(register.offset(ofElement: element), size: register.width / 8) == number & readable)
            }
        }
    }
}
