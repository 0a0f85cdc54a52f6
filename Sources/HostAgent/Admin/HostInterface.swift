import CHostRegisters
import Glibc

/// The registers of the device's management, in BAR0 of its physical function (regmaps/hostif).
public struct HostInterface {
    /// The characters OUTR, as ``hostif_t/MAGIC`` reads.
    private static let magic: UInt32 = 0x5254_554f
    private static let interfaceVersion: UInt32 = 1

    /// What ``hostif_t/FIRMWARE`` says.
    public enum FirmwareState: UInt8, Sendable { case reset = 0, booting, ready, degraded, updating, fault, halted }

    /// The record of a crash of the firmware.
    public struct Fault: Sendable {
        public var hart: UInt8
        /// 1 a trap, 2 a panic, 3 the watchdog, 4 a memory error.
        public var kind: UInt8
        public var cause: UInt32, programCounter: UInt32, address: UInt32
        public var cycle: UInt64
        /// x0...x31.
        public var registers: [UInt32]
    }

    public let device: PCIDevice
    private let file: File

    /// - Throws: when the function is not an Outrigger's, or its interface is of another version.
    public init(_ device: PCIDevice) throws(AgentError) {
        self.device = device
        file = try device.open("resource0")
        try device.enable()
        let magic = try read(\.MAGIC)
        guard magic == Self.magic else {
            throw AgentError("\(device.address): no Outrigger device: magic 0x\(hex(Self.magic)) expected in BAR0, 0x\(hex(magic)) found")
        }
        let version = try read(\.VERSION) >> 16
        guard version == Self.interfaceVersion else {
            throw AgentError("\(device.address): interface version \(Self.interfaceVersion) expected, \(version) found")
        }
    }

    /// Reads a register, in one access of its size.
    public func read<T: FixedWidthInteger>(_ register: KeyPath<hostif_t, T>) throws(AgentError) -> T {
        try file.read(T.self, at: Self.offset(of: register))
    }

    /// Writes a register, in one access of its size.
    public func write<T: FixedWidthInteger>(_ value: T, to register: KeyPath<hostif_t, T>) throws(AgentError) {
        try file.write(value, at: Self.offset(of: register))
    }

    /// The firmware's state, nil for a number that means none.
    public func firmwareState() throws(AgentError) -> FirmwareState? {
        FirmwareState(rawValue: UInt8(truncatingIfNeeded: try read(\.FIRMWARE)))
    }

    /// Waits until the firmware serves commands.
    public func waitUntilReady() throws(AgentError) {
        // In lockstep device time moves only with these reads: up to some 10 ms of it. Otherwise the pauses add up to 5 s.
        for attempt in 0..<20_000 {
            let state = try firmwareState()
            if state == .ready || state == .degraded { return }
            if state == .fault || state == .halted { break }
            if attempt > 15_000 { usleep(1000) }
        }
        let state = try firmwareState().map { "\($0)" } ?? "an unknown state"
        let hint = try fault() == nil ? "" : "; it has left a fault record"
        throw AgentError("\(device.address): the firmware doesn't serve commands: 'ready' expected, \(state) found\(hint)")
    }

    /// The record of the first crash since it was last cleared, nil if there is none.
    public func fault() throws(AgentError) -> Fault? {
        let status = try read(\.FAULT)
        guard status & 1 == 1 else { return nil }
        let first = Self.offset(of: \.FAULT_X)
        var registers: [UInt32] = []
        for number in 0..<32 { registers.append(try file.read(UInt32.self, at: first + 4 * number)) }
        return Fault(
            hart: UInt8(truncatingIfNeeded: status >> 8), kind: UInt8(truncatingIfNeeded: status >> 16), cause: try read(\.FAULT_CAUSE),
            programCounter: try read(\.FAULT_PC), address: try read(\.FAULT_ADDRESS), cycle: try read(\.FAULT_CYCLE), registers: registers)
    }

    /// Makes room for the record of the next crash.
    public func clearFault() throws(AgentError) { try write(1, to: \.FAULT) }

    private static func offset(of register: PartialKeyPath<hostif_t>) -> Int {
        // Every member of a C structure is stored in it.
        MemoryLayout<hostif_t>.offset(of: register)!
    }

    /// Keeps other agents out until the process ends or `body` returns: the device has one admin queue.
    func exclusively<T>(_ body: () throws(AgentError) -> T) throws(AgentError) -> T {
        while flock(file.descriptor, LOCK_EX) != 0 {
            guard errno == EINTR else { throw .system("flock", file.path) }
        }
        defer { flock(file.descriptor, LOCK_UN) }
        return try body()
    }
}
