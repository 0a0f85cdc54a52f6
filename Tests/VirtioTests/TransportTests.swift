import Interconnect
import RegisterMaps
import Registers
import Simulation
import Testing
import Virtio

/// Virtio 1.2 sections 2.1 to 2.6, 3.1 and 4.1.4, through the registers of the PCI transport.
@Suite("4.1.4 PCI transport")
struct TransportTests {
    private func fixture(queues: Int = 2) throws -> BlockFixture {
        var configuration = BlockConfiguration()
        configuration.queues = queues
        return BlockFixture(configuration, backend: try MemoryBackend(byteCount: 1 << 20))
    }

    @Test("4.1.4.3: every field at its offset and width")
    func layout() throws {
        let fixture = try fixture()
        #expect(fixture.read(0x12, size: 2) == 2)
        #expect(fixture.read(0x10, size: 2) == 0xffff)
        #expect(fixture.read(0x14, size: 1) == 0 && fixture.read(0x15, size: 1) == 0)
        fixture.write(0x16, 1, size: 2)
        #expect(fixture.read(0x18, size: 2) == 64)
        #expect(fixture.read(0x1a, size: 2) == 0xffff)
        #expect(fixture.read(0x1e, size: 2) == 1)
        #expect(fixture.read(0x38, size: 2) == 1)
        for offset: UInt64 in [0x20, 0x28, 0x30] {
            fixture.write(offset + 4, 0x1122_3344, size: 4)
            fixture.write(offset, 0x5566_7000, size: 4)
            #expect(fixture.read(offset, size: 8) == 0x1122_3344_5566_7000)
        }
        fixture.write(0x16, 0, size: 2)
        #expect(fixture.read(0x20, size: 8) == 0, "each queue has its own addresses")
        // 4.1.3.1: fields have one width.
        #expect(fixture.write(0x14, 1, size: 2) == .wrongSize)
        #expect(fixture.write(0x12, 1, size: 2) == .readOnly)
        #expect(fixture.write(0x3c, 1, size: 4) == .unmapped)
    }

    @Test("4.1.4.3.1: a queue that isn't there has size 0 and takes nothing")
    func absentQueue() throws {
        let fixture = try fixture()
        for queue: UInt64 in [2, 63, 64, 0xffff] {
            fixture.write(0x16, queue, size: 2)
            #expect(fixture.read(0x18, size: 2) == 0)
            fixture.write(0x18, 16, size: 2)
            fixture.write(0x1a, 1, size: 2)
            fixture.write(0x1c, 1, size: 2)
            #expect(fixture.read(0x18, size: 2) == 0 && fixture.read(0x1a, size: 2) == 0xffff && fixture.read(0x1c, size: 2) == 0)
        }
        fixture.bringUp()
        #expect(fixture.write(0x3000 + 4 * 63, 63, size: 2) == .ok, "a doorbell of no queue is ignored")
        #expect(fixture.status.contains(.needsReset) == false)
    }

    @Test("2.2: features come in two words, and only what was offered is accepted")
    func features() throws {
        let fixture = try fixture()
        let offered = fixture.offered
        #expect(offered.isSuperset(of: [.version1, .indirectDescriptors, .eventIndex, .blockFlush, .blockMultiQueue, .blockSegmentMax]))
        #expect(!offered.contains(.blockReadOnly) && !offered.contains(.singleRootIOV))
        fixture.write(0x00, 2, size: 4)
        #expect(fixture.read(0x04, size: 4) == 0)

        #expect(fixture.negotiate(offered))
        #expect(fixture.device.features == offered)
        #expect(fixture.negotiate([.version1]))
        #expect(fixture.negotiate(offered.union(.singleRootIOV)) == false, "not offered")
        #expect(fixture.negotiate(offered.subtracting(.version1)) == false, "6.2: VERSION_1 is a must")
        #expect(fixture.status == [.acknowledge, .driver])
    }

    @Test("3.1.1: features are fixed by FEATURES_OK, DRIVER_OK needs it, only a reset takes bits back")
    func order() throws {
        let fixture = try fixture()
        fixture.status = [.acknowledge, .driver, .driverOK]
        #expect(fixture.status == [.acknowledge, .driver])
        #expect(fixture.negotiate([.version1]))
        fixture.write(0x08, 0, size: 4)
        fixture.write(0x0c, 0xffff_ffff, size: 4)
        #expect(fixture.read(0x0c, size: 4) == 0)
        fixture.status = .acknowledge
        #expect(fixture.status == [.acknowledge, .driver, .featuresOK])
        fixture.status = [.acknowledge, .driver, .featuresOK, .needsReset]
        #expect(fixture.status.contains(.needsReset) == false, "the device's bit")
        fixture.status = .failed
        #expect(fixture.status.contains(.failed))
        fixture.status = []
        #expect(fixture.status == [] && fixture.device.features == [])
    }

    @Test("4.1.4.3.2: a queue's size is a power of two up to the largest, and fixed while enabled")
    func queueSize() throws {
        let fixture = try fixture()
        #expect(fixture.negotiate([.version1]))
        fixture.write(0x16, 0, size: 2)
        for size: UInt64 in [0, 3, 65, 128, 0xffff] {
            fixture.write(0x18, size, size: 2)
            #expect(fixture.read(0x18, size: 2) == 64)
        }
        fixture.write(0x18, 16, size: 2)
        #expect(fixture.read(0x18, size: 2) == 16)
        fixture.write(0x1c, 1, size: 2)
        #expect(fixture.read(0x1c, size: 2) == 1)
        fixture.write(0x18, 32, size: 2)
        fixture.write(0x20, 0x1000, size: 8)
        #expect(fixture.read(0x18, size: 2) == 16 && fixture.read(0x20, size: 8) == 0)
        fixture.write(0x1c, 0, size: 2)
        #expect(fixture.read(0x1c, size: 2) == 1, "a zero is ignored")
        fixture.write(0x3a, 1, size: 2)
        #expect(fixture.read(0x1c, size: 2) == 1, "2.6.1: a queue is only reset with RING_RESET")
    }

    @Test("a queue can't be enabled before FEATURES_OK")
    func earlyEnable() throws {
        let fixture = try fixture()
        fixture.status = [.acknowledge, .driver]
        fixture.write(0x1c, 1, size: 2)
        #expect(fixture.read(0x1c, size: 2) == 0)
    }

    @Test("2.7: a misaligned queue needs a reset")
    func misalignedQueue() throws {
        let fixture = try fixture()
        #expect(fixture.negotiate([.version1]))
        fixture.write(0x20, 0x1008, size: 8)
        fixture.write(0x1c, 1, size: 2)
        #expect(fixture.read(0x1c, size: 2) == 0)
        #expect(fixture.status.contains(.needsReset))
        #expect(fixture.interrupts.raised[0] == 0, "2.1.2: no notification before DRIVER_OK")
        #expect(fixture.device.inspect(queue: 0)?.lastFault == .misaligned(.descriptors, address: 0x1008, alignment: 16))
    }

    @Test("4.1.5.1.2.1: vectors that the function doesn't have read back as none")
    func vectors() throws {
        let fixture = try fixture()
        fixture.write(0x10, 16, size: 2)
        #expect(fixture.read(0x10, size: 2) == 16)
        fixture.write(0x10, 17, size: 2)
        #expect(fixture.read(0x10, size: 2) == 0xffff)
        fixture.write(0x1a, 3, size: 2)
        #expect(fixture.read(0x1a, size: 2) == 3)
        fixture.write(0x16, 1, size: 2)
        #expect(fixture.read(0x1a, size: 2) == 0xffff)
        fixture.write(0x14, 0, size: 1)
        fixture.write(0x16, 0, size: 2)
        #expect(fixture.read(0x1a, size: 2) == 0xffff, "a reset forgets the vectors")
    }

    @Test("4.1.5.3: used buffers interrupt on the queue's own vector")
    func queueInterrupt() throws {
        let fixture = try fixture()
        fixture.bringUp()
        #expect(fixture.perform(type: 0, bytes: 512, queue: 1)?.status == 0)
        #expect(fixture.interrupts.raised[2] == 1 && fixture.interrupts.raised[1] == 0)
        #expect(fixture.read(0x1000, size: 1) == 0, "4.1.4.5: no ISR bit with MSI-X")
    }

    @Test("4.1.4.5: without MSI-X the ISR status drives INTx until it is read")
    func legacyInterrupt() throws {
        let fixture = try fixture()
        fixture.interrupts.isMSIXEnabled = false
        fixture.bringUp()
        #expect(fixture.perform(type: 0, bytes: 512)?.status == 0)
        #expect(fixture.interrupts.line)
        #expect(fixture.transport.peek(0x1000, size: 1) == 1)
        #expect(fixture.interrupts.line, "a look changes nothing")
        #expect(fixture.read(0x1000, size: 1) == 1)
        #expect(fixture.interrupts.line == false && fixture.read(0x1000, size: 1) == 0)
        fixture.device.configurationChanged()
        #expect(fixture.interrupts.line && fixture.read(0x1000, size: 1) == 2)
    }

    @Test("2.5: the generation moves with the configuration, and the driver is told")
    func generation() throws {
        let fixture = try fixture()
        fixture.bringUp()
        fixture.device.configurationChanged()
        #expect(fixture.read(0x15, size: 1) == 1)
        #expect(fixture.interrupts.raised[0] == 1)
    }

    @Test("2.6.1: a queue reset forgets requests and settings, and the queue can be used again")
    func queueReset() throws {
        let fixture = try fixture()
        fixture.bringUp(fixture.offered.subtracting(.packedRing))
        fixture.submit(type: 0, bytes: 512)
        fixture.notify()
        #expect(fixture.device.inspect(queue: 0)?.requestsInFlight == 1)
        fixture.write(0x16, 0, size: 2)
        fixture.write(0x3a, 1, size: 2)
        #expect(fixture.read(0x3a, size: 2) == 0 && fixture.read(0x1c, size: 2) == 0)
        #expect(fixture.read(0x18, size: 2) == 64 && fixture.read(0x20, size: 8) == 0)
        #expect(fixture.device.inspect(queue: 0)?.requestsInFlight == 0)
        let writes = fixture.memory.writes
        fixture.run()
        #expect(fixture.memory.writes == writes && fixture.drivers[0].reap() == nil)
        #expect(fixture.perform(type: 0, bytes: 512, queue: 1)?.status == 0, "the other queue goes on")

        let driver = MockDriver(memory: fixture.memory, size: 16, usesEventIndex: true)
        fixture.enable(queue: 0, driver.layout)
        let status = Segment(address: driver.buffers + 512, length: 1, isWritable: true)
        let head = driver.submit([Segment(address: driver.buffers, length: 16, isWritable: false), status])
        fixture.memory.store(UInt32(4), at: driver.buffers)
        fixture.notify()
        fixture.run()
        #expect(driver.reap() == MockDriver.Used(head: try #require(head), written: 1))
    }

    @Test("4.1.5.2: notifications of 16 bits, and of 32 with notification data; other widths are refused")
    func notificationWidth() throws {
        let fixture = try fixture()
        fixture.bringUp(fixture.offered)
        fixture.submit(type: 0, bytes: 512)
        #expect(fixture.write(0x3000, 0, size: 1) == .wrongSize)
        #expect(fixture.write(0x3000, 0 | 1 << 16, size: 4) == .ok)
        fixture.run()
        #expect(fixture.queues[0].reap() != nil)
        #expect(fixture.read(0x3000, size: 2) == .max, "notifications can't be read")
    }

    @Test("4.1.4.6: device configuration of any width, zero beyond its end")
    func deviceConfiguration() throws {
        let fixture = try fixture()
        #expect(fixture.read(0x2000, size: 8) == 2048)
        #expect(fixture.read(0x2004, size: 4) == 0)
        #expect((0..<8).map { fixture.read(0x2000 + $0, size: 1) } == [0, 8, 0, 0, 0, 0, 0, 0])
        #expect(fixture.read(0x200c, size: 4) == 126)
        #expect(fixture.read(0x2014, size: 4) == 512)
        #expect(fixture.read(0x2022, size: 2) == 2)
        #expect(fixture.read(0x2fff, size: 1) == 0)
        #expect(fixture.transport.peek(0x2000, size: 4) == 2048)
        fixture.write(0x2000, 0xffff_ffff, size: 4)
        #expect(fixture.read(0x2000, size: 4) == 2048)
    }

    @Test("a look at the registers changes nothing and sees what a driver sees")
    func peek() throws {
        let fixture = try fixture()
        fixture.bringUp()
        for offset: UInt64 in stride(from: 0, to: 0x3c, by: 1) {
            for size in [1, 2, 4, 8] {
                let peeked = fixture.transport.peek(offset, size: size)
                #expect((peeked ?? .max) == fixture.read(offset, size: size), "\(offset), \(size) bytes")
            }
        }
    }
}
