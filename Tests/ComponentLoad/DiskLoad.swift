import OffloadDevice
import Simulation

/// A driver of a virtio disk with many requests in flight, which knows what every byte of the disk must be.
///
/// The disk's first regions are written and read at random, never two requests on one region at a time. So a request that is answered
/// twice, never, or with effects of an earlier one is found at once or at the next read.
public final class DiskLoad {
    /// What a driver must never see.
    public struct Fault: Error, CustomStringConvertible {
        public let description: String
        public init(description: String) { self.description = description }
    }

    public static let regionBytes = 4096
    private static let entries = 256, slotPitch = 0x2000
    private static let rings = (descriptors: 0, available: 0x1000, used: 0x2000, slots: 0x4000)

    private struct Request {
        var region: Int
        /// What it writes; nil: it reads.
        var stamp: UInt64?
    }

    private let machine: Machine
    private let function: Int
    private let offset: Int
    private let depth: Int
    private let regions: Int
    private var random: SplitMix64
    private var requests: [Request?]
    private var isTaken: [Bool]
    /// The last answered write of each region; 0: none.
    private var stamps: [UInt64]
    private var nextStamp: UInt64 = 1
    private var available: UInt16 = 0
    private var used: UInt16 = 0
    public private(set) var acknowledged = 0
    public var inFlight: Int { requests.count { $0 != nil } }

    /// Brings the function's disk up.
    /// - Parameter offset: of the driver's memory in host memory.
    public init(_ machine: Machine, function: Int, offset: Int, depth: Int, regions: Int = 256, seed: UInt64) throws {
        self.machine = machine
        self.function = function
        self.offset = offset
        self.depth = depth
        self.regions = regions
        random = SplitMix64(seed: seed)
        requests = Array(repeating: nil, count: depth)
        isTaken = Array(repeating: false, count: regions)
        stamps = Array(repeating: 0, count: regions)
        precondition(3 * depth <= Self.entries && 2 * depth <= regions)
        try bringUp()
    }

    private var memory: UnsafeMutableRawPointer { machine.hostMemory.bytes.baseAddress! + offset }
    private var address: UInt64 { machine.hostMemoryAddress + UInt64(offset) }

    private func write(_ register: UInt64, _ value: UInt64, _ size: Int = 4) {
        machine.writeBAR(function: function, bar: 0, offset: register, size: size, value: value, origin: 0)
    }

    /// virtio 1.2, 3.1.1.
    public func bringUp() throws {
        _ = withUnsafeBytes(of: UInt16(6).littleEndian) { machine.writeConfiguration(function: function, offset: 4, $0) }
        for status in [0, 1, 3] as [UInt64] { write(0x14, status, 1) }
        write(0x08, 1)
        write(0x0c, 1)
        write(0x14, 11, 1)
        guard machine.readBAR(function: function, bar: 0, offset: 0x14, size: 1, origin: 0).value == 11 else {
            throw Fault(description: "the device refuses VERSION_1")
        }
        (memory + Self.rings.descriptors).initializeMemory(as: UInt8.self, repeating: 0, count: Self.rings.slots)
        (available, used) = (0, 0)
        for slot in requests.indices { requests[slot] = nil }
        for region in isTaken.indices { isTaken[region] = false }
        write(0x16, 0, 2)
        write(0x18, UInt64(Self.entries), 2)
        let areas: [(register: UInt64, place: Int)] = [
            (0x20, Self.rings.descriptors), (0x28, Self.rings.available), (0x30, Self.rings.used),
        ]
        for (register, place) in areas {
            write(register, (address + UInt64(place)) & 0xffff_ffff)
            write(register + 4, (address + UInt64(place)) >> 32)
        }
        write(0x1c, 1, 2)
        write(0x14, 15, 1)
    }

    // MARK: Requests

    /// Takes what was answered, and submits new requests up to the depth.
    /// - Parameters:
    ///   - submits: false lets the requests in flight come to their end.
    ///   - most: new requests at most.
    /// - Returns: new requests.
    @discardableResult
    public func pump(submits: Bool = true, most: Int = .max) throws -> Int {
        try harvest()
        guard submits else { return 0 }
        let before = available
        for slot in requests.indices where requests[slot] == nil && Int(available &- before) < most { submit(slot) }
        guard available != before else { return 0 }
        (memory + Self.rings.available).storeBytes(of: available, toByteOffset: 2, as: UInt16.self)
        // VIRTQ_USED_F_NO_NOTIFY.
        if (memory + Self.rings.used).load(as: UInt16.self) & 1 == 0 { write(0x3000, 0, 2) }
        return Int(available &- before)
    }

    private func submit(_ slot: Int) {
        var region = Int(random.next() % UInt64(regions))
        while isTaken[region] { region = (region + 1) % regions }
        isTaken[region] = true
        let isWrite = random.next() & 1 == 0
        start(slot, Request(region: region, stamp: isWrite ? nextStamp : nil))
        if isWrite { nextStamp += 1 }
    }

    private func start(_ slot: Int, _ request: Request) {
        requests[slot] = request
        let place = Self.rings.slots + slot * Self.slotPitch
        let (header, data) = (memory + place, memory + place + 0x1000)
        header.storeBytes(of: request.stamp == nil ? 0 : 1 as UInt64, as: UInt64.self)
        header.storeBytes(of: UInt64(request.region * Self.regionBytes / 512), toByteOffset: 8, as: UInt64.self)
        header.storeBytes(of: 0xff, toByteOffset: 16, as: UInt8.self)
        Self.fill(data, request.stamp.map { ($0, request.region) })
        let parts: [(Int, Int, UInt16)] = [
            (place, 16, 1), (place + 0x1000, Self.regionBytes, request.stamp == nil ? 3 : 1), (place + 16, 1, 2),
        ]
        for (index, part) in parts.enumerated() {
            let descriptor = memory + Self.rings.descriptors + 16 * (3 * slot + index)
            descriptor.storeBytes(of: address + UInt64(part.0), as: UInt64.self)
            descriptor.storeBytes(of: UInt32(part.1), toByteOffset: 8, as: UInt32.self)
            descriptor.storeBytes(of: part.2, toByteOffset: 12, as: UInt16.self)
            descriptor.storeBytes(of: UInt16(3 * slot + index + 1), toByteOffset: 14, as: UInt16.self)
        }
        let entry = 4 + 2 * (Int(available) % Self.entries)
        (memory + Self.rings.available).storeBytes(of: UInt16(3 * slot), toByteOffset: entry, as: UInt16.self)
        available &+= 1
    }

    private func harvest() throws {
        let ring = memory + Self.rings.used
        let index = ring.load(fromByteOffset: 2, as: UInt16.self)
        guard index &- used <= UInt16(inFlight) else {
            throw Fault(description: "\(inFlight) requests in flight, \(index &- used) answers found")
        }
        while used != index {
            let head = Int(ring.loadUnaligned(fromByteOffset: 4 + 8 * (Int(used) % Self.entries), as: UInt32.self))
            used &+= 1
            guard head % 3 == 0, head / 3 < depth, let request = requests[head / 3] else {
                throw Fault(description: "an answer for descriptor \(head), which is not in flight")
            }
            try finish(head / 3, request)
        }
    }

    private func finish(_ slot: Int, _ request: Request) throws {
        let place = memory + Self.rings.slots + slot * Self.slotPitch
        let status = place.load(fromByteOffset: 16, as: UInt8.self)
        guard status == 0 else { throw Fault(description: "region \(request.region): status 0 expected, \(status) found") }
        if let stamp = request.stamp {
            stamps[request.region] = stamp
        } else {
            try check(place + 0x1000, request.region)
        }
        requests[slot] = nil
        isTaken[request.region] = false
        acknowledged += 1
    }

    // MARK: Contents

    /// Word n of a region is its stamp, its number and n; zeroes before the first write.
    private static func word(_ stamp: UInt64, _ region: Int, _ index: Int) -> UInt64 {
        stamp == 0 ? 0 : stamp << 32 ^ UInt64(region) << 16 ^ UInt64(index)
    }

    private static func fill(_ data: UnsafeMutableRawPointer, _ content: (stamp: UInt64, region: Int)?) {
        for index in 0..<regionBytes / 8 {
            let value = content.map { word($0.stamp, $0.region, index) } ?? 0xdead_dead_dead_dead
            data.storeBytes(of: value, toByteOffset: 8 * index, as: UInt64.self)
        }
    }

    private func check(_ data: UnsafeRawPointer, _ region: Int) throws {
        for index in 0..<Self.regionBytes / 8 {
            let found = data.load(fromByteOffset: 8 * index, as: UInt64.self)
            let wanted = Self.word(stamps[region], region, index)
            guard found == wanted else {
                throw Fault(
                    description: "region \(region), word \(index): write \(stamps[region]) expected (0x\(String(wanted, radix: 16))), "
                        + "0x\(String(found, radix: 16)) found")
            }
        }
    }

    /// Reads every region through the driver; `turn` lets the world go on.
    public func verifyAll(_ turn: () throws -> Void) throws {
        var next = 0
        while next < regions || inFlight > 0 {
            let before = available
            for slot in requests.indices where requests[slot] == nil && next < regions {
                isTaken[next] = true
                start(slot, Request(region: next, stamp: nil))
                next += 1
            }
            if available != before {
                (memory + Self.rings.available).storeBytes(of: available, toByteOffset: 2, as: UInt16.self)
                if (memory + Self.rings.used).load(as: UInt16.self) & 1 == 0 { write(0x3000, 0, 2) }
            }
            try turn()
            try harvest()
        }
    }
}
