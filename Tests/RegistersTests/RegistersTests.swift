import RegisterMaps
import Registers
import Testing

@Suite struct GeneratedMaps {
    @Test(arguments: RegisterMap.all.map(\.name)) func everyMapCreatesABlockWithItsResetValues(name: String) throws {
        let map = try #require(RegisterMap.all.first { $0.name == name })
        let block = RegisterBlock(map)
        for register in map.registers where register.fields.contains(where: \.software.canRead) {
            let readable = register.fields.filter(\.software.canRead).reduce(0 as UInt64) { $0 | $1.mask }
            for element in [0, register.count - 1] {
                let value = block.peek(register.offset(ofElement: element), size: register.width / 8)
                #expect(value == register.reset & readable, "\(name).\(register.name(ofElement: element))")
            }
        }
    }
}
