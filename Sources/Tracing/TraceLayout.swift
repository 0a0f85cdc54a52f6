import Registers

/// The bytes of a trace: Common Trace Format 1.8.3, little endian, everything aligned to bytes.
///
/// A folder holds the file `metadata` (section 7, as plain text) and one stream file for each initiator. A stream is a row of
/// packets (section 5), each with its own time range, so that a trace that was cut off is readable up to its last whole packet.
enum TraceLayout {
    static let magic: UInt32 = 0xc1fc_1fc1
    /// The version of this layout, in the metadata's environment. A reader takes its own only.
    static let version = 1

    /// Packet header and context.
    enum Packet {
        static let magic = 0, identity = 4, streamClass = 20
        static let begin = 24, end = 32, contentBits = 40, packetBits = 48, sequence = 56, initiator = 64
        static let headerBytes = 66
        /// A packet is written when it is this long: large enough that the cost of a system call doesn't show.
        static let capacity = 256 << 10
    }

    /// Events. Each begins with its number (1 byte) and the low half of the time (4 bytes).
    enum Event {
        static let access32: UInt8 = 0, access64: UInt8 = 1, elsewhere: UInt8 = 2
        static let time = 1, operation = 5
        // Register accesses: number, origin, element, wait and byte, then old and new value of 4 or 8 bytes each.
        static let register = 6, origin = 8, element = 12, waitAndByte = 14, values = 16
        static let access32Bytes = 24, access64Bytes = 32
        // Accesses elsewhere: bus, wait, origin, address, value.
        static let bus = 6, elsewhereWait = 7, elsewhereOrigin = 9, address = 13, value = 21, elsewhereBytes = 29

        static func length(_ event: UInt8) -> Int? {
            switch event {
            case access32: access32Bytes
            case access64: access64Bytes
            case elsewhere: elsewhereBytes
            default: nil
            }
        }
    }

    static let longestWait: UInt64 = 8191

    /// Identifies traces of this layout with these registers (FNV-1a of the metadata's own text, twice).
    static func identity(of text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for offset: UInt64 in [0xcbf2_9ce4_8422_2325, 0x84222325_cbf29ce4] {
            var hash = offset
            for byte in text.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
            withUnsafeBytes(of: hash.littleEndian) { bytes += $0 }
        }
        return bytes
    }

    /// The metadata (TSDL).
    static func metadata(_ names: TraceNames, frequency: UInt64) -> (text: String, identity: [UInt8]) {
        let registers = names.registers.enumerated().map { "\"\($1)\" = \($0)" }.joined(separator: ",\n        ")
        let busNames = names.buses.enumerated().map { "\"\($1)\" = \($0)" }.joined(separator: ", ")
        let operations = ["read", "write"].enumerated().flatMap { write, verb in
            [8, 16, 32, 64].enumerated().map { "\(verb)\($1) = \(write * 4 + $0)" }
        }.joined(separator: ", ")
        let statuses = BusStatus.allCases.map { "\($0) = \($0.rawValue)" }.joined(separator: ", ")
        let body = """
            env {
                domain = "outrigger";
                tracer_name = "outrigger";
                layout = \(version);
            };

            clock {
                name = device;
                description = "fabric cycles since power-on";
                freq = \(frequency);
                offset = 0;
            };

            typealias integer { size = 8; align = 8; signed = false; } := u8;
            typealias integer { size = 16; align = 8; signed = false; } := u16;
            typealias integer { size = 16; align = 8; signed = false; base = 16; } := x16;
            typealias integer { size = 32; align = 8; signed = false; base = 16; } := x32;
            typealias integer { size = 64; align = 8; signed = false; base = 16; } := x64;
            typealias integer { size = 64; align = 8; signed = false; } := u64;
            typealias integer { size = 64; align = 8; signed = false; map = clock.device.value; } := cycles;

            typealias enum : integer { size = 4; align = 1; signed = false; } { \(operations) } := operation_t;
            typealias enum : integer { size = 4; align = 1; signed = false; } { \(statuses) } := status_t;
            typealias enum : u16 {
                    \(registers)
            } := register_t;
            typealias enum : u8 { \(busNames) } := bus_t;

            stream {
                id = 0;
                packet.context := struct {
                    cycles timestamp_begin;
                    cycles timestamp_end;
                    u64 content_size;
                    u64 packet_size;
                    u64 packet_seq_num;
                    x16 initiator;
                };
                event.header := struct {
                    u8 id;
                    integer { size = 32; align = 8; signed = false; map = clock.device.value; } timestamp;
                };
            };

            """ + [(0, "access32", "x32"), (1, "access64", "x64")].map { id, name, value in
            """
            event {
                name = "\(name)"; id = \(id); stream_id = 0;
                fields := struct {
                    operation_t operation;
                    status_t status;
                    register_t register;
                    x32 origin;
                    u16 element;
                    integer { size = 3; align = 1; signed = false; } byte;
                    integer { size = 13; align = 1; signed = false; } wait;
                    \(value) old;
                    \(value) new;
                };
            };

            """
        }.joined() + """
            event {
                name = "elsewhere"; id = 2; stream_id = 0;
                fields := struct {
                    operation_t operation;
                    status_t status;
                    bus_t bus;
                    u16 wait;
                    x32 origin;
                    x64 address;
                    x64 value;
                };
            };

            """
        let identity = identity(of: body)
        let digits = identity.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        var uuid = ""
        for (place, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(place) { uuid += "-" }
            uuid.append(digit)
        }
        let head = """
            /* CTF 1.8 */
            typealias integer { size = 8; align = 8; signed = false; } := uint8_t;
            typealias integer { size = 32; align = 8; signed = false; } := uint32_t;

            trace {
                major = 1;
                minor = 8;
                uuid = "\(uuid)";
                byte_order = le;
                packet.header := struct {
                    uint32_t magic;
                    uint8_t uuid[16];
                    uint32_t stream_id;
                };
            };


            """
        return (head + body, identity)
    }
}
