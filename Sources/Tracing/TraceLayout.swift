import Registers
import Simulation

/// The bytes of a trace: Common Trace Format 1.8.3, little endian.
///
/// A folder holds the file `metadata` (section 7, as plain text; see ``TraceMetadata``), and for each initiator a stream in one file or
/// several. A file is a row of packets (section 5), each with its time range and a checksum. `index/` has where the packets of each
/// finished file are, in LTTng's format. Only what both babeltrace2 and Trace Compass read is used.
enum TraceLayout {
    static let magic: UInt32 = 0xc1fc_1fc1
    /// The version of this layout, in the metadata's environment. A reader takes its own only.
    static let version = 2

    /// Packet header and context: where the fields are.
    enum Packet {
        static let magic = 0, identity = 4, streamClass = 20, streamInstance = 24, originBase = 28
        static let begin = 32, end = 40, contentBits = 48, sequence = 56, initiator = 64, packetBits = 72, checksum = 80
        static let headerBytes = 88
        /// Bytes of the initiator's name, zero-padded.
        static let initiatorBytes = 8
        /// A packet is written when it is this long: large enough that the cost of a system call doesn't show.
        static let capacity = 64 << 10

        /// What ``checksum`` is to be: FNV-1a over 64-bit words of all but `packetBits`, which changes when another packet follows, and
        /// the checksum itself. No change of a single word leaves it as it was.
        static func checksum(_ packet: UnsafeRawPointer, bytes: Int) -> UInt64 {
            var hash = FNV1a()
            hash.add(UnsafeRawBufferPointer(start: packet, count: packetBits))
            hash.add(UnsafeRawBufferPointer(start: packet + headerBytes, count: bytes - headerBytes))
            // The last word, of what doesn't fill one, is there always.
            if (bytes - headerBytes) % 8 == 0 { hash.add(0) }
            return hash.value
        }
    }

    /// The header of an event: its number in 6 bits, and 10 bits of its time. Where the time is further from the event before, 62 in that
    /// place, then the number in 6 bits and 20 bits of the time; where that doesn't do, 63, then the number in 8 and 32 bits of the time.
    enum Header {
        static let identifierBits: UInt64 = 6, timeBits: UInt64 = 10, mediumTimeBits: UInt64 = 20
        static let medium: UInt8 = 62, extended: UInt8 = 63
        /// Times further apart than this begin a new packet, which has them in full.
        static let span: UInt64 = 1 << 32
    }

    /// The numbers of the events.
    enum Event {
        /// Below this, an access in the short form; the bits of the number say which fields it has.
        static let shortAccesses: UInt8 = 32
        /// In the number of a short access: log2 of the bytes of a value; the values differ; an element; 2 bytes of wait instead of 1.
        static let widthMask: UInt8 = 3, changed: UInt8 = 4, element: UInt8 = 8, longWait: UInt8 = 16
        static let access: UInt8 = 32, elsewhere: UInt8 = 33, line: UInt8 = 34, message: UInt8 = 35, lineMessage: UInt8 = 36
        static let trap: UInt8 = 37, dma: UInt8 = 38, queue: UInt8 = 39, fault: UInt8 = 40, log: UInt8 = 41, record: UInt8 = 42
        static let end: UInt8 = 43
        /// The most that one takes, its header and what an encoder stores beyond its end included.
        static let longest = 1100
    }

    /// Bits of the low half of a program counter or process that short accesses have; the rest is in the packet's `origin_base`.
    static let originBits: UInt32 = 24
    /// Registers that short accesses can tell.
    static let shortRegisters: UInt16 = 1 << 12

    /// Files of LTTng's index, version 1.1: big endian.
    enum Index {
        static let magic: UInt32 = 0xc1f1_dcc1
        static let headerBytes = 16, entryBytes = 72
    }

    /// The file of a stream; with a number where a trace is in several pieces.
    static func fileName(_ initiator: Initiator, piece: Int) -> String { piece == 0 ? "\(initiator)" : "\(initiator)_\(piece)" }

    /// The initiator and the piece that a file's name tells: `hart0`, `host12_3`; nil for any other name.
    static func stream(named name: String) -> (initiator: Initiator, piece: Int)? {
        let parts = name.split(separator: "_", maxSplits: 1, omittingEmptySubsequences: false)
        guard let initiator = Initiator(named: parts[0]) else { return nil }
        if parts.count == 1 { return (initiator, 0) }
        guard let piece = Int(parts[1]), piece > 0, "\(piece)" == parts[1] else { return nil }
        return (initiator, piece)
    }
}

extension Initiator {
    /// The initiator that is described so; nil if none is.
    init?(named name: some StringProtocol) {
        let letters = name.prefix { !$0.isNumber }, digits = name.dropFirst(letters.count)
        guard let kind = Kind.allCases.first(where: { "\($0)" == letters }), let number = UInt8(digits.isEmpty ? "0" : digits) else {
            return nil
        }
        self.init(rawValue: UInt16(kind.rawValue) << 8 | UInt16(number))
        guard description == name else { return nil }
    }
}
