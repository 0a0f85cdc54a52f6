/// A small driver of a virtio block device (virtio 1.2, 5.2) with one queue and a fixed number of request slots.
public final class BlockDriver {
    /// What a request does (5.2.6).
    public enum Operation: UInt32, Sendable {
        case read = 0, write = 1, flush = 4, identify = 8
    }

    /// A request that the device has finished.
    public struct Completion {
        public var slot: Int
        /// VIRTIO_BLK_S_OK 0, IOERR 1, UNSUPP 2.
        public var status: UInt8
    }

    /// Header, data, status: three descriptors to a request.
    private static let chainLength = 3
    private static let headerBytes = 16

    public let function: VirtioFunction
    /// Capacity in 512-byte sectors.
    public let capacity: UInt64
    /// Requests that may be in flight.
    public let slots: Int
    /// The largest request in bytes.
    public let maximumBytes: Int
    public let canFlush: Bool
    public let isReadOnly: Bool

    private let memory: DMAMemory
    private let interrupts: Interrupts
    private var queue: DriverQueue
    private let doorbell: Int
    /// Offsets in the memory window: headers with status bytes, then the data of the slots.
    private let headers: Int, data: Int
    private var free: [Int]

    /// Initialises the device (3.1.1) with its rings and buffers in `memory` from `offset` on.
    public init(
        _ device: PCIDevice, memory: DMAMemory, offset: Int = 0, slots wantedSlots: Int = 64, maximumBytes: Int = 64 << 10
    ) throws(AgentError) {
        try device.enable()
        try enableMessageInterrupts(device, vectors: 2)
        function = try VirtioFunction(device)
        typealias Feature = VirtioFunction.Feature
        try function.negotiate(wanted: Feature.blockFlush | Feature.blockReadOnly | Feature.eventIndex)
        canFlush = function.features & Feature.blockFlush != 0
        isReadOnly = function.features & Feature.blockReadOnly != 0
        capacity = try function.configuration64(at: 0)
        let size = min(try function.maximumSize(ofQueue: 0), 1024)
        guard size >= 4, size & (size - 1) == 0 else {
            throw AgentError("\(device.address): queue 0 has \(size) entries: a power of two from 4 expected")
        }
        slots = min(wantedSlots, size / Self.chainLength)
        headers = offset + DriverQueue.bytes(size: size)
        data = (headers + slots * 32 + 4095) & ~4095
        let room = (memory.window.size - data) / slots & ~511
        guard room >= 4096 else {
            throw AgentError("\(device.address): too little DMA memory for \(slots) requests: \(memory.window.size) bytes")
        }
        self.maximumBytes = min(maximumBytes, room)
        self.memory = memory
        free = (0..<slots).reversed()
        interrupts = try Interrupts(device)
        queue = try DriverQueue(
            index: 0, size: size, memory: memory, offset: offset, eventIndex: function.features & Feature.eventIndex != 0)
        doorbell = try function.enableQueue(
            0, size: size, vector: 1, descriptors: queue.descriptorAddress, driver: queue.availableAddress, device: queue.usedAddress)
        try function.driverOK()
    }

    /// The end of what the driver uses of its memory window.
    public var memoryEnd: Int { data + slots * maximumBytes }

    /// Slots that are taken.
    public var inFlight: Int { slots - free.count }

    /// Takes a free slot. Its data can be filled in before ``submit(_:slot:sector:bytes:)``.
    public func takeSlot() -> Int? { free.popLast() }

    /// Fills in the data of a slot that was taken, before it is submitted.
    public func writeData(_ bytes: UnsafeRawBufferPointer, slot: Int) throws(AgentError) {
        try memory.window.write(bytes, at: data + slot * maximumBytes)
    }

    /// Copies out the data of a slot whose request has finished.
    public func readData(into bytes: UnsafeMutableRawBufferPointer, slot: Int) throws(AgentError) {
        try memory.window.read(into: bytes, at: data + slot * maximumBytes)
    }

    /// Puts a request into the ring. The device sees it at the next ``kick()``.
    public func submit(_ operation: Operation, slot: Int, sector: UInt64, bytes: Int) throws(AgentError) {
        precondition(bytes <= maximumBytes)
        let header = headers + 32 * slot
        try memory.window.store(UInt64(operation.rawValue), at: header)
        try memory.window.store(sector, at: header + 8)
        // No status of the device has this value.
        try memory.window.store(UInt8(0xff), at: header + Self.headerBytes)
        let bus = memory.busAddress
        var chain = [DriverQueue.Buffer(address: bus + UInt64(header), length: Self.headerBytes, deviceWrites: false)]
        if bytes > 0 {
            chain.append(.init(address: bus + UInt64(data + slot * maximumBytes), length: bytes, deviceWrites: operation != .write))
        }
        chain.append(.init(address: bus + UInt64(header + Self.headerBytes), length: 1, deviceWrites: true))
        try queue.add(head: slot * Self.chainLength, chain)
    }

    /// Publishes what was submitted and rings the doorbell if the device wants that.
    public func kick() throws(AgentError) {
        if try queue.publish() { try function.notify(queue: 0, doorbell: doorbell) }
    }

    /// The next finished request, whose slot stays taken until ``release(slot:)``; nil when none has finished.
    public func take() throws(AgentError) -> Completion? {
        guard let (head, _) = try queue.take() else { return nil }
        let slot = head / Self.chainLength
        guard head % Self.chainLength == 0, slot < slots else {
            throw AgentError("\(function.device.address): the device finished descriptor \(head), which starts no request")
        }
        return Completion(slot: slot, status: try memory.window.load(UInt8.self, at: headers + 32 * slot + Self.headerBytes))
    }

    /// Gives a slot back.
    public func release(slot: Int) { free.append(slot) }

    /// Waits for the interrupt of a completion, or until `milliseconds` have passed. Returns at once when one is there already.
    ///
    /// - Throws: also when the device has given up on the queue (DEVICE_NEEDS_RESET, 2.1.2).
    public func wait(milliseconds: Int32) throws(AgentError) {
        if try queue.armInterrupt() { return }
        if try interrupts.wait(milliseconds: milliseconds) == nil {
            let status = try function.status
            guard status & VirtioFunction.Status.needsReset == 0, status != 0 else {
                throw AgentError("\(function.device.address): the device stopped serving the queue: status 0x\(hex(status))")
            }
        }
    }
}
