import Glibc
import Interconnect
import Peripherals
import RegisterMaps
import Registers
import Simulation
import Testing

private final class Errors: MemoryErrorSink {
    var met: [MemoryError] = []
    var planted = 0
    func memoryErrorMet(_ error: MemoryError) { met.append(error) }
    func plantedErrorsChanged(to count: Int) { planted = count }
}

private final class Resets: ResetController {
    var calls: [String] = []
    func setRunning(_ isRunning: Bool, hart: Int) { calls.append("run \(hart) \(isRunning)") }
    func resetHart(_ hart: Int, bootAddress: UInt32) { calls.append("reset \(hart) 0x\(String(bootAddress, radix: 16))") }
    func requestFirmwareReset(_ cause: FirmwareResetCause) { calls.append("firmware \(cause)") }
    func hartStatus(_ hart: Int) -> (isPresent: Bool, isRunning: Bool, isWaiting: Bool) { (true, hart == 0, false) }
}

@Suite struct MemoryTests {
    private func access(_ target: any BusTarget, _ access: BusAccess) -> (BusStatus, UInt64) {
        var access = access
        return (target.access(&access), access.value)
    }

    @Test func memoryIsLittleEndianAndBounded() throws {
        let memory = PlainMemory(try MemoryPages(name: "test", size: 8192), isReadOnly: false)
        #expect(access(memory, .init(write: 0x1122_3344_5566_7788, to: 16, size: 8, initiator: .hart(0))).0 == .ok)
        #expect(access(memory, .init(read: 17, size: 2, initiator: .hart(0))) == (.ok, 0x6677))
        #expect(memory.peek(20, size: 4) == 0x1122_3344)
        for address in [8185, 8192, UInt64.max - 3] {
            #expect(access(memory, .init(read: address, size: 8, initiator: .hart(0))).0 == .unmapped)
            #expect(memory.peek(address, size: 8) == nil)
        }
    }

    @Test func readOnlyMemoryIsLoadedButNotWritten() throws {
        let memory = PlainMemory(try MemoryPages(name: "test", size: 4096), isReadOnly: true)
        let data: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8]
        data.withUnsafeBytes { memory.load($0, at: 4092) }
        #expect(access(memory, .init(write: 0, to: 4092, size: 4, initiator: .hart(0))).0 == .readOnly)
        #expect(memory.peek(4092, size: 4) == 0x0403_0201)
    }

    @Test func pagesCanBeMappedByOthersAndFilesKeepTheirContents() throws {
        let pages = try MemoryPages(name: "test", size: 5000)
        #expect(pages.size == 8192)
        // Another mapping of the same pages.
        let other = mmap(nil, pages.size, PROT_READ | PROT_WRITE, MAP_SHARED, pages.fileDescriptor, 0)!
        other.storeBytes(of: 0x55, toByteOffset: 77, as: UInt8.self)
        #expect(pages.bytes[77] == 0x55)
        munmap(other, pages.size)

        var path = Array("/tmp/outrigger-test-XXXXXX".utf8CString)
        close(mkstemp(&path))
        let name = path.withUnsafeBufferPointer { String(cString: $0.baseAddress!) }
        defer { unlink(name) }
        for (size, value) in [(4096, 99), (8192, 100)] as [(Int, UInt8)] {
            let file = try MemoryPages(path: name, size: size)
            withExtendedLifetime(file) {
                #expect(file.bytes[9] == (value == 99 ? 0 : value - 1))
                file.bytes[9] = value
            }
        }
        #expect(throws: MemoryPagesError.self) { try MemoryPages(path: "/nonexistent/file", size: 4096) }
    }

    @Test func plantedErrorsAreMetCorrectedAndRemoved() throws {
        let memory = ECCMemory(try MemoryPages(name: "test", size: 4096))
        let errors = Errors()
        memory.sink = errors
        #expect(access(memory, .init(write: 0xabcd, to: 0x100, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(memory.plantError(at: 0x102, isCorrectable: true))
        #expect(errors.planted == 1)
        #expect(access(memory, .init(read: 0x101, size: 1, initiator: .hart(1))) == (.ok, 0xab))
        #expect(errors.met == [MemoryError(offset: 0x100, isCorrected: true, initiator: .hart(1))])
        // Its neighbours are sound.
        #expect(access(memory, .init(read: 0xfc, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(access(memory, .init(read: 0x104, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(errors.met.count == 1)

        #expect(memory.plantError(at: 0x100, isCorrectable: false))
        #expect(access(memory, .init(read: 0x100, size: 4, initiator: .hart(0))).0 == .uncorrectable)
        #expect(access(memory, .init(write: 1, to: 0x100, size: 2, initiator: .hart(0))).0 == .uncorrectable)
        #expect(memory.peek(0x100, size: 4) == 0xabcd)
        #expect(access(memory, .init(read: 0x100, size: 4, initiator: .debugger)) == (.ok, 0xabcd))
        #expect(access(memory, .init(write: 7, to: 0x100, size: 4, initiator: .hart(0))).0 == .ok)
        #expect(errors.planted == 0 && errors.met.count == 3)
        #expect(access(memory, .init(read: 0x100, size: 4, initiator: .hart(0))) == (.ok, 7))
        #expect(!memory.plantError(at: 4096, isCorrectable: true))
    }
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
