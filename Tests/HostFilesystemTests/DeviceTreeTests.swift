import Foundation
import Glibc
@preconcurrency import HostFilesystem
import OffloadDevice
import Scratch
import Testing

/// A machine's tree without a mount and without firmware.
struct DeviceTreeTests {
    private static let physical = "sys/devices/pci0000:00/0000:00:01.0/0000:01:00.0"
    private static let debug = "sys/kernel/debug/outrigger/0000:01:00.0"

    private let machine: Machine
    private let tree: DeviceTree

    init() throws {
        var description = MachineDescription()
        description.virtualFunctions.total = 4
        description.virtualFunctions.enabled = 0
        description.memory.host = 1 << 20
        description.physicalFunctions = [.init(number: 2)]
        machine = try Machine(description, pace: .lockstep)
        tree = DeviceTree(machine, mountPoint: "/mnt")
    }

    // MARK: As a client would use the files

    private func find(_ path: String) -> Node? {
        path.split(separator: "/").reduce(tree.nodes.root as Node?) { ($0 as? Directory)?[String($1)] }
    }

    private func read(_ path: String, at offset: Int = 0, count: Int = 1 << 20) throws -> [UInt8] {
        let node = try #require(find(path), "\(path) is missing")
        let open = try node.open(flags: O_RDONLY)
        defer { node.close(open) }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 8)
        defer { buffer.deallocate() }
        let read = try node.read(at: offset, into: buffer, open: open, by: Caller(thread: 1))
        return Array(buffer[..<read])
    }

    private func text(_ path: String) throws -> String { String(decoding: try read(path), as: UTF8.self) }

    private func write(_ path: String, _ bytes: [UInt8], at offset: Int = 0) throws {
        let node = try #require(find(path), "\(path) is missing")
        let open = try node.open(flags: O_WRONLY)
        defer { node.close(open) }
        _ = try bytes.withUnsafeBytes { try node.write($0, at: offset, open: open, by: Caller(thread: 1)) }
    }

    private func write(_ path: String, _ text: String) throws { try write(path, Array(text.utf8)) }

    // MARK: Tests

    @Test func aTransitionalFunctionHasItsFiles() throws {
        let folder = Self.physical.dropLast() + "2"
        #expect(try text(folder + "/device") == "0x1001\n")
        #expect(try text(folder + "/subsystem_device") == "0x0002\n")
        #expect(try text(folder + "/uevent").hasPrefix("DRIVER=uio_pci_generic\n"))
        #expect(find(folder + "/sriov_numvfs") == nil && find(folder + "/physfn") == nil)
        let resources = try text(folder + "/resource").split(separator: "\n").map { $0.split(separator: " ") }
        // IORESOURCE_IO, and IORESOURCE_MEM with prefetching (include/linux/ioport.h).
        #expect(UInt64(resources[0][2].dropFirst(2), radix: 16)! & 0x300 == 0x100)
        #expect(UInt64(resources[4][2].dropFirst(2), radix: 16)! & 0x2300 == 0x2200)
        // The size of queue 0 by the legacy interface, and what lies behind its registers.
        #expect(try read(folder + "/resource0", at: 0x0c, count: 2) == [0, 1])
        #expect(try read(folder + "/resource0", at: 0x0d, count: 1) == [0xff])
        #expect(throws: Errno.invalidArgument) { try read(folder + "/resource0", count: 8) }
        #expect(try read(folder + "/resource4", at: 0x12, count: 2) == [1, 0])
        #expect(try text(Self.debug + "/functions/fn66/regs").contains("VIRTIO.NUM_QUEUES 0x0001"))
        #expect(try text(Self.debug + "/functions/fn66/regs").contains("VIRTIO_LEGACY.QUEUE_SIZE 0x0100"))
        #expect(try text(Self.debug + "/functions/fn66/interrupts").hasPrefix("msix: off\nintx: idle"))
        #expect(try text(Self.debug + "/functions/fn66/interrupts").hasSuffix("configuration: no vector\nqueue 0: no vector\n"))
        #expect(try text(Self.debug + "/functions/fn66/features").contains("RING_PACKED IN_ORDER"))
        #expect(try text("dev/outrigger/0000:01:00.0/queues/fn66/q0/state").isEmpty == false)
        let metrics = try text(Self.debug + "/metrics")
        #expect(metrics.contains("outrigger_requests_in_flight{function=\"0000:01:00.2\"} 0\n"))
        #expect(metrics.contains("outrigger_refused_accesses_total{function=\"0000:01:00.2\"} 1\n"))
        #expect(metrics.contains("outrigger_link_bytes_total{direction=\"to-host\",owner=\"host\"} 0\n"))
    }

    @Test func everyFunctionHasItsFolder() throws {
        for name in ["0000:00:00.0", "0000:00:01.0", "0000:01:00.0"] {
            let link = try #require(find("sys/bus/pci/devices/\(name)") as? SymbolicLink)
            #expect(link.target.hasPrefix("/mnt/sys/devices/pci0000:00/") && link.target.hasSuffix(name))
            #expect(find(String(link.target.dropFirst(5)) + "/config") != nil)
        }
        #expect(try text(Self.physical + "/vendor") == "0x1af4\n")
        #expect(try text(Self.physical + "/class") == "0x120000\n")
        let driver = try #require(find(Self.physical + "/driver") as? SymbolicLink)
        #expect(driver.target == "../../../../bus/pci/drivers/uio_pci_generic")
    }

    @Test func configurationSpaceReadsAtOnce() throws {
        let space = try read(Self.physical + "/config")
        #expect(space.count == 4096 && Array(space[..<2]) == [0xf4, 0x1a])
        #expect(try read(Self.physical + "/config", at: 1, count: 3) == Array(space[1..<4]))
    }

    @Test func registersAreReadOneByOne() throws {
        let magic = try read(Self.physical + "/resource0", count: 4)
        #expect(magic == Array("OUTR".utf8))
        for (offset, count) in [(0, 3), (2, 4), (4, 8), (0, 16)] {
            #expect(throws: Errno.invalidArgument) { try read(Self.physical + "/resource0", at: offset, count: count) }
        }
        #expect(try read(Self.physical + "/resource0", at: 65536, count: 4).isEmpty)
        #expect(throws: Errno.invalidArgument) { try write(Self.physical + "/resource0", [0], at: 65536) }
    }

    @Test func sharedMemoryIsOneMemory() throws {
        try write(Self.physical + "/resource2", [1, 2, 3, 4], at: 4096)
        #expect(Array(machine.sharedMemory.bytes[4096..<4100]) == [1, 2, 3, 4])
        #expect(find(Self.physical + "/resource2")?.mapping?.memory == machine.sharedMemory.fileDescriptor)
        #expect(find(Self.physical + "/resource0")?.mapping == nil)
        machine.hostMemory.bytes[7] = 9
        #expect(try read("dev/outrigger/0000:01:00.0/hostmem", at: 7, count: 1) == [9])
        #expect(try text("dev/outrigger/0000:01:00.0/hostmem.iova") == "0x80000000000\n")
    }

    /// What a mapping writes to shared memory is no access, and would not be recorded.
    @Test func mappingsForWritingAndRecordingsKeepOutOfEachOthersWay() throws {
        let file = try #require(find(Self.physical + "/resource2"))
        let temporary = try TemporaryFolder(), folder = temporary.path("recording")
        var reader = try file.open(flags: O_RDONLY), writers = [try file.open(flags: O_RDWR), try file.open(flags: O_WRONLY)]
        #expect(reader?.canBeMapped == true && writers.allSatisfy { $0?.canBeMapped == true })
        let message = #expect(throws: RecordingError.self) { try machine.startRecording(folder: folder) }?.description
        #expect(message?.contains("writable mapping of shared memory (BAR2)") == true && message?.contains("found 2 openings") == true)
        writers = []
        try machine.startRecording(folder: folder)
        writers = [try file.open(flags: O_RDWR)]
        #expect(writers[0]?.canBeMapped == false)
        reader = try file.open(flags: O_RDONLY)
        #expect(reader?.canBeMapped == true)
        #expect(machine.stopRecording() == nil)
        #expect(try file.open(flags: O_RDWR)?.canBeMapped == true)
    }

    @Test func virtualFunctionsComeAndGo() throws {
        let before = tree.nodes.count
        try write(Self.physical + "/sriov_numvfs", "2\n")
        let link = try #require(find(Self.physical + "/virtfn1") as? SymbolicLink)
        let folder = "sys/devices/pci0000:00/0000:00:01.0/" + link.target.dropFirst(3)
        #expect(try text(folder + "/vendor") == "0x1af4\n")
        #expect(try Array(read(folder + "/config", count: 4)) == [0xff, 0xff, 0xff, 0xff])
        #expect(find("dev/uio2") != nil && find("dev/outrigger/0000:01:00.0/queues/fn2/q0/state") != nil)
        #expect(try text("dev/outrigger/0000:01:00.0/queues/fn2/q0/state").contains("enabled: no\n"))
        #expect(throws: Errno.busy) { try write(Self.physical + "/sriov_numvfs", "3") }
        #expect(throws: Errno.outOfRange) { try write(Self.physical + "/sriov_numvfs", "5") }
        try write(Self.physical + "/sriov_numvfs", "0")
        #expect(find(folder) == nil && find("dev/uio2") == nil && tree.nodes.count <= before + 3)
    }

    @Test func driversBindAndUnbind() throws {
        let driver = "sys/bus/pci/drivers/uio_pci_generic"
        try write(driver + "/unbind", "0000:01:00.0")
        #expect(find(Self.physical + "/driver") == nil && find(Self.physical + "/uio") == nil && find("dev/uio0") == nil)
        #expect(throws: Errno.noDevice) { try write(driver + "/unbind", "0000:01:00.0") }
        #expect(throws: Errno.noDevice) { try write("sys/bus/pci/drivers/pcieport/bind", "0000:01:00.0") }
        try write(driver + "/bind", "0000:01:00.0\n")
        #expect(find(driver + "/0000:01:00.0") != nil && find("dev/uio0") != nil)
    }

    @Test func interruptsCount() throws {
        // MSI-X enable, and the first vector unmasked; bus mastering, as a message is a memory write.
        let space = try read(Self.physical + "/config")
        var capability = Int(space[0x34])
        while space[capability] != 0x11 { capability = Int(space[capability + 1]) }
        try write(Self.physical + "/config", [space[capability + 2], 0x80], at: capability + 2)
        try write(Self.physical + "/config", [0x06, 0x00], at: 4)
        try write(Self.physical + "/resource4", [0, 0, 0, 0], at: 12)
        #expect(throws: Errno.invalidArgument) { try write(Self.debug + "/inject", "interrupt 0000:01:00.0 99") }
        #expect(throws: Errno.noDevice) { try write(Self.debug + "/inject", "interrupt 0000:09:00.0 0") }
        try write(Self.debug + "/inject", "interrupt 0000:01:00.0 0\n")
        #expect(try text(Self.physical + "/uio/uio0/event") == "1\n")
        #expect(try text(Self.debug + "/metrics").contains("outrigger_interrupts_total{function=\"0000:01:00.0\"} 1\n"))
    }

    @Test func errorsAreInjectedAndShown() throws {
        try write(Self.debug + "/inject", "aer 0000:01:00.0 badTLP")
        #expect(try text(Self.physical + "/aer_dev_correctable").contains("BadTLP 1\n"))
        try write(Self.debug + "/inject", "aer 0000:01:00.0 malformedTLP")
        #expect(try text(Self.physical + "/aer_dev_fatal").contains("MalfTLP 1\n"))
        for line in ["", "aer", "aer 0000:01:00.0 nothing", "memory 0x80000000 maybe", "memory 0x0 correctable", "dance 1 2"] {
            #expect(throws: Errno.invalidArgument) { try write(Self.debug + "/inject", line) }
        }
    }

    @Test func registersAreDecoded() throws {
        let lines = try text(Self.debug + "/regs").split(separator: "\n")
        #expect(lines.contains { $0.hasPrefix("HOSTIF.MAGIC 0x5254554f") })
        #expect(lines.contains { $0.hasPrefix("WDT.") } && lines.contains { $0.hasPrefix("SYSCTL.") })
        #expect(Set(lines.map { $0.prefix { $0 != " " } }).count == lines.count)
    }

    @Test func timeAdvances() throws {
        let before = machine.now
        try write(Self.debug + "/time", "advance 12345\n")
        #expect(machine.now == before + 12345)
        #expect(try text(Self.debug + "/time").hasPrefix("cycle: \(machine.now)\n"))
        #expect(throws: Errno.invalidArgument) { try write(Self.debug + "/time", "forward 1") }
    }

    @Test func firmwareThatIsNoneIsRefused() throws {
        let file = try #require(find(Self.debug + "/firmware"))
        for content in ["restart\n", "\u{7f}ELF but short"] {
            let open = try file.open(flags: O_WRONLY)
            _ = try Array(content.utf8).withUnsafeBytes { try file.write($0, at: 0, open: open, by: Caller(thread: 1)) }
            #expect(throws: Errno.invalidArgument) { try file.flush(open) }
        }
    }
}
