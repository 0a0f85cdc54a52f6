import PCIExpress
import Registers
import Testing

@Suite struct DecodingTests {
    @Test func registersAnswerOnceMemorySpaceIsOn() throws {
        let fixture = try Fixture()
        #expect(fixture.write(0, 0, 0x10, 0x1234_5678) == .ok)
        let (status, value) = fixture.read(0, 0, 0x10)
        #expect(status == .ok)
        #expect(value == 0x1234_5678)
        fixture.physical.writeConfiguration(Header.command, size: 2, 0)
        #expect(fixture.read(0, 0, 0x10) == (.unmapped, 0xffff_ffff))
    }
}
