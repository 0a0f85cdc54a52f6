import AdminProtocol
import CHostRegisters

/// The device's admin queue: commands to the firmware through a split virtqueue in shared memory (regmaps/hostif/README.md).
public struct AdminQueue {
    /// A command that the firmware refused.
    public struct Refusal: Error, CustomStringConvertible {
        public let command: AdminCommand
        public let status: UInt16, qualifier: UInt16
        /// What came with it: the Resource Manager's reason where the qualifier is `noResource`.
        public let result: [UInt8]

        public var description: String {
            let name = AdminOpcode(rawValue: command.opcode).map { "\($0)" } ?? "opcode 0x\(hex(command.opcode))"
            let status = AdminStatus(rawValue: self.status).map { "\($0)" } ?? "status \(self.status)"
            let about = AdminQualifier(rawValue: qualifier).map { "\($0)" } ?? "qualifier \(qualifier)"
            return "the firmware refused \(name): \(status) (\(about))"
        }
    }

    /// The host's part of shared memory: its first MiB. The rings come first, then the command and the result.
    private static let size = 4, rings = 0, command = 0x1000, result = 0x2000, resultRoom = 0xa000
    private static let sharedMemoryBusAddress: UInt64 = 0x4000_0000

    private let interface: HostInterface
    private let memory: DMAMemory
    private let interrupts: Interrupts?

    public init(_ interface: HostInterface) throws(AgentError) {
        self.interface = interface
        memory = DMAMemory(
            window: try MemoryWindow(interface.device.folder + "/resource2"), busAddress: Self.sharedMemoryBusAddress)
        // Without a UIO driver the used ring is polled.
        interrupts = interface.device.interruptNode == nil ? nil : try Interrupts(interface.device)
        try interface.waitUntilReady()
    }

    /// Sends one command and waits for its result.
    ///
    /// - Parameter room: the most bytes of result that are of use.
    /// - Throws: ``Refusal`` when the firmware says no, ``AgentError`` when it says nothing.
    public func send(_ command: AdminCommand, data: [UInt8] = [], room: Int) throws -> [UInt8] {
        let answer = try interface.exclusively { () throws(AgentError) -> (AdminResult, [UInt8]) in
            try exchange(command, data: data, room: min(room, Self.resultRoom))
        }
        guard answer.0.status == AdminStatus.ok.rawValue else {
            throw Refusal(command: command, status: answer.0.status, qualifier: answer.0.qualifier, result: answer.1)
        }
        return answer.1
    }

    /// Sets the queue up, uses it once, and takes it down: between two commands another agent may have its turn.
    private func exchange(_ command: AdminCommand, data: [UInt8], room: Int) throws(AgentError) -> (AdminResult, [UInt8]) {
        var queue = try DriverQueue(index: 0, size: Self.size, memory: memory, offset: Self.rings, eventIndex: false)
        try enable(queue)
        defer { try? interface.write(0, to: \.QUEUE_CONTROL) }

        var request = [UInt8](repeating: 0, count: AdminCommand.byteCount) + data
        request.withUnsafeMutableBytes { command.encode(to: $0.baseAddress!) }
        try write(request, at: Self.command)
        try queue.add(head: 0, [
            .init(address: memory.busAddress + UInt64(Self.command), length: request.count, deviceWrites: false),
            .init(address: memory.busAddress + UInt64(Self.result), length: AdminResult.byteCount + room, deviceWrites: true),
        ])
        if try queue.publish() { try interface.write(1, to: \.DOORBELL) }
        let written = try wait(&queue)
        guard written >= AdminResult.byteCount, written <= AdminResult.byteCount + room else {
            throw AgentError("\(interface.device.address): a result of \(AdminResult.byteCount) bytes or more expected, \(written) found")
        }
        let bytes = try read(written, at: Self.result)
        let result = bytes.withUnsafeBytes { AdminResult(decoding: $0.baseAddress!) }
        return (result, Array(bytes[AdminResult.byteCount...]))
    }

    private func enable(_ queue: DriverQueue) throws(AgentError) {
        if interrupts != nil { try enableMessageInterrupts(interface.device, vectors: 1) }
        try interface.write(0, to: \.QUEUE_CONTROL)
        try interface.write(UInt32(queue.size), to: \.QUEUE_SIZE)
        try interface.write(UInt32(truncatingIfNeeded: queue.descriptorAddress), to: \.QUEUE_DESC_LO)
        try interface.write(0, to: \.QUEUE_DESC_HI)
        try interface.write(UInt32(truncatingIfNeeded: queue.availableAddress), to: \.QUEUE_AVAIL_LO)
        try interface.write(0, to: \.QUEUE_AVAIL_HI)
        try interface.write(UInt32(truncatingIfNeeded: queue.usedAddress), to: \.QUEUE_USED_LO)
        try interface.write(0, to: \.QUEUE_USED_HI)
        try interface.write(1, to: \.INTR_ENABLE)
        try interface.write(1, to: \.QUEUE_CONTROL)
        let control = try interface.read(\.QUEUE_CONTROL)
        guard control & 1 == 1 else {
            throw AgentError(
                "\(interface.device.address): the admin queue can't be enabled: QUEUE_CONTROL 1 expected, 0x\(hex(control)) found")
        }
    }

    /// - Returns: how many bytes the firmware wrote.
    private func wait(_ queue: inout DriverQueue) throws(AgentError) -> Int {
        for _ in 0..<500 {
            if let used = try queue.take() { return used.written }
            if let interrupts {
                _ = try interrupts.wait(milliseconds: 10)
            } else {
                // Also moves device time on where only accesses do.
                _ = try interface.read(\.HEARTBEAT)
            }
        }
        if let used = try queue.take() { return used.written }
        let state = try interface.firmwareState().map { "\($0)" } ?? "unknown"
        throw AgentError("\(interface.device.address): no answer from the firmware in 5 seconds; its state is \(state)")
    }

    private func write(_ bytes: [UInt8], at offset: Int) throws(AgentError) {
        // A word at a time where the memory isn't mapped: padded to whole words.
        let padded = bytes + [UInt8](repeating: 0, count: -bytes.count & 7)
        for word in stride(from: 0, to: padded.count, by: 8) {
            let value = padded.withUnsafeBytes { $0.loadUnaligned(fromByteOffset: word, as: UInt64.self) }
            try memory.window.store(UInt64(littleEndian: value), at: offset + word)
        }
    }

    private func read(_ count: Int, at offset: Int) throws(AgentError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count + (-count & 7))
        for word in stride(from: 0, to: count, by: 8) {
            let value = try memory.window.load(UInt64.self, at: offset + word)
            bytes.withUnsafeMutableBytes { $0.storeBytes(of: value.littleEndian, toByteOffset: word, as: UInt64.self) }
        }
        return Array(bytes[..<count])
    }
}
