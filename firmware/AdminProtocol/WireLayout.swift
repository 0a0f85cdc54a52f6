/// A value with one fixed layout in bytes, little-endian, as regmaps/hostif/README.md defines it.
///
/// The firmware (Embedded Swift) and the host agent share these types, so they use nothing but the standard library, allocate
/// nothing, and touch memory only through the pointers they are given, at any alignment. Conversions are `truncatingIfNeeded` and
/// shifts masked: the checked ones don't compile without an allocator.
public protocol WireLayout: Equatable, Sendable {
    /// Bytes of the encoded value.
    static var byteCount: Int { get }
    /// Decodes `byteCount` bytes. Every pattern of bits decodes; whether the values make sense is for the receiver to check.
    init(decoding bytes: UnsafeRawPointer)
    /// Encodes into `byteCount` bytes, reserved ones as zero.
    func encode(to bytes: UnsafeMutableRawPointer)
}

extension WireLayout {
    /// Decodes the beginning of a buffer; nil if it is too short.
    @inlinable public init?(_ buffer: UnsafeRawBufferPointer) {
        guard buffer.count >= Self.byteCount, let base = buffer.baseAddress else { return nil }
        self.init(decoding: base)
    }

    /// Encodes into the beginning of a buffer.
    /// - Returns: false, with nothing written, if it is too short.
    @inlinable public func encode(into buffer: UnsafeMutableRawBufferPointer) -> Bool {
        guard buffer.count >= Self.byteCount, let base = buffer.baseAddress else { return false }
        encode(to: base)
        return true
    }
}

extension UnsafeRawPointer {
    /// The little-endian number at a byte offset, at any alignment.
    @inlinable func number<Number: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Number.Type = Number.self) -> Number {
        Number(littleEndian: loadUnaligned(fromByteOffset: offset, as: Number.self))
    }
}

extension UnsafeMutableRawPointer {
    /// Stores a number little-endian at a byte offset, at any alignment.
    @inlinable func put<Number: FixedWidthInteger & BitwiseCopyable>(_ number: Number, _ offset: Int) {
        storeBytes(of: number.littleEndian, toByteOffset: offset, as: Number.self)
    }

    /// Zeroes a range of reserved bytes.
    @inlinable func zero(_ offset: Int, count: Int) {
        for index in offset..<(offset &+ count) { storeBytes(of: 0, toByteOffset: index, as: UInt8.self) }
    }
}
