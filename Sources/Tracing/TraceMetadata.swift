import Registers
import Simulation

/// The metadata of a trace (TSDL, section 7): what is in its packets, and the names of all numbers.
struct TraceMetadata {
    let names: TraceNames
    /// Fabric cycles per second.
    let frequency: UInt64

    /// Identifies traces with this metadata: FNV-1a of its body, twice. Every packet repeats it.
    var identity: [UInt8] { Self.identity(of: body) }

    /// The whole file.
    var text: String { Self.head(identity) + body }

    private static func identity(of text: String) -> [UInt8] {
        var bytes: [UInt8] = []
        for offset: UInt64 in [0xcbf2_9ce4_8422_2325, 0x84222325_cbf29ce4] {
            var hash = FNV1a(offset)
            hash.add(text)
            withUnsafeBytes(of: hash.value.littleEndian) { bytes += $0 }
        }
        return bytes
    }

    private static func head(_ identity: [UInt8]) -> String {
        let digits = identity.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
        var uuid = ""
        for (place, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(place) { uuid += "-" }
            uuid.append(digit)
        }
        return """
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
                    uint32_t stream_instance_id;
                };
            };


            """
    }

    private var body: String {
        environment + types + stream + events
    }

    private var environment: String {
        """
        env {
            domain = "outrigger";
            tracer_name = "outrigger";
            layout = \(TraceLayout.version);
        };

        clock {
            name = device;
            description = "fabric cycles since power-on";
            freq = \(frequency);
            offset = 0;
        };


        """
    }

    /// Stands for the labels of an enumeration that has none.
    private static let noLabel = "none"

    private var types: String {
        func labels(_ names: some Sequence<String>) -> String {
            // An enumeration without labels is none.
            let all = names.enumerated().map { "\"\($1)\" = \($0)" }
            return all.isEmpty ? "\"\(Self.noLabel)\" = 0" : all.joined(separator: ", ")
        }
        func enumeration(_ name: String, bits: Int, align: Int, _ names: some Sequence<String>) -> String {
            "typealias enum : integer { size = \(bits); align = \(align); signed = false; } { \(labels(names)) } := \(name)_t;\n"
        }
        let operations = ["read", "write"].flatMap { verb in [8, 16, 32, 64].map { "\(verb)\($0)" } }
        return [8, 16, 32, 64].map { "typealias integer { size = \($0); align = 8; signed = false; } := u\($0);\n" }.joined()
            + [8, 16, 24, 32, 64].map { "typealias integer { size = \($0); align = 8; signed = false; base = 16; } := x\($0);\n" }.joined()
            + "typealias integer { size = 64; align = 8; signed = false; map = clock.device.value; } := cycles;\n\n"
            + enumeration("operation", bits: 3, align: 1, operations)
            + enumeration("word", bits: 1, align: 1, ["+0", "+4"])
            + enumeration("short_register", bits: 12, align: 1, names.registers.prefix(Int(TraceLayout.shortRegisters)))
            + enumeration("register", bits: 16, align: 8, names.registers)
            + enumeration("bus", bits: 8, align: 8, names.buses)
            + enumeration("wire", bits: 16, align: 8, names.wires)
            + enumeration("record", bits: 16, align: 8, names.records)
            + enumeration("status", bits: 8, align: 8, BusStatus.allCases.map { "\($0)" })
            + enumeration("direction", bits: 8, align: 8, ["read", "write"])
            + enumeration("step", bits: 8, align: 8, QueueEvent.Step.allCases.map { "\($0)" })
            + enumeration("fault", bits: 8, align: 8, FaultEvent.Kind.allCases.map { "\($0)" })
            + "\n"
    }

    private var stream: String {
        """
        stream {
            id = 0;
            packet.context := struct {
                x32 origin_base;
                cycles timestamp_begin;
                cycles timestamp_end;
                u64 content_size;
                u64 packet_seq_num;
                integer { size = 8; align = 8; signed = false; encoding = UTF8; } initiator[\(TraceLayout.Packet.initiatorBytes)];
                u64 packet_size;
                x64 checksum;
            };
            event.header := struct {
                enum : integer { size = 6; align = 1; signed = false; } { compact = 0 ... 61, medium = 62, extended = 63 } id;
                variant <id> {
                    struct {
                        integer { size = 10; align = 1; signed = false; map = clock.device.value; } timestamp;
                    } compact;
                    struct {
                        integer { size = 6; align = 1; signed = false; } id;
                        integer { size = 20; align = 1; signed = false; map = clock.device.value; } timestamp;
                    } medium;
                    struct {
                        u8 id;
                        integer { size = 32; align = 8; signed = false; map = clock.device.value; } timestamp;
                    } extended;
                } v;
            } align(8);
        };


        """
    }

    private var events: String {
        typealias Event = TraceLayout.Event
        var text = ""
        func event(_ number: UInt8, _ name: String, _ fields: [String]) {
            text += "event {\n    name = \"\(name)\"; id = \(number); stream_id = 0;\n    fields := struct { "
                + fields.map { $0 + "; " }.joined() + "};\n};\n"
        }
        for number in 0..<Event.shortAccesses {
            let value = "x\(8 << Int(number & Event.widthMask))"
            event(
                number, "access",
                ["operation_t operation", "word_t word", "short_register_t register",
                 number & Event.longWait == 0 ? "u8 wait" : "u16 wait", "x24 origin"]
                    + (number & Event.element == 0 ? [] : ["u8 element"])
                    + (number & Event.changed == 0 ? ["\(value) value"] : ["\(value) old", "\(value) new"]))
        }
        event(Event.access, "access", [
            "operation_t operation", "integer { size = 5; align = 1; signed = false; } byte", "status_t status", "register_t register",
            "u32 wait", "x32 origin", "u16 element", "x64 old", "x64 new",
        ])
        event(Event.elsewhere, "access", [
            "operation_t operation", "integer { size = 5; align = 1; signed = false; } byte", "status_t status", "bus_t bus", "u32 wait",
            "x32 origin", "x64 address", "x64 value",
        ])
        event(Event.line, "line", ["wire_t wire", "u8 level"])
        event(Event.message, "message", ["u8 function", "u16 vector", "u8 level"])
        event(Event.lineMessage, "intx", ["u8 function", "u8 level"])
        event(Event.trap, "trap", ["u8 hart", "x32 cause", "x32 pc", "x32 handler"])
        event(Event.dma, "dma", ["u8 function", "direction_t direction", "status_t status", "x64 address", "u32 bytes"])
        event(Event.queue, "queue", ["u8 function", "u16 queue", "step_t step", "u16 head", "u32 bytes", "u16 depth"])
        event(Event.fault, "fault", ["fault_t kind", "x64 address", "x32 origin", "string name"])
        event(Event.log, "log", ["string line"])
        event(Event.record, "record", ["record_t kind", "u8 count", "x32 arguments[count]"])
        event(Event.end, "end", ["u64 events", "x64 hash"])
        return text
    }
}

extension TraceMetadata {
    /// Reads a trace's metadata.
    ///
    /// - Throws: ``TraceError`` naming `path`, and what was expected and found.
    init(_ text: String, path: String) throws(TraceError) {
        guard text.hasPrefix("/* CTF 1.8 */") else {
            let start = text.prefix { !$0.isNewline }.prefix(20)
            throw TraceError("\(path): metadata of CTF 1.8 expected, '\(start)' found")
        }
        guard let layout = Self.number(after: "layout = ", in: text) else {
            throw TraceError("\(path): a trace of this program expected, none found (the environment has no `layout`)")
        }
        guard layout == TraceLayout.version else {
            throw TraceError(
                "\(path): layout \(TraceLayout.version) expected, \(layout) found: written by another version of outrigger; "
                    + "babeltrace2 reads it, or record the run again")
        }
        guard let registers = Self.labels("register", in: text), let buses = Self.labels("bus", in: text),
            let wires = Self.labels("wire", in: text), let records = Self.labels("record", in: text),
            let frequency = Self.number(after: "freq = ", in: text), frequency > 0
        else {
            throw TraceError("\(path): damaged: it lacks the names of registers, buses, wires or records, or the clock's frequency")
        }
        self.init(
            names: TraceNames(registers: registers, buses: buses, wires: wires, records: records), frequency: UInt64(frequency))
        // All of it follows from the names and the frequency, but for its changes by hand or by accident.
        guard self.text == text else {
            throw TraceError("\(path): damaged: it is not what its names of registers, buses, wires and records make")
        }
    }

    private static func number(after key: String, in text: String) -> Int? {
        text.firstRange(of: key).flatMap { Int(text[$0.upperBound...].prefix { $0.isASCII && $0.isNumber }) }
    }

    /// The labels of the enumeration that is called `name`, which this layout numbers from 0 on.
    private static func labels(_ name: String, in text: String) -> [String]? {
        guard let end = text.firstRange(of: " } := \(name)_t;")?.lowerBound, let start = text[..<end].lastIndex(of: "{") else { return nil }
        var labels: [String] = []
        for item in text[text.index(after: start)..<end].split(separator: ",") {
            let parts = item.split(separator: "\"", omittingEmptySubsequences: false)
            guard parts.count == 3 else { return nil }
            labels.append(String(parts[1]))
        }
        return labels == [Self.noLabel] ? [] : labels
    }
}
