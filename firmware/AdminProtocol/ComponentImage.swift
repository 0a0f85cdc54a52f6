/// The state of a virtual I/O component on its way from one place to the other (docs/component-migration.md has the layout): identity,
/// features, configuration, and of each virtqueue layout, positions and the chains that were taken and not answered.
///
/// Firmware and host agent write and check images by this one implementation. It allocates nothing and trusts nothing: ``defect`` reads no
/// byte outside `bytes`, whatever they hold.
public struct ComponentImage {
    public static let magic: UInt32 = 0x4352_544f
    public static let version: UInt16 = 1
    public static let headerBytes = 128
    public static let queueBytes = 40
    public static let configurationBytes = 64
    /// Queues that a component can have, entries that one of them can have, and bytes that an image can have.
    public static let queueLimit = 32
    public static let sizeLimit: UInt16 = 1024
    public static let byteLimit = 8192

    /// What is wrong with an image.
    public enum Defect: UInt16, Error, Sendable {
        case length = 1, magic, version, checksum, type, queues, size, alignment, positions, heads, reserved
    }

    /// One virtqueue.
    public struct Queue: Equatable, Sendable {
        public var size: UInt16 = 0
        public var isEnabled = false
        /// Free-running positions of a split ring: next available entry to take, next used entry to write.
        public var taken: UInt16 = 0
        public var used: UInt16 = 0
        /// Chains that were taken and not answered. They are served first, in this order.
        public var heads: UInt16 = 0
        public var descriptorArea: UInt64 = 0
        public var driverArea: UInt64 = 0
        public var deviceArea: UInt64 = 0

        public init() {}
    }

    /// Where the image is: as many bytes as it may take, or as it has.
    public let bytes: UnsafeMutableRawBufferPointer

    public init(_ bytes: UnsafeMutableRawBufferPointer) { self.bytes = bytes }

    private var base: UnsafeMutableRawPointer { bytes.baseAddress! }
    private func number<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, _ type: Number.Type) -> Number {
        UnsafeRawPointer(base).number(offset, as: type)
    }

    /// Service cores that the Resource Manager had set aside for the component's owner.
    public var grant: UInt16 {
        get { number(22, UInt16.self) }
        nonmutating set { base.put(newValue, 22) }
    }

    // MARK: Reading

    /// Bytes of the whole, as the image says.
    public var byteCount: Int { Int(number(8, UInt32.self)) }
    public var generation: UInt16 { number(18, UInt16.self) }
    /// Virtio device type.
    public var type: UInt8 { number(16, UInt8.self) }
    public var owner: UInt8 { number(17, UInt8.self) }
    public var queues: Int { Int(number(20, UInt16.self)) }
    public var features: UInt64 { number(24, UInt64.self) }
    public func configurationWord(_ index: Int) -> UInt32 { number(32 &+ 4 &* index, UInt32.self) }

    public func queue(_ index: Int) -> Queue {
        let place = Self.headerBytes &+ Self.queueBytes &* index
        var queue = Queue()
        queue.size = number(place, UInt16.self)
        queue.isEnabled = number(place &+ 2, UInt16.self) & 1 != 0
        queue.taken = number(place &+ 4, UInt16.self)
        queue.used = number(place &+ 6, UInt16.self)
        queue.heads = number(place &+ 8, UInt16.self)
        queue.descriptorArea = number(place &+ 16, UInt64.self)
        queue.driverArea = number(place &+ 24, UInt64.self)
        queue.deviceArea = number(place &+ 32, UInt64.self)
        return queue
    }

    /// Where the heads of a queue begin.
    private func headsPlace(_ index: Int) -> Int {
        var place = Self.headerBytes &+ Self.queueBytes &* queues
        for before in 0..<index { place &+= 2 &* Int(queue(before).heads) }
        return place
    }

    public func head(_ index: Int, ofQueue queue: Int) -> UInt16 { number(headsPlace(queue) &+ 2 &* index, UInt16.self) }

    /// What makes the image unfit for use; nil if nothing does. Everything else may only be read of an image without a defect.
    public var defect: Defect? {
        guard bytes.count >= Self.headerBytes else { return .length }
        guard number(0, UInt32.self) == Self.magic else { return .magic }
        // Before anything that another version may lay out otherwise.
        guard number(4, UInt16.self) == Self.version else { return .version }
        let count = byteCount
        guard count >= Self.headerBytes, count <= min(bytes.count, Self.byteLimit) else { return .length }
        guard number(6, UInt16.self) == UInt16(Self.headerBytes) else { return .length }
        guard number(12, UInt32.self) == checksum(count) else { return .checksum }
        guard type != 0 else { return .type }
        guard number(96, UInt64.self) | number(104, UInt64.self) | number(112, UInt64.self) | number(120, UInt64.self) == 0 else {
            return .reserved
        }
        let queues = queues
        guard queues >= 1, queues <= Self.queueLimit, count >= Self.headerBytes &+ Self.queueBytes &* queues else { return .queues }
        var place = Self.headerBytes &+ Self.queueBytes &* queues
        for index in 0..<queues {
            let queue = queue(index)
            if let defect = Self.defect(of: queue) { return defect }
            guard place &+ 2 &* Int(queue.heads) <= count else { return .heads }
            guard hasDistinctHeads(queue, at: place) else { return .heads }
            place &+= 2 &* Int(queue.heads)
        }
        return place == count ? nil : .length
    }

    private static func defect(of queue: Queue) -> Defect? {
        guard queue.size >= 1, queue.size <= sizeLimit, queue.size & (queue.size &- 1) == 0 else { return .size }
        // virtio 1.2, 2.7.
        guard queue.descriptorArea & 15 == 0, queue.driverArea & 1 == 0, queue.deviceArea & 3 == 0 else { return .alignment }
        guard queue.taken &- queue.used == queue.heads, queue.heads <= queue.size else { return .positions }
        guard queue.isEnabled || queue.taken == 0 else { return .positions }
        return nil
    }

    /// Whether no request would be served twice.
    private func hasDistinctHeads(_ queue: Queue, at place: Int) -> Bool {
        var seen = InlineArray<32, UInt32>(repeating: 0)
        for index in 0..<Int(queue.heads) {
            let head = number(place &+ 2 &* index, UInt16.self)
            guard head < queue.size else { return false }
            let (word, bit) = (Int(head >> 5), UInt32(1) &<< UInt32(head & 31))
            guard seen[word] & bit == 0 else { return false }
            seen[word] |= bit
        }
        return true
    }

    // MARK: Writing

    /// Begins an image: everything but queues and heads. There must be room for the header and the queues.
    public func begin(type: UInt8, owner: UInt8, generation: UInt16, queues: Int, features: UInt64) {
        base.zero(0, count: Self.headerBytes &+ Self.queueBytes &* queues)
        base.put(Self.magic, 0)
        base.put(Self.version, 4)
        base.put(UInt16(Self.headerBytes), 6)
        base.put(type, 16)
        base.put(owner, 17)
        base.put(generation, 18)
        base.put(UInt16(truncatingIfNeeded: queues), 20)
        base.put(features, 24)
        base.put(UInt32(truncatingIfNeeded: Self.headerBytes &+ Self.queueBytes &* queues), 8)
    }

    public func setConfigurationWord(_ index: Int, _ word: UInt32) { base.put(word, 32 &+ 4 &* index) }

    /// Sets a queue without its heads. Queues come in their order, each with its heads added before the next.
    public func setQueue(_ index: Int, _ queue: Queue) {
        let place = Self.headerBytes &+ Self.queueBytes &* index
        base.put(queue.size, place)
        base.put(queue.isEnabled ? 1 : 0 as UInt16, place &+ 2)
        base.put(queue.taken, place &+ 4)
        base.put(queue.used, place &+ 6)
        base.put(0 as UInt16, place &+ 8)
        base.put(queue.descriptorArea, place &+ 16)
        base.put(queue.driverArea, place &+ 24)
        base.put(queue.deviceArea, place &+ 32)
    }

    /// Adds a head to a queue.
    /// - Returns: false if there is no room.
    public func addHead(_ head: UInt16, toQueue index: Int) -> Bool {
        let place = byteCount
        guard place &+ 2 <= min(bytes.count, Self.byteLimit) else { return false }
        base.put(head, place)
        base.put(UInt32(truncatingIfNeeded: place &+ 2), 8)
        let count = Self.headerBytes &+ Self.queueBytes &* index &+ 8
        base.put(number(count, UInt16.self) &+ 1, count)
        return true
    }

    /// Ends an image: from now on it has its checksum.
    public func seal() { base.put(checksum(byteCount), 12) }

    /// CRC-32C (RFC 3720, B.4) over the image but for the checksum itself, four bits at a time.
    private func checksum(_ count: Int) -> UInt32 {
        let table: InlineArray<16, UInt32> = [
            0x0000_0000, 0x105e_c76f, 0x20bd_8ede, 0x30e3_49b1, 0x417b_1dbc, 0x5125_dad3, 0x61c6_9362, 0x7198_540d,
            0x82f6_3b78, 0x92a8_fc17, 0xa24b_b5a6, 0xb215_72c9, 0xc38d_26c4, 0xd3d3_e1ab, 0xe330_a81a, 0xf36e_6f75,
        ]
        var crc: UInt32 = .max
        for index in 0..<count where index < 12 || index >= 16 {
            crc ^= UInt32(number(index, UInt8.self))
            crc = crc >> 4 ^ table[Int(crc & 15)]
            crc = crc >> 4 ^ table[Int(crc & 15)]
        }
        return ~crc
    }
}
