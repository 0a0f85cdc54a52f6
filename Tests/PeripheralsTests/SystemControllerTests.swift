import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

private final class Resets: ResetController {
    var calls: [String] = []
    func setRunning(_ isRunning: Bool, hart: Int) { calls.append("run \(hart) \(isRunning)") }
    func resetHart(_ hart: Int, bootAddress: UInt32) { calls.append("reset \(hart) 0x\(String(bootAddress, radix: 16))") }
    func requestFirmwareReset(_ cause: FirmwareResetCause) { calls.append("firmware \(cause)") }
    func hartStatus(_ hart: Int) -> (isPresent: Bool, isRunning: Bool, isWaiting: Bool) { (true, hart == 0, false) }
}

@Suite struct SystemControllerTests {
    private let controller: SystemController
    private let resets = Resets()
    private let probe: RegisterProbe

    init() {
        var identity = SystemController.Identity()
        identity.harts = 2
        identity.serial = 0x1234_5678_9abc_def0
        controller = SystemController(identity)
        controller.resets = resets
        probe = RegisterProbe(target: controller, map: SYSCTL.map, scheduler: Scheduler())
    }

    @Test func identityCanBeRead() {
        #expect(probe.read(SYSCTL.MAGIC) == 0x4f55_5452)
        #expect(probe.read(SYSCTL.SERIAL) == 0x1234_5678_9abc_def0)
        #expect(probe.read(SYSCTL.HART_STATUS, 0) == 3 && probe.read(SYSCTL.HART_STATUS, 1) == 1)
        #expect(probe.status(writing: 1, to: probe.address(SYSCTL.MAGIC)) == .readOnly)
    }

    @Test func hartsAreStartedAndReset() {
        probe.write(SYSCTL.HART_BOOT_ADDRESS, 1, 0x8000_1000)
        probe.write(SYSCTL.HART_CTRL, 1, 3)
        #expect(resets.calls == ["reset 1 0x80001000", "run 1 true"])
        #expect(probe.read(SYSCTL.INTR_STATE) == 4)
        probe.write(SYSCTL.HART_CTRL, 1, 0)
        #expect(resets.calls.last == "run 1 false")
    }

    @Test func resetsAreAskedForAndRemembered() {
        probe.write(SYSCTL.RESET_REQUEST, 1)
        #expect(resets.calls.isEmpty)
        probe.write(SYSCTL.RESET_REQUEST, 0x5253_5421)
        controller.wireChanged(SystemController.biteInput, level: true)
        #expect(resets.calls == ["firmware software", "firmware watchdog"])
        probe.write(SYSCTL.SCRATCH, 3, 0xdead_beef)
        probe.write(SYSCTL.INTR_ENABLE, 7)
        probe.write(SYSCTL.RESET_CAUSE, 1)
        controller.firmwareReset(.watchdog)
        controller.firmwareReset(.software)
        #expect(probe.read(SYSCTL.RESET_CAUSE) == 6 && probe.read(SYSCTL.RESET_COUNT) == 2)
        #expect(probe.read(SYSCTL.SCRATCH, 3) == 0xdead_beef && probe.read(SYSCTL.INTR_ENABLE) == 0)
        probe.write(SYSCTL.RESET_CAUSE, 2)
        #expect(probe.read(SYSCTL.RESET_CAUSE) == 4)
    }

    @Test func errorsArePlantedCountedAndReported() throws {
        let memory = ECCMemory(try MemoryPages(name: "test", size: 8192))
        memory.sink = controller
        controller.memory = memory
        probe.write(SYSCTL.INTR_ENABLE, 3)
        probe.write(SYSCTL.ECC_INJECT_ADDRESS, 0x8000_1004)
        probe.write(SYSCTL.ECC_CTRL, 2)
        #expect(memory.plantedErrors == 1 && !controller.interrupt.level)
        var access = BusAccess(read: 0x1004, size: 4, initiator: .hart(1))
        #expect(memory.access(&access) == .ok)
        #expect(controller.interrupt.level && probe.read(SYSCTL.INTR_STATE) == 1)
        #expect(probe.read(SYSCTL.ECC_ADDRESS) == 0x8000_1004 && probe.read(SYSCTL.ECC_CORRECTED) == 1)
        #expect(probe.read(SYSCTL.ECC_STATUS) == 1 << 16 | 1 << 8 | 1)
        probe.write(SYSCTL.ECC_INJECT_ADDRESS, 0x7fff_fffc)
        probe.write(SYSCTL.ECC_CTRL, 4)
        #expect(memory.plantedErrors == 1)
        probe.write(SYSCTL.ECC_CTRL, 1)
        #expect(probe.read(SYSCTL.ECC_STATUS) == 1 << 8 && probe.read(SYSCTL.ECC_CORRECTED) == 0)
    }
}
