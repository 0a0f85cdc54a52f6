import AdminProtocol
import Foundation
import Interconnect
import OffloadDevice
import RISCV
import Scratch
import Testing

/// A device in lockstep with the project's own firmware, and the host's side of its admin queue and event ring.
final class FirmwareRig {
    /// Where `tools/firmware` puts what it builds.
    static let path = String(#filePath.prefix(upTo: #filePath.range(of: "/Tests/")!.lowerBound)) + "/build/firmware/offload-manager.elf"
    static var isBuilt: Bool { access(path, R_OK) == 0 }

    /// Registers of HOSTIF (regmaps/hostif).
    enum Host: UInt64 {
        case firmware = 0x18, heartbeat = 0x20, doorbell = 0x50, queueControl = 0x60, queueSize = 0x64, queueDescriptors = 0x68
        case queueAvailable = 0x70, queueUsed = 0x78, eventControl = 0x80, eventSize = 0x84, eventBase = 0x88, eventHead = 0x90
        case eventTail = 0x94, fault = 0x100, faultCount = 0x104, faultCause = 0x108, faultPC = 0x10c, faultAddress = 0x110, faultX = 0x180
    }

    static let descriptors = 0x1000, available = 0x2000, used = 0x3000, command = 0x4000, answer = 0x8000, events = 0x2_0000
    static let queueSize = 16

    let machine: Machine
    let image: ELFImage
    private let console = ConsoleText()
    private var next = 0
    private var seenEvents: UInt32 = 0

    /// - Parameter patch: changes the firmware's bytes before they are loaded.
    init(_ description: MachineDescription = MachineDescription(), patch: (ELFImage, inout [UInt8]) throws -> Void = { _, _ in }) throws {
        var bytes = try Self.read()
        image = try ELFImage(bytes)
        try patch(image, &bytes)
        machine = try Machine(description, pace: .lockstep)
        let console = console
        machine.onConsoleOutput { console.append($0) }
        try machine.loadFirmware(bytes)
    }

    deinit { machine.stop() }

    var consoleText: String { console.text }

    /// The firmware's ELF file.
    static func read() throws -> [UInt8] { try readFile(path) }

    /// The one symbol whose name ends so.
    func symbol(_ ending: String) throws -> ELFImage.Symbol { try Self.symbol(ending, in: image) }

    static func symbol(_ ending: String, in image: ELFImage) throws -> ELFImage.Symbol {
        let found = image.symbols.filter { $0.name.hasSuffix(ending) }
        #expect(found.count == 1, "\(ending): \(found.map(\.name))")
        return try #require(found.first)
    }

    /// Overwrites code in an ELF file's bytes.
    static func replace(_ symbol: ELFImage.Symbol, with code: [UInt8], _ image: ELFImage, _ bytes: inout [UInt8]) throws {
        let segment = try #require(image.segments.last { symbol.address >= $0.address })
        let place = segment.fileBytes.lowerBound + Int(symbol.address - segment.address)
        bytes.replaceSubrange(place..<place + code.count, with: code)
    }

    // MARK: Registers and time

    subscript(_ register: Host, offset: UInt64 = 0) -> UInt32 {
        get { UInt32(machine.readBAR(function: 0, bar: 0, offset: register.rawValue + offset, size: 4, origin: 0).value) }
        set {
            let place = register.rawValue + offset
            #expect(machine.writeBAR(function: 0, bar: 0, offset: place, size: 4, value: UInt64(newValue), origin: 0) == .ok)
        }
    }

    var state: UInt32 { self[.firmware] & 0xff }

    /// Lets device time pass until something holds, for at most so many microseconds.
    func wait(_ microseconds: Int, until holds: () -> Bool) -> Bool {
        for _ in 0..<(microseconds / 10) {
            if holds() { return true }
            machine.advance(by: 10_000)
        }
        return holds()
    }

    // MARK: Shared memory

    private var shared: UnsafeMutableRawBufferPointer { machine.sharedMemory.bytes }

    func put<Number: FixedWidthInteger>(_ offset: Int, _ value: Number) {
        shared.storeBytes(of: value, toByteOffset: offset, as: Number.self)
    }
    func get<Number: FixedWidthInteger>(_ offset: Int, _ type: Number.Type) -> Number {
        shared.loadUnaligned(fromByteOffset: offset, as: Number.self)
    }

    // MARK: Admin queue

    /// Boots, and sets up the admin queue and the event ring.
    func bringUp() {
        #expect(wait(5_000) { state == 2 }, "no firmware: \(consoleText)")
        enableRings()
    }

    func enableRings() {
        let base = UInt32(Device.sharedBase)
        for offset in stride(from: Self.descriptors, to: Self.command, by: 8) { put(offset, UInt64(0)) }
        next = 0
        seenEvents = 0
        self[.queueSize] = UInt32(Self.queueSize)
        self[.queueDescriptors] = base + UInt32(Self.descriptors)
        self[.queueAvailable] = base + UInt32(Self.available)
        self[.queueUsed] = base + UInt32(Self.used)
        self[.queueControl] = 1
        #expect(self[.queueControl] == 1)
        self[.eventSize] = 256
        self[.eventBase] = base + UInt32(Self.events)
        self[.eventControl] = 1
        #expect(self[.eventControl] == 1)
    }

    func describe(_ index: Int, _ offset: Int, _ count: Int, flags: UInt16, next: Int = 0) {
        let place = Self.descriptors + 16 * index
        put(place, Device.sharedBase + UInt64(offset))
        put(place + 8, UInt32(count))
        put(place + 12, flags)
        put(place + 14, UInt16(next))
    }

    func ring(head: Int) {
        put(Self.available + 4 + 2 * (next % Self.queueSize), UInt16(head))
        next += 1
        put(Self.available + 2, UInt16(truncatingIfNeeded: next))
        self[.doorbell] = 1
    }

    /// Sends a command and waits for its answer, whose result is then in shared memory.
    @discardableResult
    func send(_ command: AdminCommand, _ data: [UInt8] = []) -> AdminResult {
        command.encode(to: shared.baseAddress! + Self.command)
        for (index, byte) in data.enumerated() { put(Self.command + AdminCommand.byteCount + index, byte) }
        describe(0, Self.command, AdminCommand.byteCount + data.count, flags: 1, next: 1)
        describe(1, Self.answer, 0x4000, flags: 2)
        ring(head: 0)
        let wanted = UInt16(truncatingIfNeeded: next)
        #expect(wait(1_000) { get(Self.used + 2, UInt16.self) == wanted }, "no answer to \(command): \(consoleText)")
        return AdminResult(decoding: shared.baseAddress! + Self.answer)
    }

    func result<Value: WireLayout>(_ type: Value.Type, at offset: Int = 0) -> Value {
        Value(decoding: shared.baseAddress! + Self.answer + AdminResult.byteCount + offset)
    }

    func read<Value: WireLayout>(_ type: Value.Type, at offset: Int) -> Value { Value(decoding: shared.baseAddress! + offset) }

    /// Events since the last call.
    func takeEvents() -> [DeviceEvent] {
        let head = self[.eventHead]
        defer {
            seenEvents = head
            self[.eventTail] = head
        }
        return (0..<(head &- seenEvents)).map { index in
            DeviceEvent(decoding: shared.baseAddress! + Self.events + 32 * Int((seenEvents &+ index) % 256))
        }
    }

    static func bytes<Value: WireLayout>(_ value: Value) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: Value.byteCount)
        bytes.withUnsafeMutableBytes { value.encode(to: $0.baseAddress!) }
        return bytes
    }

    /// Uploads a program in one piece and installs it as the policy with that number.
    func install(_ program: [UInt8], as number: UInt32, named name: String) {
        let piece = PolicyPiece(offset: 0, count: UInt32(program.count))
        #expect(send(AdminCommand(.uploadPolicy), Self.bytes(piece) + program).status == 0)
        var installation = PolicyInstallation()
        (installation.number, installation.count) = (number, UInt32(program.count))
        var checksum = Checksum()
        for byte in program { checksum.add(byte) }
        installation.checksum = checksum.value
        installation.setName(name)
        #expect(send(AdminCommand(.installPolicy), Self.bytes(installation)).status == 0)
    }

    // MARK: Load

    /// Windows of one millisecond in which each of these owners completes so many requests of so many bytes, as the data path would
    /// report them.
    func load(windows: Int, _ owners: [(owner: Int, requests: Int, bytes: UInt64)]) {
        for _ in 0..<windows {
            machine.inspect { device in
                let now = device.scheduler.now
                for (owner, requests, bytes) in owners {
                    for number in 0..<requests {
                        var request = IORequest(
                            owner: .virtualMachine(owner), queue: 0, kind: .read, position: UInt64(number) * bytes, bytes: bytes,
                            arrival: now, depth: 1)
                        device.analyzer.requestArrived(request)
                        request.completion = now + 5_000
                        device.analyzer.requestCompleted(request)
                    }
                }
            }
            machine.advance(by: 1_000_000)
        }
    }

    /// The firmware's counter, by its place in `Counters.Counter`.
    func counter(_ index: Int) throws -> UInt32 {
        let address = try symbol("offload_counters").address
        return machine.inspect { device in UInt32(device.peek(.firmware, UInt64(address) + 4 * UInt64(index), size: 4)!) }
    }
}
