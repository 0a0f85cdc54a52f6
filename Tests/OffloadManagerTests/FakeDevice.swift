import AdminProtocol
import Hardware
import OffloadManager
import PolicyEngine

/// What the firmware's loads and stores meet in a unit test: plain words for registers, bytes for shared memory, and as much behaviour
/// as the firmware relies on. Whoever reaches beyond that fails the test.
///
/// A test owns its fake and uses it from one task only: hence the unchecked conformance.
final class FakeDevice: VolatileBus, @unchecked Sendable {
    static var hw: FirmwareBus { FirmwareBus() }
    static var sharedBase: UInt { hw.shared.address }

    var registers: [UInt: UInt32] = [:]
    var shared = [UInt8](repeating: 0, count: 1 << 20)
    /// Sources that the PLIC has pending, in the order in which they are claimed.
    var pending: [UInt32] = []
    var time: UInt64 = 1_000
    /// What the UART has sent.
    var console = ""
    /// RESULT of commits to come; accepted when there is none.
    var commitResults: [UInt32] = []
    private(set) var commits = 0
    private(set) var pats = 0
    private(set) var heartbeats = 0
    private(set) var notifications: [UInt32] = []
    private(set) var isQueueBroken = false

    init() {
        set(Self.hw.sysctl.baseAddress, 0x10, 0x4f55_5452)
        set(Self.hw.sysctl.baseAddress, 0x14, 1 << 16)
        set(Self.hw.sysctl.baseAddress, 0x18, 2 | 8 << 8 | 4 << 16)
        set(Self.hw.sysctl.baseAddress, 0x1c, 1_000_000)
        set(Self.hw.sysctl.baseAddress, 0x20, 0x40_0000)
        set(Self.hw.sysctl.baseAddress, 0x24, UInt32(shared.count))
        set(Self.hw.sysctl.baseAddress, 0x40, 1)
        set(Self.hw.rm.baseAddress, 0x30, 16_000)
        set(Self.hw.wa.baseAddress, 0x10, 1_000_000)
        for owner in 0..<65 as Range<UInt> {
            set(Self.hw.rm.baseAddress, 0x1000 + owner * 16, 1 << 16)
            set(Self.hw.rm.baseAddress, 0x2000 + owner * 16, 1 << 16)
        }
    }

    func set(_ block: UInt, _ offset: UInt, _ value: UInt32) { registers[block + offset] = value }
    func get(_ block: UInt, _ offset: UInt) -> UInt32 { registers[block + offset] ?? 0 }

    func load(_ address: UInt, size: Int) -> UInt32 {
        if address >= Self.sharedBase, address < Self.sharedBase + UInt(shared.count) {
            let offset = Int(address - Self.sharedBase)
            precondition(offset % size == 0 && offset + size <= shared.count, "misaligned load of \(size) at \(address)")
            return (0..<size).reduce(0) { $0 | UInt32(shared[offset + $1]) << UInt32(8 * $1) }
        }
        precondition(address < 0x1100_0000 && size == 4, "load of \(size) bytes at 0x\(String(address, radix: 16))")
        switch address {
        case Self.hw.plic.baseAddress + 0x20_0004: return pending.isEmpty ? 0 : pending.removeFirst()
        case Self.hw.aclint.baseAddress + 0xbff8: time += 10; return UInt32(truncatingIfNeeded: time)
        case Self.hw.aclint.baseAddress + 0xbffc: return UInt32(truncatingIfNeeded: time >> 32)
        case Self.hw.uart.baseAddress + 0x14: return 1 << 5 | 1 << 6
        default: return registers[address] ?? 0
        }
    }

    func store(_ value: UInt32, _ address: UInt, size: Int) {
        if address >= Self.sharedBase, address < Self.sharedBase + UInt(shared.count) {
            let offset = Int(address - Self.sharedBase)
            precondition(offset % size == 0 && offset + size <= shared.count, "misaligned store of \(size) at \(address)")
            for byte in 0..<size { shared[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt32(8 * byte)) }
            return
        }
        precondition(address < 0x1100_0000 && size == 4, "store of \(size) bytes at 0x\(String(address, radix: 16))")
        let (mailbox, manager) = (Self.hw.mailbox.baseAddress, Self.hw.rm.baseAddress)
        switch address {
        case Self.hw.uart.baseAddress: console.append(Character(Unicode.Scalar(UInt8(truncatingIfNeeded: value))))
        case Self.hw.wdt.baseAddress + 0x20: if value == 0x600d_0d06 { pats += 1 }
        case mailbox + 0x18: heartbeats += 1
        case mailbox + 0x1c: notifications.append(value)
        case mailbox + 0x50: isQueueBroken = true
        // Write one to clear.
        case mailbox, manager, Self.hw.wa.baseAddress, Self.hw.sysctl.baseAddress + 0x40: registers[address, default: 0] &= ~value
        case manager + 0xc where value & 1 != 0: commit()
        case manager + 0xc where value & 2 != 0: revert()
        default: registers[address] = value
        }
    }

    private func commit() {
        let manager = Self.hw.rm.baseAddress
        let result = commitResults.isEmpty ? 0 : commitResults.removeFirst()
        set(manager, 0x18, result)
        guard result == 0 else { return }
        commits += 1
        set(manager, 0x1c, UInt32(commits))
        for offset in stride(from: 0, to: 65 * 16, by: 4) as StrideTo<UInt> where offset % 16 != 12 {
            set(manager, 0x2000 + offset, get(manager, 0x1000 + offset))
        }
    }

    private func revert() {
        let manager = Self.hw.rm.baseAddress
        for offset in stride(from: 0, to: 65 * 16, by: 4) as StrideTo<UInt> where offset % 16 != 12 {
            set(manager, 0x1000 + offset, get(manager, 0x2000 + offset))
        }
    }

    /// The guarantee of an owner that is in force.
    func guarantee(_ owner: UInt) -> UInt32 { get(Self.hw.rm.baseAddress, 0x2000 + owner * 16) & 0xffff }

    // MARK: Workload

    /// Ends a window of the Workload Analyzer in which these owners did this.
    func endWindow(_ owners: [UInt: OwnerSample]) {
        let analyzer = Self.hw.wa.baseAddress
        set(analyzer, 0x14, get(analyzer, 0x14) + 1)
        var active: [UInt32] = [0, 0, 0]
        for (owner, sample) in owners {
            active[Int(owner / 32)] |= 1 << UInt32(owner % 32)
            let summary = 0x1000 + owner * 0x40
            set(analyzer, summary, sample.requests)
            set(analyzer, summary + 0x10, sample.bytes)
            set(analyzer, summary + 0x2c, sample.depth)
        }
        for word in 0..<3 as Range<UInt> { set(analyzer, 0x30 + 4 * word, active[Int(word)]) }
        set(analyzer, 0, 1)
        pending.append(Interrupts.Source.analyzer.rawValue)
    }

    // MARK: Shared memory, by offset

    func put(_ offset: Int, _ value: UInt64, _ bytes: Int) {
        for byte in 0..<bytes { shared[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
    }

    func number(_ offset: Int, _ bytes: Int) -> UInt64 {
        (0..<bytes).reduce(0) { $0 | UInt64(shared[offset + $1]) << UInt64(8 * $1) }
    }
}

/// The host's side of the admin queue on a fake device: rings at fixed offsets, one chain at a time.
struct FakeHost {
    static let size = 8
    static let descriptors = 0x1000, available = 0x2000, used = 0x3000, command = 0x4000, answer = 0x8000
    let device: FakeDevice

    /// Sets the queue up, as MAILBOX shows it.
    init(_ device: FakeDevice) {
        self.device = device
        let (mailbox, base) = (FakeDevice.hw.mailbox.baseAddress, UInt32(FakeDevice.sharedBase))
        device.set(mailbox, 0x40, UInt32(Self.size) | 1 << 16)
        device.set(mailbox, 0x44, base + UInt32(Self.descriptors))
        device.set(mailbox, 0x48, base + UInt32(Self.available))
        device.set(mailbox, 0x4c, base + UInt32(Self.used))
    }

    /// Writes a descriptor; `offset` is in shared memory unless an address is given.
    func describe(_ index: Int, _ address: UInt64, _ count: Int, writable: Bool = false, next: Int? = nil, flags: UInt16 = 0) {
        let place = Self.descriptors + 16 * index
        device.put(place, address, 8)
        device.put(place + 8, UInt64(count), 4)
        device.put(place + 12, UInt64(flags | (writable ? 2 : 0) | (next == nil ? 0 : 1)), 2)
        device.put(place + 14, UInt64(next ?? 0), 2)
    }

    static func address(_ offset: Int) -> UInt64 { UInt64(FakeDevice.sharedBase) + UInt64(offset) }

    /// Makes a chain available and rings.
    func ring(head: Int) {
        let index = Int(device.number(Self.available + 2, 2))
        device.put(Self.available + 4 + 2 * (index % Self.size), UInt64(head), 2)
        device.put(Self.available + 2, UInt64(index + 1), 2)
        device.set(FakeDevice.hw.mailbox.baseAddress, 0, 1)
        device.pending.append(Interrupts.Source.mailbox.rawValue)
    }

    var usedIndex: Int { Int(device.number(Self.used + 2, 2)) }
    /// Head and length of the latest used entry.
    var latestUsed: (head: Int, length: Int) {
        let entry = Self.used + 4 + 8 * ((usedIndex - 1) % Self.size)
        return (Int(device.number(entry, 4)), Int(device.number(entry + 4, 4)))
    }

    /// Lays a command and its data into shared memory.
    func write(_ command: AdminCommand, _ data: [UInt8] = []) {
        device.shared.withUnsafeMutableBytes { command.encode(to: $0.baseAddress! + Self.command) }
        for (index, byte) in data.enumerated() { device.shared[Self.command + AdminCommand.byteCount + index] = byte }
    }

    func result<Value: WireLayout>(_ type: Value.Type, at offset: Int = 0) -> Value {
        device.shared.withUnsafeBytes { Value(decoding: $0.baseAddress! + Self.answer + AdminResult.byteCount + offset) }
    }

    var header: AdminResult { device.shared.withUnsafeBytes { AdminResult(decoding: $0.baseAddress! + Self.answer) } }

    static func bytes<Value: WireLayout>(_ value: Value) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Value.byteCount)
        bytes.withUnsafeMutableBytes { value.encode(to: $0.baseAddress!) }
        return bytes
    }
}
