/// The framing of the GDB remote serial protocol: `$payload#checksum`, acknowledgements, and the interrupt byte
/// (Debugging with GDB, appendix E.1).
public struct PacketDecoder: Sendable {
    public enum Event: Hashable, Sendable {
        /// A whole packet, its escapes undone.
        case packet([UInt8])
        /// A packet whose checksum is wrong or missing: it has to be sent again.
        case damaged
        /// A packet longer than `limit`; it has been dropped.
        case tooLong
        /// The client's `+` and `-`.
        case acknowledged, rejected
        /// Ctrl-C: stop the target.
        case interrupt
    }

    private enum State {
        case outside, payload, escaped
        case firstDigit, secondDigit(UInt8?)
    }

    /// The byte that an interrupt is.
    static let interrupt: UInt8 = 0x03

    /// The longest payload that is taken, in bytes.
    public let limit: Int
    private var state = State.outside
    private var payload: [UInt8] = []
    private var sum: UInt8 = 0
    private var isTooLong = false

    public init(limit: Int) { self.limit = limit }

    /// Takes the next byte of the stream; an event if one is complete with it.
    public mutating func take(_ byte: UInt8) -> Event? {
        switch state {
        case .outside:
            switch byte {
            case UInt8(ascii: "$"): begin()
            case UInt8(ascii: "+"): return .acknowledged
            case UInt8(ascii: "-"): return .rejected
            case Self.interrupt: return .interrupt
            default: break
            }
        case .payload:
            switch byte {
            case UInt8(ascii: "#"): state = .firstDigit
            // A packet never contains this byte: the one before has lost its end.
            case UInt8(ascii: "$"):
                begin()
                return .damaged
            case UInt8(ascii: "}"):
                sum &+= byte
                state = .escaped
            default: append(byte, sum: byte)
            }
        case .escaped:
            state = .payload
            append(byte ^ 0x20, sum: byte)
        case .firstDigit:
            state = .secondDigit(Hex.digit(byte))
        case .secondDigit(let high):
            state = .outside
            guard let high, let low = Hex.digit(byte), high << 4 | low == sum else { return .damaged }
            return isTooLong ? .tooLong : .packet(payload)
        }
        return nil
    }

    private mutating func begin() {
        state = .payload
        payload.removeAll(keepingCapacity: true)
        sum = 0
        isTooLong = false
    }

    private mutating func append(_ byte: UInt8, sum added: UInt8) {
        sum &+= added
        if payload.count < limit { payload.append(byte) } else { isTooLong = true }
    }
}

/// Puts a payload between `$` and `#`, with the bytes escaped that must not appear inside.
public func encodePacket(_ payload: [UInt8]) -> [UInt8] {
    var packet = [UInt8(ascii: "$")]
    packet.reserveCapacity(payload.count + 4)
    var sum: UInt8 = 0
    for byte in payload {
        switch byte {
        case UInt8(ascii: "$"), UInt8(ascii: "#"), UInt8(ascii: "}"), UInt8(ascii: "*"):
            packet += [UInt8(ascii: "}"), byte ^ 0x20]
            sum = sum &+ UInt8(ascii: "}") &+ (byte ^ 0x20)
        default:
            packet.append(byte)
            sum = sum &+ byte
        }
    }
    return packet + [UInt8(ascii: "#"), Hex.digits[Int(sum >> 4)], Hex.digits[Int(sum & 15)]]
}

/// Hexadecimal numbers and byte strings as the protocol writes them.
enum Hex {
    static let digits = Array("0123456789abcdef".utf8)

    static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
        case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - UInt8(ascii: "a") + 10
        case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
        default: nil
        }
    }

    /// Two digits for each byte.
    static func encode(_ bytes: some Sequence<UInt8>) -> [UInt8] {
        bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }

    /// A register: the value in the target's byte order.
    static func encode(_ value: UInt32) -> [UInt8] {
        encode((0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) })
    }

    /// nil for an odd number of digits or anything but digits.
    static func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
        var bytes: [UInt8] = [], high: UInt8?
        bytes.reserveCapacity(text.count / 2)
        for character in text {
            guard let digit = digit(character) else { return nil }
            if let upper = high {
                bytes.append(upper << 4 | digit)
                high = nil
            } else {
                high = digit
            }
        }
        return high == nil ? bytes : nil
    }

    /// The inverse of ``encode(_:)-(UInt32)``.
    static func register(_ text: some Collection<UInt8>) -> UInt32? {
        guard text.count == 8, let bytes = decode(text) else { return nil }
        return bytes.reversed().reduce(0) { $0 << 8 | UInt32($1) }
    }

    /// A number, most significant digit first.
    static func number(_ text: some Collection<UInt8>) -> UInt64? {
        guard !text.isEmpty, text.count <= 16 else { return nil }
        var value: UInt64 = 0
        for character in text {
            guard let digit = digit(character) else { return nil }
            value = value << 4 | UInt64(digit)
        }
        return value
    }
}
