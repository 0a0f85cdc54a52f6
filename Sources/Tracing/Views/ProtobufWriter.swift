/// One message in the wire format of Protocol Buffers (protobuf.dev, "Encoding"): a row of tagged fields.
struct ProtobufWriter {
    private(set) var bytes: [UInt8] = []

    /// A field of wire type 0.
    mutating func varint(_ field: Int, _ value: UInt64) {
        raw(UInt64(field) << 3)
        raw(value)
    }

    mutating func string(_ field: Int, _ text: String) {
        raw(UInt64(field) << 3 | 2)
        raw(UInt64(text.utf8.count))
        bytes += text.utf8
    }

    mutating func message(_ field: Int, _ message: ProtobufWriter) {
        raw(UInt64(field) << 3 | 2)
        raw(UInt64(message.bytes.count))
        bytes += message.bytes
    }

    /// Seven bits a byte, the least significant first; all but the last byte have their top bit set.
    private mutating func raw(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }
}
