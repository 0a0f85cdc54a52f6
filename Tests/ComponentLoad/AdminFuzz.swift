import AdminProtocol
import OffloadDevice
import Simulation

/// Malformed messages for the firmware on a device in lockstep: through the admin queue, and by what the host may write to its rings and
/// registers. Each must be answered with the code that the protocol has for it, or have the queue turned off; and the firmware goes on.
public struct AdminFuzz {
    public struct Fault: Error, CustomStringConvertible {
        public let description: String
    }

    private static let size = 64, batch = 16
    private static let rings = (descriptors: 0x1000, available: 0x2000, used: 0x3000, commands: 0x1_0000, answers: 0x2_0000)
    private static let commandRoom = 0x400, answerRoom = 0x800
    private static let sharedBase: UInt64 = 0x4000_0000

    private let machine: Machine
    private var random: SplitMix64
    private var available: UInt16 = 0
    /// Messages sent, and how they ended: answers by status and qualifier, and queues that were turned off.
    public private(set) var sent = 0
    public private(set) var answers: [UInt32: Int] = [:]
    public private(set) var unanswerable = 0
    public private(set) var brokenQueues = 0
    /// Most cycles that a batch took.
    public private(set) var slowest: UInt64 = 0

    public init(firmware: [UInt8], seed: UInt64) throws {
        machine = try Machine(MachineDescription(), pace: .lockstep)
        random = SplitMix64(seed: seed)
        try machine.loadFirmware(firmware)
        for _ in 0..<1000 where state != 2 { machine.advance(by: 10_000) }
        guard state == 2 else { throw Fault(description: "the firmware isn't ready") }
        try enableQueue()
    }

    public func stop() { machine.stop() }

    private var shared: UnsafeMutableRawPointer { machine.sharedMemory.bytes.baseAddress! }
    private func read(_ offset: UInt64) -> UInt64 { machine.readBAR(function: 0, bar: 0, offset: offset, size: 4, origin: 0).value }
    private func write(_ offset: UInt64, _ value: UInt64) {
        machine.writeBAR(function: 0, bar: 0, offset: offset, size: 4, value: value, origin: 0)
    }
    private var state: UInt64 { read(0x18) & 0xff }
    private var usedIndex: UInt16 { (shared + Self.rings.used).load(fromByteOffset: 2, as: UInt16.self) }
    private mutating func number(_ bound: Int) -> Int { Int(random.next() % UInt64(bound)) }

    private mutating func enableQueue() throws {
        write(0x60, 0)
        for place in stride(from: Self.rings.descriptors, to: 0x4000, by: 8) {
            shared.storeBytes(of: 0, toByteOffset: place, as: UInt64.self)
        }
        available = 0
        let values: [(UInt64, UInt64)] = [
            (0x64, UInt64(Self.size)), (0x68, Self.sharedBase + UInt64(Self.rings.descriptors)),
            (0x70, Self.sharedBase + UInt64(Self.rings.available)), (0x78, Self.sharedBase + UInt64(Self.rings.used)), (0x60, 1),
        ]
        for (offset, value) in values { write(offset, value) }
        guard read(0x60) & 1 == 1 else { throw Fault(description: "the queue can't be turned on") }
    }

    // MARK: Messages

    /// What a message must be answered with.
    private enum Expectation {
        case code(AdminStatus, AdminQualifier)
        /// One of the protocol's codes.
        case anyCode
        /// It has no room for an answer.
        case nothing
    }

    /// Sends so many messages, most of them malformed.
    public mutating func send(_ count: Int) throws {
        let end = sent + count, heartbeat = read(0x20)
        while sent < end {
            if number(16) == 0 { try breakQueue() } else { try sendBatch(min(Self.batch, end - sent)) }
        }
        machine.advance(by: 1_000_000)
        guard state == 2, read(0x100) & 1 == 0, read(0x20) != heartbeat else { throw Fault(description: "the firmware has crashed") }
    }

    private mutating func sendBatch(_ count: Int) throws {
        var expectations: [Expectation] = []
        for slot in 0..<count {
            expectations.append(lay(slot))
            (shared + Self.rings.available).storeBytes(
                of: UInt16(4 * slot), toByteOffset: 4 + 2 * (Int(available) % Self.size), as: UInt16.self)
            available &+= 1
        }
        (shared + Self.rings.available).storeBytes(of: available, toByteOffset: 2, as: UInt16.self)
        try ring { $0.usedIndex == $0.available }
        for slot in 0..<count {
            sent += 1
            let entry = Self.rings.used + 4 + 8 * (Int(available &- UInt16(count - slot)) % Self.size)
            guard shared.load(fromByteOffset: entry, as: UInt32.self) == UInt32(4 * slot) else {
                throw Fault(description: "message \(sent): answered out of its turn")
            }
            try check(slot, expectations[slot], written: shared.load(fromByteOffset: entry + 4, as: UInt32.self))
        }
    }

    /// Rings the doorbell, and waits.
    private mutating func ring(until holds: (Self) -> Bool) throws {
        write(0x50, 1)
        var cycles: UInt64 = 0
        while !holds(self) {
            guard cycles < 50_000_000 else {
                throw Fault(description: "message \(sent): no answer in \(cycles) cycles; the firmware hangs")
            }
            machine.advance(by: 2_000)
            cycles += 2_000
        }
        slowest = max(slowest, cycles)
    }

    private mutating func check(_ slot: Int, _ expectation: Expectation, written: UInt32) throws {
        let place = shared + Self.rings.answers + slot * Self.answerRoom
        let answer = AdminResult(decoding: place)
        if case .nothing = expectation {
            guard written == 0 else { throw Fault(description: "message \(sent): no answer expected, \(written) bytes found") }
            unanswerable += 1
            return
        }
        guard let status = AdminStatus(rawValue: answer.status), let qualifier = AdminQualifier(rawValue: answer.qualifier) else {
            throw Fault(description: "message \(sent): a code of the protocol expected, \(answer) found")
        }
        if case .code(let wantedStatus, let wantedQualifier) = expectation, (status, qualifier) != (wantedStatus, wantedQualifier) {
            throw Fault(description: "message \(sent): \(wantedStatus), \(wantedQualifier) expected, \(status), \(qualifier) found")
        }
        guard written >= UInt32(AdminResult.byteCount), Int(written) <= Self.answerRoom, status != .ok || qualifier == .none else {
            throw Fault(description: "message \(sent): \(written) bytes for \(answer)")
        }
        answers[UInt32(answer.status) << 16 | UInt32(answer.qualifier), default: 0] += 1
    }

    private func describe(_ index: Int, _ address: UInt64, _ count: Int, flags: UInt16, next: Int = 0) {
        let place = shared + Self.rings.descriptors + 16 * index
        place.storeBytes(of: address, as: UInt64.self)
        place.storeBytes(of: UInt32(truncatingIfNeeded: count), toByteOffset: 8, as: UInt32.self)
        place.storeBytes(of: flags, toByteOffset: 12, as: UInt16.self)
        place.storeBytes(of: UInt16(truncatingIfNeeded: next), toByteOffset: 14, as: UInt16.self)
    }

    private static let opcodes = (0..<256 as Range<UInt16>).compactMap(AdminOpcode.init(rawValue:))

    /// Lays a message into a slot of four descriptors.
    private mutating func lay(_ slot: Int) -> Expectation {
        let (place, answer) = (Self.rings.commands + slot * Self.commandRoom, Self.rings.answers + slot * Self.answerRoom)
        for offset in stride(from: 0, to: 256, by: 8) {
            shared.storeBytes(of: random.next(), toByteOffset: place + offset, as: UInt64.self)
        }
        let opcode = Self.opcodes[number(Self.opcodes.count)]
        let isOfDevice = opcode.accepts(.device) && (number(2) == 0 || !opcode.accepts(.virtualFunction))
        let group: AdminGroup = isOfDevice ? .device : .virtualFunction
        let member = group == .device ? 0 : UInt64(1 + number(64))
        var command = AdminCommand(opcode, group: group, member: member)
        var readable = AdminCommand.byteCount + opcode.dataByteCount + number(3)
        var writable = Self.answerRoom
        var (source, target) = (Self.sharedBase + UInt64(place), Self.sharedBase + UInt64(answer))
        var expectation: Expectation
        switch number(9) {
        case 0:
            command.opcode = UInt16(truncatingIfNeeded: random.next())
            if AdminOpcode(rawValue: command.opcode) != nil { command.opcode = 0xffff }
            expectation = .code(.invalid, .opcode)
        case 1:
            command.group = UInt16(truncatingIfNeeded: 2 + number(65_000))
            expectation = .code(.invalid, .group)
        case 2:
            command.member = 65 &+ random.next() >> 1
            expectation = .code(.invalid, .member)
        case 3:
            readable = number(AdminCommand.byteCount)
            expectation = .code(.invalid, .command)
        case 4 where opcode.dataByteCount > 0:
            readable = AdminCommand.byteCount + number(opcode.dataByteCount)
            expectation = .code(.invalid, .command)
        case 5 where opcode.resultByteCount > 0:
            writable = AdminResult.byteCount + number(opcode.resultByteCount)
            expectation = .code(.invalid, .result)
        case 6:
            writable = number(AdminResult.byteCount)
            expectation = .nothing
        case 7:
            source = [0x3fff_fffc, 0x40ff_fffe, 0x8000_0000, 0x1_4001_0000, .max][number(5)]
            expectation = .code(.invalid, .command)
        default: expectation = .anyCode
        }
        if number(32) == 0 {
            target = [0x3fff_fffc, 0x40ff_ffff, 0x8000_0000, .max][number(4)]
            expectation = .nothing
        }
        command.encode(to: shared + place)
        // A memory block that changes hands is cleared, and the rings are in one; a key would have to be known afterwards.
        if opcode == .setAllocation { shared.storeBytes(of: 0, toByteOffset: place + AdminCommand.byteCount + 12, as: UInt32.self) }
        if opcode == .setKey { shared.storeBytes(of: 0, toByteOffset: place + AdminCommand.byteCount, as: UInt64.self) }
        (shared + answer).storeBytes(of: .max, as: UInt64.self)
        // The readable part in one piece, or in two.
        let cut = readable > 0 ? number(readable + 1) : 0
        describe(4 * slot, source, cut, flags: 1, next: 4 * slot + 1)
        describe(4 * slot + 1, source &+ UInt64(cut), readable - cut, flags: 1, next: 4 * slot + 2)
        describe(4 * slot + 2, target, writable, flags: 2)
        return expectation
    }

    /// Rings that can't be trusted: the firmware turns the queue off, and the host sets it up anew.
    private mutating func breakQueue() throws {
        let rings = shared + Self.rings.available
        switch number(6) {
        case 0: rings.storeBytes(of: available &+ UInt16(Self.size + 1 + number(60_000)), toByteOffset: 2, as: UInt16.self)
        case 1: offer(head: UInt16(Self.size + number(60_000)))
        case 2:
            describe(0, Self.sharedBase, 24, flags: 1, next: Self.size + number(60_000))
            offer(head: 0)
        case 3:
            let length = 1 + number(Self.size)
            for index in 0..<length { describe(index, Self.sharedBase, 1, flags: 1, next: (index + 1) % length) }
            offer(head: 0)
        case 4:
            describe(0, Self.sharedBase, 16, flags: 4)
            offer(head: 0)
        default:
            describe(0, Self.sharedBase, 64, flags: 3, next: 1)
            describe(1, Self.sharedBase, 24, flags: 0)
            offer(head: 0)
        }
        try ring { $0.read(0x60) & 1 == 0 }
        sent += 1
        brokenQueues += 1
        try enableQueue()
    }

    private mutating func offer(head: UInt16) {
        let rings = shared + Self.rings.available
        rings.storeBytes(of: head, toByteOffset: 4 + 2 * (Int(available) % Self.size), as: UInt16.self)
        rings.storeBytes(of: available &+ 1, toByteOffset: 2, as: UInt16.self)
    }
}
