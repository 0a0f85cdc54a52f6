/// A recorded block-I/O workload.
public struct Workload: Sendable {
    /// What a request does.
    public enum Operation: Sendable { case read, write, flush }

    /// One request. Flushes have neither position nor bytes.
    public struct Request: Sendable {
        /// Microseconds since the recording began.
        public var time: UInt64
        public var operation: Operation
        /// First byte.
        public var position: UInt64
        public var bytes: Int

        public init(time: UInt64, operation: Operation, position: UInt64 = 0, bytes: Int = 0) {
            self.time = time
            self.operation = operation
            self.position = position
            self.bytes = bytes
        }
    }

    public var requests: [Request]

    public init(_ requests: [Request]) { self.requests = requests }

    /// How many of the requests are of a kind.
    public func count(_ operation: Operation) -> Int { requests.count { $0.operation == operation } }
    /// How many bytes the requests of a kind move.
    public func bytes(_ operation: Operation) -> Int { requests.reduce(0) { $1.operation == operation ? $0 + $1.bytes : $0 } }
    /// Bytes of the largest request.
    public var largestRequest: Int { requests.reduce(0) { max($0, $1.bytes) } }
    /// The byte after the last one that any request touches.
    public var end: UInt64 { requests.reduce(0) { max($0, $1.position &+ UInt64($1.bytes)) } }

    /// Reads a workload file: a fio iolog, version 2 or 3, or CSV with a line of column names. The first line tells which.
    public init(contentsOf path: String) throws(AgentError) {
        try self.init(text: File.text(path), name: path)
    }

    init(text: String, name: String) throws(AgentError) {
        var lines = LineReader(text: text, name: name)
        guard let first = lines.next(), !text.isEmpty else { throw AgentError("\(name): a workload expected, an empty file found") }
        switch first {
        case "fio version 2 iolog": requests = try FioLog.version2(&lines)
        case "fio version 3 iolog": requests = try FioLog.version3(&lines)
        case let header where header.contains(","): requests = try CSVTrace.requests(&lines, header: header)
        default:
            throw lines.error("'fio version 2 iolog', 'fio version 3 iolog' or CSV column names expected, '\(first.prefix(60))' found")
        }
        for (index, request) in requests.enumerated() where request.position % 512 != 0 || request.bytes % 512 != 0 {
            throw AgentError("\(name): request \(index + 1): position and size in multiples of 512 bytes expected, "
                + "\(request.position) and \(request.bytes) found")
        }
        guard !requests.isEmpty else { throw AgentError("\(name): the workload has no request") }
    }
}

/// The lines of a text with their numbers, for errors that say where.
struct LineReader {
    let name: String
    private let lines: [Substring]
    private(set) var number = 0

    init(text: String, name: String) {
        self.name = name
        lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
    }

    /// The next line without its line end, nil after the last.
    mutating func next() -> Substring? {
        guard number < lines.count else { return nil }
        number += 1
        return lines[number - 1]
    }

    func error(_ message: String) -> AgentError { AgentError("\(name):\(number): \(message)") }

    func integer<T: FixedWidthInteger>(_ text: Substring, _ what: String, as type: T.Type = T.self) throws(AgentError) -> T {
        guard let value = T(text) else { throw error("\(what): a whole number expected, '\(text)' found") }
        return value
    }
}
