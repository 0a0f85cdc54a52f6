import Glibc
import HostAgent
import Scratch
import Testing

/// DMA memory in a file, and the device's side of one queue in it, played by the test (virtio 1.2, 2.7).
private final class Rings {
    static let size = 8, offset = 64
    static let bus: UInt64 = 0x1_0000_0000
    let memory: DMAMemory
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        let file = try folder.write(repeatElement(0, count: 65536), to: "memory")
        memory = DMAMemory(window: try MemoryWindow(file), busAddress: Self.bus)
    }

    /// Offset in memory of a bus address.
    func at(_ address: UInt64) -> Int { Int(address - Self.bus) }

    func available(_ queue: DriverQueue) throws -> (index: UInt16, ring: [UInt16]) {
        let base = at(queue.availableAddress)
        return (
            try memory.window.load(UInt16.self, at: base + 2),
            try (0..<Self.size).map { try memory.window.load(UInt16.self, at: base + 4 + 2 * $0) }
        )
    }

    /// Finishes a chain, as a device does.
    func use(_ queue: DriverQueue, index: UInt16, head: UInt32, written: UInt32) throws {
        let base = at(queue.usedAddress)
        try memory.window.store(UInt64(head) | UInt64(written) << 32, at: base + 4 + 8 * (Int(index) % Self.size))
        try memory.window.store(index &+ 1, at: base + 2)
    }
}

@Suite struct DriverQueueTests {
    private let buffers: [DriverQueue.Buffer] = [
        .init(address: 0x1000, length: 16, deviceWrites: false), .init(address: 0x2000, length: 512, deviceWrites: true),
    ]

    @Test func areasAreAlignedAndDoNotOverlap() throws {
        let rings = try Rings()
        let queue = try DriverQueue(index: 0, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: true)
        #expect(queue.descriptorAddress % 16 == 0 && queue.availableAddress % 2 == 0 && queue.usedAddress % 4 == 0)
        #expect(queue.availableAddress >= queue.descriptorAddress + UInt64(16 * Rings.size))
        #expect(queue.usedAddress >= queue.availableAddress + UInt64(6 + 2 * Rings.size))
        let end = Int(queue.usedAddress - Rings.bus) + 6 + 8 * Rings.size
        #expect(end <= Rings.offset + DriverQueue.bytes(size: Rings.size))
    }

    @Test func aChainIsLinkedDescriptors() throws {
        let rings = try Rings()
        var queue = try DriverQueue(index: 0, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: false)
        try queue.add(head: 2, buffers)
        #expect(try rings.available(queue).index == 0, "not visible before it is published")
        #expect(try queue.publish())
        #expect(try rings.available(queue).index == 1)
        #expect(try rings.available(queue).ring[0] == 2)
        let first = rings.at(queue.descriptorAddress) + 16 * 2
        #expect(try rings.memory.window.load(UInt64.self, at: first) == 0x1000)
        #expect(try rings.memory.window.load(UInt64.self, at: first + 8) == 16 | 1 << 32 | 3 << 48, "NEXT, and the next is 3")
        #expect(try rings.memory.window.load(UInt64.self, at: first + 16) == 0x2000)
        #expect(try rings.memory.window.load(UInt64.self, at: first + 24) == 512 | 2 << 32, "WRITE, and none is next")
    }

    @Test func usedEntriesComeInOrderAndOnce() throws {
        let rings = try Rings()
        var queue = try DriverQueue(index: 0, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: false)
        #expect(try queue.take() == nil)
        // Twice around the ring, so that the index wraps in it.
        for round in UInt16(0)..<20 {
            try queue.add(head: 0, buffers)
            _ = try queue.publish()
            try rings.use(queue, index: round, head: 0, written: UInt32(round) * 7)
            let used = try queue.take()
            #expect(used?.head == 0 && used?.written == Int(round) * 7)
            #expect(try queue.take() == nil)
        }
    }

    @Test func aUsedEntryOutsideTheTableIsAnError() throws {
        let rings = try Rings()
        var queue = try DriverQueue(index: 3, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: false)
        try rings.use(queue, index: 0, head: 8, written: 0)
        #expect(throws: AgentError("queue 3: used entry names descriptor 8 of 8")) { try queue.take() }
    }

    /// 2.7.10: with the event index the device names the entry after which it wants to hear of more.
    @Test func theEventIndexDecidesNotifications() throws {
        let rings = try Rings()
        var queue = try DriverQueue(index: 0, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: true)
        let event = rings.at(queue.usedAddress) + 4 + 8 * Rings.size
        for (entry, wanted) in [(UInt16(0), true), (0, false), (5, false), (3, true), (4, true)] {
            try rings.memory.window.store(entry, at: event)
            try queue.add(head: 0, buffers)
            #expect(try queue.publish() == wanted)
        }
        #expect(try !queue.publish(), "nothing new")
    }

    @Test func withoutTheEventIndexAFlagDecides() throws {
        let rings = try Rings()
        var queue = try DriverQueue(index: 0, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: false)
        try rings.memory.window.store(UInt16(1), at: rings.at(queue.usedAddress))
        try queue.add(head: 0, buffers)
        #expect(try !queue.publish(), "VIRTQ_USED_F_NO_NOTIFY")
    }

    @Test func armingSeesWhatCameMeanwhile() throws {
        for eventIndex in [false, true] {
            let rings = try Rings()
            var queue = try DriverQueue(index: 0, size: Rings.size, memory: rings.memory, offset: Rings.offset, eventIndex: eventIndex)
            #expect(try !queue.armInterrupt())
            try rings.use(queue, index: 0, head: 0, written: 0)
            #expect(try queue.armInterrupt())
        }
    }
}

@Suite struct MemoryWindowTests {
    @Test func accessesOutsideAreErrors() throws {
        let rings = try Rings()
        #expect(throws: AgentError.self) { try rings.memory.window.load(UInt32.self, at: 65533) }
        #expect(throws: AgentError.self) { try rings.memory.window.store(UInt8(0), at: -1) }
        #expect(throws: AgentError.self) { try rings.memory.window.store(UInt8(0), at: 65536) }
        #expect(try rings.memory.window.load(UInt32.self, at: 65532) == 0)
    }

    @Test func anEmptyFileIsNoMemory() {
        #expect(throws: AgentError("/dev/null: memory expected, an empty file found")) { try MemoryWindow("/dev/null") }
    }
}
