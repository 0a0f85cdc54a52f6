import AdminProtocol
import HostAgent
import OffloadDevice

/// A device in lockstep with its firmware, a host agent in this process, and a loaded disk: everything that takes part in a move, in device
/// time alone.
public final class MoveRig {
    public typealias Fault = DiskLoad.Fault

    public static let function = 1
    /// VIC_HOST in the physical function's BAR0.
    private static let window: UInt64 = 0x3000
    /// The admin queue's parts in shared memory.
    private static let rings = (descriptors: 0x1000, available: 0x1100, used: 0x1200, command: 0x1400, result: 0x1800)
    private static let queueSize = 4
    /// Device cycles from one look at the world to the next.
    public static let turnCycles: UInt64 = 2_000

    public let machine: Machine
    public let load: DiskLoad
    public private(set) var agent: ComponentAgent?
    private var commands: UInt16 = 0
    /// Is asked before each access of the agent to registers and medium; true ends the agent there and then.
    public var endsAgent: () -> Bool = { false }

    /// The agent's images are damaged on their way to the device.
    public var damagesReturn = false
    /// Or replaced by others.
    public var changesReturn: ((inout ComponentImage) -> Void)?
    /// The key that comes with commands about the component.
    public var key: UInt64 = 0

    struct AgentEnded: Error {}

    public init(_ description: MachineDescription = MachineDescription(), firmware: [UInt8], depth: Int = 16, seed: UInt64) throws {
        machine = try Machine(description, pace: .lockstep)
        try machine.loadFirmware(firmware)
        _ = withUnsafeBytes(of: UInt16(6).littleEndian) { [machine] in machine.writeConfiguration(function: 0, offset: 4, $0) }
        for _ in 0..<1000 where machine.readBAR(function: 0, bar: 0, offset: 0x18, size: 4, origin: 0).value & 0xff != 2 {
            machine.advance(by: 10_000)
        }
        load = try DiskLoad(machine, function: Self.function, offset: 1 << 20, depth: depth, seed: seed)
        enableQueue()
    }

    deinit { machine.stop() }

    // MARK: Time

    /// One look of everybody at the world, then a little device time.
    /// - Returns: requests that the load has submitted, `most` of them at most.
    @discardableResult
    public func turn(submits: Bool = true, most: Int = .max, cycles: UInt64 = turnCycles) throws -> Int {
        let submitted = try load.pump(submits: submits, most: most)
        try stepAgent()
        machine.advance(by: cycles)
        return submitted
    }

    /// Cycles for which the service cores have been busy, and how many there are.
    public var coresBusy: UInt64 { machine.inspect { $0.cores.busyCycles } }
    public var cores: UInt64 { machine.inspect { UInt64($0.description.service.cores) } }

    /// Lets the agent work, as a process that runs until it has to wait.
    public func stepAgent(limit: Int = 4) throws {
        do {
            for _ in 0..<limit { guard try agent?.step() == true else { return } }
        } catch is AgentEnded {
            killAgent()
        }
    }

    /// Turns until something holds.
    public func wait(turns: Int = 20_000, submits: Bool = true, _ what: String, until holds: () throws -> Bool) throws {
        for _ in 0..<turns {
            if try holds() { return }
            try turn(submits: submits)
        }
        throw Fault(description: "\(what): not after \(turns) turns; \(status())")
    }

    // MARK: The agent

    private struct Registers: ComponentRegisters {
        unowned let rig: MoveRig
        func read(_ offset: Int) throws(AgentError) -> UInt32 {
            UInt32(truncatingIfNeeded: rig.machine.readBAR(function: 0, bar: 0, offset: window + UInt64(offset), size: 4, origin: 1).value)
        }
        func write(_ value: UInt32, at offset: Int) throws(AgentError) {
            rig.machine.writeBAR(function: 0, bar: 0, offset: window + UInt64(offset), size: 4, value: UInt64(value), origin: 1)
        }
    }

    private struct Medium: HostedMedium {
        unowned let rig: MoveRig
        let function: Int

        func read(_ position: UInt64, into bytes: UnsafeMutableRawBufferPointer) throws(AgentError) {
            guard case .read(let found) = rig.machine.perform(
                .medium(function: function, .read(position: position, count: bytes.count))) else { throw AgentError("medium") }
            bytes.copyBytes(from: found)
        }
        func write(_ position: UInt64, from bytes: UnsafeRawBufferPointer) throws(AgentError) {
            guard case .done = rig.machine.perform(.medium(function: function, .write(position: position, Array(bytes)))) else {
                throw AgentError("medium")
            }
        }
        func flush() throws(AgentError) { rig.machine.perform(.medium(function: function, .flush)) }
    }

    /// A new agent comes.
    public func startAgent() throws {
        let memory = machine.hostMemory
        let window = MemoryWindow(mapped: memory.bytes.baseAddress!, size: memory.size, isOwned: false)
        let agent = try ComponentAgent(
            Registers(rig: self), memory: DMAMemory(window: window, busAddress: machine.hostMemoryAddress),
            buffer: memory.size - ComponentAgent.bufferBytes, medium: { [unowned self] in Medium(rig: self, function: $0) })
        try agent.attach(vector: 3)
        agent.willAct = { [unowned self] in if endsAgent() { throw AgentEnded() } }
        agent.wroteImage = { [unowned self] in
            if damagesReturn { damageImage(at: 0) }
            if let change = changesReturn { var image = returnedImage; change(&image) }
        }
        self.agent = agent
    }

    /// The agent's process ends, without a word of its own.
    public func killAgent() {
        agent = nil
        machine.detachAgent()
    }

    /// Changes a bit of the image in the agent's buffer.
    public func damageImage(at number: UInt64) {
        let place = machine.hostMemory.bytes.baseAddress! + machine.hostMemory.size - ComponentAgent.bufferBytes
        let bit = Int(number % UInt64(8 * ComponentImage.headerBytes))
        let byte = place.load(fromByteOffset: bit / 8, as: UInt8.self)
        place.storeBytes(of: byte ^ 1 << UInt8(bit % 8), toByteOffset: bit / 8, as: UInt8.self)
    }

    private var returnedImage: ComponentImage {
        let place = machine.hostMemory.bytes.baseAddress! + machine.hostMemory.size - ComponentAgent.bufferBytes
        return ComponentImage(UnsafeMutableRawBufferPointer(start: place, count: ComponentAgent.bufferBytes))
    }

    /// The link takes no DMA of the physical function (or does again).
    public func cutLink(_ isCut: Bool) {
        let command: UInt16 = isCut ? 2 : 6
        _ = withUnsafeBytes(of: command.littleEndian) { machine.writeConfiguration(function: 0, offset: 4, $0) }
    }

    // MARK: The firmware

    private var shared: UnsafeMutableRawPointer { machine.sharedMemory.bytes.baseAddress! }

    /// Sets the admin queue up, also after the firmware was restarted.
    public func enableQueue() {
        for place in stride(from: Self.rings.descriptors, to: Self.rings.command, by: 8) {
            shared.storeBytes(of: 0, toByteOffset: place, as: UInt64.self)
        }
        commands = 0
        let base = 0x4000_0000 as UInt64
        let values: [(UInt64, UInt64)] = [
            (0x60, 0), (0x64, UInt64(Self.queueSize)), (0x68, base + UInt64(Self.rings.descriptors)),
            (0x70, base + UInt64(Self.rings.available)), (0x78, base + UInt64(Self.rings.used)), (0x60, 1),
        ]
        for (offset, value) in values { machine.writeBAR(function: 0, bar: 0, offset: offset, size: 4, value: value, origin: 2) }
    }

    /// Sends a command and waits for its answer; nobody else does anything meanwhile.
    private func send(_ opcode: AdminOpcode, _ data: [UInt8] = []) -> AdminResult {
        send(AdminCommand(opcode, group: .virtualFunction, member: UInt64(Self.function), key: key), data)
    }

    private func send(_ command: AdminCommand, _ data: [UInt8]) -> AdminResult {
        command.encode(to: shared + Self.rings.command)
        for (index, byte) in data.enumerated() {
            shared.storeBytes(of: byte, toByteOffset: Self.rings.command + AdminCommand.byteCount + index, as: UInt8.self)
        }
        let parts = [(Self.rings.command, AdminCommand.byteCount + data.count, 1 as UInt16), (Self.rings.result, 256, 2)]
        for (index, part) in parts.enumerated() {
            let place = shared + Self.rings.descriptors + 16 * index
            place.storeBytes(of: 0x4000_0000 + UInt64(part.0), as: UInt64.self)
            place.storeBytes(of: UInt32(part.1), toByteOffset: 8, as: UInt32.self)
            place.storeBytes(of: part.2, toByteOffset: 12, as: UInt16.self)
            place.storeBytes(of: 1, toByteOffset: 14, as: UInt16.self)
        }
        shared.storeBytes(of: 0, toByteOffset: Self.rings.available + 4 + 2 * (Int(commands) % Self.queueSize), as: UInt16.self)
        commands &+= 1
        shared.storeBytes(of: commands, toByteOffset: Self.rings.available + 2, as: UInt16.self)
        machine.writeBAR(function: 0, bar: 0, offset: 0x50, size: 4, value: 1, origin: 2)
        for _ in 0..<10_000 where (shared + Self.rings.used).load(fromByteOffset: 2, as: UInt16.self) != commands {
            machine.advance(by: 500)
        }
        return AdminResult(decoding: shared + Self.rings.result)
    }

    /// Sends a command with data of some layout, or none; the result is in ``result()``.
    public func command(_ command: AdminCommand) -> AdminStatus? { AdminStatus(rawValue: send(command, []).status) }
    public func command<Data: WireLayout>(_ command: AdminCommand, _ data: Data) -> AdminStatus? {
        var bytes = [UInt8](repeating: 0, count: Data.byteCount)
        bytes.withUnsafeMutableBytes { data.encode(to: $0.baseAddress!) }
        return AdminStatus(rawValue: send(command, bytes).status)
    }
    /// The same of a command that must end well.
    public func require(_ command: AdminCommand) throws { try check(send(command, []), command) }
    public func require<Data: WireLayout>(_ command: AdminCommand, _ data: Data) throws {
        var bytes = [UInt8](repeating: 0, count: Data.byteCount)
        bytes.withUnsafeMutableBytes { data.encode(to: $0.baseAddress!) }
        try check(send(command, bytes), command)
    }
    private func check(_ result: AdminResult, _ command: AdminCommand) throws {
        guard result.status == AdminStatus.ok.rawValue else { throw Fault(description: "\(command): ok expected, \(result) found") }
    }
    public func result<Value: WireLayout>() -> Value { Value(decoding: shared + Self.rings.result + AdminResult.byteCount) }

    /// Asks the firmware to begin a move.
    public func ask(for destination: ComponentPlace, stopAndCopy: Bool = false) -> AdminStatus? {
        let data = [destination.rawValue, stopAndCopy ? ComponentMove.stopAndCopy : 0, 0, 0, 0, 0, 0, 0]
        return AdminStatus(rawValue: send(.migrateComponent, data).status)
    }

    public func status() -> ComponentStatus {
        _ = send(.getComponent)
        return ComponentStatus(decoding: shared + Self.rings.result + AdminResult.byteCount)
    }

    /// VIC's state of the component, and what the host agent is asked for: read without an access.
    public var stage: (state: UInt32, location: UInt32, request: UInt32) {
        machine.inspect { device in
            let component: UInt64 = 0x1000_0000 + 0x6_0000 + 0x1000 + UInt64(Self.function) * 0x40
            let state = UInt32(truncatingIfNeeded: device.peek(.firmware, component + 4, size: 4) ?? 0)
            let request = UInt32(truncatingIfNeeded: device.peek(.firmware, component + 0x28, size: 4) ?? 0)
            return (state & 0xf, state >> 4 & 1, request & 0xf)
        }
    }

    /// Restarts the firmware, and waits until it serves the admin queue.
    public func restartFirmware() throws {
        try machine.restartFirmware()
        for _ in 0..<10_000 where machine.readBAR(function: 0, bar: 0, offset: 0x18, size: 4, origin: 0).value & 0xff != 2 {
            machine.advance(by: 10_000)
        }
        enableQueue()
    }

    /// Moves the component, and carries the world on until the move has ended.
    @discardableResult
    public func move(to destination: ComponentPlace, stopAndCopy: Bool = false) throws -> ComponentStatus {
        guard ask(for: destination, stopAndCopy: stopAndCopy) == .ok else {
            throw Fault(description: "the firmware refuses a move to the \(destination)")
        }
        try wait("a move to the \(destination)") { stage.state == 1 && (stage.location == 1) == (destination == .host) }
        return status()
    }

    /// Lets all requests end, then reads the whole disk.
    public func verify() throws {
        try wait(submits: false, "the end of \(load.inFlight) requests") { load.inFlight == 0 }
        try load.verifyAll { try turn(submits: false) }
    }
}
