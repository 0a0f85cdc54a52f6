import OffloadDevice
import Testing

/// A driver of a virtio block function, as small as it can be: one queue, one request at a time, through BARs and host memory alone.
struct BlockDriver {
    /// To be changed only for one in the same state.
    var machine: Machine
    let function: Int
    /// The BAR with the virtio registers.
    private let bar: Int
    /// Offset in host memory of this driver's ring and buffers.
    let offset: Int
    private(set) var submitted: UInt16 = 0

    private static let entries: UInt16 = 8
    private var memory: UnsafeMutableRawPointer { machine.hostMemory.bytes.baseAddress! + offset }
    private var address: UInt64 { Device.hostMemoryBase + UInt64(offset) }

    init(_ machine: Machine, function: Int, bar: Int = 0, offset: Int) {
        self.machine = machine
        self.function = function
        self.bar = bar
        self.offset = offset
        // Memory space and bus mastering on.
        _ = withUnsafeBytes(of: UInt16(6).littleEndian) { machine.writeConfiguration(function: function, offset: 4, $0) }
        // virtio 1.2, 3.1.1.
        for status in [0, 1, 3] as [UInt64] { machine.write(function, bar, 0x14, status, 1) }
        machine.write(function, bar, 0x08, 1)
        machine.write(function, bar, 0x0c, 1)
        machine.write(function, bar, 0x14, 11, 1)
        #expect(machine.read(function, bar, 0x14, 1) == 11)
        // Rings of an earlier driver are none of this one's.
        memory.initializeMemory(as: UInt8.self, repeating: 0, count: 0x1000)
        machine.write(function, bar, 0x16, 0, 2)
        machine.write(function, bar, 0x18, UInt64(Self.entries), 2)
        for (register, place) in [(0x20, 0), (0x28, 0x400), (0x30, 0x800)] as [(UInt64, UInt64)] {
            machine.write(function, bar, register, (address + place) & 0xffff_ffff)
            machine.write(function, bar, register + 4, (address + place) >> 32)
        }
        machine.write(function, bar, 0x1c, 1, 2)
        machine.write(function, bar, 0x14, 15, 1)
    }

    /// One request with `count` bytes of data at 0x2000; returns its status.
    mutating func request(type: UInt32, sector: UInt64, count: Int) -> UInt8 {
        submit(type: type, sector: sector, count: count)
        #expect(machine.run { completed == submitted })
        return status
    }

    /// Requests that the device has answered, and the last one's status; 0xff while there is none.
    var completed: UInt16 { memory.load(fromByteOffset: 0x802, as: UInt16.self) }
    var status: UInt8 { memory.load(fromByteOffset: 0x1100, as: UInt8.self) }
    /// Bytes that the device has written for the last one, as it says in the used ring.
    var lastLength: UInt32 { memory.load(fromByteOffset: 0x808 + 8 * Int((completed &- 1) % Self.entries), as: UInt32.self) }

    /// - Parameters:
    ///   - target: DMA address of the data, if not this driver's buffer.
    ///   - queue: what the doorbell says.
    mutating func submit(type: UInt32, sector: UInt64, count: Int, target: UInt64? = nil, queue: UInt64 = 0) {
        memory.storeBytes(of: type, toByteOffset: 0x1000, as: UInt32.self)
        memory.storeBytes(of: sector, toByteOffset: 0x1008, as: UInt64.self)
        memory.storeBytes(of: 0xff, toByteOffset: 0x1100, as: UInt8.self)
        let parts: [(place: UInt64, length: Int, flags: UInt16)] = [
            (0x1000, 16, 1), (0x2000, count, type == 0 || type == 8 ? 3 : 1), (0x1100, 1, 2),
        ]
        for (index, part) in parts.enumerated() {
            let own = address + part.place
            memory.storeBytes(of: index == 1 ? target ?? own : own, toByteOffset: 16 * index, as: UInt64.self)
            memory.storeBytes(of: UInt32(part.length), toByteOffset: 16 * index + 8, as: UInt32.self)
            memory.storeBytes(of: part.flags, toByteOffset: 16 * index + 12, as: UInt16.self)
            memory.storeBytes(of: UInt16(index + 1), toByteOffset: 16 * index + 14, as: UInt16.self)
        }
        memory.storeBytes(of: 0, toByteOffset: 0x404 + 2 * Int(submitted % Self.entries), as: UInt16.self)
        submitted &+= 1
        memory.storeBytes(of: submitted, toByteOffset: 0x402, as: UInt16.self)
        machine.write(function, bar, 0x3000, queue, 2)
    }

    var data: UnsafeMutableRawBufferPointer { .init(start: memory + 0x2000, count: 0x4000) }
}
