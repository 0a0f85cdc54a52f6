/// A difference between what the device read outside and what it knew: an input.
public struct ExternalChange: Hashable, Sendable {
    /// The read, or other operation, that met it: they are counted from 1 on.
    public var operation: UInt64
    public var region: ExternalMemory.Region
    /// Of the first byte in the region.
    public var offset: UInt64
    /// What was found there.
    public var bytes: [UInt8]
    /// `errno` of an operation that failed; it found no bytes.
    public var failure: Int32?

    public init(operation: UInt64, region: ExternalMemory.Region, offset: UInt64, bytes: [UInt8], failure: Int32? = nil) {
        self.operation = operation
        self.region = region
        self.offset = offset
        self.bytes = bytes
        self.failure = failure
    }
}

/// Takes the changes while a recording runs.
public protocol ExternalChangeSink: AnyObject {
    func changed(_ change: ExternalChange)
}

/// Knows the changes during a replay.
public protocol ExternalChangeSource: AnyObject {
    /// The change after those that were handed out; nil if there is none.
    func nextChange() -> ExternalChange?
    /// The device did another operation than the one that met `change`, which stays without effect.
    func missed(_ change: ExternalChange, operation: UInt64, region: ExternalMemory.Region, offset: UInt64, count: Int)
}

/// Memory outside of the device, which others change at any moment, as the device knows it: docs/replay.md, "Memory".
///
/// It is there while a recording runs, or a replay. While a recording runs, each read is compared with an image of what was known; what
/// differs is told and taken over, and the device gets stable bytes. In a replay there is the image alone, and the recorded changes come
/// into it at the reads that met them.
public final class ExternalMemory {
    /// A piece of the outside, with offsets of its own.
    public struct Region: RawRepresentable, Hashable, Sendable {
        public var rawValue: UInt32
        public init(rawValue: UInt32) { self.rawValue = rawValue }
        public static let hostMemory = Region(rawValue: 0)
        /// A piece of the memory of a function's vhost-user front-end.
        public static func frontEnd(function: Int, slot: Int) -> Region {
            Region(rawValue: 0x2_0000 | UInt32(truncatingIfNeeded: function & 0xff) << 8 | UInt32(truncatingIfNeeded: slot & 0xff))
        }
        /// What memory the client of a function has at an address, which is the offset; and that memory, at its I/O addresses.
        public static func clientTable(function: Int) -> Region {
            Region(rawValue: 0x3_0000 | UInt32(truncatingIfNeeded: function) & 0xffff)
        }
        public static func client(function: Int) -> Region { Region(rawValue: 0x4_0000 | UInt32(truncatingIfNeeded: function) & 0xffff) }
        /// The file behind the disk of the function with this index.
        public static func disk(function: Int) -> Region { Region(rawValue: 0x1_0000 | UInt32(truncatingIfNeeded: function) & 0xffff) }
    }

    private struct Memory {
        var region: Region
        /// What others see.
        var outside: UnsafeMutableRawBufferPointer
        /// What the device knows; the same in a replay.
        var image: UnsafeMutableRawPointer
    }

    /// What goes back with the device when a replay does.
    public struct State {
        fileprivate var operations: UInt64 = 0
        fileprivate var pending: ExternalChange?
    }

    /// The source goes with it: it hands out the changes that follow.
    public var state = State()

    /// Reads and other operations so far.
    public var operations: UInt64 { state.operations }

    private var memories: [Memory] = []
    private let sink: (any ExternalChangeSink)?
    private weak var source: (any ExternalChangeSource)?

    /// For a recording.
    public init(recordingTo sink: any ExternalChangeSink) {
        self.sink = sink
        source = nil
    }

    /// For a replay.
    public init(replaying source: any ExternalChangeSource) {
        sink = nil
        self.source = source
        state.pending = source.nextChange()
    }

    public var isReplaying: Bool { sink == nil }

    /// Declares memory that others change.
    /// - Parameter image: as many bytes, what the device knows of them; nil in a replay.
    public func add(_ region: Region, _ outside: UnsafeMutableRawBufferPointer, image: UnsafeMutableRawPointer?) {
        guard let base = outside.baseAddress else { return }
        memories.append(Memory(region: region, outside: outside, image: image ?? base))
    }

    /// The memory is there no more.
    public func remove(_ region: Region) {
        memories.removeAll { $0.region == region }
    }

    // MARK: Memory

    /// Reads `bytes.count` bytes at `memory`.
    /// - Returns: false if that is no memory that others change: nothing was read.
    public func read(_ memory: UnsafeRawPointer, into bytes: UnsafeMutableRawBufferPointer) -> Bool {
        guard let base = bytes.baseAddress, let (index, offset) = place(of: memory, count: bytes.count) else { return false }
        let image = memories[index].image + offset
        begin()
        if isReplaying {
            update(.init(start: image, count: bytes.count), from: nil, memories[index].region, offset: UInt64(offset))
            base.copyMemory(from: image, byteCount: bytes.count)
        } else {
            // Read once: it may change at any moment.
            copyShared(from: memory, to: base, count: bytes.count)
            let found = UnsafeRawBufferPointer(bytes)
            update(.init(start: image, count: bytes.count), from: found, memories[index].region, offset: UInt64(offset))
        }
        return true
    }

    /// The device is about to write `bytes` at `memory`: it knows them from now on.
    public func willWrite(_ bytes: UnsafeRawBufferPointer, to memory: UnsafeMutableRawPointer) {
        guard let base = bytes.baseAddress, !isReplaying, let (index, offset) = place(of: memory, count: bytes.count) else { return }
        (memories[index].image + offset).copyMemory(from: base, byteCount: bytes.count)
    }

    private func place(of memory: UnsafeRawPointer, count: Int) -> (index: Int, offset: Int)? {
        for index in memories.indices {
            let outside = memories[index].outside
            let offset = memory - UnsafeRawPointer(outside.baseAddress!)
            if offset >= 0, offset <= outside.count, count <= outside.count - offset { return (index, offset) }
        }
        return nil
    }

    // MARK: Operations

    /// An operation begins.
    public func begin() {
        state.operations &+= 1
        while let change = state.pending, change.operation < operations {
            source?.missed(change, operation: operations, region: change.region, offset: change.offset, count: 0)
            state.pending = source?.nextChange()
        }
    }

    /// What the present operation is to fail with.
    /// - Parameter failure: `errno` of one that has failed; ignored in a replay.
    public func outcome(_ failure: Int32?, _ region: Region) -> Int32? {
        guard isReplaying else {
            if let failure {
                sink?.changed(ExternalChange(operation: operations, region: region, offset: 0, bytes: [], failure: failure))
            }
            return failure
        }
        guard let change = state.pending, change.operation == operations, let failure = change.failure else { return nil }
        if change.region == region {
            state.pending = source?.nextChange()
            return failure
        }
        miss(change, region, 0, 0)
        return nil
    }

    /// What the outside answers to a question; in a replay what was recorded at the same place. An answer is an operation, none is none.
    /// - Parameter found: the answer, nil if there is none; ignored in a replay.
    public func answer(_ found: [UInt8]?, _ region: Region, offset: UInt64) -> [UInt8]? {
        if isReplaying {
            let next = operations &+ 1
            guard let change = state.pending, change.operation == next, change.region == region, change.offset == offset else { return nil }
            begin()
            state.pending = source?.nextChange()
            return change.bytes
        }
        guard let found else { return nil }
        begin()
        sink?.changed(ExternalChange(operation: operations, region: region, offset: offset, bytes: found))
        return found
    }

    /// Brings bytes that the present operation reads up to date.
    /// - Parameters:
    ///   - known: what the device knows of them.
    ///   - found: what was read; nil in a replay.
    /// - Returns: which of them were not known.
    @discardableResult
    public func update(
        _ known: UnsafeMutableRawBufferPointer, from found: UnsafeRawBufferPointer?, _ region: Region, offset: UInt64
    ) -> Range<Int>? {
        guard let found else { return replay(known, region, offset) }
        guard let target = known.baseAddress, let source = found.baseAddress, !Self.areEqual(source, target, known.count) else {
            return nil
        }
        var first = 0, end = known.count
        while found[first] == known[first] { first += 1 }
        while found[end - 1] == known[end - 1] { end -= 1 }
        let bytes = UnsafeRawBufferPointer(rebasing: found[first..<end])
        sink?.changed(ExternalChange(operation: operations, region: region, offset: offset &+ UInt64(first), bytes: Array(bytes)))
        (target + first).copyMemory(from: source + first, byteCount: end - first)
        return first..<end
    }

    private func replay(_ known: UnsafeMutableRawBufferPointer, _ region: Region, _ offset: UInt64) -> Range<Int>? {
        guard let change = state.pending, change.operation == operations else { return nil }
        let start = change.offset &- offset
        guard change.region == region, change.failure == nil, start <= UInt64(known.count),
            UInt64(change.bytes.count) <= UInt64(known.count) - start
        else {
            miss(change, region, offset, known.count)
            return nil
        }
        state.pending = source?.nextChange()
        let range = Int(start)..<Int(start) + change.bytes.count
        UnsafeMutableRawBufferPointer(rebasing: known[range]).copyBytes(from: change.bytes)
        return range
    }

    private func miss(_ change: ExternalChange, _ region: Region, _ offset: UInt64, _ count: Int) {
        source?.missed(change, operation: operations, region: region, offset: offset, count: count)
        state.pending = source?.nextChange()
    }

    /// Eight bytes at a time; nothing is aligned.
    private static func areEqual(_ a: UnsafeRawPointer, _ b: UnsafeRawPointer, _ count: Int) -> Bool {
        var place = 0
        while place &+ 8 <= count {
            if a.loadUnaligned(fromByteOffset: place, as: UInt64.self) != b.loadUnaligned(fromByteOffset: place, as: UInt64.self) {
                return false
            }
            place &+= 8
        }
        while place < count {
            if a.load(fromByteOffset: place, as: UInt8.self) != b.load(fromByteOffset: place, as: UInt8.self) { return false }
            place &+= 1
        }
        return true
    }
}
