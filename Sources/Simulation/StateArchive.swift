import Glibc

/// What is wrong with a stored state: what was expected, what was found, and where.
public struct SnapshotError: Error, Equatable, Sendable, CustomStringConvertible {
    public let description: String
    public init(_ description: String) { self.description = description }
}

/// A part of a model's state: a value that lists its fields to an archive.
public protocol ArchivedState {
    /// Visits every field, in an order that is the stored format's. Loading refuses values that the model could not have reached and
    /// that would take it out of its bounds: indexes, counts, cycles.
    mutating func archive(_ archive: inout StateArchive) throws(SnapshotError)
}

/// A model with state: what a snapshot consists of.
public protocol ArchivedModel: AnyObject {
    /// Saves the model's state or replaces it by a saved one. What is derived from other state (caches, permissions, watchers) is made
    /// anew after loading.
    ///
    /// A model whose loading failed is in no particular state: whoever loads keeps what was there before (`Device.restore`).
    func archive(_ archive: inout StateArchive) throws(SnapshotError)
}

/// Stored state, being written or being read: one list of fields serves both, so that the two can't differ.
///
/// Little endian, nothing aligned. Sections are named, versioned and of stated length, so that a mistake is reported at its place and a
/// later version of a model can take an earlier one's section. The bytes are the payload of a snapshot; magic, format version and
/// checksums are those of the file around it.
public struct StateArchive {
    public enum Direction: Sendable { case saving, loading }

    public let direction: Direction
    /// All bytes: written so far, or to be read.
    public private(set) var bytes: [UInt8]
    private var position = 0
    private var end: Int
    /// Names of the open sections, for messages.
    private var path: [String] = []

    /// Begins to write.
    public init() {
        direction = .saving
        bytes = []
        end = 0
    }

    /// Begins to read.
    public init(loading bytes: [UInt8]) {
        direction = .loading
        self.bytes = bytes
        end = bytes.count
    }

    @inlinable public var isLoading: Bool { direction == .loading }

    /// Ends reading: everything must have been read.
    public func finish() throws(SnapshotError) {
        guard !isLoading || position == end else { throw error("expected the end, found \(end - position) more bytes") }
    }

    /// An error at the present place.
    public func error(_ message: String) -> SnapshotError {
        SnapshotError("snapshot: \(path.joined(separator: "/")): \(message) (byte \(isLoading ? position : bytes.count))")
    }

    /// While loading: a value that was read must make sense.
    @inlinable public func require(_ condition: Bool, _ message: @autoclosure () -> String) throws(SnapshotError) {
        guard condition || !isLoading else { throw error(message()) }
    }

    // MARK: Sections

    /// A named part of the format.
    /// - Parameters:
    ///   - version: that is written, and the latest that can be read.
    ///   - body: visits the fields; is given the version that is stored.
    public mutating func section(
        _ name: String, version: UInt16 = 1, _ body: (inout StateArchive, _ version: UInt16) throws(SnapshotError) -> Void
    ) throws(SnapshotError) {
        path.append(name)
        var stored = name
        try string(&stored, limit: 255)
        guard stored == name else { throw error("expected section '\(name)', found '\(stored)'") }
        var storedVersion = version
        try integer(&storedVersion)
        guard (1...version).contains(storedVersion) else {
            throw error("expected version 1 to \(version), found \(storedVersion)")
        }
        var length: UInt64 = 0
        let lengthAt = bytes.count
        try integer(&length)
        if isLoading {
            guard length <= UInt64(end - position) else { throw error("expected \(length) bytes, found \(end - position)") }
            let outer = end
            end = position + Int(length)
            try body(&self, storedVersion)
            guard position == end else { throw error("expected the section's end, found \(end - position) more bytes") }
            end = outer
        } else {
            let start = bytes.count
            try body(&self, storedVersion)
            length = UInt64(bytes.count - start)
            for byte in 0..<8 { bytes[lengthAt + byte] = UInt8(truncatingIfNeeded: length >> UInt64(8 * byte)) }
        }
        path.removeLast()
    }

    // MARK: Fields

    @inlinable public mutating func integer<Value: FixedWidthInteger & BitwiseCopyable>(_ value: inout Value) throws(SnapshotError) {
        let count = MemoryLayout<Value>.size
        if isLoading { value = Value(truncatingIfNeeded: try get(count)) } else { put(UInt64(truncatingIfNeeded: value), count) }
    }

    /// Reads an integer of `count` bytes, up to 8.
    @usableFromInline mutating func get(_ count: Int) throws(SnapshotError) -> UInt64 {
        let start = try take(count)
        var value: UInt64 = 0
        bytes.withUnsafeBytes { for byte in 0..<count { value |= UInt64($0[start &+ byte]) &<< UInt64(8 &* byte) } }
        return value
    }

    /// Writes the lowest `count` bytes, up to 8.
    @usableFromInline mutating func put(_ value: UInt64, _ count: Int) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: UnsafeRawBufferPointer(rebasing: $0[..<count])) }
    }

    /// An integer within bounds: an index, a count, a length.
    @inlinable public mutating func integer<Value: FixedWidthInteger & BitwiseCopyable>(
        _ value: inout Value, in range: ClosedRange<Value>
    ) throws(SnapshotError) {
        try integer(&value)
        try require(range.contains(value), "expected \(range.lowerBound) to \(range.upperBound), found \(value)")
    }

    @inlinable public mutating func flag(_ value: inout Bool) throws(SnapshotError) {
        var byte: UInt8 = value ? 1 : 0
        try integer(&byte, in: 0...1)
        value = byte == 1
    }

    /// An enumeration or an option set, by its raw value.
    @inlinable public mutating func raw<Value: RawRepresentable>(
        _ value: inout Value
    ) throws(SnapshotError) where Value.RawValue: FixedWidthInteger & BitwiseCopyable {
        var raw = value.rawValue
        try integer(&raw)
        guard let known = Value(rawValue: raw) else { throw error("expected a value of \(Value.self), found \(raw)") }
        value = known
    }

    @inlinable public mutating func state<Value: ArchivedState>(_ value: inout Value) throws(SnapshotError) { try value.archive(&self) }

    /// - Parameter blank: what a stored value is read into.
    @inlinable public mutating func optional<Value>(
        _ value: inout Value?, blank: @autoclosure () -> Value, _ field: (inout StateArchive, inout Value) throws(SnapshotError) -> Void
    ) throws(SnapshotError) {
        var isThere = value != nil
        try flag(&isThere)
        guard isThere else { return value = nil }
        var present = value ?? blank()
        try field(&self, &present)
        value = present
    }

    /// An array of any length up to a limit.
    /// - Parameter blank: what stored elements are read into.
    @inlinable public mutating func array<Value>(
        _ values: inout [Value], limit: Int, blank: @autoclosure () -> Value,
        _ field: (inout StateArchive, inout Value) throws(SnapshotError) -> Void
    ) throws(SnapshotError) {
        var count = UInt64(values.count)
        try integer(&count, in: 0...UInt64(limit))
        if isLoading {
            values.removeAll(keepingCapacity: true)
            for _ in 0..<count {
                var value = blank()
                try field(&self, &value)
                values.append(value)
            }
        } else {
            for index in values.indices { try field(&self, &values[index]) }
        }
    }

    /// An array whose length the model's configuration gives: its elements are replaced one by one.
    @inlinable public mutating func elements<Value>(
        _ values: inout [Value], _ field: (inout StateArchive, inout Value) throws(SnapshotError) -> Void
    ) throws(SnapshotError) {
        var count = UInt64(values.count)
        try integer(&count)
        try require(count == UInt64(values.count), "expected \(values.count) elements, found \(count)")
        for index in values.indices { try field(&self, &values[index]) }
    }

    /// The same of plain integers, all at once.
    @inlinable public mutating func integers<Value: FixedWidthInteger & BitwiseCopyable>(_ values: inout [Value]) throws(SnapshotError) {
        try expectCount(values.count, "elements")
        try integers(&values, in: values.indices)
    }

    /// Some of an array of plain integers, at places that other state gives.
    @inlinable public mutating func integers<Value: FixedWidthInteger & BitwiseCopyable>(
        _ values: inout [Value], in range: Range<Int>
    ) throws(SnapshotError) {
        let size = MemoryLayout<Value>.size
        let start = isLoading ? try take(range.count * size) : 0
        values.withUnsafeMutableBytes {
            move(UnsafeMutableRawBufferPointer(rebasing: $0[range.lowerBound * size..<range.upperBound * size]), start)
        }
    }

    /// An array of the configuration's length that is zero for the most part: of its blocks of `block` integers only those that aren't
    /// zero are stored.
    @inlinable public mutating func sparseIntegers<Value: FixedWidthInteger & BitwiseCopyable>(
        _ values: inout [Value], block: Int
    ) throws(SnapshotError) {
        try expectCount(values.count, "elements")
        var failure: SnapshotError?
        values.withUnsafeMutableBytes { buffer in
            do throws(SnapshotError) {
                try sparse(buffer, block: block * MemoryLayout<Value>.size)
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    /// A cycle of device time, or the cycle that never comes (`Cycle.max`).
    public mutating func cycle(_ value: inout Cycle) throws(SnapshotError) {
        try integer(&value)
        try require(value <= Self.lastCycle || value == .max, "expected a cycle up to \(Self.lastCycle), found \(value)")
    }

    /// No cycle after it is loaded, so that the sum of a cycle and any latency is a cycle, too, also where time is counted in 1/256 of
    /// cycles. At 1 GHz it comes after more than a year.
    public static let lastCycle: Cycle = 1 << 55

    /// Bytes of any number up to a limit.
    public mutating func bytes(_ values: inout [UInt8], limit: Int) throws(SnapshotError) {
        var count = UInt64(values.count)
        try integer(&count, in: 0...UInt64(limit))
        if isLoading {
            let start = try take(Int(count))
            values = Array(bytes[start..<start + Int(count)])
        } else {
            bytes.append(contentsOf: values)
        }
    }

    /// Visits a text of at most `limit` bytes in UTF-8.
    public mutating func string(_ value: inout String, limit: Int) throws(SnapshotError) {
        var count = UInt64(value.utf8.count)
        try integer(&count, in: 0...UInt64(limit))
        if isLoading {
            let start = try take(Int(count))
            guard let text = String(validating: bytes[start..<start + Int(count)], as: UTF8.self) else {
                throw error("expected text in UTF-8, found other bytes")
            }
            value = text
        } else {
            bytes.append(contentsOf: value.utf8)
        }
    }

    /// Raw bytes of a length that the model's configuration gives.
    public mutating func memory(_ buffer: UnsafeMutableRawBufferPointer) throws(SnapshotError) {
        try expectCount(buffer.count, "bytes")
        try copy(buffer)
    }

    /// The same of memory that is zero for the most part: of its blocks of `block` bytes only those that aren't zero are stored.
    public mutating func sparseMemory(_ buffer: UnsafeMutableRawBufferPointer, block: Int) throws(SnapshotError) {
        try expectCount(buffer.count, "bytes")
        try sparse(buffer, block: block)
    }

    @usableFromInline mutating func sparse(_ buffer: UnsafeMutableRawBufferPointer, block: Int) throws(SnapshotError) {
        for start in stride(from: 0, to: buffer.count, by: block) {
            let piece = UnsafeMutableRawBufferPointer(rebasing: buffer[start..<min(start + block, buffer.count)])
            var isThere = !isLoading && !UnsafeRawBufferPointer(piece).isZero
            try flag(&isThere)
            if isThere { try copy(piece) } else if isLoading { piece.initializeMemory(as: UInt8.self, repeating: 0) }
        }
    }

    @usableFromInline mutating func expectCount(_ expected: Int, _ what: StaticString) throws(SnapshotError) {
        var count = UInt64(expected)
        try integer(&count)
        try require(count == UInt64(expected), "expected \(expected) \(what), found \(count)")
    }

    private mutating func copy(_ buffer: UnsafeMutableRawBufferPointer) throws(SnapshotError) {
        move(buffer, isLoading ? try take(buffer.count) : 0)
    }

    /// Appends bytes, or copies what was read, which begins at `start`.
    @usableFromInline mutating func move(_ buffer: UnsafeMutableRawBufferPointer, _ start: Int) {
        #if _endian(big)
        #error("Integers are stored as they lie in memory, and the format is little endian.")
        #endif
        if isLoading {
            bytes.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[start..<start + buffer.count])) }
        } else {
            bytes.append(contentsOf: UnsafeRawBufferPointer(buffer))
        }
    }

    /// Skips bytes that are to be read.
    /// - Returns: where they begin.
    @usableFromInline mutating func take(_ count: Int) throws(SnapshotError) -> Int {
        guard count <= end - position else { throw error("expected \(count) bytes, found \(end - position)") }
        defer { position += count }
        return position
    }
}

extension UnsafeRawBufferPointer {
    /// Whether all bytes are 0.
    package var isZero: Bool {
        guard let first = self.first else { return true }
        // The first byte is, and each is what the one before it is.
        return first == 0 && memcmp(baseAddress!, baseAddress! + 1, count - 1) == 0
    }
}
