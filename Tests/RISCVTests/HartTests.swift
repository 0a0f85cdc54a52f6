import RISCV
import Testing

@Suite struct HartTests {
    @Test func addsAndStops() {
        let machine = TestMachine()
        machine.write([0x0050_0093, 0x0070_8113])  // addi x1, x0, 5; addi x2, x1, 7
        #expect(machine.hart.run(until: 2) == .horizon)
        #expect(machine.hart.state.x[2] == 12)
        #expect(machine.hart.time == 2)
        #expect(machine.hart.state.pc == TestMachine.base + 8)
    }
}
