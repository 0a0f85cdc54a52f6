import Glibc
import Registers

/// Reads a trace back, all streams merged in the order of time.
///
/// Events at the same cycle come in the order of their initiators' numbers, those of one initiator as they were made.
public struct TraceReader {
    /// What the numbers in events mean, as the trace's own metadata gives it.
    public let names: TraceNames
    /// Fabric cycles per second.
    public let frequency: UInt64
    /// What was left out, for people: bytes after the last whole packet of a stream.
    public private(set) var notes: [String] = []

    private var streams: [StreamReader] = []

    /// Opens the trace in a folder.
    ///
    /// - Throws: ``TraceError`` naming the file, and what was expected and found there.
    public init(folder: String) throws(TraceError) {
        let path = folder + "/metadata"
        let bytes = try Self.contents(of: path)
        let text = String(decoding: bytes, as: UTF8.self)
        guard text.hasPrefix("/* CTF 1.8 */") else {
            let start = text.prefix { !$0.isNewline }.prefix(20)
            throw TraceError("\(path): metadata of CTF 1.8 expected, '\(start)' found")
        }
        guard let layout = Self.number(after: "layout = ", in: text) else {
            throw TraceError("\(path): a trace of this program expected, none found (the environment has no `layout`)")
        }
        guard layout == TraceLayout.version else {
            throw TraceError("\(path): layout \(TraceLayout.version) expected, \(layout) found: written by another version")
        }
        guard let registers = Self.labels("register", in: text), let buses = Self.labels("bus", in: text),
            let uuid = Self.uuid(in: text), let frequency = Self.number(after: "freq = ", in: text), frequency > 0
        else {
            throw TraceError("\(path): damaged: it lacks the registers' names, the buses', the clock's frequency or the trace's identity")
        }
        self.frequency = UInt64(frequency)
        names = TraceNames(registers: registers, buses: buses)
        for name in try Self.names(in: folder) where Self.isStreamName(name) {
            let path = "\(folder)/\(name)"
            var stream = try StreamReader(path: path, bytes: try Self.contents(of: path), identity: uuid, registers: registers.count)
            if let note = stream.truncation { notes.append(note) }
            if try stream.advance() { streams.append(stream) }
        }
        streams.sort { $0.initiator.rawValue < $1.initiator.rawValue }
    }

    /// The next event, nil at the end.
    public mutating func next() throws(TraceError) -> TraceEvent? {
        guard var first = streams.indices.first else { return nil }
        for index in streams.indices.dropFirst() where streams[index].current.time < streams[first].current.time { first = index }
        let event = streams[first].current
        if try !streams[first].advance() { streams.remove(at: first) }
        return .access(event)
    }

    /// Whether a file's name is that of an initiator: `hart0`, `host12`, `dma3`, `debugger`.
    static func isStreamName(_ name: String) -> Bool {
        if name == "debugger" { return true }
        for kind in ["hart", "host", "dma"] where name.hasPrefix(kind) {
            let digits = name.dropFirst(kind.count)
            return !digits.isEmpty && digits.allSatisfy { $0.isASCII && $0.isNumber }
        }
        return false
    }

    // MARK: Metadata

    private static func number(after key: String, in text: String) -> Int? {
        text.firstRange(of: key).flatMap { Int(text[$0.upperBound...].prefix { $0.isASCII && $0.isNumber }) }
    }

    /// The labels of the enumeration that is called `name`, which this layout numbers from 0 on.
    private static func labels(_ name: String, in text: String) -> [String]? {
        guard let end = text.firstRange(of: "} := \(name)_t;")?.lowerBound, let start = text[..<end].lastIndex(of: "{") else { return nil }
        var labels: [String] = []
        for item in text[start..<end].split(separator: ",") {
            let parts = item.split(separator: "\"", omittingEmptySubsequences: false)
            guard parts.count == 3 else { return nil }
            labels.append(String(parts[1]))
        }
        return labels
    }

    private static func uuid(in text: String) -> [UInt8]? {
        guard let start = text.firstRange(of: "uuid = \"")?.upperBound else { return nil }
        let digits = text[start...].prefix { $0 != "\"" }.filter { $0 != "-" }
        guard digits.count == 32 else { return nil }
        var bytes: [UInt8] = [], rest = digits[...]
        while !rest.isEmpty {
            guard let byte = UInt8(rest.prefix(2), radix: 16) else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return bytes
    }

    // MARK: Files

    private static func names(in folder: String) throws(TraceError) -> [String] {
        guard let directory = opendir(folder) else { throw TraceError("\(folder): \(String(cString: strerror(errno)))") }
        defer { closedir(directory) }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            })
        }
        return names.sorted()
    }

    /// The file's bytes, mapped: a trace may be larger than memory.
    private static func contents(of path: String) throws(TraceError) -> UnsafeRawBufferPointer {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { throw TraceError("\(path): \(String(cString: strerror(errno)))") }
        defer { close(file) }
        var status = stat()
        guard fstat(file, &status) == 0 else { throw TraceError("\(path): \(String(cString: strerror(errno)))") }
        guard status.st_size > 0 else { return UnsafeRawBufferPointer(start: nil, count: 0) }
        // The mapping lives as long as the process: readers are copied freely and a program opens few traces.
        guard let base = mmap(nil, Int(status.st_size), PROT_READ, MAP_PRIVATE, file, 0), base != MAP_FAILED else {
            throw TraceError("\(path): mmap: \(String(cString: strerror(errno)))")
        }
        return UnsafeRawBufferPointer(start: base, count: Int(status.st_size))
    }
}

/// One stream file, packet by packet.
struct StreamReader {
    let initiator: Initiator
    /// Says what follows the last whole packet, if anything does.
    let truncation: String?
    /// The event that ``advance()`` has reached.
    private(set) var current = AccessEvent(
        time: 0, wait: 0, initiator: .debugger, origin: 0, isWrite: false, size: 1, status: .ok, target: .address(0, bus: 0), old: 0,
        new: 0)

    private let path: String
    private let bytes: UnsafeRawBufferPointer
    private let registers: Int
    /// Where the next event begins, where its packet ends, where the last whole packet ends.
    private var position = 0, packetEnd = 0
    private let end: Int
    private var time: UInt64 = 0

    init(path: String, bytes: UnsafeRawBufferPointer, identity: [UInt8], registers: Int) throws(TraceError) {
        typealias Packet = TraceLayout.Packet
        self.path = path
        self.bytes = bytes
        self.registers = registers
        var at = 0, initiator: UInt16 = 0
        while bytes.count - at >= Packet.headerBytes {
            let magic = bytes.loadUnaligned(fromByteOffset: at, as: UInt32.self)
            guard magic == TraceLayout.magic else {
                throw TraceError("\(path): byte \(at): a packet's magic 0x\(hex(TraceLayout.magic)) expected, 0x\(hex(magic)) found")
            }
            guard bytes[(at + Packet.identity)..<(at + Packet.streamClass)].elementsEqual(identity) else {
                throw TraceError("\(path): byte \(at): a packet of another trace: its identity is not that of the metadata")
            }
            let bits = bytes.loadUnaligned(fromByteOffset: at + Packet.packetBits, as: UInt64.self)
            guard bits % 8 == 0, bits >= UInt64(Packet.headerBytes) * 8, bits <= UInt64(Packet.capacity) * 8 else {
                throw TraceError("\(path): byte \(at): a packet of at most \(Packet.capacity) bytes expected, one of \(bits) bits found")
            }
            guard Int(bits / 8) <= bytes.count - at else { break }
            initiator = bytes.loadUnaligned(fromByteOffset: at + Packet.initiator, as: UInt16.self)
            at += Int(bits / 8)
        }
        self.initiator = Initiator(rawValue: initiator & 0x3ff)
        end = at
        truncation = at < bytes.count ? "\(path): \(bytes.count - at) bytes after the last whole packet left out" : nil
    }

    /// Goes to the next event; false at the end.
    mutating func advance() throws(TraceError) -> Bool {
        typealias Packet = TraceLayout.Packet
        while position == packetEnd {
            guard position < end else { return false }
            let length = bytes.loadUnaligned(fromByteOffset: position + Packet.packetBits, as: UInt64.self) / 8
            time = bytes.loadUnaligned(fromByteOffset: position + Packet.begin, as: UInt64.self)
            packetEnd = position + Int(length)
            position += Packet.headerBytes
        }
        typealias Event = TraceLayout.Event
        guard let length = Event.length(bytes[position]), length <= packetEnd - position else {
            throw TraceError("\(path): byte \(position): an event of type 0, 1 or 2 within its packet expected, \(bytes[position]) found")
        }
        let at = UnsafeRawBufferPointer(rebasing: bytes[position..<(position + length)])
        // Time only goes forward in a stream: the low half going back means that the high half went on.
        let low = at.loadUnaligned(fromByteOffset: Event.time, as: UInt32.self)
        time += UInt64(low &- UInt32(truncatingIfNeeded: time))
        let operation = at[Event.operation]
        guard let status = BusStatus(rawValue: operation >> 4) else {
            throw TraceError("\(path): byte \(position): a status up to \(BusStatus.allCases.count - 1) expected, \(operation >> 4) found")
        }
        current.time = time
        current.initiator = initiator
        current.isWrite = operation & 4 != 0
        current.size = 1 << (operation & 3)
        current.status = status
        if at[0] == Event.elsewhere {
            current.wait = UInt64(at.loadUnaligned(fromByteOffset: Event.elsewhereWait, as: UInt16.self))
            current.origin = at.loadUnaligned(fromByteOffset: Event.elsewhereOrigin, as: UInt32.self)
            current.target = .address(at.loadUnaligned(fromByteOffset: Event.address, as: UInt64.self), bus: at[Event.bus])
            current.old = 0
            current.new = at.loadUnaligned(fromByteOffset: Event.value, as: UInt64.self)
        } else {
            let register = at.loadUnaligned(fromByteOffset: Event.register, as: UInt16.self)
            guard register < registers else {
                throw TraceError("\(path): byte \(position): a register number below \(registers) expected, \(register) found")
            }
            let waitAndByte = at.loadUnaligned(fromByteOffset: Event.waitAndByte, as: UInt16.self)
            current.wait = UInt64(waitAndByte >> 3)
            current.origin = at.loadUnaligned(fromByteOffset: Event.origin, as: UInt32.self)
            current.target = .register(
                register, element: at.loadUnaligned(fromByteOffset: Event.element, as: UInt16.self), byte: UInt8(waitAndByte & 7))
            if at[0] == Event.access32 {
                current.old = UInt64(at.loadUnaligned(fromByteOffset: Event.values, as: UInt32.self))
                current.new = UInt64(at.loadUnaligned(fromByteOffset: Event.values + 4, as: UInt32.self))
            } else {
                current.old = at.loadUnaligned(fromByteOffset: Event.values, as: UInt64.self)
                current.new = at.loadUnaligned(fromByteOffset: Event.values + 8, as: UInt64.self)
            }
        }
        position += length
        return true
    }
}

func hex(_ value: some BinaryInteger) -> String { String(value, radix: 16) }
